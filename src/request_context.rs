//! For which request a task is at work: its id, and its place in a trace. Carried by the task and
//! not by parameters, so that every log line and every call of a backend can name the request
//! without the code in between knowing of it. The headers are those of W3C Trace Context,
//! <https://www.w3.org/TR/trace-context/>.

use std::{fmt, future::Future, sync::Arc};

#[derive(Debug)]
pub struct Context {
    pub request_id: String,
    pub trace: Trace,
    /// `tracestate` as the caller sent it.
    pub tracestate: Option<String>,
}

/// Our own span of a trace, which stands for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    pub id: TraceId,
    pub span: SpanId,
    /// The caller's span.
    pub parent: Option<SpanId>,
    /// Whether the caller records the trace.
    sampled: bool,
    /// Whether this server records it.
    pub recorded: bool,
}

/// Not zero; shown as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceId(u128);

/// Not zero; shown as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SpanId(u64);

pub const TRACEPARENT: &str = "traceparent";
pub const TRACESTATE: &str = "tracestate";

/// Four times the length that every implementation must pass on.
const MAX_TRACESTATE: usize = 2048;

tokio::task_local! {
    static CURRENT: Arc<Context>;
}

/// Calls `look` with the context of the current task's request.
pub fn with_current<T>(look: impl FnOnce(&Context) -> T) -> Option<T> {
    CURRENT.try_with(|context| look(context)).ok()
}

/// The future, at work for this request.
pub fn scope<F: Future>(context: Arc<Context>, future: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(context, future)
}

/// The same for what is done at once.
pub fn scope_sync<T>(context: Arc<Context>, work: impl FnOnce() -> T) -> T {
    CURRENT.sync_scope(context, work)
}

impl Context {
    /// Creates the context of a request; `request_id` and `traceparent` are as sent by the caller. `share` is
    /// the sampling rate of requests without a `traceparent`; without one, none is recorded.
    pub fn new(request_id: Option<&str>, traceparent: Option<&str>, share: Option<f64>) -> Self {
        let own = TraceId(rand::random::<u128>().max(1));
        let trace = Trace::new(traceparent, own, SpanId::new(), share);
        let request_id = request_id.map_or_else(|| own.to_string(), str::to_owned);
        Self { request_id, trace, tracestate: None }
    }

    /// With the caller's `tracestate`, which means nothing without its trace, and is not passed on when
    /// it is so long that the next server might refuse the request for it.
    pub fn with_tracestate(mut self, tracestate: Option<String>) -> Self {
        let parent = self.trace.parent;
        self.tracestate = tracestate.filter(|state| parent.is_some() && state.len() <= MAX_TRACESTATE);
        self
    }

    /// Returns the headers for backends, by name.
    pub fn trace_headers(&self) -> impl Iterator<Item = (&'static str, String)> {
        [(TRACEPARENT, self.trace.traceparent()), (TRACESTATE, self.tracestate.clone())]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
    }

    /// Trace id that is known elsewhere: in the caller's trace, or because the trace is recorded. None if the
    /// request id is the same.
    pub fn foreign_trace(&self) -> Option<TraceId> {
        let is_known = self.trace.recorded || self.trace.parent.is_some();
        (is_known && self.request_id != self.trace.id.to_string()).then_some(self.trace.id)
    }

    /// Returns the context for work done elsewhere, as a span of its own when the trace is recorded.
    pub fn child(self: &Arc<Self>) -> Arc<Self> {
        if !self.trace.recorded {
            return Arc::clone(self);
        }
        let trace = Trace { span: SpanId::new(), parent: Some(self.trace.span), ..self.trace };
        let Self { request_id, tracestate, .. } = &**self;
        Arc::new(Self { request_id: request_id.clone(), trace, tracestate: tracestate.clone() })
    }
}

impl Trace {
    fn new(traceparent: Option<&str>, own: TraceId, span: SpanId, share: Option<f64>) -> Self {
        let Some((id, parent, sampled)) = traceparent.and_then(parse) else {
            let sampled = share.is_some_and(|share| own.falls_within(share));
            return Self { id: own, span, parent: None, sampled, recorded: sampled };
        };
        Self { id, span, parent: Some(parent), sampled, recorded: sampled && share.is_some() }
    }

    /// `traceparent` for backends: their parent is our span when it is recorded, otherwise the caller's. None
    /// when there is nothing to pass on.
    fn traceparent(&self) -> Option<String> {
        let parent = if self.recorded { self.span } else { self.parent? };
        Some(format!("00-{}-{parent}-{:02x}", self.id, u8::from(self.sampled)))
    }
}

impl SpanId {
    fn new() -> Self {
        Self(rand::random::<u64>().max(1))
    }
}

impl TraceId {
    /// The same choice wherever the trace is seen.
    fn falls_within(self, share: f64) -> bool {
        // The low half is random in every vendor's ids.
        (self.0 as u64 >> 11) as f64 / (1_u64 << 53) as f64 <= share && share > 0.0
    }
}

