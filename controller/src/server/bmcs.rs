//! The workflow's [`Bmcs`] over Redfish: a machine's record becomes a client.

use std::sync::Arc;

use crate::model::{BmcTls, Machine, Secret};
use crate::redfish::{
    Bmc, BmcAddress, Credentials, Entry, Gates, Password, Profiles, RedfishBmc, Standing, TlsTrust, Waits,
    Walks,
};
use crate::workflow::{Bmcs, EdgeError};

/// Reaches BMCs by Redfish.
#[derive(Debug, Clone)]
pub struct RedfishBmcs {
    /// Whether machines may be marked as having a plain HTTP BMC.
    pub allow_plain_http: bool,
    /// How long BMCs are given.
    pub waits: Waits,
    /// What is known of BMC families.
    pub profiles: Arc<Profiles>,
    /// What was found on BMCs lately.
    pub walks: Arc<Walks>,
    /// How much they are asked.
    pub gates: Gates,
    /// Label that names a machine's site.
    pub site_label: String,
}

impl RedfishBmcs {
    fn client(
        &self,
        machine: &Machine,
        password: &Secret<String>,
        by_hand: bool,
    ) -> Result<Arc<dyn Bmc>, EdgeError> {
        let address = address(machine, self.allow_plain_http)?;
        let credentials = Credentials {
            user: machine.bmc.user.clone(),
            password: Password::new(password.expose().as_str()),
        };
        let site = machine.labels.get(&self.site_label).map_or("", String::as_str);
        let entry = Entry { gates: &self.gates, site, by_hand };
        let bmc = RedfishBmc::connect_through(&address, credentials, self.waits.clone(), entry).map_err(
            |error| EdgeError { code: "bmc.address", message: with_causes(&error), transient: false },
        )?;
        let bmc = bmc.with_profiles(Arc::clone(&self.profiles)).with_walks(Arc::clone(&self.walks));
        // A job compares the UUID of the record with the BMC's; a person who probes wants to see more.
        let by_uuid = machine.uuid.is_some() && !by_hand;
        Ok(Arc::new(if by_uuid { bmc.with_known_uuid() } else { bmc }))
    }
}

impl Bmcs for RedfishBmcs {
    fn connect(&self, machine: &Machine, password: Secret<String>) -> Result<Arc<dyn Bmc>, EdgeError> {
        self.client(machine, &password, false)
    }

    fn connect_by_hand(
        &self,
        machine: &Machine,
        password: Secret<String>,
    ) -> Result<Arc<dyn Bmc>, EdgeError> {
        self.client(machine, &password, true)
    }

    fn standing(&self, machine: &Machine) -> Standing {
        self.gates.standing(&machine.bmc.url)
    }
}

fn address(machine: &Machine, allow_plain_http: bool) -> Result<BmcAddress, EdgeError> {
    let tls = match &machine.bmc.tls {
        BmcTls::Verify => TlsTrust::SystemRoots,
        BmcTls::Pinned(sha256) => TlsTrust::Pinned(sha256.parse().map_err(|error| EdgeError {
            code: "bmc.pin",
            message: format!("machine {}: {error}", machine.serial),
            transient: false,
        })?),
    };
    let is_plain = machine.bmc.url.starts_with("http://");
    if is_plain && !allow_plain_http {
        return Err(EdgeError {
            code: "bmc.plain_http",
            message: format!(
                "the BMC of machine {} is reached by plain HTTP, which would show its password to the network; \
                 use https:// or set allow_plain_http_bmcs",
                machine.serial
            ),
            transient: false,
        });
    }
    Ok(BmcAddress {
        url: machine.bmc.url.clone(),
        system: machine.bmc.system.clone(),
        tls,
        plain_http_allowed: allow_plain_http && machine.bmc.plain_http,
    })
}

/// An error and its causes in one line.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}
