//! HPE iLO: insert and eject actions under `Oem`, as iLO 4 has them (`Hp`) and newer ones beside the standard's (`Hpe`).
//!
//! Sources: HPEDevCom/redfishdocs, resource definitions of iLO 4 to iLO 7; fakefish.

use serde_json::{Value, json};

use super::super::error::BmcError;
use super::super::session::Session;
use super::super::task::{Verdict, settle};
use super::super::wire::Node;

/// The actions of one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actions {
    insert: String,
    eject: String,
}

impl Actions {
    /// Finds them.
    pub fn read(slot: Node<'_>) -> Option<Self> {
        ["Hp", "Hpe"].into_iter().find_map(|maker| {
            let actions = slot.get("Oem").get(maker).get("Actions");
            let target = |end: &str| {
                let mut named = actions.entries().filter(|(name, _)| name.ends_with(end));
                named.find_map(|(_, action)| action.get("target").string())
            };
            Some(Self {
                insert: target("LOVirtualMedia.InsertVirtualMedia")?,
                eject: target("LOVirtualMedia.EjectVirtualMedia")?,
            })
        })
    }

    /// Inserts.
    pub async fn put(&self, session: &Session, url: &str) -> Result<Verdict, BmcError> {
        ask(session, &self.insert, &json!({"Image": url})).await
    }

    /// Ejects. An empty body would be an error to it.
    pub async fn take(&self, session: &Session) -> Result<Verdict, BmcError> {
        ask(session, &self.eject, &json!({})).await
    }
}

async fn ask(session: &Session, target: &str, body: &Value) -> Result<Verdict, BmcError> {
    let answer = session.post(&session.endpoint.path(target)?, body).await?;
    settle(session, answer).await
}
