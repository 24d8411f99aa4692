//! Regular expressions of JSON Schema (ECMA 262), converted to what llama.cpp supports: they match whole
//! strings, have no `\d`, repeat only classes and groups, and apply inside JSON's quotation marks, where a
//! dot would match the closing one.

use regex_syntax::{
    ParserBuilder,
    ast::ErrorKind as AstError,
    hir::{Class, Hir, HirKind, Look, Repetition},
};

use super::ecma::{Looks, to_rust};

const MAX_LENGTH: usize = 1_000;
/// Maximum nesting of groups.
const MAX_DEPTH: u32 = 50;
/// Maximum number of characters with all repetitions expanded.
const MAX_SIZE: u64 = 2_000;
/// Maximum number of characters that may be next at one time, each after another way through the pattern:
/// llama.cpp tries every way with every token, and does not merge ways that have met.
const MAX_CHOICES: u64 = 64;
/// Maximum number of ranges of one class: each is tried for each token.
const MAX_RANGES: usize = 64;

/// A pattern in llama.cpp's form.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pattern {
    pub(super) text: String,
    /// Number of characters with all repetitions expanded, and the maximum of those that may be next at one
    /// time.
    pub(super) size: u64,
    pub(super) choices: u64,
}

/// Parses a pattern without its lookaround groups, which only a finished answer can be checked against.
///
/// # Errors
/// Describes the fault without quoting the pattern.
pub(super) fn parse(pattern: &str) -> Result<Hir, String> {
    if pattern.chars().count() > MAX_LENGTH {
        return Err(format!("may have at most {MAX_LENGTH} characters"));
    }
    within_limits(&to_rust(pattern, Looks::Grouped)?)?;
    within_limits(&to_rust(pattern, Looks::Dropped)?)
}

fn within_limits(pattern: &str) -> Result<Hir, String> {
    let parsed = ParserBuilder::new().nest_limit(MAX_DEPTH).build().parse(pattern);
    let hir = parsed.map_err(|error| match error {
        regex_syntax::Error::Parse(error) => match error.kind() {
            AstError::UnsupportedBackreference => "must not use backreferences".to_owned(),
            AstError::NestLimitExceeded(_) => {
                format!("may have at most {MAX_DEPTH} nested groups")
            }
            kind => format!("must be a regular expression: {kind}"),
        },
        _ => "must be a regular expression".to_owned(),
    })?;
    match size(&hir) {
        size if size > MAX_SIZE => {
            Err(format!("may have at most {MAX_SIZE} characters with repetitions expanded"))
        }
        _ => Ok(hir),
    }
}

/// Minimum and maximum length of a text that matches the pattern as a whole; `None` is unlimited.
pub(super) fn lengths(hir: &Hir) -> (u64, Option<u64>) {
    let (branches, mut most) = (branches(hir), Some(0_u64));
    let mut least = u64::MAX;
    for branch in &branches {
        let (from, to) = branch.inner.iter().fold((0, Some(0)), |(from, to), part| {
            let (least, most) = chars(part);
            (least.saturating_add(from), sum(most, to))
        });
        least = least.min(from);
        let is_whole = branch.from_start && branch.to_end;
        most = if is_whole { most.zip(to).map(|(a, b)| a.max(b)) } else { None };
    }
    (least, most)
}

/// Converts the pattern to llama.cpp's form, for texts of `least` to `most` characters as far as it can express
/// that. `None` if it has no rule for it: then only a finished answer can be checked.
pub(super) fn to_engine(hir: &Hir, least: u64, most: Option<u64>) -> Option<Pattern> {
    let branches = branches(hir);
    let mut written = Vec::new();
    for branch in &branches {
        written.push(match (branch, branch.inner.as_slice()) {
            // A single repeated class can take the length limits of the schema.
            (Branch { from_start: true, to_end: true, .. }, [only])
                if branches.len() == 1
                    && matches!(only.kind(), HirKind::Repetition(of) if is_class(&of.sub)) =>
            {
                bounded(only, least, most)?
            }
            _ => branch.write()?,
        });
    }
    let (size, choices) = written.iter().fold((0_u64, 0_u64), |(size, choices), part| {
        (size.saturating_add(part.size), choices.saturating_add(part.choices))
    });
    if choices > MAX_CHOICES {
        return None;
    }
    let texts: Vec<String> = written.into_iter().map(|part| part.text).collect();
    let text =
        if texts.len() > 1 { format!("^({})$", texts.join("|")) } else { format!("^{}$", texts.concat()) };
    Some(Pattern { text, size, choices })
}

fn bounded(repeated: &Hir, least: u64, most: Option<u64>) -> Option<Written> {
    let HirKind::Repetition(of) = repeated.kind() else { return None };
    let max = of.max.map(u64::from);
    let max = max.into_iter().chain(most.filter(|most| *most <= MAX_SIZE)).min();
    let min = u64::from(of.min).max(least);
    let max = max.map(|max| u32::try_from(max).unwrap_or(u32::MAX));
    repetition(&Repetition { min: u32::try_from(min).ok()?, max, ..of.clone() })
}

