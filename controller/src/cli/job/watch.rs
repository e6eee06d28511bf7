//! Follows a job by server-sent events until it is complete. A broken connection is taken up where it broke;
//! what the job did meanwhile is told then. Shows nothing itself: a [`Screen`] does.
//!
//! ```text
//! GET …/events ─▶ sse ─▶ event: timeline entry ─┐
//!   ▲ Last-Event-ID       job: where it stands  ├─▶ Screen ─▶ exit code
//!   └── broke off ◀───────end: it is complete ──┘
//! ```

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use jiff::tz::TimeZone;
use reqwest::{Method, header};

use super::screen::{Bars, Lines, Raw, Screen};
use super::sse::{Message, Reader};
use super::view::{Event, Job, Outcome};
use crate::cli::client::{Client, Refusal, path};

/// The controller says something every 15 s, be it a comment: longer silence is a dead connection.
const SILENCE: Duration = Duration::from_secs(60);
/// Between two tries to reach the controller.
const AGAIN: Duration = Duration::from_secs(2);
/// Without an answer for so long nobody can tell how the job goes.
const PATIENCE: Duration = Duration::from_secs(600);

/// Whether to go on.
enum Next {
    /// The job is over.
    Over(Outcome),
    /// The stream ended before the job.
    Again,
}

/// Watches a job, showing it as `json` or whatever suits standard output.
pub async fn watch(client: &Client, id: &str, json: bool) -> Outcome {
    let zone = TimeZone::system();
    let mut screen: Option<Box<dyn Screen>> = if json {
        None
    } else if std::io::stderr().is_terminal() && std::io::stdout().is_terminal() {
        Some(Box::new(Bars::new(zone)))
    } else {
        Some(Box::new(Lines::new(std::io::stdout(), zone)))
    };
    let followed = follow(client, id, screen.as_deref_mut()).await;
    if let Some(screen) = &mut screen {
        screen.end();
    }
    match followed {
        Ok((outcome, job)) => {
            if !json {
                println!("{}", job.verdict());
            }
            outcome
        }
        Err(error) => {
            eprintln!("slipway: cannot tell how job {id} goes: {error:#}");
            Outcome::CannotTell
        }
    }
}

/// Follows it to its end.
async fn follow(
    client: &Client,
    id: &str,
    mut screen: Option<&mut (dyn Screen + '_)>,
) -> anyhow::Result<(Outcome, Job)> {
    let mut last = None;
    let mut job = None;
    let mut heard = Instant::now();
    let mut noted = String::new();
    loop {
        match stream(client, id, &mut last, &mut job, &mut heard, screen.as_deref_mut()).await {
            Ok(Next::Over(outcome)) => {
                return Ok((outcome, job.context("the stream ended without the job")?));
            }
            Ok(Next::Again) => {}
            // A refusal that time does not heal.
            Err(error)
                if error
                    .downcast_ref::<Refusal>()
                    .is_some_and(|refusal| refusal.status < 500 && refusal.status != 429) =>
            {
                return Err(error);
            }
            Err(error) if heard.elapsed() > PATIENCE => return Err(error),
            Err(error) => {
                let note = format!("{error:#}; trying again");
                // The same fault over and over is worth one line.
                if let Some(screen) = screen.as_deref_mut()
                    && note != noted
                {
                    screen.note(&note);
                }
                noted = note;
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// One connection.
async fn stream(
    client: &Client,
    id: &str,
    last: &mut Option<String>,
    job: &mut Option<Job>,
    heard: &mut Instant,
    mut screen: Option<&mut (dyn Screen + '_)>,
) -> anyhow::Result<Next> {
    let mut request = client
        .request(Method::GET, &format!("/api/v1{}", path(&["jobs", id, "events"])))?
        .header(header::ACCEPT, "text/event-stream");
    if let Some(last) = last {
        request = request.header("last-event-id", last.as_str());
    }
    let mut response = tokio::time::timeout(SILENCE, client.send(request))
        .await
        .with_context(|| format!("the controller did not answer within {} s", SILENCE.as_secs()))??;
    let mut reader = Reader::default();
    loop {
        let piece = tokio::time::timeout(SILENCE, response.chunk())
            .await
            .with_context(|| format!("the controller was silent for {} s", SILENCE.as_secs()))?
            .map_err(reqwest::Error::without_url)
            .context("the connection to the controller broke off")?;
        let Some(piece) = piece else { return Ok(Next::Again) };
        *heard = Instant::now();
        for message in reader.feed(&piece)? {
            if let Some(id) = &message.id {
                *last = Some(id.clone());
            }
            if let Some(outcome) = take(&message, job, screen.as_deref_mut())? {
                return Ok(Next::Over(outcome));
            }
        }
    }
}

/// Shows a message; the outcome, when it was the last.
fn take(
    message: &Message,
    job: &mut Option<Job>,
    screen: Option<&mut (dyn Screen + '_)>,
) -> anyhow::Result<Option<Outcome>> {
    let Some(screen) = screen else {
        Raw::message(&message.event, &message.data);
        if message.event == "event" {
            return Ok(None);
        }
        return over(message, job);
    };
    match message.event.as_str() {
        "event" => {
            let event: Event = serde_json::from_str(&message.data).context("reading an event")?;
            screen.event(&event);
            Ok(None)
        }
        "job" | "end" => {
            let over = over(message, job)?;
            if let Some(job) = job {
                screen.job(job);
            }
            Ok(over)
        }
        // A newer controller says more than we know.
        _ => Ok(None),
    }
}

/// Takes the job in. It is over at `end`, or when it only waits for an operator to let the machine go.
fn over(message: &Message, job: &mut Option<Job>) -> anyhow::Result<Option<Outcome>> {
    let now: Job = serde_json::from_str(&message.data).context("reading a job")?;
    let ends = message.event == "end" || now.phase.as_deref() == Some("holding");
    let outcome = Outcome::of(&now);
    *job = Some(now);
    if !ends {
        return Ok(None);
    }
    Ok(Some(outcome.unwrap_or(Outcome::CannotTell)))
}
