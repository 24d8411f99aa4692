//! Newline-delimited JSON: one value a line (Ollama's streams).

use bytes::{Buf, BytesMut};
use memchr::memchr;

use super::{Framing, MAX_FRAME, too_long};
use crate::error::Result;

#[derive(Default)]
pub struct Lines {
    buffer: BytesMut,
    /// The present line, at the beginning of `buffer`, and what belongs to it with its end.
    line: usize,
    taken: usize,
    /// How much of `buffer` is known to hold no line feed.
    searched: usize,
}

impl Lines {
    /// Gives up the present line.
    fn leave(&mut self) {
        self.buffer.advance(std::mem::take(&mut self.taken));
        self.line = 0;
    }
}

impl Framing for Lines {
    fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    fn advance(&mut self) -> Result<bool> {
        self.leave();
        while let Some(at) = memchr(b'\n', &self.buffer[self.searched..]) {
            (self.line, self.taken, self.searched) = (self.searched + at, self.searched + at + 1, 0);
            if !self.frame().is_empty() {
                return Ok(true);
            }
            self.leave();
        }
        self.searched = self.buffer.len();
        if self.buffer.len() > MAX_FRAME { Err(too_long()) } else { Ok(false) }
    }

    fn end(&mut self) -> bool {
        self.leave();
        (self.line, self.taken, self.searched) = (self.buffer.len(), self.buffer.len(), 0);
        !self.frame().is_empty()
    }

    fn frame(&self) -> &[u8] {
        self.buffer[..self.line].trim_ascii()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames(stream: &[u8], cuts: &[usize]) -> Vec<String> {
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
            prop_assert_eq!(frames(stream.as_bytes(), &cuts), lines.iter().map(|line| line.trim_ascii()).filter(|line| !line.is_empty()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut lines = Lines::default();
        lines.push(&vec![b'x'; MAX_FRAME + 1]);
        assert!(lines.advance().is_err());
    }
}
