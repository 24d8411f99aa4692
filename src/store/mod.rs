//! What the server keeps in SQLite besides its cache: what it has observed, over time.

pub mod history;

pub use self::history::{Covered, History, Settings};
