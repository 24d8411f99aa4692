//! Keeping a caller's text from being read as a model's control tokens. Templates write those tokens
//! into the same text, so that what a caller has written has to be told apart before: a character
//! without width is put into each token that it holds.

use std::{borrow::Cow, collections::HashSet, fmt};

use aho_corasick::AhoCorasick;

use super::JsonText;

/// Characters without width, of which the first is taken that is in none of the tokens.
const BREAKS: [char; 4] = ['\u{200b}', '\u{2060}', '\u{200c}', '\u{feff}'];

/// Bytes up to which the ends of a text are looked at; no known token is half as long.
const MAX_BYTES: usize = 128;

/// The texts that a model's tokenizer reads as control tokens (`<|im_end|>`, `[CLS]`).
#[derive(Default)]
pub struct ControlTokens {
    finder: Option<AhoCorasick>,
    breaker: char,
    /// In order, to look up a beginning.
    tokens: Vec<String>,
    /// Written backwards and in order, to look up an end.
    backwards: Vec<String>,
    /// Without their first and last letter: what a template may write between two of its own.
    inner: HashSet<String>,
    longest: usize,
}

impl ControlTokens {
    /// Tokens of one character are left out, since nothing can come between.
    pub fn new(tokens: impl IntoIterator<Item = String>) -> Self {
        let mut tokens: Vec<String> =
            tokens.into_iter().filter(|token| token.chars().nth(1).is_some()).collect();
        tokens.sort_unstable();
        tokens.dedup();
        let is_free = |breaker: &char| !tokens.iter().any(|token| token.contains(*breaker));
        let breaker = BREAKS.into_iter().find(is_free).unwrap_or(BREAKS[0]);
        let mut backwards: Vec<String> = tokens.iter().map(|token| token.chars().rev().collect()).collect();
        backwards.sort_unstable();
        let inner = tokens.iter().filter_map(|token| inside(token)).map(str::to_owned).collect();
        // Fails only beyond some gigabytes of tokens.
        let finder = (!tokens.is_empty()).then(|| AhoCorasick::new(&tokens).ok()).flatten();
        let longest = tokens.iter().map(String::len).max().unwrap_or(0).min(MAX_BYTES);
        Self { finder, breaker, tokens, backwards, inner, longest }
    }

    /// The same text to the eye, in which the tokenizer finds no control token, nor half of one at an
    /// end that a template could complete.
    pub fn break_up<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let Some(finder) = &self.finder else { return Cow::Borrowed(text) };
        let mut cuts = Vec::new();
        if finder.is_match(text) {
            let after_first = |at: usize| at + text[at..].chars().next().map_or(1, char::len_utf8);
            cuts.extend(finder.find_overlapping_iter(text).map(|found| after_first(found.start())));
        }
        self.cut_ends(text, &mut cuts);
        if cuts.is_empty() {
            return Cow::Borrowed(text);
        }
        cuts.sort_unstable();
        cuts.dedup();
        let mut broken = String::with_capacity(text.len() + cuts.len() * self.breaker.len_utf8());
        let mut from = 0;
        for cut in cuts {
            broken.push_str(&text[from..cut]);
            broken.push(self.breaker);
            from = cut;
        }
        broken.push_str(&text[from..]);
        Cow::Owned(broken)
    }

    /// Breaks a text up where it is.
    pub fn break_up_in(&self, text: &mut String) {
        if let Cow::Owned(broken) = self.break_up(text) {
            *text = broken;
        }
    }

    /// Breaks up the texts and names in JSON.
    pub fn break_up_json(&self, json: &mut JsonText) {
        if self.finder.is_some() {
            json.map_texts(|text| self.break_up(text));
        }
    }

    /// Templates cut white space off the ends of a text before they write something next to it.
    fn cut_ends(&self, text: &str, cuts: &mut Vec<usize>) {
        let is_blank = |char: char| char.is_whitespace() || char.is_control();
        let begun = text.trim_start_matches(is_blank);
        let (start, core) = (text.len() - begun.len(), begun.trim_end_matches(is_blank));
        let Some(first) = core.chars().next() else { return };
        if self.inner.contains(core) {
            cuts.push(start + first.len_utf8());
        }
        // Of a token that is written in two halves, one is here: the second has at least half of its
        // letters, or the first has more.
        let ends = core.char_indices().map(|(at, _)| at).skip(1).chain([core.len()]);
        for at in ends.take_while(|at| *at < self.longest) {
            let end: String = core[..at].chars().rev().collect();
            if at_least(&self.backwards, &end, |length| 2 * length) {
                cuts.push(start + at - end.chars().next().map_or(0, char::len_utf8));
            }
        }
        let near_the_end = |(at, _): &(usize, char)| core.len() - at < self.longest;
        for (at, char) in core.char_indices().rev().take_while(near_the_end) {
            if at_least(&self.tokens, &core[at..], |length| 2 * length - 1) {
                cuts.push(start + at + char.len_utf8());
            }
        }
    }
}

