//! `slipway image push`: operating system images into the controller's registry, by streaming.
//!
//! ```text
//! folder         ─▶ pack (tar, zstd, sorted, with owners and xattrs) ─▶ chunked upload, hashed on the way ┐
//! tar, raw disk  ─▶ look (what is it, is it whole, sha256, sizes) ─▶ upload that can be taken up again    ├▶ manifest
//! OCI layout     ─▶ every blob and manifest as it is, digests kept ───────────────────────────────────────┘
//! ```
//!
//! What an image *is* is agreed between three: this file writes it, `server/images.rs` reads it to resolve a
//! recipe's `oci_url`, and the host's `image-linux` (`maintenance-os/tools`) checks that a `rootfs` or `disk` image
//! is exactly one layer. A root filesystem and a disk are OCI image manifests of one layer with the empty config,
//! [`ROOTFS_ARTIFACT`] or [`DISK_ARTIFACT`] as `artifactType`, and [`IMAGE_KIND_ANNOTATION`] saying the same;
//! [`UNPACKED_SIZE_ANNOTATION`] lets the host refuse a disk that is too small before anything is wiped. The host
//! tells the compression from the bytes; the layer's media type is for people and other tools. A container image
//! stays exactly as it was made.

mod export;
mod layout;
mod look;
mod manifest;
mod pack;
mod upload;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use schema::recipe::ImageKind;
use schema::reference::Reference;

use super::client::Client;
use super::connection::Connection;
use upload::Repository;

/// Options of `image`.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Push an image; prints the reference with its digest, as a recipe's oci_url takes it
    Push(Push),
}

#[derive(Debug, Args)]
struct Push {
    /// What to push: the folder of a root filesystem (as root, to keep owners), a tar of one, a raw disk image
    /// (both plain, .zst or .gz), or an OCI layout folder with a container image
    source: PathBuf,
    /// Name in the registry, such as images/debian:trixie; the tag is latest when there is none
    reference: String,
    /// What it is, when that shall be checked and not just found out
    #[arg(long)]
    kind: Option<Kind>,
    /// Which image of an OCI layout that holds several: its org.opencontainers.image.ref.name
    #[arg(long, value_name = "NAME")]
    layout_name: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Root filesystem, one tar
    Rootfs,
    /// Container image, layers
    Container,
    /// Whole disk, raw
    Disk,
}

impl Kind {
    fn check(self, found: ImageKind, source: &Path) -> anyhow::Result<()> {
        let same = matches!(
            (self, found),
            (Self::Rootfs, ImageKind::Rootfs)
                | (Self::Container, ImageKind::Container)
                | (Self::Disk, ImageKind::Disk)
        );
        anyhow::ensure!(same, "{} is a {}, not what --kind says", source.display(), manifest::word(found));
        Ok(())
    }
}

/// Runs one of them.
pub async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let client = options.connection.client()?;
    match options.command {
        Command::Push(wanted) => push(&client, &wanted).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes an image into an OCI layout folder; prints what it is.
pub async fn export(client: &Client, reference: &str, folder: &Path) -> anyhow::Result<()> {
    let reference: Reference = reference.parse().with_context(|| format!("image reference {reference:?}"))?;
    let repository = Repository::new(client, &reference.repository);
    let digest = export::export(&repository, reference.selector(), folder)
        .await
        .with_context(|| format!("exporting {reference}"))?;
    println!("{}@{digest}", reference.repository);
    Ok(())
}

/// Pushes an OCI layout folder as it is.
pub async fn import(client: &Client, folder: &Path, reference: &str) -> anyhow::Result<()> {
    anyhow::ensure!(layout::is_one(folder), "{} is no OCI layout folder", folder.display());
    let wanted =
        Push { source: folder.to_owned(), reference: reference.to_owned(), kind: None, layout_name: None };
    push(client, &wanted).await
}

async fn push(client: &Client, wanted: &Push) -> anyhow::Result<()> {
    let reference = name(&wanted.reference, &client.host())?;
    let tag = reference.tag.as_deref().unwrap_or("latest");
    let repository = Repository::new(client, &reference.repository);
    let source = wanted.source.as_path();
    let digest = push_source(&repository, wanted, source, tag)
        .await
        .with_context(|| format!("pushing {}", source.display()))?;
    println!("{}:{tag}@{digest}", reference.repository);
    Ok(())
}

async fn push_source(
    repository: &Repository<'_>,
    wanted: &Push,
    source: &Path,
    tag: &str,
) -> anyhow::Result<String> {
    let found = source.metadata().context("looking at it")?;
    if found.is_dir() && layout::is_one(source) {
        if let Some(kind) = wanted.kind {
            kind.check(ImageKind::Container, source)?;
        }
        return layout::push(repository, source, wanted.layout_name.as_deref(), tag).await;
    }
    let image = if found.is_dir() {
        if let Some(kind) = wanted.kind {
            kind.check(ImageKind::Rootfs, source)?;
        }
        pack::push(repository, source).await?
    } else if found.is_file() {
        let bar = bar("checking", Some(found.len()));
        let (path, shown) = (source.to_owned(), bar.clone());
        let image = tokio::task::spawn_blocking(move || look::look(&path, &shown))
            .await
            .context("checking it was interrupted")??;
        bar.finish_and_clear();
        if let Some(kind) = wanted.kind {
            kind.check(image.kind, source)?;
        }
        repository.push_file(source, &image.digest, image.size).await?;
        image
    } else {
        bail!("it is neither a folder nor a file");
    };
    repository.push_small(manifest::EMPTY_CONFIG, manifest::EMPTY_DIGEST).await?;
    repository.put_manifest(tag, manifest::MEDIA_TYPE, manifest::of(&image)?.into_bytes()).await
}

/// The name to push to. A host in it must be the controller's; a digest is the outcome, not the wish.
fn name(text: &str, host: &str) -> anyhow::Result<Reference> {
    let reference: Reference = text.parse().with_context(|| format!("image reference {text:?}"))?;
    if reference.digest.is_some() {
        bail!("{text:?} names a digest; push to a tag, the digest is printed");
    }
    match &reference.host {
        Some(other) if other != host => {
            bail!("{text:?} is in registry {other}, --url says {host}; leave the registry out")
        }
        _ => Ok(reference),
    }
}

/// A progress bar over bytes on standard error, silent where that is no terminal.
fn bar(what: &'static str, total: Option<u64>) -> ProgressBar {
    let template = "{prefix:8} {bar:30.cyan} {bytes:>11} of {total_bytes:<11} {bytes_per_sec:>13} {eta}";
    let open = "{prefix:8} {spinner} {bytes:>11} {bytes_per_sec:>13}";
    let style = ProgressStyle::with_template(if total.is_some() { template } else { open })
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸ ");
    let bar = match total {
        Some(total) => ProgressBar::new(total),
        None => ProgressBar::new_spinner(),
    };
    bar.with_style(style).with_prefix(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_in_this_registry_and_has_no_digest() {
        let host = "192.0.2.5:8443";
        assert_eq!(name("images/debian:trixie", host).unwrap().repository, "images/debian");
        assert_eq!(name("192.0.2.5:8443/images/debian", host).unwrap().tag, None);
        let digest = format!("images/debian@sha256:{}", "0".repeat(64));
        for (text, says) in [
            ("docker.io/debian", "leave the registry out"),
            (digest.as_str(), "push to a tag"),
            ("Debian", "image reference \"Debian\""),
        ] {
            let error = name(text, host).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
