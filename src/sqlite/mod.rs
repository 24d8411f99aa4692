//! SQLite files: a `Disposable` one, that the server can do without, and a `Database`, that must not be
//! lost; and `Readers`, connections beside the one that writes. What is in a file is its owner's business.

mod database;
mod disposable;
mod fault;
mod file;
mod readers;

pub(crate) use self::{
    database::{Database, begin},
    disposable::Disposable,
    fault::Fault,
    file::{FileState, SqliteFile, close_unless_ok},
    readers::{Lent, Readers},
};

#[cfg(all(test, target_os = "linux"))]
pub(crate) use self::file::is_open;
