//! Why durable memory did not answer.

use super::seal::SealError;

/// One call to the store that did not work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database said no.
    #[error("the store cannot do {what}; check the disk that holds the state folder")]
    Database {
        /// What was asked.
        what: &'static str,
        /// What SQLite said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The disk is full: nothing was written, and nothing was lost.
    #[error("the disk that holds the state folder is full ({what}); make room and try again")]
    DiskFull {
        /// What was asked.
        what: &'static str,
    },
    /// The database file cannot be opened.
    #[error("store {path} cannot be opened; check the folder and its owner")]
    Open {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another controller has it.
    #[error("store {path} is in use by another controller; stop that one first")]
    InUse {
        /// The file.
        path: String,
    },
    /// It was written by a newer controller.
    #[error("store {path} has schema {found}, this controller knows up to {known}; run the newer controller")]
    TooNew {
        /// The file.
        path: String,
        /// Schema of the file.
        found: i64,
        /// Newest schema known here.
        known: i64,
    },
    /// A stored document does not read back.
    #[error("the store holds a {what} that does not read back; restore a backup or report this")]
    Document {
        /// What it should be.
        what: &'static str,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// A sealed value does not open.
    #[error(
        "the store holds a sealed {what} that this key does not open; restore the key file that belongs to it"
    )]
    Sealed {
        /// What it is.
        what: &'static str,
        /// Why not.
        #[source]
        source: SealError,
    },
    /// The controller stops.
    #[error("the controller is stopping and did not finish this; ask again when it is back")]
    Stopping,
    /// The thread that did it went away.
    #[error("a store call was interrupted; the controller is stopping or hit a fault")]
    Interrupted {
        /// Why.
        #[source]
        source: tokio::task::JoinError,
    },
}
