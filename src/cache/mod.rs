//! Answers that are already known. This page is the whole policy: what is cached and for how long, which
//! requests may read it, and which requests join. The stores only move bytes, and none of their failures is
//! more than a miss.
//!
//! A reply is kept when it is complete and sound, whichever way it was asked for, and read back as
//! JSON or as a stream, whichever is asked for then. Identical requests that run at the same time
//! are asked once: later ones join the running one and read it from its beginning.

mod disabled;
mod embedding;
mod entry;
mod in_flight;
mod key;
mod memory;
mod redis;
mod sqlite;
mod store;

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use clap::Args;
use futures_util::{Stream, StreamExt, stream};

pub use self::{
    embedding::Embedded,
    key::{KeyScope, embed_fingerprint, fingerprint},
    redis::Redis,
    store::{CacheEntry, CacheKey, CacheStats, EntryType, Store},
};
use self::{
    embedding::Running,
    in_flight::{InFlight, Reader},
};
use crate::{
    error::{Error, Kind, Result},
    telemetry::metrics::Metrics,
    types::{CacheStatus, ChatEvent, ChatRequest},
    value_parser::{seconds, switch, whole, word},
};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Cache")]
#[group(skip)]
pub struct Settings {
    /// Whether to cache answers, and to run identical simultaneous requests only once
    #[arg(long, env = "CACHE_ENABLED", default_value = "true", action = clap::ArgAction::Set, value_parser = switch)]
    pub cache_enabled: bool,
    /// Seconds to keep answers about images
    #[arg(long, env = "CACHE_TTL", default_value = "3600", value_parser = seconds(0..=31_536_000))]
    pub cache_ttl: u64,
    /// Seconds to keep embeddings
    #[arg(long, env = "CACHE_EMBEDDING_TTL", default_value = "86400", value_parser = seconds(0..=31_536_000))]
    pub cache_embedding_ttl: u64,
    /// Seconds to keep generated text
    #[arg(long, env = "CACHE_INFERENCE_TTL", default_value = "3600", value_parser = seconds(0..=31_536_000))]
    pub cache_inference_ttl: u64,
    /// Whether API keys share cache entries (shared) or each has its own (key). With shared, response times can reveal what others have asked
    #[arg(long, env = "CACHE_SCOPE", default_value = "shared", value_parser = word(Scope::WORDS))]
    pub cache_scope: Scope,
    /// Whether sampled answers (a temperature above 0 and no seed) are cached: only those of the native API (native), also those of the other APIs (all), or none. Clients of the other APIs that repeat a request usually expect another answer
    #[arg(long, env = "CACHE_SAMPLED", default_value = "native", value_parser = word(CacheSampled::WORDS))]
    pub cache_sampled: CacheSampled,
    /// Megabytes of memory for frequently used cache entries
    #[arg(long, env = "CACHE_MAX_MEMORY_MB", default_value = "64", value_parser = whole(1..=1_048_576_u64))]
    pub cache_max_memory_mb: u64,
    /// Megabytes of disk space for all cache entries
    #[arg(long, env = "CACHE_MAX_DISK_MB", default_value = "1024", value_parser = whole(1..=16_777_216_u64))]
    pub cache_max_disk_mb: u64,
    /// URL of a Redis or Valkey server to keep cache entries in instead of the data directory, such as redis://localhost:6379
    #[arg(long, env = "REDIS_URL", value_name = "URL", value_parser = redis::redis_url)]
    pub redis_url: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Shared,
    Key,
}

impl Scope {
    const WORDS: &'static [(&'static str, Self)] = &[("shared", Self::Shared), ("key", Self::Key)];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheSampled {
    Native,
    All,
    None,
}

impl CacheSampled {
    const WORDS: &'static [(&'static str, Self)] =
        &[("native", Self::Native), ("all", Self::All), ("none", Self::None)];
}

/// `Cache-Control` of a request (RFC 9111, "5.2.1 Request Directives").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CacheControl {
    /// Do not answer from the cache, but keep the new answer.
    pub no_cache: bool,
    /// Neither answer from the cache nor keep the answer.
    pub no_store: bool,
    /// Answer from the cache only with what is at most this old.
    pub max_age: Option<Duration>,
}

impl CacheControl {
    /// Whether it is the caller's wish when a model is asked.
    fn asks_for_new(&self) -> bool {
        self.no_cache || self.max_age.is_some()
    }
}

/// A log of events, read as it grows or all at once.
pub type Events = std::pin::Pin<Box<dyn Stream<Item = Result<ChatEvent>> + Send>>;

pub struct Cache {
    settings: Settings,
    shared: Arc<Shared>,
}

/// Cache key and required freshness of a request in flight.
type InFlightKey = (CacheKey, CacheControl);

