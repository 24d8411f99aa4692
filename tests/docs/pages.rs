//! Commands printed on the pages: fenced blocks, commands with their output, commands within a sentence.

use std::{fs, path::PathBuf};

/// A fenced block.
pub(crate) struct Block {
    /// `README.md:12`
    pub(crate) place: String,
    /// Language named behind the fence.
    pub(crate) kind: String,
    pub(crate) lines: Vec<String>,
}

/// A command as it is printed, and what it prints.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) place: String,
    pub(crate) text: String,
    pub(crate) output: String,
}

/// Pages in reading order, with their texts.
pub(crate) fn pages() -> Vec<(String, String)> {
    let folder = |path: &str| {
        let files = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        let mut pages: Vec<PathBuf> =
            files.filter(|path| path.extension().is_some_and(|ending| ending == "md")).collect();
        pages.sort();
        pages
    };
    let first = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(PathBuf::from).to_vec();
    let pages = [first, folder("docs"), folder("docs/adr")].concat();
    pages.into_iter().map(|path| (path.display().to_string(), fs::read_to_string(&path).unwrap())).collect()
}

pub(crate) fn blocks(page: &str, text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut inside = false;
    for (at, line) in text.lines().enumerate() {
        match line.trim_start().strip_prefix("```") {
            Some(kind) if !inside => {
                let place = format!("{page}:{}", at + 1);
                blocks.push(Block { place, kind: kind.to_owned(), lines: Vec::new() });
                inside = true;
            }
            Some(_) => inside = false,
            None if inside => blocks.last_mut().unwrap().lines.push(line.to_owned()),
            None => {}
        }
    }
    blocks
}

impl Block {
    /// `$ command`, which goes on where a line ends with `\` or `|`, and its output up to the next one.
    pub(crate) fn commands(&self) -> Vec<Command> {
        let mut commands: Vec<Command> = Vec::new();
        let mut goes_on = false;
        for line in &self.lines {
            if let Some(text) = line.strip_prefix("$ ") {
                let place = self.place.clone();
                commands.push(Command { place, text: text.to_owned(), output: String::new() });
            } else {
                let command = commands.last_mut().unwrap_or_else(|| panic!("{}: output first", self.place));
                let part = if goes_on { &mut command.text } else { &mut command.output };
                part.push('\n');
                part.push_str(line);
            }
            let in_command = line.starts_with("$ ") || goes_on;
            goes_on = in_command && line.ends_with(['\\', '|']);
        }
        commands
    }
}

/// Code within sentences that is a command, by its first word.
pub(crate) fn inline_commands(page: &str, text: &str) -> Vec<Command> {
    let mut commands = Vec::new();
    let mut inside = false;
    for (at, line) in text.lines().enumerate() {
        inside ^= line.trim_start().starts_with("```");
        if inside {
            continue;
        }
        for code in line.split('`').skip(1).step_by(2) {
            if is_command(code) {
                let place = format!("{page}:{}", at + 1);
                commands.push(Command { place, text: code.to_owned(), output: String::new() });
            }
        }
    }
    commands
}

/// Whether it is `NAME=value` before a command.
pub(crate) fn is_assignment(word: &str) -> bool {
    word.contains('=') && !word.starts_with('-')
}

/// Whether it begins with a program that we name, and maybe settings before that.
pub(crate) fn is_command(line: &str) -> bool {
    let words = line.split_whitespace().skip_while(|word| is_assignment(word));
    let words: Vec<&str> = words.collect();
    let programs = [
        "cargo",
        "curl",
        "docker",
        "journalctl",
        "make",
        "ollama",
        "prometheus",
        "promtool",
        "simpleton",
        "sudo",
    ];
    words.len() > 1 && programs.contains(&words[0])
}
