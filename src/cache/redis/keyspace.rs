//! Iteration over our keys in Redis, to count or to remove them. `SCAN` goes through all keys of the server in
//! small steps between which other clients are served; `KEYS` would block them.

use redis::{RedisResult, cmd};

use super::{
    connection::{BACKGROUND_TIMEOUT, Connection, Node, with_timeout},
    format::{entry_type_of, pattern},
};
use crate::{
    cache::{memory::types_of, store::EntryType},
    types::PerType,
};

/// Keys looked at in one step: well under a millisecond of the server's time.
const SCAN_COUNT: usize = 1_000;
/// Entries of each kind whose size is asked for; the others are taken to be like them.
const SAMPLE_LIMIT: u64 = 64;

/// Counts of our entries in Redis.
#[derive(Clone, Copy, Default)]
pub(super) struct KeyspaceStats {
    pub(super) entries: PerType<u64>,
    /// Bytes they take in Redis, their names and its own book-keeping included (`MEMORY USAGE`);
    /// estimated from a sample when there are many.
    pub(super) bytes: u64,
}

/// Removes all entries of one kind, or of all kinds, and gives how many there were.
pub(super) async fn remove(connection: &mut Connection, entry_type: Option<EntryType>) -> RedisResult<u64> {
    let mut removed = 0;
    for entry_type in types_of(entry_type) {
        for node in connection.nodes().await? {
            let mut walk = Walk::new(node, Some(entry_type));
            while let Some(names) = walk.step(connection).await? {
                if names.is_empty() {
                    continue;
                }
                // Unlike DEL, it leaves the freeing of memory to another thread of the server.
                let mut unlink = cmd("UNLINK");
                unlink.arg(names);
                removed += with_timeout(BACKGROUND_TIMEOUT, connection.run::<u64>(&unlink)).await?;
            }
        }
    }
    Ok(removed)
}

/// Counts all entries of ours. A key that moves while Redis grows its table may be counted twice.
pub(super) async fn count(connection: &mut Connection) -> RedisResult<KeyspaceStats> {
    let mut entries = PerType::<u64>::default();
    let mut samples = PerType::<Sample>::default();
    for node in connection.nodes().await? {
        let mut walk = Walk::new(node, None);
        while let Some(names) = walk.step(connection).await? {
            for name in names {
                let Some(entry_type) = entry_type_of(&name) else { continue };
                entries[entry_type] += 1;
                samples[entry_type].take(connection, &name).await?;
            }
        }
    }
    let bytes = samples.iter().map(|(entry_type, sample)| sample.scaled_to(entries[entry_type])).sum();
    Ok(KeyspaceStats { entries, bytes })
}

/// The sizes of a few entries that stand for all of their kind.
#[derive(Clone, Copy, Default)]
struct Sample {
    taken: u64,
    bytes: u64,
}

impl Sample {
    async fn take(&mut self, connection: &mut Connection, name: &[u8]) -> RedisResult<()> {
        if self.taken == SAMPLE_LIMIT {
            return Ok(());
        }
        let mut usage = cmd("MEMORY");
        usage.arg("USAGE").arg(name);
        // None: it has gone since it was found.
        if let Some(bytes) = with_timeout(BACKGROUND_TIMEOUT, connection.run::<Option<u64>>(&usage)).await? {
            self.taken += 1;
            self.bytes += bytes;
        }
        Ok(())
    }

    fn scaled_to(&self, entries: u64) -> u64 {
        (self.bytes * entries).checked_div(self.taken).unwrap_or_default()
    }
}

/// A walk over one server's keys.
struct Walk {
    node: Node,
    pattern: String,
    /// Where the server goes on; none when it has said that this was all.
    cursor: Option<u64>,
}

impl Walk {
    fn new(node: Node, entry_type: Option<EntryType>) -> Self {
        Self { node, pattern: pattern(entry_type), cursor: Some(0) }
    }

    /// The next names, often none; nothing at the end.
    async fn step(&mut self, connection: &mut Connection) -> RedisResult<Option<Vec<Vec<u8>>>> {
        let Some(cursor) = self.cursor else { return Ok(None) };
        let mut scan = cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(&self.pattern).arg("COUNT").arg(SCAN_COUNT);
        let (next, names): (u64, Vec<Vec<u8>>) =
            with_timeout(BACKGROUND_TIMEOUT, connection.run_on(&self.node, scan)).await?;
        self.cursor = (next != 0).then_some(next);
        Ok(Some(names))
    }
}
