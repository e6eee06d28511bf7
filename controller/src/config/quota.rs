//! How much namespaces of the registry may hold, as written; checked they are the registry's own quotas.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::registry::Quota;
use crate::registry::name::Repository;

/// One quota as written, a table `[[registry_quota]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenQuota {
    /// Whole components of names: `team` is `team` and `team/app`, not `teamwork`. Empty for all repositories.
    pub namespace: String,
    /// Such as `100GiB`.
    pub size: String,
}

/// Checks quotas; every fault is added to `faults`, in words.
pub fn check(written: Vec<WrittenQuota>, faults: &mut Vec<String>) -> Vec<Quota> {
    let mut seen = BTreeSet::new();
    let mut quotas = Vec::new();
    for (WrittenQuota { namespace, size }, number) in written.into_iter().zip(1..) {
        let mut fault = |text: String| faults.push(format!("registry_quota {number}: {text}"));
        if !namespace.is_empty() && namespace.parse::<Repository>().is_err() {
            fault(format!(
                "namespace {namespace:?} is no name; give one such as team or team/app, or \"\" for all"
            ));
        }
        if !seen.insert(namespace.clone()) {
            fault(format!("namespace {namespace:?} has a quota already; keep one"));
        }
        match schema::size::absolute(&size) {
            Ok(size) => quotas.push(Quota { namespace, size }),
            Err(error) => fault(format!("size: {error}")),
        }
    }
    quotas
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_taken_or_say_what_is_wrong_with_them() {
        let written =
            |namespace: &str, size: &str| WrittenQuota { namespace: namespace.into(), size: size.into() };
        let mut faults = Vec::new();
        let quotas = check(vec![written("team/app", "100GiB"), written("", "1T")], &mut faults);
        let sizes: Vec<_> = quotas.iter().map(|quota| (quota.namespace.as_str(), quota.size)).collect();
        assert_eq!((sizes, faults.len()), (vec![("team/app", 100 << 30), ("", 1 << 40)], 0));
        let bad =
            vec![written("team/", "1G"), written("a", "half"), written("a", "10%"), written("b", "rest")];
        check(bad, &mut faults);
        insta::assert_snapshot!(faults.join("\n"));
    }
}