/// An alternative of a pattern, and whether it is anchored at either end.
struct Branch {
    inner: Vec<Hir>,
    from_start: bool,
    to_end: bool,
}

fn branches(hir: &Hir) -> Vec<Branch> {
    let alternatives = match hir.kind() {
        HirKind::Alternation(list) => list.clone(),
        _ => vec![hir.clone()],
    };
    let branch = |hir: Hir| {
        let mut inner = match hir.kind() {
            HirKind::Concat(list) => list.clone(),
            _ => vec![hir],
        };
        let is = |part: Option<&Hir>, look| part.is_some_and(|part| *part.kind() == HirKind::Look(look));
        let from_start = is(inner.first(), Look::Start);
        if from_start {
            inner.remove(0);
        }
        let to_end = is(inner.last(), Look::End);
        if to_end {
            inner.pop();
        }
        Branch { inner, from_start, to_end }
    };
    alternatives.into_iter().map(branch).collect()
}

impl Branch {
    fn write(&self) -> Option<Written> {
        let anything = Written { text: format!("{SAFE}*"), size: 1, choices: 1, least: 0, most: None };
        let mut parts = Vec::new();
        if !self.from_start {
            parts.push(anything.clone());
        }
        for part in &self.inner {
            parts.push(write(part)?);
        }
        if !self.to_end {
            parts.push(anything);
        }
        Some(concat(parts))
    }
}

/// Characters that are unescaped in a JSON string.
const SAFE: &str = r"[ !#-\x5B\x5D-~\u00A0-\U0010FFFF]";

#[derive(Clone, Debug)]
struct Written {
    text: String,
    size: u64,
    choices: u64,
    /// Minimum and maximum number of characters.
    least: u64,
    most: Option<u64>,
}

fn write(hir: &Hir) -> Option<Written> {
    Some(match hir.kind() {
        HirKind::Empty => Written { text: String::new(), size: 0, choices: 0, least: 0, most: Some(0) },
        HirKind::Literal(literal) => {
            let literal = std::str::from_utf8(&literal.0).ok()?;
            let text: String = literal.chars().map(letter).collect();
            let count = literal.chars().count() as u64;
            Written { size: text.chars().count() as u64, choices: 1, least: count, most: Some(count), text }
        }
        HirKind::Class(Class::Unicode(class)) => {
            let ranges: Vec<(char, char)> =
                class.ranges().iter().map(|range| (range.start(), range.end())).collect();
            return any_of(&ranges);
        }
        HirKind::Class(Class::Bytes(_)) | HirKind::Look(_) => return None,
        HirKind::Repetition(of) => return repetition(of),
        HirKind::Capture(of) => {
            let inner = write(&of.sub)?;
            Written { text: format!("({})", inner.text), ..inner }
        }
        HirKind::Concat(parts) => concat(parts.iter().map(write).collect::<Option<_>>()?),
        HirKind::Alternation(parts) => {
            let parts: Vec<Written> = parts.iter().map(write).collect::<Option<_>>()?;
            let add = |of: fn(&Written) -> u64| parts.iter().map(of).fold(0_u64, u64::saturating_add);
            let most = parts.iter().map(|part| part.most).reduce(|a, b| a.zip(b).map(|(a, b)| a.max(b)));
            Written {
                size: add(|part| part.size),
                choices: add(|part| part.choices),
                least: parts.iter().map(|part| part.least).min()?,
                most: most?,
                text: format!("({})", parts.into_iter().map(|part| part.text).collect::<Vec<_>>().join("|")),
            }
        }
    })
}

/// Sequence of parts. After parts of variable length, a part may begin at several places, and all characters
/// that may be next at one time are tried for each token.
fn concat(parts: Vec<Written>) -> Written {
    let mut all = Written { text: String::new(), size: 0, choices: 0, least: 0, most: Some(0) };
    let (mut apart, mut together) = (0_u64, 0_u64);
    for part in parts {
        match all.most.map(|most| most - all.least) {
            Some(0) => apart = apart.max(part.choices),
            places => {
                let choices = places.map_or(u64::MAX, |places| (places + 1).saturating_mul(part.choices));
                together = together.saturating_add(choices.min(part.size));
            }
        }
        all.text += &part.text;
        all.size = all.size.saturating_add(part.size);
        all.least = all.least.saturating_add(part.least);
        all.most = sum(all.most, part.most);
    }
    all.choices = apart.saturating_add(together);
    all
}

fn repetition(of: &Repetition) -> Option<Written> {
    let inner = write(&of.sub)?;
    let (min, max) = (u64::from(of.min), of.max.map(u64::from));
    let size = inner.size.saturating_mul(max.unwrap_or(min).max(1));
    let times = match (min, max) {
        (0, None) => "*".to_owned(),
        (1, None) => "+".to_owned(),
        (0, Some(1)) => "?".to_owned(),
        (min, None) => format!("{{{min},}}"),
        (min, Some(max)) if min == max => format!("{{{min}}}"),
        (min, Some(max)) => format!("{{{min},{max}}}"),
    };
    let text = if is_class(&of.sub) { inner.text } else { format!("({})", inner.text) };
    Some(Written {
        text: text + &times,
        size,
        // Parts of fixed length are always at one place.
        choices: if inner.most == Some(inner.least) { inner.choices } else { size },
        least: inner.least.saturating_mul(min),
        most: match (inner.most, max) {
            (Some(most), Some(max)) => Some(most.saturating_mul(max)),
            (Some(0), _) => Some(0),
            _ => None,
        },
    })
}

