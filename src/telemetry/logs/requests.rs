//! One line for each request, at its end. Of what was asked and answered it has figures only.
//!
//! To write a line is a twelfth of our work for a whole request, and a client need not wait for it:
//! a thread that serves writes the lines of its requests when it has nothing else to do.

use std::{cell::RefCell, sync::Arc, time::Duration};

use tracing::Level;

use crate::{
    request_context::scope_sync,
    telemetry::{
        labels::Purpose,
        record::{CacheOutcome, Outcome, RequestRecord},
        sink::Sink,
    },
};

/// A thread that always has something else to do writes this many in one go.
const MOST: usize = 32;

thread_local! {
    /// Requests whose lines are not written yet; none on a thread that writes each at once.
    static PUT_OFF: RefCell<Option<Vec<RequestRecord>>> = const { RefCell::new(None) };
}

pub struct RequestLines;

impl Sink for RequestLines {
    fn request_ended(&self, observed: &RequestRecord) {
        let waiting = PUT_OFF.try_with(|put_off| {
            let mut put_off = put_off.borrow_mut();
            let put_off = put_off.as_mut()?;
            put_off.push(observed.clone());
            Some(put_off.len())
        });
        match waiting {
            Ok(Some(waiting)) if waiting < MOST => {}
            Ok(Some(_)) => catch_up(),
            // The thread puts nothing off, or is at its end.
            Ok(None) | Err(_) => write(observed),
        }
    }
}

/// Puts the lines of this thread's requests off from now on, until it calls `catch_up`. It has to do
/// so before it waits for anything, and before it ends.
pub fn put_off() {
    PUT_OFF.with_borrow_mut(|put_off| _ = put_off.get_or_insert_default());
}

/// Writes the lines that this thread has put off.
pub fn catch_up() {
    PUT_OFF.with_borrow_mut(|put_off| {
        for observed in put_off.iter_mut().flat_map(|put_off| put_off.drain(..)) {
            write(&observed);
        }
    });
}

/// The level of a line is a constant where it is written.
macro_rules! write_line {
    ($level:expr, $observed:ident) => {{
        let RequestRecord { method, path, endpoint, status, .. } = $observed;
        let milliseconds = |time: Duration| time.as_micros() as f64 / 1e3;
        tracing::event!(
            $level,
            method,
            path,
            endpoint,
            status,
            duration_ms = milliseconds($observed.duration),
            first_token_ms = $observed.first_token.map(milliseconds),
            queue_ms = $observed.queue.map(milliseconds),
            key_id = $observed.key.map(tracing::field::display),
            model = $observed.model.as_deref(),
            cache = $observed.cache.map(CacheOutcome::as_str),
            prompt_tokens = $observed.usage.map(|usage| usage.prompt_tokens),
            completion_tokens = $observed.usage.map(|usage| usage.completion_tokens),
            bytes_in = $observed.bytes_in,
            bytes_out = $observed.bytes_out,
            error = $observed.error.as_ref().map(|error| error.kind),
            "request"
        );
    }};
}

fn write(observed: &RequestRecord) {
    scope_sync(Arc::clone(&observed.context), || {
        if is_routine(observed) {
            write_line!(Level::DEBUG, observed);
        } else {
            write_line!(Level::INFO, observed);
        }
    });
}

/// Scrapes, probes and views of the service itself come every few seconds, and say nothing while all
/// is well. What changes something is none.
fn is_routine(observed: &RequestRecord) -> bool {
    observed.purpose == Purpose::Service
        && observed.outcome() == Outcome::Answered
        && matches!(observed.method, "GET" | "HEAD")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use tracing::{Event, Subscriber};
    use tracing_subscriber::layer::{Context as LayerContext, Layer, SubscriberExt};

    use super::*;
    use crate::telemetry::{
        recorder::{RequestRecorder, RequestStart},
        sink::Sinks,
    };

    struct Counter(Arc<AtomicUsize>);

    impl<S: Subscriber> Layer<S> for Counter {
        fn on_event(&self, _: &Event<'_>, _: LayerContext<'_, S>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn a_thread_writes_its_lines_when_it_has_time_or_many_of_them() {
        let written = Arc::new(AtomicUsize::new(0));
        let lines = || written.load(Relaxed);
        let end_one = || {
            RequestRecorder::begin(Sinks::new(vec![Arc::new(RequestLines)]), RequestStart::any())
                .complete(200);
        };
        let subscriber = tracing_subscriber::registry().with(Counter(Arc::clone(&written)));
        tracing::subscriber::with_default(subscriber, || {
            end_one();
            assert_eq!(lines(), 1, "a thread that puts nothing off writes at once");
            put_off();
            end_one();
            assert_eq!(lines(), 1);
            catch_up();
            assert_eq!(lines(), 2);
            (1..MOST).for_each(|_| end_one());
            assert_eq!(lines(), 2);
            end_one();
            assert_eq!(lines(), 2 + MOST, "not even when it never has time");
            catch_up();
            assert_eq!(lines(), 2 + MOST, "each once");
        });
    }
}
