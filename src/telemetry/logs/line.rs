//! How a log line looks: for people, `time LEVEL message name=value …`; for machines, one flat JSON
//! object. Written straight into the line's buffer. A line that is written at work for a request
//! names it, and its trace where others know that by an id of its own.

use std::fmt::{self, Debug, Write};

use jiff::Timestamp;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use crate::request_context::with_current;

pub(super) struct Pretty {
    pub(super) colours: bool,
}

pub(super) struct Json;

impl<S, N> FormatEvent<S, N> for Pretty
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = *event.metadata().level();
        let (dim, colour, reset) =
            if self.colours { ("\x1b[2m", colour(level), "\x1b[0m") } else { ("", "", "") };
        write!(out, "{dim}{:.6}{reset} {colour}{:>5}{reset}", Timestamp::now(), level.as_str())?;
        let mut fields = PrettyFields { out: &mut out, result: Ok(()) };
        event.record(&mut fields);
        fields.result?;
        let named = with_current(|context| {
            write!(out, " request_id={}", context.request_id)?;
            context.foreign_trace().map_or(Ok(()), |trace| write!(out, " trace_id={trace}"))
        });
        named.unwrap_or(Ok(()))?;
        out.write_char('\n')
    }
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let (level, target) = (event.metadata().level().as_str(), event.metadata().target());
        write!(out, "{{\"timestamp\":\"{:.6}\",\"level\":\"{level}\"", Timestamp::now())?;
        let mut fields = JsonFields { out: &mut out, result: Ok(()) };
        event.record(&mut fields);
        fields.result?;
        // The id has letters, digits and -_.: only; `http/observe.rs` lets no other through.
        let named = with_current(|context| {
            write!(out, ",\"request_id\":\"{}\"", context.request_id)?;
            context.foreign_trace().map_or(Ok(()), |trace| write!(out, ",\"trace_id\":\"{trace}\""))
        });
        named.unwrap_or(Ok(()))?;
        writeln!(out, ",\"target\":\"{target}\"}}")
    }
}

const MESSAGE: &str = "message";

struct PrettyFields<'a, 'w> {
    out: &'a mut Writer<'w>,
    result: fmt::Result,
}

impl PrettyFields<'_, '_> {
    fn write(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        self.named(field, |out| Escaped { out, json: false }.write_fmt(value));
    }

    fn named(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        if self.result.is_ok() {
            self.result = self.name(field).and_then(|()| value(self.out));
        }
    }

    fn name(&mut self, field: &Field) -> fmt::Result {
        self.out.write_char(' ')?;
        if field.name() != MESSAGE {
            self.out.write_str(field.name())?;
            self.out.write_char('=')?;
        }
        Ok(())
    }
}

impl Visit for PrettyFields<'_, '_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.named(field, |out| write!(out, "{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.named(field, |out| out.write_str(itoa::Buffer::new().format(value)));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.named(field, |out| out.write_str(itoa::Buffer::new().format(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.write(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        // Quoted where it could be taken for more than one value.
        if field.name() == MESSAGE {
            self.named(field, |out| Escaped { out, json: false }.write_str(value));
        } else if value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"') {
            self.named(field, |out| out.write_str(value));
        } else {
            self.write(field, format_args!("{value:?}"));
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.write(field, format_args!("{value}"));
    }
}

struct JsonFields<'a, 'w> {
    out: &'a mut Writer<'w>,
    result: fmt::Result,
}

impl JsonFields<'_, '_> {
    fn name(&mut self, field: &Field) -> fmt::Result {
        // Names of fields are ours and need no escaping.
        self.out.write_str(",\"")?;
        self.out.write_str(field.name())?;
        self.out.write_str("\":")
    }

    fn bare(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        self.named(field, |out| out.write_fmt(value));
    }

    fn text(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        self.named(field, |out| {
            out.write_char('"')?;
            Escaped { out, json: true }.write_fmt(value)?;
            out.write_char('"')
        });
    }

    fn named(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        if self.result.is_ok() {
            self.result = self.name(field).and_then(|()| value(self.out));
        }
    }
}

impl Visit for JsonFields<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.text(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.text(field, format_args!("{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.bare(field, format_args!("{value}"));
        } else {
            self.text(field, format_args!("{value}"));
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.named(field, |out| out.write_str(itoa::Buffer::new().format(value)));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.named(field, |out| out.write_str(itoa::Buffer::new().format(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field, format_args!("{value}"));
    }
}

/// Keeps a line one line, and free of what a terminal or a JSON parser would take for its own.
struct Escaped<'a, 'w> {
    out: &'a mut Writer<'w>,
    json: bool,
}

impl Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Nearly every text is plain, which bytes show faster than characters do.
        if text.bytes().all(|b| matches!(b, b' '..=b'~') && !(self.json && matches!(b, b'"' | b'\\'))) {
            return self.out.write_str(text);
        }
        let special = |c: char| c.is_control() || self.json && matches!(c, '"' | '\\');
        let mut rest = text;
        while let Some(at) = rest.find(special) {
            self.out.write_str(&rest[..at])?;
            let mut following = rest[at..].chars();
            match following.next() {
                Some('\n') => self.out.write_str("\\n")?,
                Some('\t') => self.out.write_str("\\t")?,
                Some(c @ ('"' | '\\')) => write!(self.out, "\\{c}")?,
                Some(c) => write!(self.out, "\\u{:04x}", u32::from(c))?,
                None => {}
            }
            rest = following.as_str();
        }
        self.out.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
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
        let people = tracing_subscriber::registry()
            .with(layer().event_format(Pretty { colours: false }).with_writer(pretty.clone()));
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
            [" WARN it said: two\\nlines, a \"quote\", a \\, \\u001b[31mred\\u001b[0m and ünïcödé\\u007f \
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
        // The request's id is that of its trace; or nobody but us knows the trace.
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
