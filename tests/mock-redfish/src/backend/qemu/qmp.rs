//! QMP over QEMU's stdin and stdout: one command at a time, every one with a deadline; remembers why the
//! guest went down.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    sync::{oneshot, watch},
    task::JoinHandle,
};
use tracing::trace;

use crate::backend::BackendError;

/// Deadline of a command; reading a disc over a slow network is the slowest.
const DEADLINE: Duration = Duration::from_secs(60);
/// Longest line QEMU may send, in bytes.
const LINE_LIMIT: u64 = 4 << 20;

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>;

/// A QMP connection.
pub(crate) struct Qmp {
    to: Box<dyn AsyncWrite + Send + Unpin>,
    waiting: Waiting,
    next: u64,
    reader: JoinHandle<()>,
}

/// Why the guest went down, as QEMU's `SHUTDOWN` event said, if it did.
#[derive(Debug, Clone)]
pub(crate) struct Reason(Arc<watch::Sender<Heard>>);

#[derive(Debug, Default)]
struct Heard {
    reason: Option<String>,
    /// QEMU says nothing more.
    ended: bool,
}

impl Default for Reason {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Heard::default())))
    }
}

impl Reason {
    /// The reason known now.
    pub fn get(&self) -> Option<String> {
        self.0.borrow().reason.clone()
    }

    /// The reason once everything QEMU said has been read, at the latest after `within`.
    pub async fn last(&self, within: Duration) -> Option<String> {
        let mut heard = self.0.subscribe();
        // Late or not: what is known is all there is.
        let _ = tokio::time::timeout(within, heard.wait_for(|heard| heard.ended)).await;
        self.get()
    }

    fn set(&self, reason: &str) {
        self.0.send_modify(|heard| heard.reason = Some(reason.into()));
    }

    fn end(&self) {
        self.0.send_modify(|heard| heard.ended = true);
    }
}

impl Qmp {
    /// Takes up the connection and negotiates.
    pub async fn open(
        to: impl AsyncWrite + Send + Unpin + 'static,
        from: impl AsyncRead + Send + Unpin + 'static,
        reason: Reason,
    ) -> Result<Self, BackendError> {
        let waiting = Waiting::default();
        let reader = tokio::spawn(read(from, waiting.clone(), reason));
        let mut qmp = Self { to: Box::new(to), waiting, next: 0, reader };
        qmp.run("qmp_capabilities", json!({})).await?;
        Ok(qmp)
    }

    /// Runs a command.
    pub async fn run(&mut self, command: &str, arguments: Value) -> Result<Value, BackendError> {
        let refused = |reason: &str| BackendError::Qmp { command: command.into(), reason: reason.into() };
        self.next += 1;
        let (tell, told) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(self.next, tell);
        let line = json!({"execute": command, "arguments": arguments, "id": self.next}).to_string() + "\n";
        let answered = async {
            self.to.write_all(line.as_bytes()).await.map_err(|_| refused("QEMU has ended"))?;
            self.to.flush().await.map_err(|_| refused("QEMU has ended"))?;
            told.await.map_err(|_| refused("QEMU has ended"))
        };
        let answer = tokio::time::timeout(DEADLINE, answered).await.map_err(|_| BackendError::Late {
            what: format!("QMP command {command}"),
            seconds: DEADLINE.as_secs(),
        })??;
        match answer.get("error") {
            Some(error) => Err(refused(error["desc"].as_str().unwrap_or("no reason given"))),
            None => Ok(answer["return"].clone()),
        }
    }
}

impl Drop for Qmp {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read(from: impl AsyncRead + Unpin, waiting: Waiting, reason: Reason) {
    let mut lines = BufReader::new(from);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut lines).take(LINE_LIMIT).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        let Ok(message) = serde_json::from_slice::<Value>(&line) else { continue };
        trace!(%message, "QMP");
        if message["event"] == "SHUTDOWN" {
            reason.set(message["data"]["reason"].as_str().unwrap_or_default());
        }
        if let Some(id) = message["id"].as_u64()
            && let Some(tell) = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&id)
        {
            // Who asked may have given up.
            let _ = tell.send(message);
        }
    }
    reason.end();
    // Everyone still waiting learns that QEMU has ended.
    waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays QEMU: answers each line with the next of `answers`.
    async fn played(answers: Vec<&'static str>) -> (Result<Qmp, BackendError>, Reason) {
        let (ours, theirs) = tokio::io::duplex(4096);
        let (their_in, mut their_out) = tokio::io::split(theirs);
        tokio::spawn(async move {
            their_out.write_all(b"{\"QMP\": {}}\n").await.unwrap();
            let mut lines = BufReader::new(their_in).lines();
            for answer in answers {
                lines.next_line().await.unwrap();
                their_out.write_all(answer.as_bytes()).await.unwrap();
                their_out.write_all(b"\n").await.unwrap();
            }
        });
        let (our_in, our_out) = tokio::io::split(ours);
        let reason = Reason::default();
        (Qmp::open(our_out, our_in, reason.clone()).await, reason)
    }

    #[tokio::test]
    async fn answers_errors_events_and_the_end_are_told_apart() {
        let (qmp, reason) = played(vec![
            r#"{"return": {}, "id": 1}"#,
            "not json\n{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, \"reason\": \"guest-reset\"}}\n{\"return\": {\"running\": true}, \"id\": 2}",
            r#"{"error": {"class": "GenericError", "desc": "drive is locked"}, "id": 3}"#,
        ])
        .await;
        let mut qmp = qmp.unwrap();
        assert_eq!(qmp.run("query-status", json!({})).await.unwrap()["running"], true);
        assert_eq!(reason.get().as_deref(), Some("guest-reset"));
        let refused = qmp.run("eject", json!({})).await.unwrap_err().to_string();
        assert_eq!(refused, "QMP command eject was refused: drive is locked");
        let ended = qmp.run("cont", json!({})).await.unwrap_err().to_string();
        assert_eq!(ended, "QMP command cont was refused: QEMU has ended");
    }
}
