//! Tags that are made once: rules of the site, decided without looking at anything. The index refuses in the
//! transaction that would move or remove such a tag, or take away what its manifest needs.

use std::fmt;

use glob::Pattern;

use super::{
    digest::Digest,
    name::{Repository, Tag},
};

/// One rule: these tags of these repositories keep the manifest that they were made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Immutable {
    /// Which repositories: `*` stands for anything, slashes included.
    pub repository: Pattern,
    /// Which tags.
    pub tags: Pattern,
}

impl fmt::Display for Immutable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.repository, self.tags)
    }
}

/// The rules that fit one repository; its tags are held against them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fixed(Vec<Immutable>);

impl Fixed {
    /// Those of `rules` that fit.
    pub(super) fn of(rules: &[Immutable], repository: &Repository) -> Self {
        Self(rules.iter().filter(|rule| rule.repository.matches(repository.as_str())).cloned().collect())
    }

    /// Whether every tag may be moved and removed.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first rule that fits a tag.
    pub(super) fn rule(&self, tag: &str) -> Option<&Immutable> {
        self.0.iter().find(|rule| rule.tags.matches(tag))
    }
}

/// A tag that stays as it was made, and what it needs: why something was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stays {
    /// Where.
    pub repository: Repository,
    /// The tag.
    pub tag: Tag,
    /// The rule that fits it.
    pub rule: String,
    /// What it points to, or what was to be removed.
    pub digest: Digest,
}

impl fmt::Display for Stays {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { repository, tag, rule, digest } = self;
        write!(
            out,
            "tag {tag} of repository {repository} is immutable by the rule {rule} and needs {digest}; use another tag, or \
             have the rule taken out of the configuration (registry_immutable) first"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_held_against_the_rules_of_its_repository() {
        let rule = |repository: &str, tags: &str| Immutable {
            repository: Pattern::new(repository).unwrap(),
            tags: Pattern::new(tags).unwrap(),
        };
        let rules = [rule("images/*", "v*"), rule("images/*", "*-lts"), rule("tools", "*")];
        for (repository, tag, wanted) in [
            ("images/debian", "v1", Some("images/*:v*")),
            ("images/ci/debian", "v1-lts", Some("images/*:v*")),
            ("images/debian", "12-lts", Some("images/*:*-lts")),
            ("images/debian", "latest", None),
            ("images", "v1", None),
            ("tools", "latest", Some("tools:*")),
            ("tools/x", "v1", None),
        ] {
            let fixed = Fixed::of(&rules, &repository.parse().unwrap());
            let found = fixed.rule(tag).map(ToString::to_string);
            assert_eq!(found.as_deref(), wanted, "{repository}:{tag}");
        }
        assert!(Fixed::of(&rules, &"other".parse().unwrap()).is_empty());
    }
}
