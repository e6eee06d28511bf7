//! The site's own identity: what makes this controller *this* controller across restarts. Made on first start,
//! kept in the state folder with mode 0600, imported by nothing below the server.
//!
//! ```text
//! <state>/site/
//! ├── site.key          Ed25519 seed, hex: signs task media
//! ├── previous.keys     older public keys, hex, one per line (absent until a rotation)
//! ├── derive.key        256 bits, hex: media names, host tokens, sealing (each by its own label)
//! ├── ca.pem  ca.key    the site's authority, 10 years
//! └── server.pem .key   the API's certificate, re-issued when its names change or its end is near
//! <state>/admin.token   the first admin token, written once
//! ```

mod authority;
mod certificate;
mod files;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ed25519_dalek::{SigningKey, VerifyingKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;
use zeroize::Zeroizing;

use authority::Authority;
pub use authority::AuthorityError;
pub use certificate::Certificate;
pub use files::FileError;

/// Folder inside the state folder.
const FOLDER: &str = "site";
/// Name of the signing key inside it.
const SITE_KEY: &str = "site.key";
/// Name of the first admin token inside the state folder.
const ADMIN_TOKEN: &str = "admin.token";
/// Prefix by which people and scanners recognise a token of ours.
const TOKEN_PREFIX: &str = "slipway_";
/// Bytes of randomness in keys and tokens.
const KEY_LEN: usize = 32;

/// The opened identity.
pub struct Site {
    /// Signs task media.
    pub signing: SigningKey,
    /// Older public keys that hosts shall still trust.
    pub previous: Vec<VerifyingKey>,
    /// PEM certificate of the site's authority, for task media and clients.
    pub ca_pem: String,
    authority: Arc<Authority>,
    derive: Zeroizing<[u8; KEY_LEN]>,
}

/// Why the identity cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// A file cannot be read, written or is readable by others.
    #[error("the site's keys")]
    File(#[from] FileError),
    /// A key file holds something else.
    #[error("{path} does not hold {wanted}; restore it from a backup")]
    Key {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
    },
    /// No random bytes.
    #[error("the system gives no random bytes")]
    Random(#[source] getrandom::Error),
    /// Certificates.
    #[error("the site's certificates")]
    Authority(#[from] AuthorityError),
}

impl std::fmt::Debug for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Site")
            .field("key", &hex::encode(self.signing.verifying_key()))
            .finish_non_exhaustive()
    }
}

impl Site {
    /// Opens the identity in `state`, making what is missing. `now` dates the authority's certificate only.
    pub fn open(state: &Path, now: Timestamp) -> Result<Self, SiteError> {
        let folder = state.join(FOLDER);
        files::make_folder(state)?;
        files::make_folder(&folder)?;
        let seed = key(&folder.join(SITE_KEY))?;
        let derive = key(&folder.join("derive.key"))?;
        let previous = previous(&folder.join("previous.keys"))?;
        let authority = Authority::open(&folder, now)?;
        Ok(Self {
            signing: SigningKey::from_bytes(&seed),
            previous,
            ca_pem: authority.ca_pem.clone(),
            authority: Arc::new(authority),
            derive,
        })
    }

    /// Whether `state` holds an identity already.
    pub fn exists(state: &Path) -> bool {
        state.join(FOLDER).join(SITE_KEY).exists()
    }

    /// The certificate of the API listener, for the host names and addresses it is reached by.
    pub fn certificate(&self, names: &[String], now: Timestamp) -> Result<Arc<Certificate>, SiteError> {
        Ok(Certificate::open(Arc::clone(&self.authority), names, now)?)
    }

