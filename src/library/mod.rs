//! Models on disk, in Ollama's own layout (manifests and sha256 blobs).

mod entry;
mod gguf;

pub use entry::{Architecture, Entry};
