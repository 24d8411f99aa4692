//! Conversion of regular expressions from ECMA 262 to `regex_syntax`.

/// Treatment of lookaround groups, which `regex_syntax` does not support.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Looks {
    /// Kept as ordinary groups, so that their faults and sizes are checked.
    Grouped,
    /// Removed, so that the rest matches at least as much.
    Dropped,
}

/// Prefixes of such groups, after their parenthesis.
const LOOKS: [&str; 4] = ["?=", "?!", "?<=", "?<!"];

/// Converts an expression to `regex_syntax`, in which `\d`, `\w` and `\s` match more than in ECMA 262, and a
/// class may contain classes.
pub(super) fn to_rust(pattern: &str, looks: Looks) -> Result<String, String> {
    let mut rust = String::with_capacity(pattern.len());
    let (mut letters, mut in_class) = (pattern.chars().peekable(), false);
    // For each open group, its start if it is a lookaround.
    let mut open: Vec<Option<usize>> = Vec::new();
    while let Some(letter) = letters.next() {
        match letter {
            '(' if !in_class => {
                let ahead: String = letters.clone().take(3).collect();
                let look = LOOKS.iter().find(|look| ahead.starts_with(**look));
                open.push(look.map(|_| rust.len()));
                rust += look.map_or("(", |_| "(?:");
                letters.by_ref().take(look.map_or(0, |look| look.len())).for_each(drop);
            }
            ')' if !in_class => {
                if let (Some(start), Looks::Dropped) = (open.pop().flatten(), looks) {
                    rust.truncate(start);
                    rust += "(?:";
                }
                rust.push(')');
            }
            '\\' => rust += &escape(letters.next().ok_or("must not end with a backslash")?, in_class)?,
            '[' if in_class => rust += "\\[",
            '[' => {
                rust.push('[');
                in_class = true;
                if letters.next_if_eq(&'^').is_some() {
                    rust.push('^');
                }
                if letters.peek() == Some(&']') {
                    return Err("must not have an empty character class".to_owned());
                }
            }
            ']' if in_class => {
                rust.push(']');
                in_class = false;
            }
            '&' | '~' if in_class => rust.extend(['\\', letter]),
            '-' if in_class && letters.peek() == Some(&'-') => rust += "\\-",
            '{' if !in_class && letters.peek() == Some(&',') => {
                return Err("must have a number before each comma in braces".to_owned());
            }
            letter => rust.push(letter),
        }
    }
    Ok(rust)
}

fn escape(letter: char, in_class: bool) -> Result<String, String> {
    const SPACES: &str =
        r"\t\n\x0B\x0C\r \u{A0}\u{1680}\u{2000}-\u{200A}\u{2028}\u{2029}\u{202F}\u{205F}\u{3000}\u{FEFF}";
    let class = |inner: &str, is_negated: bool| match (is_negated, in_class) {
        (true, _) => format!("[^{inner}]"),
        (false, true) => inner.to_owned(),
        (false, false) => format!("[{inner}]"),
    };
    Ok(match letter {
        'd' | 'D' => class("0-9", letter == 'D'),
        'w' | 'W' => class("A-Za-z0-9_", letter == 'W'),
        's' | 'S' => class(SPACES, letter == 'S'),
        'b' if in_class => "\\x08".to_owned(),
        '0' => "\\x00".to_owned(),
        'c' => return Err("must not use \\c".to_owned()),
        'k' => return Err("must not use backreferences".to_owned()),
        letter => format!("\\{letter}"),
    })
}