    /// A key for one purpose: HMAC of the site's secret over `label`. Other labels give unrelated keys.
    pub fn derive(&self, label: &str) -> [u8; KEY_LEN] {
        let mut block = [0; 64];
        block[..KEY_LEN].copy_from_slice(&*self.derive);
        let mut mac = Hmac::<Sha256>::new(&block.into());
        mac.update(label.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

/// Reads a 256-bit key in hex, or makes one.
fn key(path: &Path) -> Result<Zeroizing<[u8; KEY_LEN]>, SiteError> {
    if let Some(text) = files::read_secret(path)? {
        let mut bytes = Zeroizing::new([0; KEY_LEN]);
        return match hex::decode_to_slice(text.trim(), &mut *bytes) {
            Ok(()) => Ok(bytes),
            Err(_) => Err(SiteError::Key { path: path.to_owned(), wanted: "64 hex digits" }),
        };
    }
    let bytes = random()?;
    files::write_secret(path, &format!("{}\n", hex::encode(*bytes)))?;
    Ok(bytes)
}

fn previous(path: &Path) -> Result<Vec<VerifyingKey>, SiteError> {
    let Some(text) = files::read_secret(path)? else { return Ok(Vec::new()) };
    let parse = |line: &str| {
        let mut bytes = [0; KEY_LEN];
        hex::decode_to_slice(line.trim(), &mut bytes).ok()?;
        VerifyingKey::from_bytes(&bytes).ok()
    };
    let wanted = "one Ed25519 public key of 64 hex digits per line";
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| parse(line).ok_or_else(|| SiteError::Key { path: path.to_owned(), wanted }))
        .collect()
}

fn random() -> Result<Zeroizing<[u8; KEY_LEN]>, SiteError> {
    let mut bytes = Zeroizing::new([0; KEY_LEN]);
    getrandom::fill(&mut *bytes).map_err(SiteError::Random)?;
    Ok(bytes)
}

/// Makes an admin token, writes it to `<state>/admin.token` (0600) and returns path and token. The caller stores
/// its hash and prints the path only.
pub fn write_admin_token(state: &Path) -> Result<(PathBuf, Zeroizing<String>), SiteError> {
    let path = state.join(ADMIN_TOKEN);
    let token = Zeroizing::new(format!("{TOKEN_PREFIX}{}", hex::encode(*random()?)));
    files::write_secret(&path, &format!("{}\n", *token))?;
    Ok((path, token))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn now() -> Timestamp {
        "2026-11-21T08:45:00Z".parse().unwrap()
    }

    #[test]
    fn an_identity_survives_a_restart() {
        let state = tempfile::tempdir().unwrap();
        let first = Site::open(state.path(), now()).unwrap();
        let second = Site::open(state.path(), now()).unwrap();
        assert_eq!(first.signing.to_bytes(), second.signing.to_bytes());
        assert_eq!(first.ca_pem, second.ca_pem);
        assert_eq!(first.derive("a"), second.derive("a"));
        assert_ne!(first.derive("a"), first.derive("b"));
    }

    #[test]
    fn two_sites_have_nothing_in_common() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let one = Site::open(one.path(), now()).unwrap();
        let other = Site::open(other.path(), now()).unwrap();
        assert_ne!(one.signing.to_bytes(), other.signing.to_bytes());
        assert_ne!(one.derive("a"), other.derive("a"));
        assert_ne!(one.ca_pem, other.ca_pem);
    }

    #[test]
    fn every_file_is_for_its_owner_alone() {
        let state = tempfile::tempdir().unwrap();
        let site = Site::open(state.path(), now()).unwrap();
        site.certificate(&["127.0.0.1".into()], now()).unwrap();
        write_admin_token(state.path()).unwrap();
        let mut seen = 0;
        for folder in [state.path().to_path_buf(), state.path().join("site")] {
            for entry in std::fs::read_dir(folder).unwrap() {
                let meta = entry.unwrap().metadata().unwrap();
                let wanted = if meta.is_dir() { 0o700 } else { 0o600 };
                assert_eq!(meta.permissions().mode() & 0o777, wanted);
                seen += 1;
            }
        }
        assert_eq!(seen, 8);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let state = tempfile::tempdir().unwrap();
        Site::open(state.path(), now()).unwrap();
        let path = state.path().join("site/site.key");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = Site::open(state.path(), now()).unwrap_err();
        assert!(matches!(error, SiteError::File(FileError::Open { .. })), "{error:?}");
    }

    #[test]
    fn a_damaged_key_is_named_and_not_replaced() {
        let state = tempfile::tempdir().unwrap();
        Site::open(state.path(), now()).unwrap();
        let path = state.path().join("site/derive.key");
        std::fs::write(&path, "half").unwrap();
        let error = Site::open(state.path(), now()).unwrap_err().to_string();
        assert!(error.contains("derive.key") && !error.contains("half"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "half");
    }

    #[test]
    fn previous_keys_are_read_line_by_line() {
        let state = tempfile::tempdir().unwrap();
        let old = SigningKey::from_bytes(&[9; 32]).verifying_key();
        Site::open(state.path(), now()).unwrap();
        files::write_secret(&state.path().join("site/previous.keys"), &format!("{}\n\n", hex::encode(old)))
            .unwrap();
        assert_eq!(Site::open(state.path(), now()).unwrap().previous, [old]);
    }

    #[test]
    fn the_first_admin_token_is_in_its_file_and_nowhere_else() {
        let state = tempfile::tempdir().unwrap();
        let (path, token) = write_admin_token(state.path()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().trim(), &**token);
        assert!(token.len() == 72 && token.starts_with("slipway_"));
    }
}
