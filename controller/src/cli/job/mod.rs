//! `slipway job`: submit recipes and follow what becomes of them.

mod screen;
mod sse;
mod view;
mod watch;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use jiff::tz::TimeZone;
use reqwest::Method;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::client::{Client, Refusal, path};
use super::connection::Connection;
use super::print_json;
use super::table::{lasting, table};
use view::{Event, Job};

/// Between two tries to submit when the controller does not answer.
const AGAIN: Duration = Duration::from_secs(2);
/// How often a submission is tried; its idempotency key makes repeats harmless.
const TRIES: u32 = 4;

/// Options of `job`.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Submit a recipe for a machine
    ///
    /// Prints the job's id. With --watch the job is followed and the exit code is its outcome, as with `job watch`.
    Submit(Box<Submit>),
    /// List jobs, newest first
    List(List),
    /// Show one job with its timeline
    Show(Show),
    /// Follow a job until it is complete
    ///
    /// Exit code: 0 the job succeeded, 1 it failed, 2 it was cancelled, 3 nobody can tell. A job that keeps its
    /// machine (on_success or on_failure: stay) counts as complete. Ending the watching does not end the job.
    Watch(Watch),
    /// Stop a job; the machine is cleaned up and set free
    Cancel(One),
    /// Submit the recipe of a failed or cancelled job again
    Retry(Retry),
    /// Let go of a machine that a finished job keeps
    Release(Release),
    /// Print what the host sent of its journal
    Logs(One),
}

#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // options are
struct Submit {
    /// Serial number of the machine
    serial: String,
    /// The recipe, a JSON file; - reads standard input
    recipe: PathBuf,
    /// Overwrite the machine although it is in service
    #[arg(long)]
    reinstall: bool,
    /// Take somebody else's image out of the media slot that is needed
    #[arg(long)]
    evict: bool,
    /// Find out everything a job would, and print it; creates nothing
    #[arg(long)]
    dry_run: bool,
    /// Follow the job to its end
    #[arg(long, conflicts_with = "dry_run")]
    watch: bool,
    /// A repeat with the same key gives the same job; default: a fresh one for each call
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Where this job's events are sent, besides the site's callbacks
    #[arg(long, value_name = "URL")]
    callback_url: Option<String>,
    /// File that holds the secret they are signed with (whsec_…); default: one is made and printed on stderr, this once
    #[arg(long, value_name = "FILE", requires = "callback_url")]
    callback_secret_file: Option<PathBuf>,
    /// Print the API's JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct List {
    /// Only jobs that stand so
    #[arg(long)]
    status: Option<Status>,
    /// Only jobs of this machine
    #[arg(long, value_name = "SERIAL")]
    machine: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// Print the API's JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Status {
    Queued,
    Provisioning,
    Succeeded,
    Failed,
    Cancelled,
}

#[derive(Debug, Args)]
struct One {
    /// The job's id
    job: String,
}

#[derive(Debug, Args)]
struct Show {
    /// The job's id
    job: String,
    /// Print the API's JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Watch {
    /// The job's id
    job: String,
    /// Print the API's JSON, one object per line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Retry {
    /// The job's id
    job: String,
    /// Follow the new job to its end
    #[arg(long)]
    watch: bool,
}

#[derive(Debug, Args)]
struct Release {
    /// The job's id
    job: String,
    /// Free the machine although its BMC does not answer; media may stay in (admin only)
    #[arg(long)]
    force: bool,
}

