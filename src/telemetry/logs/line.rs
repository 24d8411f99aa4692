//! Form of a log line: for people that of tracing-subscriber, for machines one flat JSON object. A
//! line that is written at work for a request names it, and its trace where others know that by an id
//! of its own.

use std::fmt::{self, Debug, Write};

use jiff::Timestamp;
use serde_json::Value;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{DefaultFields, Writer},
    },
    registry::LookupSpan,
};

use crate::request_context::{Context, with_current};

/// Fields of a line for people: the event's, then the request's.
pub(super) struct PrettyFields;

impl<'w> FormatFields<'w> for PrettyFields {
    fn format_fields<R: RecordFields>(&self, mut out: Writer<'w>, fields: R) -> fmt::Result {
        DefaultFields::new().format_fields(Writer::new(&mut OneLine(&mut out)), fields)?;
        for_request(|name, id| write!(out, " {name}={id}"))
    }
}

/// A line for machines. tracing-subscriber's own has no place for fields that no span carries.
pub(super) struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let (level, target) = (event.metadata().level().as_str(), event.metadata().target());
        write!(out, "{{\"timestamp\":\"{:.6}\",\"level\":\"{level}\"", Timestamp::now())?;
        let mut fields = JsonFields { out: OneLine(&mut out), result: Ok(()) };
        event.record(&mut fields);
        fields.result?;
        // Ids have letters, digits and -_.: only; `http/middleware/observe.rs` lets no other through.
        for_request(|name, id| write!(out, ",\"{name}\":\"{id}\""))?;
        writeln!(out, ",\"target\":\"{target}\"}}")
    }
}

/// Shows the ids of the request that this task is at work for, each with its name.
fn for_request(mut show: impl FnMut(&str, &dyn fmt::Display) -> fmt::Result) -> fmt::Result {
    let shown = with_current(|context: &Context| {
        show("request_id", &context.request_id)?;
        context.foreign_trace().map_or(Ok(()), |trace| show("trace_id", &trace))
    });
    shown.unwrap_or(Ok(()))
}

struct JsonFields<'a, 'w> {
    out: OneLine<'a, 'w>,
    result: fmt::Result,
}

impl JsonFields<'_, '_> {
    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        if self.result.is_ok() {
            // Names of fields are ours and need no escaping.
            self.result = write!(self.out, ",\"{}\":{}", field.name(), value.into());
        }
    }
}

impl Visit for JsonFields<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.add(field, value.to_string());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }
}

/// Keeps a line one line, and free of what a terminal would take for its own.
struct OneLine<'a, 'w>(&'a mut Writer<'w>);

impl Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive(char::is_control) {
            match piece.char_indices().next_back().filter(|(_, last)| last.is_control()) {
                Some((at, '\n')) => write!(self.0, "{}\\n", &piece[..at])?,
                Some((at, control)) => write!(self.0, "{}\\u{:04x}", &piece[..at], u32::from(control))?,
                None => self.0.write_str(piece)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::{fmt::MakeWriter, layer::SubscriberExt};

    use super::*;
    use crate::request_context::{Context, scope_sync};

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Kept {
        type Writer = Self;
        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    /// Returns the lines that `work` logs, pretty and as JSON, each without its time.
    fn logged(work: impl Fn()) -> (Vec<String>, Vec<Value>) {
        let (pretty, json) = (Kept::default(), Kept::default());
        let layer = || tracing_subscriber::fmt::layer();
        let people = layer().with_ansi(false).with_target(false).fmt_fields(PrettyFields);
        let people = tracing_subscriber::registry().with(people.with_writer(pretty.clone()));
        tracing::subscriber::with_default(people, &work);
        let machines =
            tracing_subscriber::registry().with(layer().event_format(Json).with_writer(json.clone()));
        tracing::subscriber::with_default(machines, &work);
        let lines = |kept: &Kept| String::from_utf8(kept.0.lock().expect("no panic").clone()).expect("UTF-8");
        let without_time = |line: &str| line.split_once(' ').expect("a time").1.to_owned();
        let json = lines(&json).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        (lines(&pretty).lines().map(without_time).collect(), json)
    }

    #[test]
    fn a_line_is_one_line_whatever_is_in_it() {
        let (pretty, json) = logged(|| {
            let cause = "two\nlines, a \"quote\", a \\, \x1b[31mred\x1b[0m and ünïcödé\u{7f}";
            tracing::warn!(cause, status = 502_u16, took = 1.5, left = true, "it said: {cause}");
        });
        assert_eq!(
            pretty,
            [" WARN it said: two\\nlines, a \"quote\", a \\, \\x1b[31mred\\x1b[0m and ünïcödé\\x7f \
              cause=\"two\\nlines, a \\\"quote\\\", a \\\\, \\u{1b}[31mred\\u{1b}[0m and ünïcödé\\u{7f}\" \
              status=502 took=1.5 left=true"]
        );
        let cause = "two\nlines, a \"quote\", a \\, \x1b[31mred\x1b[0m and ünïcödé\u{7f}";
        assert_eq!((json[0]["cause"].as_str(), &json[0]["level"]), (Some(cause), &"WARN".into()));
        assert_eq!(json[0]["message"], format!("it said: {cause}"));
        assert_eq!(
            (&json[0]["status"], &json[0]["took"], &json[0]["left"]),
            (&502.into(), &1.5.into(), &true.into())
        );
        let time = json[0]["timestamp"].as_str().expect("a time");
        assert!(time.parse::<Timestamp>().is_ok(), "{time}");
    }

    #[test]
    fn lines_at_work_for_a_request_name_it() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let parent = format!("00-{trace}-00f067aa0ba902b7-01");
        let context = Arc::new(Context::new(Some("r-7"), Some(&parent), None));
        let (pretty, json) = logged(|| {
            tracing::info!("outside");
            scope_sync(Arc::clone(&context), || tracing::info!("inside"));
        });
        let expected = format!(" INFO inside request_id=r-7 trace_id={trace}");
        assert_eq!(pretty, [" INFO outside", &expected]);
        assert_eq!(json[0]["request_id"], Value::Null);
        assert_eq!((&json[1]["request_id"], &json[1]["trace_id"]), (&"r-7".into(), &trace.into()));
    }

    #[test]
    fn a_trace_that_says_nothing_new_is_left_out() {
        // The request's id is that of its trace; or no other service knows the trace.
        for (id, share) in [(None, Some(1.0)), (None, None), (Some("r-7"), None)] {
            let context = Arc::new(Context::new(id, None, share));
            let (pretty, json) = logged(|| scope_sync(Arc::clone(&context), || tracing::info!("inside")));
            assert_eq!(pretty, [format!(" INFO inside request_id={}", context.request_id)]);
            assert_eq!(json[0].get("trace_id"), None);
        }
        // Recorded under another name than the caller's.
        let context = Arc::new(Context::new(Some("r-7"), None, Some(1.0)));
        let (_, json) = logged(|| scope_sync(Arc::clone(&context), || tracing::info!("inside")));
        assert_eq!(json[0]["trace_id"], context.trace.id.to_string());
    }
}
