//! An OCI distribution registry: `/v2/…` over one folder. It imports nothing of ours and can be lifted out as a crate.
//!
//! ```text
//!                    ┌ auth, token      may they?
//!  request ─ serve ──┼ route, name      what is meant?
//!                    └ upload, blob, manifest, referrers, tags, catalog
//!                        │         │
//!                      store     index ◀─ gc    <dir>/blobs/<alg>/<hex>   <dir>/index.sqlite
//! ```
//! Rules that hold everywhere: a blob file is whole and durable before the index knows it; the index knows all that a
//! manifest names before it knows the manifest; only then is a client told 201. Bodies stream with bounded memory.
//! Work on files and SQLite is done on blocking threads. Statuses are chosen in [`error`] alone.
//!
//! Not here: users and roles (see [`auth::Authorizer`]), TLS, listeners, jobs.

use std::{path::Path, path::PathBuf, sync::Arc};

use jiff::Timestamp;
use tokio::sync::watch;

pub mod auth;
mod blob;
mod call;
mod catalog;
pub mod digest;
pub mod document;
pub mod error;
mod gc;
mod immutable;
pub mod index;
mod locks;
mod manifest;
pub mod mode;
pub mod name;
mod numbers;
pub mod options;
mod page;
mod private;
mod pulls;
mod quota;
pub mod range;
mod recent;
mod referrers;
pub mod resolve;
mod route;
mod serve;
pub mod store;
mod tags;
mod token;
mod upload;
mod verify;

use auth::{Authorizer, Realm};
pub use blob::Content;
use digest::Digest;
use error::RegistryError;
pub use gc::{Collection, Rule};
use immutable::Fixed;
pub use immutable::Immutable;
use index::{Index, Pin, Usage, sqlite::SqliteIndex};
pub use index::{PUSHES_KEPT, Push};
use mode::ReadOnly;
use name::{Reference, Repository};
pub use options::Options;
pub use quota::{Quota, Room};
use store::Store;
use upload::Sessions;
pub use verify::{Damage, Finding, Verification};

/// The index file within the registry's folder.
const INDEX_FILE: &str = "index.sqlite";

/// A registry over one folder.
pub struct Registry {
    store: Arc<Store>,
    index: Arc<dyn Index>,
    uploads: Sessions,
    locks: locks::DigestLocks,
    recent: recent::Recent,
    pulls: pulls::Pulls,
    collector: gc::Collector,
    switch: mode::Switch,
    pushed: watch::Sender<()>,
    options: Options,
}

impl Registry {
    /// Opens the folder, making what is missing. Blocks for a moment; walks over unfinished uploads, never over blobs.
    pub fn open(dir: &Path, options: Options) -> Result<Arc<Self>, RegistryError> {
        let fault = |path: &Path| {
            let path = path.to_owned();
            move |source| RegistryError::Folder { path, source }
        };
        numbers::describe();
        private::folder(dir).map_err(fault(dir))?;
        let index = dir.join(INDEX_FILE);
        private::file(&index).map_err(fault(&index))?;
        let store = Arc::new(Store::open(dir, options.reserve)?);
        let index = Arc::new(SqliteIndex::open(&index)?);
        upload::sweep_orphans(&store, index.as_ref())?;
        let switch = mode::Switch::open(index.as_ref())?;
        Ok(Arc::new(Self {
            store,
            index,
            uploads: Sessions::default(),
            locks: locks::DigestLocks::default(),
            recent: recent::Recent::default(),
            pulls: pulls::Pulls::default(),
            collector: gc::Collector::default(),
            switch,
            pushed: watch::Sender::new(()),
            options,
        }))
    }

    /// Its HTTP side: `/v2` and everything below. The embedding server must not limit or buffer bodies, nor bound the
    /// whole time of a request.
    ///
    /// With a realm, clients are challenged for Bearer tokens from its `/v2/token`, and anonymous pulls work beside
    /// authenticated pushes for every client; without it, for Basic.
    pub fn router(self: &Arc<Self>, authorizer: Arc<dyn Authorizer>, realm: Option<Realm>) -> axum::Router {
        serve::router(Arc::clone(self), authorizer, realm)
    }

    /// Changes whenever tags were pushed; [`Self::pushes_after`] says which.
    pub fn pushed(&self) -> watch::Receiver<()> {
        self.pushed.subscribe()
    }

    /// Tags that were made or moved after a number, oldest first, at most `limit`. They are remembered from the
    /// transaction that did it until [`Self::forget_pushes`]; beyond [`PUSHES_KEPT`] the oldest are forgotten.
    pub async fn pushes_after(self: &Arc<Self>, seq: i64, limit: usize) -> Result<Vec<Push>, RegistryError> {
        self.blocking(move |registry| Ok(registry.index.pushes_after(seq, limit)?)).await
    }

    /// Forgets pushes that are dealt with, up to a number; how many there were.
    pub async fn forget_pushes(self: &Arc<Self>, up_to: i64) -> Result<usize, RegistryError> {
        self.blocking(move |registry| Ok(registry.index.forget_pushes(up_to)?)).await
    }

    /// Reads what `repository` has under a tag or digest; none when it has nothing there.
    pub async fn resolve(
        self: &Arc<Self>,
        repository: &str,
        reference: &str,
    ) -> Result<Option<resolve::Resolved>, RegistryError> {
        let (repository, reference): (Repository, Reference) = (repository.parse()?, reference.parse()?);
        self.blocking(move |registry| resolve::resolve(registry, &repository, &reference)).await
    }

