//! Well-known models to begin with, and whether they fit this machine.

use super::App;
use crate::{
    engine::{MemoryBudget, ModelSize},
    error::Result,
    types::{
        Capability::{self, Completion, Embedding, Thinking, Tools, Vision},
        MemoryEstimate, ModelName,
    },
};

/// A model of Ollama's library that the embedded engine runs, too.
#[derive(Clone, Copy, Debug)]
pub struct Suggestion {
    pub name: &'static str,
    pub description: &'static str,
    pub capabilities: &'static [Capability],
    /// Bytes to download.
    pub size: u64,
    kv_bytes_per_token: u64,
    context_length: u32,
}

/// A suggestion for this machine.
pub struct SuggestedModel {
    pub suggestion: &'static Suggestion,
    /// None if the backend does not say what its models take, as with the next.
    pub memory: Option<MemoryEstimate>,
    pub fits: Option<bool>,
    pub installed: bool,
}

pub struct SuggestedModels {
    pub memory: Option<MemoryBudget>,
    /// By what they are for, the smallest first.
    pub models: Vec<SuggestedModel>,
}

const TEXT: &[Capability] = &[Completion, Tools];
const REASONING: &[Capability] = &[Completion, Tools, Thinking];
const SEEING: &[Capability] = &[Completion, Vision];

/// Sizes in megabytes are those of the tags in the model's page at <https://ollama.com/library>, with the projector of a
/// vision model; the KV cache follows from the configurations that the models' makers publish: two (keys and values)
/// times layers, KV heads, length of a head, and two bytes.
const SUGGESTIONS: &[Suggestion] = &[
    suggest("qwen3:0.6b", "Tiny, and reasons: for a first try on any machine", REASONING, 523)
        .with_kv_cache(28 * 8 * 128, 40_960),
    suggest("llama3.2:1b", "Small and fast, for summaries and simple questions", TEXT, 1_300)
        .with_kv_cache(16 * 8 * 64, 131_072),
    suggest("llama3.2:3b", "A good all-rounder for laptops", TEXT, 2_000)
        .with_kv_cache(28 * 8 * 128, 131_072),
    suggest("qwen3:4b", "Strong for its size: reasoning, tools, many languages", REASONING, 2_600)
        .with_kv_cache(36 * 8 * 128, 40_960),
    suggest("qwen2.5-coder:7b", "Writes, completes and explains code", TEXT, 4_700)
        .with_kv_cache(28 * 4 * 128, 32_768),
    suggest("llama3.1:8b", "A popular all-rounder with a long context", TEXT, 4_900)
        .with_kv_cache(32 * 8 * 128, 131_072),
    suggest("qwen3:8b", "Reasoning, tools and many languages", REASONING, 5_200)
        .with_kv_cache(36 * 8 * 128, 40_960),
    suggest("phi4", "Careful answers in mathematics and science", &[Completion], 9_100)
        .with_kv_cache(40 * 10 * 128, 16_384),
    suggest("qwen3:32b", "Near the best of open models, for large machines", REASONING, 20_000)
        .with_kv_cache(64 * 8 * 128, 40_960),
    suggest("llama3.3:70b", "A large all-rounder, for servers", TEXT, 43_000)
        .with_kv_cache(80 * 8 * 128, 131_072),
    suggest("moondream", "Describes images on small machines", SEEING, 1_700)
        .with_kv_cache(24 * 32 * 64, 2_048),
    suggest("llava:7b", "Answers questions about images", SEEING, 4_700).with_kv_cache(32 * 8 * 128, 32_768),
    suggest("minicpm-v", "Detailed images, and text in them", SEEING, 5_500)
        .with_kv_cache(28 * 4 * 128, 32_768),
    suggest("all-minilm", "Tiny and fast embeddings of English sentences", &[Embedding], 46)
        .with_context(512),
    suggest("nomic-embed-text", "Embeddings of longer English texts", &[Embedding], 274).with_context(2_048),
    suggest("mxbai-embed-large", "Precise embeddings of English sentences", &[Embedding], 670)
        .with_context(512),
    suggest("bge-m3", "Embeddings in more than 100 languages", &[Embedding], 1_200).with_context(8_192),
];

const fn suggest(
    name: &'static str,
    description: &'static str,
    capabilities: &'static [Capability],
    megabytes: u64,
) -> Suggestion {
    let size = megabytes * 1_000_000;
    Suggestion { name, description, capabilities, size, kv_bytes_per_token: 0, context_length: 0 }
}

impl Suggestion {
    /// With the number of keys for one token, in all layers.
    const fn with_kv_cache(self, keys: u64, context_length: u32) -> Self {
        Self { kv_bytes_per_token: 2 * keys * 2, context_length, ..self }
    }

    const fn with_context(self, context_length: u32) -> Self {
        Self { context_length, ..self }
    }

    fn is(&self, installed: &ModelName) -> bool {
        self.name.parse::<ModelName>().is_ok_and(|name| name == *installed)
    }
}

impl App {
    /// Models to suggest, for the preferred backend.
    ///
    /// # Errors
    /// That of the backend.
    pub async fn suggested_models(&self) -> Result<SuggestedModels> {
        let models = self.models().await?;
        let installed: Vec<ModelName> = models.iter().filter_map(|model| model.name.parse().ok()).collect();
        let memory = self.catalog.primary().memory_budget();
        let suggested = |suggestion: &'static Suggestion| {
            let Suggestion { size, kv_bytes_per_token, context_length, .. } = *suggestion;
            let size = ModelSize { weights: size, kv_bytes_per_token, context_length };
            let estimate = memory.map(|budget| budget.estimate(size));
            SuggestedModel {
                suggestion,
                memory: estimate,
                fits: memory.zip(estimate).map(|(budget, estimate)| budget.fits(estimate)),
                installed: installed.iter().any(|name| suggestion.is(name)),
            }
        };
        Ok(SuggestedModels { memory, models: SUGGESTIONS.iter().map(suggested).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions_are_models_of_the_library_and_each_is_there_once() {
        let mut names: Vec<ModelName> =
            SUGGESTIONS.iter().map(|model| model.name.parse().expect(model.name)).collect();
        assert!(names.iter().all(|name| name.namespace == ModelName::DEFAULT_NAMESPACE));
        let tagged: ModelName = "Phi4:latest".parse().expect("a name");
        assert!(SUGGESTIONS.iter().any(|model| model.is(&tagged)));
        while let Some(name) = names.pop() {
            assert!(!names.contains(&name), "{name}");
        }
        for capability in [Completion, Vision, Embedding] {
            assert!(SUGGESTIONS.iter().any(|model| model.capabilities.contains(&capability)));
        }
        for model in SUGGESTIONS {
            let embeds = model.capabilities == [Embedding];
            assert_eq!(model.kv_bytes_per_token == 0, embeds, "{}", model.name);
            assert!(model.context_length >= 512, "{}", model.name);
        }
    }
}
