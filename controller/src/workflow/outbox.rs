//! Callbacks on their way out: signed in the Standard Webhooks form, in order per job and receiver, at least once,
//! with growing pauses, and given up in the end where everyone can see it.
//!
//! ```text
//!   outbox (written with the change) ─▶ due ─▶ sign ─▶ POST ─▶ delivered | later | dead
//! ```

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::StreamExt as _;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;

use super::Workflow;
use super::error::chain;
use super::write::later;
use crate::model::{Delivery, Secret};
use crate::store::{self, DeliveryResult, Store, StoreError};

/// Pauses between attempts, in seconds; after the last the delivery is dead. About two days in all.
const PAUSES: [u64; 10] = [5, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800, 86_400];
/// Deliveries on their way at once.
const PARALLEL: usize = 16;
/// Deliveries taken up at once.
const BATCH: u32 = 64;
/// After a store fault.
const STORE_PAUSE: Duration = Duration::from_secs(5);
/// What the receiver's secret begins with.
const SECRET_PREFIX: &str = "whsec_";

/// Delivers until the controller stops.
pub async fn run(workflow: Arc<Workflow>) {
    let mut stopping = workflow.stopping.subscribe();
    loop {
        let next = match deliver_due(&workflow).await {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(error = chain(&error), "the outbox cannot be read");
                Some(workflow.later(STORE_PAUSE))
            }
        };
        let due = async {
            match next {
                Some(at) => workflow.deps.clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => {}
            () = workflow.hub.outbox.notified() => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
    }
}

/// Delivers what is due; answers when the next is.
async fn deliver_due(workflow: &Arc<Workflow>) -> Result<Option<Timestamp>, StoreError> {
    let now = workflow.now();
    let due = store::on(&workflow.deps.store, move |store| store.due_deliveries(now, BATCH)).await?;
    let mut sent = futures_util::stream::iter(due.into_iter().map(|delivery| send(workflow, delivery)))
        .buffer_unordered(PARALLEL);
    while let Some(result) = sent.next().await {
        result?;
    }
    store::on(&workflow.deps.store, Store::next_delivery_at).await
}

async fn send(workflow: &Arc<Workflow>, delivery: Delivery) -> Result<(), StoreError> {
    let secrets = match delivery.callback_id.clone() {
        Some(id) => store::on(&workflow.deps.store, move |store| store.callback_secrets(&id)).await?,
        None => own_secret(workflow, &delivery).await?.into_iter().collect(),
    };
    if secrets.is_empty() {
        // What nobody can verify is not sent.
        let error = "there is no secret to sign it with any more".to_owned();
        let dead = DeliveryResult::Dead { error };
        return store::on(&workflow.deps.store, move |store| store.settle_delivery(delivery.seq, dead)).await;
    }
    let sent_at = workflow.now();
    let headers = [
        ("webhook-id", delivery.webhook_id.clone()),
        ("webhook-timestamp", sent_at.as_second().to_string()),
        ("webhook-signature", sign(&delivery.webhook_id, sent_at, &delivery.body, &secrets)),
    ];
    let error = match workflow.deps.fetch.post(&delivery.url, &headers, delivery.body.clone()).await {
        Ok(status) if (200..300).contains(&status) => None,
        Ok(status) => Some(format!("the receiver answered {status}")),
        Err(error) => Some(chain(&error)),
    };
    let result = match error {
        None => DeliveryResult::Delivered,
        Some(error) => match PAUSES.get(delivery.attempts as usize) {
            Some(pause) => {
                DeliveryResult::Retry { next_at: later(sent_at, Duration::from_secs(*pause)), error }
            }
            None => DeliveryResult::Dead { error },
        },
    };
    if let DeliveryResult::Dead { error } = &result {
        tracing::warn!(
            webhook_id = delivery.webhook_id,
            kind = delivery.kind,
            error,
            "a callback was given up"
        );
    }
    store::on(&workflow.deps.store, move |store| store.settle_delivery(delivery.seq, result)).await
}

/// What signs what goes to the `callback_url` of a job or of a push rule.
async fn own_secret(
    workflow: &Arc<Workflow>,
    delivery: &Delivery,
) -> Result<Option<Secret<String>>, StoreError> {
    let (job, rule) = (delivery.job_id.clone(), delivery.rule_id.clone());
    store::on(&workflow.deps.store, move |store| match (job, rule) {
        (Some(job), _) => store.job_callback_secret(&job),
        (None, Some(rule)) => Ok(store.push_rule_secrets(&rule)?.and_then(|secrets| secrets.callback_secret)),
        (None, None) => Ok(None),
    })
    .await
}

/// `webhook-signature`: one `v1,…` per secret that is valid now, so that receivers can rotate.
pub fn sign(id: &str, at: Timestamp, body: &str, secrets: &[Secret<String>]) -> String {
    let signed = format!("{id}.{}.{body}", at.as_second());
    let one = |secret: &Secret<String>| {
        // A secret that is not base64 is used as it stands, as receivers' libraries do.
        let key = secret_key(secret).unwrap_or_else(|| secret.expose().as_bytes().to_vec().into());
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
        mac.update(signed.as_bytes());
        Some(format!("v1,{}", BASE64.encode(mac.finalize().into_bytes())))
    };
    secrets.iter().filter_map(one).collect::<Vec<_>>().join(" ")
}

/// The key in a secret; none when it is not of the form that receivers expect.
pub fn secret_key(secret: &Secret<String>) -> Option<zeroize::Zeroizing<Vec<u8>>> {
    let key = secret.expose().strip_prefix(SECRET_PREFIX)?;
    BASE64.decode(key).ok().map(Into::into)
}

/// A fresh secret for a subscription or a job, in the form receivers expect.
pub fn fresh_secret() -> Result<Secret<String>, getrandom::Error> {
    let mut key = zeroize::Zeroizing::new([0; 32]);
    getrandom::fill(key.as_mut())?;
    Ok(Secret::new(format!("{SECRET_PREFIX}{}", BASE64.encode(key.as_ref()))))
}

impl Workflow {
    /// Looks at the outbox now; for replays.
    pub fn nudge_outbox(&self) {
        self.hub.outbox.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that the Standard Webhooks specification gives.
    #[test]
    fn the_signature_is_the_one_receivers_compute() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned());
        let at = Timestamp::from_second(1_614_265_330).unwrap();
        let body = r#"{"test": 2432232314}"#;
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let one = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(sign(id, at, body, std::slice::from_ref(&secret)), one);
        let both = sign(id, at, body, &[secret, fresh_secret().unwrap()]);
        assert!(both.starts_with(&format!("{one} v1,")) && both.len() > one.len() * 2 - 2, "{both}");
    }

    /// docs/webhooks.md: what it shows is what receivers get.
    #[test]
    fn the_signed_example_in_the_docs_is_signed_as_it_says() {
        let page = include_str!("../../../docs/webhooks.md");
        let after = |mark: &str| {
            let line = page.lines().find_map(|line| line.strip_prefix(mark));
            line.unwrap_or_else(|| panic!("docs/webhooks.md has no line {mark:?}")).to_owned()
        };
        let at = Timestamp::from_second(after("webhook-timestamp: ").parse().unwrap()).unwrap();
        let body = page.lines().find(|line| line.starts_with("{\"data\":")).unwrap();
        let secret = Secret::new(after("secret: "));
        assert_eq!(sign(&after("webhook-id: "), at, body, &[secret]), after("webhook-signature: "));

        let said: serde_json::Value = serde_json::from_str(body).unwrap();
        let kind = said["type"].as_str().unwrap().to_owned();
        let told = crate::model::Announcement { kind, data: said["data"].clone() };
        let when = said["timestamp"].as_str().unwrap().parse().unwrap();
        assert_eq!(told.body(when), body, "this is not the form that bodies are written in");
    }
}
