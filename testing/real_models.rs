//! The real models that `make` downloads, for the tests and benchmarks that need them.

use std::{env, path::PathBuf};

/// Returns the file of `all-minilm` or `qwen2.5-coder:0.5b`.
pub fn real_model(name: &str) -> PathBuf {
    let (variable, usual) = match name {
        "all-minilm" => ("SIMPLETON_TEST_EMBEDDING", "all-minilm-l6-v2-f16.gguf"),
        "qwen2.5-coder:0.5b" => ("SIMPLETON_TEST_TEXT", "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"),
        _ => panic!("{name} is not downloaded by make"),
    };
    let usual =
        || env::home_dir().expect("a home directory").join(".local/share/simpleton/downloads").join(usual);
    let file = env::var_os(variable).map_or_else(usual, PathBuf::from);
    assert!(file.is_file(), "{} is needed: run `make test`, which downloads it", file.display());
    file
}
