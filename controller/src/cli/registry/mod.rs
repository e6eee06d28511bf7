//! `slipway registry`: what the embedded registry holds, and clearing it of what nobody needs. Pushing is
//! `slipway image push`, or any OCI client.

mod held;
mod mode;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use reqwest::{Method, header};
use schema::size::human;
use serde_json::{Value, json};

use super::client::{Client, path};
use super::connection::Connection;
use super::image;
use super::print_json;

/// Between looks at a running collection.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Tags asked for at once.
const TAGS_PAGE: usize = 1000;

/// Options of `registry`.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What each repository holds, and how the quotas stand
    Du {
        /// Print the API's JSON
        #[arg(long)]
        json: bool,
    },
    /// List the tags of a repository
    Tags {
        /// Such as images/debian
        repository: String,
    },
    /// Remove a tag, or a manifest with all its tags
    ///
    /// Layers stay until a collection finds that nothing else needs them. What an open job has pinned stays.
    Rm {
        /// Such as images/debian:old, or images/debian@sha256:…
        reference: String,
    },
    /// Write an image with all its layers into an OCI layout folder, for another site or as a backup
    Export {
        /// Such as images/debian:trixie, or images/debian@sha256:…
        reference: String,
        /// A new or empty folder
        folder: PathBuf,
    },
    /// Bring an OCI layout folder in, as it is: digests stay
    Import {
        /// The folder
        folder: PathBuf,
        /// Name in the registry, such as images/debian:trixie
        reference: String,
    },
    /// Hash all content again; what is damaged is put out of reach
    ///
    /// Exit code: 0 all is well, 1 something is corrupt or missing. A new push of it heals whoever needs it.
    Verify {
        /// Print the API's JSON
        #[arg(long)]
        json: bool,
    },
    /// Refuse pushes and deletions while pulls go on, or let them in again
    ///
    /// For backups, moves and repairs. Nothing is collected meanwhile, and uploads that had begun can go on
    /// afterwards. It lasts over restarts of the controller. Without on or off, it says how things are.
    ReadOnly {
        /// What it shall be
        #[arg(value_enum)]
        to: Option<mode::To>,
        /// One line for whoever is refused
        #[arg(long)]
        reason: Option<String>,
    },
    /// Remove from the disk what nobody needs
    ///
    /// The controller does it every hour by itself. Kept are: all that a manifest names, what an open job has pinned,
    /// blobs that a client was told of in the last hours (it may be about to push their manifest), and for an hour
    /// what no repository shows any more.
    Gc {
        /// Change nothing, and say what would go
        #[arg(long, conflicts_with = "now", required_unless_present = "now")]
        dry_run: bool,
        /// Do it now
        #[arg(long)]
        now: bool,
        /// Print the API's JSON
        #[arg(long)]
        json: bool,
    },
}

