//! What is refused at the door, with what words, and that nothing is left behind it.

use e2e::sim::{Deed, Moment, WITHIN, push_image};
use http::Method;
use serde_json::{Value, json};

use super::support::{lifecycle, site, site_of};

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_become_a_job_is_refused_by_name_and_leaves_nothing() {
    let site = site().await;
    let serial = site.serial(0).to_owned();
    let submit = |serial: &str, recipe: Value| json!({ "server_serial": serial, "recipe": recipe });
    let mut one_root_too_many = site.recipe();
    let root = one_root_too_many["partition_layout"][1].clone();
    one_root_too_many["partition_layout"][0] = root;
    let table: Vec<(&str, Value, u16, &str, &str)> = vec![
        ("unknown serial", submit("NOBODY-1", site.recipe()), 404, "machine.unknown", "NOBODY-1"),
        (
            "placeholder serial",
            submit("To Be Filled By O.E.M.", site.recipe()),
            400,
            "machine.placeholder_serial",
            "To Be Filled",
        ),
        (
            "no such image",
            submit(&serial, site.recipe_with("oci_url", json!("images/debian:nope"))),
            422,
            "image.not_found",
            "images/debian:nope",
        ),
        (
            "another registry",
            submit(&serial, site.recipe_with("oci_url", json!("docker.io/library/debian:trixie"))),
            422,
            "image.foreign",
            "slipway image push",
        ),
        (
            "unknown field",
            submit(&serial, site.recipe_with("colour", json!("blue"))),
            400,
            "invalid_recipe",
            "fault(s)",
        ),
        (
            "wrong type",
            submit(&serial, site.recipe_with("partition_layout", json!("all of it"))),
            400,
            "invalid_recipe",
            "fault(s)",
        ),
        ("two roots", submit(&serial, one_root_too_many), 400, "invalid_recipe", "fault(s)"),
        (
            "oversize user-data",
            submit(&serial, site.recipe_with("user_data", json!("x".repeat(2 << 20)))),
            400,
            "invalid_recipe",
            "fault(s)",
        ),
        (
            "callback to cloud metadata",
            json!({ "server_serial": serial, "recipe": site.recipe(), "callback_url": "http://169.254.169.254/x" }),
            400,
            "callback.url",
            "169.254.169.254",
        ),
    ];
    for (name, body, status, code, words) in table {
        let refused = site.api().post("/api/v1/jobs", body).await.unwrap();
        assert_eq!((refused.status, refused.code()), (status, code), "{name}: {}", refused.text);
        assert!(refused.message().contains(words), "{name}: {}", refused.text);
        assert!(!refused.body["request_id"].as_str().unwrap().is_empty(), "{name}");
    }
    let jobs = site.api().get("/api/v1/jobs").await.unwrap();
    assert_eq!(jobs.body["jobs"], json!([]));
    assert!(site.machine(0).requests().is_empty(), "the BMC was bothered");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipe_with_several_faults_is_told_all_of_them() {
    let site = site().await;
    let recipe = json!({ "task_target": "install-linux.target", "target_disk": 7, "colour": "blue" });
    let body = json!({ "server_serial": site.serial(0), "recipe": recipe });
    let refused = site.api().post("/api/v1/jobs", body).await.unwrap();
    assert_eq!(refused.status, 400);
    let paths: Vec<&str> = refused.body["details"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| fault["path"].as_str().unwrap())
        .collect();
    assert!(paths.contains(&"/target_disk") && paths.contains(&"/colour"), "{}", refused.text);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let site = site().await;
    let mut body = format!("{{\"server_serial\": {:?}, \"recipe\": {{\"notes\": \"", site.serial(0));
    body.push_str(&"x".repeat(5 << 20));
    body.push_str("\"}}");
    let refused = site.api().send(Method::POST, "/api/v1/jobs", &[], Some(body.into_bytes())).await.unwrap();
    assert_eq!((refused.status, refused.code()), (413, "body.too_large"), "{:.300}", refused.text);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_machine_takes_no_second_job_and_names_the_first() {
    let site = site().await;
    site.stage(0).hold_at(Moment::Asking);
    let id = site.api().submit(site.serial(0), site.recipe()).await.unwrap();
    site.stage(0).reached(WITHIN).await.unwrap();
    let body = json!({ "server_serial": site.serial(0).to_lowercase(), "recipe": site.recipe() });
    let refused = site.api().post("/api/v1/jobs", body).await.unwrap();
    assert_eq!((refused.status, refused.code()), (409, "conflict.active_job"), "{}", refused.text);
    assert_eq!(refused.body["details"]["job_id"], id.as_str());
    site.stage(0).go_on();
    site.api().wait_complete(&id).await.unwrap();
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_in_service_is_overwritten_only_when_that_is_meant() {
    let site = site().await;
    let first = site.api().submit(site.serial(0), site.recipe()).await.unwrap();
    site.api().wait_complete(&first).await.unwrap();
    let mut body = json!({ "server_serial": site.serial(0), "recipe": site.recipe() });
    let refused = site.api().post("/api/v1/jobs", body.clone()).await.unwrap();
    assert_eq!((refused.status, refused.code()), (409, "machine.in_service"), "{}", refused.text);
    assert!(refused.message().contains("reinstall"), "{}", refused.text);

    // What only looks needs no such word.
    let look = json!({ "task_target": "inventory.target" });
    let id = site.api().submit(site.serial(0), look).await.unwrap();
    let job = site.api().wait_complete(&id).await.unwrap();
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_eq!(lifecycle(&site, 0).await, "in_service");

    body["reinstall"] = json!(true);
    let again = site.api().submit_with(body).await.unwrap();
    let job = site.api().wait_complete(&again).await.unwrap();
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_eq!(site.stage(0).times(&Deed::Wiped), 2);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_and_body_are_the_same_job_and_another_body_is_refused() {
    let site = site_of(2).await;
    let body = json!({ "server_serial": site.serial(0), "recipe": site.recipe() }).to_string();
    let post = async |body: &str| {
        let headers = [("idempotency-key", "build-4711")];
        site.api().send(Method::POST, "/api/v1/jobs", &headers, Some(body.as_bytes().to_vec())).await.unwrap()
    };
    let (first, second) = (post(&body).await, post(&body).await);
    assert_eq!((first.status, second.status), (202, 200), "{}", second.text);
    assert_eq!(first.body["job_id"], second.body["job_id"]);
    let id = first.body["job_id"].as_str().unwrap();
    site.api().wait_complete(id).await.unwrap();
    let third = post(&body).await;
    assert_eq!((third.status, &third.body["job_id"]), (200, &first.body["job_id"]), "after its end too");
    let other = json!({ "server_serial": site.serial(1), "recipe": site.recipe() }).to_string();
    let refused = post(&other).await;
    assert_eq!((refused.status, refused.code()), (422, "idempotency.key_reused"), "{}", refused.text);
    assert_eq!(site.stage(0).times(&Deed::Wiped), 1);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_and_creates_nothing() {
    let site = site().await;
    let body = json!({ "server_serial": site.serial(0), "recipe": site.recipe() });
    let plan = site.api().post("/api/v1/jobs?dry_run=true", body).await.unwrap();
    assert_eq!(plan.status, 200, "{}", plan.text);
    let jobs = site.api().get("/api/v1/jobs").await.unwrap();
    assert_eq!(jobs.body["jobs"], json!([]));
    assert_eq!(site.machine(0).boots(), 0);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_moves_after_acceptance_does_not_change_what_is_installed() {
    let site = site().await;
    let meant = site.push().await.unwrap();
    site.stage(0).hold_at(Moment::Asking);
    let id = site.api().submit(site.serial(0), site.recipe()).await.unwrap();
    site.stage(0).reached(WITHIN).await.unwrap();
    let other = push_image(site.api(), "images/debian", "trixie", b"another system").await.unwrap();
    assert_ne!(other.digest, meant.digest);
    site.stage(0).go_on();
    let job = site.api().wait_complete(&id).await.unwrap();
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_eq!(site.stage(0).times(&Deed::Pulled(meant.digest)), 1);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_maintenance_medium_jobs_are_refused_and_readiness_says_why() {
    let setup = e2e::sim::Setup { maintenance: false, ..e2e::sim::Setup::of(1) };
    let site = super::support::start(setup).await;
    let ready = site.api().get("/readyz").await.unwrap();
    assert_eq!(ready.status, 503, "{}", ready.text);
    let body = json!({ "server_serial": site.serial(0), "recipe": site.recipe() });
    for path in ["/api/v1/jobs", "/api/v1/jobs?dry_run=true"] {
        let refused = site.api().post(path, body.clone()).await.unwrap();
        assert_eq!((refused.status, refused.code()), (503, "media.no_maintenance"), "{}", refused.text);
        assert!(refused.message().contains("maintenance_iso"), "{}", refused.text);
    }
    let jobs = site.api().get("/api/v1/jobs").await.unwrap();
    assert_eq!(jobs.body["jobs"], json!([]));
    assert_eq!(lifecycle(&site, 0).await, "free");
    assert!(site.machine(0).requests().is_empty(), "the BMC was bothered");
    site.end().await;
}
