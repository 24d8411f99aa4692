//! Reader with a position in a file of known length. Every step is checked against that length first, so that
//! no number in the file can cause allocations or loops beyond it.

use std::{
    borrow::Cow,
    io::{BufReader, Read, Seek, SeekFrom},
};

use super::Fault;

/// The largest tokenizers take about 20 MB. This bounds the time that a hostile header can take.
const MAX_HEADER: u64 = 256 << 20;

pub(super) struct Reader<R> {
    input: BufReader<R>,
    at: u64,
    len: u64,
    /// Memory for one text; a vocabulary has 100,000 of them.
    text: Vec<u8>,
}

impl<R: Read + Seek> Reader<R> {
    pub(super) fn new(input: R, len: u64) -> Self {
        Self { input: BufReader::with_capacity(64 * 1024, input), at: 0, len, text: Vec::new() }
    }

    /// Bytes read or skipped so far.
    pub(super) fn position(&self) -> u64 {
        self.at
    }

    /// Bytes of the whole file.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        self.advance(N as u64)?;
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Fault> {
        self.bytes().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Fault> {
        self.bytes().map(u64::from_le_bytes)
    }

    /// Reads a text of at most `limit` bytes, and replaces invalid UTF-8.
    pub(super) fn text(&mut self, limit: u64) -> Result<String, Fault> {
        let len = self.u64()?;
        if len > limit {
            return Err(Fault::Header("a string in it is too long"));
        }
        self.text_of(len).map(Cow::into_owned)
    }

    fn text_of(&mut self, len: u64) -> Result<Cow<'_, str>, Fault> {
        self.advance(len)?;
        // No longer than the file, which `advance` has checked.
        self.text.resize(usize::try_from(len).map_err(|_| Fault::Header("a string in it is too long"))?, 0);
        self.input.read_exact(&mut self.text)?;
        Ok(String::from_utf8_lossy(&self.text))
    }

    /// Reads a text; `None` if it has more than `limit` bytes.
    pub(super) fn text_up_to(&mut self, limit: u64) -> Result<Option<Cow<'_, str>>, Fault> {
        let len = self.u64()?;
        if len > limit {
            return self.skip(len).map(|()| None);
        }
        self.text_of(len).map(Some)
    }

    /// Seeks to a position that was passed before.
    pub(super) fn go_to(&mut self, position: u64) -> Result<(), Fault> {
        self.input.seek(SeekFrom::Start(position))?;
        self.at = position;
        Ok(())
    }

    /// Gives the bytes that were skipped.
    pub(super) fn skip_text(&mut self) -> Result<u64, Fault> {
        let len = self.u64()?;
        self.skip(len)?;
        Ok(len)
    }

    pub(super) fn skip(&mut self, bytes: u64) -> Result<(), Fault> {
        self.advance(bytes)?;
        let bytes = i64::try_from(bytes).map_err(|_| Fault::Header("a value is too long"))?;
        Ok(self.input.seek_relative(bytes)?)
    }

    /// Claims the next `bytes` of the file.
    fn advance(&mut self, bytes: u64) -> Result<(), Fault> {
        let end = self.at.checked_add(bytes).ok_or(Fault::Header("a value is too long"))?;
        if end > MAX_HEADER {
            return Err(Fault::Header("it is too long"));
        }
        if end > self.len {
            return Err(Fault::CutOff { missing: end - self.len });
        }
        self.at = end;
        Ok(())
    }
}
