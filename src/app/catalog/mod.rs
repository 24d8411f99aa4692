//! From the name in a request (or its absence) to a model that can do the job.

mod listing;
#[cfg(test)]
mod testing;

use std::{sync::Arc, time::Duration};

use clap::Args;
use futures_util::future::join_all;

use self::listing::{JUST_FETCHED, Listing};
use crate::{
    backend::{Backend, Profile},
    cache::KeyScope,
    error::{Error, Kind, Result},
    types::{Capability, Model, ModelDefaults, ModelName, Principal},
};

#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Default models")]
#[group(skip)]
pub struct Settings {
    /// Model for text when a request names none. Defaults to qwen2.5:7b with Ollama, and otherwise to the largest installed model
    #[arg(long, env = "DEFAULT_INFERENCE_MODEL", value_name = "MODEL", value_parser = model_name)]
    pub default_inference_model: Option<ModelName>,
    /// Model for embeddings when a request names none. Defaults to nomic-embed-text with Ollama, and otherwise to the best installed model
    #[arg(long, env = "DEFAULT_EMBEDDING_MODEL", value_name = "MODEL", value_parser = model_name)]
    pub default_embedding_model: Option<ModelName>,
    /// Model for images when a request names none. Defaults to llava with Ollama, and otherwise to the largest installed model that sees images
    #[arg(long, env = "DEFAULT_VISION_MODEL", value_name = "MODEL", value_parser = model_name)]
    pub default_vision_model: Option<ModelName>,
}

impl Settings {
    /// The model that answers when a request names none; none when the best installed one does.
    pub(super) fn preferred(&self, backend: &Profile, needed: Capability) -> Option<String> {
        self.named(needed).or_else(|| (backend.default_model)(needed).map(str::to_owned))
    }

    /// The model that a setting names.
    pub(super) fn named(&self, needed: Capability) -> Option<String> {
        let named = match needed {
            Capability::Embedding => &self.default_embedding_model,
            Capability::Vision => &self.default_vision_model,
            Capability::Completion | Capability::Tools | Capability::Thinking => {
                &self.default_inference_model
            }
        };
        named.as_ref().map(ModelName::to_string)
    }
}

fn model_name(text: &str) -> Result<ModelName, String> {
    text.parse()
}

/// The model inside the binary: what is left when nothing better is installed.
pub const DEMO: &str = "simpleton-demo";

/// Models of all backends, by name.
pub struct Catalog {
    /// One for each backend, the preferred one first; never empty.
    listings: Vec<Listing>,
    pub(super) settings: Settings,
}

/// Backend that answers for a model, and identity of the model before a request is sent to it.
pub struct Route {
    pub backend: Arc<dyn Backend>,
    pub model: String,
    /// Name of the model as the backend lists it, if it does: Ollama accepts it in any case.
    pub listed: Option<Arc<str>>,
    /// Digest of the weights.
    pub digest: Option<String>,
    /// Tokens that the backend makes room for, where that is known.
    pub context: Option<u64>,
    pub defaults: Arc<ModelDefaults>,
}

impl Route {
    fn new(backend: &Arc<dyn Backend>, model: &str, listed: Option<&Model>) -> Self {
        Self {
            backend: Arc::clone(backend),
            model: model.to_owned(),
            listed: listed.map(|listed| listed.name.as_str().into()),
            digest: listed.filter(|listed| !listed.digest.is_empty()).map(|listed| listed.digest.clone()),
            context: listed.and_then(|listed| listed.context.chosen),
            defaults: listed.map(|listed| Arc::clone(&listed.defaults)).unwrap_or_default(),
        }
    }

    /// Returns the scope of cache keys; none while it is not known which weights will answer.
    pub(super) fn scope(&self, owner: &Principal) -> Option<KeyScope<'_>> {
        let digest = self.digest.as_deref()?;
        Some(KeyScope {
            backend: self.backend.name(),
            digest,
            context: self.context,
            owner: Some(owner.id()),
        })
    }

    /// Name of the model for metrics.
    pub(super) fn label(&self) -> Arc<str> {
        self.listed.clone().unwrap_or_else(|| self.model.as_str().into())
    }
}

