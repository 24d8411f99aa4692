//! The connection that requests use, and its circuit breaker. A request takes the connection that is
//! there or goes without: it never connects, never retries, and gives up after `REQUEST_TIMEOUT`. That
//! opens the breaker for all requests, so that a stalled server costs one wait and not one per
//! request; the supervisor closes it again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{RedisError, RedisResult};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::{
    clear_markers::ClearMarkers,
    connection::{Connection, with_timeout},
    status::{Activity, Status, describe},
};

/// The longest a request waits for Redis; a local one answers in a tenth of a millisecond.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_millis(50);

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
    pub(super) signals: Arc<Signals>,
}

/// Signals to the supervisor from a connection and its users.
#[derive(Default)]
pub(super) struct Signals {
    pub(super) lost: AtomicBool,
    pub(super) wake: Notify,
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

    pub(super) fn set_up(&self, session: &Session) {
        self.state.send_replace(State::Up(session.clone()));
        self.status.well(Activity::Connection);
    }

    /// Keeps the words there are when the connection was down already: the first ones say why.
    pub(super) fn set_down(&self, cause: &RedisError) {
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
    pub(super) async fn probe(&self, limit: Duration) -> RedisResult<bool> {
        with_timeout(limit, self.connection.clone().probe()).await
    }

    pub(super) fn is_lost(&self) -> bool {
        self.signals.lost.load(Ordering::Acquire)
    }
}

pub(super) fn lost() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::ConnectionAborted).into()
}

fn is_lost(error: &RedisError) -> bool {
    error.is_io_error() && !error.is_timeout() && !error.is_connection_refusal()
}
