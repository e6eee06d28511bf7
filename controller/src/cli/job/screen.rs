//! What a watched job looks like: bars on a terminal, plain lines in a log. Both are told the same things.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use jiff::tz::TimeZone;

use super::view::{Event, Job, Step, clock};
use crate::cli::table::lasting;

/// Progress of a step is told in lines at every so many hundredths.
const LINE_EVERY: u64 = 10;
/// How often a spinner turns.
const TICK: Duration = Duration::from_millis(250);

/// Somewhere to show a job.
pub trait Screen: Send {
    /// Something happened.
    fn event(&mut self, event: &Event);
    /// The job moved.
    fn job(&mut self, job: &Job);
    /// The watching itself has something to say.
    fn note(&mut self, text: &str);
    /// Nothing more comes.
    fn end(&mut self);
}

/// Lines for logs.
#[derive(Debug)]
pub struct Lines<W> {
    out: W,
    zone: TimeZone,
    told: BTreeMap<String, u64>,
    waiting: Option<String>,
}

impl<W: std::io::Write> Lines<W> {
    /// Writes to `out`, times of day by `zone`.
    pub fn new(out: W, zone: TimeZone) -> Self {
        Self { out, zone, told: BTreeMap::new(), waiting: None }
    }

    fn line(&mut self, line: &str) {
        // Whoever closed our output does not want it.
        let _ = writeln!(self.out, "{line}");
        let _ = self.out.flush();
    }
}

impl<W: std::io::Write + Send> Screen for Lines<W> {
    fn event(&mut self, event: &Event) {
        let line = event.line(&self.zone);
        self.line(&line);
    }

    fn job(&mut self, job: &Job) {
        for step in job.steps.iter().filter(|step| step.status == "running") {
            let Some(percent) = step.percent() else { continue };
            let told = self.told.get(&step.name).copied();
            if percent / LINE_EVERY > told.unwrap_or(0) / LINE_EVERY {
                self.told.insert(step.name.clone(), percent);
                let words = step.message.as_deref().map(|words| format!(": {words}")).unwrap_or_default();
                self.line(&format!("          {:10}  {} is at {percent} %{words}", "progress", step.name));
            }
        }
        let waiting = job.wait.as_ref().map(|wait| wait.reason.clone());
        if waiting != self.waiting {
            if let Some(reason) = &waiting {
                self.line(&format!("          {:10}  {reason}", "waits for"));
            }
            self.waiting = waiting;
        }
    }

    fn note(&mut self, text: &str) {
        self.line(&format!("          {:10}  {text}", "note"));
    }

    fn end(&mut self) {}
}

/// Bars for terminals.
pub struct Bars {
    all: MultiProgress,
    head: ProgressBar,
    steps: BTreeMap<String, ProgressBar>,
    zone: TimeZone,
}

/// A template that cannot be read would be a fault of ours: the plain look is the answer.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸ ")
}

impl Bars {
    /// On standard error.
    pub fn new(zone: TimeZone) -> Self {
        let all = MultiProgress::new();
        let head = all.add(ProgressBar::new_spinner().with_style(style("{spinner} {wide_msg}")));
        head.enable_steady_tick(TICK);
        Self { all, head, steps: BTreeMap::new(), zone }
    }

    fn step(&mut self, step: &Step) {
        let bar = self.steps.entry(step.name.clone()).or_insert_with(|| {
            let bar = ProgressBar::new(1).with_style(style("  {prefix:18} {bar:30.cyan} {wide_msg}"));
            let bar = self.all.add(bar);
            bar.set_prefix(step.name.clone());
            bar
        });
        let (done, total) = match step.status.as_str() {
            "finished" => (1, 1),
            "waiting" => (0, 1),
            _ => match (step.done, step.total) {
                (Some(done), Some(total)) if total > 0 => (done.min(total), total),
                _ => (0, 1),
            },
        };
        bar.set_length(total);
        bar.set_position(done);
        bar.set_message(beside(step));
    }
}

