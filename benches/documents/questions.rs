//! Questions as a person would ask them, in other words than the documents use, each with the phrases of which a right
//! passage has one. A fifth of them have no answer in the documents. They are written by hand, in project.jsonl and
//! manual.jsonl.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{
    manuals::{self, manual},
    server::Server,
    support::{Result, report::heading},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    pub question: String,
    /// Without any, the documents have no answer.
    #[serde(default)]
    pub phrases: Vec<String>,
    /// Words that must all be in the answer. Alternatives are separated by `|`.
    #[serde(default)]
    pub answer: Vec<String>,
}

/// Documents in a collection, and the questions about them.
pub struct Set {
    pub name: &'static str,
    pub answered: Vec<Question>,
    pub unanswered: Vec<Question>,
}

impl Question {
    /// Whether this passage contains the answer.
    pub fn is_in(&self, passage: &str) -> bool {
        let passage = plain(passage);
        self.phrases.iter().any(|phrase| passage.contains(&plain(phrase)))
    }

    pub fn is_answered_by(&self, answer: &str) -> bool {
        let answer = plain(answer);
        self.answer.iter().all(|words| words.split('|').any(|word| answer.contains(&plain(word))))
    }
}

/// Ingests the documents of both sets; the manual's is left out if the manual is not there.
pub async fn sets(server: &Server) -> Result<Vec<Set>> {
    let mut sets = vec![set(server, "project", include_str!("project.jsonl"), project()?).await?];
    if let Some(folder) = manual(manuals::QUESTIONS) {
        sets.push(set(server, "manual", include_str!("manual.jsonl"), chapters(&folder)?).await?);
    }
    Ok(sets)
}

/// Simpleton's own documentation.
fn project() -> Result<Vec<PathBuf>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<PathBuf> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(|name| root.join(name)).into();
    for folder in ["docs", "docs/adr"] {
        files.extend(listed(&root.join(folder), "md")?);
    }
    Ok(files)
}

/// Chapters of a manual made by Sphinx, without its lists of contents and the page that has all chapters again.
fn chapters(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = listed(folder, "html")?;
    files.retain(|file| {
        let name = file.file_stem().unwrap_or_default();
        ["index", "genindex", "search", "developers-reference"].iter().all(|other| name != *other)
    });
    Ok(files)
}

fn listed(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

async fn set(server: &Server, name: &'static str, questions: &str, files: Vec<PathBuf>) -> Result<Set> {
    heading(&format!("Questions about the {name}"));
    let (mut text, mut chunks) = (String::new(), 0);
    for (number, file) in files.iter().enumerate() {
        let (title, id) =
            (file.file_name().unwrap_or_default().to_string_lossy(), format!("{name}-{number}"));
        let fields = [("collection", name), ("document_id", &*id)];
        let uploaded = server.upload("/rag/upload", &title, &fs::read(file)?, &fields).await?;
        chunks += uploaded.body["chunks_created"].as_u64().unwrap_or(0);
        let content = server.get(&format!("/rag/documents/{id}/content")).await?;
        text.push('\n');
        text += content.body["content"].as_str().ok_or("no text")?;
    }
    println!("  {} documents of {} kB, {chunks} chunks", files.len(), text.len() / 1000);
    let questions: Vec<Question> =
        questions.lines().map(|line| Ok(serde_json::from_str(line)?)).collect::<Result<_>>()?;
    let (unanswered, mut answered): (Vec<_>, Vec<_>) =
        questions.into_iter().partition(|question| question.phrases.is_empty());
    answered.retain_mut(|question| keep_true(question, &plain(&text)));
    Ok(Set { name, answered, unanswered })
}

/// Removes phrases that the documents no longer have, and says so. False if none is left.
fn keep_true(question: &mut Question, text: &str) -> bool {
    question.phrases.retain(|phrase| {
        let is_there = text.contains(&plain(phrase));
        if !is_there {
            println!("  no longer in the documents, please change the question's file: {phrase}");
        }
        is_there
    });
    !question.phrases.is_empty()
}

/// A text in small letters and without marks of its format, which differ with the format.
fn plain(text: &str) -> String {
    let mut text = text.replace('’', "'").to_lowercase();
    text.retain(|c| !matches!(c, '`' | '*' | '"' | '“' | '”'));
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
