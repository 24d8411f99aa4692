//! The file `.env`: lines of `NAME=value`, in which nothing is substituted. A parser of our own, because
//! those that there are put variables in the place of `$`, and a key that has one would be another key
//! without a word. `scripts/common.sh` reads the file by the same rules.
//!
//! Blank lines and comments, which begin with `#` at the start of a line or after a space, are passed over;
//! `export` may stand before a name. In single quotes, and without quotes, a value is what stands there,
//! without the spaces around it; in double quotes `\"`, `\\` and `\$` stand for their second character.

use std::{io::ErrorKind, path::Path};

use crate::files;

/// Larger than any list of settings, and small enough to be read without a thought.
const MAX_BYTES: u64 = 1 << 20;

/// One line with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The first line is 1.
    pub(super) number: usize,
    pub(super) name: String,
    pub(super) value: String,
}

/// The lines of the file that hold values; none when there is no such file.
///
/// # Errors
/// One sentence, which says where the fault is and not what stands there: it may be a secret.
pub(super) fn read(path: &Path) -> Result<Vec<Line>, String> {
    let unreadable = |why: &str| format!("The file {} cannot be read: {why}.", path.display());
    let bytes = match files::read(path, MAX_BYTES) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        // A file in a folder that this user may not enter is another user's, as with `sudo -u simpleton` at home.
        Err(error) if error.kind() == ErrorKind::PermissionDenied && !may_enter(path.parent()) => {
            return Ok(Vec::new());
        }
        read => read.map_err(|error| unreadable(&error.to_string()))?,
    };
    parse(&bytes).map_err(|(line, fault)| unreadable(&format!("line {line} {fault}")))
}

fn may_enter(folder: Option<&Path>) -> bool {
    folder.is_none_or(|folder| rustix::fs::access(folder, rustix::fs::Access::EXEC_OK).is_ok())
}

fn parse(bytes: &[u8]) -> Result<Vec<Line>, (usize, &'static str)> {
    // Some editors put one at the beginning.
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let mut lines = Vec::new();
    for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let number = at + 1;
        let line = str::from_utf8(line).map_err(|_| (number, "is not valid UTF-8"))?.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = split(line).ok_or((number, "is not NAME=value"))?;
        let value = unquoted(value).map_err(|fault| (number, fault))?;
        lines.push(Line { number, name: name.to_owned(), value });
    }
    Ok(lines)
}

fn split(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    let name = name.trim_end();
    let name = match name.strip_prefix("export") {
        Some(rest) if rest.starts_with([' ', '\t']) => rest.trim_start(),
        _ => name,
    };
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let goes_on = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    (starts && goes_on).then_some((name, value))
}

fn unquoted(text: &str) -> Result<String, &'static str> {
    let value = text.trim();
    let (quote, rest) = match value.chars().next() {
        Some(quote @ ('\'' | '"')) => (quote, &value[1..]),
        _ => return Ok(without_comment(text).trim().to_owned()),
    };
    let mut inner = String::new();
    let mut chars = rest.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => {
                let after = &rest[at + 1..];
                let closed = without_comment(after).trim().is_empty();
                return if closed { Ok(inner) } else { Err("has text after the closing quote of its value") };
            }
            '\\' if quote == '"' && rest[at + 1..].starts_with(['"', '\\', '$']) => {
                inner.extend(chars.next().map(|(_, c)| c));
            }
            c => inner.push(c),
        }
    }
    Err("has an unclosed quote")
}

/// Returns the text before a comment.
fn without_comment(text: &str) -> &str {
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        // Directly after the equals sign it is a part of the value.
        if c == '#' && at > 0 && before.is_ascii_whitespace() {
            return &text[..at];
        }
        before = c;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_substituted_in_any_form_of_quoting() {
        for (line, value) in [
            ("A=sk-longenough$ecret", "sk-longenough$ecret"),
            ("A='sk-longenough$ecret'", "sk-longenough$ecret"),
            ("A=\"sk-longenough$ecret\"", "sk-longenough$ecret"),
            ("A=sk-${HOME}", "sk-${HOME}"),
            ("A=\"sk-${HOME}\"", "sk-${HOME}"),
            (r#"A="sk-\$HOME""#, "sk-$HOME"),
            (r"A=sk-\$HOME", r"sk-\$HOME"),
            (r"A='sk-\$HOME'", r"sk-\$HOME"),
            (r#"A="a \"b\" \\ \n""#, r#"a "b" \ \n"#),
            ("A=`id`$(id)", "`id`$(id)"),
            ("export A = b ", "b"),
            ("  A=\tb\r", "b"),
            ("A=b c", "b c"),
            ("A=b # comment", "b"),
            ("A=b#c", "b#c"),
            ("A=#b", "#b"),
            ("A= # comment", ""),
            ("A='b # c' # comment", "b # c"),
            ("A=\" b \"", " b "),
            ("A=", ""),
            ("A=''", ""),
            ("A=b=c", "b=c"),
            ("A=b'c'\"d\"", "b'c'\"d\""),
            ("\u{feff}A=b", "b"),
            ("A=grüße", "grüße"),
        ] {
            let lines = parse(line.as_bytes()).expect(line);
            assert_eq!(lines, [Line { number: 1, name: "A".to_owned(), value: value.to_owned() }], "{line}");
        }
        assert_eq!(parse(b"\n# A=b\n \t\n#"), Ok(Vec::new()));
    }

    #[test]
    fn a_fault_is_told_by_its_line_and_not_by_what_stands_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(".env");
        assert_eq!(read(&path), Ok(Vec::new()), "there is no file");
        for (wrong, fault) in [
            (&b"a secret"[..], "is not NAME=value"),
            (b"a secret=value", "is not NAME=value"),
            (b"=secret", "is not NAME=value"),
            (b"1A=secret", "is not NAME=value"),
            (b"A='secret", "has an unclosed quote"),
            (b"A=\"secret\\\"", "has an unclosed quote"),
            (b"A='secret'more", "has text after the closing quote"),
            (b"A=secret\xff", "is not valid UTF-8"),
        ] {
            std::fs::write(&path, [b"PORT=1\n\n", wrong, b"\nHOST=b\n"].concat()).expect("a file");
            let told = read(&path).expect_err(fault);
            assert!(told.contains(&format!("line 3 {fault}")) && !told.contains("secret"), "{told}");
        }
        assert!(read(folder.path()).is_err_and(|told| told.contains("not a regular file")), "a folder");
    }
}
