//! The one place that sees every request and every reply: it names the request, writes problems,
//! and counts and logs each request once, when the last byte of its reply has been passed on or its
//! client has left.

use std::{
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU16, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Instant,
};

use axum::{
    body::{Body, Bytes},
    extract::{MatchedPath, Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::Response,
};
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::{
    Edge,
    error::{Problem, Reported, mark},
};
use crate::{
    error::{Error, Kind},
    telemetry::metrics::{CLIENT_LEFT, Metrics, error_type},
};

/// What is noted of one request. Counted when it is dropped, which is when the reply's body is.
pub(super) struct Observation {
    pub(super) request_id: String,
    metrics: Arc<Metrics>,
    endpoint: &'static str,
    method: Method,
    path: String,
    started: Instant,
    /// 0 until the reply is complete.
    status: AtomicU16,
    error: OnceLock<&'static str>,
}

impl Observation {
    /// Notes and logs a failure; the first one counts. This is the boundary: causes are logged here
    /// and nowhere else.
    pub(super) fn failed(&self, error: &Error) {
        if self.error.set(error_type(error.kind())).is_err() {
            return;
        }
        let (request_id, endpoint, cause) = (&self.request_id, self.endpoint, error.chain());
        match error.kind() {
            Kind::Internal => tracing::error!(request_id, endpoint, "a request failed: {cause}"),
            Kind::BadGateway | Kind::Unavailable | Kind::GatewayTimeout | Kind::Setup => {
                tracing::warn!(request_id, endpoint, "a request failed: {cause}");
            }
            _ => tracing::debug!(request_id, endpoint, "a request was refused: {cause}"),
        }
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        let (status, error) = match self.status.load(Relaxed) {
            0 => (CLIENT_LEFT, Some("client_left")),
            status => (status, self.error.get().copied()),
        };
        let took = self.started.elapsed();
        self.metrics.request_ended(self.endpoint, self.method.as_str(), status, error, took);
        tracing::info!(
            request_id = self.request_id,
            method = self.method.as_str(),
            path = self.path,
            status,
            duration_ms = took.as_secs_f64() * 1e3,
            "request"
        );
    }
}

pub(super) async fn observe(State(edge): State<Arc<Edge>>, mut request: Request, next: Next) -> Response {
    let metrics = &edge.app.metrics;
    metrics.request_started();
    let observation = Arc::new(Observation {
        request_id: request_id(&request),
        endpoint: metrics.endpoint(request.extensions().get::<MatchedPath>().map(MatchedPath::as_str)),
        metrics: Arc::clone(metrics),
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        started: Instant::now(),
        status: AtomicU16::new(0),
        error: OnceLock::new(),
    });
    request.extensions_mut().insert(Arc::clone(&observation));
    let mut response = next.run(request).await;
    if let Some(Reported(error)) = response.extensions_mut().remove() {
        observation.failed(&error);
        write_problem(&mut response, &error, &observation.request_id);
    }
    if let Ok(id) = HeaderValue::from_str(&observation.request_id) {
        response.headers_mut().insert("x-request-id", id);
    }
    let (status, head_only) = (response.status(), observation.method == Method::HEAD);
    response.map(|body| Body::new(ObservedBody::new(body, observation, status, head_only)))
}

fn write_problem(response: &mut Response, error: &Error, request_id: &str) {
    let json = Problem::new(error, request_id).to_json();
    mark(response.headers_mut());
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = Body::from(json);
}

/// The client's own id when it is a sane token, else 128 random bits.
fn request_id(request: &Request) -> String {
    let sane = |id: &&str| {
        (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
    };
    let given = request.headers().get("x-request-id").and_then(|id| id.to_str().ok()).filter(sane);
    given.map_or_else(random_id, str::to_owned)
}

fn random_id() -> String {
    let mut bytes = [0u8; 16];
    // Without random numbers an id is still an id; it is no secret.
    let _ = getrandom::fill(&mut bytes);
    format!("{:032x}", u128::from_be_bytes(bytes))
}

/// A body that tells its observation when it has been passed on whole.
struct ObservedBody {
    body: Body,
    observation: Arc<Observation>,
    status: StatusCode,
}

impl ObservedBody {
    fn new(body: Body, observation: Arc<Observation>, status: StatusCode, head_only: bool) -> Self {
        let observed = Self { body, observation, status };
        if head_only || observed.body.is_end_stream() {
            observed.complete();
        }
        observed
    }

    fn complete(&self) {
        self.observation.status.store(self.status.as_u16(), Relaxed);
    }
}

impl HttpBody for ObservedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        // hyper asks no further once a body says that it is at its end.
        if frame.is_none() || self.body.is_end_stream() {
            self.complete();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
