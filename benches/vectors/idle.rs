//! Memory of a process that has a large collection open, has searched it, and has nothing to do.

use std::{
    future,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use simpleton::vectors::{CollectionName, Query, QueryVector, Search, Sqlite, VectorStore};

use crate::{
    data::{DIMENSION, embedding},
    support::{
        Result,
        children::Program,
        processor::memory_of,
        report::{Verdicts, heading},
    },
};

/// Variable with which this program is that process.
pub const FILE: &str = "SIMPLETON_BENCH_VECTORS";

pub fn measure(file: &Path, verdicts: &mut Verdicts) -> Result<()> {
    heading("Memory with the large collection open");
    let mut command = Command::new(std::env::current_exe()?);
    let mut child = Program::start(command.env(FILE, file).stdout(Stdio::piped()))?;
    let mut line = String::new();
    BufReader::new(child.output()?).read_line(&mut line)?;
    let memory = memory_of(child.pid())?;
    verdicts.add("open and idle", format!("{memory:.0} MB"), "< 60 MB", memory < 60.0);
    Ok(())
}

/// Searches once, says so, and waits until it is ended.
pub async fn serve(file: PathBuf) -> Result<()> {
    let store = Sqlite::new(file);
    let vector = QueryVector { model: embedding().model, values: vec![1.0; DIMENSION] };
    let search = Search::Vector(vector);
    let query = Query { search, filter: None, top_k: 5, score_threshold: None, diversity: 0.0 };
    store.search(&CollectionName::new("large")?, query).await?;
    println!("searched");
    future::pending().await
}
