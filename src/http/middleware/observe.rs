//! The one place that sees every request and every reply: it names the request, has its key checked,
//! writes problems, and holds its recorder until the last byte of the reply has been passed on or
//! its client has left.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, Version, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::{runtime::Handle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    auth::admit,
    errors::{ErrorFormat, Failure, Reported, shutting_down},
};
use crate::{
    error::{self, Error, Kind},
    http::{HttpState, docs, extract::check_query, route},
    request_context::{self, scope, scope_sync},
    telemetry::{
        labels,
        recorder::{RequestRecorder, RequestStart},
    },
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Name of the same header in Anthropic's API.
const ANTHROPICS_REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static(request_context::TRACEPARENT);
const TRACESTATE: HeaderName = HeaderName::from_static(request_context::TRACESTATE);

pub(in crate::http) async fn observe(
    State(state): State<Arc<HttpState>>,
    mut request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let context = context(&request, state.app.traced());
    let start = RequestStart {
        context: Arc::clone(&context),
        method: labels::method(request.method().as_str()),
        endpoint: state.app.route_label(route),
        path: request.uri().path().to_owned(),
    };
    let recorder = state.app.record(start);
    let method = request.method().clone();
    let route = route::find(recorder.endpoint()).map(|(_, errors)| errors);
    let errors = ErrorFormat::of_request(route, request.uri().path(), request.headers());
    let admitted =
        check_host(&request).and_then(|()| admit(&state, &mut request, &recorder)).and_then(|()| {
            let query = request.uri().query().unwrap_or_default();
            check_query(recorder.endpoint(), request.method(), query)
        });
    let expects = request.headers().contains_key(header::EXPECT);
    let request = request.map(|body| received(body, &recorder, expects));
    let answered = async {
        match admitted {
            Ok(()) => next.run(request).await,
            Err(refused) => Failure::from(refused).into_response(),
        }
    };
    let answered_in_time = async {
        tokio::select! {
            biased;
            response = answered => response,
            () = state.cutoff.cancelled() => Failure::from(shutting_down()).into_response(),
        }
    };
    let mut response = scope(Arc::clone(&context), answered_in_time).await;
    if let Some(Reported(error)) = response.extensions_mut().remove() {
        recorder.failed(&error);
        write_error(&mut response, errors, &error, recorder.request_id());
    }
    if let Ok(id) = HeaderValue::from_str(recorder.request_id()) {
        if errors == ErrorFormat::Anthropic {
            response.headers_mut().insert(ANTHROPICS_REQUEST_ID, id.clone());
        }
        response.headers_mut().insert(REQUEST_ID, id);
    }
    let status = response.status();
    debug_assert!(
        docs::allows(recorder.endpoint(), &method, status),
        "{method} {} answered with {status}, which its documentation does not have",
        recorder.endpoint()
    );
    let cutoff = state.cutoff.clone();
    response.map(|body| {
        let sent = SentBody { body, recorder, context, status, cutoff, complete: false };
        Body::new(sent.begin(method == Method::HEAD))
    })
}

/// HTTP/1.1 has exactly one `Host` (RFC 9112, 3.2), HTTP/1.0 may have none.
fn check_host(request: &Request) -> error::Result<()> {
    match request.headers().get_all(header::HOST).iter().count() {
        1 => Ok(()),
        0 if request.version() == Version::HTTP_10 => Ok(()),
        _ => Err(Error::new(Kind::Malformed, "Send exactly one Host header.")),
    }
}

fn write_error(response: &mut Response, errors: ErrorFormat, error: &Error, request_id: &str) {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(errors.content_type()));
    headers.remove(header::CONTENT_LENGTH);
    *response.status_mut() = errors.status(error.kind());
    *response.body_mut() = Body::from(errors.write(error, request_id));
}

/// With the client's own id when it is a sane token, and its trace when it is in one.
fn context(request: &Request, traced: Option<f64>) -> Arc<request_context::Context> {
    let sane = |id: &&str| {
        (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
    };
    let header = |name: &HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let request_id = header(&REQUEST_ID).filter(sane);
    let context = request_context::Context::new(request_id, header(&TRACEPARENT), traced);
    // Nearly every request has none.
    let states = request.headers().get_all(&TRACESTATE).iter().map(|value| value.to_str().ok());
    let state = states.collect::<Option<Vec<_>>>().filter(|states| !states.is_empty());
    Arc::new(context.with_tracestate(state.map(|states| states.join(","))))
}

/// The request's body, whose bytes are counted as they come.
fn received(body: Body, recorder: &Arc<RequestRecorder>, expects: bool) -> Body {
    if body.is_end_stream() {
        return body;
    }
    Body::new(ReceivedBody { body, recorder: Arc::clone(recorder), unread: !expects })
}

struct ReceivedBody {
    body: Body,
    recorder: Arc<RequestRecorder>,
    /// Whether more may be on its way: not when the client waits for 100 Continue.
    unread: bool,
}

/// Time for which an unread body is read and discarded.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

impl Drop for ReceivedBody {
    /// A request is answered as soon as it is clear how, and its client may still be sending. Were the
    /// connection closed now, the system would reset it, and many clients would never see the answer.
    fn drop(&mut self) {
        if !self.unread || self.body.is_end_stream() {
            return;
        }
        let mut body = std::mem::take(&mut self.body);
        // Without a runtime the server is at its end.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                let read = async { while let Some(Ok(_)) = body.frame().await {} };
                // Clients that take longer are cut off.
                let _ = timeout(DRAIN_TIMEOUT, read).await;
            });
        }
    }
}

impl HttpBody for ReceivedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<FrameResult>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.recorder.received(data_bytes(frame.as_ref()));
        self.unread &= matches!(frame, Some(Ok(_)));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Body of a reply, which tells the recorder when it has been sent completely.
struct SentBody {
    body: Body,
    recorder: Arc<RequestRecorder>,
    context: Arc<request_context::Context>,
    status: StatusCode,
    cutoff: CancellationToken,
    complete: bool,
}

impl SentBody {
    /// A reply to HEAD is complete without its body.
    fn begin(mut self, head_only: bool) -> Self {
        if head_only || self.body.is_end_stream() {
            self.complete();
        }
        self
    }

    fn complete(&mut self) {
        self.complete = true;
        self.recorder.complete(self.status.as_u16());
    }
}

impl Drop for SentBody {
    fn drop(&mut self) {
        // What was cut off is no client's doing.
        if !self.complete && self.cutoff.is_cancelled() {
            self.recorder.failed(&shutting_down());
            self.complete();
        }
    }
}

impl HttpBody for SentBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<FrameResult>> {
        let context = Arc::clone(&self.context);
        let frame = ready!(scope_sync(context, || Pin::new(&mut self.body).poll_frame(cx)));
        self.recorder.sent(data_bytes(frame.as_ref()));
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

type FrameResult = Result<Frame<Bytes>, axum::Error>;

fn data_bytes(frame: Option<&FrameResult>) -> usize {
    frame.and_then(|frame| frame.as_ref().ok()?.data_ref()).map_or(0, Bytes::len)
}
