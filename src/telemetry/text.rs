//! The text formats of metrics: Prometheus 0.0.4 and OpenMetrics 1.0. They differ in the name of a
//! counter's family and in the last line.

use std::fmt::Write;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextFormat {
    Prometheus,
    OpenMetrics,
}

impl TextFormat {
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A request that fell into a bucket, to be looked up in logs and traces.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Exemplar {
    pub(super) request_id: String,
    pub(super) seconds: f64,
    /// End of the request, in seconds since 1970.
    pub(super) at: f64,
}

pub(super) struct Exposition {
    out: String,
    format: TextFormat,
}

impl Exposition {
    pub(super) fn new(format: TextFormat) -> Self {
        Self { out: String::with_capacity(16 * 1024), format }
    }

    /// Starts a family. `name` is the full name, with `_total` for a counter.
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        let name = match self.format {
            TextFormat::OpenMetrics if kind == "counter" => name.trim_end_matches("_total"),
            _ => name,
        };
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.series(name, labels);
        let _ = writeln!(self.out, " {value}");
    }

    /// A counter that has counted something; a series appears when there is something to say.
    pub(super) fn counted(&mut self, name: &str, labels: &[(&str, &str)], count: u64) {
        if count > 0 {
            self.sample(name, labels, count as f64);
        }
    }

    /// A sample with its exemplar. Only OpenMetrics has a place for it.
    pub(super) fn sample_with(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        value: f64,
        exemplar: Option<Exemplar>,
    ) {
        let Some(Exemplar { request_id, seconds, at }) =
            exemplar.filter(|_| self.format == TextFormat::OpenMetrics)
        else {
            return self.sample(name, labels, value);
        };
        self.series(name, labels);
        let _ = write!(self.out, " {value} # ");
        self.labels(&[("request_id", &request_id)]);
        let _ = writeln!(self.out, " {seconds} {at}");
    }

    fn series(&mut self, name: &str, labels: &[(&str, &str)]) {
        self.out.push_str(name);
        if !labels.is_empty() {
            self.labels(labels);
        }
    }

    fn labels(&mut self, labels: &[(&str, &str)]) {
        for (index, (label, value)) in labels.iter().enumerate() {
            self.out.push(if index == 0 { '{' } else { ',' });
            self.out.push_str(label);
            self.out.push_str("=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    c => self.out.push(c),
                }
            }
            self.out.push('"');
        }
        self.out.push('}');
    }

    pub(super) fn finish(mut self) -> String {
        if self.format == TextFormat::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }
}
