//! Every refusal of the API that bad input or bad luck can bring about: a clear sentence that names the thing and
//! the remedy, the right status, and nothing half-done behind it.
#![allow(clippy::unwrap_used)] // a helper that cannot go on ends its test

mod api_support;

use api_support::host::Script;
use api_support::{World, without_ids};
use mock_redfish::MachineConfig;
use serde_json::{Value, json};

/// Refusals in the order they were asked for, as one text for the golden.
#[derive(Default)]
struct Book(String);

impl Book {
    fn add(&mut self, what: &str, refusal: &str) {
        self.0 = format!("{}{what}\n  {}\n\n", self.0, refusal.replace('\n', "\n  "));
    }
}

/// The example with one thing changed.
fn debian(change: impl FnOnce(&mut Value)) -> Value {
    let mut recipe = World::debian();
    change(&mut recipe);
    recipe
}

async fn jobs(world: &World) -> usize {
    world.ask("GET", "/jobs", None).await.body["jobs"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_recipe_is_refused_with_every_fault_and_its_place() {
    let world = World::start(1).await;
    world.add(0).await;
    assert_eq!(world.push_debian().await.code, 0);
    let part = |size: &str, kind: &str, format: &str, mount: &str| json!({ "size": size, "type_guid": kind, "format": format, "mountpoint": mount });
    let table: Vec<(&str, Value)> = vec![
        ("an unknown field", debian(|recipe| recipe["colour"] = json!("red"))),
        ("a wrong type", debian(|recipe| recipe["notes"] = json!(7))),
        (
            "several faults",
            debian(|recipe| {
                recipe["wipe"] = json!("burn");
                recipe["timeouts"] = json!({ "job": "soon" });
            }),
        ),
        (
            "an impossible layout",
            debian(|recipe| {
                recipe["partition_layout"][0]["size"] = json!("60%");
                recipe["partition_layout"][1]["size"] = json!("60%");
            }),
        ),
        (
            "a layout that does not fit the firmware mode",
            debian(|recipe| {
                recipe["partition_layout"] = json!([part("rest", "8304", "ext4", "/")]);
            }),
        ),
        (
            "two root partitions",
            debian(|recipe| {
                recipe["partition_layout"] = json!([
                    part("256M", "ef00", "vfat", "/boot/efi"),
                    part("10G", "8304", "ext4", "/"),
                    part("rest", "8304", "ext4", "/")
                ]);
            }),
        ),
        ("an oversize payload", debian(|recipe| recipe["user_data"] = json!("#".repeat(3 << 20)))),
    ];
    let mut book = Book::default();
    for (what, recipe) in &table {
        book.add(what, &world.submit("S1", recipe).await.refusal());
    }
    insta::assert_snapshot!(book.0);
    assert_eq!(jobs(&world).await, 0);
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_or_image_that_does_not_fit_is_refused_and_no_job_is_left() {
    let world = World::start(3).await;
    world.add(0).await;
    let mut book = Book::default();
    let inventory = World::inventory();
    book.add("an unknown serial", &world.submit("NOPE", &inventory).await.refusal());
    book.add("a placeholder serial", &world.submit("To Be Filled By O.E.M.", &inventory).await.refusal());
    book.add("an image that does not exist", &world.submit("S1", &World::debian()).await.refusal());
    let foreign = debian(|recipe| recipe["oci_url"] = json!("docker.io/library/debian:13"));
    book.add("an image of another registry", &world.submit("S1", &foreign).await.refusal());
    assert_eq!(jobs(&world).await, 0);

    assert_eq!(world.push_debian().await.code, 0);
    let whole = debian(|recipe| recipe["image_kind"] = json!("disk"));
    book.add("a layout for a whole-disk image", &world.submit("S1", &whole).await.refusal());
    let other = debian(|recipe| recipe["image_kind"] = json!("container"));
    book.add("another kind than the image says", &world.submit("S1", &other).await.refusal());
    let planned = json!({ "server_serial": "S1", "recipe": other });
    let planned = world.ask("POST", "/jobs?dry_run=true", Some(planned)).await;
    book.add("the same as a dry run", &planned.refusal());
    let bare = debian(|recipe| {
        let fields = recipe.as_object_mut().unwrap();
        fields.remove("partition_layout");
        fields.remove("image_kind");
    });
    book.add("no layout for a root filesystem", &world.submit("S1", &bare).await.refusal());

    let busy = world.job("S1", &inventory, Script::Begin).await;
    book.add("a busy machine", &world.submit("S1", &inventory).await.refusal());
    let power = world.ask("POST", "/machines/S1/power", Some(json!({ "power": "off" }))).await;
    book.add("power of a busy machine", &power.refusal());
    book.add("removing a busy machine", &world.ask("DELETE", "/machines/S1", None).await.refusal());
    book.add("releasing a busy machine", &world.ask("POST", "/machines/S1/release", None).await.refusal());
    world.ask("POST", &format!("/jobs/{busy}/cancel"), None).await;
    world.complete(&busy).await;

    world.add(1).await;
    let steps = vec!["preflight", "partition", "image-linux", "bootloader-linux", "config-drive"];
    let install = world.job("S2", &World::debian(), Script::Succeed(steps)).await;
    assert_eq!(world.complete(&install).await["status"], "succeeded");
    book.add("a machine in service", &world.submit("S2", &World::debian()).await.refusal());
    let meant = json!({ "server_serial": "S2", "recipe": World::debian(), "reinstall": true });
    let again = world.ask("POST", "/jobs", Some(meant)).await;
    assert_eq!(again.status, 202, "{again:?}");
    world.ask("POST", &format!("/jobs/{}/cancel", again.body["job_id"].as_str().unwrap()), None).await;

    world.add(2).await;
    let failing = world.job("S3", &World::debian(), Script::Fail(vec!["preflight", "partition"])).await;
    assert_eq!(world.complete(&failing).await["status"], "failed");
    book.add("a quarantined machine", &world.submit("S3", &World::debian()).await.refusal());
    assert_eq!(world.ask("POST", "/machines/S3/release", None).await.body["lifecycle"]["state"], "free");
    book.add(
        "a job that cannot be repeated",
        &world.ask("POST", &format!("/jobs/{install}/retry"), None).await.refusal(),
    );
    book.add("a job that nobody knows", &world.ask("GET", "/jobs/nope", None).await.refusal());
    insta::assert_snapshot!(book.0);
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_machine_record_is_refused_and_nothing_is_stored() {
    let world = World::start(1).await;
    let with = |change: &dyn Fn(&mut Value)| {
        let mut body = world.machine(0);
        change(&mut body);
        body
    };
    let table: Vec<(&str, Value)> = vec![
        ("an unknown field", with(&|body| body["owner"] = json!("me"))),
        ("no serial", with(&|body| body["serial"] = json!("  "))),
        ("a placeholder serial", with(&|body| body["serial"] = json!("0123456789"))),
        ("no password", with(&|body| drop(body["bmc"].as_object_mut().unwrap().remove("password")))),
        ("a BMC that is no address", with(&|body| body["bmc"]["url"] = json!("10.0.0.20"))),
        ("a BMC where metadata are", with(&|body| body["bmc"]["url"] = json!("https://169.254.169.254"))),
        ("a BMC on a link alone", with(&|body| body["bmc"]["url"] = json!("https://[fe80::1]:8443"))),
        (
            "credentials in the address",
            with(&|body| body["bmc"]["url"] = json!("https://root:calvin@10.0.0.20")),
        ),
        ("plain http that is not meant", with(&|body| body["bmc"]["plain_http"] = json!(false))),
        ("a pin that is none", with(&|body| body["bmc"]["certificate_sha256"] = json!("abc"))),
    ];
    let mut book = Book::default();
    for (what, body) in table {
        book.add(what, &world.ask("POST", "/machines", Some(body)).await.refusal());
    }
    assert_eq!(world.ask("GET", "/machines", None).await.body["machines"], json!([]));
    world.add(0).await;
    book.add(
        "a serial that is taken",
        &world.ask("POST", "/machines", Some(world.machine(0))).await.refusal(),
    );
    insta::assert_snapshot!(book.0);
    assert!(!book.0.contains("calvin"), "a password was echoed");
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bmc_that_is_down_or_refuses_is_named_and_the_job_ends_with_it() {
    let mut blind = MachineConfig { serial: "BLIND".into(), ..MachineConfig::sim("blind") };
    blind.quirks.blind_insert = false;
    let world =
        World::with(vec![MachineConfig { serial: "S1".into(), ..MachineConfig::sim("s1") }, blind]).await;
    let mut book = Book::default();
    let mut body = world.machine(0);
    body["serial"] = json!("DOWN");
    body["bmc"]["url"] = json!("http://127.0.0.1:1");
    assert_eq!(world.ask("POST", "/machines", Some(body)).await.status, 201);
    book.add("a BMC that is down", &world.ask("GET", "/machines/DOWN/power", None).await.refusal());
    let probed = world.ask("POST", "/machines/DOWN/probe", None).await;
    assert_eq!((probed.status, &probed.body["bootable"]), (200, &json!(false)), "{}", probed.body);
    assert_eq!(probed.body["checks"][0]["verdict"], "no", "{}", probed.body);
    let mut body = world.machine(0);
    body["bmc"]["password"] = json!("wrong-password-17");
    assert_eq!(world.ask("POST", "/machines", Some(body)).await.status, 201);
    book.add("a BMC's wrong password", &world.ask("GET", "/machines/S1/power", None).await.refusal());
    assert!(!book.0.contains("wrong-password-17"), "a password was echoed");

    let id = world.job("S1", &World::inventory(), Script::Silent).await;
    let job = world.complete(&id).await;
    let said = |job: &Value| {
        let text = |name: &str| job[name].as_str().unwrap_or_default().to_owned();
        without_ids(&format!(
            "{} at {} [{}]: {}",
            text("status"),
            text("failed_step"),
            text("reason_code"),
            text("reason")
        ))
    };
    book.add("a job on a BMC with a wrong password", &said(&job));
    assert_eq!(world.ask("GET", "/machines/S1", None).await.body["lifecycle"]["state"], "free");

    // The BMC tries the URL when it is inserted, and cannot reach it.
    let mut body = world.machine(1);
    body["media_url"] = json!("http://127.0.0.1:9");
    assert_eq!(world.ask("POST", "/machines", Some(body)).await.status, 201);
    let id = world.job("BLIND", &World::inventory(), Script::Silent).await;
    book.add("media that the BMC cannot reach", &said(&world.complete(&id).await));
    insta::assert_snapshot!(book.0);
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_with_a_wrong_or_dead_token_changes_nothing() {
    let world = World::start(2).await;
    world.add(0).await;
    world.add(1).await;
    let id = world.job("S1", &World::inventory(), Script::Begin).await;
    world.until(&id, "phase", "installing").await;
    let seen = world.player.seen("S1");
    let report =
        |status: &str| Some(json!({ "status": status, "failed_step": "x.service" }).to_string().into_bytes());
    let mut book = Book::default();
    let tell = async |token: &str, serial: &str, status: &str| {
        world.ask_as(token, "POST", &format!("/status-webhook/{serial}"), &[], report(status)).await
    };
    book.add("no token", &tell("", "S1", "failed").await.refusal());
    book.add("a wrong token", &tell("sls.nonsense", "S1", "failed").await.refusal());
    book.add("a person's token", &tell(&world.token, "S1", "failed").await.refusal());
    let last = seen.session.chars().last().unwrap();
    let bent = format!("{}{}", &seen.session[..seen.session.len() - 1], if last == '0' { '1' } else { '0' });
    book.add("a token with one digit changed", &tell(&bent, "S1", "failed").await.refusal());
    book.add("the medium's token for success", &tell(&seen.bootstrap, "S1", "success").await.refusal());
    book.add("another machine's serial", &tell(&seen.session, "S2", "success").await.refusal());
    let second = json!({ "status": "started", "job_id": id, "attempt": 1, "boot_nonce": "f".repeat(32) });
    let second = Some(second.to_string().into_bytes());
    let answer = world.ask_as(&seen.bootstrap, "POST", "/status-webhook/S1", &[], second).await;
    book.add("another boot of the same attempt", &answer.refusal());
    let broken = Some(b"{\"status\":".to_vec());
    let answer = world.ask_as(&seen.session, "POST", "/status-webhook/S1", &[], broken).await;
    book.add("half a report", &answer.refusal());
    let huge =
        Some(format!("{{\"status\":\"failed\",\"message\":\"{}\"}}", "x".repeat(200 << 10)).into_bytes());
    let answer = world.ask_as(&seen.session, "POST", "/status-webhook/S1", &[], huge).await;
    book.add("too large a report", &answer.refusal());
    assert_eq!(world.ask("GET", &format!("/jobs/{id}"), None).await.body["status"], "provisioning");
    // The secret header is as good as the bearer token.
    let secret = [("x-webhook-secret", seen.session.as_str())];
    let beat = Some(json!({ "status": "heartbeat" }).to_string().into_bytes());
    assert_eq!(world.ask_as("", "POST", "/status-webhook/s1", &secret, beat).await.status, 200);
    world.ask("POST", &format!("/jobs/{id}/cancel"), None).await;
    world.complete(&id).await;
    book.add("a token of a job that is over", &tell(&seen.session, "S1", "success").await.refusal());
    assert_eq!(world.ask("GET", &format!("/jobs/{id}"), None).await.body["status"], "cancelled");
    insta::assert_snapshot!(book.0);
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_a_job_whole_and_room_lets_it_in() {
    let Some(world) = World::small(24 << 20).await else {
        api_support::again_in_a_namespace("a_full_disk_refuses_a_job_whole_and_room_lets_it_in");
        return;
    };
    world.add(0).await;
    let filler = world.state.path().join("filler");
    let mut bytes = std::fs::File::create(&filler).unwrap();
    let piece = vec![1; 4096];
    while std::io::Write::write_all(&mut bytes, &piece).is_ok() {}
    let mut answer = world.submit("S1", &World::inventory()).await;
    for _ in 0..50 {
        if answer.status != 202 {
            break;
        }
        // The write-ahead log still had room of its own.
        let id = answer.body["job_id"].as_str().unwrap().to_owned();
        world.ask("POST", &format!("/jobs/{id}/cancel"), None).await;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        answer = world.submit("S1", &World::inventory()).await;
    }
    insta::assert_snapshot!(answer.refusal().replace(&world.state.path().display().to_string(), "<state>"));
    let before = jobs(&world).await;
    assert_eq!(world.submit("S1", &World::inventory()).await.status, 507);
    assert_eq!(jobs(&world).await, before, "a refused job is there all the same");
    drop(bytes);
    std::fs::remove_file(&filler).unwrap();
    let begun = std::time::Instant::now();
    loop {
        let answer = world.submit("S1", &World::inventory()).await;
        if answer.status == 202 {
            break;
        }
        assert!(begun.elapsed() < api_support::SOON, "there is room, and still: {answer:?}");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    world.server.stop().await;
}