impl Catalog {
    /// # Panics
    /// Without a backend.
    pub fn new(backends: Vec<Arc<dyn Backend>>, settings: Settings) -> Self {
        assert!(!backends.is_empty(), "a catalog has a backend");
        Self { listings: backends.into_iter().map(Listing::new).collect(), settings }
    }

    /// Backends, the preferred one first.
    pub(super) fn backends(&self) -> impl Iterator<Item = &Arc<dyn Backend>> {
        self.listings.iter().map(|listing| &listing.backend)
    }

    /// The preferred backend.
    pub(super) fn primary(&self) -> &Arc<dyn Backend> {
        &self.listings[0].backend
    }

    /// Lists the models that can be used now.
    pub async fn list(&self) -> Result<Arc<[Model]>> {
        self.at_most(Duration::ZERO).await
    }

    /// Fetches the models anew, after one was added or removed.
    pub(super) async fn refresh(&self) {
        // A failure is remembered with the list, and shown when it is next asked for.
        let _ = self.at_most(Duration::ZERO).await;
    }

    /// The names of those, separated by commas.
    pub fn names(&self) -> String {
        let models = self.known().and_then(Result::ok).unwrap_or_default();
        models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Models at the last listing.
    pub(super) fn known(&self) -> Option<Result<Arc<[Model]>>> {
        let known: Vec<_> = self.listings.iter().filter_map(Listing::known).collect();
        (!known.is_empty()).then(|| merge(known))
    }

    /// The name of the model to ask: the one named, else the default for this capability.
    ///
    /// # Errors
    /// `Invalid` when the name is no name or the model cannot do this, `Unavailable` when there is
    /// none to choose from. A model that is not on the list is left to the backend to refuse.
    pub async fn resolve(&self, named: Option<&str>, needed: Capability) -> Result<String> {
        match named {
            Some(name) => self.named(name, needed).await,
            None => self.default_for(needed).await,
        }
    }

    /// Returns the route to a model: through the first backend that lists it, else through the preferred one,
    /// which then refuses it.
    pub async fn route(&self, model: &str) -> Route {
        for listing in &self.listings {
            let models = listing.recent().await.ok();
            if let Some(listed) = models.as_deref().and_then(|models| find(models, model)) {
                return Route::new(&listing.backend, model, Some(listed));
            }
        }
        Route::new(self.primary(), model, None)
    }

    /// Names stand on the list in their shortest form, and nearly all are sent like that. One that is
    /// not on it goes on in small letters, so that all its spellings are one.
    async fn named(&self, name: &str, needed: Capability) -> Result<String> {
        let parsed: ModelName = name.parse().map_err(|accepted: String| Error::field("/model", accepted))?;
        self.check(parsed.to_string(), needed).await
    }

    /// The name as it stands on the list.
    async fn check(&self, name: String, needed: Capability) -> Result<String> {
        // A list that cannot be had must not stop a request which the backend can perhaps serve.
        let Ok(mut models) = self.recent().await else { return Ok(name.to_ascii_lowercase()) };
        if find(&models, &name).is_none()
            && let Ok(fetched) = self.at_most(JUST_FETCHED).await
        {
            models = fetched;
        }
        match find(&models, &name) {
            Some(model) if lacks(model, needed) => Err(self.cannot(model, needed, &models)),
            Some(model) => Ok(model.name.clone()),
            None => Ok(name.to_ascii_lowercase()),
        }
    }

    async fn default_for(&self, needed: Capability) -> Result<String> {
        if let Some(name) = self.settings.preferred(self.primary().profile(), needed) {
            return self.check(name, needed).await;
        }
        let models = self.recent().await?;
        best(&models, needed).map(|model| model.name.clone()).ok_or_else(|| {
            Error::new(
                Kind::Unavailable,
                format!("No installed model can {}; install one that can.", needed.verb()),
            )
        })
    }

    async fn recent(&self) -> Result<Arc<[Model]>> {
        merge(join_all(self.listings.iter().map(Listing::recent)).await)
    }

    async fn at_most(&self, age: Duration) -> Result<Arc<[Model]>> {
        merge(join_all(self.listings.iter().map(|listing| listing.at_most(age))).await)
    }

    fn cannot(&self, model: &Model, needed: Capability, models: &[Model]) -> Error {
        let able: Vec<&str> =
            models.iter().filter(|model| model.can(needed)).map(|model| model.name.as_str()).collect();
        let instead = if able.is_empty() {
            "no installed model can".to_owned()
        } else {
            format!("these can: {}", able.join(", "))
        };
        let name = &model.name;
        let remedy = match needed {
            Capability::Vision => self
                .backends()
                .find(|backend| backend.name() == model.source)
                .map(|backend| (backend.profile().vision_remedy)(name)),
            _ => None,
        };
        let lacking = format!("{name} cannot {}{}", needed.verb(), remedy.unwrap_or_default());
        Error::field("/model", format!("{lacking}; {instead}"))
    }
}

/// Models of all backends that listed theirs.
///
/// # Errors
/// That of the first backend when none did.
fn merge(lists: Vec<Result<Arc<[Model]>>>) -> Result<Arc<[Model]>> {
    if lists.iter().all(Result::is_err) || lists.len() == 1 {
        return lists.into_iter().next().unwrap_or_else(|| Ok(Arc::default()));
    }
    Ok(lists.into_iter().flatten().flat_map(|models| models.to_vec()).collect())
}

/// The model of this name, however it is spelt; of several that differ only in their letters' case the
/// one that is spelt so.
fn find<'a>(models: &'a [Model], name: &str) -> Option<&'a Model> {
    models.iter().find(|model| model.name == name).or_else(|| {
        let name: ModelName = name.parse().ok()?;
        models.iter().find(|model| model.name.parse().is_ok_and(|other: ModelName| other == name))
    })
}

