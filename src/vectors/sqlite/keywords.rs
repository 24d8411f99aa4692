//! A caller's text as a query of FTS5, in which nothing of it is syntax.

/// Maximum number of words that are searched for.
const MAX_WORDS: usize = 64;

/// Matches chunks of a generation that have any of the words of a text; None when it has none.
pub(super) fn any_word(text: &str, generation: i64) -> Option<String> {
    let mut words: Vec<&str> = Vec::new();
    // FTS5's own tokenizer divides words at the rest of what is neither letter nor digit.
    for word in text.split(|c: char| c.is_whitespace() || c.is_ascii_punctuation() || c.is_control()) {
        if word.contains(char::is_alphanumeric) && !words.contains(&word) && words.len() < MAX_WORDS {
            words.push(word);
        }
    }
    if words.is_empty() {
        return None;
    }
    // The quotation marks make it a string; there is none within a word.
    Some(format!("{{scope}} : \"{}\" AND {{content}} : (\"{}\")", scope(generation), words.join("\" OR \"")))
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
        for (text, query) in [
            ("NEAR(a b, 2)", r#"("NEAR" OR "a" OR "b" OR "2")"#),
            ("content:x* AND -y", r#"("content" OR "x" OR "AND" OR "y")"#),
            ("\"a\" \"a\" 'b';--", r#"("a" OR "b")"#),
            ("größe 日本\0", r#"("größe" OR "日本")"#),
        ] {
            assert_eq!(any_word(text, 7), Some(format!(r#"{{scope}} : "g7" AND {{content}} : {query}"#)));
        }
        for text in ["", " \t", "\"*-()^:", "—", "\0"] {
            assert_eq!(any_word(text, 7), None, "{text:?}");
        }
    }
}
