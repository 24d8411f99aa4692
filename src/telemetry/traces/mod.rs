//! Traces: one span for each request and one for each call of a model, exported as OTLP over HTTP
//! to the collector that `OTEL_EXPORTER_OTLP_ENDPOINT` names. Without one there is no sink and no
//! task, and a request costs nothing more. See docs/adr/0008.

mod exporter;
mod spans;

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use clap::Args;
use percent_encoding::percent_decode_str;
use tokio::sync::mpsc::{Sender, channel};

pub use self::exporter::Exporter;
use super::{
    metrics::TraceMetrics,
    record::{ModelCall, RequestRecord},
    sink::Sink,
};
use crate::{
    error::Result,
    http_client::{CONTENT_TYPE, Client, HeaderMap, HeaderName, HeaderValue, Target, Timeouts, server_url},
    types::Secret,
    value_parser::number,
    wire::otlp::{Attribute, Span},
};

/// The names are those of OpenTelemetry:
/// <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Traces")]
#[group(skip)]
pub struct Settings {
    /// URL of an OpenTelemetry collector to send traces to, such as http://localhost:4318. If unset, no traces are recorded
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL", value_parser = server_url("http://localhost:4318", &["/v1/traces"]))]
    pub otel_exporter_otlp_endpoint: Option<String>,
    /// Headers to send to the collector, such as an API key: name=value pairs, separated by commas, with special characters percent-encoded (%20)
    #[arg(long, env = "OTEL_EXPORTER_OTLP_HEADERS", value_delimiter = ',', hide_env_values = true, value_parser = header)]
    pub otel_exporter_otlp_headers: Vec<Header>,
    /// Service name to report to the collector
    #[arg(long, env = "OTEL_SERVICE_NAME", default_value = "simpleton")]
    pub otel_service_name: String,
    /// Sampling rate (0 to 1) for requests without a traceparent header
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", default_value = "1.0", value_parser = number(0.0..=1.0))]
    pub otel_traces_sampler_arg: f64,
}

#[derive(Clone, Debug)]
pub struct Header {
    name: HeaderName,
    value: Secret,
}

fn header(text: &str) -> Result<Header, String> {
    let wrong = || "must be name=value, separated by commas; a comma in a value is written %2C".to_owned();
    let (name, value) = text.trim().split_once('=').ok_or_else(wrong)?;
    let name = HeaderName::try_from(name.trim()).map_err(|_| wrong())?;
    let value = percent_decode_str(value.trim()).decode_utf8().map_err(|_| wrong())?;
    HeaderValue::try_from(&*value).map_err(|_| wrong())?;
    Ok(Header { name, value: Secret::new(value) })
}

impl Settings {
    /// The share of traces to record; none when traces are off.
    pub fn share(&self) -> Option<f64> {
        self.otel_exporter_otlp_endpoint.as_ref().map(|_| self.otel_traces_sampler_arg)
    }
}

/// Spans that wait for the exporter. More are dropped and counted: a collector that is slow or away
/// costs traces and nothing else.
const QUEUE_LIMIT: usize = 4096;
/// Timeout for each part of the collector's answer.
const COLLECTOR_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes a span of each record whose trace is recorded.
pub struct Traces {
    spans: Sender<Span>,
    metrics: Arc<TraceMetrics>,
}

impl Traces {
    /// The sink, and the exporter that sends what it gets; nothing when traces are off.
    ///
    /// # Errors
    /// `Setup` when the collector's URL cannot be used.
    pub fn open(settings: &Settings, metrics: Arc<TraceMetrics>) -> Result<Option<(Self, Exporter)>> {
        let Some(url) = &settings.otel_exporter_otlp_endpoint else { return Ok(None) };
        let timeouts =
            Timeouts { connect: COLLECTOR_TIMEOUT, first_byte: COLLECTOR_TIMEOUT, idle: COLLECTOR_TIMEOUT };
        let client = Client::new("The OpenTelemetry collector", Target::Url(url.clone()), timeouts)?;
        let mut headers: HeaderMap = settings
            .otel_exporter_otlp_headers
            .iter()
            .filter_map(|Header { name, value }| {
                Some((name.clone(), HeaderValue::try_from(value.expose()).ok()?))
            })
            .collect();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let resource = vec![
            Attribute::new("service.name", settings.otel_service_name.as_str()),
            Attribute::new("service.version", env!("CARGO_PKG_VERSION")),
            Attribute::new("host.name", crate::value_parser::host_name()),
        ];
        let (sender, spans) = channel(QUEUE_LIMIT);
        let traces = Self { spans: sender, metrics: Arc::clone(&metrics) };
        let pause = Duration::from_secs(1);
        Ok(Some((traces, Exporter { client, headers, resource, spans, metrics, pause })))
    }

    fn add(&self, span: impl FnOnce() -> Span) {
        match self.spans.try_reserve() {
            Ok(room) => room.send(span()),
            Err(_) => {
                self.metrics.dropped.fetch_add(1, Relaxed);
            }
        }
    }
}

impl Sink for Traces {
    fn request_ended(&self, request: &RequestRecord) {
        if request.context.trace.recorded {
            self.add(|| spans::of_request(request));
        }
    }

    fn call_ended(&self, call: &ModelCall) {
        if call.context.trace.recorded {
            self.add(|| spans::of_call(call));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_percent_decoded() {
        for (text, name, value) in [
            ("api-key=abc", "api-key", "abc"),
            (" Authorization = Basic%20dTpw%3D%3D ", "authorization", "Basic dTpw=="),
            ("k=a%2Cb%25=c+d", "k", "a,b%=c+d"),
            ("k=50%", "k", "50%"),
            ("k=", "k", ""),
        ] {
            let header = header(text).expect(text);
            assert_eq!((header.name.as_str(), header.value.expose()), (name, value), "{text}");
        }
        for wrong in ["k", "=v", "a b=c", "k=a%0Ab", "k=%ff"] {
            assert!(header(wrong).is_err(), "{wrong}");
        }
    }
}
