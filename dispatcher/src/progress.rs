//! Progress of the steps: each sends small JSON datagrams to a local socket; the latest of each step is kept here and
//! taken by the courier at its own pace. Whatever is not progress of a step of this target is dropped.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use schema::event::Progress;

use crate::console::Screen;

/// Largest datagram, in bytes.
const DATAGRAM_MAX: usize = 4 << 10;
/// How often the listener looks whether it shall end.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often the screen is told of one step's progress.
const SCREEN_EVERY: Duration = Duration::from_secs(10);

/// The latest news of each step that has not been taken yet.
#[derive(Default)]
pub struct Latest {
    news: Mutex<BTreeMap<String, Progress>>,
}

impl Latest {
    /// Keeps what a step said last.
    pub fn put(&self, progress: Progress) {
        if let Ok(mut news) = self.news.lock() {
            news.insert(progress.step.clone(), progress);
        }
    }

    /// Takes everything that is new.
    pub fn take(&self) -> Vec<Progress> {
        self.news
            .lock()
            .map(|mut news| std::mem::take(&mut *news).into_values().collect())
            .unwrap_or_default()
    }
}

/// Opens the socket; one of an earlier dispatcher of this boot is replaced.
pub fn bind(path: &Path) -> io::Result<UnixDatagram> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = UnixDatagram::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    socket.set_read_timeout(Some(LOOK_EVERY))?;
    Ok(socket)
}

/// Listens until `stop`.
pub fn listen(
    socket: &UnixDatagram,
    steps: &[String],
    latest: &Latest,
    screen: &dyn Screen,
    stop: &AtomicBool,
) {
    let mut shown: BTreeMap<String, Instant> = BTreeMap::new();
    let mut datagram = [0; DATAGRAM_MAX + 1];
    while !stop.load(Ordering::Relaxed) {
        let Ok(size) = socket.recv(&mut datagram) else { continue };
        let Some(progress) = understand(&datagram[..size], steps) else { continue };
        if shown.get(&progress.step).is_none_or(|last| last.elapsed() >= SCREEN_EVERY) {
            screen.line(&line(&progress, steps));
            shown.insert(progress.step.clone(), Instant::now());
        }
        latest.put(progress);
    }
}

/// The progress in a datagram, when it is one of these steps'.
pub fn understand(datagram: &[u8], steps: &[String]) -> Option<Progress> {
    if datagram.len() > DATAGRAM_MAX {
        return None;
    }
    let progress: Progress = serde_json::from_slice(datagram).ok()?;
    steps.iter().any(|unit| unit.strip_suffix(".service") == Some(&progress.step)).then_some(progress)
}

/// `step 3 of 5 image-linux: 1.2 GiB of 4.0 GiB (30 %), writing`; of a step that counts no bytes only its words:
/// `step 2 of 5 partition: partitioning /dev/vda`.
pub fn line(progress: &Progress, steps: &[String]) -> String {
    let unit = format!("{}.service", progress.step);
    let mut parts = Vec::new();
    if let Some(total) = progress.total.filter(|total| *total > 0) {
        let percent = u128::from(progress.done) * 100 / u128::from(total);
        parts.push(format!("{} of {} ({percent} %)", size(progress.done), size(total)));
    } else if progress.done > 0 {
        parts.push(size(progress.done));
    }
    parts.extend(progress.message.clone());
    match parts.join(", ").as_str() {
        "" => step_words(&unit, steps),
        words => format!("{}: {words}", step_words(&unit, steps)),
    }
}

/// `step 3 of 5 image-linux`.
pub fn step_words(unit: &str, steps: &[String]) -> String {
    let number = steps.iter().position(|step| step == unit).map_or(0, |index| index + 1);
    format!("step {number} of {} {}", steps.len(), unit.trim_end_matches(".service"))
}

/// Bytes for people, in binary units with one decimal.
fn size(bytes: u64) -> String {
    const UNITS: &[&str] = &["KiB", "MiB", "GiB", "TiB"];
    let (mut tenths, mut unit) = (u128::from(bytes) * 10, "B");
    for larger in UNITS {
        if tenths < 10 * 1024 {
            break;
        }
        (tenths, unit) = (tenths / 1024, larger);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{}.{} {unit}", tenths / 10, tenths % 10) }
}

#[cfg(test)]
mod tests {
    use schema::event::Progress;

    use super::{line, size, understand};

    fn steps() -> Vec<String> {
        ["preflight.service", "partition.service", "image-linux.service"].map(str::to_owned).to_vec()
    }

    #[test]
    fn a_datagram_of_a_step_is_understood_and_anything_else_dropped() {
        let progress = understand(br#"{"step":"image-linux","done":5}"#, &steps()).unwrap();
        assert_eq!((progress.done, progress.total), (5, None));
        let foreign = br#"{"step":"wipe","done":5}"#;
        let large = format!(r#"{{"step":"image-linux","done":5,"message":"{}"}}"#, "x".repeat(5000));
        for junk in
            [&foreign[..], large.as_bytes(), b"", b"{", b"\xff\xfe", br#"{"step":"image-linux","done":-1}"#]
        {
            assert_eq!(understand(junk, &steps()), None);
        }
    }

    #[test]
    fn the_screen_says_which_step_and_how_far() {
        let progress = Progress {
            step: "image-linux".to_owned(),
            done: 1_288_490_189,
            total: Some(4 << 30),
            message: Some("writing".to_owned()),
        };
        assert_eq!(line(&progress, &steps()), "step 3 of 3 image-linux: 1.2 GiB of 4.0 GiB (30 %), writing");
        let bare = Progress { total: None, message: None, ..progress };
        assert_eq!(line(&bare, &steps()), "step 3 of 3 image-linux: 1.2 GiB");
        let words = Progress {
            step: "partition".to_owned(),
            done: 0,
            total: None,
            message: Some("partitioning /dev/vda".to_owned()),
        };
        assert_eq!(line(&words, &steps()), "step 2 of 3 partition: partitioning /dev/vda");
        assert_eq!(line(&Progress { message: None, ..words }, &steps()), "step 2 of 3 partition");
    }

    #[test]
    fn sizes_are_given_in_binary_units() {
        let texts = [0, 1023, 1024, 1536, 1 << 20, u64::MAX].map(size);
        assert_eq!(texts, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "16777215.9 TiB"]);
    }

    proptest::proptest! {
        #[test]
        fn no_datagram_brings_the_listener_down(bytes: Vec<u8>) {
            understand(&bytes, &steps());
        }
    }
}
