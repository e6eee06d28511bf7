//! How far a step is, told to the dispatcher in datagrams, at most one a second. Losing one is harmless,
//! so nothing here can end a step.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use schema::event::Progress as Datagram;

/// Least time between two datagrams.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// Reports the progress of one step.
#[derive(Debug)]
pub struct Progress {
    step: &'static str,
    socket: Option<UnixDatagram>,
    path: PathBuf,
    last: Option<Instant>,
}

impl Progress {
    /// A reporter of `step` that talks to the socket at `path`.
    pub fn new(step: &'static str, path: &Path) -> Self {
        let socket = UnixDatagram::unbound().ok().filter(|socket| socket.set_nonblocking(true).is_ok());
        Self { step, socket, path: path.to_owned(), last: None }
    }

    /// Says what the step does now, where nothing is counted.
    pub fn say(&mut self, message: &str) {
        self.tell(0, None, Some(message));
    }

    /// Tells how many bytes the step has done, unless it told less than [`INTERVAL`] ago.
    pub fn tick(&mut self, done: u64, total: Option<u64>, message: Option<&str>) {
        if self.last.is_none_or(|last| last.elapsed() >= INTERVAL) {
            self.tell(done, total, message);
        }
    }

    /// Tells how many bytes the step has done, now.
    pub fn tell(&mut self, done: u64, total: Option<u64>, message: Option<&str>) {
        self.last = Some(Instant::now());
        let datagram =
            Datagram { step: self.step.to_owned(), done, total, message: message.map(str::to_owned) };
        if let (Some(socket), Ok(bytes)) = (&self.socket, serde_json::to_vec(&datagram)) {
            let _ = socket.send_to(&bytes, &self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_one_datagram_a_second_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("progress.sock");
        let listener = UnixDatagram::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut progress = Progress::new("image-linux", &path);
        for done in 0..100 {
            progress.tick(done, Some(100), None);
        }
        progress.tell(100, Some(100), Some("written"));
        let mut got = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(length) = listener.recv(&mut buffer) {
            got.push(serde_json::from_slice::<Datagram>(&buffer[..length]).unwrap());
        }
        assert_eq!(got.iter().map(|datagram| datagram.done).collect::<Vec<_>>(), [0, 100]);
        assert_eq!(got[1].message.as_deref(), Some("written"));
    }

    #[test]
    fn a_step_that_counts_nothing_sends_words_and_no_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("progress.sock");
        let listener = UnixDatagram::bind(&path).unwrap();
        Progress::new("partition", &path).say("partitioned");
        let mut buffer = [0; 4096];
        let length = listener.recv(&mut buffer).unwrap();
        let got: Datagram = serde_json::from_slice(&buffer[..length]).unwrap();
        assert_eq!((got.done, got.total, got.message.as_deref()), (0, None, Some("partitioned")));
    }

    #[test]
    fn nobody_listening_is_not_an_error() {
        Progress::new("partition", Path::new("/nonexistent/progress.sock")).say("partitioning");
    }
}
