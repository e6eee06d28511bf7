//! A task medium looked at from outside, as a host would: what is on it, whether the manifest holds, whose key
//! signed it. Bounded by the size of a task medium; secrets stay inside.

use ed25519_dalek::{Signature, Verifier as _, VerifyingKey};
use hadris_fs::{FileType, MountOptions};
use hadris_iso::IsoId;
use hadris_iso::sync::IsoFs;
use hadris_storage::{BlockSize, MemDevice};
use schema::task::{Manifest, TASK_LABEL, TASK_MEDIUM_MAX, TaskJob};
use sha2::{Digest as _, Sha256};

use super::contents::Files;
use super::sign::{MANIFEST, SIGNATURE, manifest_of};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// SHA-256 of the image, hex.
    pub sha256: String,
    /// Every file with its size and SHA-256 in hex, in path order.
    pub files: Vec<(String, usize, String)>,
    /// `job.json`, its token left out.
    pub job: TaskJob,
    /// What a host would refuse it for; empty when nothing.
    pub faults: Vec<String>,
}

/// Why there is nothing to look at.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// Too large.
    #[error("{size} bytes are no task medium; {TASK_MEDIUM_MAX} is the most")]
    TooLarge {
        /// Its size.
        size: usize,
    },
    /// Not ISO 9660.
    #[error("this is no ISO 9660 image, or a damaged one: {message}")]
    NotIso {
        /// The reader's words.
        message: String,
    },
    /// Another disc.
    #[error("this disc is labelled {label:?}; a task medium is labelled {TASK_LABEL}")]
    Label {
        /// The label found.
        label: String,
    },
    /// No `job.json`.
    #[error("job.json is missing or unreadable; the medium was not made by Slipway")]
    Job(#[source] serde_json::Error),
}

/// Looks at a task medium; `keys` are those a host would trust.
pub fn inspect(image: &[u8], keys: &[VerifyingKey]) -> Result<Inspection, InspectError> {
    if image.len() as u64 > TASK_MEDIUM_MAX {
        return Err(InspectError::TooLarge { size: image.len() });
    }
    let files = read(image)?;
    let mut job: TaskJob = serde_json::from_slice(files.get("job.json").map_or(&[][..], Vec::as_slice))
        .map_err(InspectError::Job)?;
    "***".clone_into(&mut job.bootstrap_token);
    let mut faults = Vec::new();
    let manifest_text = files.get(MANIFEST).map_or(&[][..], Vec::as_slice);
    match serde_json::from_slice::<Manifest>(manifest_text) {
        Ok(manifest) => compare(&manifest, &files, &mut faults),
        Err(error) => faults.push(format!("{MANIFEST} cannot be read: {error}")),
    }
    let signature = files.get(SIGNATURE).and_then(|bytes| Signature::from_slice(bytes).ok());
    if !signature
        .is_some_and(|signature| keys.iter().any(|key| key.verify(manifest_text, &signature).is_ok()))
    {
        faults.push(format!("{SIGNATURE} is not by any of the {} trusted keys", keys.len()));
    }
    let files = files
        .into_iter()
        .map(|(path, bytes)| (path, bytes.len(), hex::encode(Sha256::digest(&bytes))))
        .collect();
    Ok(Inspection { sha256: hex::encode(Sha256::digest(image)), files, job, faults })
}

fn compare(manifest: &Manifest, files: &Files, faults: &mut Vec<String>) {
    let mut found = files.clone();
    found.retain(|path, _| path != MANIFEST && path != SIGNATURE);
    let found = manifest_of(&found);
    for (path, sha256) in &manifest.files {
        match found.files.get(path) {
            None => faults.push(format!("{path} is in {MANIFEST} but not on the medium")),
            Some(other) if other != sha256 => faults.push(format!("{path} is not what {MANIFEST} says")),
            Some(_) => {}
        }
    }
    for path in found.files.keys().filter(|path| !manifest.files.contains_key(*path)) {
        faults.push(format!("{path} is on the medium but not in {MANIFEST}"));
    }
}

/// Every regular file, by path.
fn read(image: &[u8]) -> Result<Files, InspectError> {
    let fault = |message: String| InspectError::NotIso { message };
    let block = BlockSize::new(2048).ok_or_else(|| fault("block size".into()))?;
    // Whole sectors: a file that was cut off is then damaged, not unreadable.
    let whole = image.len() - image.len() % 2048;
    let device = MemDevice::new(image[..whole].to_vec(), block);
    let mounted = IsoFs::mount(device, MountOptions::new()).map_err(|error| fault(error.to_string()))?;
    let label = String::from_utf8_lossy(mounted.info().id(IsoId::Volume)).into_owned();
    if label != TASK_LABEL {
        return Err(InspectError::Label { label });
    }
    let volume = hadris_fs::sync::Volume::new(mounted);
    let mut walk = volume.walk("/").map_err(|error| fault(error.to_string()))?;
    let mut files = Files::new();
    let mut total = 0;
    while let Some(entry) = walk.next_entry() {
        let entry = entry.map_err(|error| fault(error.to_string()))?;
        if entry.entry().file_type() != FileType::File {
            continue;
        }
        // Extents may overlap on a hostile image: what is read in all is bounded, not only each file.
        total += entry.entry().metadata().len();
        if total > TASK_MEDIUM_MAX {
            return Err(fault("its files are larger than the image".into()));
        }
        let bytes = volume.read(entry.path()).map_err(|error| fault(error.to_string()))?;
        let path = String::from_utf8_lossy(entry.path()).trim_start_matches('/').to_owned();
        files.insert(path, bytes);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::super::task::TaskMedium;
    use super::super::task::tests::inputs;
    use super::*;
    use ed25519_dalek::SigningKey;
    use proptest::prelude::*;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    fn image() -> Vec<u8> {
        TaskMedium::build(&inputs(), &key()).unwrap().bytes.to_vec()
    }

    #[test]
    fn a_good_medium_has_no_faults_and_shows_no_token() {
        let found = inspect(&image(), &[key().verifying_key()]).unwrap();
        assert_eq!(found.faults, Vec::<String>::new());
        assert_eq!(found.files.len(), 7);
        assert_eq!(found.job.job_id, inputs().job.job_id);
        assert!(!format!("{found:?}").contains("not-a-real-token"));
    }

    #[test]
    fn a_medium_of_another_site_is_told_by_its_signature() {
        let other = SigningKey::from_bytes(&[8; 32]).verifying_key();
        let found = inspect(&image(), &[other]).unwrap();
        assert_eq!(found.faults, ["manifest.sig is not by any of the 1 trusted keys"]);
    }

    #[test]
    fn one_changed_byte_of_a_file_is_found() {
        let mut image = image();
        let at = image.windows(5).position(|window| window == b"web-1").unwrap();
        image[at] = b'W';
        let found = inspect(&image, &[key().verifying_key()]).unwrap();
        assert_eq!(found.faults.len(), 1, "{:?}", found.faults);
        assert!(found.faults[0].ends_with("is not what manifest.json says"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_damaged_medium_never_panics(
            hits in proptest::collection::vec((32_768_usize..120_000, any::<u8>()), 1..30),
            cut in 0_usize..100_000,
        ) {
            let mut image = image();
            for (at, byte) in hits {
                if let Some(slot) = image.get_mut(at) { *slot = byte; }
            }
            image.truncate(image.len().saturating_sub(cut));
            let _ = inspect(&image, &[]);
        }
    }
}
