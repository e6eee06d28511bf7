//! What goes wrong once the controller is known, and so is told: an exit code, a sentence, and what follows. Pure.

use std::error::Error;

use schema::event::{DISPATCHER_UNIT, Report};
use schema::recipe::{OnFailure, Recipe};

use crate::delivery::{Sender, chain};
use crate::exit::Exit;

/// A fault of the dispatcher's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The code it exits with.
    pub exit: Exit,
    /// What happened, in one sentence.
    pub message: String,
    /// Whether the recipe wants the machine to stay on for people to look at it.
    pub stay: bool,
    found_serial: Option<String>,
}

impl Fault {
    /// From an error with its causes.
    pub fn new(exit: Exit, error: &(dyn Error + 'static)) -> Self {
        Self::saying(exit, chain(error))
    }

    /// From a sentence.
    pub fn saying(exit: Exit, message: String) -> Self {
        Self { exit, message, stay: false, found_serial: None }
    }

    /// With the serial number of the machine that was found instead.
    #[must_use]
    pub fn found(self, serial: String) -> Self {
        Self { found_serial: Some(serial), ..self }
    }

    /// Under a recipe that is known to be one, whose `on_failure` counts.
    #[must_use]
    pub fn under(self, recipe: &Recipe) -> Self {
        Self { stay: recipe.on_failure == Some(OnFailure::Stay), ..self }
    }

    /// As the controller is told.
    pub fn report(&self, sender: &Sender) -> Report {
        Report {
            exit_code: Some(self.exit.code().into()),
            found_serial: self.found_serial.clone(),
            ..sender.failed(DISPATCHER_UNIT, self.message.clone())
        }
    }
}
