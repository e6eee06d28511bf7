//! Rules of what the registry need not keep, as written and as checked.

use std::time::Duration;

use glob::Pattern;
use serde::Deserialize;

/// Seconds of a day.
const DAY: u64 = 86400;

/// One rule as written, a table `[[registry_retention]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// Which repositories, such as `images/ci/*`; `*` stands for anything.
    pub repository: String,
    /// Which tags, such as `nightly-*`. Default: all.
    pub tags: Option<String>,
    /// How many of those tags to keep in each repository, the newest. Default: all.
    pub keep_last: Option<usize>,
    /// Days after which a manifest without a tag may go, from 1. Default: never. Less than a day could meet a push that is
    /// still going on.
    pub untagged_days: Option<u32>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Which repositories.
    pub repository: Pattern,
    /// Which tags.
    pub tags: Pattern,
    /// How many of those tags to keep; none keeps all.
    pub keep_last: Option<usize>,
    /// When an untagged manifest may go; none keeps it.
    pub untagged_after: Option<Duration>,
}

impl Written {
    /// Checks the rule; every fault is added to `faults`, in words.
    pub fn check(&self, number: usize, faults: &mut Vec<String>) -> Option<Retention> {
        let before = faults.len();
        let mut fault = |text: String| faults.push(format!("registry_retention rule {number}: {text}"));
        let mut pattern = |field: &str, text: &str| match Pattern::new(text) {
            Ok(pattern) => pattern,
            Err(error) => {
                fault(format!("{field} {text:?} is no pattern: {error}"));
                Pattern::default()
            }
        };
        let repository = pattern("repository", &self.repository);
        let tags = pattern("tags", self.tags.as_deref().unwrap_or("*"));
        if self.untagged_days == Some(0) {
            fault("untagged_days is 0; give 1 or more".to_owned());
        }
        let untagged_after = self.untagged_days.map(|days| Duration::from_secs(u64::from(days) * DAY));
        if self.keep_last.is_none() && self.untagged_days.is_none() {
            fault("it says neither keep_last nor untagged_days, so it does nothing".to_owned());
        }
        (faults.len() == before).then_some(Retention {
            repository,
            tags,
            keep_last: self.keep_last,
            untagged_after,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<Retention, String> {
        let written: Written = toml::from_str(text).unwrap();
        let mut faults = Vec::new();
        written.check(1, &mut faults).ok_or_else(|| faults.join("; "))
    }

    #[test]
    fn a_rule_is_taken_or_says_what_is_wrong_with_it() {
        let rule = checked("repository = \"ci/*\"\nkeep_last = 3\nuntagged_days = 7").unwrap();
        assert!(rule.repository.matches("ci/a/b") && rule.tags.matches("anything"));
        assert_eq!((rule.keep_last, rule.untagged_after), (Some(3), Some(Duration::from_secs(7 * 86400))));
        for (text, said) in [
            ("repository = \"a\"", "neither keep_last nor untagged_days"),
            ("repository = \"[\"\nkeep_last = 1", "\"[\" is no pattern"),
            ("repository = \"a\"\nuntagged_days = 0", "untagged_days is 0"),
        ] {
            let faults = checked(text).unwrap_err();
            assert!(faults.contains(said) && faults.starts_with("registry_retention rule 1: "), "{faults}");
        }
    }
}
