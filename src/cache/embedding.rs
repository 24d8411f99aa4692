//! Embeddings, cached one by one: of a batch, only texts that are neither cached nor already in flight go to
//! the model, each once, in one call.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, Weak, atomic::AtomicBool},
    time::{Duration, SystemTime},
};

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Cache, CacheControl, CacheKey, KeyScope, Shared,
    entry::{self, Embedding},
    fresh, keep, key,
};
use crate::{
    error::{Error, Kind, Result},
    types::{CacheStatus, EmbedReply, EmbedRequest},
};

type Vector = Arc<[f32]>;

/// An embedding that is being made; `None` until it is there.
type Promise = watch::Receiver<Option<Result<Embedding>>>;

/// A text being embedded, and whether it may be cut: only those who agree on this can share a call.
pub(super) type RunningKey = (CacheKey, bool);

/// Held by each request that waits for a call to the model; the call is cancelled when the last one leaves.
type Interest = DropGuard;

/// Embedding call in flight, which other requests may join.
pub(super) struct Running {
    promise: Promise,
    interest: Weak<Interest>,
}

/// Vectors in the order of the texts, with what the call to the model said when there was one.
pub struct Embedded {
    pub vectors: Vec<Vector>,
    /// The places of the texts that were cut to what the model takes.
    pub truncated: Vec<usize>,
    pub call: Option<EmbedReply>,
    pub cache_status: CacheStatus,
}

/// A text that this request asks for, and the requests that wait for its vector.
struct Claim {
    key: CacheKey,
    truncate: bool,
    text: String,
    /// Where it stands first among the caller's texts.
    index: usize,
    waiting: watch::Sender<Option<Result<Embedding>>>,
}

/// Texts to embed, and texts that another call is embedding already.
#[derive(Default)]
struct Missing {
    ask: Vec<Claim>,
    wait: Vec<Wait>,
}

/// A text whose vector is being made.
struct Wait {
    key: CacheKey,
    /// Its first place among the caller's texts.
    index: usize,
    promise: Promise,
    _interest: Arc<Interest>,
}

impl Cache {
    /// The embeddings of a request's texts, those that are not known by one call of `ask`, which must answer
    /// with one vector for each text it gets.
    ///
    /// # Errors
    /// Those of `ask`, with the texts' places among the request's. Other requests that wait for one of its
    /// texts get `Unavailable` when it was refused because of another text.
    pub async fn embed<F>(
        &self,
        request: EmbedRequest,
        origin: Option<KeyScope<'_>>,
        cache_control: CacheControl,
        ask: impl FnOnce(Vec<String>) -> F + Send + 'static,
    ) -> Result<Embedded>
    where
        F: Future<Output = Result<EmbedReply>> + Send + 'static,
    {
        // How long the model stays loaded changes nothing in what it says.
        let EmbedRequest { model, input: texts, truncate, keep_alive: _ } = request;
        let Some(origin) = origin.filter(|_| self.settings.cache_enabled && !cache_control.no_store) else {
            let mut reply = ask(texts).await?;
            let vectors = std::mem::take(&mut reply.embeddings).into_iter().map(Vector::from).collect();
            let truncated = std::mem::take(&mut reply.truncated);
            return Ok(Embedded { vectors, truncated, call: Some(reply), cache_status: CacheStatus::Bypass });
        };
        let origin = self.scoped(origin);
        let keys: Vec<CacheKey> = texts.iter().map(|text| key::embedding(&model, text, origin)).collect();
        let mut unique: HashMap<CacheKey, (usize, String)> = HashMap::with_capacity(keys.len());
        for (key, text) in keys.iter().zip(texts.into_iter().enumerate()) {
            unique.entry(*key).or_insert(text);
        }
        let (mut known, oldest) = self.known(&mut unique, truncate, cache_control).await;
        let hits = known.len();
        let abandoned = CancellationToken::new();
        let missing = self.claim(unique, truncate, &abandoned);
        let counts = (hits, missing.ask.len(), missing.wait.len());
        self.count(counts);
        let call = self.make(missing, abandoned, ask, &mut known).await?;
        let stored = Arc::new(AtomicBool::new(!self.ttl(super::EntryType::Embedding).is_zero()));
        let cache_status = match counts {
            (_, 0, 0) => oldest.unwrap_or(CacheStatus::Bypass),
            (0, 0, _) => CacheStatus::Collapsed,
            (0, _, _) if cache_control.asks_for_new() => CacheStatus::Refreshed { stored },
            (0, _, _) => CacheStatus::Miss { stored },
            _ => CacheStatus::Partial,
        };
        let known: Vec<&Embedding> = keys.iter().filter_map(|key| known.get(key)).collect();
        let truncated = known.iter().enumerate().filter(|(_, it)| it.truncated).map(|(n, _)| n).collect();
        let vectors = known.iter().map(|it| Arc::clone(&it.vector)).collect();
        Ok(Embedded { vectors, truncated, call, cache_status })
    }