/// Runs one of them.
pub async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let client = options.connection.client()?;
    match options.command {
        Command::Submit(wanted) => return submit(&client, &wanted).await,
        Command::List(wanted) => list(&client, &wanted).await?,
        Command::Show(wanted) => show(&client, &wanted).await?,
        Command::Watch(wanted) => return Ok(watch::watch(&client, &wanted.job, wanted.json).await.code()),
        Command::Cancel(wanted) => {
            let job = read(client.post(&path(&["jobs", &wanted.job, "cancel"]), None).await?)?;
            println!("job {} is {}", job.job_id, job.status);
        }
        Command::Retry(wanted) => {
            let job = read(client.post(&path(&["jobs", &wanted.job, "retry"]), None).await?)?;
            println!("{}", job.job_id);
            if wanted.watch {
                return Ok(watch::watch(&client, &job.job_id, false).await.code());
            }
        }
        Command::Release(wanted) => {
            let query = if wanted.force { "?force=true" } else { "" };
            let job = read(
                client.post(&format!("{}{query}", path(&["jobs", &wanted.job, "release"])), None).await?,
            )?;
            println!("job {} lets go of {}", job.job_id, job.server_serial);
        }
        Command::Logs(wanted) => logs(&client, &wanted.job).await?,
    }
    Ok(ExitCode::SUCCESS)
}

fn read(value: Value) -> anyhow::Result<Job> {
    serde_json::from_value(value).context("the controller's answer is no job")
}

/// The recipe in a file, as it is written.
pub(super) fn recipe(file: &Path) -> anyhow::Result<Box<RawValue>> {
    let most = schema::validate::RECIPE_MAX as u64;
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().take(most + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(most + 1).read_to_string(&mut text))
    };
    read.with_context(|| format!("reading recipe {}", file.display()))?;
    if text.len() as u64 > most {
        bail!("recipe {} is larger than {most} bytes", file.display());
    }
    // Sent as it is written: what the controller checks, hashes and signs is the file itself.
    serde_json::from_str(&text).with_context(|| format!("recipe {} is no JSON", file.display()))
}