fn is_class(hir: &Hir) -> bool {
    matches!(hir.kind(), HirKind::Class(_))
}

/// A class without the characters that JSON escapes, next to the escapes of the usual ones. A class with
/// letters of too many languages becomes all of non-ASCII.
fn any_of(ranges: &[(char, char)]) -> Option<Written> {
    if ranges.len() > MAX_RANGES {
        let ascii = ranges.iter().filter(|(from, _)| from.is_ascii());
        let mut wider: Vec<(char, char)> = ascii.map(|(from, to)| (*from, *to.min(&'~'))).collect();
        wider.push(('\u{a0}', char::MAX));
        return if wider.len() > MAX_RANGES { None } else { any_of(&wider) };
    }
    const PLAIN: [(char, char); 4] = [(' ', '!'), ('#', '['), (']', '~'), ('\u{a0}', char::MAX)];
    let mut class = String::new();
    let mut count = 0;
    for (from, to) in ranges {
        for (start, end) in PLAIN {
            let (from, to) = (*from.max(&start), *to.min(&end));
            if from <= to {
                count += 1;
                class += &range(from, to);
            }
        }
    }
    if count > MAX_RANGES {
        return None;
    }
    let has = |letter: char| ranges.iter().any(|(from, to)| (*from..=*to).contains(&letter));
    let mut choices: Vec<String> = if class.is_empty() { Vec::new() } else { vec![format!("[{class}]")] };
    choices.extend(['"', '\\', '\n', '\t'].into_iter().filter(|escaped| has(*escaped)).map(letter));
    let text = match choices.as_slice() {
        [] => return None,
        [only] if !class.is_empty() => only.clone(),
        all => format!("({})", all.join("|")),
    };
    let number = choices.len() as u64;
    Some(Written { text, size: number, choices: number, least: 1, most: Some(1) })
}

fn range(from: char, to: char) -> String {
    let escaped = |letter: char| match letter {
        ' ' | '0'..='9' | 'a'..='z' | 'A'..='Z' => letter.to_string(),
        _ => match u32::from(letter) {
            code @ 0..=0xff => format!("\\x{code:02X}"),
            code @ 0x100..=0xffff => format!("\\u{code:04X}"),
            code => format!("\\U{code:08X}"),
        },
    };
    if from == to { escaped(from) } else { format!("{}-{}", escaped(from), escaped(to)) }
}

/// A character as JSON writes it, in llama.cpp's pattern syntax.
fn letter(letter: char) -> String {
    match letter {
        '"' => r#"\\""#.to_owned(),
        '\\' => r"\\\\".to_owned(),
        '\n' => r"\\n".to_owned(),
        '\r' => r"\\r".to_owned(),
        '\t' => r"\\t".to_owned(),
        '\0'..='\x1f' => format!(r"\\u{:04x}", u32::from(letter)),
        '^' | '$' | '.' | '[' | ']' | '(' | ')' | '|' | '{' | '}' | '*' | '+' | '?' => format!("\\{letter}"),
        letter => letter.to_string(),
    }
}

fn size(hir: &Hir) -> u64 {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 0,
        HirKind::Literal(literal) => literal.0.len() as u64,
        HirKind::Class(_) => 1,
        HirKind::Repetition(of) => size(&of.sub).saturating_mul(u64::from(of.max.unwrap_or(of.min)).max(1)),
        HirKind::Capture(of) => size(&of.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().map(size).fold(0, u64::saturating_add)
        }
    }
}

fn chars(hir: &Hir) -> (u64, Option<u64>) {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => (0, Some(0)),
        HirKind::Literal(literal) => {
            let count = String::from_utf8_lossy(&literal.0).chars().count() as u64;
            (count, Some(count))
        }
        HirKind::Class(_) => (1, Some(1)),
        HirKind::Repetition(of) => {
            let (least, most) = chars(&of.sub);
            let most = match (most, of.max) {
                (Some(0), _) => Some(0),
                (Some(most), Some(max)) => Some(most.saturating_mul(u64::from(max))),
                _ => None,
            };
            (least.saturating_mul(u64::from(of.min)), most)
        }
        HirKind::Capture(of) => chars(&of.sub),
        HirKind::Concat(parts) => parts
            .iter()
            .map(chars)
            .fold((0, Some(0)), |(from, to), (least, most)| (least.saturating_add(from), sum(most, to))),
        HirKind::Alternation(parts) => {
            let all = parts.iter().map(chars);
            all.reduce(|(a, b), (c, d)| (a.min(c), b.zip(d).map(|(b, d)| b.max(d)))).unwrap_or((0, Some(0)))
        }
    }
}

fn sum(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    a.zip(b).map(|(a, b)| a.saturating_add(b))
}
