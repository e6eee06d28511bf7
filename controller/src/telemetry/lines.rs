//! Log lines, as text for people or JSON for machines. One line per event, fields of the enclosing spans included,
//! secrets hidden, control characters escaped: what a stranger sends cannot start a line of its own.

use std::fmt::{self, Write as _};
use std::io::Write as _;

use jiff::Timestamp;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::redact;

/// Longest value of one field; the rest is cut and said to be.
const VALUE_MAX: usize = 4096;
/// The field tracing keeps an event's text in.
const MESSAGE: &str = "message";

/// Writes one line per event.
pub struct Lines<W> {
    is_json: bool,
    writer: W,
}

impl<W> Lines<W> {
    /// Lines to `writer`.
    pub fn new(is_json: bool, writer: W) -> Self {
        Self { is_json, writer }
    }
}

/// Fields of a span or event, secrets already hidden.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        let value = if redact::is_secret_name(field.name()) { Value::from("***") } else { value };
        self.0.insert(field.name().trim_start_matches("r#").to_owned(), value);
    }

    fn put_text(&mut self, field: &Field, text: &str) {
        let mut shown = redact::scrub(text);
        if shown.len() > VALUE_MAX {
            let cut = (0..=VALUE_MAX).rev().find(|at| shown.is_char_boundary(*at)).unwrap_or(0);
            let gone = shown.len() - cut;
            shown.truncate(cut);
            let _ = write!(shown, "… ({gone} more bytes)");
        }
        self.put(field, shown.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put_text(field, &format!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put_text(field, value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
    /// The error and what caused it, in one value.
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            let _ = write!(text, ": {error}");
            cause = error.source();
        }
        self.put_text(field, &text);
    }
}

impl<S, W> Layer<S> for Lines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Map::new();
        for span in
            context.event_scope(event).into_iter().flat_map(tracing_subscriber::registry::Scope::from_root)
        {
            if let Some(held) = span.extensions().get::<Fields>() {
                fields.extend(held.0.clone());
            }
        }
        let mut own = Fields::default();
        event.record(&mut own);
        let message = own.0.remove(MESSAGE);
        let message = message.as_ref().and_then(Value::as_str).unwrap_or_default();
        fields.extend(own.0);
        let metadata = event.metadata();
        let head =
            Head { time: Timestamp::now(), level: metadata.level(), target: metadata.target(), message };
        let line = if self.is_json { json(&head, fields) } else { text(&head, &fields) };
        // Nowhere to report that the log itself cannot be written.
        let _ = self.writer.make_writer().write_all(line.as_bytes());
    }
}

/// What every line begins with.
struct Head<'a> {
    time: Timestamp,
    level: &'a tracing::Level,
    target: &'a str,
    message: &'a str,
}

fn json(head: &Head<'_>, fields: Map<String, Value>) -> String {
    let mut line = Map::new();
    line.insert("time".into(), format!("{:.3}", head.time).into());
    line.insert("level".into(), head.level.as_str().to_ascii_lowercase().into());
    line.insert("target".into(), head.target.into());
    line.insert(MESSAGE.into(), head.message.into());
    for (name, value) in fields {
        line.entry(name).or_insert(value);
    }
    format!("{}\n", Value::Object(line))
}

fn text(head: &Head<'_>, fields: &Map<String, Value>) -> String {
    let mut line = format!("{:.3} {:5} {}: ", head.time, head.level.as_str(), head.target);
    line.extend(
        head.message
            .chars()
            .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }),
    );
    for (name, value) in fields {
        let plain = value.as_str().filter(|text| !text.is_empty() && text.chars().all(is_plain));
        let _ = match plain {
            Some(text) => write!(line, " {name}={text}"),
            None => write!(line, " {name}={value}"),
        };
    }
    line.push('\n');
    line
}

fn is_plain(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && !"\"'=\\".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::layer::SubscriberExt as _;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(is_json: bool, work: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = tracing_subscriber::registry().with(Lines::new(is_json, move || writer.clone()));
        tracing::subscriber::with_default(subscriber, work);
        String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
    }

    fn everything() {
        let span = tracing::info_span!("job", job_id = "j-1", machine = tracing::field::Empty);
        span.record("machine", "SN 1");
        let _inside = span.enter();
        let error = std::io::Error::other("disk full");
        tracing::warn!(
            password = "calvin",
            authorization = %"Bearer abcdefgh12345678",
            url = "https://root:calvin@bmc/",
            attempt = 2_u64,
            error = &error as &(dyn std::error::Error + 'static),
            "line one\nline two with Bearer abcdefgh12345678"
        );
    }

    #[test]
    fn a_text_line_is_one_line_without_secrets() {
        let line = logged(false, everything);
        assert_eq!(line.lines().count(), 1, "{line}");
        let (_, rest) = line.split_once(' ').unwrap();
        assert_eq!(
            rest,
            "WARN  controller::telemetry::lines::tests: line one\\nline two with Bearer *** \
             attempt=2 authorization=*** error=\"disk full\" job_id=j-1 machine=\"SN 1\" password=*** \
             url=https://root:***@bmc/\n"
        );
    }

    #[test]
    fn a_json_line_holds_the_same() {
        let line = logged(true, everything);
        assert_eq!(line.lines().count(), 1, "{line}");
        let mut value: Value = serde_json::from_str(&line).unwrap();
        let time: Timestamp = value["time"].as_str().unwrap().parse().unwrap();
        assert!(time.as_second() > 0);
        value.as_object_mut().unwrap().remove("time");
        assert_eq!(
            value,
            serde_json::json!({
                "level": "warn", "target": "controller::telemetry::lines::tests",
                "message": "line one\nline two with Bearer ***", "job_id": "j-1", "machine": "SN 1",
                "password": "***", "authorization": "***", "url": "https://root:***@bmc/", "attempt": 2,
                "error": "disk full"
            })
        );
    }

    #[test]
    fn a_value_of_a_megabyte_is_cut() {
        let line = logged(false, || tracing::info!(value = "ä".repeat(1 << 20), "x"));
        assert!(line.len() < 5000 && line.contains("more bytes)"), "{}", line.len());
    }
}