/// Whether one of these sorted texts begins with `part`, has more letters, and at most as many as
/// `most` makes of the part's.
fn at_least(sorted: &[String], part: &str, most: impl Fn(usize) -> usize) -> bool {
    let length = part.chars().count();
    let from = sorted.partition_point(|text| text.as_str() < part);
    let mut all = sorted[from..].iter().take_while(|text| text.starts_with(part));
    length > 1 && all.any(|text| (length + 1..=most(length)).contains(&text.chars().count()))
}

/// Returns the text between a token's first and last letter, unless it is a plain word.
fn inside(token: &str) -> Option<&str> {
    let mut chars = token.chars();
    chars.next().and(chars.next_back())?;
    let inner = chars.as_str();
    let is_word = inner.chars().all(|char| char.is_alphanumeric() || char == '_' || char == '-');
    (!is_word && inner.chars().nth(1).is_some()).then_some(inner)
}

impl fmt::Debug for ControlTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.tokens).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOKENS: [&str; 6] = ["<|im_start|>", "<|im_end|>", "</s>", "[CLS]", "<s>", "\n\u{2581}"];

    fn tokens() -> ControlTokens {
        ControlTokens::new(TOKENS.map(str::to_owned))
    }

    fn found(text: &str) -> Vec<&'static str> {
        TOKENS.into_iter().filter(|token| text.contains(token)).collect()
    }

    #[test]
    fn a_token_is_broken_and_nothing_else_is_touched() {
        for (text, broken) in [
            ("Say <|im_end|>.", "Say <\u{200b}|im_end|>."),
            ("[CLS][CLS]", "[\u{200b}CLS][\u{200b}CLS]"),
            ("<|im_<|im_end|>end|>", "<|im_<\u{200b}|im_end|>end|>"),
            ("<\u{200b}|im_end|>", "<\u{200b}|im_end|>"),
            // Halves that what comes before or after could make whole, also when white space goes.
            ("hi <|im_e \n", "hi <\u{200b}|im_e \n"),
            (" |im_end|> hi", " |im_end|\u{200b}> hi"),
            // A name that a template writes between its own brackets.
            ("|im_end|", "|\u{200b}im_end|"),
        ] {
            assert_eq!(tokens().break_up(text), broken, "{text:?}");
        }
        for text in [
            "",
            "hi",
            "a < b",
            "<b>bold</b>",
            "[1]",
            "s",
            "x </",
            "CLS",
            "<|other|>",
            "\u{200b}",
            "if a <",
            "é",
        ] {
            assert!(matches!(tokens().break_up(text), Cow::Borrowed(_)), "{text:?}");
        }
        assert_eq!(ControlTokens::default().break_up("<|im_end|>"), "<|im_end|>");
    }

    #[test]
    fn the_texts_in_json_are_broken_however_they_are_spelt() {
        let mut json: JsonText =
            serde_json::from_str(r#"{"\u003c|im_end|>":{"enum":["<|im\u005fend|>",1]}}"#).expect("JSON");
        tokens().break_up_json(&mut json);
        assert_eq!(json.get(), "{\"<\u{200b}|im_end|>\":{\"enum\":[\"<\u{200b}|im_end|>\",1]}}");
    }

    #[test]
    fn a_token_with_a_character_without_width_is_broken_by_another() {
        let tokens = ControlTokens::new(["<a>".to_owned(), "<\u{200b}a>".to_owned()]);
        assert_eq!(tokens.break_up("<a><\u{200b}a>"), "<\u{2060}a><\u{2060}\u{200b}a>");
    }

    #[test]
    fn a_text_that_is_the_end_of_a_token_is_broken() {
        let tokens = ControlTokens::new(["<s>".to_owned()]);
        assert_eq!(tokens.break_up("s>"), "s\u{200b}>");
    }

    proptest! {
        #[test]
        fn no_text_has_a_token_in_it_alone_or_beside_another(
            parts in prop::collection::vec(prop::sample::select(&[
                "<|im_end|>", "<|im_start|>", "<", "<|", "|im_", "im_", "end", "start", "|>", ">", "</", "s>", "[CL", "S]",
                "\u{200b}", "\u{2060}", " ", "é", "\n", "\u{2581}",
            ][..]), 0..8),
            at in 0usize..8,
        ) {
            let tokens = tokens();
            let (first, second) = parts.split_at(at.min(parts.len()));
            let (first, second) = (first.concat(), second.concat());
            let (first, second) = (tokens.break_up(&first), tokens.break_up(&second));
            prop_assert_eq!(found(&format!("{first}\u{1}{second}")), Vec::<&str>::new());
            let joined = format!("{first}{second}");
            // Two characters cannot be told from two of anybody's.
            prop_assert!(found(&joined).iter().all(|token| token.chars().count() == 2), "{joined:?}");
        }
    }
}
