//! Documents as text. No I/O.

pub mod chunk;
pub mod extract;
pub mod tokens;
