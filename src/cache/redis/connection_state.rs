//! The one who connects, and the circuit breaker. A request takes the connection that is there or
//! goes without: it never connects, never retries, and gives up after `REQUEST_TIMEOUT`. Its giving up opens
//! the breaker for everybody, so that one stalled server costs one wait and not one per request; a
//! task in the background asks the server until it answers again.
//!
//! A connection that only paused is taken up again as it is: what changed meanwhile is told by it in
//! order, before the answer. With a new connection nobody can tell what was missed, so the copies in
//! memory are dropped when it is made, not while Redis is away: until then they go on serving.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{PushKind, RedisError, RedisResult};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep},
};

use super::{
    clear_markers::ClearMarkers,
    connection::{BACKGROUND_TIMEOUT, Connection, with_timeout},
    local_copies::LocalCopies,
    status::{Activity, Status, describe},
    target::Target,
    writes::Writes,
};

/// The longest a request waits for Redis; a local one answers in a tenth of a millisecond.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_millis(50);
/// How often an idle connection is tried, so that its loss is noticed before a request meets it.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// More than a request's patience: a short pause nobody has noticed is no reason to stop using Redis.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_millis(200);
/// Between two attempts to connect: from the first, doubled up to the second. Redis is used again
/// within the longest pause and one attempt, well under 2 s.
const RECONNECT_DELAY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));
/// Between two questions to a stalled server, doubled when it stalls again and again.
const RETRY_DELAY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(800));
/// After so many unanswered questions the connection is given up for a new one.
const PROBE_LIMIT: u32 = 4;
/// A connection that has been well for so long starts again with the shortest pauses.
const STABLE_AFTER: Duration = Duration::from_secs(10);

pub(super) struct ConnectionState {
    state: watch::Sender<State>,
    opened: Instant,
    pub(super) status: Status,
    pub(super) clear_markers: ClearMarkers,
}

enum State {
    /// The first attempt is not over yet.
    Starting,
    Up(Session),
    /// The breaker is open.
    Down,
}

/// An open connection, as a request uses it.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) connection: Connection,
    signals: Arc<Signals>,
}

/// How the users of a connection and the connection itself wake the one who watches over it.
#[derive(Default)]
struct Signals {
    lost: AtomicBool,
    wake: Notify,
}

impl ConnectionState {
    pub(super) fn new() -> Self {
        Self {
            state: watch::Sender::new(State::Starting),
            opened: Instant::now(),
            status: Status::new(),
            clear_markers: ClearMarkers::default(),
        }
    }

    /// The connection, if there is one. Waits only for the first attempt, and no longer than
    /// `REQUEST_TIMEOUT` after the start.
    pub(super) async fn session(&self) -> Option<Session> {
        match &*self.state.borrow() {
            State::Up(session) => return Some(session.clone()),
            State::Down => return None,
            State::Starting => {}
        }
        let limit = REQUEST_TIMEOUT.checked_sub(self.opened.elapsed())?;
        tokio::time::timeout(limit, self.up_or_down()).await.ok()?
    }

    /// Waits until there is a connection.
    pub(super) async fn up(&self) -> Session {
        loop {
            if let Some(session) = self.up_or_down().await {
                return session;
            }
            let mut changes = self.state.subscribe();
            if changes.wait_for(|state| matches!(state, State::Up(_))).await.is_err() {
                // The sender is ours and lives as long as we do.
                std::future::pending::<()>().await;
            }
        }
    }

    pub(super) fn is_down(&self) -> bool {
        matches!(*self.state.borrow(), State::Down)
    }

    /// Opens the breaker, because of what a user of this connection met.
    pub(super) fn trip(&self, session: &Session, cause: &RedisError) {
        let tripped = self.state.send_if_modified(|state| match state {
            State::Up(current) if Arc::ptr_eq(&current.signals, &session.signals) => {
                *state = State::Down;
                true
            }
            _ => false,
        });
        if tripped {
            self.status.trouble(Activity::Connection, describe(cause), cause);
            session.signals.wake.notify_one();
        }
    }

    /// Connects, keeps watch, and connects again, for ever.
    pub(super) async fn supervise(
        self: Arc<Self>,
        target: Target,
        local_copies: Arc<LocalCopies>,
        writes: Arc<Writes>,
    ) {
        let mut pause = RECONNECT_DELAY.0;
        loop {
            match self.connect(&target, &local_copies, &writes).await {
                Ok(session) => {
                    let since = Instant::now();
                    self.set_up(&session);
                    self.watch_over(&session, &local_copies, &writes).await;
                    if since.elapsed() > HEARTBEAT_INTERVAL {
                        pause = RECONNECT_DELAY.0;
                    }
                }
                Err(error) => self.set_down(&error),
            }
            sleep(pause).await;
            pause = (pause * 2).min(RECONNECT_DELAY.1);
        }
    }

