//! The server behind a simulated BMC: reads the task medium and reports what its script says, as the dispatcher
//! would. It checks nothing; that is the dispatcher's, whose own tests see to it.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use mock_redfish::{Boot, Host, HostExit, HostPower};
use serde_json::{Value, json};

/// What a host does.
#[derive(Debug, Clone, Default)]
pub enum Script {
    /// Boots and is never heard.
    #[default]
    Silent,
    /// Runs these steps and succeeds.
    Succeed(Vec<&'static str>),
    /// Runs the steps before the last, which fails.
    Fail(Vec<&'static str>),
    /// Asks to go on and says no more.
    Begin,
}

/// What a host learned that tests ask for later.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub job: Value,
    pub bootstrap: String,
    pub session: String,
}

/// Plays every host of a rack.
#[derive(Debug, Default)]
pub struct Player {
    scripts: Mutex<HashMap<String, Script>>,
    seen: Mutex<HashMap<String, Seen>>,
    pause: Mutex<Duration>,
}

impl Player {
    /// What the machine does from its next boot on.
    pub fn script(&self, serial: &str, script: Script) {
        self.scripts.lock().unwrap().insert(serial.to_owned(), script);
    }

    /// How long every step takes after it said that it is half done.
    pub fn pause(&self, pause: Duration) {
        *self.pause.lock().unwrap() = pause;
    }

    /// What the machine's last boot learned.
    pub fn seen(&self, serial: &str) -> Seen {
        self.seen.lock().unwrap().get(serial).cloned().unwrap_or_default()
    }

    fn learn(&self, serial: &str, change: impl FnOnce(&mut Seen)) {
        change(self.seen.lock().unwrap().entry(serial.to_owned()).or_default());
    }
}

/// `job.json` out of the bytes of a task medium: files lie there in one piece.
fn job_json(medium: &[u8]) -> Value {
    let mark = b"\"bootstrap_token\"";
    let at = medium.windows(mark.len()).position(|window| window == mark).expect("a task medium");
    // The nearest brace before the mark from which a whole document with it can be read.
    (0..at)
        .rev()
        .filter(|at| medium[*at] == b'{')
        .find_map(|at| {
            let value =
                serde_json::Deserializer::from_slice(&medium[at..]).into_iter::<Value>().next()?.ok()?;
            value.get("bootstrap_token").is_some().then_some(value)
        })
        .expect("job.json")
}

struct Line {
    http: reqwest::Client,
    url: String,
    base: Value,
}

impl Line {
    async fn tell(&self, token: &str, mut report: Value) -> Result<Value, u16> {
        for (name, value) in self.base.as_object().unwrap() {
            report[name] = value.clone();
        }
        report["delivery_id"] = json!(uuid::Uuid::new_v4());
        loop {
            let sent = self.http.post(&self.url).bearer_auth(token).json(&report).send().await;
            let Ok(response) = sent else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let status = response.status().as_u16();
            let body = response.json().await.unwrap_or(Value::Null);
            return if status == 200 { Ok(body) } else { Err(status) };
        }
    }
}

impl Player {
    async fn work(&self, serial: &str, medium: &[u8], script: Script) -> HostExit {
        let job = job_json(medium);
        let bootstrap = job["bootstrap_token"].as_str().unwrap().to_owned();
        self.learn(serial, |seen| {
            seen.job = job.clone();
            seen.bootstrap.clone_from(&bootstrap);
        });
        let ca = reqwest::Certificate::from_pem(job["site_ca"].as_str().unwrap().as_bytes()).unwrap();
        let http = reqwest::Client::builder().tls_certs_only([ca]).no_proxy().build().unwrap();
        let line = Line {
            http,
            url: format!("{}/api/v1/status-webhook/{serial}", job["api_url"].as_str().unwrap()),
            base: json!({ "job_id": job["job_id"], "attempt": job["attempt"], "boot_nonce": "0".repeat(32) }),
        };
        let (steps, fails) = match script {
            Script::Silent => return HostExit::Stays,
            Script::Begin => (vec![], None),
            Script::Succeed(steps) => (steps, Some(false)),
            Script::Fail(steps) => (steps, Some(true)),
        };
        let Ok(answer) = line.tell(&bootstrap, json!({ "status": "started" })).await else {
            return HostExit::Stays;
        };
        let session = answer["session_token"].as_str().unwrap().to_owned();
        self.learn(serial, |seen| seen.session.clone_from(&session));
        let Some(fails) = fails else { return HostExit::Stays };
        let last = steps.len() - 1;
        for (number, step) in steps.iter().enumerate() {
            let unit = format!("{step}.service");
            let report = |state: &str| json!({ "status": "step", "step": unit, "step_state": state });
            line.tell(&session, report("started")).await.unwrap();
            line.tell(&session, json!({ "status": "progress", "step": unit, "done": 50, "total": 100 }))
                .await
                .unwrap();
            let pause = *self.pause.lock().unwrap();
            tokio::time::sleep(pause).await;
            if fails && number == last {
                let report = json!({ "status": "failed", "failed_step": unit, "exit_code": 1,
                    "message": "the layer is gone", "log_tail": "line one\nline two" });
                line.tell(&session, report).await.unwrap();
                let journal = format!("the whole journal\nwith {session}\nand its end\n");
                let to = format!("{}/logs?name=journal", line.url);
                // Whether it is kept is the test's to say.
                let _ = line.http.post(to).bearer_auth(&session).body(journal).send().await;
                return HostExit::PoweredOff;
            }
            line.tell(&session, report("finished")).await.unwrap();
        }
        line.tell(&session, json!({ "status": "success" })).await.unwrap();
        HostExit::PoweredOff
    }
}

#[async_trait]
impl Host for Player {
    async fn booted(&self, boot: Boot, _power: HostPower) -> HostExit {
        let Some(url) = boot.other_media().first().map(|url| (*url).to_owned()) else {
            return HostExit::Stays;
        };
        let script = self.scripts.lock().unwrap().get(&boot.serial).cloned().unwrap_or_default();
        // A controller that was killed meanwhile serves nothing.
        let Ok(answer) = reqwest::get(url).await else { return HostExit::Stays };
        let Ok(medium) = answer.bytes().await else { return HostExit::Stays };
        self.work(&boot.serial, &medium, script).await
    }
}
