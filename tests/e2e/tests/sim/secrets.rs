//! Secrets are nowhere they should not be: not in answers, timelines, callbacks, logs, nor readable on disk.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use e2e::sim::{Moment, PASSWORD, Receiver, WITHIN};
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use super::support::site;

/// In the user-data of the recipe of this test only.
const PAYLOAD: &str = "join-key-4f1d9b-that-nobody-may-see";
const ENV: &str = "env-value-77c1-that-nobody-may-see";

/// Everything that this process logs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Every file below a folder.
fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

fn holds(bytes: &[u8], secret: &str) -> bool {
    bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_shows_in_answers_timeline_callbacks_logs_or_files() {
    let log = Log::default();
    // Deeper than the product's own log, and without its redaction: nothing secret may even get that far.
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    // Some other test's subscriber would make the search below meaningless.
    tracing_subscriber::util::SubscriberInitExt::try_init(subscriber).unwrap();

    let site = site().await;
    let receiver = Receiver::start().await.unwrap();
    site.stage(0).script(|script| {
        script.fails_at = Some(("image-linux", 1));
        script.log_tail = format!("cloud-init said: password: {PAYLOAD} and {ENV}");
    });
    let mut recipe = site.recipe();
    recipe["user_data"] = json!(format!("#cloud-config\npassword: {PAYLOAD}\n"));
    recipe["env"] = json!({ "JOIN_KEY": ENV });
    site.stage(0).hold_at(Moment::Asking);
    let body = json!({ "server_serial": site.serial(0), "recipe": recipe, "callback_url": receiver.url() });
    let id = site.api().submit_with(body.clone()).await.unwrap();
    site.stage(0).reached(WITHIN).await.unwrap();

    let admin = std::fs::read_to_string(site.state().join("admin.token")).unwrap().trim().to_owned();
    let bootstrap = format!("slb.{id}");
    let session = format!("sls.{id}");
    let secrets = [PASSWORD, PAYLOAD, ENV, admin.as_str(), bootstrap.as_str(), session.as_str()];

    // While the recipe is alive nothing of it is readable in the store either.
    let mut kept = Vec::new();
    files(site.state(), &mut kept);
    assert!(kept.iter().any(|path| path.ends_with("slipway.sqlite")), "{kept:?}");
    for path in kept.iter().filter(|path| !path.ends_with("admin.token")) {
        let bytes = std::fs::read(path).unwrap();
        for secret in secrets {
            assert!(!holds(&bytes, secret), "{secret:.12}… is readable in {}", path.display());
        }
    }
    site.stage(0).go_on();
    site.api().wait_complete(&id).await.unwrap();
    receiver.wait("job.complete", WITHIN).await.unwrap();

    let serial = site.serial(0);
    let mut shown = Vec::new();
    for path in [
        "/api/v1/jobs".to_owned(),
        format!("/api/v1/jobs/{id}"),
        format!("/api/v1/jobs/{id}/events"),
        format!("/api/v1/jobs/{id}/logs"),
        "/api/v1/machines".to_owned(),
        format!("/api/v1/machines/{serial}"),
        "/api/v1/tokens".to_owned(),
        "/metrics".to_owned(),
        "/readyz".to_owned(),
    ] {
        let answer = site.api().get(&path).await.unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        shown.push((path, answer.text));
    }
    let logs = &shown[3].1;
    assert!(logs.contains("cloud-init said"), "the log is not there at all: {logs}");
    let plan = site.api().post("/api/v1/jobs?dry_run=true", body).await.unwrap();
    shown.push(("dry run".to_owned(), plan.text));
    shown.extend(receiver.calls().into_iter().map(|call| ("callback".to_owned(), call.text)));
    let console = site.machine(0).console();
    shown.push(("console".to_owned(), console));
    let text = log.text();
    assert!(text.contains("job accepted") && text.contains(&id), "the log was not captured");
    shown.push(("log".to_owned(), text));
    for (place, text) in shown {
        for secret in secrets {
            if let Some(at) = text.find(secret) {
                let from = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
                let line: String = text[from..].chars().take(300).collect();
                panic!("{secret:.12}… shows in {place}: {line}");
            }
        }
    }
    site.end().await;
}
