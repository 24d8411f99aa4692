//! Megabytes of Markdown, made of Simpleton's documentation.

use std::{fmt::Write, fs, path::Path};

use crate::support::Result;

const SOURCES: [&str; 4] = ["README.md", "ARCHITECTURE.md", "docs/configuration.md", "docs/operations.md"];
/// Words after which a number makes a passage unlike its other copies, several times in each chunk.
const WORDS: usize = 40;

/// Documents of Markdown with this many bytes together, of which no two chunks are equal.
pub fn markdown(bytes: usize) -> Result<Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    for source in SOURCES {
        text += &fs::read_to_string(root.join(source))?;
    }
    let (mut documents, mut written, mut number) = (Vec::new(), 0, 0);
    while written < bytes {
        let document = numbered(&text, &mut number);
        written += document.len();
        documents.push(document);
    }
    Ok(documents)
}

fn numbered(text: &str, number: &mut usize) -> String {
    let mut numbered = String::with_capacity(text.len() * 11 / 10);
    for (at, word) in text.split(' ').enumerate() {
        numbered += word;
        numbered.push(' ');
        if at % WORDS == 0 {
            *number += 1;
            let _ = write!(numbered, "{number} ");
        }
    }
    numbered
}