/// Runs one of them.
pub async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let client = options.connection.client()?;
    match options.command {
        Command::Du { json } => {
            let held = held::ask(&client).await?;
            if json { print_json(&held)? } else { print!("{}", held::told(&held)) }
        }
        Command::Tags { repository } => tags(&client, &repository).await?,
        Command::Rm { reference } => {
            let (repository, what) = split(&reference)?;
            let path = format!("/v2/{repository}/manifests/{what}");
            client.send(client.request(Method::DELETE, &path)?.timeout(Duration::from_secs(60))).await?;
            println!("{reference} is removed");
        }
        Command::Export { reference, folder } => image::export(&client, &reference, &folder).await?,
        Command::Import { folder, reference } => image::import(&client, &folder, &reference).await?,
        Command::Verify { json } => {
            let last = wait_for(&client, "verification", None).await?;
            if json {
                print_json(&last)?;
            } else {
                print!("{}", found(&last));
            }
            if last["corrupt"] != json!(0) || last["missing"] != json!(0) {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::ReadOnly { to, reason } => mode::read_only(&client, to, reason).await?,
        Command::Gc { dry_run, json, .. } => {
            let last = wait_for(&client, "collection", Some(json!({ "dry_run": dry_run }))).await?;
            if json { print_json(&last)? } else { print!("{}", told(&last)) }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Repository, and tag or digest. `latest` is nobody's default here: removing needs a name.
fn split(reference: &str) -> anyhow::Result<(&str, &str)> {
    let parts = reference.split_once('@').or_else(|| reference.rsplit_once(':'));
    let whole = parts.filter(|(repository, what)| !repository.is_empty() && !what.is_empty());
    whole.with_context(|| {
        format!("{reference:?} has no tag and no digest; give repository:tag or repository@sha256:…")
    })
}

async fn tags(client: &Client, repository: &str) -> anyhow::Result<()> {
    let mut next = format!("/v2/{repository}/tags/list?n={TAGS_PAGE}");
    loop {
        let response =
            client.send(client.request(Method::GET, &next)?.timeout(Duration::from_secs(60))).await?;
        let link =
            response.headers().get(header::LINK).and_then(|link| link.to_str().ok()).map(str::to_owned);
        let page: Value = response.json().await.context("the registry's answer is no JSON")?;
        for tag in page["tags"].as_array().into_iter().flatten() {
            println!("{}", tag.as_str().unwrap_or_default());
        }
        match link.as_deref().and_then(following) {
            Some(path) => next = path,
            None => return Ok(()),
        }
    }
}

/// The path in `<path>; rel="next"`.
fn following(link: &str) -> Option<String> {
    let (path, relation) = link.strip_prefix('<')?.split_once('>')?;
    relation.contains("next").then(|| path.to_owned())
}

/// Starts something and waits for its end; the controller goes on with it also when nobody waits.
async fn wait_for(client: &Client, what: &str, body: Option<Value>) -> anyhow::Result<Value> {
    let path = path(&["registry", what]);
    client.post(&path, body.as_ref()).await?;
    loop {
        let mut state = client.get(&path).await?;
        if state["running"] != json!(true) {
            if let Some(error) = state["last"]["error"].as_str() {
                anyhow::bail!("the {what} broke off: {error}");
            }
            return Ok(state["last"].take());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn found(last: &Value) -> String {
    let mut text = format!(
        "{} files ({}) hashed, {} corrupt, {} missing\n",
        last["files"],
        human(last["bytes"].as_u64().unwrap_or_default()),
        last["corrupt"],
        last["missing"]
    );
    for finding in last["findings"].as_array().into_iter().flatten() {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let needed: Vec<String> =
            finding["repositories"].as_array().into_iter().flatten().map(word).collect();
        text.push_str(&format!(
            "{} {} in {}\n",
            word(&finding["damage"]),
            word(&finding["digest"]),
            needed.join(", ")
        ));
    }
    text
}

fn told(last: &Value) -> String {
    let count = |field: &str| last[field].as_u64().unwrap_or_default();
    let would = if last["dry_run"] == json!(true) { "would be " } else { "" };
    let mut text = format!("{} files ({}) {would}removed\n", count("files"), human(count("bytes")));
    for (field, what) in [
        ("tags", "tags that no rule keeps"),
        ("manifests", "manifests that no tag points to"),
        ("unlinked", "blobs that no manifest of their repository names"),
    ] {
        if count(field) > 0 {
            text.push_str(&format!("{} {what} {would}removed\n", count(field)));
        }
    }
    if count("waiting") > 0 {
        text.push_str(&format!(
            "{} files ({}) that nobody needs are kept until their grace has passed\n",
            count("waiting"),
            human(count("waiting_bytes"))
        ));
    }
    if last["stopped"] == json!(true) {
        text.push_str("it was stopped before its end; the next one goes on\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_must_be_named() {
        assert_eq!(split("images/debian:old").unwrap(), ("images/debian", "old"));
        assert_eq!(split("a@sha256:00").unwrap(), ("a", "sha256:00"));
        for bad in ["images/debian", ":x", "a:", "a@"] {
            assert!(split(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_collection_is_told_in_words() {
        let last = json!({
            "dry_run": true, "tags": 2, "manifests": 0, "unlinked": 3, "files": 4, "bytes": 5_000_000,
            "waiting": 1, "waiting_bytes": 10, "stopped": false,
        });
        insta::assert_snapshot!(told(&last));
    }

    #[test]
    fn the_next_page_is_where_the_link_says() {
        assert_eq!(
            following("</v2/a/tags/list?n=1&last=x>; rel=\"next\"").unwrap(),
            "/v2/a/tags/list?n=1&last=x"
        );
        assert_eq!(following("nonsense"), None);
    }
}
