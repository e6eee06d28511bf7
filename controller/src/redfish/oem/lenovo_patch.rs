//! Slots without actions, as on Lenovo XCC: filled and emptied by a PATCH of their attributes, all of them together,
//! under the slot's ETag. Used for every BMC whose slots have the attributes and no action.
//!
//! Sources: the captured SR670 V2; OpenStack sushy (SD530); pubs.lenovo.com, XCC REST API.

use serde_json::{Value, json};

use super::super::change::patch;
use super::super::error::BmcError;
use super::super::session::Session;
use super::super::task::Verdict;

/// Fills the slot. `body` is what an insert action would be sent.
pub async fn put(session: &Session, slot: &str, mut body: Value) -> Result<Verdict, BmcError> {
    body["Inserted"] = json!(true);
    body["WriteProtected"] = json!(true);
    change(session, slot, &body).await
}

/// Empties the slot.
pub async fn take(session: &Session, slot: &str) -> Result<Verdict, BmcError> {
    change(session, slot, &json!({"Image": null, "Inserted": false})).await
}

async fn change(session: &Session, slot: &str, body: &Value) -> Result<Verdict, BmcError> {
    let etag = session.find(slot).await?.and_then(|resource| resource.etag);
    patch(session, slot, body, etag.as_deref()).await
}