struct Shared {
    store: Box<dyn Store>,
    metrics: Arc<Metrics>,
    /// Replies that are being made. Only identical requests with the same `Cache-Control` share one: it may still
    /// find an entry on disk that is too old for another.
    in_flight: Mutex<HashMap<InFlightKey, Arc<InFlight<CacheStatus>>>>,
    /// Embeddings that are being made.
    running: Mutex<HashMap<embedding::RunningKey, Running>>,
}

impl Cache {
    /// Opens the store that the settings ask for. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// `Setup` when the data folder cannot hold the store or the Redis URL is none.
    pub async fn open(settings: Settings, data_dir: &Path, metrics: Arc<Metrics>) -> Result<Self> {
        let memory = settings.cache_max_memory_mb * 1024 * 1024;
        let store: Box<dyn Store> = match &settings.redis_url {
            _ if !settings.cache_enabled => Box::new(disabled::Disabled),
            Some(url) => Box::new(Redis::open(url, memory)?),
            None => {
                let disk = settings.cache_max_disk_mb * 1024 * 1024;
                Box::new(sqlite::Sqlite::open(&data_dir.join("cache"), memory, disk).await?)
            }
        };
        let shared = Shared { store, metrics, in_flight: Mutex::default(), running: Mutex::default() };
        Ok(Self { settings, shared: Arc::new(shared) })
    }

    pub fn is_enabled(&self) -> bool {
        self.settings.cache_enabled
    }

    /// `embedded` or `redis`.
    pub fn store_name(&self) -> &'static str {
        self.shared.store.name()
    }

    pub async fn stats(&self) -> CacheStats {
        self.shared.store.stats().await
    }

    /// Removes all entries of one kind, or all of ours.
    ///
    /// # Errors
    /// `Unavailable` when it cannot be said that they are gone.
    pub async fn clear(&self, entry_type: Option<EntryType>) -> Result<u64> {
        // A task of its own: a clear has to finish even when its caller leaves.
        let shared = Arc::clone(&self.shared);
        let clear = tokio::spawn(async move { shared.store.clear(entry_type).await });
        clear.await.map_err(|source| {
            Error::new(Kind::Internal, "Clearing the cache was not completed.").with_source(source)
        })?
    }

    pub async fn stop(&self) {
        self.shared.store.stop().await;
    }

    /// The key of a request, unless it is not to be cached: the cache is off, it is not known which weights will
    /// answer, or the answer is sampled and its API does not cache those.
    pub fn chat_key(
        &self,
        request: &ChatRequest,
        is_native: bool,
        origin: Option<KeyScope<'_>>,
    ) -> Option<CacheKey> {
        let is_kept = match self.settings.cache_sampled {
            CacheSampled::All => true,
            CacheSampled::Native => is_native || !request.sampling.is_random(),
            CacheSampled::None => !request.sampling.is_random(),
        };
        let origin = self.scoped(origin?);
        (self.settings.cache_enabled && is_kept).then(|| key::chat(request, origin))
    }

    /// Returns a reply: cached, in flight, or made now by `generate`, which is called at most once. A complete
    /// reply is cached; generation is cancelled when no reader is left.
    ///
    /// # Errors
    /// Those of `generate`, for each request that waits for it.
    pub async fn chat<F>(
        &self,
        key: Option<CacheKey>,
        cache_control: CacheControl,
        generate: impl FnOnce() -> F + Send + 'static,
    ) -> Result<(Events, CacheStatus)>
    where
        F: Future<Output = Result<Events>> + Send + 'static,
    {
        let Some(key) = key.filter(|_| !cache_control.no_store) else {
            return Ok((generate().await?, CacheStatus::Bypass));
        };
        if let Some((events, cache_status)) =
            self.shared.store.get_now(&key).and_then(|entry| replay(&entry, cache_control))
        {
            self.shared.metrics.cache.hit(key.entry_type);
            return Ok((Box::pin(stream::iter(events.into_iter().map(Ok))), cache_status));
        }
        let (reader, leads) = self.join_or_start(key, cache_control, generate);
        let cache_status = match reader.source().await? {
            cache_status @ CacheStatus::Hit { .. } => cache_status,
            cache_status if leads => cache_status,
            _ => CacheStatus::Collapsed,
        };
        match cache_status {
            CacheStatus::Hit { .. } => self.shared.metrics.cache.hit(key.entry_type),
            CacheStatus::Collapsed => self.shared.metrics.cache.collapsed(key.entry_type),
            _ => self.shared.metrics.cache.missed(key.entry_type),
        }
        Ok((Box::pin(reader), cache_status))
    }

    /// Joins the reply in flight for this key, or starts one; whether it was started is returned with it.
    fn join_or_start<F>(
        &self,
        key: CacheKey,
        cache_control: CacheControl,
        generate: impl FnOnce() -> F + Send + 'static,
    ) -> (Reader<CacheStatus>, bool)
    where
        F: Future<Output = Result<Events>> + Send + 'static,
    {
        let mut in_flight = self.shared.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        let in_flight_key = (key, cache_control);
        if let Some(reader) = in_flight.get(&in_flight_key).and_then(InFlight::join) {
            return (reader, false);
        }
        let (reply, reader) = InFlight::new();
        in_flight.insert(in_flight_key, Arc::clone(&reply));
        let guard = InFlightGuard { shared: Arc::clone(&self.shared), in_flight_key, reply };
        let ttl = self.ttl(key.entry_type);
        tokio::spawn(async move {
            let reply = Arc::clone(&guard.reply);
            tokio::select! {
                biased;
                () = reply.abandoned() => {}
                end = run_in_flight(&guard, ttl, generate) => reply.end(end),
            }
        });
        (reader, true)
    }

    fn ttl(&self, entry_type: EntryType) -> Duration {
        Duration::from_secs(match entry_type {
            EntryType::Embedding => self.settings.cache_embedding_ttl,
            EntryType::Inference | EntryType::Chat => self.settings.cache_inference_ttl,
            EntryType::Vision => self.settings.cache_ttl,
        })
    }

    fn scoped<'a>(&self, origin: KeyScope<'a>) -> KeyScope<'a> {
        match self.settings.cache_scope {
            Scope::Shared => KeyScope { owner: None, ..origin },
            Scope::Key => origin,
        }
    }
}

