//! Waiting for what must come true.

use std::time::{Duration, Instant};

/// Returns as soon as `check` holds; the deadline is for slow machines.
pub async fn eventually(deadline: Duration, what: &str, mut check: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !check().await {
        assert!(started.elapsed() < deadline, "not within {deadline:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
