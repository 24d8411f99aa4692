//! Newline-delimited JSON: one value a line (Ollama's streams).

use bytes::{Bytes, BytesMut};
use memchr::memchr;

use super::{Framing, MAX_FRAME, too_long};
use crate::error::Result;

#[derive(Default)]
pub struct Lines {
    buffer: BytesMut,
    /// How much of `buffer` is known to hold no line feed.
    searched: usize,
}

impl Framing for Lines {
    fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    fn next_frame(&mut self) -> Result<Option<Bytes>> {
        while let Some(at) = memchr(b'\n', &self.buffer[self.searched..]) {
            let line = self.buffer.split_to(self.searched + at + 1).freeze();
            self.searched = 0;
            let trimmed = line.trim_ascii();
            if !trimmed.is_empty() {
                return Ok(Some(line.slice_ref(trimmed)));
            }
        }
        self.searched = self.buffer.len();
        if self.buffer.len() > MAX_FRAME { Err(too_long()) } else { Ok(None) }
    }

    fn rest(&mut self) -> Option<Bytes> {
        self.searched = 0;
        let rest = self.buffer.split().freeze();
        let trimmed = rest.trim_ascii();
        (!trimmed.is_empty()).then(|| rest.slice_ref(trimmed))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames(stream: &[u8], cuts: &[usize]) -> Vec<Bytes> {
        super::super::testing::frames(Lines::default(), stream, cuts)
    }

    proptest! {
        /// Wherever the network cuts the stream, the same lines come out.
        #[test]
        fn any_cut_gives_the_same_lines(
            lines in prop::collection::vec("[^\n\r \t]{1,40}", 0..8),
            cuts in prop::collection::vec(0usize..400, 0..12),
            ended in any::<bool>(),
        ) {
            let mut stream = lines.join("\n");
            if ended {
                stream.push_str("\r\n\n");
            }
            prop_assert_eq!(frames(stream.as_bytes(), &cuts), lines.iter().map(|l| Bytes::copy_from_slice(l.as_bytes().trim_ascii())).filter(|l| !l.is_empty()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut lines = Lines::default();
        lines.push(&vec![b'x'; MAX_FRAME + 1]);
        assert!(lines.next_frame().is_err());
    }
}
