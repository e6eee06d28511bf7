//! A machine with a BMC, in memory: it records what was asked, can refuse, lie, hang, and boots a "host" when it is
//! switched on with our media in and the override set.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::model::{Machine, Secret};
use crate::redfish::{
    Bmc, BmcError, Evidence, HttpBoot, Look, Power, Probe, RefusalKind, Signs, Slot, SlotId,
};
use crate::workflow::{Bmcs, EdgeError};

/// When an operation hangs for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hang {
    Before,
    After,
}

#[derive(Default)]
pub struct State {
    pub power_on: bool,
    /// slot → image
    pub slots: Vec<(String, Option<String>)>,
    pub once: bool,
    pub serial: String,
    /// Mutating calls in order, as `name argument`.
    pub calls: Vec<String>,
    /// Errors to answer next, by operation.
    pub faults: HashMap<&'static str, VecDeque<fn() -> BmcError>>,
    /// Error that every operation answers.
    pub dead: Option<fn() -> BmcError>,
    /// The n-th mutating call (from 0) hangs.
    pub hang: Option<(usize, Hang)>,
    /// Boots from our media so far.
    pub boots: u32,
    /// Sessions open.
    pub open: i32,
    pub passwords: Vec<String>,
    /// Boots of the installed disk.
    pub disk_boots: u32,
    /// What it says of HTTP boot; nothing: that it has none.
    pub http_boot: Option<HttpBoot>,
    /// What firmware was told to boot.
    pub http_uri: Option<String>,
    pub boot_progress: Option<String>,
    /// Version of its firmware, when not 1.0.
    pub firmware: Option<&'static str>,
    /// What a client says that it is at.
    pub at_work: Option<String>,
    /// What a client says of how it speaks to its BMC.
    pub notes: Vec<String>,
    /// What it tells whoever listens.
    pub signs: Option<watch::Sender<u64>>,
    /// How often somebody began to listen.
    pub listened: u32,
    /// It forgets what is in the first slot when the second is filled.
    pub drops_first: bool,
}

#[derive(Clone, Default)]
pub struct FakeBmc(Arc<Mutex<State>>);

