//! Manifest and signature of a task medium, and the trust block that lets a host check them. Pure; the key
//! comes from the caller.
//!
//! ```text
//! files ─▶ manifest.json (sha256 of each) ─▶ manifest.sig (Ed25519, 64 raw bytes)
//! public keys ─▶ trust block: JSON, padded with newlines to 4096 bytes, laid over slipway/trust
//! ```

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use schema::task::{Manifest, TRUST_SIZE, Trust};
use sha2::{Digest as _, Sha256};

use super::contents::Files;

/// Name of the manifest on a medium.
pub const MANIFEST: &str = "manifest.json";
/// Name of its signature.
pub const SIGNATURE: &str = "manifest.sig";

/// The manifest of these files.
pub fn manifest_of(files: &Files) -> Manifest {
    let files =
        files.iter().map(|(path, bytes)| (path.clone(), hex::encode(Sha256::digest(bytes)))).collect();
    Manifest { version: 1, files }
}

/// Adds `manifest.json` and `manifest.sig`.
pub fn sign(files: &mut Files, key: &SigningKey) -> Result<(), serde_json::Error> {
    let mut text = serde_json::to_vec_pretty(&manifest_of(files))?;
    text.push(b'\n');
    let signature = key.sign(&text);
    files.insert(MANIFEST.to_owned(), text);
    files.insert(SIGNATURE.to_owned(), signature.to_bytes().to_vec());
    Ok(())
}

/// Why keys do not fit a trust block.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Too many keys.
    #[error("{keys} site keys take {size} bytes, the trust block holds {TRUST_SIZE}; drop the oldest")]
    TooLarge {
        /// How many.
        keys: usize,
        /// Bytes they take.
        size: usize,
    },
    /// No JSON form.
    #[error("the trust block has no JSON form")]
    Json(#[source] serde_json::Error),
}

/// The block laid over [`schema::task::TRUST_FILE`]: current key first, then previous ones.
pub fn trust_block(keys: &[VerifyingKey]) -> Result<Vec<u8>, TrustError> {
    let trust = Trust { version: 1, keys: keys.iter().map(|key| hex::encode(key.as_bytes())).collect() };
    let mut block = serde_json::to_vec(&trust).map_err(TrustError::Json)?;
    let wanted = usize::try_from(TRUST_SIZE).unwrap_or(usize::MAX);
    if block.len() > wanted {
        return Err(TrustError::TooLarge { keys: keys.len(), size: block.len() });
    }
    block.resize(wanted, b'\n');
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signature, Verifier as _};

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    #[test]
    fn every_file_is_in_the_manifest_and_the_signature_covers_it() {
        let mut files = Files::from([("a".to_owned(), b"1".to_vec()), ("d/b".to_owned(), b"2".to_vec())]);
        sign(&mut files, &key()).unwrap();
        let manifest: Manifest = serde_json::from_slice(&files[MANIFEST]).unwrap();
        assert_eq!(manifest.files.keys().collect::<Vec<_>>(), ["a", "d/b"]);
        assert_eq!(manifest.files["a"], hex::encode(Sha256::digest(b"1")));
        let signature = Signature::from_slice(&files[SIGNATURE]).unwrap();
        key().verifying_key().verify(&files[MANIFEST], &signature).unwrap();
        assert!(key().verifying_key().verify(b"other", &signature).is_err());
    }

    #[test]
    fn a_trust_block_is_4096_bytes_of_json_and_newlines() {
        let other = SigningKey::from_bytes(&[8; 32]);
        let block = trust_block(&[key().verifying_key(), other.verifying_key()]).unwrap();
        assert_eq!(block.len(), 4096);
        let trust: Trust = serde_json::from_slice(&block).unwrap();
        assert_eq!(trust.version, 1);
        assert_eq!(trust.keys[0], hex::encode(key().verifying_key().as_bytes()));
        assert_eq!(trust.keys.len(), 2);
    }

    #[test]
    fn more_keys_than_fit_are_refused() {
        let error = trust_block(&vec![key().verifying_key(); 80]).unwrap_err();
        assert!(matches!(error, TrustError::TooLarge { keys: 80, .. }), "{error}");
    }
}
