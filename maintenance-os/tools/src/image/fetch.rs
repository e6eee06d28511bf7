//! A blob as a stream: read from the registry, resumed where it broke off, hashed on the way. Its end is
//! only reached if every byte was the right one; anything else is an error in place of the end.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::manifest::Layer;
use crate::registry::{Registry, RegistryError};

/// Attempts in a row that bring no byte before the fetch is given up.
const BARREN_MAX: u32 = 8;
/// Pause before the second of those attempts; doubled each time, at most [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(250);
/// Longest pause between attempts. With [`BARREN_MAX`] a switch may reboot for about a minute.
const PAUSE_MAX: Duration = Duration::from_secs(20);

/// A blob that did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The registry does not give it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// It broke off again and again.
    #[error("reading {digest} broke off at byte {at} of {size} and could not be taken up again")]
    BrokeOff {
        /// The blob.
        digest: String,
        /// Bytes that arrived.
        at: u64,
        /// Bytes it has.
        size: u64,
        /// The last reason.
        #[source]
        source: io::Error,
    },
    /// More bytes than the manifest says.
    #[error("{digest} is longer than the {size} bytes its manifest says")]
    TooLong {
        /// The blob.
        digest: String,
        /// Bytes it should have.
        size: u64,
    },
    /// The bytes are not the right ones.
    #[error(
        "{digest} does not hold what its digest says: got sha256:{got}; the image is damaged in the registry, push it again"
    )]
    Digest {
        /// The blob.
        digest: String,
        /// SHA-256 of what came.
        got: String,
    },
}

/// Opens a blob from a byte on; the registry, or a test.
pub trait Source: Sync {
    /// Opens the blob of that digest from that byte on.
    fn open(&self, digest: &str, offset: u64) -> Result<Box<dyn Read + Send + '_>, RegistryError>;
}

impl Source for Registry {
    fn open(&self, digest: &str, offset: u64) -> Result<Box<dyn Read + Send + '_>, RegistryError> {
        Ok(Box::new(self.open_blob(digest, offset)?))
    }
}

/// The stream. On an error [`Self::error`] tells the whole of it; the reader sees a short form.
pub struct Fetch<'a> {
    source: &'a dyn Source,
    layer: &'a Layer,
    body: Option<Box<dyn Read + Send + 'a>>,
    at: u64,
    hash: Option<Sha256>,
    barren: u32,
    pause: Duration,
    counter: &'a AtomicU64,
    /// What went wrong, if anything did.
    pub error: Option<FetchError>,
}

impl<'a> Fetch<'a> {
    /// Starts at the first byte; `counter` is raised by every byte read.
    pub fn new(source: &'a dyn Source, layer: &'a Layer, counter: &'a AtomicU64) -> Self {
        Self {
            source,
            layer,
            body: None,
            at: 0,
            hash: Some(Sha256::new()),
            barren: 0,
            pause: PAUSE,
            counter,
            error: None,
        }
    }

    fn step(&mut self, buffer: &mut [u8]) -> Result<usize, FetchError> {
        loop {
            if self.at == self.layer.size {
                return self.finish().map(|()| 0);
            }
            if self.body.is_none() {
                match self.source.open(&self.layer.digest, self.at) {
                    Ok(body) => self.body = Some(body),
                    Err(error @ RegistryError::Ask { .. }) => {
                        if self.barren + 1 >= BARREN_MAX {
                            return Err(error.into());
                        }
                        self.rest();
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            let Some(body) = self.body.as_mut() else { continue };
            let room = usize::try_from(self.layer.size - self.at).unwrap_or(usize::MAX).min(buffer.len());
            let broke = match body.read(&mut buffer[..room]) {
                Ok(0) => io::Error::from(io::ErrorKind::UnexpectedEof),
                Ok(length) => {
                    if let Some(hash) = self.hash.as_mut() {
                        hash.update(&buffer[..length]);
                    }
                    self.at += length as u64;
                    self.counter.fetch_add(length as u64, Ordering::Relaxed);
                    (self.barren, self.pause) = (0, PAUSE);
                    return Ok(length);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            self.body = None;
            if self.barren + 1 >= BARREN_MAX {
                return Err(FetchError::BrokeOff {
                    digest: self.layer.digest.clone(),
                    at: self.at,
                    size: self.layer.size,
                    source: broke,
                });
            }
            self.rest();
        }
    }

    fn rest(&mut self) {
        self.barren += 1;
        thread::sleep(self.pause);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    /// All bytes are there: are they the right ones, and the only ones?
    fn finish(&mut self) -> Result<(), FetchError> {
        if let Some(mut body) = self.body.take()
            && matches!(body.read(&mut [0]), Ok(1))
        {
            return Err(FetchError::TooLong { digest: self.layer.digest.clone(), size: self.layer.size });
        }
        let Some(hash) = self.hash.take() else { return Ok(()) };
        let got = hex::encode(hash.finalize());
        if self.layer.digest == format!("sha256:{got}") {
            Ok(())
        } else {
            Err(FetchError::Digest { digest: self.layer.digest.clone(), got })
        }
    }
}

impl Read for Fetch<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.error.is_some() {
            return Err(io::Error::other("the blob did not arrive"));
        }
        if buffer.is_empty() {
            return Ok(0);
        }
        self.step(buffer).map_err(|error| {
            let short = io::Error::other(error.to_string());
            self.error = Some(error);
            short
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Gives at most `burst` bytes per request, then breaks off.
    struct Flaky {
        bytes: Vec<u8>,
        burst: usize,
        opened: Mutex<Vec<u64>>,
    }

    impl Source for Flaky {
        fn open(&self, _: &str, offset: u64) -> Result<Box<dyn Read + Send + '_>, RegistryError> {
            self.opened.lock().unwrap().push(offset);
            let from = usize::try_from(offset).unwrap();
            let to = (from + self.burst).min(self.bytes.len());
            Ok(Box::new(&self.bytes[from..to]))
        }
    }

    fn layer(bytes: &[u8]) -> Layer {
        Layer { digest: format!("sha256:{}", hex::encode(Sha256::digest(bytes))), size: bytes.len() as u64 }
    }

    #[test]
    fn a_stream_that_breaks_off_goes_on_where_it_was() {
        let bytes: Vec<u8> = (0..=249_u8).cycle().take(1000).collect();
        let source = Flaky { bytes: bytes.clone(), burst: 400, opened: Mutex::default() };
        let (layer, counter) = (layer(&bytes), AtomicU64::new(0));
        let mut got = Vec::new();
        Fetch::new(&source, &layer, &counter).read_to_end(&mut got).unwrap();
        assert!(got == bytes);
        assert_eq!(*source.opened.lock().unwrap(), [0, 400, 800]);
        assert_eq!(counter.into_inner(), 1000);
    }

    #[test]
    fn the_wrong_bytes_never_reach_an_end() {
        let bytes = vec![1_u8; 1000];
        let layer = layer(&bytes);
        let mut wrong = bytes.clone();
        wrong[999] = 2;
        let mut long = bytes;
        long.push(1);
        for (bytes, says) in [(wrong, "does not hold"), (long, "longer than")] {
            let source = Flaky { bytes, burst: 5000, opened: Mutex::default() };
            let counter = AtomicU64::new(0);
            let mut fetch = Fetch::new(&source, &layer, &counter);
            let error = fetch.read_to_end(&mut Vec::new()).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
            assert!(fetch.error.is_some());
            assert!(fetch.read(&mut [0; 8]).is_err(), "an error stays an error");
        }
    }
}
