//! The embedded engine: runs llama.cpp's `llama-server`, one child process per loaded model and role, each
//! behind a private unix socket. Decides when a child starts, which requests may use it, and when it is
//! unloaded; `backend/` sends the requests.
//!
//! A child process and not a library, because ordinary mistakes abort llama.cpp: a crash fails only the
//! child's own requests, and unloading returns all of its memory.

mod admission;
mod budget;
mod child;
mod fit;
mod lease;
mod life;
mod locate;
mod log_tail;
mod memory;
mod model_slot;
mod pool;
mod queue;
mod refusals;
mod runtime_folder;
mod settings;
mod spawner;
mod starts;
mod state;
mod usage;
mod use_guard;
mod watch;

use std::fmt;

pub use budget::{MemoryBudget, ModelSize};
pub use lease::{Death, Lease};
pub use locate::{Located, locate};
pub use pool::{Engine, Loaded, Snapshot};
pub use refusals::Fingerprint;
pub use settings::{GpuLayers, Settings};

/// Role of a child. llama-server either generates or embeds, so a model that is asked for
/// both is loaded twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    Chat,
    Embed,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Embed => "embed",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
