//! What a client is at, in words: for whoever loses patience with a step, and for what people should know of how a BMC is
//! spoken to. Nothing is decided by it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::http::Verb;

/// See the module.
#[derive(Debug, Default)]
pub struct Work(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The last request, and when it was sent.
    asked: Option<(Verb, String, Instant)>,
    /// The status that it was answered with.
    answered: Option<u16>,
    /// What is awaited, and what is seen so far.
    watched: Option<(String, String)>,
    /// What people were not told yet.
    notes: Vec<String>,
}

impl Work {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request is sent.
    pub fn ask(&self, verb: Verb, path: &str) {
        let mut state = self.state();
        state.asked = Some((verb, path.to_owned(), Instant::now()));
        state.answered = None;
        if verb != Verb::Get {
            state.watched = None;
        }
    }

    /// It was answered.
    pub fn answer(&self, status: u16) {
        self.state().answered = Some(status);
    }

    /// Something is awaited, and this is seen instead.
    pub fn watching(&self, what: &str, seen: &str) {
        self.state().watched = Some((what.to_owned(), seen.to_owned()));
    }

    /// Nothing is awaited any more.
    pub fn watched(&self) {
        self.state().watched = None;
    }

    /// Something people should know.
    pub fn note(&self, text: String) {
        self.state().notes.push(text);
    }

    /// What people were not told yet.
    pub fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut self.state().notes)
    }

    /// What the BMC at `endpoint` is being asked, or what is awaited of it and seen so far; none before the first request.
    pub fn told(&self, endpoint: &str) -> Option<String> {
        let state = self.state();
        let (verb, path, at) = state.asked.as_ref()?;
        let request = format!("{} {path}", verb.name());
        Some(match (&state.watched, state.answered) {
            (Some((what, seen)), Some(_)) => format!("BMC {endpoint} accepted {what} and still shows {seen}"),
            (None, Some(status)) => {
                format!("BMC {endpoint} was last asked {request} and answered HTTP {status}")
            }
            (_, None) => {
                let ago = at.elapsed().as_secs();
                format!("BMC {endpoint} was asked {request} {ago} s ago and has not answered")
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_is_at_is_a_question_an_answer_or_something_awaited() {
        let work = Work::default();
        assert_eq!(work.told("b"), None);
        work.ask(Verb::Post, "/reset");
        assert_eq!(work.told("b").unwrap(), "BMC b was asked POST /reset 0 s ago and has not answered");
        work.answer(204);
        assert_eq!(work.told("b").unwrap(), "BMC b was last asked POST /reset and answered HTTP 204");
        work.ask(Verb::Get, "/system");
        work.answer(200);
        work.watching("power Off", "PowerState On");
        assert_eq!(work.told("b").unwrap(), "BMC b accepted power Off and still shows PowerState On");
        work.ask(Verb::Get, "/system");
        assert_eq!(work.told("b").unwrap(), "BMC b was asked GET /system 0 s ago and has not answered");
        work.ask(Verb::Patch, "/system");
        work.answer(200);
        assert_eq!(work.told("b").unwrap(), "BMC b was last asked PATCH /system and answered HTTP 200");
    }
}
