//! GGUF headers of untrusted files: the same however they are read, and never of a file that is cut off.

use std::io::{Cursor, Read, Result, Seek, SeekFrom};

use crate::gguf::{Header, read_from};

pub fn gguf(input: &[u8]) {
    let Some((sizes, file)) = input.split_at_checked(4) else { return };
    let read = summary(Cursor::new(file), file.len());
    assert_eq!(read, summary(Slow { file: Cursor::new(file), sizes, reads: 0 }, file.len()));
    let cut = file.len() - usize::from(u16::from_le_bytes([sizes[0], sizes[1]])).min(file.len());
    let shorter = summary(Cursor::new(&file[..cut]), cut);
    match &read {
        // A file may be longer than what its header describes.
        Ok(_) => {
            assert!(shorter.is_err() || shorter == read);
            let longer = [file, sizes].concat();
            assert_eq!(read, summary(Cursor::new(&longer), longer.len()));
        }
        Err(_) => assert!(shorter.is_err()),
    }
}

/// Everything that a header says, in an order that does not vary.
fn summary(input: impl Read + Seek, length: usize) -> std::result::Result<String, String> {
    const KEYS: [&str; 5] =
        ["general.architecture", "general.alignment", "split.count", "llama.block_count", "bert.context_length"];
    let header = read_from(input, length as u64).map_err(|fault| format!("{fault:?}"))?;
    let values = KEYS.map(|key| (header.text(key), header.number(key), header.numbers(key)));
    let Header { has_chat_template, template_has_tools, template_has_thinking, .. } = header;
    let template = [has_chat_template, template_has_tools, template_has_thinking];
    // Invalid UTF-8 becomes three bytes each.
    assert!(header.marks.iter().map(String::len).sum::<usize>() <= 3 * length);
    Ok(format!("{values:?} {template:?} {:?} {:?} {}", header.marks, header.longest_token, header.parameters))
}

/// A file that gives a few bytes with each read.
struct Slow<'a> {
    file: Cursor<&'a [u8]>,
    sizes: &'a [u8],
    reads: usize,
}

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let size = usize::from(self.sizes[self.reads % self.sizes.len()]) + 1;
        self.reads += 1;
        let size = size.min(buffer.len());
        self.file.read(&mut buffer[..size])
    }
}

impl Seek for Slow<'_> {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        self.file.seek(to)
    }
}
