//! Our own vocabulary, free of any vendor's JSON and of any I/O. Preconditions are types here: a
//! `ChatRequest` that exists is one that may be sent.

mod alert;
mod cache_status;
mod chat;
mod control_tokens;
mod embed;
mod entry_type;
mod event;
mod json_text;
mod json_tree;
mod keep_alive;
mod key_id;
mod message;
mod model;
mod model_defaults;
mod model_details;
mod principal;
mod repeated_name;
mod sampling;
mod secret;
mod token_type;
mod tool;
mod usage;

pub use alert::{Alert, AlertKind, Change, Notification, Severity};
pub use cache_status::CacheStatus;
pub use chat::{ChatEvent, ChatRequest, Completion, Done, FinishReason, Format, Prompt, Think};
pub use control_tokens::ControlTokens;
pub use embed::{EmbedReply, EmbedRequest};
pub use entry_type::{EntryType, PerType};
pub use event::Event;
pub use json_text::JsonText;
pub use keep_alive::KeepAlive;
pub use key_id::KeyId;
pub use message::{Message, Part, Role};
pub use model::{Capability, Context, MemoryEstimate, Model, ModelName};
pub use model_defaults::ModelDefaults;
pub use model_details::{LoadOptions, LoadedModel, ModelDetails};
pub use principal::Principal;
pub use sampling::{Logprob, Sampling, TokenLogprob};
pub use secret::Secret;
pub use token_type::{MAX_CONTROL_TOKENS, MAX_TAKEN_FOR_CONTROL, TokenType, is_control_token};
pub use tool::{Tool, ToolCall, ToolChoice};
pub use usage::{Timings, Usage};
