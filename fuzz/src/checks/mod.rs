//! Checks, one for each fuzz target. A check panics when what it asserts does not hold for an input.

mod framing;
mod gguf;
mod http1;
mod images;

pub use self::{framing::framing, gguf::gguf, http1::http1, images::images};
pub use crate::http::multipart;
