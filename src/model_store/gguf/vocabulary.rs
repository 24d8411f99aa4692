//! Control tokens in a model's vocabulary: texts that the tokenizer reads as one token, such as the start of
//! a turn, the end of an answer, or an image.

use std::io::{Read, Seek};

use super::{ARRAY, Fault, I32, MAX_KEPT_TEXT, TEXT, U32, reader::Reader, skip_elements, skip_value};
use crate::types::{MAX_CONTROL_TOKENS, MAX_TAKEN_FOR_CONTROL, TokenType, is_control_token};

/// Position of the tokens in a file, and the types of those that are not plain text.
#[derive(Debug, Default)]
pub(super) struct Vocabulary {
    /// The place of the first text, and their number.
    texts: Option<(u64, u64)>,
    /// Bytes of the longest text.
    longest: u64,
    /// The number and type of each token that may be a mark, in order.
    kinds: Vec<(u64, TokenType)>,
}

impl Vocabulary {
    /// Notes where the texts of the tokens are.
    pub(super) fn note_texts<R: Read + Seek>(
        &mut self,
        reader: &mut Reader<R>,
        kind: u32,
    ) -> Result<(), Fault> {
        let Some(count) = elements(reader, kind, &[TEXT])? else { return Ok(()) };
        self.texts = Some((reader.position(), count));
        for _ in 0..count {
            self.longest = self.longest.max(reader.skip_text()?);
        }
        Ok(())
    }

    /// Number of tokens.
    pub(super) fn tokens(&self) -> Option<u64> {
        self.texts.map(|(_, count)| count)
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
        // llama.cpp reads no other types.
        let Some(count) = elements(reader, kind, &[U32, I32])? else { return Ok(()) };
        for index in 0..count {
            if let Some(kind) = TokenType::of(reader.u32()?) {
                self.kinds.push((index, kind));
                if self.kinds.len() > MAX_CONTROL_TOKENS {
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
            if is_control_token(&text, kind, templates) {
                marks.push(text.into_owned());
            }
        }
        Ok(marks)
    }
}

/// Returns the number of elements of an array of one of these types. Skips any other value.
fn elements<R: Read + Seek>(reader: &mut Reader<R>, kind: u32, types: &[u32]) -> Result<Option<u64>, Fault> {
    if kind != ARRAY {
        return skip_value(reader, kind).map(|()| None);
    }
    let (kind, count) = (reader.u32()?, reader.u64()?);
    if types.contains(&kind) {
        return Ok(Some(count));
    }
    skip_elements(reader, kind, count).map(|()| None)
}
