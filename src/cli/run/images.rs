//! Images in a prompt, by the paths of their files.

use std::path::{Path, PathBuf};

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{
    error::{Error, Kind, Result},
    files,
};

const ENDINGS: [&str; 6] = ["png", "jpg", "jpeg", "webp", "gif", "bmp"];

/// Characters of the sentence around a path.
const PUNCTUATION: [char; 7] = ['?', '!', '.', ',', ';', ':', ')'];

/// The server has its own limit (`MAX_BODY_MB`).
const MAX_FILE: u64 = 256 * 1024 * 1024;

/// Returns the prompt without the paths of image files that exist, and these files in base64. A path with spaces is
/// in quotes or has backslashes, as a terminal writes a file that is dropped on it.
///
/// # Errors
/// `Setup` when a file cannot be read.
pub(super) fn split(prompt: &str) -> Result<(String, Vec<String>)> {
    let (mut text, mut images) = (String::new(), Vec::new());
    let mut rest = prompt;
    while !rest.is_empty() {
        let (word, end) = word(rest);
        let bare = word.trim_end_matches(PUNCTUATION);
        match (file(&word), file(bare)) {
            (Some(path), _) => images.push(encode(&path)?),
            (None, Some(path)) => {
                images.push(encode(&path)?);
                text.push_str(&word[bare.len()..]);
            }
            (None, None) => text.push_str(&rest[..end]),
        }
        let gap = rest[end..].find(|c: char| !c.is_whitespace()).map_or(rest.len(), |at| end + at);
        text.push_str(&rest[end..gap]);
        rest = &rest[gap..];
    }
    Ok((text.trim().to_owned(), images))
}

/// Returns the first word without quotes and backslashes, and where it ends.
fn word(text: &str) -> (String, usize) {
    let quote = text.chars().next().filter(|first| matches!(first, '"' | '\''));
    if let Some(quote) = quote
        && let Some(length) = text[1..].find(quote)
    {
        return (text[1..=length].to_owned(), length + 2);
    }
    let (mut word, mut is_escaped) = (String::new(), false);
    for (at, c) in text.char_indices() {
        match c {
            '\\' if !is_escaped => is_escaped = true,
            c if c.is_whitespace() && !is_escaped => return (word, at),
            c => {
                word.push(c);
                is_escaped = false;
            }
        }
    }
    (word, text.len())
}

/// Path of an image file that exists.
fn file(word: &str) -> Option<PathBuf> {
    let path = match word.strip_prefix("~/") {
        Some(rest) => std::env::home_dir()?.join(rest),
        None => PathBuf::from(word),
    };
    let ending = path.extension()?.to_str()?;
    let is_image = ENDINGS.iter().any(|known| known.eq_ignore_ascii_case(ending));
    (is_image && path.is_file()).then_some(path)
}

fn encode(path: &Path) -> Result<String> {
    let bytes = files::read(path, MAX_FILE).map_err(|source| {
        Error::new(Kind::Setup, format!("The image {} cannot be read.", path.display())).with_source(source)
    })?;
    Ok(BASE64_STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_images_that_exist_are_taken_out() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["a.png", "two words.JPG", "notes.txt"] {
            std::fs::write(folder.path().join(name), name).expect("a file");
        }
        let at = folder.path().display();
        for (prompt, text, images) in [
            (format!("What is {at}/a.png?"), "What is ?".to_owned(), vec!["a.png"]),
            (format!("What is this? {at}/a.png"), "What is this?".to_owned(), vec!["a.png"]),
            (
                format!("{at}/two\\ words.JPG and '{at}/a.png' same?"),
                "and  same?".to_owned(),
                vec!["two words.JPG", "a.png"],
            ),
            (format!("\"{at}/two words.JPG\""), String::new(), vec!["two words.JPG"]),
            (format!("{at}/notes.txt {at}/b.png"), format!("{at}/notes.txt {at}/b.png"), vec![]),
            ("It's \"two\nlines\\ here".to_owned(), "It's \"two\nlines\\ here".to_owned(), vec![]),
        ] {
            let images: Vec<String> = images.into_iter().map(|name| BASE64_STANDARD.encode(name)).collect();
            assert_eq!(split(&prompt).expect("files"), (text, images), "{prompt}");
        }
    }
}
