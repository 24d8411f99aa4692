//! Markdown: its text stays Markdown. Metadata at its beginning (YAML or TOML, `name: value`) is taken out.

use serde_json::Value;

use super::{Heading, Refusal, writer::Writer};

pub(super) fn extract(text: &str, writer: &mut Writer) -> Result<(), Refusal> {
    let (front, body) = front_matter(text);
    for line in front.lines() {
        // Deeper levels are not ours to interpret.
        let field = line.split_once([':', '=']).filter(|(name, _)| is_name(name.trim_end()));
        if let Some((name, value)) = field {
            let value = value.trim().trim_matches(['"', '\'']);
            if !value.is_empty() {
                writer.metadata(name.trim(), Value::from(value));
            }
        }
    }
    let body = body.trim_start_matches('\n').trim_end();
    if body.is_empty() {
        return Ok(());
    }
    let start = writer.raw(body)?;
    writer.raw_headings(headings(body), start);
    Ok(())
}

fn is_name(name: &str) -> bool {
    // These describe the file, not its text.
    !matches!(name, "" | "format" | "page_count")
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// The metadata and the rest.
fn front_matter(text: &str) -> (&str, &str) {
    for fence in ["---", "+++"] {
        let Some(rest) = text.strip_prefix(fence).and_then(|rest| rest.strip_prefix('\n')) else { continue };
        let mut at = 0;
        for line in rest.split_inclusive('\n') {
            if line.trim_end() == fence {
                return (&rest[..at], &rest[at + line.len()..]);
            }
            at += line.len();
        }
    }
    ("", text)
}

/// Headings of both kinds (`#`, and underlined ones) in a Markdown text, outside of code.
pub fn headings(body: &str) -> Vec<Heading> {
    let (mut headings, mut fence, mut at) = (Vec::new(), None::<&str>, 0);
    let mut add =
        |level, text: &str, char_start| headings.push(Heading { level, text: text.to_owned(), char_start });
    let mut previous: Option<(&str, usize)> = None;
    for line in body.split('\n') {
        let (here, text) = (at, line.trim());
        at += line.chars().count() + 1;
        let mark = ["```", "~~~"].into_iter().find(|mark| text.starts_with(mark));
        match (fence, mark) {
            (None, Some(mark)) => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            _ => {}
        }
        if fence.is_some() || mark.is_some() || line.starts_with("    ") || line.starts_with('\t') {
            previous = None;
            continue;
        }
        let marks = text.bytes().take_while(|byte| *byte == b'#').count();
        let title = text[marks..].trim_end_matches('#').trim();
        if (1..=6).contains(&marks) && text[marks..].starts_with([' ', '\t']) && !title.is_empty() {
            add(u8::try_from(marks).unwrap_or(6), title, here);
        } else if let Some((title, title_at)) = previous
            && let Some(level) = underline(text)
        {
            add(level, title, title_at);
            previous = None;
            continue;
        }
        let can_be_title = !text.is_empty() && marks == 0 && !text.starts_with(['-', '>', '*', '|', '+']);
        // Only a line of its own: the last line of a paragraph above a rule is none.
        previous = (can_be_title && previous.is_none()).then_some((text, here));
    }
    headings
}

fn underline(text: &str) -> Option<u8> {
    let is_made_of = |c: char| text.len() >= 2 && text.chars().all(|other| other == c);
    if is_made_of('=') { Some(1) } else { is_made_of('-').then_some(2) }
}
