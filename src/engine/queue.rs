//! Slots of one model, and the bounded queue for them. First come, first served.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Kind, Result};

/// Time after which a slot may be free, since answers take seconds.
const RETRY_AFTER: Duration = Duration::from_secs(5);

pub(super) struct Queue {
    slots: Arc<Semaphore>,
    slot_count: usize,
    waiting: AtomicUsize,
    limit: usize,
}

impl Queue {
    pub(super) fn new(slot_count: usize, limit: usize) -> Self {
        Self { slots: Arc::new(Semaphore::new(slot_count)), slot_count, waiting: AtomicUsize::new(0), limit }
    }

    /// Waits for a slot, which is held as long as the permit. Dropping the future leaves the queue.
    ///
    /// # Errors
    /// `Busy` when the queue is full.
    pub(super) async fn enter(&self, model: &str) -> Result<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(permit);
        }
        let _place_in_line = self.line_up(model)?;
        Arc::clone(&self.slots)
            .acquire_owned()
            .await
            .map_err(|source| Error::new(Kind::Internal, "The model's queue was closed.").with_source(source))
    }

    fn line_up(&self, model: &str) -> Result<Waiter<'_>> {
        let next = |waiting: usize| (waiting < self.limit).then_some(waiting + 1);
        match self.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) {
            Ok(_) => Ok(Waiter(&self.waiting)),
            Err(_) => Err(Error::new(
                Kind::Busy,
                format!(
                    "{model} is answering {}, with {} more in the queue; try again later.",
                    match self.slot_count {
                        1 => "1 request".to_owned(),
                        slots => format!("{slots} requests"),
                    },
                    self.limit
                ),
            )
            .retry_after(RETRY_AFTER)),
        }
    }

    pub(super) fn slots(&self) -> usize {
        self.slot_count
    }

    pub(super) fn busy(&self) -> usize {
        self.slot_count - self.slots.available_permits()
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }
}

struct Waiter<'a>(&'a AtomicUsize);

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn the_line_is_bounded_and_a_dropped_waiter_leaves_no_trace() {
        let queue = Queue::new(1, 1);
        let held = queue.enter("m").await.expect("a free slot");
        let mut waiter = Box::pin(queue.enter("m"));
        assert!(waiter.as_mut().now_or_never().is_none());
        assert_eq!((queue.busy(), queue.waiting()), (1, 1));

        let refused = queue.enter("m").await.expect_err("the line is full");
        assert_eq!(refused.kind(), Kind::Busy);
        assert!(refused.retry_after_hint().is_some());

        drop(waiter);
        assert_eq!(queue.waiting(), 0);
        drop(held);
        assert_eq!(queue.busy(), 0);
        let _again = queue.enter("m").await.expect("free again");
    }
}