    /// Takes out of `wanted` what the store has; vectors of cut texts only if `truncate` allows them. With the entry
    /// that expires first.
    async fn known(
        &self,
        wanted: &mut HashMap<CacheKey, (usize, String)>,
        truncate: bool,
        cache_control: CacheControl,
    ) -> (HashMap<CacheKey, Embedding>, Option<CacheStatus>) {
        let mut known = HashMap::new();
        if cache_control.no_cache {
            return (known, None);
        }
        let keys: Vec<CacheKey> = wanted.keys().copied().collect();
        let mut first: Option<(SystemTime, CacheStatus)> = None;
        for (key, entry) in keys.iter().zip(self.shared.store.get(&keys).await) {
            let Some(entry) = entry else { continue };
            if let (Some(cache_status), Some(embedding)) =
                (fresh(&entry, cache_control), entry::to_embedding(&entry.value))
                && (truncate || !embedding.truncated)
            {
                if first.as_ref().is_none_or(|(expires_at, _)| entry.expires_at < *expires_at) {
                    first = Some((entry.expires_at, cache_status));
                }
                wanted.remove(key);
                known.insert(*key, embedding);
            }
        }
        (known, first.map(|(_, cache_status)| cache_status))
    }

    /// Divides the missing texts into those already in flight and those that this request asks for.
    fn claim(
        &self,
        wanted: HashMap<CacheKey, (usize, String)>,
        truncate: bool,
        abandoned: &CancellationToken,
    ) -> Missing {
        let mut missing = Missing::default();
        let ours = Arc::new(abandoned.clone().drop_guard());
        let mut running = self.shared.running.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, (index, text)) in wanted {
            // A call without waiting requests is being cancelled.
            let joined =
                running.get(&(key, truncate)).and_then(|other| Some((other, other.interest.upgrade()?)));
            let (promise, interest) = match joined {
                Some((other, interest)) => (other.promise.clone(), interest),
                None => {
                    let (waiting, promise) = watch::channel(None);
                    let interest = Arc::downgrade(&ours);
                    running.insert((key, truncate), Running { promise: promise.clone(), interest });
                    missing.ask.push(Claim { key, truncate, text, index, waiting });
                    (promise, Arc::clone(&ours))
                }
            };
            missing.wait.push(Wait { key, index, promise, _interest: interest });
        }
        // In the caller's order, which is that of what is said about them.
        missing.ask.sort_unstable_by_key(|claim| claim.index);
        missing
    }

    fn count(&self, (hits, asked, waited): (usize, usize, usize)) {
        let (cache, entry_type) = (&self.shared.metrics.cache, super::EntryType::Embedding);
        (0..hits).for_each(|_| cache.hit(entry_type));
        (0..asked).for_each(|_| cache.missed(entry_type));
        (0..waited - asked).for_each(|_| cache.collapsed(entry_type));
    }

    async fn make<F>(
        &self,
        Missing { ask: claims, wait }: Missing,
        abandoned: CancellationToken,
        ask: impl FnOnce(Vec<String>) -> F + Send + 'static,
        known: &mut HashMap<CacheKey, Embedding>,
    ) -> Result<Option<EmbedReply>>
    where
        F: Future<Output = Result<EmbedReply>> + Send + 'static,
    {
        let call = (!claims.is_empty()).then(|| {
            let (shared, ttl) = (Arc::clone(&self.shared), self.ttl(super::EntryType::Embedding));
            let texts = claims.iter().map(|claim| claim.text.clone()).collect();
            // A task of its own: other requests may be waiting for it when our caller leaves.
            tokio::spawn(async move {
                let claims = Claims { shared, claims };
                tokio::select! {
                    biased;
                    () = abandoned.cancelled() => Err(lost()),
                    reply = ask(texts) => claims.settle(reply, ttl),
                }
            })
        });
        let reply = match call {
            None => None,
            Some(call) => Some(call.await.map_err(|source| lost().with_source(source))??),
        };
        for Wait { key, index, mut promise, _interest } in wait {
            let embedding = promise.wait_for(Option::is_some).await.map_err(|_| lost())?.clone();
            let embedding = embedding.unwrap_or_else(|| Err(lost()));
            known.insert(key, embedding.map_err(|error| error.at(|_| format!("/input/{index}")))?);
        }
        Ok(reply)
    }
}

