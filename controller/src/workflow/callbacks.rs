//! Subscriptions in an operator's hands: may this address be told anything, and does it take what it is sent. What
//! is told when, and in which order, is the outbox's.

use serde_json::json;

use super::Workflow;
use super::outbox::sign;
use crate::fetch::FetchError;
use crate::model::{Announcement, Callback};
use crate::store::{self, StoreError};

/// Kind of what a trial sends; no subscription asks for it.
pub const TRIAL_KIND: &str = "slipway.test";

impl Workflow {
    /// Whether callbacks may go there, as names resolve now.
    pub async fn check_callback_url(&self, url: &str) -> Result<(), FetchError> {
        self.deps.fetch.check(url).await
    }

    /// Sends a signed message to a subscriber at once, whatever it asked for; the status it answers. Leaves no
    /// trace in the outbox.
    pub async fn try_callback(&self, callback: &Callback) -> Result<Result<u16, FetchError>, StoreError> {
        let id = callback.id.clone();
        let secrets = store::on(&self.deps.store, move |store| store.callback_secrets(&id)).await?;
        let at = self.now();
        let data = json!({ "callback_id": callback.id });
        let body = Announcement { kind: TRIAL_KIND.to_owned(), data }.body(at);
        let webhook_id = format!("msg_{}", uuid::Uuid::now_v7());
        let headers = [
            ("webhook-id", webhook_id.clone()),
            ("webhook-timestamp", at.as_second().to_string()),
            ("webhook-signature", sign(&webhook_id, at, &body, &secrets)),
        ];
        Ok(self.deps.fetch.post(&callback.url, &headers, body).await)
    }
}
