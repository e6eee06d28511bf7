//! The certificate authorities of this system, for BMCs without a pin. Reading them takes a millisecond and, once
//! parsed, a third of a megabyte; so all clients share them, and what an administrator adds is seen within minutes.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls_platform_verifier::ConfigVerifierExt;

/// How long what was read is good for new clients.
const AGE_MAX: Duration = Duration::from_secs(300);

static READ: Mutex<Option<(Instant, ClientConfig)>> = Mutex::new(None);

/// A TLS client that trusts the system's authorities.
///
/// # Errors
/// When the system has none that can be read.
pub fn system_config() -> Result<ClientConfig, rustls::Error> {
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((at, config)) = read.as_ref()
        && at.elapsed() < AGE_MAX
    {
        return Ok(config.clone());
    }
    let config = ClientConfig::with_platform_verifier()?;
    *read = Some((Instant::now(), config.clone()));
    Ok(config)
}