/// Looks in the store once more, as far as the disk or the network now, and else makes the reply.
async fn run_in_flight<F>(guard: &InFlightGuard, ttl: Duration, generate: impl FnOnce() -> F) -> Result<()>
where
    F: Future<Output = Result<Events>>,
{
    let InFlightGuard { shared, in_flight_key: (key, cache_control), reply } = guard;
    if !cache_control.no_cache
        && let Some(Some(entry)) = shared.store.get(&[*key]).await.into_iter().next()
        && let Some((events, cache_status)) = replay(&entry, *cache_control)
    {
        reply.begin(cache_status);
        events.into_iter().for_each(|event| reply.push(event));
        return Ok(());
    }
    let mut events = generate().await?;
    let stored = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stored);
    reply.begin(if cache_control.asks_for_new() {
        CacheStatus::Refreshed { stored }
    } else {
        CacheStatus::Miss { stored }
    });
    while let Some(event) = events.next().await {
        let event = event?;
        if !matches!(event, ChatEvent::Done(_)) {
            reply.push(event);
            continue;
        }
        let mut log = reply.events();
        log.push(event.clone());
        // Before the end is published, so that the next request finds it.
        if let Some(value) = entry::from_events(log).filter(|_| !ttl.is_zero()) {
            keep(shared, *key, value, ttl);
            flag.store(true, Relaxed);
        }
        reply.push(event);
        return Ok(());
    }
    Err(Error::new(Kind::BadGateway, "The backend ended its response before it was complete."))
}

fn keep(shared: &Shared, key: CacheKey, value: Bytes, ttl: Duration) {
    shared.store.put(key, value, ttl);
    shared.metrics.cache.stored(key.entry_type);
}

/// The events of an entry that may be used.
fn replay(entry: &CacheEntry, cache_control: CacheControl) -> Option<(Vec<ChatEvent>, CacheStatus)> {
    let cache_status = fresh(entry, cache_control)?;
    Some((entry::to_events(&entry.value)?, cache_status))
}

/// Whether an entry is fresh enough for this caller.
fn fresh(entry: &CacheEntry, cache_control: CacheControl) -> Option<CacheStatus> {
    let now = SystemTime::now();
    let ttl = entry.expires_at.duration_since(now).ok()?;
    // A clock that was put back makes an entry no younger than new.
    let age = now.duration_since(entry.stored_at).unwrap_or_default();
    let too_old = cache_control.max_age.is_some_and(|max_age| age > max_age);
    (!cache_control.no_cache && !too_old).then_some(CacheStatus::Hit { age, ttl })
}

/// Removes a reply in flight when it has ended, however it did.
struct InFlightGuard {
    shared: Arc<Shared>,
    in_flight_key: InFlightKey,
    reply: Arc<InFlight<CacheStatus>>,
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.reply.end_if_open(|| Error::new(Kind::Internal, "The response was not completed."));
        let mut in_flight = self.shared.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        if in_flight.get(&self.in_flight_key).is_some_and(|reply| Arc::ptr_eq(reply, &self.reply)) {
            in_flight.remove(&self.in_flight_key);
        }
    }
}
