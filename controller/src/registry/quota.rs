//! Quotas: how many bytes the repositories below a name may show. Pure; the index adds up and decides in the
//! transaction that would exceed one, so that none ever is.
//!
//! Counted is what each repository shows, as [`Usage`](super::index::Usage) does: content that two repositories share counts
//! in both, so that what one does never changes what another may hold.

use std::fmt;

use serde::Serialize;

use super::name::Repository;

/// What the repositories of a namespace may show together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// Whole components of names: `team` is `team` and `team/app`, not `teamwork`. Empty for all repositories.
    pub namespace: String,
    /// Most bytes.
    pub size: u64,
}

impl Quota {
    /// Whether a repository counts.
    pub fn covers(&self, repository: &Repository) -> bool {
        let rest = repository.as_str().strip_prefix(&self.namespace);
        self.namespace.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Those of `quotas` that a repository must keep.
    pub(super) fn of(quotas: &[Self], repository: &Repository) -> Vec<Self> {
        quotas.iter().filter(|quota| quota.covers(repository)).cloned().collect()
    }
}

/// A quota as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Room {
    /// Of these repositories.
    pub namespace: String,
    /// Most bytes.
    pub size: u64,
    /// Bytes that they show.
    pub used: u64,
}

impl Room {
    /// Bytes that may still come.
    pub(super) fn left(&self) -> u64 {
        self.size.saturating_sub(self.used)
    }
}

impl fmt::Display for Room {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (used, size) = (bytes(self.used), bytes(self.size));
        match self.namespace.as_str() {
            "" => write!(out, "all repositories together hold {used} of {size}"),
            namespace => write!(out, "the repositories of {namespace} hold {used} of {size}"),
        }
    }
}

/// Bytes for people.
fn bytes(count: u64) -> String {
    let mut unit = (1_u64, "B");
    for next in [(1 << 10, "KiB"), (1 << 20, "MiB"), (1 << 30, "GiB"), (1 << 40, "TiB")] {
        if count >= next.0 {
            unit = next;
        }
    }
    match (count / unit.0, count % unit.0 * 10 / unit.0) {
        (whole, 0) => format!("{whole} {}", unit.1),
        (whole, tenth) => format!("{whole}.{tenth} {}", unit.1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_made_of_whole_components() {
        for (namespace, repository, covered) in [
            ("team", "team", true),
            ("team", "team/app", true),
            ("team", "team/app/deep", true),
            ("team", "teamwork", false),
            ("team", "team-b", false),
            ("team/app", "team", false),
            ("team/app", "team/app", true),
            ("team/app", "team/application", false),
            ("", "anything/at/all", true),
        ] {
            let quota = Quota { namespace: namespace.to_owned(), size: 1 };
            assert_eq!(quota.covers(&repository.parse().unwrap()), covered, "{namespace} {repository}");
        }
    }

    #[test]
    fn a_quota_says_how_it_stands() {
        let room = |namespace: &str, used, size| Room { namespace: namespace.to_owned(), size, used };
        for (room, said, left) in [
            (room("team", 7, 10), "the repositories of team hold 7 B of 10 B", 3),
            (room("", 1536, 1 << 30), "all repositories together hold 1.5 KiB of 1 GiB", (1 << 30) - 1536),
            (room("a", 5 << 40, 1 << 20), "the repositories of a hold 5 TiB of 1 MiB", 0),
        ] {
            assert_eq!((room.to_string().as_str(), room.left()), (said, left));
        }
    }
}
