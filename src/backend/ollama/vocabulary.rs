//! The control tokens of Ollama's models, which `/api/show` lists when asked to be verbose.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{sync::Mutex as AsyncMutex, time::timeout};

use super::{Ollama, read};
use crate::{
    backend::{to_json, work},
    error::{Error, Kind, Result},
    types::ControlTokens,
    wire::ollama::Vocabulary,
};

/// A vocabulary of 262,144 tokens with its merges takes 20 MB.
const MAX_VOCABULARY: usize = 64 * 1024 * 1024;
/// A request waits no longer than this for its model's vocabulary.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Time until a vocabulary that could not be read is asked for again.
const RETRY: Duration = Duration::from_secs(60);

/// Control tokens by model, as far as Ollama has listed the models.
#[derive(Default)]
pub(super) struct Vocabularies {
    known: Mutex<HashMap<String, Known>>,
}

struct Known {
    /// Digest of the model, which changes when the model does.
    digest: String,
    /// Held while the vocabulary is read, so that it is read once.
    slot: Arc<AsyncMutex<Slot>>,
}

#[derive(Default)]
enum Slot {
    #[default]
    Unread,
    Failed(Instant),
    /// Empty when Ollama does not list them.
    Read(Arc<ControlTokens>),
}

impl Vocabularies {
    /// Notes the models that Ollama lists, with their digests.
    pub(super) fn list<'a>(&self, models: impl Iterator<Item = (&'a str, &'a str)>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut listed = HashSet::new();
        for (name, digest) in models {
            listed.insert(name);
            if known.get(name).is_none_or(|known| known.digest != digest) {
                known.insert(name.to_owned(), Known { digest: digest.to_owned(), slot: Arc::default() });
            }
        }
        known.retain(|name, _| listed.contains(name.as_str()));
    }

    fn slot(&self, model: &str) -> Option<Arc<AsyncMutex<Slot>>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(model).map(|known| Arc::clone(&known.slot))
    }
}

impl Ollama {
    /// Returns the model's control tokens; none when Ollama does not say which they are.
    pub(super) async fn control_tokens(&self, model: &str) -> Arc<ControlTokens> {
        let Some(slot) = self.vocabularies.slot(model) else { return Arc::default() };
        let mut slot = slot.lock().await;
        match &*slot {
            Slot::Read(tokens) => return Arc::clone(tokens),
            Slot::Failed(at) if at.elapsed() < RETRY => return Arc::default(),
            Slot::Failed(_) | Slot::Unread => {}
        }
        let read = timeout(READ_TIMEOUT, self.read_vocabulary(model)).await.unwrap_or_else(|_| {
            Err(Error::new(Kind::GatewayTimeout, "Ollama takes too long to list a model's vocabulary."))
        });
        match read {
            Ok(tokens) => {
                let tokens = Arc::new(tokens);
                *slot = Slot::Read(Arc::clone(&tokens));
                tokens
            }
            Err(error) => {
                tracing::warn!(model, "control tokens in prompts are not escaped: {}", error.chain());
                *slot = Slot::Failed(Instant::now());
                Arc::default()
            }
        }
    }

    async fn read_vocabulary(&self, model: &str) -> Result<ControlTokens> {
        let body = to_json(&serde_json::json!({ "model": model, "verbose": true }))?;
        let answer = self.post("/api/show", model, body).await?.bytes(MAX_VOCABULARY).await?;
        let tokens = move || read::<Vocabulary>(&answer)?.control_tokens();
        work(true, tokens).await.map(ControlTokens::new)
    }
}