/// What stands beside a step's bar.
fn beside(step: &Step) -> String {
    let words = step.message.as_deref().unwrap_or_default();
    match step.status.as_str() {
        "waiting" => String::new(),
        "finished" => step.seconds().map(lasting).unwrap_or_default(),
        "failed" => format!("failed {words}").trim_end().to_owned(),
        _ => match step.percent() {
            Some(percent) => format!("{percent:3} % {words}").trim_end().to_owned(),
            None => words.to_owned(),
        },
    }
}

impl Screen for Bars {
    fn event(&mut self, event: &Event) {
        // Standard error went away: the outcome still counts.
        let _ = self.all.println(event.line(&self.zone));
    }

    fn job(&mut self, job: &Job) {
        let phase = job.phase.as_deref().unwrap_or(&job.status);
        let wait = job.wait.as_ref().map(|wait| format!(": {}", wait.reason)).unwrap_or_default();
        self.head.set_message(format!(
            "{} {phase} since {}{wait}",
            job.server_serial,
            clock(job.updated_at.unwrap_or(job.created_at), &self.zone)
        ));
        for step in &job.steps {
            self.step(step);
        }
    }

    fn note(&mut self, text: &str) {
        let _ = self.all.println(format!("          {text}"));
    }

    fn end(&mut self) {
        self.head.finish_and_clear();
        for bar in self.steps.values() {
            bar.abandon();
        }
    }
}

/// The API's own JSON, one message per line, for programs.
#[derive(Debug)]
pub struct Raw;

impl Raw {
    /// Prints one message.
    pub fn message(kind: &str, data: &str) {
        let mut out = std::io::stdout().lock();
        // Whoever closed our output does not want it.
        let _ = writeln!(out, "{{\"{kind}\":{data}}}");
        let _ = out.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(steps: &str, wait: &str) -> Job {
        let text = format!(
            r#"{{"job_id":"j","server_serial":"S1","status":"provisioning","phase":"installing","steps":[{steps}],
                "created_at":"2026-11-21T10:00:00Z"{wait}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn at(done: u64) -> String {
        format!(
            r#"{{"name":"image-linux","status":"running","done":{done},"total":200,"message":"layer 1 of 2"}}"#
        )
    }

    #[test]
    fn a_log_tells_events_each_tenth_of_progress_and_each_wait_once() {
        let mut written = Vec::new();
        let mut lines = Lines::new(&mut written, TimeZone::UTC);
        let event =
            r#"{"seq":1,"at":"2026-11-21T10:00:01Z","source":"host","text":"step image-linux started"}"#;
        lines.event(&serde_json::from_str(event).unwrap());
        for done in [1, 19, 20, 22, 39, 45, 200] {
            lines.job(&job(&at(done), ""));
        }
        let wait = r#","wait":{"reason":"power to be Off","until":"2026-11-21T10:00:00Z"}"#;
        lines.job(&job("", wait));
        lines.job(&job("", wait));
        lines.note("the connection broke off");
        lines.end();
        insta::assert_snapshot!(String::from_utf8(written).unwrap(), @r"
        10:00:01  host        step image-linux started
                  progress    image-linux is at 10 %: layer 1 of 2
                  progress    image-linux is at 22 %: layer 1 of 2
                  progress    image-linux is at 100 %: layer 1 of 2
                  waits for   power to be Off
                  note        the connection broke off
        ");
    }

    #[test]
    fn beside_a_bar_stands_what_matters_in_its_state() {
        for (text, wanted) in [
            (r#"{"name":"a","status":"waiting","message":"x"}"#, ""),
            (r#"{"name":"a","status":"running","done":5,"total":20,"message":"x"}"#, " 25 % x"),
            (r#"{"name":"a","status":"running","message":"x"}"#, "x"),
            (
                r#"{"name":"a","status":"finished","started_at":"2026-11-21T10:00:00Z","finished_at":"2026-11-21T10:01:05Z"}"#,
                "1m 05s",
            ),
            (r#"{"name":"a","status":"failed"}"#, "failed"),
        ] {
            let step: Step = serde_json::from_str(text).unwrap();
            assert_eq!(beside(&step), wanted);
        }
    }
}
