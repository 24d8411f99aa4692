//! State of an open connection that other threads see: whether a request is being served on it, since when it
//! has been idle, and how many unread bytes it holds. Written by the connection's own thread, and read when a
//! connection has to be closed.

use std::{
    net::IpAddr,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// Bytes of a request's head.
pub(in crate::http) const HEAD_LIMIT: usize = 64 * 1024;

/// Bytes unread that are not counted: nearly every request stays below, and every connection has a
/// buffer of this size anyway.
const NOT_COUNTED: usize = 4 * 1024;

/// A client that has read nothing for so long counts as idle when places run out.
const UNREAD_IS_IDLE: Duration = Duration::from_secs(5);

/// Time in which the head of a new connection's request comes.
const QUIET_MS: u64 = 100;

/// State of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::http) enum Phase {
    /// No request, or an unfinished head.
    Idle,
    /// The request's body is still coming.
    Receiving,
    /// The request is whole, and nothing of its reply is there.
    Answering,
    Replying,
}

const PHASES: [Phase; 4] = [Phase::Idle, Phase::Receiving, Phase::Answering, Phase::Replying];

pub(in crate::http) struct Connection {
    address: IpAddr,
    phase: AtomicU8,
    /// Whether the request's client understands interim responses.
    interim: AtomicBool,
    /// Milliseconds, when the last request ended.
    idle_since: AtomicU64,
    /// Milliseconds, when the client's window was full; 0 while it takes what is sent.
    blocked_since: AtomicU64,
    unread: AtomicUsize,
    /// Part of `unread` that is in `unread_of_all`.
    counted: AtomicUsize,
    unread_of_all: Arc<AtomicUsize>,
    /// Whether the client has ended its side while a request was being served.
    input_ended: AtomicBool,
    /// Whether something is to be sent that shows whether the client is there.
    asked: AtomicBool,
    leaving: AtomicBool,
    closed: AtomicBool,
    notify: Notify,
}

impl Connection {
    pub(in crate::http) fn new(address: IpAddr, unread_of_all: Arc<AtomicUsize>) -> Self {
        Self {
            address,
            phase: AtomicU8::new(Phase::Idle as u8),
            interim: AtomicBool::new(false),
            idle_since: AtomicU64::new(now()),
            blocked_since: AtomicU64::new(0),
            unread: AtomicUsize::new(0),
            counted: AtomicUsize::new(0),
            unread_of_all,
            input_ended: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            notify: Notify::new(),
        }
    }

    pub(in crate::http) fn address(&self) -> IpAddr {
        self.address
    }

    pub(in crate::http) fn phase(&self) -> Phase {
        PHASES[usize::from(self.phase.load(Relaxed))]
    }

    /// Since when it may be closed at no cost: no request is being served, or its client has stopped
    /// reading the reply.
    pub(in crate::http) fn idle_since(&self) -> Option<u64> {
        match self.blocked_since.load(Relaxed) {
            0 => (self.phase() == Phase::Idle).then(|| self.idle_since.load(Relaxed)),
            since => (Duration::from_millis(now().saturating_sub(since)) >= UNREAD_IS_IDLE).then_some(since),
        }
    }

    /// Whether it has been idle for long enough that a request is not just about to come.
    pub(in crate::http) fn is_quiet(&self) -> bool {
        self.idle_since().is_some_and(|since| now().saturating_sub(since) >= QUIET_MS)
    }

    /// A request's head has been read, of about so many bytes.
    pub(in crate::http) fn request_began(&self, head_bytes: usize, has_body: bool, interim: bool) {
        self.interim.store(interim, Relaxed);
        self.enter(if has_body { Phase::Receiving } else { Phase::Answering });
        if self.unread.load(Relaxed) > 0 {
            self.consumed(head_bytes);
            self.forget_little();
        }
    }

    /// Bytes of the request's body have been passed on.
    pub(in crate::http) fn consumed(&self, bytes: usize) {
        let unread = self.unread.load(Relaxed).saturating_sub(bytes);
        self.unread.store(unread, Relaxed);
        self.recount();
    }

