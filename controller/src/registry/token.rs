//! Short-lived tokens of the Docker token flow.
//!
//! A token is a random number that stands for the credentials it was bought with, and nothing else: at every use the
//! authorizer is asked about those credentials, so one that is revoked is dead at once, whatever tokens it bought.
//! Tokens live in memory; after a restart clients buy new ones by themselves. Whoever shows no credentials gets a token
//! that is always the same and is kept nowhere, so that strangers cannot crowd out the tokens of others.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use zeroize::Zeroizing;

use super::{auth::Credentials, digest::Algorithm, digest::Digest};

/// How long a token lives. Clients buy a new one when it ends, also in the middle of a push.
pub(super) const LIFETIME: Duration = Duration::from_secs(300);
/// How many tokens may live; the oldest go first.
const LIMIT: usize = 8192;
/// Random bytes in a token.
const ENTROPY: usize = 32;
/// What every token begins with, so that ours are told from the authorizer's.
const PREFIX: &str = "slr.";
/// The token of whoever has shown no credentials: worth what an anonymous request is worth, no more.
pub(super) const ANONYMOUS: &str = "slr.anonymous";

/// Whether a text has the form of our tokens, live or not.
pub(super) fn is_ours(token: &str) -> bool {
    token.starts_with(PREFIX)
}

/// The tokens that live now, by their SHA-256, so that looking one up does not leak it by time.
#[derive(Default)]
pub(super) struct Tokens {
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    grants: HashMap<Digest, (Credentials, Instant)>,
    order: BTreeSet<(Instant, Digest)>,
}

impl Tokens {
    /// Makes a token that stands for `credentials`; none when the system has no random numbers.
    pub(super) fn issue(&self, credentials: Credentials, now: Instant) -> Option<Zeroizing<String>> {
        let mut random = Zeroizing::new([0_u8; ENTROPY]);
        getrandom::fill(&mut *random).ok()?;
        let token = Zeroizing::new(format!("{PREFIX}{}", hex::encode(*random)));
        let key = Digest::of(Algorithm::Sha256, token.as_bytes());
        let ends = now + LIFETIME;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(oldest) = held.order.first().cloned() {
            if oldest.0 > now && held.grants.len() < LIMIT {
                break;
            }
            held.order.remove(&oldest);
            held.grants.remove(&oldest.1);
        }
        held.order.insert((ends, key.clone()));
        held.grants.insert(key, (credentials, ends));
        Some(token)
    }

    /// The credentials that a live token stands for.
    pub(super) fn redeem(&self, token: &str) -> Option<Credentials> {
        self.redeem_at(token, Instant::now())
    }

    fn redeem_at(&self, token: &str, now: Instant) -> Option<Credentials> {
        if token == ANONYMOUS {
            return Some(Credentials::Anonymous);
        }
        let key = Digest::of(Algorithm::Sha256, token.as_bytes());
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.grants.get(&key).filter(|(_, ends)| *ends > now).map(|(credentials, _)| credentials.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(credentials: Option<Credentials>) -> Option<String> {
        match credentials {
            Some(Credentials::Basic { user, .. }) => Some(user),
            _ => None,
        }
    }

    fn basic(user: &str) -> Credentials {
        Credentials::Basic { user: user.to_owned(), password: Zeroizing::new("p".to_owned()) }
    }

    #[test]
    fn a_token_stands_for_its_credentials_until_it_ends() {
        let tokens = Tokens::default();
        let now = Instant::now();
        let token = tokens.issue(basic("a"), now).unwrap();
        assert_eq!(user(tokens.redeem_at(&token, now)), Some("a".to_owned()));
        assert_eq!(user(tokens.redeem_at(&token, now + LIFETIME)), None);
        assert_eq!(user(tokens.redeem_at("0", now)), None);
        assert!(is_ours(&token) && is_ours(ANONYMOUS));
        assert!(matches!(tokens.redeem_at(ANONYMOUS, now), Some(Credentials::Anonymous)));
    }

    #[test]
    fn however_many_tokens_are_bought_memory_is_bounded() {
        let tokens = Tokens::default();
        let now = Instant::now();
        let first = tokens.issue(basic("first"), now).unwrap();
        for step in 0..LIMIT as u64 {
            tokens.issue(basic("more"), now + Duration::from_nanos(step + 1)).unwrap();
        }
        assert_eq!(tokens.held.lock().unwrap().grants.len(), LIMIT);
        assert!(tokens.redeem_at(&first, now).is_none(), "the oldest went");
        tokens.issue(basic("later"), now + LIFETIME * 2).unwrap();
        assert_eq!(tokens.held.lock().unwrap().grants.len(), 1, "the dead were swept");
    }
}
