//! The real engine, for the tests and benchmarks that need it.

use std::{env, path::PathBuf};

/// As the server itself looks for it, with the data folder that it has by default.
pub fn llama_server() -> PathBuf {
    let named = ["SIMPLETON_TEST_ENGINE", "LLAMA_SERVER"].into_iter().filter_map(env::var_os);
    let data = env::var_os("XDG_DATA_HOME").map(PathBuf::from);
    let data = data.or_else(|| Some(env::home_dir()?.join(".local/share")));
    let path = env::var_os("PATH").unwrap_or_default();
    named
        .map(PathBuf::from)
        .chain(data.map(|data| data.join("simpleton/engine/llama-server")))
        .chain(env::split_paths(&path).map(|folder| folder.join("llama-server")))
        .find(|path| path.is_file())
        .expect("llama-server is needed: set SIMPLETON_TEST_ENGINE, or run `make test`, which builds it")
}
