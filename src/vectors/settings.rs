//! Which store documents are kept in.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;

use super::{Qdrant, Sqlite, VectorStore, qdrant::qdrant_url};
use crate::{error::Result, types::Secret};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Documents")]
#[group(skip)]
pub struct Settings {
    /// URL of a Qdrant server to keep documents in instead of the data directory, such as http://localhost:6334. The port is that of its gRPC API
    #[arg(long, env = "QDRANT_URL", value_name = "URL", value_parser = qdrant_url)]
    pub qdrant_url: Option<String>,
    /// API key of the Qdrant server
    #[arg(long, env = "QDRANT_API_KEY", value_name = "KEY", hide_env_values = true, value_parser = Secret::parse)]
    pub qdrant_api_key: Option<Secret>,
}

/// The store that the settings ask for: Qdrant, or a file in the data folder. It is opened when it is first needed.
///
/// # Errors
/// `Setup` when the URL of Qdrant cannot be used.
pub fn build(settings: &Settings, data_dir: &Path) -> Result<Arc<dyn VectorStore>> {
    Ok(match &settings.qdrant_url {
        Some(url) => Arc::new(Qdrant::new(url, settings.qdrant_api_key.as_ref())?),
        None => Arc::new(Sqlite::new(file(data_dir))),
    })
}

/// The file of the embedded store in this data folder.
pub fn file(data_dir: &Path) -> PathBuf {
    data_dir.join("state/documents.db")
}
