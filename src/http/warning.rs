//! A warning about what may happen a thousand times a second: said at once, and then once a minute
//! with how often it happened.

use std::{
    fmt::Display,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::runtime::Handle;

const INTERVAL: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(super) struct Warning(Arc<Inner>);

struct Inner {
    text: &'static str,
    occurred: AtomicU64,
    /// Whether it was said within the last minute.
    said: AtomicBool,
}

impl Warning {
    pub(super) fn new(text: &'static str) -> Self {
        Self(Arc::new(Inner { text, occurred: AtomicU64::new(0), said: AtomicBool::new(false) }))
    }

    /// Says it with its cause, or counts it for the next time.
    pub(super) fn occurred(&self, cause: impl Display) {
        let Inner { text, occurred, said } = &*self.0;
        if said.swap(true, Relaxed) {
            occurred.fetch_add(1, Relaxed);
            return;
        }
        tracing::warn!("{text}: {cause}");
        // Without a runtime the server is at its end.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(self.clone().sum_up());
        }
    }

    async fn sum_up(self) {
        let Inner { text, occurred, said } = &*self.0;
        loop {
            tokio::time::sleep(INTERVAL).await;
            match occurred.swap(0, Relaxed) {
                0 => break,
                times => tracing::warn!(times, "{text}: {times} times in the last minute"),
            }
        }
        said.store(false, Relaxed);
    }
}