    /// Returns when a new connection is needed.
    async fn watch_over(&self, session: &Session, local_copies: &LocalCopies, writes: &Writes) {
        let mut retry = RETRY_DELAY.0;
        let mut well_since = Instant::now();
        loop {
            tokio::select! {
                () = session.signals.wake.notified() => {}
                () = sleep(HEARTBEAT_INTERVAL) => {}
            }
            if session.is_lost() {
                return self.set_down(&lost());
            }
            if !self.is_down() {
                match session.probe(HEARTBEAT_TIMEOUT).await {
                    Ok(true) => {
                        // What was cleared until now, Redis has told of.
                        let _ = self.clear_markers.look(&mut session.connection.clone()).await;
                        continue;
                    }
                    Ok(false) => return self.set_down(&lost()),
                    Err(error) => self.set_down(&error),
                }
            }
            if well_since.elapsed() > STABLE_AFTER {
                retry = RETRY_DELAY.0;
            }
            if !session.recovers(retry).await || self.catch_up(session, local_copies, writes).await.is_err() {
                return self.set_down(&lost());
            }
            self.set_up(session);
            well_since = Instant::now();
            retry = (retry * 2).min(RETRY_DELAY.1);
        }
    }

    /// A new connection, with nothing in memory of which Redis may have told in vain.
    async fn connect(
        &self,
        target: &Target,
        local_copies: &Arc<LocalCopies>,
        writes: &Writes,
    ) -> RedisResult<Session> {
        let session = connect(target, local_copies).await?;
        local_copies.forget_all(None);
        self.catch_up(&session, local_copies, writes).await?;
        writes.keep_all(local_copies);
        Ok(session)
    }

    /// Lets go of what was made here while somebody else cleared its kind.
    async fn catch_up(
        &self,
        session: &Session,
        local_copies: &LocalCopies,
        writes: &Writes,
    ) -> RedisResult<()> {
        let cleared = self.clear_markers.look(&mut session.connection.clone()).await?;
        if cleared.is_empty() {
            return Ok(());
        }
        let _turn = writes.turn.lock().await;
        for entry_type in cleared {
            writes.forget_all(Some(entry_type));
            local_copies.forget_all(Some(entry_type));
        }
        Ok(())
    }

    fn set_up(&self, session: &Session) {
        self.state.send_replace(State::Up(session.clone()));
        self.status.well(Activity::Connection);
    }

    /// Keeps the words there are when the connection was down already: the first ones say why.
    fn set_down(&self, cause: &RedisError) {
        let was = self.state.send_replace(State::Down);
        if !matches!(was, State::Down) || !is_lost(cause) {
            self.status.trouble(Activity::Connection, describe(cause), cause);
        }
    }

    async fn up_or_down(&self) -> Option<Session> {
        let mut changes = self.state.subscribe();
        match &*changes.wait_for(|state| !matches!(state, State::Starting)).await.ok()? {
            State::Up(session) => Some(session.clone()),
            _ => None,
        }
    }
}

impl Session {
    /// Asks a stalled server a few times; whether it can be used again. Patience is a request's: a
    /// server that is always slower than that would stall every one of them.
    async fn recovers(&self, pause: Duration) -> bool {
        for _ in 0..PROBE_LIMIT {
            sleep(pause).await;
            if self.is_lost() {
                return false;
            }
            if let Ok(tells) = self.probe(REQUEST_TIMEOUT).await {
                return tells;
            }
        }
        false
    }

    async fn probe(&self, limit: Duration) -> RedisResult<bool> {
        with_timeout(limit, self.connection.clone().probe()).await
    }

    fn is_lost(&self) -> bool {
        self.signals.lost.load(Ordering::Acquire)
    }
}

async fn connect(target: &Target, local_copies: &Arc<LocalCopies>) -> RedisResult<Session> {
    let signals = Arc::new(Signals::default());
    let (heard, local_copies) = (Arc::clone(&signals), Arc::clone(local_copies));
    let connection = Connection::open(target, move |push| {
        if push.kind == PushKind::Disconnection {
            heard.lost.store(true, Ordering::Release);
            heard.wake.notify_one();
        } else {
            local_copies.invalidate(&push);
        }
    });
    let connection = with_timeout(BACKGROUND_TIMEOUT * 3, connection).await?;
    Ok(Session { connection, signals })
}

fn lost() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::ConnectionAborted).into()
}

fn is_lost(error: &RedisError) -> bool {
    error.is_io_error() && !error.is_timeout() && !error.is_connection_refusal()
}
