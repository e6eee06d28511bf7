//! The session table: bounded, with idle timeout. Pure; time is a parameter.

use std::time::{Duration, Instant};

use subtle::ConstantTimeEq;

/// One open session.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// Number in the URI.
    pub id: u64,
    /// Secret of `X-Auth-Token`.
    token: String,
    /// Who logged in.
    pub user: String,
    /// Last request.
    used: Instant,
}

/// The sessions of one BMC.
#[derive(Debug)]
pub(crate) struct Sessions {
    open: Vec<Session>,
    limit: usize,
    idle: Duration,
    next: u64,
}

/// No more sessions fit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TableFull;

impl Sessions {
    pub fn new(limit: usize, idle: Duration) -> Self {
        Self { open: Vec::new(), limit, idle, next: 1 }
    }

    /// Opens a session and returns its number and token.
    pub fn open(&mut self, user: &str, token: String, now: Instant) -> Result<u64, TableFull> {
        self.expire(now);
        if self.open.len() >= self.limit {
            return Err(TableFull);
        }
        let id = self.next;
        self.next += 1;
        self.open.push(Session { id, token, user: user.into(), used: now });
        Ok(id)
    }

    /// The session of that token, kept alive by asking.
    pub fn touch(&mut self, token: &str, now: Instant) -> Option<&Session> {
        self.expire(now);
        let found = self.open.iter_mut().find(|s| bool::from(s.token.as_bytes().ct_eq(token.as_bytes())))?;
        found.used = now;
        Some(found)
    }

    /// Closes a session; `false` when there is none of that number.
    pub fn close(&mut self, id: u64) -> bool {
        let before = self.open.len();
        self.open.retain(|session| session.id != id);
        self.open.len() < before
    }

    /// Closes all, as a restart of the BMC does.
    pub fn clear(&mut self) {
        self.open.clear();
    }

    /// The sessions open at that time.
    pub fn list(&mut self, now: Instant) -> &[Session] {
        self.expire(now);
        &self.open
    }

    fn expire(&mut self, now: Instant) {
        let idle = self.idle;
        self.open.retain(|session| now.saturating_duration_since(session.used) < idle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_session_is_gone_and_a_used_one_stays() {
        let start = Instant::now();
        let mut table = Sessions::new(4, Duration::from_secs(30));
        table.open("a", "one".into(), start).unwrap();
        table.open("a", "two".into(), start).unwrap();
        assert!(table.touch("one", start + Duration::from_secs(29)).is_some());
        assert!(table.touch("two", start + Duration::from_secs(31)).is_none());
        assert!(table.touch("one", start + Duration::from_secs(58)).is_some());
    }

    #[test]
    fn a_full_table_refuses_until_one_is_closed() {
        let now = Instant::now();
        let mut table = Sessions::new(1, Duration::from_secs(30));
        let id = table.open("a", "one".into(), now).unwrap();
        assert_eq!(table.open("a", "two".into(), now), Err(TableFull));
        assert!(table.close(id));
        assert!(!table.close(id));
        assert!(table.open("a", "two".into(), now).is_ok());
    }
}
