//! Whether the service can do its work now. What is judged here is what `/health`, `simpleton doctor`,
//! `simpleton health` and the start say, so that they never contradict each other.

use std::time::Duration;

use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::{App, alerts::CRASH_LOOP_FROM, catalog};
use crate::{
    backend::Profile,
    error::{Error, Kind, Result},
    types::{Capability, Model},
};

/// Timeout for a check: liveness must not depend on a slow backend.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

/// `degraded` if prompts are answered but something is wrong, `unhealthy` if prompts cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
// From the best to the worst, so that the maximum is that of the whole.
pub enum Status {
    Healthy,
    Degraded,
    Unhealthy,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// How one part of the service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub status: Status,
    /// Problem and what to do about it; nothing when it is healthy.
    pub detail: Option<String>,
}

impl Part {
    const HEALTHY: Self = Self { status: Status::Healthy, detail: None };

    fn new(status: Status, detail: impl Into<String>) -> Self {
        Self { status, detail: Some(detail.into()) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The backend's name.
    pub backend: &'static str,
    /// Its version, when it answers.
    pub version: Option<String>,
    /// Why it does not, with its address: for the operator, and not for callers.
    pub cause: Option<String>,
    /// By name, in the order in which they are looked at.
    pub parts: [(&'static str, Part); 7],
    /// Name of the document store.
    pub document_store: &'static str,
}

impl Health {
    pub const BACKEND: usize = 0;
    pub const MODELS: usize = 1;

    /// Status of the worst part.
    pub fn status(&self) -> Status {
        self.worst().status
    }

    /// Problem and what to do about it; the first of the worst ones.
    pub fn detail(&self) -> Option<&str> {
        self.worst().detail.as_deref()
    }

    pub fn part(&self, at: usize) -> &Part {
        &self.parts[at].1
    }

    fn worst(&self) -> &Part {
        // Of several that are equally bad, the last one of a reversed list is the first.
        let parts = self.parts.iter().rev().map(|(_, part)| part);
        parts.max_by_key(|part| part.status).unwrap_or(&Part::HEALTHY)
    }
}

impl App {
    /// Looks at every part, for at most one second.
    pub async fn health(&self) -> Health {
        self.health_within(CHECK_TIMEOUT).await
    }

    /// The same with another limit.
    pub async fn health_within(&self, patience: Duration) -> Health {
        let (backend, profile) = (self.catalog.primary(), self.catalog.primary().profile());
        let (version, listed, stats, documents, responses, ocr) = tokio::join!(
            timeout(patience, backend.version()),
            timeout(patience, self.catalog.list()),
            timeout(patience, self.cache.stats()),
            self.documents.trouble(patience),
            self.responses.trouble(patience),
            timeout(patience, self.tesseract.trouble(self.ocr_engine)),
        );
        let version = version.unwrap_or_else(|_| Err(slow(profile, patience)));
        // A backend that is busy may take its time to list what it has.
        let known =
            listed.unwrap_or_else(|_| self.catalog.known().unwrap_or_else(|| Err(slow(profile, patience))));
        let mut models = of_models(profile, &self.catalog.settings, known.as_deref());
        if models.status == Status::Healthy {
            models = self.ailing().unwrap_or(models);
        }
        let cache = stats.map_or_else(|_| "it does not respond".to_owned(), |stats| stats.status);
        let cache = if !self.cache.is_enabled() || cache == "available" {
            Part::HEALTHY
        } else {
            Part::new(Status::Degraded, format!("The cache has a problem: {cache}."))
        };
        let storage = self.history.standing().trouble.map_or(Part::HEALTHY, |trouble| {
            Part::new(Status::Degraded, format!("Statistics may be lost on restart: {trouble}."))
        });
        let of = |trouble: Option<String>| {
            trouble.map_or(Part::HEALTHY, |trouble| Part::new(Status::Degraded, trouble))
        };
        // A program that starts slowly on a busy machine is no fault.
        let (documents, responses, ocr) = (of(documents), of(responses), of(ocr.unwrap_or_default()));
        Health {
            backend: profile.name,
            document_store: self.documents.store_name(),
            parts: [
                ("backend", of_backend(profile, version.as_deref())),
                ("models", models),
                ("cache", cache),
                ("storage", storage),
                ("documents", documents),
                ("responses", responses),
                ("ocr", ocr),
            ],
            cause: version
                .as_ref()
                .err()
                .filter(|error| error.kind() == Kind::Unavailable)
                .and_then(Error::causes),
            version: version.ok(),
        }
    }

    /// A loaded model that is blocked, or one whose process keeps crashing.
    fn ailing(&self) -> Option<Part> {
        let engine = self.engine()?;
        let detail = match (engine.held_up, engine.crash_loop) {
            (Some(model), _) => {
                format!("One request is blocking {model}; others wait until its process is restarted.")
            }
            (None, Some((model, crashes))) if crashes >= CRASH_LOOP_FROM => format!(
                "The process of {model} has crashed {crashes} times in a row; see the log for its last output."
            ),
            _ => return None,
        };
        Some(Part::new(Status::Degraded, detail))
    }
}

/// Logs that a store can no longer be used, or that it can be used again.
pub(super) fn log_change(store: &str, was_down: bool, error: Option<&Error>) {
    match error {
        Some(error) if !was_down => tracing::warn!(error = error.chain(), "{store} cannot be used"),
        None if was_down => tracing::info!("{store} can be used again"),
        _ => {}
    }
}

fn slow(backend: &Profile, patience: Duration) -> Error {
    let message = format!("{} did not respond within {} s.", backend.title, patience.as_secs());
    Error::new(Kind::GatewayTimeout, message)
}

/// Whether the backend answers.
pub fn of_backend(backend: &Profile, version: Result<&str, &Error>) -> Part {
    match version {
        Ok(_) => Part::HEALTHY,
        Err(error) if backend.remedy.is_empty() => Part::new(Status::Unhealthy, error.message()),
        Err(error) => Part::new(Status::Unhealthy, format!("{} {}", error.message(), backend.remedy)),
    }
}

/// Whether there is a model for a prompt, and for one that names none.
pub fn of_models(backend: &Profile, settings: &catalog::Settings, models: Result<&[Model], &Error>) -> Part {
    let models = match models {
        Ok(models) => models,
        Err(error) => return Part::new(Status::Unhealthy, error.message()),
    };
    let preferred = settings.preferred(backend, Capability::Completion);
    let get = |model: &str| (backend.install)(model);
    if !models.iter().any(|model| !catalog::lacks(model, Capability::Completion)) {
        let get = get(preferred.as_deref().unwrap_or("NAME"));
        return Part::new(
            Status::Unhealthy,
            format!("No installed model can answer prompts; get one with {get}."),
        );
    }
    // Embeddings and images are optional, unless their models are set.
    let wanted = [
        (preferred, Capability::Completion, "prompts", "DEFAULT_INFERENCE_MODEL"),
        (
            settings.named(Capability::Embedding),
            Capability::Embedding,
            "embeddings",
            "DEFAULT_EMBEDDING_MODEL",
        ),
        (settings.named(Capability::Vision), Capability::Vision, "images", "DEFAULT_VISION_MODEL"),
    ];
    let trouble = wanted.into_iter().find_map(|(name, capability, what, setting)| {
        let name = name?;
        let trouble = match models.iter().find(|model| model.name == name) {
            None => {
                format!("is not installed: get it with {}, or set {setting} to another model", get(&name))
            }
            Some(model) if catalog::lacks(model, capability) => {
                format!("cannot be used for them: set {setting} to another model")
            }
            Some(_) => return None,
        };
        Some(format!("{name}, the default model for {what}, {trouble}."))
    });
    trouble.map_or(Part::HEALTHY, |detail| Part::new(Status::Degraded, detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{embedded::PROFILE as EMBEDDED, ollama::PROFILE as OLLAMA};

    fn model(name: &str, capability: Capability) -> Model {
        Model {
            name: name.to_owned(),
            size: 1,
            modified_at: None,
            digest: String::new(),
            capabilities: vec![capability],
            context: crate::types::Context::default(),
            family: None,
            parameter_size: None,
            quantization: None,
            source: "ollama",
            loaded: false,
            defaults: std::sync::Arc::default(),
        }
    }

    #[test]
    fn without_a_model_for_prompts_nothing_can_be_answered() {
        let embeds = [model("nomic-embed-text", Capability::Embedding)];
        let other = [model("llama3", Capability::Completion)];
        let brief = [model("qwen2.5:7b", Capability::Completion)];
        let settings = catalog::Settings::default();
        let status = |backend, models| of_models(backend, &settings, Ok(models)).status;
        assert_eq!(status(&OLLAMA, &[]), Status::Unhealthy);
        assert_eq!(status(&OLLAMA, &embeds), Status::Unhealthy);
        assert_eq!(status(&OLLAMA, &other), Status::Degraded);
        assert_eq!(status(&OLLAMA, &brief), Status::Healthy);
        // Without Ollama the best one that is installed answers.
        assert_eq!(status(&EMBEDDED, &other), Status::Healthy);
        assert_eq!(status(&EMBEDDED, &embeds), Status::Unhealthy);
        let named = catalog::Settings { default_inference_model: "mine".parse().ok(), ..settings.clone() };
        let part = of_models(&EMBEDDED, &named, Ok(&other));
        assert_eq!(part.status, Status::Degraded);
        assert!(part.detail.is_some_and(|detail| detail.contains("simpleton model pull mine")));
        // A model that is there, and cannot do what it is set for.
        let both = [other[0].clone(), embeds[0].clone()];
        let named = catalog::Settings {
            default_inference_model: "nomic-embed-text".parse().ok(),
            ..settings.clone()
        };
        let part = of_models(&EMBEDDED, &named, Ok(&both));
        assert_eq!(part.status, Status::Degraded);
        assert!(part.detail.is_some_and(|detail| detail.contains("set DEFAULT_INFERENCE_MODEL")));
        let named = catalog::Settings { default_embedding_model: "mine".parse().ok(), ..settings.clone() };
        let part = of_models(&OLLAMA, &named, Ok(&brief));
        assert!(part.detail.is_some_and(|detail| detail.contains("DEFAULT_EMBEDDING_MODEL")));
    }

    #[test]
    fn the_worst_part_is_what_is_told() {
        let down = Error::new(Kind::Unavailable, "Ollama cannot be reached.");
        let health = |cache: Part, storage: Part, version| Health {
            backend: "ollama",
            document_store: "embedded",
            version: None,
            cause: None,
            parts: [
                ("backend", of_backend(&OLLAMA, version)),
                ("models", Part::HEALTHY),
                ("cache", cache),
                ("storage", storage),
                ("documents", Part::HEALTHY),
                ("responses", Part::HEALTHY),
                ("ocr", Part::HEALTHY),
            ],
        };
        let all = health(Part::HEALTHY, Part::HEALTHY, Ok("1"));
        assert_eq!((all.status(), all.detail()), (Status::Healthy, None));
        let (cache, storage) = (Part::new(Status::Degraded, "Cache."), Part::new(Status::Degraded, "Disk."));
        let some = health(cache.clone(), storage.clone(), Ok("1"));
        assert_eq!((some.status(), some.detail()), (Status::Degraded, Some("Cache.")));
        let none = health(cache, storage, Err(&down));
        assert_eq!(none.status(), Status::Unhealthy);
        assert_eq!(
            none.detail(),
            Some("Ollama cannot be reached. Start Ollama, or correct OLLAMA_BASE_URL.")
        );
    }
}