/// Claims on texts being embedded, released however the call ends.
struct Claims {
    shared: Arc<Shared>,
    claims: Vec<Claim>,
}

impl Claims {
    /// Completes the waiting requests, stores the new vectors, and returns the rest of the reply.
    fn settle(&self, reply: Result<EmbedReply>, ttl: Duration) -> Result<EmbedReply> {
        match reply {
            Ok(mut reply) => {
                let vectors = std::mem::take(&mut reply.embeddings);
                for (n, (Claim { key, waiting, .. }, vector)) in self.claims.iter().zip(vectors).enumerate() {
                    let truncated = reply.truncated.contains(&n);
                    let embedding = Embedding { vector: vector.into(), truncated };
                    if !ttl.is_zero() {
                        keep(&self.shared, *key, entry::from_embedding(&embedding), ttl);
                    }
                    waiting.send_replace(Some(Ok(embedding)));
                }
                Ok(reply)
            }
            Err(error) => {
                for (n, claim) in self.claims.iter().enumerate() {
                    claim.waiting.send_replace(Some(Err(for_others(&error, n))));
                }
                Err(error.at(|pointer| self.place(pointer)))
            }
        }
    }

    /// Where the caller has the text that the model got at `/input/N`.
    fn place(&self, pointer: &str) -> String {
        let asked = pointer.strip_prefix("/input/").and_then(|n| self.claims.get(n.parse::<usize>().ok()?));
        asked.map_or_else(|| pointer.to_owned(), |claim| format!("/input/{}", claim.index))
    }
}

fn lost() -> Error {
    Error::new(Kind::Internal, "The embedding was not completed.")
}

/// Returns the error for requests that wait for the text the model got at `/input/{n}`: of a refusal only what
/// is about this text.
fn for_others(error: &Error, n: usize) -> Error {
    if error.kind() != Kind::Invalid {
        return error.clone();
    }
    let about_it = error.clone().only(&format!("/input/{n}"));
    if !about_it.field_errors().is_empty() {
        return about_it;
    }
    let message = "The text was being embedded together with another request, which was refused; try again.";
    Error::new(Kind::Unavailable, message).retry_after(Duration::from_secs(1)).with_source(error.clone())
}

