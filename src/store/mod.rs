//! Data that the server keeps in SQLite besides its cache: the history of aggregates.

pub mod history;

pub use self::history::{Covered, History, Settings, Standing};
