//! A model that can be used now, and how models are named.

use std::{
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
    sync::Arc,
};

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::ModelDefaults;

/// Capability of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    Completion,
    Embedding,
    Vision,
    Tools,
    Thinking,
}

impl Capability {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completion => "completion",
            Self::Embedding => "embedding",
            Self::Vision => "vision",
            Self::Tools => "tools",
            Self::Thinking => "thinking",
        }
    }

    /// Verb phrase for the capability, after "can" and "cannot".
    pub fn verb(self) -> &'static str {
        match self {
            Self::Completion => "generate text",
            Self::Embedding => "embed texts",
            Self::Vision => "see images",
            Self::Tools => "use tools",
            Self::Thinking => "think",
        }
    }
}

/// One usable model, wherever it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// `qwen2.5:7b`; the tag `:latest` is left out.
    pub name: String,
    /// Bytes on disk.
    pub size: u64,
    pub modified_at: Option<Timestamp>,
    /// sha256 in hexadecimal of what identifies the weights; changes when the model is pulled anew.
    pub digest: String,
    pub capabilities: Vec<Capability>,
    pub context: Context,
    /// `qwen2`, `llama`, `bert` …
    pub family: Option<String>,
    /// `7.6B`
    pub parameter_size: Option<String>,
    /// `Q4_K_M`
    pub quantization: Option<String>,
    /// The backend that serves it: `embedded`, `ollama` …
    pub source: &'static str,
    pub loaded: bool,
    pub defaults: Arc<ModelDefaults>,
}

/// Context size in tokens, for prompt and answer together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// As many as the backend makes room for, where that is known.
    pub chosen: Option<u64>,
    /// As many as the model was trained for.
    pub trained: Option<u64>,
}

impl Model {
    pub fn can(&self, capability: Capability) -> bool {
        self.capabilities.contains(&capability)
    }
}

/// Estimated memory of a loaded model, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryEstimate {
    pub weights: u64,
    /// Keys and values of all slots' tokens.
    pub kv_cache: u64,
    /// Compute buffers, and the engine itself.
    pub compute: u64,
}

impl MemoryEstimate {
    pub fn total(self) -> u64 {
        self.weights.saturating_add(self.kv_cache).saturating_add(self.compute)
    }
}

/// `[host/][namespace/]name[:tag]` in Ollama's notation. `llama3`, `llama3:latest` and `LLAMA3:Latest`
/// are equal, as they are for Ollama.
#[derive(Clone, Debug)]
pub struct ModelName {
    pub host: String,
    pub namespace: String,
    pub name: String,
    pub tag: String,
}

impl ModelName {
    pub const DEFAULT_HOST: &'static str = "registry.ollama.ai";
    pub const DEFAULT_NAMESPACE: &'static str = "library";
    pub const DEFAULT_TAG: &'static str = "latest";

    /// Host, namespace, name and tag.
    pub fn parts(&self) -> [&str; 4] {
        let Self { host, namespace, name, tag } = self;
        [host, namespace, name, tag]
    }
}

impl PartialEq for ModelName {
    fn eq(&self, other: &Self) -> bool {
        self.parts().iter().zip(other.parts()).all(|(own, other)| own.eq_ignore_ascii_case(other))
    }
}

impl Eq for ModelName {}

impl Hash for ModelName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for part in self.parts() {
            part.bytes().for_each(|byte| state.write_u8(byte.to_ascii_lowercase()));
            // Not in any part, so that no two names are the same bytes.
            state.write_u8(b'/');
        }
    }
}

impl FromStr for ModelName {
    type Err = String;

    /// Each part is letters, digits, `.`, `_` and `-` and starts with a letter, digit or `_`, so that
    /// a name can be a path on disk without leaving its folder.
    fn from_str(text: &str) -> Result<Self, String> {
        // As browsers copy it.
        let text = text.strip_prefix("https://").unwrap_or(text);
        let (path, tag) = match text.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, tag),
            _ => (text, Self::DEFAULT_TAG),
        };
        let mut parts = path.rsplitn(3, '/');
        let name = parts.next().unwrap_or_default();
        let namespace = parts.next().unwrap_or(Self::DEFAULT_NAMESPACE);
        let host = parts.next().unwrap_or(Self::DEFAULT_HOST);
        let allowed = |c: char, extra: &str| c.is_ascii_alphanumeric() || extra.contains(c);
        let sane = |part: &str, extra: &str| {
            part.len() <= 128
                && part.starts_with(|c| allowed(c, "_"))
                && part.chars().all(|c| allowed(c, extra))
        };
        if sane(host, "._-:") && sane(namespace, "._-") && sane(name, "._-") && sane(tag, "._-") {
            Ok(Self {
                host: host.to_owned(),
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                tag: tag.to_owned(),
            })
        } else {
            Err("must be a model name like qwen2.5:7b, namespace/name or hf.co/owner/repository:Q4_K_M"
                .to_owned())
        }
    }
}

impl fmt::Display for ModelName {
    /// The shortest form that means the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is = |part: &str, default: &str| part.eq_ignore_ascii_case(default);
        if !is(&self.host, Self::DEFAULT_HOST) {
            write!(f, "{}/{}/", self.host, self.namespace)?;
        } else if !is(&self.namespace, Self::DEFAULT_NAMESPACE) {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)?;
        if !is(&self.tag, Self::DEFAULT_TAG) {
            write!(f, ":{}", self.tag)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_printed_in_their_shortest_form() {
        for (text, shown) in [
            ("llama3", "llama3"),
            ("llama3:latest", "llama3"),
            ("qwen2.5:7b", "qwen2.5:7b"),
            ("library/qwen2.5:7b", "qwen2.5:7b"),
            ("registry.ollama.ai/library/llava", "llava"),
            ("me/mine:v1", "me/mine:v1"),
            ("hf.co/someone/model:Q4_K_M", "hf.co/someone/model:Q4_K_M"),
            ("https://huggingface.co/someone/model", "huggingface.co/someone/model"),
            ("127.0.0.1:5000/library/mine:v1", "127.0.0.1:5000/library/mine:v1"),
            ("Llama3:LATEST", "Llama3"),
            ("Registry.Ollama.AI/Library/llava:Latest", "llava"),
        ] {
            assert_eq!(text.parse::<ModelName>().map(|name| name.to_string()).as_deref(), Ok(shown));
        }
    }

    #[test]
    fn a_name_cannot_leave_its_folder() {
        for text in ["", "..", "../x", "a/../b", "a:../../b", "/etc/passwd", "a b", "a\\b", "a:", "\0"] {
            assert!(text.parse::<ModelName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn names_are_equal_in_any_case_and_have_one_hash() {
        let name = |text: &str| text.parse::<ModelName>().expect("a name");
        let known = std::collections::HashSet::from([name("ok")]);
        for text in
            ["ok", "OK", "ok:latest", "oK:LATEST", "library/ok", "registry.ollama.ai/Library/OK:laTEST"]
        {
            assert_eq!(name(text), name("ok"), "{text}");
            assert!(known.contains(&name(text)), "{text}");
        }
        for text in ["ok:v1", "me/ok", "okk", "hf.co/library/ok"] {
            assert_ne!(name(text), name("ok"), "{text}");
        }
    }
}
