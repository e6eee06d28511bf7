//! The status webhook as strangers meet it: wrong tokens, dead tokens, other people's jobs, repeats, the short forms.

use e2e::sim::{Answer, Api, Moment, Site, WITHIN};
use serde_json::{Value, json};

use super::support::{count, site, site_of};

/// The bootstrap token of a machine's task medium, read off the medium as the BMC's drive holds it.
async fn bootstrap(site: &Site, n: usize) -> (String, Value) {
    let url = site.machine(n).image("Usb").expect("a task medium is in the second drive");
    let bytes = reqwest::get(url).await.unwrap().bytes().await.unwrap();
    let begin = bytes.windows(16).position(|window| window == b"\"bootstrap_token").unwrap();
    let text = String::from_utf8_lossy(&bytes[begin..begin + 1000]).into_owned();
    let token = text.split('"').nth(3).unwrap().to_owned();
    let from = bytes.windows(8).position(|window| window == b"\"job_id\"").unwrap();
    let text = String::from_utf8_lossy(&bytes[from..from + 100]).into_owned();
    (token, json!(text.split('"').nth(3).unwrap()))
}

async fn report(api: &Api, serial: &str, token: &str, body: Value) -> Answer {
    api.with_token(token).post(&format!("/api/v1/status-webhook/{serial}"), body).await.unwrap()
}

