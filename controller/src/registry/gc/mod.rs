//! Online collection: what nobody needs any more leaves the disk while pushes and pulls go on.
//!
//! ```text
//! 1 retain   tags and untagged manifests that the site's rules do not keep (immutable tags are always kept)
//! 2 unlink   blobs that no manifest of their repository names, once their lease has ended
//! 3 sweep    files that no repository shows: noted at first sight, removed when their grace has passed
//! ```
//! A lease begins when a blob is pushed, mounted or asked for by HEAD: a client that was told that a blob is here has
//! that long to push the manifest that names it. Every step is a short transaction that looks again at what it takes
//! away; the file goes under the lock that a push of the same content holds. A crash at any instant leaves files that
//! the next sweep finds. A dry run is the same code on a copy of the index, with files that are only counted.

#[cfg(test)]
mod model;
mod retention;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use jiff::Timestamp;
use serde::Serialize;

pub use retention::Rule;

use super::{
    Registry,
    digest::Digest,
    error::RegistryError,
    index::{Cursor, Index},
    mode, numbers,
};

/// Links or files looked at in one transaction.
const PAGE: usize = 500;
/// Repositories in one page.
const REPOSITORIES: usize = 200;
/// Prefix of a dry run's copy of the index, among the uploads, where a start removes what a crash has left.
const COPY: &str = "scratch-index-";

/// What one collection did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Collection {
    /// Nothing was changed.
    pub dry_run: bool,
    /// Tags that no rule keeps.
    pub tags: u64,
    /// Manifests that no rule keeps.
    pub manifests: u64,
    /// Blobs that left a repository.
    pub unlinked: u64,
    /// Files removed.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that nobody holds and whose grace has not passed.
    pub waiting: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// It was stopped before its end.
    pub stopped: bool,
}

/// Files that a collection left on the disk.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stored {
    pub(super) files: u64,
    pub(super) bytes: u64,
}

/// One at a time, and stoppable.
#[derive(Debug, Default)]
pub(super) struct Collector {
    running: AtomicBool,
    stop: AtomicBool,
}

impl Collector {
    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Runs a collection; blocks until it is done or stopped.
pub(super) fn collect(registry: &Registry, dry_run: bool) -> Result<Collection, RegistryError> {
    let collector = &registry.collector;
    if collector.running.swap(true, Ordering::Acquire) {
        return Err(RegistryError::Collecting);
    }
    let _running = Running(&collector.running);
    if dry_run {
        return rehearse(registry);
    }
    registry.switch.allow()?;
    run(registry, registry.index.as_ref(), false)
}

/// The right to collect, given back also by a panic.
struct Running<'a>(&'a AtomicBool);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

fn rehearse(registry: &Registry) -> Result<Collection, RegistryError> {
    let name = format!("{COPY}{}", uuid::Uuid::new_v4());
    let path = registry.store.upload_path(&name);
    registry.store.check_room()?;
    registry.store.create_upload(&name)?;
    let done = registry
        .index
        .copy_to(&path)
        .map_err(RegistryError::from)
        .and_then(|copy| run(registry, copy.as_ref(), true));
    for suffix in ["", "-wal", "-shm"] {
        registry.store.remove_upload(&format!("{name}{suffix}"))?;
    }
    done
}

fn run(registry: &Registry, index: &dyn Index, dry_run: bool) -> Result<Collection, RegistryError> {
    let pass = Pass { registry, index, now: registry.now(), dry_run };
    let mut done = Collection { dry_run, ..Collection::default() };
    let began = Instant::now();
    pass.forget_pins()?;
    pass.retain(&mut done)?;
    pass.unlink(&mut done)?;
    let stored = pass.sweep(&mut done)?;
    done.stopped = pass.stopped();
    if !dry_run && !done.stopped {
        numbers::collected(&done, stored, began.elapsed());
    }
    Ok(done)
}

impl Registry {
    /// Removes content that has just become nobody's, without waiting for a collection. The caller holds its lock.
    pub(super) fn drop_unheld(&self, digest: &Digest) -> Result<(), RegistryError> {
        if self.index.note_unheld(digest, self.now())?.is_some() {
            self.store.remove_blob(digest)?;
            self.index.forget_unheld(digest)?;
        }
        Ok(())
    }
}

struct Pass<'a> {
    registry: &'a Registry,
    index: &'a dyn Index,
    now: Timestamp,
    dry_run: bool,
}

