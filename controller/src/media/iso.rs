//! A flat ISO 9660 image with Rock Ridge and Joliet, in memory. Reads no clock: equal files and time give equal
//! bytes. What hadris-iso would only warn about (a name changed, cut or left out) is an error here, because a
//! host that looks for `user-data` must find `user-data` in every tree.

use hadris_fs::{Content, DateTime, Node, Tree, WarningKind};
use hadris_iso::{IsoId, IsoLevel, IsoOptions};
use hadris_storage::{BlockSize, MemDevice};
use jiff::Timestamp;

use super::contents::Files;

/// Logical block of ISO 9660.
const SECTOR: u32 = 2048;
/// Longest name that Joliet keeps whole; hadris-iso cuts longer ones and loses their extension.
const NAME_MAX: usize = 64;

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum IsoError {
    /// A path with characters that some tree would change.
    #[error(
        "{path:?} cannot go on a task medium: names are 1 to {NAME_MAX} of [a-z0-9._-], one folder deep at most"
    )]
    Name {
        /// The path.
        path: String,
    },
    /// Two names that hadris-iso 3.0.0-rc.2 sorts wrongly in the primary tree.
    #[error(
        "{first:?} and {second:?} cannot be on one medium: one extension begins with the other; rename one"
    )]
    Order {
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
    /// Larger than a task medium may be.
    #[error("the medium would be {size} bytes, {most} is the most; make the recipe's payloads smaller")]
    TooLarge {
        /// Its size.
        size: u64,
        /// The limit.
        most: u64,
    },
    /// The writer would store something else than asked.
    #[error("the medium would not hold {path:?} as given: {message}")]
    Changed {
        /// The path, empty when the whole image is meant.
        path: String,
        /// The writer's words.
        message: String,
    },
    /// A time that ISO 9660 cannot express.
    #[error("{time} cannot date a medium; set the controller's clock")]
    Time {
        /// The time.
        time: Timestamp,
    },
    /// The writer gave up.
    #[error("writing the ISO image")]
    Write(#[source] hadris_fs::PathError),
}

/// The image of `files`, labelled `label`, every date of it `created` (whole seconds).
pub fn image(label: &str, files: &Files, created: Timestamp, most: u64) -> Result<Vec<u8>, IsoError> {
    check_names(files)?;
    let payload: u64 = files.values().map(|bytes| bytes.len() as u64).sum();
    if payload > most {
        return Err(IsoError::TooLarge { size: payload, most });
    }
    let time = DateTime::from_unix_seconds(created.as_second())
        .ok()
        .filter(|_| (1970..2155).contains(&created.to_zoned(jiff::tz::TimeZone::UTC).year()))
        .ok_or(IsoError::Time { time: created })?;
    let mut tree = Tree::new();
    for (path, bytes) in files {
        tree.insert(path, Node::file(Content::bytes(bytes.clone()))).map_err(IsoError::Write)?;
    }
    let options = IsoOptions::new()
        .with_id(IsoId::Volume, label)
        .with_id(IsoId::Application, "SLIPWAY")
        .with_level(IsoLevel::L2)
        .with_rock_ridge()
        .with_joliet()
        .with_time(time);
    let plan = hadris_iso::plan(&tree, &options).map_err(IsoError::Write)?;
    if plan.size() > most {
        return Err(IsoError::TooLarge { size: plan.size(), most });
    }
    let size = usize::try_from(plan.size()).map_err(|_| IsoError::TooLarge { size: plan.size(), most })?;
    let Some(block) = BlockSize::new(SECTOR) else {
        return Err(IsoError::Changed { path: String::new(), message: "block size".into() });
    };
    let mut device = MemDevice::new(vec![0_u8; size], block);
    let report = hadris_iso::sync::write(&mut device, &tree, &options).map_err(IsoError::Write)?;
    if let Some(warning) = report.warnings().iter().find(|warning| is_loss(warning)) {
        return Err(IsoError::Changed {
            path: warning.path().map(|path| String::from_utf8_lossy(path).into_owned()).unwrap_or_default(),
            message: warning.message().to_owned(),
        });
    }
    Ok(device.into_inner())
}

/// Whether a warning is about anything a host could notice. Every kind is, but for the primary tree's own
/// spelling: `USER_DATA.;1` beside Rock Ridge and Joliet names that are as given.
fn is_loss(warning: &hadris_fs::Warning) -> bool {
    !(warning.kind() == WarningKind::Renamed && warning.message() == "iso 9660 name")
}

fn check_names(files: &Files) -> Result<(), IsoError> {
    for path in files.keys() {
        let parts: Vec<&str> = path.split('/').collect();
        let fits = parts.len() <= 2 && parts.iter().all(|name| fits(name));
        if !fits {
            return Err(IsoError::Name { path: path.clone() });
        }
    }
    // Neighbours in path order: names of one stem sort side by side.
    let split = |path: &String| path.rsplit_once('.').map(|(stem, ext)| (stem.to_owned(), ext.to_owned()));
    let mut names = files.keys().filter_map(|path| Some((path, split(path)?))).peekable();
    while let Some((first, (stem, ext))) = names.next() {
        if let Some((second, (other_stem, other_ext))) = names.peek()
            && stem == *other_stem
            && other_ext.starts_with(&ext)
        {
            return Err(IsoError::Order { first: first.clone(), second: (*second).clone() });
        }
    }
    Ok(())
}

fn fits(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(path: &str) -> Files {
        Files::from([(path.to_owned(), b"x".to_vec())])
    }

    fn at() -> Timestamp {
        "2026-11-21T08:45:00Z".parse().unwrap()
    }

    #[test]
    fn names_that_a_tree_would_change_are_refused() {
        let long = "a".repeat(65);
        for path in ["", "A", "a b", "../a", "a/b/c", "/a", "a//b", ".hidden", "ü", "a\n", long.as_str()] {
            let result = image("X", &one(path), at(), 1 << 20);
            assert!(matches!(result, Err(IsoError::Name { .. })), "{path:?}: {result:?}");
        }
    }

    #[test]
    fn names_the_writer_sorts_wrongly_are_refused() {
        let files = Files::from([("n.net".to_owned(), vec![]), ("n.network".to_owned(), vec![])]);
        assert!(matches!(image("X", &files, at(), 1 << 20), Err(IsoError::Order { .. })));
    }

    #[test]
    fn an_oversize_medium_is_refused_with_both_numbers() {
        let files = Files::from([("user-data".to_owned(), vec![0; 100_000])]);
        let error = image("X", &files, at(), 100_000).unwrap_err().to_string();
        assert!(error.contains("100000 is the most"), "{error}");
        assert!(image("X", &files, at(), 1 << 20).is_ok());
    }

    #[test]
    fn a_time_before_1970_cannot_date_a_medium() {
        let then = Timestamp::from_second(-1).unwrap();
        assert!(matches!(image("X", &one("a"), then, 1 << 20), Err(IsoError::Time { .. })));
    }
}
