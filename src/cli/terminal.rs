//! Text for the terminal: it may come from models, registries and servers, and must not control the terminal.

use std::{
    borrow::Cow,
    fmt::Display,
    io::{self, Write},
};

use serde_json::Value;

/// Prints a line. `simpleton doctor | head` closes the pipe early, which is not an error.
pub(super) fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{}", printable(&line.to_string()));
}

/// Prints JSON over several lines.
pub(super) fn say_json(json: &Value) {
    let escape = |c: char| match c {
        // serde_json leaves these as they are.
        '\u{7f}'..='\u{9f}' => format!("\\u{:04x}", u32::from(c)),
        _ => c.to_string(),
    };
    say(format!("{json:#}").chars().map(escape).collect::<String>());
}

/// Returns the text with its control characters, except line ends and tabs, escaped.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    let is_control = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if !text.contains(is_control) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| if is_control(c) { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escape).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_control_the_terminal() {
        for (text, shown) in [
            ("a\tb\nc é 日本", "a\tb\nc é 日本"),
            ("\u{1b}[31mred\u{7}", "\\u{1b}[31mred\\u{7}"),
            ("over\rwritten\u{8}\u{7f}\u{9b}2J", "over\\rwritten\\u{8}\\u{7f}\\u{9b}2J"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }
}
