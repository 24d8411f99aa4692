//! All open connections: how many there may be, and which one is closed when places or memory run
//! out. The one that has been idle for longest goes; one whose request is being served never does.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

use super::connection::Connection;
use crate::http::warning::Warning;

/// Limit on the unread bytes of all connections together: mostly unfinished heads of requests.
const UNREAD_LIMIT: usize = 8 * 1024 * 1024;

/// Time between two looks for a connection that may be closed.
const RETRY_DELAY: Duration = Duration::from_millis(50);

/// Numbers of connections.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    pub total: usize,
    /// None: half of all, and no limit for this machine's own addresses, where a proxy may be.
    pub per_address: Option<usize>,
}

impl ConnectionLimits {
    fn of(self, address: IpAddr) -> usize {
        match self.per_address {
            Some(limit) => limit,
            None if address.is_loopback() => self.total,
            None => self.total.div_ceil(2),
        }
    }
}

pub(in crate::http) struct Connections {
    limits: ConnectionLimits,
    open: Mutex<Open>,
    unread: Arc<AtomicUsize>,
    one_closed: Notify,
    stopping: AtomicBool,
    aborted: AtomicBool,
    full: Warning,
    address_full: Warning,
    no_memory: Warning,
}

#[derive(Default)]
struct Open {
    connections: HashMap<u64, Arc<Connection>>,
    addresses: HashMap<IpAddr, usize>,
    opened: u64,
}

/// The place of an open connection. Dropping it gives it back.
pub(in crate::http) struct Place {
    all: Arc<Connections>,
    number: u64,
    pub(in crate::http) connection: Arc<Connection>,
}

impl Connections {
    pub(in crate::http) fn new(limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            open: Mutex::default(),
            unread: Arc::default(),
            one_closed: Notify::new(),
            stopping: AtomicBool::new(false),
            aborted: AtomicBool::new(false),
            full: Warning::new("connection limit reached; closing idle connections"),
            address_full: Warning::new("connection limit of one address reached"),
            no_memory: Warning::new("incomplete requests take too much memory; closing the oldest"),
        })
    }

    /// Completes when there is a place for one more connection, for which idle ones are closed.
    pub(in crate::http) async fn free_place(&self) {
        if self.is_full() {
            self.full.occurred(format_args!("{} (MAX_CONNECTIONS)", self.limits.total));
        }
        while self.is_full() {
            self.close_one().await;
        }
    }

    /// Closes the connection that has been idle for longest, and waits a moment for its end.
    pub(in crate::http) async fn close_one(&self) {
        let closed = self.one_closed.notified();
        close_oldest(&self.open(), Connection::is_quiet);
        // A waiting connection looks again in either case.
        let _ = timeout(RETRY_DELAY, closed).await;
    }

    /// Takes a place; none when the address has all it may have and none of them is idle.
    pub(in crate::http) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = client_of(address);
        let mut open = self.open();
        let has = open.addresses.get(&address).copied().unwrap_or_default();
        if has >= self.limits.of(address) {
            self.address_full.occurred(format_args!("{has} (MAX_CONNECTIONS_PER_ADDRESS)"));
            if !close_oldest(&open, |connection| connection.address() == address) {
                return None;
            }
        }
        let connection = Arc::new(Connection::new(address, Arc::clone(&self.unread)));
        open.opened += 1;
        let number = open.opened;
        open.connections.insert(number, Arc::clone(&connection));
        *open.addresses.entry(address).or_default() += 1;
        Some(Place { all: Arc::clone(self), number, connection })
    }

    /// Closes those without a request and those whose client does not read at once, and each other after its reply.
    pub(in crate::http) fn stop(&self) {
        self.stopping.store(true, Relaxed);
        self.tell_all();
    }

    /// Closes all at once.
    pub(in crate::http) fn abort(&self) {
        self.aborted.store(true, Relaxed);
        self.tell_all();
    }

    fn tell_all(&self) {
        self.open().connections.values().for_each(|connection| connection.notify());
    }

    fn is_full(&self) -> bool {
        self.open().connections.len() >= self.limits.total
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the connection that has been idle for longest to close, unless one that was told before is
/// still about to. Returns false when none is idle.
fn close_oldest(open: &Open, among: impl Fn(&Connection) -> bool) -> bool {
    let mut oldest = None;
    for connection in open.connections.values().filter(|connection| among(connection)) {
        let Some(since) = connection.idle_since() else { continue };
        if connection.is_leaving() {
            return true;
        }
        if oldest.is_none_or(|(other, _)| since < other) {
            oldest = Some((since, connection));
        }
    }
    oldest.inspect(|(_, connection)| connection.leave()).is_some()
}

/// One client's address: of IPv6 its network, since each has millions of addresses.
fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)))
        }
        address => address,
    }
}

/// Action of a connection after it was notified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Order {
    Close,
    /// Close after the reply that is running.
    Finish,
    GoOn,
}

impl Place {
    pub(in crate::http) fn order(&self) -> Order {
        let leaving = self.connection.take_leave() && self.connection.idle_since().is_some();
        let stopping = self.all.stopping.load(Relaxed);
        if leaving || stopping && self.connection.idle_since().is_some() || self.all.aborted.load(Relaxed) {
            Order::Close
        } else if stopping {
            Order::Finish
        } else {
            Order::GoOn
        }
    }

    /// Counts bytes read from the socket. When there are too many, the connection with the oldest unfinished
    /// head is closed.
    pub(in crate::http) fn received(&self, bytes: usize) {
        if self.connection.received(bytes) > UNREAD_LIMIT {
            self.all.no_memory.occurred(format_args!("{} MB", UNREAD_LIMIT / (1024 * 1024)));
            close_oldest(&self.all.open(), Connection::is_counted);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connection.close();
        let mut open = self.all.open();
        open.connections.remove(&self.number);
        let address = self.connection.address();
        if let Some(has) = open.addresses.get_mut(&address) {
            *has -= 1;
            if *has == 0 {
                open.addresses.remove(&address);
            }
        }
        drop(open);
        self.all.one_closed.notify_one();
    }
}
