//! Whom to believe at a BMC's address: shown before anything secret is asked for, pinned on first use, pinned again
//! after a BMC was replaced. The BMCs speak TLS with certificates of their own.
#![allow(clippy::unwrap_used)] // a helper that cannot go on ends its test

mod api_support;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use api_support::{Ran, World};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const NO_ONES: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// SHA-256 of the rack's certificate.
fn fingerprint(world: &World) -> String {
    let pem = world.rack.machine(0).certificate().unwrap();
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
    hex::encode(Sha256::digest(&pem.contents))
}

async fn add(world: &World, more: &[&str], stdin: &str) -> Ran {
    let url = world.rack.machine(0).base_url();
    let base = ["machine", "add", "S1", "--bmc", url, "--bmc-user", "admin"];
    world.slipway(&[&base[..], more].concat(), stdin).await
}

/// Runs the program on a terminal and answers each prompt once it is there; stderr and exit code.
async fn typed(world: &World, args: &[&str], answers: &[(&str, &str)]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slipway"));
    command.args(args).env("SLIPWAY_URL", &world.server.api_url).env("SLIPWAY_STATE_DIR", world.state.path());
    let answers: Vec<_> = answers.iter().map(|(wait, say)| ((*wait).to_owned(), (*say).to_owned())).collect();
    tokio::task::spawn_blocking(move || {
        let terminal = nix::pty::openpty(None, None).unwrap();
        let mut keyboard = File::from(terminal.master);
        let mut child = command
            .stdin(Stdio::from(terminal.slave))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let (mut text, mut answers) = (Vec::new(), answers.into_iter().peekable());
        let mut piece = [0; 4096];
        loop {
            let count = stderr.read(&mut piece).unwrap();
            if count == 0 {
                break;
            }
            text.extend_from_slice(&piece[..count]);
            if answers.peek().is_some_and(|(wait, _)| String::from_utf8_lossy(&text).contains(wait.as_str()))
            {
                // The password's prompt is there a moment before the terminal stops to show what is typed.
                std::thread::sleep(std::time::Duration::from_millis(200));
                keyboard.write_all(answers.next().unwrap().1.as_bytes()).unwrap();
            }
        }
        assert!(answers.peek().is_none(), "never asked: {:?}", answers.collect::<Vec<_>>());
        (child.wait().unwrap().code().unwrap(), String::from_utf8(text).unwrap())
    })
    .await
    .unwrap()
}

