//! Keep-alive of idle streams: a comment, which clients skip, is sent at intervals, because proxies close idle
//! connections. It ends when the server shuts down.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// When streams begin and how long they are silent.
#[derive(Clone, Copy, Debug)]
pub struct StreamTimes {
    pub headers_after: Duration,
    pub ping_every: Duration,
}

pub(in crate::http) enum Interruption {
    Ping,
    /// Running replies have had their time.
    Cutoff,
}

pub(in crate::http) struct Silence {
    every: Duration,
    since: Instant,
    cutoff: CancellationToken,
    /// Made when there is a silence: most replies come without one.
    waiting: Option<Waiting>,
}

struct Waiting {
    ping: Pin<Box<Sleep>>,
    cutoff: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Silence {
    pub(in crate::http) fn new(every: Duration, cutoff: CancellationToken) -> Self {
        Self { every, since: Instant::now(), cutoff, waiting: None }
    }

    /// Something was said.
    pub(in crate::http) fn broken(&mut self) {
        self.since = Instant::now();
    }

    pub(in crate::http) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Interruption> {
        let due = self.since + self.every;
        let cutoff = &self.cutoff;
        let waiting = self.waiting.get_or_insert_with(|| {
            let cutoff = Box::pin(cutoff.clone().cancelled_owned());
            Waiting { ping: Box::pin(sleep_until(due)), cutoff }
        });
        if waiting.cutoff.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Interruption::Cutoff);
        }
        loop {
            ready!(waiting.ping.as_mut().poll(cx));
            if due > Instant::now() {
                waiting.ping.as_mut().reset(due);
                continue;
            }
            self.since = Instant::now();
            waiting.ping.as_mut().reset(self.since + self.every);
            return Poll::Ready(Interruption::Ping);
        }
    }
}
