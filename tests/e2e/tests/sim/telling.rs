//! Callbacks: what the user's own systems hear of a job, signed, in order, at least once.

use e2e::sim::{Receiver, Site, WITHIN};
use serde_json::json;

use super::support::site;

/// A job whose callbacks that receiver gets.
async fn submit(site: &Site, receiver: &Receiver) -> String {
    site.api()
        .submit_with(json!({
            "server_serial": site.serial(0), "recipe": site.recipe(), "callback_url": receiver.url(),
        }))
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jobs_callbacks_come_signed_and_in_order() {
    let site = site().await;
    let receiver = Receiver::start().await.unwrap();
    let ask = json!({
        "server_serial": site.serial(0), "recipe": site.recipe(), "callback_url": receiver.url(),
    });
    let accepted = site.api().post("/api/v1/jobs", ask).await.unwrap();
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    let id = accepted.body["job_id"].as_str().unwrap().to_owned();
    let secret = accepted.body["callback_secret"].as_str().unwrap().to_owned();
    let shown = site.api().get(&format!("/api/v1/jobs/{id}")).await.unwrap();
    assert!(!shown.text.contains("callback_secret") && !shown.text.contains(&secret), "{}", shown.text);
    receiver.wait("job.complete", WITHIN).await.unwrap();
    let calls = receiver.calls();
    let kinds: Vec<&str> =
        calls.iter().map(e2e::sim::Call::kind).filter(|kind| *kind != "job.step").collect();
    let whole: Vec<&str> = kinds.iter().copied().filter(|kind| kind.starts_with("job.")).collect();
    assert_eq!(whole, ["job.queued", "job.started", "job.succeeded", "job.complete"], "{kinds:?}");
    let steps = calls.iter().filter(|call| call.kind() == "job.step").count();
    assert_eq!(steps, 10, "five steps start and finish");
    for call in &calls {
        assert!(call.is_signed_with(&secret).unwrap(), "{call:?}");
        assert!(!call.is_signed_with("whsec_bm90IHRoZSByaWdodCBrZXk=").unwrap());
        assert_eq!(call.body["data"]["job_id"], id.as_str(), "{}", call.text);
        assert!(!call.timestamp.is_empty());
    }
    let mut ids: Vec<&str> = calls.iter().map(|call| call.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), calls.len(), "a webhook-id came twice");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_told_with_its_unit_and_reason() {
    let site = site().await;
    let receiver = Receiver::start().await.unwrap();
    site.stage(0).script(|script| script.fails_at = Some(("partition", 4)));
    submit(&site, &receiver).await;
    let call = receiver.wait("job.failed", WITHIN).await.unwrap();
    assert_eq!(call.body["data"]["failed_step"], "partition.service", "{}", call.text);
    assert_eq!(call.body["data"]["code"], "step.failed");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_was_out_of_order_gets_everything_later_in_order() {
    let mut site = site().await;
    let receiver = Receiver::start().await.unwrap();
    receiver.refuse(1);
    let id = submit(&site, &receiver).await;
    site.api().wait_complete(&id).await.unwrap();
    assert!(receiver.calls().is_empty(), "what comes later was sent before what comes first");
    // What is still to be sent survives the controller.
    site.kill().await;
    site.start_again().await.unwrap();
    receiver.wait("job.complete", WITHIN).await.unwrap();
    assert_eq!(receiver.calls().first().map(|call| call.kind().to_owned()).as_deref(), Some("job.queued"));
    site.end().await;
}
