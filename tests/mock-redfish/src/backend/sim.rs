//! The instant machine: no firmware, no disk. A [`Host`] plays what runs; without one nothing runs and the
//! machine stays on until its power is cut.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::task::JoinHandle;

use super::{
    Backend, BackendError, EndSender, Ended, GuestEnd,
    host::{Boot, Host, HostExit, HostPower},
};

/// See the module.
pub(crate) struct Sim {
    host: Option<Arc<dyn Host>>,
    power: HostPower,
    ends: EndSender,
    running: Option<(u64, JoinHandle<()>)>,
}

impl Sim {
    pub fn new(host: Option<Arc<dyn Host>>, power: HostPower, ends: EndSender) -> Self {
        Self { host, power, ends, running: None }
    }
}

#[async_trait]
impl Backend for Sim {
    async fn start(&mut self, boot: &Boot) -> Result<(), BackendError> {
        self.stop().await?;
        let (host, power, ends, boot) =
            (self.host.clone(), self.power.clone(), self.ends.clone(), boot.clone());
        let number = boot.number;
        let task = tokio::spawn(async move {
            let exit = match host {
                Some(host) => host.booted(boot, power).await,
                None => HostExit::Stays,
            };
            let how = match exit {
                HostExit::PoweredOff => GuestEnd::PoweredOff,
                HostExit::Restarted => GuestEnd::Restarted,
                HostExit::Stays => return,
            };
            // The receiver is gone only when the rack is.
            let _ = ends.send(Ended { boot: number, how });
        });
        self.running = Some((number, task));
        Ok(())
    }

    async fn stop(&mut self) -> Result<(), BackendError> {
        if let Some((_, task)) = self.running.take() {
            task.abort();
            // Aborted or done: either way it runs no more.
            let _ = task.await;
        }
        Ok(())
    }

    async fn press_button(&mut self) -> Result<(), BackendError> {
        if let Some((boot, task)) = self.running.take() {
            task.abort();
            let _ = task.await;
            let _ = self.ends.send(Ended { boot, how: GuestEnd::PoweredOff });
        }
        Ok(())
    }

    async fn insert(&mut self, _slot: usize, _url: &str) -> Result<(), BackendError> {
        Ok(()) // The board holds the media; a host reads them from the next `Boot`.
    }

    async fn eject(&mut self, _slot: usize) -> Result<(), BackendError> {
        Ok(())
    }

    async fn wipe_nvram(&mut self) -> Result<(), BackendError> {
        Ok(())
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        if let Some((_, task)) = &self.running {
            task.abort();
        }
    }
}
