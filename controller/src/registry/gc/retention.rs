//! Which tags and untagged manifests need not be kept: rules of the site, decided without looking at anything.

use std::collections::HashMap;
use std::time::Duration;

use glob::Pattern;

use crate::registry::index::Dated;
use crate::registry::name::{Repository, Tag};

/// One rule. Of several, the first whose patterns fit a repository and tag counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Which repositories: `*` stands for anything, slashes included.
    pub repository: Pattern,
    /// Which tags.
    pub tags: Pattern,
    /// How many of those tags to keep in each repository, the newest; none keeps all.
    pub keep_last: Option<usize>,
    /// When a manifest that no tag points to may go; none keeps it.
    pub untagged_after: Option<Duration>,
}

/// Tags that no rule keeps. `tags` are those of the repository, the newest first.
pub(super) fn expired(rules: &[Rule], repository: &Repository, tags: Vec<Dated<Tag>>) -> Vec<Tag> {
    let mut kept: HashMap<usize, usize> = HashMap::new();
    let mut expired = Vec::new();
    for Dated { what: tag, .. } in tags {
        let fits =
            |rule: &Rule| rule.repository.matches(repository.as_str()) && rule.tags.matches(tag.as_str());
        let Some(number) = rules.iter().position(fits) else { continue };
        let Some(most) = rules[number].keep_last else { continue };
        let count = kept.entry(number).or_default();
        if *count < most { *count += 1 } else { expired.push(tag) }
    }
    expired
}

/// How long a repository's untagged manifests are kept: as the first rule for it says; none keeps them.
pub(super) fn untagged_after(rules: &[Rule], repository: &Repository) -> Option<Duration> {
    rules
        .iter()
        .filter(|rule| rule.repository.matches(repository.as_str()))
        .find_map(|rule| rule.untagged_after)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn rule(repository: &str, tags: &str, keep_last: Option<usize>) -> Rule {
        Rule {
            repository: Pattern::new(repository).unwrap(),
            tags: Pattern::new(tags).unwrap(),
            keep_last,
            untagged_after: None,
        }
    }

    #[test]
    fn the_newest_tags_of_the_first_rule_that_fits_are_kept() {
        let newest_first = ["v3", "nightly-3", "v2", "nightly-2", "stable", "v1", "nightly-1"];
        for (rules, repository, gone) in [
            (vec![], "images/a", &[][..]),
            (vec![rule("images/*", "nightly-*", Some(1))], "images/a", &["nightly-2", "nightly-1"]),
            (vec![rule("images/*", "nightly-*", Some(1))], "tools/a", &[]),
            (
                vec![rule("images/*", "nightly-*", Some(0))],
                "images/a/b",
                &["nightly-3", "nightly-2", "nightly-1"],
            ),
            (
                vec![rule("*", "stable", None), rule("*", "*", Some(2))],
                "x",
                &["v2", "nightly-2", "v1", "nightly-1"],
            ),
            (vec![rule("*", "v*", Some(2)), rule("*", "nightly-*", Some(2))], "x", &["v1", "nightly-1"]),
        ] {
            let tags = newest_first
                .iter()
                .map(|name| Dated { what: name.parse().unwrap(), at: Timestamp::UNIX_EPOCH })
                .collect();
            let found = expired(&rules, &repository.parse().unwrap(), tags);
            let found: Vec<&str> = found.iter().map(Tag::as_str).collect();
            assert_eq!(found, gone, "{rules:?} in {repository}");
        }
    }

    #[test]
    fn untagged_manifests_go_by_the_first_rule_that_speaks_of_them() {
        let silent = rule("images/*", "*", Some(3));
        let day = Rule { untagged_after: Some(Duration::from_secs(86400)), ..rule("images/*", "*", None) };
        let of = |rules: &[Rule], name: &str| untagged_after(rules, &name.parse().unwrap());
        assert_eq!(of(&[silent.clone(), day.clone()], "images/a"), Some(Duration::from_secs(86400)));
        assert_eq!(of(&[silent], "images/a"), None);
        assert_eq!(of(&[day], "tools/a"), None);
    }
}
