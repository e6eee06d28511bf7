//! A disc that holds nothing: put into a slot to see whether a BMC really fetches what it is told to.
//!
//! It is served like the media of a job, under a name that cannot be guessed, until it is forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::contents::Files;
use super::iso::{self, IsoError};
use super::meter::Meter;
use super::object;
use super::shelf::{Entry, Shelf, ShelfError, Staged};
use super::task::MediumError;
use super::url::{MediumFile, Token};

/// Its label: nothing that boots or installs looks for it.
const LABEL: &str = "SLIPWAY_TRIAL";
/// Bytes of the one file on it: enough that a BMC which fetches ahead shows it.
const FILLING: usize = 1 << 20;
/// Largest image.
const MOST: u64 = 2 << 20;
/// It is made once.
const ATTEMPT: u32 = 0;

impl Shelf {
    /// Makes a trial disc readable; where it is. `name` is what [`Shelf::forget`] and the
    /// readings know it by.
    pub fn stage_trial(&self, name: &str, now: Timestamp) -> Result<Staged, ShelfError> {
        let image = disc(now).map_err(|source| {
            ShelfError::Medium(MediumError::Image {
                job: name.to_owned(),
                attempt: ATTEMPT,
                source: Box::new(source),
            })
        })?;
        let sha256: [u8; 32] = Sha256::digest(&image).into();
        let packed = Self::pack(name, &image)?;
        let etag = object::etag(&sha256, &[]);
        let (file, meter) = (MediumFile::Task, Arc::new(Meter::of(image.len() as u64)));
        let token = Token::derive(self.names(), name, ATTEMPT, file, &etag);
        let paths = BTreeMap::from([(file, token.path(file))]);
        let entry = Entry { token, file, etag, date: now, packed: Arc::clone(&packed), meter };
        let staged = Staged { paths, task_sha256: hex::encode(sha256), maintenance_sha256: String::new() };
        self.put((name.to_owned(), ATTEMPT), staged.clone(), vec![entry], packed)?;
        Ok(staged)
    }
}

/// One file of noise, which does not shrink: a medium of zeros could be taken for a hole.
fn disc(now: Timestamp) -> Result<Vec<u8>, IsoError> {
    let mut filling = Vec::with_capacity(FILLING);
    let mut block: [u8; 32] = Sha256::digest(LABEL.as_bytes()).into();
    while filling.len() < FILLING {
        filling.extend_from_slice(&block);
        block = Sha256::digest(block).into();
    }
    let mut files = Files::default();
    files.insert("trial.bin".to_owned(), filling);
    iso::image(LABEL, &files, now, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_disc_is_a_little_over_a_mebibyte_and_no_task_medium() {
        let now: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
        let image = disc(now).unwrap();
        assert!((FILLING..=usize::try_from(MOST).unwrap()).contains(&image.len()), "{}", image.len());
        let label = &image[32808..32808 + 32];
        assert_eq!(String::from_utf8_lossy(label).trim_end(), LABEL);
        assert_eq!(image, disc(now).unwrap(), "the same bytes every time");
    }
}
