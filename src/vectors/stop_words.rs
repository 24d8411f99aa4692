//! English words that hardly tell one text from another, such as "how" and "the". A question is full of them, and a
//! keyword search for them finds whatever text has many.

/// Lucene's list for English, with the pronouns, auxiliary verbs and question words of a question.
const STOP_WORDS: [&str; 75] = [
    "a", "about", "am", "an", "and", "any", "are", "as", "at", "be", "been", "but", "by", "can", "could",
    "did", "do", "does", "for", "from", "had", "has", "have", "he", "her", "his", "how", "i", "if", "in",
    "into", "is", "it", "its", "me", "my", "no", "not", "of", "on", "or", "our", "she", "should", "so",
    "some", "such", "than", "that", "the", "their", "them", "then", "there", "these", "they", "this",
    "those", "to", "was", "we", "were", "what", "when", "where", "which", "who", "whom", "whose", "why",
    "will", "with", "would", "you", "your",
];

/// The text of a query without its stop words; the whole text if it has no others. Only words between spaces count, so
/// that names such as `in-memory` stay whole.
pub(super) fn without_stop_words(text: &str) -> String {
    let telling: Vec<&str> = text.split_whitespace().filter(|word| !is_stop_word(word)).collect();
    match telling.iter().any(|word| word.contains(char::is_alphanumeric)) {
        true => telling.join(" "),
        false => text.to_owned(),
    }
}

fn is_stop_word(word: &str) -> bool {
    let word = word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    let is_listed = |word: &str| STOP_WORDS.contains(&word);
    match word.split_once(['\'', '’']) {
        Some((start, "t")) => start.strip_suffix('n').is_some_and(is_listed) || is_listed(start),
        Some((start, "d" | "ll" | "m" | "re" | "s" | "ve")) => is_listed(start),
        Some(_) => false,
        None => is_listed(&word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_keeps_the_words_that_tell() {
        for (text, expected) in [
            ("How do I close the gate?", "close gate?"),
            ("WHAT’s the keeper's name, and why doesn't it end?", "keeper's name, end?"),
            ("(The) \"how\" -of- gates", "gates"),
            ("I can't log in: in-memory as_str I/O it.each", "log in-memory as_str I/O it.each"),
            ("gate", "gate"),
            // Nothing else is left.
            ("how to", "how to"),
            ("The — who?", "The — who?"),
            ("", ""),
            ("\"*-", "\"*-"),
            ("größe 東京", "größe 東京"),
        ] {
            assert_eq!(without_stop_words(text), expected, "{text:?}");
        }
    }
}
