//! The models of one backend, as it listed them last.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use tokio::time::timeout;

use crate::{
    backend::Backend,
    error::{Error, Kind, Result},
    types::Model,
};

/// Age from which the list is fetched again in the background.
const REFRESH_AFTER: Duration = Duration::from_secs(5);
/// Age from which a request waits for a new list, since a model may have been replaced and its digest
/// is part of the cache key.
const STALE_AFTER: Duration = Duration::from_secs(30);
/// Maximum age when a name is not on it: the model may just have been installed.
pub(super) const JUST_FETCHED: Duration = Duration::from_secs(1);

/// Timeout for fetching the list, which may hold a request up.
const LIST_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct Listing {
    pub(super) backend: Arc<dyn Backend>,
    listed: Arc<RwLock<Option<Listed>>>,
    /// Held while the list is fetched, so that one fetch serves all requests.
    fetching: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Clone)]
struct Listed {
    at: Instant,
    /// A failure is remembered, too, so that requests do not wait again at once for a backend that does not
    /// answer.
    models: Result<Arc<[Model]>>,
}

impl Listing {
    pub(super) fn new(backend: Arc<dyn Backend>) -> Self {
        Self { backend, listed: Arc::default(), fetching: Arc::default() }
    }

    /// Models at the last listing.
    pub(super) fn known(&self) -> Option<Result<Arc<[Model]>>> {
        self.listed().map(|listed| listed.models)
    }

    /// The list, fetched behind the scenes when it is no longer fresh.
    pub(super) async fn recent(&self) -> Result<Arc<[Model]>> {
        let Some(listed) = self.listed() else { return self.at_most(REFRESH_AFTER).await };
        let fresh = if listed.models.is_ok() { REFRESH_AFTER } else { JUST_FETCHED };
        let age = listed.at.elapsed();
        if age > STALE_AFTER {
            let fetched = self.at_most(REFRESH_AFTER).await;
            return fetched.or_else(|error| self.listed().map_or(Err(error), |listed| listed.models));
        }
        if age > fresh
            && let Ok(guard) = Arc::clone(&self.fetching).try_lock_owned()
        {
            let (backend, slot) = (Arc::clone(&self.backend), Arc::clone(&self.listed));
            tokio::spawn(async move {
                let _guard = guard;
                fetch(&*backend, &slot).await
            });
        }
        listed.models
    }

    pub(super) async fn at_most(&self, age: Duration) -> Result<Arc<[Model]>> {
        let asked = Instant::now();
        let _guard = self.fetching.lock().await;
        match self.listed() {
            Some(listed) if listed.at >= asked || listed.at.elapsed() < age => listed.models,
            _ => fetch(&*self.backend, &self.listed).await,
        }
    }

    fn listed(&self) -> Option<Listed> {
        self.listed.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn fetch(backend: &dyn Backend, slot: &RwLock<Option<Listed>>) -> Result<Arc<[Model]>> {
    let fetched = match timeout(LIST_TIMEOUT, backend.models()).await {
        Ok(models) => models.map(Arc::from),
        Err(_) => Err(Error::new(
            Kind::GatewayTimeout,
            "The backend did not list its models in time; try again later.",
        )),
    };
    let mut slot = slot.write().unwrap_or_else(PoisonError::into_inner);
    // An old list is better than none: it only decides defaults and what the cache takes for the same.
    let models = match (&fetched, slot.take()) {
        (Err(_), Some(Listed { models: Ok(old), .. })) => Ok(old),
        _ => fetched.clone(),
    };
    *slot = Some(Listed { at: Instant::now(), models });
    fetched
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::catalog::testing::{Fake, model};

    #[tokio::test]
    async fn a_list_that_is_old_is_waited_for() {
        for (age, digest) in
            [(REFRESH_AFTER / 2, "old"), (REFRESH_AFTER * 2, "old"), (STALE_AFTER * 2, "new")]
        {
            let listing = Listing::new(Fake::backend(
                "fake",
                [Model { digest: "new".to_owned(), ..model("m", 1, &[]) }],
            ));
            let old = Model { digest: "old".to_owned(), ..model("m", 1, &[]) };
            let at = Instant::now().checked_sub(age).expect("the machine has been up for a minute");
            *listing.listed.write().expect("a slot") = Some(Listed { at, models: Ok([old].into()) });
            assert_eq!(listing.recent().await.expect("a list")[0].digest, digest, "{age:?}");
        }
    }
}
