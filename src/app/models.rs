//! From the name in a request (or its absence) to a model that can do the job.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use clap::Args;
use tokio::time::timeout;

use crate::{
    backend::Backend,
    error::{Error, Kind, Result},
    types::{Capability, Model, ModelName},
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
    pub(super) fn preferred(&self, backend: &str, needed: Capability) -> Option<String> {
        let briefs = match needed {
            Capability::Embedding => "nomic-embed-text",
            Capability::Vision => "llava",
            Capability::Completion | Capability::Tools | Capability::Thinking => "qwen2.5:7b",
        };
        self.named(needed).or_else(|| (backend == "ollama").then(|| briefs.to_owned()))
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

/// How old the list may be before it is fetched anew behind the scenes.
const FRESH: Duration = Duration::from_secs(5);
/// How old it may be when it decides what the cache takes for the same: after a pause it is waited for,
/// since a model may have been replaced meanwhile.
const STALE: Duration = Duration::from_secs(30);
/// How old it may be when a name is not on it: somebody may just have installed the model.
const JUST_FETCHED: Duration = Duration::from_secs(1);

/// Asking for the list must not hold a request up for longer.
const PATIENCE: Duration = Duration::from_secs(5);

pub struct Models {
    backend: Arc<dyn Backend>,
    pub(super) settings: Settings,
    listed: Arc<RwLock<Option<Listed>>>,
    /// Held while the list is fetched, so that one fetch serves everybody.
    fetching: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Clone)]
struct Listed {
    at: Instant,
    /// A failure is remembered, too: nobody waits again at once for a backend that does not answer.
    models: Result<Arc<[Model]>>,
}

/// Identity of a model before a request is sent to it.
#[derive(Default)]
pub struct Identity {
    /// Its name, when it is on the list, as it stands there: Ollama takes it in any case.
    pub listed: Option<Arc<str>>,
    /// The digest of its weights.
    pub digest: Option<String>,
    /// Tokens that the backend makes room for, where that is known.
    pub context: Option<u64>,
}

impl Models {
    pub fn new(backend: Arc<dyn Backend>, settings: Settings) -> Self {
        Self { backend, settings, listed: Arc::default(), fetching: Arc::default() }
    }

    /// Lists the models that can be used now.
    pub async fn list(&self) -> Result<Arc<[Model]>> {
        self.at_most(Duration::ZERO).await
    }

    /// The names of those, separated by commas.
    pub fn names(&self) -> String {
        let models = self.known().and_then(Result::ok).unwrap_or_default();
        models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Models at the last listing.
    pub(super) fn known(&self) -> Option<Result<Arc<[Model]>>> {
        self.listed().map(|listed| listed.models)
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

    /// Identity of a model before a request is sent to it.
    pub async fn identify(&self, name: &str) -> Identity {
        let models = self.recent().await.ok();
        let Some(model) = models.as_deref().and_then(|models| find(models, name)) else {
            return Identity::default();
        };
        let digest = (!model.digest.is_empty()).then(|| model.digest.clone());
        Identity { listed: Some(model.name.as_str().into()), digest, context: model.context.chosen }
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
            Some(model) if lacks(model, needed) => Err(cannot(model, needed, &models)),
            Some(model) => Ok(model.name.clone()),
            None => Ok(name.to_ascii_lowercase()),
        }
    }

    async fn default_for(&self, needed: Capability) -> Result<String> {
        if let Some(name) = self.settings.preferred(self.backend.name(), needed) {
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

    /// The list, fetched behind the scenes when it is no longer fresh.
    async fn recent(&self) -> Result<Arc<[Model]>> {
        let Some(listed) = self.listed() else { return self.at_most(FRESH).await };
        let fresh = if listed.models.is_ok() { FRESH } else { JUST_FETCHED };
        let age = listed.at.elapsed();
        if age > STALE {
            let fetched = self.at_most(FRESH).await;
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

    async fn at_most(&self, age: Duration) -> Result<Arc<[Model]>> {
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
    let fetched = match timeout(PATIENCE, backend.models()).await {
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

fn cannot(model: &Model, needed: Capability, models: &[Model]) -> Error {
    let Model { name, source, .. } = model;
    let able: Vec<&str> =
        models.iter().filter(|model| model.can(needed)).map(|model| model.name.as_str()).collect();
    let instead = if able.is_empty() {
        "no installed model can".to_owned()
    } else {
        format!("these can: {}", able.join(", "))
    };
    let lacking = match (needed, *source) {
        (Capability::Vision, "embedded") => format!(
            "{name} cannot see images: it has no vision projector, which `simpleton model import {name} MODEL.gguf --projector MMPROJ.gguf` adds"
        ),
        (Capability::Vision, "ollama") => {
            format!("{name} cannot see images; get a model that can with: ollama pull llava")
        }
        _ => format!("{name} cannot {}", needed.verb()),
    };
    Error::field("/model", format!("{lacking}; {instead}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str, size: u64, capabilities: &[Capability]) -> Model {
        Model {
            name: name.to_owned(),
            size,
            modified_at: None,
            digest: String::new(),
            capabilities: capabilities.to_vec(),
            context: crate::types::Context::default(),
            family: None,
            parameter_size: None,
            quantization: None,
            source: "embedded",
            loaded: false,
        }
    }

    /// A backend whose one model has been replaced.
    struct Replaced;

    #[async_trait::async_trait]
    impl Backend for Replaced {
        fn name(&self) -> &'static str {
            "fake"
        }

        async fn chat(&self, _: crate::types::ChatRequest) -> Result<crate::backend::ChatStream> {
            unreachable!("nobody asks it")
        }

        async fn embed(&self, _: crate::types::EmbedRequest) -> Result<crate::types::EmbedReply> {
            unreachable!("nobody asks it")
        }

        async fn load(&self, _: &str, _: Option<crate::types::KeepAlive>) -> Result<crate::types::Done> {
            unreachable!("nobody asks it")
        }

        async fn models(&self) -> Result<Vec<Model>> {
            Ok(vec![Model { digest: "new".to_owned(), ..model("m", 1, &[]) }])
        }

        async fn version(&self) -> Result<String> {
            unreachable!("nobody asks it")
        }
    }

    #[tokio::test]
    async fn a_list_that_is_old_is_waited_for() {
        for (age, digest) in [(FRESH / 2, "old"), (FRESH * 2, "old"), (STALE * 2, "new")] {
            let models = Models::new(Arc::new(Replaced), Settings::default());
            let old = Model { digest: "old".to_owned(), ..model("m", 1, &[]) };
            let at = Instant::now().checked_sub(age).expect("the machine has been up for a minute");
            *models.listed.write().expect("a slot") = Some(Listed { at, models: Ok([old].into()) });
            assert_eq!(models.identify("m").await.digest.as_deref(), Some(digest), "{age:?}");
        }
    }

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
}