/// The right to change a page: nothing is switched to read-only before it is given back. A rehearsal needs none.
type Page<'a> = Option<mode::Turn<'a>>;

impl Pass<'_> {
    fn stopped(&self) -> bool {
        self.page().is_none()
    }

    /// Begins a page; none when the pass shall end here.
    fn page(&self) -> Option<Page<'_>> {
        if self.registry.collector.stopped() {
            return None;
        }
        if self.dry_run { Some(None) } else { self.registry.switch.begin().ok().map(Some) }
    }

    fn before(&self, age: std::time::Duration) -> Timestamp {
        self.now.checked_sub(age).unwrap_or(Timestamp::MIN)
    }

    fn forget_pins(&self) -> Result<(), RegistryError> {
        if let Some(_page) = self.page() {
            self.index.expire_pins(self.now)?;
        }
        Ok(())
    }

    fn retain(&self, done: &mut Collection) -> Result<(), RegistryError> {
        let rules = &self.registry.options.retention;
        let mut after = String::new();
        while !rules.is_empty() && !self.stopped() {
            let page = self.index.repositories(&after, REPOSITORIES)?;
            for name in &page.items {
                let Some(_page) = self.page() else { return Ok(()) };
                let repository = name.parse()?;
                let fixed = self.registry.fixed(&repository);
                let mut expired =
                    retention::expired(rules, &repository, self.index.tags_by_age(&repository)?);
                expired.retain(|tag| fixed.rule(tag.as_str()).is_none());
                for tag in expired {
                    done.tags += u64::from(self.index.delete_tag(&repository, &tag)?);
                }
                if let Some(age) = retention::untagged_after(rules, &repository) {
                    let before = self.before(age);
                    loop {
                        let gone = self.index.delete_untagged(&repository, before, self.now, PAGE)?;
                        done.manifests += gone;
                        if gone == 0 || self.registry.collector.stopped() {
                            break;
                        }
                    }
                }
            }
            match page.items.last().filter(|_| page.more) {
                Some(last) => after.clone_from(last),
                None => break,
            }
        }
        Ok(())
    }

    fn unlink(&self, done: &mut Collection) -> Result<(), RegistryError> {
        let leased_since = self.before(self.registry.options.lease);
        let mut cursor = Some(Cursor::default());
        while let Some(after) = cursor {
            let Some(_page) = self.page() else { break };
            let swept = self.index.unlink_unnamed(&after, leased_since, self.now, PAGE)?;
            done.unlinked += swept.count;
            cursor = swept.next;
        }
        Ok(())
    }

    fn sweep(&self, done: &mut Collection) -> Result<Stored, RegistryError> {
        let mut stored = Stored::default();
        let mut page = Vec::with_capacity(PAGE);
        for digest in self.registry.store.blobs()? {
            page.push(digest?);
            if page.len() == PAGE {
                self.sweep_page(std::mem::take(&mut page), done, &mut stored)?;
            }
            if self.stopped() {
                return Ok(stored);
            }
        }
        self.sweep_page(page, done, &mut stored)?;
        Ok(stored)
    }

    fn sweep_page(
        &self,
        page: Vec<Digest>,
        done: &mut Collection,
        stored: &mut Stored,
    ) -> Result<(), RegistryError> {
        for digest in &page {
            if let Some(size) = self.registry.store.blob_size(digest)? {
                stored.files += 1;
                stored.bytes += size;
            }
        }
        for digest in self.index.unheld(page, self.now)? {
            let Some(_page) = self.page() else { return Ok(()) };
            // From here on nobody can make it visible: who wants to waits for this lock, and then sees that it is gone.
            let _held = self.registry.locks.hold(&digest);
            let Some(since) = self.index.note_unheld(&digest, self.now)? else { continue };
            let Some(size) = self.registry.store.blob_size(&digest)? else { continue };
            if since > self.before(self.registry.options.grace) {
                done.waiting += 1;
                done.waiting_bytes += size;
                continue;
            }
            if !done.dry_run {
                self.registry.store.remove_blob(&digest)?;
            }
            self.index.forget_unheld(&digest)?;
            done.files += 1;
            done.bytes += size;
            stored.files = stored.files.saturating_sub(1);
            stored.bytes = stored.bytes.saturating_sub(size);
        }
        Ok(())
    }
}
