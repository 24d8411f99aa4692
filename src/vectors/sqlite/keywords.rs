//! A caller's text as a query of FTS5, in which nothing of it is syntax.

use super::super::MAX_QUERY_WORDS;

/// Different words of a text, in their order.
pub(super) fn words(text: &str) -> Vec<&str> {
    let mut words: Vec<&str> = Vec::new();
    // FTS5's own tokenizer divides words at the rest of what is neither letter nor digit.
    for word in text.split(|c: char| c.is_whitespace() || c.is_ascii_punctuation() || c.is_control()) {
        if word.contains(char::is_alphanumeric) && !words.contains(&word) {
            words.push(word);
        }
        if words.len() == MAX_QUERY_WORDS {
            break;
        }
    }
    words
}

/// Matches chunks of a generation that have any of these words.
pub(super) fn any_of(words: &[&str], generation: i64) -> String {
    // The quotation marks make it a string; there is none within a word.
    format!("{{scope}} : \"{}\" AND {{content}} : (\"{}\")", scope(generation), words.join("\" OR \""))
}

/// The word that stands for a generation.
pub(super) fn scope(generation: i64) -> String {
    format!("g{generation}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syntax_is_text() {
        for (text, expected) in [
            ("NEAR(a b, 2)", vec!["NEAR", "a", "b", "2"]),
            ("content:x* AND -y", vec!["content", "x", "AND", "y"]),
            ("\"a\" \"a\" 'b';--", vec!["a", "b"]),
            ("größe 日本\0", vec!["größe", "日本"]),
            ("", vec![]),
            ("\"*-()^:", vec![]),
            ("—", vec![]),
        ] {
            assert_eq!(words(text), expected, "{text:?}");
        }
        let query = r#"{scope} : "g7" AND {content} : ("NEAR" OR "a")"#;
        assert_eq!(any_of(&["NEAR", "a"], 7), query);
        let many: String = (0..1_000).map(|at| format!("word{at} ")).collect();
        assert_eq!(words(&many).len(), MAX_QUERY_WORDS);
    }
}
