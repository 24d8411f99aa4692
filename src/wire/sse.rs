//! Server-sent events (WHATWG HTML, "9.2 Server-sent events"): read from backends, written to
//! clients. Only `data` and `event` matter to the protocols that we speak.

use bytes::{Buf, BytesMut};
use memchr::memchr2;

use super::{Framing, MAX_FRAME, too_long};
use crate::error::Result;

/// Frames are the events' data; comments and events without data are skipped.
#[derive(Default)]
pub struct Events {
    buffer: BytesMut,
    searched: usize,
    /// Of the event that is being read, or has been.
    data: Vec<u8>,
    has_data: bool,
    is_whole: bool,
}

impl Events {
    /// Where the next line ends, without its end (`\n`, `\r\n` or `\r`) and with it.
    fn line(&mut self) -> Option<(usize, usize)> {
        let at = memchr2(b'\n', b'\r', &self.buffer[self.searched..]);
        let Some(at) = at.map(|at| self.searched + at) else {
            self.searched = self.buffer.len();
            return None;
        };
        let mut end = at + 1;
        if self.buffer[at] == b'\r' {
            match self.buffer.get(at + 1) {
                Some(b'\n') => end += 1,
                Some(_) => {}
                // Whether a line feed belongs to this end is not known yet.
                None => {
                    self.searched = at;
                    return None;
                }
            }
        }
        self.searched = 0;
        Some((at, end))
    }

    /// Takes in the line that ends there.
    fn take(&mut self, end: usize) {
        let line = &self.buffer[..end];
        if line.is_empty() {
            self.is_whole = self.has_data;
        } else if let Some(value) = line.strip_prefix(b"data")
            && let Some(value) = if value.is_empty() { Some(value) } else { value.strip_prefix(b":") }
        {
            if self.has_data {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
            self.has_data = true;
        }
    }

    /// Gives up the present event.
    fn leave(&mut self) {
        if std::mem::take(&mut self.is_whole) {
            self.data.clear();
            self.has_data = false;
        }
    }
}

impl Framing for Events {
    fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    fn advance(&mut self) -> Result<bool> {
        self.leave();
        while let Some((line, end)) = self.line() {
            self.take(line);
            self.buffer.advance(end);
            if self.is_whole {
                return Ok(true);
            }
        }
        if self.buffer.len() + self.data.len() > MAX_FRAME { Err(too_long()) } else { Ok(false) }
    }

    fn end(&mut self) -> bool {
        self.leave();
        self.take(self.buffer.trim_ascii_end().len());
        self.buffer.clear();
        (self.searched, self.is_whole) = (0, self.has_data);
        self.has_data
    }

    fn frame(&self) -> &[u8] {
        &self.data
    }
}

/// Appends one event with this JSON as its data. JSON in one line needs no splitting.
pub fn write_data(out: &mut Vec<u8>, write_json: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"data: ");
    write_json(out);
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames(stream: &[u8], cuts: &[usize]) -> Vec<String> {
        super::super::testing::frames(Events::default(), stream, cuts)
    }

    proptest! {
        /// Wherever the network cuts the stream and whichever line ends the peer uses.
        #[test]
        fn any_cut_gives_the_same_events(
            events in prop::collection::vec("[^\n\r]{1,40}", 0..8),
            end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
            cuts in prop::collection::vec(0usize..600, 0..12),
        ) {
            let mut stream = String::new();
            for event in &events {
                stream.push_str(&format!(": ping{end}event: message{end}data: {event}{end}{end}"));
            }
            // A stream that ends in a lone `\r` is only known to be complete when it is closed.
            prop_assert_eq!(frames(stream.as_bytes(), &cuts), events);
        }
    }

    #[test]
    fn data_of_several_lines_is_joined() {
        assert_eq!(frames(b"data: a\ndata:b\ndata\n\ndata: c", &[]), ["a\nb\n", "c"]);
    }

    #[test]
    fn what_is_written_can_be_read() {
        let mut out = Vec::new();
        write_data(&mut out, |out| out.extend_from_slice(b"{\"a\":1}"));
        assert_eq!(frames(&out, &[]), ["{\"a\":1}"]);
    }
}
