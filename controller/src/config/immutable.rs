//! Tags of the registry that are made once, as written; checked they are the registry's own rules.

use glob::Pattern;
use serde::Deserialize;

use crate::registry::Immutable;

/// One rule as written, a table `[[registry_immutable]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenImmutable {
    /// Which repositories, such as `images/*`; `*` stands for anything.
    pub repository: String,
    /// Which tags, such as `v*`; `*` for all.
    pub tags: String,
}

impl WrittenImmutable {
    /// Checks the rule; every fault is added to `faults`, in words.
    pub fn check(&self, number: usize, faults: &mut Vec<String>) -> Option<Immutable> {
        let mut pattern = |field: &str, text: &str| {
            let found = Pattern::new(text).ok().filter(|_| !text.is_empty());
            if found.is_none() {
                faults.push(format!(
                    "registry_immutable rule {number}: {field} {text:?} is no pattern; give one such as images/* or v*"
                ));
            }
            found
        };
        let (repository, tags) = (pattern("repository", &self.repository), pattern("tags", &self.tags));
        Some(Immutable { repository: repository?, tags: tags? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_taken_or_says_what_is_wrong_with_it() {
        let check = |text: &str| {
            let written: WrittenImmutable = toml::from_str(text).unwrap();
            let mut faults = Vec::new();
            (written.check(2, &mut faults).map(|rule| rule.to_string()), faults)
        };
        let taken = check("repository = \"images/*\"\ntags = \"v*\"");
        assert_eq!(taken, (Some("images/*:v*".to_owned()), Vec::new()));
        let (rule, faults) = check("repository = \"[\"\ntags = \"\"");
        assert_eq!((rule, faults.len()), (None, 2), "every fault is told");
        assert!(
            faults[0].starts_with("registry_immutable rule 2: repository \"[\" is no pattern"),
            "{faults:?}"
        );
        assert!(toml::from_str::<WrittenImmutable>("repository = \"a\"").is_err(), "which tags must be said");
    }
}