    /// Keeps a manifest and all it names from being deleted or collected, until then or until [`Self::unpin`].
    /// A second pin of the same owner on the same digest moves the end.
    pub async fn pin(
        self: &Arc<Self>,
        digest: &Digest,
        owner: &str,
        until: Option<Timestamp>,
    ) -> Result<bool, RegistryError> {
        let pin = Pin { digest: digest.clone(), owner: owner.to_owned(), until };
        self.blocking(move |registry| Ok(registry.index.pin(&pin)?)).await
    }

    /// Removes every pin of an owner; how many there were.
    pub async fn unpin(self: &Arc<Self>, owner: &str) -> Result<usize, RegistryError> {
        let owner = owner.to_owned();
        self.blocking(move |registry| Ok(registry.index.unpin(&owner)?)).await
    }

    /// All pins, by owner, so that a start-up can compare them with what still needs them.
    pub async fn pins(self: &Arc<Self>) -> Result<Vec<Pin>, RegistryError> {
        self.blocking(|registry| Ok(registry.index.pins()?)).await
    }

    /// Forgets pins that have ended; how many. They keep nothing in any case.
    pub async fn expire_pins(self: &Arc<Self>) -> Result<usize, RegistryError> {
        self.blocking(|registry| Ok(registry.index.expire_pins(registry.now())?)).await
    }

    /// Whether the content is on disk.
    pub async fn has_blob(self: &Arc<Self>, digest: &Digest) -> Result<bool, RegistryError> {
        let digest = digest.clone();
        self.blocking(move |registry| Ok(registry.store.blob_size(&digest)?.is_some())).await
    }

    /// Where the content is on disk, or would be. Whole whenever it is there; never to be written to.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.store.blob_path(digest)
    }

    /// Why nothing is written, when that is so.
    pub fn read_only(&self) -> Option<ReadOnly> {
        self.switch.now()
    }

    /// Refuses all changes from the moment this returns, for that reason, or with none lets them in again. Pulls go on;
    /// nothing is collected, and unfinished uploads stay. It lasts over restarts.
    pub async fn set_read_only(
        self: &Arc<Self>,
        reason: Option<String>,
        by: String,
    ) -> Result<(), RegistryError> {
        self.blocking(move |registry| {
            let at = registry.now();
            let to = reason.map(|reason| ReadOnly { reason, since: at, by });
            Ok(registry.switch.set(registry.index.as_ref(), to, at)?)
        })
        .await
    }

    /// Removes uploads that were begun too long ago and that nobody is writing to; how many. For an hourly timer.
    pub async fn expire_uploads(self: &Arc<Self>) -> Result<usize, RegistryError> {
        self.blocking(upload::expire).await
    }

    /// Removes what nobody needs any more, or with `dry_run` says what that would be. One at a time.
    pub async fn collect(self: &Arc<Self>, dry_run: bool) -> Result<Collection, RegistryError> {
        self.blocking(move |registry| gc::collect(registry, dry_run)).await
    }

    /// Hashes everything again. What is not what its name says is put out of reach.
    pub async fn verify(self: &Arc<Self>) -> Result<Verification, RegistryError> {
        self.blocking(verify::verify).await
    }

    /// Ends a running collection or verification after its current page or file, and every later one at once:
    /// the process stops.
    pub fn stop_collecting(&self) {
        self.collector.stop();
    }

    /// Writes down when repositories were pulled from, which is noted in memory meanwhile. For a timer, and before the end.
    pub async fn write_pulls(self: &Arc<Self>) -> Result<(), RegistryError> {
        self.blocking(pulls::write).await
    }

    /// What repositories hold, by name after `after`, at most `limit`.
    pub async fn usage(self: &Arc<Self>, after: String, limit: usize) -> Result<Vec<Usage>, RegistryError> {
        self.blocking(move |registry| {
            pulls::write(registry)?;
            Ok(registry.index.usage(&after, limit)?)
        })
        .await
    }

    /// How the quotas stand.
    pub async fn rooms(self: &Arc<Self>) -> Result<Vec<Room>, RegistryError> {
        self.blocking(|registry| Ok(registry.index.rooms(&registry.options.quotas)?)).await
    }

    /// Whether index and disk answer, for readiness probes.
    pub async fn check(self: &Arc<Self>) -> Result<(), RegistryError> {
        self.blocking(|registry| {
            registry.index.check()?;
            Ok(registry.store.check_room()?)
        })
        .await
    }

    /// Runs file and index work where it may block.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, RegistryError> + Send + 'static,
    ) -> Result<T, RegistryError> {
        let registry = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&registry))
            .await
            .map_err(|source| RegistryError::Interrupted { source })?
    }

    /// Which tags of a repository are made once.
    fn fixed(&self, repository: &Repository) -> Fixed {
        Fixed::of(&self.options.immutable, repository)
    }

    /// The quotas of a repository.
    fn quotas(&self, repository: &Repository) -> Vec<Quota> {
        Quota::of(&self.options.quotas, repository)
    }

    /// The room for new content of a repository, by the quota that leaves least; none when there is no bound, and for
    /// content that the repository shows already.
    fn room(&self, repository: &Repository, of: Option<&Digest>) -> Result<Option<Room>, RegistryError> {
        let quotas = self.quotas(repository);
        if quotas.is_empty() {
            return Ok(None);
        }
        if let Some(digest) = of
            && self.index.holds_blob(repository, digest)?
        {
            return Ok(None);
        }
        Ok(self.index.rooms(&quotas)?.into_iter().min_by_key(Room::left))
    }

    /// Refuses that many bytes of new content where there is no room for them.
    fn check_room(
        &self,
        repository: &Repository,
        of: Option<&Digest>,
        more: u64,
    ) -> Result<(), RegistryError> {
        match self.room(repository, of)? {
            Some(room) if room.left() < more => Err(RegistryError::Quota { room, more }),
            _ => Ok(()),
        }
    }

    fn now(&self) -> Timestamp {
        (self.options.clock)()
    }
}
