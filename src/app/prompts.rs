//! Prompts sent on behalf of a caller: the texts in `prompts/` of the source, which are part
//! of the program, unless the data folder has a file of the same name.

use std::{fs, io::ErrorKind, path::Path};

use crate::{
    error::{Error, Kind, Result},
    files,
};

/// Larger than any prompt, and small enough to be read without a thought.
const MAX_BYTES: u64 = 64 * 1024;

#[derive(Clone, Debug)]
pub struct Prompts {
    pub caption_brief: String,
    pub caption_normal: String,
    pub caption_detailed: String,
    pub ocr: String,
    pub rag_answer: String,
    pub rag_question: String,
}

/// The name of a prompt's file and its built-in text.
type Prompt = (&'static str, &'static str);

macro_rules! prompt {
    ($name:literal) => {
        (concat!($name, ".txt"), include_str!(concat!("../../prompts/", $name, ".txt")))
    };
}

const CAPTION_BRIEF: Prompt = prompt!("caption_brief");
const CAPTION_NORMAL: Prompt = prompt!("caption_normal");
const CAPTION_DETAILED: Prompt = prompt!("caption_detailed");
const OCR: Prompt = prompt!("ocr");
const RAG_ANSWER: Prompt = prompt!("rag_answer");
const RAG_QUESTION: Prompt = prompt!("rag_question");
const ALL: [Prompt; 6] = [CAPTION_BRIEF, CAPTION_NORMAL, CAPTION_DETAILED, OCR, RAG_ANSWER, RAG_QUESTION];

impl Prompts {
    /// Those of `DATA_DIR/prompts/` in place of the built-in ones.
    ///
    /// # Errors
    /// `Setup` when a file there cannot be used, or has a name that no prompt has.
    pub fn load(data_dir: &Path) -> Result<Self> {
        let folder = data_dir.join("prompts");
        check_names(&folder)?;
        Ok(Self {
            caption_brief: text(&folder, CAPTION_BRIEF)?,
            caption_normal: text(&folder, CAPTION_NORMAL)?,
            caption_detailed: text(&folder, CAPTION_DETAILED)?,
            ocr: text(&folder, OCR)?,
            rag_answer: text(&folder, RAG_ANSWER)?,
            rag_question: text(&folder, RAG_QUESTION)?,
        })
    }
}

/// A misspelt name would else be passed over in silence.
fn check_names(folder: &Path) -> Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(source) if source.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(unusable(folder, "cannot be read").with_source(source)),
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| name.ends_with(".txt")) else { continue };
        if !ALL.iter().any(|(known, _)| *known == name) {
            let names: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
            let problem = format!("is not the name of a prompt; rename it to one of {}", names.join(", "));
            return Err(unusable(&folder.join(name), &problem));
        }
    }
    Ok(())
}

fn text(folder: &Path, (name, built_in): Prompt) -> Result<String> {
    let path = folder.join(name);
    let own = match files::read(&path, MAX_BYTES) {
        Ok(bytes) => String::from_utf8(bytes)
            .map_err(|source| unusable(&path, "is not valid UTF-8").with_source(source))?,
        Err(source) if source.kind() == ErrorKind::NotFound => built_in.to_owned(),
        Err(source) if source.kind() == ErrorKind::FileTooLarge => {
            return Err(unusable(&path, "has more than 64 kB").with_source(source));
        }
        Err(source) => return Err(unusable(&path, "cannot be read").with_source(source)),
    };
    match own.trim() {
        "" => Err(unusable(&path, "is empty; write a prompt to it, or remove it")),
        prompt => Ok(prompt.to_owned()),
    }
}

fn unusable(path: &Path, problem: &str) -> Error {
    Error::new(Kind::Setup, format!("{} {problem}.", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_the_data_folder_takes_the_place_of_a_prompt() {
        let data = tempfile::tempdir().expect("a folder");
        let built_in = Prompts::load(data.path()).expect("the built-in ones");
        let folder = data.path().join("prompts");
        fs::create_dir(&folder).expect("a folder");
        fs::write(folder.join("ocr.txt"), "Read it.\n").expect("a file");
        fs::write(folder.join("ocr.txt~"), "").expect("an editor's file");
        let own = Prompts::load(data.path()).expect("prompts");
        assert_eq!((own.ocr.as_str(), &own.caption_brief), ("Read it.", &built_in.caption_brief));
        for (name, content, problem) in [
            ("ocr.txt", &b" \n"[..], "is empty"),
            ("ocr.txt", b"\xff\xfe", "UTF-8"),
            ("ocr.txt", &[b'x'; 64 * 1024 + 1], "64 kB"),
            ("orc.txt", b"Read it.", "is not the name of a prompt"),
        ] {
            fs::write(folder.join(name), content).expect("a file");
            let error = Prompts::load(data.path()).expect_err(problem);
            assert!(error.message().contains(name) && error.message().contains(problem), "{error:?}");
        }
    }
}
