//! The texts that a model's tokenizer reads as one mark and not as characters: the beginning of a turn,
//! the end of an answer, an image.

use std::io::{Read, Seek};

use super::{ARRAY, Fault, MAX_KEPT_TEXT, TEXT, reader::Reader, skip_elements, skip_value};

/// The type of a token, by its number in the file (`enum llama_token_type` in llama.cpp's `llama.h`).
const UNKNOWN: u32 = 2;
const CONTROL: u32 = 3;
const USER_DEFINED: u32 = 4;

/// Bounds memory: the largest known vocabularies have some 7,000.
const MAX_MARKS: usize = 65_536;

/// Texts that llama.cpp takes for control tokens whatever the file says (`llama-vocab.cpp`), besides those
/// between `<|` and `|>`.
const TAKEN_FOR_CONTROL: [&str; 34] = [
    "</s>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "[e~[",
    "<end_of_turn>",
    "<end_of_utterance>",
    "<｜end▁of▁sentence｜>",
    "<fim-prefix>",
    "<fim_prefix>",
    "<｜fim▁begin｜>",
    "<PRE>",
    "▁<PRE>",
    "<fim-suffix>",
    "<fim_suffix>",
    "<｜fim▁hole｜>",
    "<SUF>",
    "▁<SUF>",
    "<fim-middle>",
    "<fim_middle>",
    "<｜fim▁end｜>",
    "<MID>",
    "▁<MID>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "[PAD]",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
];
/// The longest of them, in bytes, with room for what stands between `<|` and `|>`.
const MAX_TAKEN_FOR_CONTROL: usize = 64;

/// Where a file has its tokens, and of which sort those are that are no plain text.
#[derive(Debug, Default)]
pub(super) struct Vocabulary {
    /// The place of the first text, and their number.
    texts: Option<(u64, u64)>,
    /// Bytes of the longest text.
    longest: u64,
    /// The number and type of each token that may be a mark, in order.
    kinds: Vec<(u64, u32)>,
}

impl Vocabulary {
    /// Notes where the texts of the tokens are.
    pub(super) fn note_texts<R: Read + Seek>(
        &mut self,
        reader: &mut Reader<R>,
        kind: u32,
    ) -> Result<(), Fault> {
        if kind != ARRAY {
            return skip_value(reader, kind);
        }
        let (kind, count) = (reader.u32()?, reader.u64()?);
        if kind != TEXT {
            return skip_elements(reader, kind, count);
        }
        self.texts = Some((reader.position(), count));
        for _ in 0..count {
            self.longest = self.longest.max(reader.skip_text()?);
        }
        Ok(())
    }

    /// Bytes of the longest text.
    pub(super) fn longest(&self) -> Option<u64> {
        self.texts.map(|_| self.longest)
    }

    /// Reads the tokens' types.
    pub(super) fn read_kinds<R: Read + Seek>(
        &mut self,
        reader: &mut Reader<R>,
        kind: u32,
    ) -> Result<(), Fault> {
        if kind != ARRAY {
            return skip_value(reader, kind);
        }
        let (kind, count) = (reader.u32()?, reader.u64()?);
        // Unsigned or signed numbers of 32 bits: llama.cpp reads no others.
        if !matches!(kind, 4 | 5) {
            return skip_elements(reader, kind, count);
        }
        for index in 0..count {
            let kind = reader.u32()?;
            if matches!(kind, UNKNOWN | CONTROL | USER_DEFINED) {
                self.kinds.push((index, kind));
                if self.kinds.len() > MAX_MARKS {
                    return Err(Fault::Header("it has too many control tokens"));
                }
            }
        }
        Ok(())
    }

    /// The marks, where those that a model's maker has defined are only those that its chat templates
    /// write: the others are runs of spaces and the like.
    pub(super) fn marks<R: Read + Seek>(
        self,
        reader: &mut Reader<R>,
        templates: &str,
    ) -> Result<Vec<String>, Fault> {
        let Some((place, count)) = self.texts else { return Ok(Vec::new()) };
        reader.go_to(place)?;
        let (mut marks, mut kinds) = (Vec::new(), self.kinds.into_iter().peekable());
        for index in 0..count {
            let kind = kinds.next_if(|(at, _)| *at == index).map(|(_, kind)| kind);
            let limit = if kind.is_some() { MAX_KEPT_TEXT } else { MAX_TAKEN_FOR_CONTROL as u64 };
            let Some(text) = reader.text_up_to(limit)? else { continue };
            let is_mark = match kind {
                Some(CONTROL | UNKNOWN) => true,
                Some(_) => looks_like_a_mark(&text) && templates.contains(&text),
                None => is_taken_for_control(&text),
            };
            if is_mark {
                marks.push(text);
            }
        }
        Ok(marks)
    }
}

fn looks_like_a_mark(text: &str) -> bool {
    text.len() > 2 && text.starts_with(['<', '['])
}

fn is_taken_for_control(text: &str) -> bool {
    text.len() > 4 && text.starts_with("<|") && text.ends_with("|>") || TAKEN_FOR_CONTROL.contains(&text)
}
