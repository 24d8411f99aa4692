//! Checks of all parsers of bytes from outside, each run by the fuzz target of the same name in `bin/`. The
//! program's own files are included instead of its crate: they are pure, and the rest would cost minutes to build.
#![expect(dead_code, unused_imports, reason = "the program uses the rest")]

pub mod checks;
mod http;
mod pieces;

#[path = "../../src/error.rs"]
mod error;
#[path = "../../src/model_store/gguf/mod.rs"]
mod gguf;
#[path = "../../src/images/mod.rs"]
mod images;
#[path = "../../src/http_client/message.rs"]
mod message;
#[path = "../../src/text/mod.rs"]
mod text;
#[path = "../../src/types/mod.rs"]
mod types;
#[path = "../../src/wire/mod.rs"]
mod wire;
