//! One QEMU process: started so that it dies with us, watched until it ends.

use std::{path::Path, process::Stdio, time::Duration};

use tokio::{
    process::{Child, Command},
    sync::oneshot,
    task::JoinHandle,
};
use tracing::debug;

use super::{
    files::{Files, file_error},
    qmp::{Qmp, Reason},
};
use crate::backend::{BackendError, EndSender, Ended, GuestEnd};

/// Program and the Debian package that has it.
const QEMU: (&str, &str) = ("qemu-system-x86_64", "qemu-system-x86");
/// Makes the kernel kill QEMU when our process ends in any way; package `util-linux`.
const WRAPPER: [&str; 3] = ["setpriv", "--pdeathsig", "KILL"];
/// Deadline for a killed process to be gone.
const KILL_DEADLINE: Duration = Duration::from_secs(20);
/// Deadline for reading what QEMU said before it ended.
const READ_DEADLINE: Duration = Duration::from_secs(5);
/// End of QEMU's messages that is shown, in bytes.
const LOG_SHOWN: usize = 1000;

/// See the module.
pub(crate) struct Process {
    pub qmp: Qmp,
    kill: oneshot::Sender<()>,
    watcher: JoinHandle<()>,
}

impl Process {
    /// Starts QEMU with these arguments and takes up QMP; its end is told to `ends`.
    pub async fn start(
        arguments: &[String],
        files: &Files,
        boot: u64,
        ends: EndSender,
    ) -> Result<Self, BackendError> {
        let log = files.log();
        let doing = |source| file_error("writing", &log, source);
        let errors = std::fs::File::create(&log).map_err(doing)?;
        let mut command = Command::new(WRAPPER[0]);
        command.args(&WRAPPER[1..]).arg(QEMU.0).args(arguments).current_dir(&files.folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors).kill_on_drop(true);
        debug!(boot, ?arguments, "starting QEMU");
        let mut child = command
            .spawn()
            .map_err(|_| BackendError::Missing { path: WRAPPER[0].into(), package: "util-linux" })?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(died(&mut child, &log).await);
        };
        let reason = Reason::default();
        let Ok(qmp) = Qmp::open(to, from, reason.clone()).await else {
            return Err(died(&mut child, &log).await);
        };
        let (kill, killed) = oneshot::channel();
        let watcher = tokio::spawn(watch(child, killed, reason, log, boot, ends));
        Ok(Self { qmp, kill, watcher })
    }

    /// Kills it and waits until it is gone.
    pub async fn kill(self) -> Result<(), BackendError> {
        // The watcher is gone already when QEMU has ended by itself.
        let _ = self.kill.send(());
        let late = || BackendError::Late { what: "SIGKILL of QEMU".into(), seconds: KILL_DEADLINE.as_secs() };
        tokio::time::timeout(KILL_DEADLINE, self.watcher).await.map_err(|_| late())?.ok();
        Ok(())
    }
}

async fn watch(
    mut child: Child,
    killed: oneshot::Receiver<()>,
    reason: Reason,
    log: std::path::PathBuf,
    boot: u64,
    ends: EndSender,
) {
    let status = tokio::select! {
        status = child.wait() => status,
        _ = killed => {
            // An error means that it is gone already.
            let _ = child.kill().await;
            return;
        }
    };
    let how = match (reason.last(READ_DEADLINE).await.as_deref(), status) {
        (Some("guest-reset"), _) => GuestEnd::Restarted,
        (Some("guest-shutdown"), _) => GuestEnd::PoweredOff,
        (other, status) => {
            let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            let reason = other.unwrap_or("no shutdown event");
            GuestEnd::Died(format!("QEMU ended ({status}, {reason}): {}", tail(&log)))
        }
    };
    // The receiver is gone only when the rack is.
    let _ = ends.send(Ended { boot, how });
}

/// Why QEMU would not even talk.
async fn died(child: &mut Child, log: &Path) -> BackendError {
    // It ended by itself, or it shall now.
    let _ = child.start_kill();
    let status = tokio::time::timeout(KILL_DEADLINE, child.wait()).await;
    let status = status.ok().and_then(Result::ok);
    if status.and_then(|status| status.code()) == Some(127) {
        return BackendError::Missing { path: QEMU.0.into(), package: QEMU.1 };
    }
    BackendError::Program {
        program: QEMU.0.into(),
        status: status.map_or_else(|| "no status".into(), |status| status.to_string()),
        stderr: tail(log),
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let mut from = text.len().saturating_sub(LOG_SHOWN);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    text[from..].trim().to_owned()
}