    /// The request's body has been passed on completely, or is no longer wanted.
    pub(in crate::http) fn body_ended(&self) {
        if self.phase() == Phase::Receiving {
            self.enter(Phase::Answering);
        }
    }

    pub(in crate::http) fn reply_began(&self) {
        self.enter(Phase::Replying);
    }

    pub(in crate::http) fn reply_ended(&self) {
        self.idle_since.store(now(), Relaxed);
        self.enter(Phase::Idle);
        self.forget_little();
        if self.input_ended.load(Relaxed) {
            // Nothing more comes that would have it looked at again.
            self.notify();
        }
    }

    pub(in crate::http) fn input_ended(&self) {
        self.input_ended.store(true, Relaxed);
    }

    /// Has a stream say something, if only that it is there.
    pub(in crate::http) fn ask(&self) {
        self.asked.store(true, Relaxed);
    }

    pub(in crate::http) fn was_asked(&self) -> bool {
        self.asked.load(Relaxed) && self.asked.swap(false, Relaxed)
    }

    pub(in crate::http) fn understands_interim(&self) -> bool {
        self.interim.load(Relaxed)
    }

    /// Bytes have been read from the socket. Returns how many all connections hold.
    pub(in crate::http) fn received(&self, bytes: usize) -> usize {
        self.unread.fetch_add(bytes, Relaxed);
        self.recount()
    }

    /// Whether it holds an unfinished head that is counted.
    pub(in crate::http) fn is_counted(&self) -> bool {
        self.counted.load(Relaxed) > 0
    }

    /// Whether anything unread is there.
    pub(in crate::http) fn holds_unread(&self) -> bool {
        self.unread.load(Relaxed) > 0
    }

    pub(in crate::http) fn written(&self, blocked: bool) {
        match (blocked, self.blocked_since.load(Relaxed)) {
            (false, 0) => {}
            (false, _) => self.blocked_since.store(0, Relaxed),
            (true, 0) => self.blocked_since.store(now().max(1), Relaxed),
            (true, _) => {}
        }
    }

    /// Asks it to close if it is still idle then.
    pub(in crate::http) fn leave(&self) {
        self.leaving.store(true, Relaxed);
        // Its memory is about to be freed, so that no other connection has to be closed.
        self.set_counted(0);
        self.notify();
    }

    pub(in crate::http) fn is_leaving(&self) -> bool {
        self.leaving.load(Relaxed)
    }

    /// Whether it was asked to close. It is asked once: a request may have come meanwhile.
    pub(in crate::http) fn take_leave(&self) -> bool {
        self.leaving.swap(false, Relaxed)
    }

    pub(in crate::http) fn notify(&self) {
        self.notify.notify_one();
    }

    pub(in crate::http) async fn notified(&self) {
        self.notify.notified().await;
    }

    pub(in crate::http) fn close(&self) {
        self.closed.store(true, Relaxed);
        self.set_counted(0);
    }

    fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
    }

    /// The length of a head is known only about.
    fn forget_little(&self) {
        let unread = self.unread.load(Relaxed);
        if unread > 0 {
            self.unread.store(if unread < NOT_COUNTED { 0 } else { unread.min(HEAD_LIMIT) }, Relaxed);
            self.recount();
        }
    }

    fn recount(&self) -> usize {
        let unread = self.unread.load(Relaxed);
        let counts = unread > NOT_COUNTED && !self.closed.load(Relaxed);
        self.set_counted(if counts { unread } else { 0 })
    }

    /// Returns the sum of all connections.
    fn set_counted(&self, counted: usize) -> usize {
        let before = self.counted.swap(counted, Relaxed);
        if before == counted {
            return 0;
        }
        self.unread_of_all
            .fetch_add(counted.wrapping_sub(before), Relaxed)
            .wrapping_add(counted)
            .wrapping_sub(before)
    }
}

/// Milliseconds since the program first asked.
fn now() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX)
}
