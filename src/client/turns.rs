//! Futures that wake each other within one task. Two halves of a connection tell each other of every
//! chunk; a task that is woken while it runs goes to the back of the runtime's queue, and the
//! runtime wakes another thread to see whether it would take it. Here they take turns at once.

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicU8,
            Ordering::{AcqRel, Acquire},
        },
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::task::AtomicWaker;

/// How often a future is polled again before the runtime gets its thread back: some wake themselves
/// for no other reason.
const MOST: usize = 64;

pub(super) struct Turns {
    wakes: Arc<Wakes>,
    waker: Waker,
}

impl Turns {
    pub(super) fn new() -> Self {
        let wakes = Arc::new(Wakes::default());
        Self { waker: Waker::from(Arc::clone(&wakes)), wakes }
    }

    /// Polls `step`, again and again as long as it was woken by what it did itself.
    pub(super) fn take<T>(
        &self,
        cx: &mut Context<'_>,
        mut step: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.wakes.task.register(cx.waker());
        let mut inner = Context::from_waker(&self.waker);
        for _ in 0..MOST {
            self.wakes.state.swap(AT_WORK, AcqRel);
            let polled = step(&mut inner);
            let woken = self.wakes.state.swap(WAITING, AcqRel) == WOKEN;
            if polled.is_ready() || !woken {
                return polled;
            }
            if !tokio::task::coop::has_budget_remaining() {
                break;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Passes wakeups on to the task, except those that come while it is at work here.
#[derive(Default)]
struct Wakes {
    task: AtomicWaker,
    state: AtomicU8,
}

const WAITING: u8 = 0;
const AT_WORK: u8 = 1;
const WOKEN: u8 = 2;

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let at_work = self.state.compare_exchange(AT_WORK, WOKEN, AcqRel, Acquire);
        if at_work == Err(WAITING) {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::pin,
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use super::*;

    /// Counts how often its task is woken.
    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    /// Polls once a future that wakes itself `wakes` times before it is ready, and gives whether it
    /// was and how often the task was woken.
    fn polled_once(wakes: usize) -> (bool, usize) {
        let counted = Arc::new(Counted::default());
        let waker = Waker::from(Arc::clone(&counted));
        let mut left = wakes;
        let wakes_itself = std::future::poll_fn(move |cx| {
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        let mut wakes_itself = pin!(wakes_itself);
        let mut cx = Context::from_waker(&waker);
        let ready = Turns::new().take(&mut cx, |cx| wakes_itself.as_mut().poll(cx)).is_ready();
        (ready, counted.0.load(Relaxed))
    }

    #[test]
    fn a_future_that_wakes_itself_wakes_nobody_else_until_its_turns_are_over() {
        assert_eq!(polled_once(3), (true, 0));
        assert_eq!(polled_once(MOST), (false, 1));
    }

    #[test]
    fn a_wakeup_from_outside_reaches_the_task() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let counted = Arc::new(Counted::default());
        let waker = Waker::from(Arc::clone(&counted));
        let (turns, mut receiver) = (Turns::new(), pin!(receiver));
        let mut poll = || turns.take(&mut Context::from_waker(&waker), |cx| receiver.as_mut().poll(cx));
        assert!(poll().is_pending());
        sender.send(7).expect("somebody waits");
        assert_eq!(counted.0.load(Relaxed), 1);
        assert!(poll().is_ready());
    }
}
