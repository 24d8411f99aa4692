//! Lines that a user types, with editing and a history.

use std::path::{Path, PathBuf};

use rustyline::{DefaultEditor, error::ReadlineError};

use crate::{
    error::{Error, Kind, Result},
    files,
};

const MARK: &str = "\"\"\"";

#[derive(Debug, PartialEq)]
pub(super) enum Line {
    Prompt(String),
    Empty,
    Help,
    Clear,
    System(String),
    /// A command that is incomplete, as it is to be given.
    Usage(&'static str),
    Unknown(String),
    /// Ctrl-C.
    Interrupted,
    /// Ctrl-D or `/bye`.
    End,
}

pub(super) struct Editor {
    editor: DefaultEditor,
    history: PathBuf,
}

impl Editor {
    /// # Errors
    /// `Setup` when the terminal cannot be used.
    pub(super) fn open(data_dir: &Path) -> Result<Self> {
        let mut editor = DefaultEditor::new().map_err(unusable)?;
        let history = data_dir.join("prompts.history");
        // A history that cannot be read is an empty one.
        let _ = editor.load_history(&history);
        Ok(Self { editor, history })
    }

    /// Reads a prompt, of several lines between `"""`, or a command.
    ///
    /// # Errors
    /// `Setup` when the terminal cannot be used.
    pub(super) fn read(&mut self) -> Result<Line> {
        let mut text = String::new();
        loop {
            let mark = if text.is_empty() { ">>> " } else { "... " };
            match self.editor.readline(mark) {
                Ok(line) => text += &line,
                Err(ReadlineError::Interrupted) => return Ok(Line::Interrupted),
                Err(ReadlineError::Eof) => return Ok(Line::End),
                Err(error) => return Err(unusable(error)),
            }
            if !is_open(&text) {
                break;
            }
            text.push('\n');
        }
        self.remember(&text);
        Ok(parse(&text))
    }

    fn remember(&mut self, text: &str) {
        // A chat also works without a history.
        let _ = self.editor.add_history_entry(text);
        let _ = files::ensure_private(&self.history);
        let _ = self.editor.append_history(&self.history);
    }
}

fn unusable(source: ReadlineError) -> Error {
    Error::new(Kind::Setup, "The terminal cannot be read; give the prompt as an argument.")
        .with_source(source)
}

/// Whether a prompt of several lines is unfinished.
fn is_open(text: &str) -> bool {
    text.trim_start().strip_prefix(MARK).is_some_and(|rest| !rest.contains(MARK))
}

fn parse(text: &str) -> Line {
    let text = text.trim();
    let text = text.strip_prefix(MARK).map_or(text, |rest| rest.strip_suffix(MARK).unwrap_or(rest)).trim();
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    match (first, rest.trim()) {
        ("", _) => Line::Empty,
        ("/bye" | "/exit", _) => Line::End,
        ("/?" | "/help", _) => Line::Help,
        ("/clear", _) => Line::Clear,
        ("/set", setting) => match setting.split_once(char::is_whitespace) {
            Some(("system", text)) => Line::System(text.trim().to_owned()),
            _ => Line::Usage("/set system TEXT"),
        },
        // A path has another slash.
        (command, _)
            if command.strip_prefix('/').is_some_and(|word| word.chars().all(char::is_alphabetic)) =>
        {
            Line::Unknown(command.to_owned())
        }
        _ => Line::Prompt(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_prompts_or_commands() {
        let prompt = |text: &str| Line::Prompt(text.to_owned());
        for (text, line) in [
            ("  Hello, you  ", prompt("Hello, you")),
            ("\"\"\"one\ntwo\"\"\"", prompt("one\ntwo")),
            ("/tmp/a.png what is this", prompt("/tmp/a.png what is this")),
            ("/a.png", prompt("/a.png")),
            (" ", Line::Empty),
            ("/bye", Line::End),
            ("/?", Line::Help),
            ("/clear", Line::Clear),
            ("/set system Be  brief.", Line::System("Be  brief.".to_owned())),
            ("/bye now", Line::End),
            ("/set sytem x", Line::Usage("/set system TEXT")),
            ("/set system", Line::Usage("/set system TEXT")),
            ("/quit", Line::Unknown("/quit".to_owned())),
        ] {
            assert_eq!(parse(text), line, "{text}");
        }
    }

    #[test]
    fn a_prompt_of_several_lines_ends_with_its_mark() {
        for (text, open) in [
            ("\"\"\"a", true),
            ("\"\"\"a\nb", true),
            ("\"\"\"a\nb\"\"\"", false),
            ("a\"\"\"", false),
            ("\"\"\"a\"\"\"", false),
        ] {
            assert_eq!(is_open(text), open, "{text:?}");
        }
    }
}
