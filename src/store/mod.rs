//! Data that the server keeps in SQLite besides its cache: the history of aggregates, and callers' responses.

pub mod history;
pub mod responses;

pub use self::{
    history::{Covered, History, Settings, Standing},
    responses::Responses,
};
