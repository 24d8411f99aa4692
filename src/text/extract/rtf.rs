//! Rich Text Format.

use encoding_rs::{Encoding, WINDOWS_1252};

use super::{Refusal, inline::Inline, writer::Writer};

/// Deepest nesting of groups.
const MAX_DEPTH: usize = 512;

pub(super) fn extract(bytes: &[u8], writer: &mut Writer) -> Result<(), Refusal> {
    let mut reader = Reader::new(bytes, writer);
    let mut at = 0;
    while at < bytes.len() {
        at = reader.step(at)?;
    }
    if reader.groups.len() > 1 {
        return Err(Refusal::damaged("RTF"));
    }
    reader.end_paragraph()
}

/// State of a group, which ends with it.
#[derive(Clone, Default)]
struct Group {
    /// Where its text goes.
    destination: Destination,
    /// Characters that stand in for one that old programs do not know.
    fallback: usize,
    in_table: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Destination {
    #[default]
    Body,
    Skipped,
    Info(&'static str),
}

struct Reader<'r> {
    bytes: &'r [u8],
    writer: &'r mut Writer,
    encoding: &'static Encoding,
    groups: Vec<Group>,
    inline: Inline,
    /// Bytes of an 8-bit character set, decoded together because a character may have several.
    pending: Vec<u8>,
    info: String,
    /// First half of a character beyond the 16 bits of `\u`.
    surrogate: Option<u16>,
    /// Characters still to be left out.
    skip: usize,
    level: Option<u8>,
    rows: Vec<Vec<String>>,
    cells: Vec<String>,
}

impl<'r> Reader<'r> {
    fn new(bytes: &'r [u8], writer: &'r mut Writer) -> Self {
        Self {
            bytes,
            writer,
            encoding: WINDOWS_1252,
            groups: vec![Group { fallback: 1, ..Group::default() }],
            inline: Inline::default(),
            pending: Vec::new(),
            info: String::new(),
            surrogate: None,
            skip: 0,
            level: None,
            rows: Vec::new(),
            cells: Vec::new(),
        }
    }

    /// Reads what stands at an offset; returns the offset after it.
    fn step(&mut self, at: usize) -> Result<usize, Refusal> {
        match self.bytes[at] {
            b'{' => {
                self.flush();
                if self.groups.len() > MAX_DEPTH {
                    return Err(Refusal::too_deep());
                }
                self.groups.push(self.group().clone());
                Ok(at + 1)
            }
            b'}' => {
                self.flush();
                let ended = self.group().destination;
                if self.groups.len() > 1 {
                    self.groups.pop();
                }
                if let Destination::Info(name) = ended
                    && self.group().destination != ended
                {
                    let info = std::mem::take(&mut self.info);
                    self.writer.known(name, &info);
                }
                Ok(at + 1)
            }
            b'\\' => self.control(at + 1),
            b'\r' | b'\n' => Ok(at + 1),
            byte => {
                self.byte(byte);
                Ok(at + 1)
            }
        }
    }

    fn control(&mut self, at: usize) -> Result<usize, Refusal> {
        let Some(first) = self.bytes.get(at).copied() else { return Ok(at) };
        if first == b'\'' {
            let hex = self.bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
            if let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
                self.byte(byte);
            }
            return Ok((at + 3).min(self.bytes.len()));
        }
        if !first.is_ascii_alphabetic() {
            match first {
                b'~' => self.text("\u{a0}"),
                b'_' => self.text("-"),
                b'*' => self.group_mut().destination = Destination::Skipped,
                b'\\' | b'{' | b'}' => self.byte(first),
                b'\r' | b'\n' => self.end_paragraph()?,
                _ => {}
            }
            return Ok(at + 1);
        }
        let rest = &self.bytes[at..];
        let word = rest.iter().take_while(|byte| byte.is_ascii_alphabetic()).count().min(32);
        let sign = usize::from(rest.get(word) == Some(&b'-'));
        let digits = rest[word + sign..].iter().take_while(|byte| byte.is_ascii_digit()).count().min(10);
        let number =
            std::str::from_utf8(&rest[word..word + sign + digits]).ok().and_then(|text| text.parse().ok());
        let used = if digits > 0 { word + sign + digits } else { word };
        let space = usize::from(rest.get(used) == Some(&b' '));
        let name = std::str::from_utf8(&rest[..word]).unwrap_or_default();
        let binary = if name == "bin" { usize::try_from(number.unwrap_or(0)).unwrap_or(0) } else { 0 };
        self.word(name, number)?;
        Ok((at + used + space).saturating_add(binary).min(self.bytes.len()))
    }

