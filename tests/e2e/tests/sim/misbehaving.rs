//! BMCs that are down, refuse, lie or forget. Each job ends with a reason that names the thing, or gets through.

use e2e::sim::{Deed, Site};
use mock_redfish::{Fault, Injection, Power, Quirks};
use serde_json::{Value, json};

use super::support::{assert_tidy, lifecycle, site, site_with};

const CD: &str = "/redfish/v1/Managers/1/VirtualMedia/Cd";
const MEDIA: &str = "/redfish/v1/Managers/1/VirtualMedia";
const RESET: &str = "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset";

/// Submits an install whose phases may take as long as said, and waits until its outcome is decided.
async fn outcome(site: &Site, timeouts: Value) -> Value {
    let recipe = site.recipe_with("timeouts", timeouts);
    let id = site.api().submit(site.serial(0), recipe).await.unwrap();
    let decided = |job: &Value| job["status"] != "queued" && job["status"] != "provisioning";
    site.api().wait(&id, "decided", decided).await.unwrap()
}

fn reason(job: &Value) -> &str {
    job["reason"].as_str().unwrap_or_else(|| panic!("no reason: {job:#}"))
}

/// After a failure that came before the host was told to proceed.
async fn assert_free_again(site: &Site, job: &Value) {
    let job = site.api().wait_complete(job["job_id"].as_str().unwrap()).await.unwrap();
    assert_eq!(job["status"], "failed");
    assert_eq!(site.stage(0).times(&Deed::Wiped), 0);
    assert_tidy(site, 0);
    assert_eq!(lifecycle(site, 0).await, "free");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bmc_that_is_down_fails_the_job_when_probing_may_take_no_longer() {
    let site = site().await;
    site.describe(0, |machine| machine["bmc"]["url"] = json!("http://127.0.0.1:9")).await.unwrap();
    let job = outcome(&site, json!({ "probing": "2s" })).await;
    assert_eq!((&job["reason_code"], &job["failed_step"]), (&json!("timeout.probing"), &json!("probing")));
    assert!(reason(&job).contains("127.0.0.1:9"), "{}", reason(&job));
    assert_free_again(&site, &job).await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bmc_that_comes_back_in_time_costs_nothing_but_time() {
    let site = site().await;
    let id = site.machine(0).inject(Injection::always(Fault::Reset));
    let recipe = site.recipe();
    let job = site.api().submit(site.serial(0), recipe).await.unwrap();
    let waits = |job: &Value| job["phase"] == "probing" && job["wait"]["reason"].is_string();
    let seen = site.api().wait(&job, "waiting for the BMC", waits).await.unwrap();
    assert!(seen["wait"]["reason"].as_str().unwrap().contains("BMC"), "{:#}", seen["wait"]);
    site.machine(0).remove_fault(id);
    let job = site.api().wait_complete(&job).await.unwrap();
    assert_eq!(job["status"], "succeeded", "{job:#}");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bmc_in_trouble_is_left_alone_and_everybody_can_see_why() {
    let site = site().await;
    let machine = format!("/api/v1/machines/{}", site.serial(0));
    let circuit = async || site.api().get(&machine).await.unwrap().body["bmc_circuit"].clone();
    assert_eq!(circuit().await, json!({ "state": "closed", "failures": 0, "calls_in_flight": 0 }));
    site.machine(0).inject(Injection::always(Fault::message(503, "ServiceTemporarilyUnavailable")));
    let waits =
        |job: &Value| job["wait"]["reason"].as_str().is_some_and(|why| why.contains("[bmc.circuit_open]"));
    let job = site.api().submit(site.serial(0), site.recipe()).await.unwrap();
    let seen = site.api().wait(&job, "waiting for the BMC", waits).await.unwrap();
    let why = seen["wait"]["reason"].as_str().unwrap();
    assert!(why.contains("HTTP 503") && why.contains("since") && why.contains("restart it"), "{why}");
    let shown = circuit().await;
    assert!(shown["state"] == "open" || shown["state"] == "half_open", "{shown:#}");
    assert!(shown["failures"].as_u64().unwrap() >= 5 && shown["since"].is_string(), "{shown:#}");
    let metrics = site.api().get("/metrics").await.unwrap().text;
    let counted = format!("slipway_bmc_circuit_opened_total{{bmc=\"{}\"}}", site.machine(0).base_url());
    for wanted in
        [counted.as_str(), "slipway_bmc_calls_in_flight", "slipway_bmc_calls_total{outcome=\"failed\"}"]
    {
        assert!(metrics.contains(wanted), "{wanted}: {metrics}");
    }
    // Cancelling does not wait for the BMC; tidying up does.
    let began = std::time::Instant::now();
    site.api().cancel(&job).await.unwrap();
    let cancelled = |job: &Value| job["status"] == "cancelled";
    site.api().wait(&job, "cancelled", cancelled).await.unwrap();
    assert!(began.elapsed() < std::time::Duration::from_secs(2), "{:?}", began.elapsed());
    site.machine(0).clear_faults();
    // An operator need not wait for the next try.
    assert_eq!(site.api().post(&format!("{machine}/probe"), json!({})).await.unwrap().status, 200);
    site.api().wait_complete(&job).await.unwrap();
    assert_eq!(circuit().await, json!({ "state": "closed", "failures": 0, "calls_in_flight": 0 }));
    assert_tidy(&site, 0);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_ends_the_job_at_once_and_is_not_shown() {
    let site = site().await;
    let wrong = "wr0ng-but-Secret-all-the-same";
    site.describe(0, |machine| machine["bmc"]["password"] = json!(wrong)).await.unwrap();
    let job = outcome(&site, json!({})).await;
    assert_eq!(job["reason_code"], "bmc.credentials", "{job:#}");
    assert!(reason(&job).contains("credentials"), "{}", reason(&job));
    assert!(!job.to_string().contains(wrong));
    assert_free_again(&site, &job).await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn media_that_the_bmc_cannot_reach_are_named_in_the_reason() {
    let site = site().await;
    site.describe(0, |machine| machine["media_url"] = json!("http://127.0.0.1:9")).await.unwrap();
    let job = outcome(&site, json!({ "mounting": "3s" })).await;
    assert!(["bmc.refused", "timeout.mounting"].contains(&job["reason_code"].as_str().unwrap()), "{job:#}");
    assert!(reason(&job).contains("127.0.0.1:9"), "{}", reason(&job));
    assert_free_again(&site, &job).await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bmc_without_a_slot_is_told_from_one_with_and_left_to_http_boot_where_it_has_that() {
    let site = site().await;
    let none = json!({ "Members": [], "Members@odata.count": 0 });
    let properties = none.as_object().unwrap().clone();
    site.machine(0).inject(Injection::always(Fault::Replace { properties }).on("GET", MEDIA));
    let job = site.api().submit(site.serial(0), site.recipe()).await.unwrap();
    let job = site.api().wait_complete(&job).await.unwrap();
    assert_eq!((&job["status"], &job["transport"]), (&json!("succeeded"), &json!("http-boot")), "{job:#}");
    assert_tidy(&site, 0);

    let site = self::site().await;
    let boot = json!({ "BootSourceOverrideTarget": "None", "BootSourceOverrideTarget@Redfish.AllowableValues": ["Pxe", "Cd"] });
    for (path, properties) in [(MEDIA, none), ("/redfish/v1/Systems/1", json!({ "Boot": boot }))] {
        let properties = properties.as_object().unwrap().clone();
        site.machine(0).inject(Injection::always(Fault::Replace { properties }).on("GET", path));
    }
    let job = outcome(&site, json!({})).await;
    assert_eq!(job["reason_code"], "bmc.no_boot_slot", "{job:#}");
    assert!(reason(&job).contains("virtual media"), "{}", reason(&job));
    assert_free_again(&site, &job).await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bmc_of_another_machine_is_refused_before_anything_is_touched() {
    let site = site().await;
    let properties = json!({ "SerialNumber": "OTHER-9" }).as_object().unwrap().clone();
    site.machine(0)
        .inject(Injection::always(Fault::Replace { properties }).on("GET", "/redfish/v1/Systems/1"));
    let job = outcome(&site, json!({})).await;
    assert_eq!(job["reason_code"], "bmc.wrong_machine", "{job:#}");
    assert!(reason(&job).contains("OTHER-9"), "{}", reason(&job));
    let touching: Vec<String> = site
        .machine(0)
        .requests()
        .into_iter()
        .filter(|request| request.method != "GET" && !request.path.contains("Session"))
        .map(|request| format!("{} {}", request.method, request.path))
        .collect();
    assert!(touching.is_empty(), "{touching:?}");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_override_that_is_ignored_ends_as_a_boot_that_never_asked() {
    let site = site().await;
    site.machine(0).inject(Injection::always(Fault::OnceIgnored));
    let job = outcome(&site, json!({ "booting": "2s" })).await;
    assert_eq!(job["reason_code"], "timeout.booting", "{job:#}");
    assert!(reason(&job).contains("has not"), "{}", reason(&job));
    assert_eq!(site.stage(0).times(&Deed::Maintenance), 0);
    site.machine(0).clear_faults();
    assert_free_again(&site, &job).await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_override_that_sticks_does_not_boot_the_medium_again() {
    let site = site().await;
    site.machine(0).inject(Injection::times(1, Fault::OnceSticks));
    let job = outcome(&site, json!({})).await;
    let job = site.api().wait_complete(job["job_id"].as_str().unwrap()).await.unwrap();
    assert_eq!(job["status"], "succeeded", "{job:#}");
    site.stage(0).wait_deed(&Deed::NewSystem, e2e::sim::WITHIN).await.unwrap();
    assert_eq!(site.stage(0).times(&Deed::Maintenance), 1);
    assert_tidy(&site, 0);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insert_that_is_reported_and_did_not_happen_is_noticed_and_done_again() {
    let site = site().await;
    site.machine(0).inject(Injection::times(1, Fault::PhantomInsert));
    let job = outcome(&site, json!({})).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inserts_that_never_happen_end_the_job_with_what_was_seen() {
    let site = site().await;
    site.machine(0).inject(Injection::always(Fault::PhantomInsert));
    let job = outcome(&site, json!({ "mounting": "6s" })).await;
    assert_eq!(job["reason_code"], "timeout.mounting", "{job:#}");
    assert!(reason(&job).contains("Cd"), "{}", reason(&job));
    assert_free_again(&site, &job).await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_state_that_lies_is_not_believed_and_named() {
    let site = site().await;
    site.machine(0).inject(Injection::always(Fault::PowerLies { says: "On".to_owned() }));
    let job = outcome(&site, json!({ "mounting": "8s" })).await;
    assert_eq!(job["reason_code"], "timeout.mounting", "{job:#}");
    let told = reason(&job).to_lowercase();
    assert!(told.contains("power") || told.contains("off"), "{told}");
    site.machine(0).clear_faults();
    assert_free_again(&site, &job).await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_that_does_nothing_is_tried_again() {
    let site = site().await;
    site.machine(0).inject(Injection::times(1, Fault::ResetIgnored));
    let job = outcome(&site, json!({})).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_does_not_start_ends_as_one_that_did_not_start() {
    let site = site().await;
    site.machine(0).inject(Injection::always(Fault::WillNotStart));
    let job = outcome(&site, json!({ "booting": "8s" })).await;
    assert_eq!(job["reason_code"], "timeout.booting", "{job:#}");
    assert!(reason(&job).to_lowercase().contains("power"), "{}", reason(&job));
    assert_free_again(&site, &job).await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_fail_now_and_then_do_not_fail_a_job() {
    let site = site().await;
    for (method, path) in
        [("GET", "/redfish/v1/Systems"), ("POST", CD), ("POST", RESET), ("PATCH", "/redfish")]
    {
        site.machine(0).inject(Injection::times(1, Fault::status(503)).on(method, path));
    }
    site.machine(0).inject(Injection::times(1, Fault::StaleInserted { reads: 3 }));
    let job = outcome(&site, json!({})).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_medium_that_cannot_be_ejected_raises_an_alarm_and_is_ejected_in_the_end() {
    let site = site().await;
    let fault =
        Injection::always(Fault::status(500)).on("POST", &format!("{CD}/Actions/VirtualMedia.EjectMedia"));
    let armed = site.machine(0).inject(fault);
    let recipe = site.recipe_with("timeouts", json!({ "cleaning_up": "1s" }));
    let id = site.api().submit(site.serial(0), recipe).await.unwrap();
    let alarmed = |job: &Value| super::support::count(job, "alarm.cleanup") == 1;
    let job = site.api().wait(&id, "alarmed", alarmed).await.unwrap();
    assert_eq!((&job["status"], &job["phase"]), (&json!("succeeded"), &json!("cleaning_up")));
    let busy = json!({ "server_serial": site.serial(0), "recipe": site.recipe(), "reinstall": true });
    assert_eq!(site.api().post("/api/v1/jobs", busy).await.unwrap().code(), "conflict.active_job");
    site.machine(0).remove_fault(armed);
    let job = site.api().wait_complete(&id).await.unwrap();
    assert_eq!(job["status"], "succeeded");
    assert_tidy(&site, 0);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bmcs_that_deviate_from_the_book_get_their_job_done_all_the_same() {
    let deviations: [(&str, fn(&mut Quirks)); 9] = [
        ("media under the system", |q| q.media_under_system = true),
        ("media by PATCH", |q| q.media_by_patch = true),
        ("transfer protocol wanted", |q| q.needs_transfer_protocol = true),
        ("If-Match wanted", |q| q.needs_if_match = true),
        ("weak ETags", |q| q.weak_etags = true),
        ("no sessions", |q| q.no_sessions = true),
        ("UsbCd for Cd", |q| q.usb_cd_target = true),
        ("no override mode", |q| q.no_override_mode = true),
        ("ForceOn for On", |q| q.force_on_only = true),
    ];
    for (name, deviate) in deviations {
        let site = site_with(|machine| deviate(&mut machine.quirks)).await;
        let job = outcome(&site, json!({})).await;
        let job = site.api().wait_complete(job["job_id"].as_str().unwrap()).await.unwrap();
        assert_eq!(job["status"], "succeeded", "{name}: {job:#}");
        assert_tidy(&site, 0);
        assert_eq!(site.machine(0).power(), Power::On, "{name}");
        site.end().await;
    }
}