impl FakeBmc {
    pub fn new(serial: &str) -> Self {
        let bmc = Self::default();
        {
            let mut state = bmc.state();
            state.serial = serial.to_owned();
            state.slots = vec![("Cd".to_owned(), None), ("Usb".to_owned(), None)];
            state.boot_progress = Some("OSRunning".to_owned());
        }
        bmc
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub fn fault(&self, operation: &'static str, error: fn() -> BmcError) {
        self.state().faults.entry(operation).or_default().push_back(error);
    }

    pub fn images(&self) -> Vec<Option<String>> {
        self.state().slots.iter().map(|(_, image)| image.clone()).collect()
    }

    fn check(&self, operation: &'static str) -> Result<(), BmcError> {
        let mut state = self.state();
        if let Some(dead) = state.dead {
            return Err(dead());
        }
        match state.faults.get_mut(operation).and_then(VecDeque::pop_front) {
            Some(error) => Err(error()),
            None => Ok(()),
        }
    }

    async fn change(
        &self,
        operation: &'static str,
        argument: &str,
        effect: impl FnOnce(&mut State) + Send,
    ) -> Result<Evidence, BmcError> {
        let (n, hang) = {
            let mut state = self.state();
            state.calls.push(format!("{operation} {argument}"));
            (state.calls.len() - 1, state.hang)
        };
        if hang == Some((n, Hang::Before)) {
            std::future::pending::<()>().await;
        }
        self.check(operation)?;
        effect(&mut self.state());
        if hang == Some((n, Hang::After)) {
            std::future::pending::<()>().await;
        }
        Ok(Evidence { seen: format!("seen: {operation} {argument}"), requests: 2 })
    }
}

impl State {
    fn power(&mut self, on: bool) {
        if on && !self.power_on {
            if self.once && (self.http_uri.is_some() || self.slots.iter().any(|(_, image)| image.is_some())) {
                self.boots += 1;
            } else {
                self.disk_boots += 1;
            }
            self.once = false;
        }
        self.power_on = on;
    }
}

pub fn unreachable_bmc() -> BmcError {
    BmcError::Unreachable { endpoint: "https://10.0.0.20".to_owned(), source: "connection refused".into() }
}

pub fn wrong_password() -> BmcError {
    BmcError::Credentials { endpoint: "https://10.0.0.20".to_owned() }
}

pub fn media_unreachable() -> BmcError {
    BmcError::Refused {
        endpoint: "https://10.0.0.20".to_owned(),
        what: "inserting http://10.0.0.5:8080/m/x/maintenance.iso into /redfish/v1/Cd".to_owned(),
        status: 400,
        kind: RefusalKind::Image,
        message_id: Some("Base.1.12.ResourceAtUriUnauthorized".to_owned()),
        message: "The image could not be reached from the BMC.".to_owned(),
    }
}

#[async_trait]
impl Bmc for FakeBmc {
    fn endpoint(&self) -> String {
        "https://10.0.0.20".to_owned()
    }
    async fn probe(&self) -> Result<Probe, BmcError> {
        self.check("probe")?;
        let power = self.power().await?;
        let slots = self.slots().await?;
        let state = self.state();
        Ok(Probe {
            vendor: Some("Fake".to_owned()),
            model: Some("One".to_owned()),
            firmware: Some(state.firmware.unwrap_or("1.0").to_owned()),
            serial: Some(state.serial.clone()),
            uuid: None,
            macs: vec![],
            power,
            slots,
            boot_targets: vec!["Cd".to_owned()],
            http_boot: state.http_boot.unwrap_or(HttpBoot::NotOffered),
            boots_once: Some("Cd".to_owned()),
            system: "/redfish/v1/Systems/1".to_owned(),
            family: "a fake".to_owned(),
            advice: vec!["do not buy it".to_owned()],
            schemes: vec![],
            skew_seconds: Some(3),
            encrypted: true,
        })
    }
    async fn power(&self) -> Result<Power, BmcError> {
        self.check("power")?;
        Ok(if self.state().power_on { Power::On } else { Power::Off })
    }
    async fn look(&self) -> Result<Look, BmcError> {
        self.check("look")?;
        let power = self.power().await?;
        let boot_progress = self.state().boot_progress.clone();
        Ok(Look { power, boot_progress })
    }
    fn at_work(&self) -> Option<String> {
        self.state().at_work.clone()
    }
    fn notes(&self) -> Vec<String> {
        self.state().notes.clone()
    }
    async fn signs(&self) -> Option<Signs> {
        self.state().listened += 1;
        self.state().signs.as_ref().map(|tell| Signs::of(tell.subscribe()))
    }
    async fn set_power(&self, wanted: Power) -> Result<Evidence, BmcError> {
        self.change("power", &format!("{wanted:?}"), |state| state.power(wanted == Power::On)).await
    }
    async fn slots(&self) -> Result<Vec<Slot>, BmcError> {
        self.check("slots")?;
        let slot = |(id, image): &(String, Option<String>)| Slot {
            id: SlotId(id.clone()),
            media_types: if id == "Cd" { vec!["CD".to_owned()] } else { vec!["USBStick".to_owned()] },
            inserted: image.is_some(),
            image: image.clone(),
            boots: id == "Cd",
        };
        Ok(self.state().slots.iter().map(slot).collect())
    }
    async fn insert(&self, slot: &SlotId, url: &str) -> Result<Evidence, BmcError> {
        if slot.0 == "Usb" {
            self.check("insert second")?;
        }
        self.change("insert", &slot.0, |state| {
            for (id, image) in &mut state.slots {
                if *id == slot.0 {
                    *image = Some(url.to_owned());
                } else if state.drops_first {
                    *image = None;
                }
            }
        })
        .await
    }
    async fn eject(&self, slot: &SlotId) -> Result<Evidence, BmcError> {
        self.change("eject", &slot.0, |state| {
            for (id, image) in &mut state.slots {
                if *id == slot.0 {
                    *image = None;
                }
            }
        })
        .await
    }
    async fn boot_once(&self, slot: &SlotId) -> Result<Evidence, BmcError> {
        self.change("once", &slot.0, |state| state.once = true).await
    }
    async fn boot_http(&self, uri: &str) -> Result<Evidence, BmcError> {
        self.change("http", "", |state| {
            state.once = true;
            state.http_uri = Some(uri.to_owned());
        })
        .await
    }
    async fn clear_boot(&self, ours: Option<&str>) -> Result<Evidence, BmcError> {
        self.change("clear", "", |state| {
            state.once = false;
            state.http_uri = state.http_uri.take().filter(|uri| Some(uri.as_str()) != ours);
        })
        .await
    }
    async fn close(&self) {
        self.state().open -= 1;
    }
}

impl Bmcs for FakeBmc {
    fn connect(&self, _machine: &Machine, password: Secret<String>) -> Result<Arc<dyn Bmc>, EdgeError> {
        let mut state = self.state();
        state.open += 1;
        state.passwords.push(password.expose().clone());
        drop(state);
        Ok(Arc::new(self.clone()))
    }
}