    fn word(&mut self, name: &str, number: Option<i64>) -> Result<(), Refusal> {
        match name {
            "par" | "sect" | "page" => self.end_paragraph()?,
            "line" => {
                self.flush();
                if self.group().destination == Destination::Body {
                    self.inline.line_break();
                }
            }
            "tab" => self.text("\t"),
            "emdash" => self.text("—"),
            "endash" => self.text("–"),
            "bullet" => self.text("•"),
            "lquote" => self.text("‘"),
            "rquote" => self.text("’"),
            "ldblquote" => self.text("“"),
            "rdblquote" => self.text("”"),
            "ansicpg" => self.encoding = code_page(number.unwrap_or(1252)),
            "mac" => self.encoding = encoding_rs::MACINTOSH,
            "uc" => self.group_mut().fallback = usize::try_from(number.unwrap_or(1)).unwrap_or(1),
            "u" => self.unicode(number.unwrap_or(0)),
            "pard" => (self.level, self.group_mut().in_table) = (None, false),
            "intbl" => self.group_mut().in_table = true,
            "outlinelevel" => {
                self.level = number.and_then(|level| u8::try_from(level + 1).ok()).filter(|level| *level < 10)
            }
            "cell" => self.cell(),
            "row" => {
                let cells = std::mem::take(&mut self.cells);
                self.rows.push(cells);
            }
            "title" => self.group_mut().destination = Destination::Info("title"),
            "author" => self.group_mut().destination = Destination::Info("author"),
            "subject" => self.group_mut().destination = Destination::Info("subject"),
            "fonttbl" | "colortbl" | "stylesheet" | "info" | "pict" | "object" | "header" | "headerl"
            | "headerr" | "headerf" | "footer" | "footerl" | "footerr" | "footerf" | "filetbl" | "revtbl"
            | "xmlnstbl" | "listtable" | "listoverridetable" | "rsidtbl" | "generator" | "themedata"
            | "fldinst" | "ftnsep" | "pntext" => {
                self.group_mut().destination = Destination::Skipped;
            }
            _ => {}
        }
        Ok(())
    }

    fn byte(&mut self, byte: u8) {
        if self.skip > 0 {
            self.skip -= 1;
        } else if self.group().destination != Destination::Skipped {
            self.pending.push(byte);
        }
    }

    fn unicode(&mut self, number: i64) {
        self.flush();
        self.skip = self.group().fallback;
        // Above 32767 they are written as negative numbers.
        let unit = (number & 0xffff) as u16;
        let units: Vec<u16> = self.surrogate.take().into_iter().chain([unit]).collect();
        match char::decode_utf16(units.iter().copied()).next() {
            Some(Ok(c)) => self.text(c.encode_utf8(&mut [0; 4])),
            _ => self.surrogate = (0xd800..0xdc00).contains(&unit).then_some(unit),
        }
    }

    fn text(&mut self, text: &str) {
        self.flush();
        match self.group().destination {
            Destination::Body => self.inline.text(text),
            Destination::Info(_) => self.info.push_str(text),
            Destination::Skipped => {}
        }
    }

    /// Decodes the bytes so far.
    fn flush(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        if pending.is_empty() {
            return;
        }
        let (text, _) = self.encoding.decode_without_bom_handling(&pending);
        match self.group().destination {
            Destination::Body => self.inline.text(&text),
            Destination::Info(_) => self.info.push_str(&text),
            Destination::Skipped => {}
        }
    }

    fn cell(&mut self) {
        self.flush();
        self.cells.push(self.inline.take().plain);
    }

    fn end_paragraph(&mut self) -> Result<(), Refusal> {
        self.flush();
        if self.group().destination != Destination::Body {
            return Ok(());
        }
        if self.group().in_table {
            self.inline.line_break();
            return Ok(());
        }
        let rows = std::mem::take(&mut self.rows);
        self.writer.table(&rows)?;
        let inline = self.inline.take();
        match self.level {
            Some(level) => self.writer.heading(level, &inline),
            None => self.writer.paragraph(&inline),
        }
    }

    fn group(&self) -> &Group {
        &self.groups[self.groups.len() - 1]
    }

    fn group_mut(&mut self) -> &mut Group {
        let last = self.groups.len() - 1;
        &mut self.groups[last]
    }
}

/// Encoding of a Windows code page.
fn code_page(number: i64) -> &'static Encoding {
    let label = match number {
        932 => "shift_jis".to_owned(),
        936 => "gbk".to_owned(),
        949 => "euc-kr".to_owned(),
        950 => "big5".to_owned(),
        10000 => "macintosh".to_owned(),
        65001 => "utf-8".to_owned(),
        number => format!("windows-{number}"),
    };
    Encoding::for_label(label.as_bytes()).unwrap_or(WINDOWS_1252)
}