impl Drop for Claims {
    fn drop(&mut self) {
        let mut running = self.shared.running.lock().unwrap_or_else(PoisonError::into_inner);
        for Claim { key, truncate, waiting, .. } in &self.claims {
            let key = (*key, *truncate);
            // After all waiting requests had left, a later one may have promised the same text.
            if running.get(&key).is_some_and(|known| known.promise.same_channel(&waiting.subscribe())) {
                running.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};
    use tokio::sync::oneshot;

    use super::*;
    use crate::{
        cache::Settings,
        telemetry::metrics::{Gauges, Metrics, TextFormat},
    };

    async fn cache(folder: &std::path::Path) -> Cache {
        let command = Settings::augment_args(clap::Command::new("test"));
        let settings = Settings::from_arg_matches(&command.get_matches_from(["test"])).expect("defaults");
        Cache::open(settings, folder, Arc::new(Metrics::new(&[]))).await.expect("a cache")
    }

    fn request(texts: &[&str]) -> EmbedRequest {
        let input = texts.iter().map(|text| (*text).to_owned()).collect();
        EmbedRequest { model: "m".to_owned(), input, truncate: false, keep_alive: None }
    }

    const ORIGIN: Option<KeyScope<'_>> =
        Some(KeyScope { backend: "embedded", digest: "d", context: None, owner: None });

    #[tokio::test]
    async fn a_refusal_names_the_text_to_its_caller_and_no_text_to_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = cache(folder.path()).await;
        let known = async |input: Vec<String>| {
            let embeddings = input.iter().map(|_| vec![0.5]).collect();
            Ok(EmbedReply { embeddings, ..EmbedReply::default() })
        };
        let cache_control = CacheControl::default;
        cache.embed(request(&["known"]), ORIGIN, cache_control(), known).await.expect("a vector");
        let (go, gone) = oneshot::channel::<()>();
        let (asks, asked) = oneshot::channel();
        let refuse = async |input: Vec<String>| {
            asks.send(()).expect("somebody waits");
            gone.await.expect("a word");
            let index = input.iter().position(|text| text == "long").expect("it is asked for");
            Err(Error::field(format!("/input/{index}"), "is too long"))
        };
        let own = cache.embed(request(&["b", "known", "b", "long", "a"]), ORIGIN, cache_control(), refuse);
        let other = async {
            asked.await.expect("a call");
            let other = cache.embed(request(&["a"]), ORIGIN, cache_control(), known);
            let alike = cache.embed(request(&["known", "long"]), ORIGIN, cache_control(), known);
            let joined = async {
                let sample = "simpleton_cache_collapsed_total{cache_type=\"embedding\"} 2";
                let metrics = &cache.shared.metrics;
                while !metrics.render(TextFormat::Prometheus, &Gauges::default()).contains(sample) {
                    tokio::task::yield_now().await;
                }
                go.send(()).expect("it waits");
            };
            tokio::join!(other, alike, joined)
        };
        let (own, (other, alike, ())) = tokio::join!(own, other);
        let own = own.err().expect("a refusal");
        assert_eq!(own.field_errors()[0].pointer, "/input/3");
        assert_eq!(alike.err().expect("a refusal").field_errors()[0].pointer, "/input/1");
        assert_eq!(other.err().expect("nothing").kind(), Kind::Unavailable);
        cache.embed(request(&["a"]), ORIGIN, cache_control(), known).await.expect("a vector");
    }

    #[tokio::test]
    async fn the_last_one_to_leave_stops_the_call() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = cache(folder.path()).await;
        let (asks, mut asked) = oneshot::channel::<()>();
        let endless = async move |_: Vec<String>| {
            let _asks = asks;
            std::future::pending().await
        };
        let never = async |_: Vec<String>| unreachable!("it is being made");
        let mut first = Box::pin(cache.embed(request(&["a"]), ORIGIN, CacheControl::default(), endless));
        assert!(futures_util::poll!(&mut first).is_pending());
        let mut second = Box::pin(cache.embed(request(&["a"]), ORIGIN, CacheControl::default(), never));
        while !cache.shared.running.lock().expect("a board").values().any(|it| it.interest.strong_count() > 1)
        {
            assert!(
                futures_util::poll!(&mut first).is_pending() && futures_util::poll!(&mut second).is_pending()
            );
            tokio::task::yield_now().await;
        }
        drop(first);
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(asked.try_recv() == Err(oneshot::error::TryRecvError::Empty), "the second still waits");
        drop(second);
        asked.await.expect_err("the call was dropped");
        let known =
            async |_: Vec<String>| Ok(EmbedReply { embeddings: vec![vec![0.5]], ..EmbedReply::default() });
        cache.embed(request(&["a"]), ORIGIN, CacheControl::default(), known).await.expect("a vector");
        assert!(cache.shared.running.lock().expect("a board").is_empty());
    }
}