fn untouched(world: &World) -> bool {
    world.rack.machine(0).requests().is_empty()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_certificate_is_shown_and_pinned_before_anything_secret_is_sent() {
    let world = World::secure().await;
    let pin = fingerprint(&world);
    let ran = add(&world, &["--pin-first-use"], "password\n").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let url = world.rack.machine(0).base_url();
    let said = ran.err.replace(url, "https://<bmc>").replace(&pin, "<sha256>");
    insta::assert_snapshot!(said);
    assert!(untouched(&world), "looking is no request");
    let shown = world.slipway(&["machine", "show", "S1"], "").await.out;
    assert!(shown.contains(&format!("certificate {pin}")), "{shown}");
    assert_eq!(world.slipway(&["machine", "power", "S1"], "").await.out, "off\n");

    // Changing something else leaves the pin as it is, and looks at nothing.
    let ran = add(&world, &["--replace", "--label", "rack=7"], "").await;
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    let shown = world.slipway(&["machine", "show", "S1"], "").await.out;
    assert!(shown.contains(&pin) && shown.contains("rack"), "{shown}");
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_terminal_nothing_is_pinned_unasked() {
    let world = World::secure().await;
    let ran = add(&world, &[], "password\n").await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.err.contains("nobody is there to be asked") && ran.err.contains("--pin-first-use"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains(&fingerprint(&world)), "{}", ran.err);
    assert_eq!(world.ask("GET", "/machines", None).await.body["machines"], json!([]));
    let ran = add(&world, &["--no-pin"], "password\n").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let shown = world.slipway(&["machine", "show", "S1"], "").await.out;
    assert!(shown.contains("by the system's authorities"), "{shown}");
    let ran = world.slipway(&["machine", "power", "S1"], "").await;
    assert!(ran.err.contains("slipway machine repin"), "{}", ran.err);
    assert!(untouched(&world), "a certificate that is not trusted got a request");
    let ran = add(&world, &["--pin-first-use", "--no-pin"], "").await;
    assert_eq!(ran.code, 64, "{ran:?}");
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_a_person_decides_and_only_then_types_the_password() {
    let world = World::secure().await;
    let url = world.rack.machine(0).base_url().to_owned();
    let args = ["machine", "add", "S1", "--bmc", &url, "--bmc-user", "admin"];
    let (code, said) = typed(&world, &args, &[("[y/N] ", "n\n")]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("not pinned, and nothing is changed") && !said.contains("Password of"), "{said}");
    assert_eq!(world.ask("GET", "/machines", None).await.body["machines"], json!([]));
    let (code, said) = typed(&world, &args, &[("[y/N] ", "y\n"), ("Password of", "password\n")]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.find("[y/N]").unwrap() < said.find("Password of").unwrap(), "{said}");
    assert!(untouched(&world), "looking is no request");
    assert_eq!(world.slipway(&["machine", "power", "S1"], "").await.out, "off\n");
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bmc_with_a_new_certificate_is_pinned_again_and_the_change_is_on_record() {
    let world = World::secure().await;
    let pin = fingerprint(&world);
    let ran = add(&world, &["--pin", NO_ONES], "password\n").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let ran = world.slipway(&["machine", "probe", "S1"], "").await;
    assert!(ran.out.contains(&pin) && ran.out.contains("slipway machine repin"), "{}", ran.out);
    assert_eq!(ran.code, 1);
    let ran = world.slipway(&["machine", "repin", "S1"], "").await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.err.contains(&format!("Trusted until now: {NO_ONES}")) && ran.err.contains("--yes"),
        "{}",
        ran.err
    );
    assert!(untouched(&world), "a certificate that is not trusted got a request");
    let (code, said) = typed(&world, &["machine", "repin", "S1"], &[("[y/N] ", "y\n")]).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(world.slipway(&["machine", "power", "S1"], "").await.out, "off\n");
    let ran = world.slipway(&["machine", "repin", "S1", "--yes"], "").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "S1 is pinned to it already\n"), "{ran:?}");
    let colons: Vec<&str> = (0..32).map(|at| &NO_ONES[at * 2..at * 2 + 2]).collect();
    let ran = world.slipway(&["machine", "repin", "S1", "--pin", &colons.join(":")], "").await;
    assert_eq!(ran.code, 0, "{ran:?}");

    let audit = world.server.workflow.store().audit_log(None, 100).unwrap();
    let details: Vec<String> = audit
        .iter()
        .rev()
        .filter(|(_, entry)| entry.object.ends_with("/pin") || entry.object.ends_with("/bmc-certificate"))
        .filter_map(|(_, entry)| Some(format!("{}: {}", entry.actor, entry.detail.as_ref()?)))
        .collect();
    let url = world.rack.machine(0).base_url();
    let details = details.join("\n").replace(url, "https://<bmc>").replace(&pin, "<sha256>");
    insta::assert_snapshot!(details);
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_goes_only_where_bmcs_may_be_and_needs_an_operator() {
    let world = World::start(1).await;
    let look = async |url: &str| world.ask("POST", "/bmc-certificate", Some(json!({ "url": url }))).await;
    let mut book = String::new();
    for url in [
        "https://169.254.169.254",
        "https://[fe80::1]",
        "https://100.100.100.200",
        "https://224.0.0.1",
        "https://0.0.0.0",
        "http://192.0.2.20",
        "192.0.2.20",
        "https://root:calvin@192.0.2.20",
        "https://127.0.0.1:1",
    ] {
        book = format!("{book}{}\n", look(url).await.refusal());
    }
    let plain = world.rack.machine(0).base_url().replace("http://", "https://");
    book = format!("{book}{}\n", look(&plain).await.refusal());
    assert!(!book.contains("calvin"), "a password was echoed");
    world.add(0).await;
    let pin = |value: &str| Some(json!({ "certificate_sha256": value }));
    for (serial, value) in [("S1", NO_ONES), ("NOPE", NO_ONES), ("S1", "abc")] {
        let answer = world.ask("POST", &format!("/machines/{serial}/pin"), pin(value)).await;
        book = format!("{book}{}\n", answer.refusal());
    }
    let viewer = json!({ "name": "looker", "role": "viewer", "days": 1 });
    let viewer = world.ask("POST", "/tokens", Some(viewer)).await.body["secret"].as_str().unwrap().to_owned();
    for path in ["/bmc-certificate", "/machines/S1/pin"] {
        let body: Option<Vec<u8>> = Some(Value::Null.to_string().into_bytes());
        book = format!("{book}{}\n", world.ask_as(&viewer, "POST", path, &[], body).await.refusal());
    }
    insta::assert_snapshot!(book);
    assert!(untouched(&world));
    world.server.stop().await;
}
