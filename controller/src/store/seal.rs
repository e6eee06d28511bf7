//! Sealing of what must not lie on a disk in the clear: BMC passwords, recipes, signing secrets.
//!
//! XChaCha20-Poly1305 with a fresh 24-byte nonce in front of each ciphertext. What a value belongs to (table and
//! id) is bound in as associated data, so a sealed value moved to another row does not open.

use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// Why something could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The key file cannot be read or made.
    #[error("key file {path}")]
    KeyFile {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The key file can be read by others.
    #[error("key file {path} has mode {mode:o}; make it 0600 and consider the key seen")]
    KeyExposed {
        /// The file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// The key file holds no key.
    #[error("key file {path} does not hold {KEY_BYTES} bytes; restore it from a backup")]
    KeyLength {
        /// The file.
        path: String,
    },
    /// The operating system gives no randomness.
    #[error("the operating system gives no randomness: {0}")]
    Randomness(getrandom::Error),
    /// It was sealed under another key, for another place, or changed since.
    #[error("it was sealed under another key, belongs elsewhere, or was changed")]
    DoesNotOpen,
}

/// Seals and opens values under one key.
#[derive(Clone)]
pub struct Sealer {
    cipher: XChaCha20Poly1305,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(***)")
    }
}

impl Sealer {
    /// With this key.
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        Self { cipher: XChaCha20Poly1305::new(key.into()) }
    }

    /// With the key in a 0600 file; made from fresh randomness when there is none.
    pub fn from_file(path: &Path) -> Result<Self, SealError> {
        let fault = |source| SealError::KeyFile { path: path.display().to_string(), source };
        let mut key = Zeroizing::new([0u8; KEY_BYTES]);
        match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(mut file) => {
                getrandom::fill(key.as_mut()).map_err(SealError::Randomness)?;
                file.write_all(key.as_ref()).and_then(|()| file.sync_all()).map_err(fault)?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let mut file = std::fs::File::open(path).map_err(fault)?;
                let meta = file.metadata().map_err(fault)?;
                let mode = meta.permissions().mode() & 0o777;
                if mode & 0o077 != 0 {
                    return Err(SealError::KeyExposed { path: path.display().to_string(), mode });
                }
                if meta.len() != KEY_BYTES as u64 {
                    return Err(SealError::KeyLength { path: path.display().to_string() });
                }
                file.read_exact(key.as_mut()).map_err(fault)?;
            }
            Err(error) => return Err(fault(error)),
        }
        Ok(Self::new(&key))
    }

    /// Seals `plain` for the place that `context` names.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0u8; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(SealError::Randomness)?;
        let sealed = self
            .cipher
            .encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: context.as_bytes() })
            .map_err(|_| SealError::DoesNotOpen)?;
        let mut out = nonce.to_vec();
        out.extend_from_slice(&sealed);
        Ok(out)
    }

    /// Opens what was sealed for the place that `context` names.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let Some((nonce, body)) = sealed.split_first_chunk::<NONCE_BYTES>() else {
            return Err(SealError::DoesNotOpen);
        };
        self.cipher
            .decrypt(&XNonce::from(*nonce), Payload { msg: body, aad: context.as_bytes() })
            .map(Zeroizing::new)
            .map_err(|_| SealError::DoesNotOpen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_opens_only_with_its_key_in_its_place() {
        let sealer = Sealer::new(&[7; 32]);
        let sealed = sealer.seal("machine/1", b"calvin").unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"calvin"));
        assert_eq!(sealer.open("machine/1", &sealed).unwrap().as_slice(), b"calvin");
        assert!(sealer.open("machine/2", &sealed).is_err());
        assert!(Sealer::new(&[8; 32]).open("machine/1", &sealed).is_err());
        let mut bent = sealed.clone();
        *bent.last_mut().unwrap() ^= 1;
        assert!(sealer.open("machine/1", &bent).is_err());
        assert!(sealer.open("machine/1", &sealed[..10]).is_err());
    }

    #[test]
    fn the_key_file_is_made_once_and_only_for_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seal.key");
        let sealed = Sealer::from_file(&path).unwrap().seal("x", b"y").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Sealer::from_file(&path).unwrap().open("x", &sealed).unwrap().as_slice(), b"y");

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Sealer::from_file(&path), Err(SealError::KeyExposed { .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, b"short").unwrap();
        assert!(matches!(Sealer::from_file(&path), Err(SealError::KeyLength { .. })));
    }
}
