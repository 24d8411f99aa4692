//! The task that keeps a connection to Redis: it connects, notices a loss, and asks a stalled server
//! until it answers again.
//!
//! A connection that only paused is used again as it is: Redis sends what changed meanwhile on it, in
//! order, before the answer. After a new connection nothing tells which changes were missed, so the
//! local copies are dropped when it is made, not while Redis is away: until then they are served.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use redis::{PushKind, RedisResult};
use tokio::time::{Instant, sleep};

use super::{
    connection::{BACKGROUND_TIMEOUT, Connection, with_timeout},
    connection_state::{ConnectionState, REQUEST_TIMEOUT, Session, Signals, lost},
    local_copies::LocalCopies,
    target::Target,
    writes::Writes,
};

/// Interval of probes on an idle connection, so that its loss is noticed before a request meets it.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// Timeout for a probe. Longer than a request's: a short pause between requests does not open the breaker.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_millis(200);
/// Delay between two attempts to connect: from the first, doubled up to the second. Redis is used
/// again within the longest delay and one attempt, well under 2 s.
const RECONNECT_DELAY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));
/// Delay between two probes of a stalled server, doubled each time it stalls again.
const RETRY_DELAY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(800));
/// Unanswered probes after which the connection is replaced.
const PROBE_LIMIT: u32 = 4;
/// Time without a failure after which delays start at the shortest again.
const STABLE_AFTER: Duration = Duration::from_secs(10);

pub(super) struct Supervisor {
    pub(super) state: Arc<ConnectionState>,
    pub(super) target: Target,
    pub(super) local_copies: Arc<LocalCopies>,
    pub(super) writes: Arc<Writes>,
}

impl Supervisor {
    /// Connects, watches the connection, and reconnects; runs until it is aborted.
    pub(super) async fn run(self) {
        let mut pause = RECONNECT_DELAY.0;
        loop {
            match self.connect().await {
                Ok(session) => {
                    let since = Instant::now();
                    self.state.set_up(&session);
                    self.watch_over(&session).await;
                    if since.elapsed() > HEARTBEAT_INTERVAL {
                        pause = RECONNECT_DELAY.0;
                    }
                }
                Err(error) => self.state.set_down(&error),
            }
            sleep(pause).await;
            pause = (pause * 2).min(RECONNECT_DELAY.1);
        }
    }

    /// Returns when a new connection is needed.
    async fn watch_over(&self, session: &Session) {
        let mut retry = RETRY_DELAY.0;
        let mut well_since = Instant::now();
        loop {
            tokio::select! {
                () = session.signals.wake.notified() => {}
                () = sleep(HEARTBEAT_INTERVAL) => {}
            }
            if session.is_lost() {
                return self.state.set_down(&lost());
            }
            if !self.state.is_down() {
                match session.probe(HEARTBEAT_TIMEOUT).await {
                    Ok(true) => {
                        // Clears up to now have arrived as invalidations.
                        let _ = self.state.clear_markers.look(&mut session.connection.clone()).await;
                        continue;
                    }
                    Ok(false) => return self.state.set_down(&lost()),
                    Err(error) => self.state.set_down(&error),
                }
            }
            if well_since.elapsed() > STABLE_AFTER {
                retry = RETRY_DELAY.0;
            }
            if !recovers(session, retry).await || self.catch_up(session).await.is_err() {
                return self.state.set_down(&lost());
            }
            self.state.set_up(session);
            well_since = Instant::now();
            retry = (retry * 2).min(RETRY_DELAY.1);
        }
    }

    /// Opens a connection, without local copies whose invalidation may have been missed.
    async fn connect(&self) -> RedisResult<Session> {
        let session = open(&self.target, &self.local_copies).await?;
        self.local_copies.forget_all(None);
        self.catch_up(&session).await?;
        self.writes.keep_all(&self.local_copies);
        Ok(session)
    }

    /// Drops entries of types that another server has cleared meanwhile.
    async fn catch_up(&self, session: &Session) -> RedisResult<()> {
        let cleared = self.state.clear_markers.look(&mut session.connection.clone()).await?;
        if cleared.is_empty() {
            return Ok(());
        }
        let _turn = self.writes.turn.lock().await;
        for entry_type in cleared {
            self.writes.forget_all(Some(entry_type));
            self.local_copies.forget_all(Some(entry_type));
        }
        Ok(())
    }
}

/// Probes a stalled server a few times, with the timeout of a request: a server that is always
/// slower would stall every one of them.
async fn recovers(session: &Session, pause: Duration) -> bool {
    for _ in 0..PROBE_LIMIT {
        sleep(pause).await;
        if session.is_lost() {
            return false;
        }
        if let Ok(tells) = session.probe(REQUEST_TIMEOUT).await {
            return tells;
        }
    }
    false
}

async fn open(target: &Target, local_copies: &Arc<LocalCopies>) -> RedisResult<Session> {
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