async fn submit(client: &Client, wanted: &Submit) -> anyhow::Result<ExitCode> {
    let recipe = recipe(&wanted.recipe)?;
    let serial = serde_json::to_string(&wanted.serial)?;
    let mut callback = String::new();
    if let Some(url) = &wanted.callback_url {
        callback.push_str(&format!(",\"callback_url\":{}", serde_json::to_string(url)?));
    }
    if let Some(file) = &wanted.callback_secret_file {
        let secret = super::connection::read(file)
            .with_context(|| format!("reading the callback secret in {}", file.display()))?;
        callback.push_str(&format!(",\"callback_secret\":{}", serde_json::to_string(secret.trim())?));
    }
    let body = format!(
        "{{\"server_serial\":{serial},\"reinstall\":{},\"evict\":{}{callback},\"recipe\":{}}}",
        wanted.reinstall,
        wanted.evict,
        recipe.get()
    );
    let key = wanted.idempotency_key.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let target = if wanted.dry_run { "/api/v1/jobs?dry_run=true" } else { "/api/v1/jobs" };
    let mut tries = 1;
    let answer = loop {
        let request = client
            .request(Method::POST, target)?
            .header("idempotency-key", &key)
            .header(reqwest::header::CONTENT_TYPE, "application/json")
            .body(body.clone());
        match client.json(request).await {
            Err(error) if tries < TRIES && error.downcast_ref::<Refusal>().is_none() => {
                eprintln!("slipway: {error:#}; trying again");
                tries += 1;
                tokio::time::sleep(AGAIN).await;
            }
            answer => break answer?,
        }
    };
    if wanted.dry_run {
        return planned(&answer, wanted.json);
    }
    if wanted.json && !wanted.watch {
        print_json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(secret) = answer["callback_secret"].as_str() {
        eprintln!("callbacks of this job are signed with {secret} (not shown again)");
    }
    let job = read(answer)?;
    if !wanted.json {
        println!("{}", job.job_id);
    }
    if wanted.watch {
        return Ok(watch::watch(client, &job.job_id, wanted.json).await.code());
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows a dry run; its exit code says whether a job would get anywhere.
fn planned(plan: &Value, json: bool) -> anyhow::Result<ExitCode> {
    let problems: Vec<&str> =
        plan["problems"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if json {
        print_json(plan)?;
    } else {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        println!("{} on {}", text(&plan["task_target"]), text(&plan["serial"]));
        if let Some(image) = plan["image"].as_object() {
            let field = |name: &str| image.get(name).map(text).unwrap_or_default();
            println!("image       {} is {} ({})", field("reference"), field("digest"), field("kind"));
        }
        for step in plan["steps"].as_array().into_iter().flatten() {
            println!("step        {}", text(step));
        }
        for assumed in plan["assumed"].as_array().into_iter().flatten() {
            println!("assumed     {}", text(assumed));
        }
        for part in plan["partitions"].as_array().into_iter().flatten() {
            let size = part["size_bytes"].as_u64().map(schema::size::human).unwrap_or_default();
            let field = |name: &str| part[name].as_str().unwrap_or_default();
            println!(
                "{}",
                format!("partition   {} {size} {} {}", part["number"], field("format"), field("mountpoint"))
                    .trim_end()
            );
        }
        for problem in &problems {
            println!("PROBLEM     {problem}");
        }
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn list(client: &Client, wanted: &List) -> anyhow::Result<()> {
    let mut jobs = Vec::new();
    let mut cursor: Option<String> = None;
    while jobs.len() < wanted.limit {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        if let Some(status) = wanted.status.and_then(|status| status.to_possible_value()) {
            query.append_pair("status", status.get_name());
        }
        if let Some(machine) = &wanted.machine {
            query.append_pair("machine", machine);
        }
        if let Some(cursor) = &cursor {
            query.append_pair("cursor", cursor);
        }
        query.append_pair("limit", &(wanted.limit - jobs.len()).min(100).to_string());
        let mut page = client.get(&format!("/jobs?{}", query.finish())).await?;
        jobs.extend(page["jobs"].as_array_mut().map(std::mem::take).unwrap_or_default());
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    if wanted.json {
        return print_json(&json!(jobs));
    }
    let mut rows = Vec::new();
    for job in jobs {
        let job = read(job)?;
        let end = job.released_at.unwrap_or_else(jiff::Timestamp::now);
        rows.push(vec![
            job.job_id,
            job.server_serial,
            job.status,
            job.phase.unwrap_or_default(),
            lasting(end.as_second() - job.created_at.as_second()),
            job.failed_step.unwrap_or(job.task_target),
        ]);
    }
    print!("{}", table(&["JOB", "MACHINE", "STATUS", "PHASE", "FOR", "WHAT"], &rows));
    Ok(())
}

async fn show(client: &Client, wanted: &Show) -> anyhow::Result<()> {
    let value = client.get(&path(&["jobs", &wanted.job])).await?;
    if wanted.json {
        return print_json(&value);
    }
    let timeline: Vec<Event> =
        serde_json::from_value(value["timeline"].clone()).context("reading the timeline")?;
    let job = read(value)?;
    println!("{}", job.verdict());
    if let Some(image) = &job.image {
        println!("  image {} is {}", image.reference, image.digest);
    }
    if let Some(wait) = &job.wait {
        println!("  waits for {}", wait.reason);
    }
    if let Some(by) = &job.requested_by {
        println!("  asked for by {by}");
    }
    if let Some(notes) = &job.notes {
        println!("  notes: {notes}");
    }
    for step in &job.steps {
        let took = step.seconds().map(lasting).unwrap_or_default();
        println!("  {:18} {:9} {took}", step.name, step.status);
    }
    let zone = TimeZone::system();
    for event in &timeline {
        println!("{}", event.line(&zone));
    }
    Ok(())
}

async fn logs(client: &Client, id: &str) -> anyhow::Result<()> {
    let value = client.get(&path(&["jobs", id, "logs"])).await?;
    let logs = value["logs"].as_array().cloned().unwrap_or_default();
    if logs.is_empty() {
        eprintln!("slipway: the host of job {id} sent no log");
    }
    for log in logs {
        println!(
            "== attempt {}, {}, {}",
            log["attempt"],
            log["name"].as_str().unwrap_or("log"),
            log["at"].as_str().unwrap_or("")
        );
        println!("{}", log["text"].as_str().unwrap_or_default().trim_end());
    }
    Ok(())
}