const NONCE: &str = "00112233445566778899aabbccddeeff";

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_without_the_right_token_changes_nothing() {
    let site = site_of(2).await;
    for n in 0..2 {
        site.stage(n).hold_at(Moment::Booted);
    }
    let first = site.api().submit(site.serial(0), site.recipe()).await.unwrap();
    let second = site.api().submit(site.serial(1), site.recipe()).await.unwrap();
    site.stage(0).reached(WITHIN).await.unwrap();
    site.stage(1).reached(WITHIN).await.unwrap();
    let (token, id) = bootstrap(&site, 0).await;
    assert_eq!(id, first.as_str());
    let started = json!({ "status": "started", "boot_nonce": NONCE });
    let success = json!({ "status": "success" });
    let forged = format!("{}{}", &token[..token.len() - 1], if token.ends_with('0') { "1" } else { "0" });
    let admin = std::fs::read_to_string(site.state().join("admin.token")).unwrap();
    let table = [
        ("no token of ours", 0, "nonsense", &started, 401),
        ("a forged one", 0, forged.as_str(), &started, 401),
        ("a person's", 0, admin.trim(), &started, 401),
        ("another machine's", 1, token.as_str(), &started, 403),
        ("one that may only ask", 0, token.as_str(), &success, 403),
    ];
    for (name, machine, token, body, status) in table {
        let answer = report(site.api(), site.serial(machine), token, body.clone()).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text);
    }
    let mut other = started.clone();
    other["job_id"] = json!(second);
    assert_eq!(report(site.api(), site.serial(0), &token, other).await.status, 403);
    for id in [&first, &second] {
        let job = site.api().job(id).await.unwrap();
        assert_eq!((&job["phase"], count(&job, "host.started")), (&json!("booting"), 0));
    }
    for n in 0..2 {
        site.stage(n).go_on();
    }
    for id in [&first, &second] {
        assert_eq!(site.api().wait_complete(id).await.unwrap()["status"], "succeeded");
    }
    let late = report(site.api(), site.serial(0), &token, started).await;
    assert!([401, 403, 409].contains(&late.status), "a dead token was heard: {} {}", late.status, late.text);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_nonce_buys_one_session_and_every_report_counts_once() {
    let site = site().await;
    site.stage(0).hold_at(Moment::Booted); // the test plays the host from here on
    let id = site.api().submit(site.serial(0), site.recipe()).await.unwrap();
    site.stage(0).reached(WITHIN).await.unwrap();
    let (token, _) = bootstrap(&site, 0).await;
    let serial = site.serial(0).to_owned();
    let started = json!({ "status": "started", "boot_nonce": NONCE, "delivery_id": "d-1" });
    let first = report(site.api(), &serial, &token, started.clone()).await;
    assert_eq!((first.status, &first.body["proceed"]), (200, &json!(true)), "{}", first.text);
    let again = report(site.api(), &serial, &token, started.clone()).await;
    assert_eq!(again.body, first.body, "the same question, another answer");
    let mut other_boot = started.clone();
    other_boot["boot_nonce"] = json!("ffeeddccbbaa99887766554433221100");
    other_boot["delivery_id"] = json!("d-2");
    let refused = report(site.api(), &serial, &token, other_boot).await;
    assert_eq!((refused.status, refused.code()), (409, "report.second_boot"), "{}", refused.text);

    let session = first.body["session_token"].as_str().unwrap().to_owned();
    let step = json!({ "status": "step", "step": "preflight.service", "step_state": "started", "delivery_id": "d-3" });
    for _ in 0..3 {
        assert_eq!(report(site.api(), &serial, &session, step.clone()).await.status, 200);
    }
    let job = site.api().job(&id).await.unwrap();
    assert_eq!(count(&job, "step.started"), 1);

    // The short form, by the other header; its repeat is late, and the first failure stays.
    let failed = json!({ "status": "failed", "failed_step": "partition.service" }).to_string();
    let headers = [("authorization", "none"), ("x-webhook-secret", session.as_str())];
    let path = format!("/api/v1/status-webhook/{serial}");
    let heard = site
        .api()
        .send(http::Method::POST, &path, &headers, Some(failed.clone().into_bytes()))
        .await
        .unwrap();
    assert!([200, 401].contains(&heard.status), "{}", heard.text);
    if heard.status == 401 {
        // Two Authorization headers were sent; the secret alone must do.
        let answer = report(site.api(), &serial, &session, serde_json::from_str(&failed).unwrap()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let second = json!({ "status": "failed", "failed_step": "image-linux.service", "delivery_id": "d-9" });
    let late = report(site.api(), &serial, &session, second).await;
    assert!([401, 403, 409].contains(&late.status), "{} {}", late.status, late.text);
    let job = site.api().wait_complete(&id).await.unwrap();
    assert_eq!((&job["failed_step"], count(&job, "outcome.failed")), (&json!("partition.service"), 1));
    let dead = report(site.api(), &serial, &session, json!({ "status": "heartbeat" })).await;
    assert!([401, 403, 409].contains(&dead.status), "a dead session was heard: {}", dead.text);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_pulls_its_own_image_and_nothing_else_and_dies_with_its_job() {
    let site = site().await;
    e2e::sim::push_image(site.api(), "images/other", "trixie", b"someone else's").await.unwrap();
    site.stage(0).hold_at(Moment::Booted);
    let id = site.api().submit(site.serial(0), site.recipe()).await.unwrap();
    site.stage(0).reached(WITHIN).await.unwrap();
    let (token, _) = bootstrap(&site, 0).await;
    let started = json!({ "status": "started", "boot_nonce": NONCE });
    let answer = report(site.api(), site.serial(0), &token, started).await;
    let session = site.api().with_token(answer.body["session_token"].as_str().unwrap());
    let status = async |path: &str| session.get(path).await.unwrap().status;
    assert_eq!(status("/v2/images/debian/manifests/trixie").await, 200);
    assert!([401, 403, 404].contains(&status("/v2/images/other/manifests/trixie").await));
    assert_eq!(status("/api/v1/jobs").await, 401, "a host's token is no person's");
    let medium = site.api().with_token(&token);
    assert_eq!(medium.get("/v2/images/debian/manifests/trixie").await.unwrap().status, 401);
    site.api().cancel(&id).await.unwrap();
    site.api().wait_complete(&id).await.unwrap();
    assert_eq!(status("/v2/images/debian/manifests/trixie").await, 401, "it outlived its job");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn media_are_gone_once_the_job_is_complete() {
    let site = site().await;
    site.stage(0).hold_at(Moment::Asking);
    let id = site.api().submit(site.serial(0), site.recipe()).await.unwrap();
    site.stage(0).reached(WITHIN).await.unwrap();
    let urls: Vec<String> = site.machine(0).slots().into_iter().filter_map(|slot| slot.image).collect();
    assert_eq!(urls.len(), 2);
    for url in &urls {
        assert!(url.len() <= 100 && !url.contains(['?', '&', '%']), "{url}");
        assert_eq!(reqwest::Client::new().head(url).send().await.unwrap().status(), 200, "{url}");
    }
    site.stage(0).go_on();
    site.api().wait_complete(&id).await.unwrap();
    for url in &urls {
        // The driver takes them down a moment after the job is complete.
        let mut status = 0;
        for _ in 0..200 {
            status = reqwest::Client::new().head(url).send().await.unwrap().status().as_u16();
            if status == 404 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert_eq!(status, 404, "{url} is still served");
    }
    site.end().await;
}
