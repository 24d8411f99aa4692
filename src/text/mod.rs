//! Documents as text. No I/O.

pub mod extract;