/// `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`. A later version may have more at its
/// end; what is not understood is as good as not sent.
fn parse(text: &str) -> Option<(TraceId, SpanId, bool)> {
    let lower_hex = |part: &&str, length: usize| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let mut parts = text.trim().split('-');
    let version = parts.next().filter(|part| lower_hex(part, 2) && *part != "ff")?;
    let id = parts.next().filter(|part| lower_hex(part, 32))?;
    let span = parts.next().filter(|part| lower_hex(part, 16))?;
    let flags = parts.next().filter(|part| lower_hex(part, 2))?;
    if version == "00" && parts.next().is_some() {
        return None;
    }
    let id = u128::from_str_radix(id, 16).ok().filter(|id| *id != 0)?;
    let span = u64::from_str_radix(span, 16).ok().filter(|span| *span != 0)?;
    let flags = u8::from_str_radix(flags, 16).ok()?;
    Some((TraceId(id), SpanId(span), flags & 1 == 1))
}

/// The last `N` digits. Each request has such ids, and the formatter of such large numbers is slow.
fn hex<const N: usize>(mut number: u128) -> [u8; N] {
    let mut digits = [0; N];
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
    digits
}

fn ascii(digits: &[u8]) -> &str {
    std::str::from_utf8(digits).unwrap_or_default()
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ascii(&hex::<32>(self.0)))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ascii(&hex::<16>(self.0.into())))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_callers_trace_is_joined_and_passed_on() {
        let ours = Context::new(None, Some(SENT), Some(1.0)).trace;
        assert_eq!(ours.id.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(ours.parent.map(|parent| parent.to_string()).as_deref(), Some("00f067aa0ba902b7"));
        assert!(ours.recorded);
        let expected = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", ours.span);
        assert_eq!(ours.traceparent(), Some(expected));
        // What the caller does not record, we do not either, whatever our share.
        let quiet = SENT.replace("-01", "-00");
        let ours = Context::new(None, Some(&quiet), Some(1.0)).trace;
        assert_eq!((ours.recorded, ours.traceparent().as_deref()), (false, Some(quiet.as_str())));
    }

    #[test]
    fn switched_off_it_only_passes_on_what_it_got() {
        let ours = Context::new(None, Some(SENT), None).trace;
        assert_eq!((ours.recorded, ours.traceparent().as_deref()), (false, Some(SENT)));
        let ours = Context::new(None, None, None).trace;
        assert_eq!((ours.recorded, ours.traceparent()), (false, None));
    }

    #[test]
    fn of_our_own_traces_the_share_is_recorded() {
        let recorded = |share| {
            let traces = (0..2000).map(|_| Context::new(None, None, Some(share)).trace);
            traces.filter(|trace| trace.recorded).count()
        };
        assert_eq!((recorded(0.0), recorded(1.0)), (0, 2000));
        // Ten standard deviations around the mean.
        assert!((276..724).contains(&recorded(0.25)));
    }

    #[test]
    fn what_others_say_of_a_trace_goes_with_it_and_not_without() {
        let headers = |traceparent, state: &str| {
            let context = Context::new(None, traceparent, None).with_tracestate(Some(state.to_owned()));
            Arc::new(context).child().trace_headers().collect::<Vec<_>>()
        };
        let parent = (TRACEPARENT, SENT.to_owned());
        assert_eq!(headers(Some(SENT), "a=1,b=2"), [parent.clone(), (TRACESTATE, "a=1,b=2".to_owned())]);
        assert_eq!(headers(Some(SENT), &"x".repeat(MAX_TRACESTATE + 1)), [parent]);
        assert_eq!(headers(None, "a=1"), []);
    }

    #[test]
    fn what_is_no_traceparent_begins_a_trace_of_our_own() {
        for sent in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        ] {
            let context = Context::new(None, Some(sent), Some(1.0));
            assert_eq!(context.trace.parent, None, "{sent}");
            assert_eq!(context.request_id, context.trace.id.to_string());
        }
        // A later version may say more.
        let later = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
        assert!(Context::new(None, Some(later), None).trace.parent.is_some());
        assert_eq!(Context::new(Some("mine"), Some(SENT), None).request_id, "mine");
    }

    #[tokio::test]
    async fn a_task_knows_its_request_and_no_other_does() {
        let context = Arc::new(Context::new(Some("r-1"), None, None));
        let id = || with_current(|context| context.request_id.clone());
        assert_eq!(id(), None);
        let seen = scope(Arc::clone(&context), async {
            tokio::task::yield_now().await;
            let other = tokio::spawn(async { with_current(|_| ()).is_none() });
            (id(), other.await.expect("no panic"))
        });
        assert_eq!(seen.await, (Some("r-1".to_owned()), true));
        assert_eq!(scope_sync(context, id).as_deref(), Some("r-1"));
        assert_eq!(id(), None);
    }

    proptest! {
        #[test]
        fn any_header_is_taken_without_a_panic_and_what_we_write_we_read(text in ".{0,80}", id in 1_u128.., span in 1_u64.., sampled: bool) {
            let _ = parse(&text);
            let written = format!("00-{}-{}-{:02x}", TraceId(id), SpanId(span), u8::from(sampled));
            prop_assert_eq!(parse(&written), Some((TraceId(id), SpanId(span), sampled)));
        }
    }
}