/// An old server that says nothing of capabilities is not contradicted, and any language model can
/// be made to embed.
pub(super) fn lacks(model: &Model, needed: Capability) -> bool {
    let can_be_made_to = needed == Capability::Embedding && model.can(Capability::Completion);
    !model.capabilities.is_empty() && !model.can(needed) && !can_be_made_to
}

/// One made for the job before one that can be made to do it, the demo last, the largest first.
fn best(models: &[Model], needed: Capability) -> Option<&Model> {
    let able = models.iter().filter(|model| !lacks(model, needed));
    able.max_by_key(|model| (model.can(needed), model.name != DEMO, model.size))
}

#[cfg(test)]
mod tests {
    use super::{
        testing::{Fake, model},
        *,
    };

    #[test]
    fn the_best_installed_model_is_the_default() {
        use Capability::{Completion, Embedding, Vision};
        let demo = model(DEMO, 10, &[Completion, Vision]);
        let minilm = model("all-minilm", 5, &[Embedding]);
        let qwen = model("qwen2.5:7b", 4000, &[Completion]);
        let name = |models: &[Model], needed| best(models, needed).map(|model| model.name.clone());
        let fresh = [demo.clone(), minilm.clone()];
        assert_eq!(name(&fresh, Completion).as_deref(), Some(DEMO));
        assert_eq!(name(&fresh, Embedding).as_deref(), Some("all-minilm"));
        let grown = [demo.clone(), minilm.clone(), qwen];
        assert_eq!(name(&grown, Completion).as_deref(), Some("qwen2.5:7b"));
        assert_eq!(name(&grown, Embedding).as_deref(), Some("all-minilm"));
        assert_eq!(name(&grown, Vision).as_deref(), Some(DEMO));
        assert_eq!(name(&[demo], Embedding).as_deref(), Some(DEMO));
        assert_eq!(name(&[minilm], Completion), None);
    }

    #[tokio::test]
    async fn a_model_is_asked_through_the_first_backend_that_lists_it() {
        let of = |digest: &str, name: &str| Model { digest: digest.to_owned(), ..model(name, 1, &[]) };
        let first = Fake::backend("first", [of("1a", "a"), of("1b", "b")]);
        let second = Fake::backend("second", [of("2b", "b"), of("2c", "c")]);
        let catalog = Catalog::new(vec![first, second], Settings::default());
        assert_eq!(catalog.list().await.expect("a list").len(), 4);
        for (name, backend, digest) in [
            ("a", "first", Some("1a")),
            ("B", "first", Some("1b")),
            ("c", "second", Some("2c")),
            ("d", "first", None),
        ] {
            let route = catalog.route(name).await;
            assert_eq!((route.backend.name(), route.digest.as_deref()), (backend, digest), "{name}");
            assert_eq!(
                route.scope(&Principal::new([0; 32])).map(|scope| scope.backend),
                digest.map(|_| backend)
            );
        }
    }
}
