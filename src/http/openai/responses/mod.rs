//! OpenAI's Responses API, `/v1/responses`: an input of items, an output of items, and responses that are stored to be
//! retrieved and continued.

mod assemble;
mod body;
mod content;
mod conversation;
pub(in crate::http) mod create;
mod earlier;
mod events;
mod input;
mod item;
mod output;
mod response;
pub(in crate::http) mod stored;
mod text;
mod text_or_list;
mod tools;
