//! Reads the header of a GGUF file, versions 2 and 3, and checks that the file contains all tensors. Counts,
//! lengths and sizes are checked before they are used, because llama.cpp aborts or computes nonsense with
//! files that are rejected here.
//!
//! The format is described in `ggml/include/gguf.h` of llama.cpp and `docs/gguf.md` of ggml.

#[cfg(test)]
pub(super) mod fixture;
mod reader;
mod tensors;
#[cfg(test)]
mod tests;
mod vocabulary;

use std::{
    collections::HashMap,
    fmt,
    fs::{self, File},
    io::{self, Read, Seek},
    path::Path,
};

use self::{reader::Reader, vocabulary::Vocabulary};

/// The largest known models have about 2,000 tensors and 100 keys.
const MAX_KEYS: u64 = 65_536;
const MAX_TENSORS: u64 = 65_536;
/// Bounds memory: only a few dozen keys of a valid file are of interest.
const MAX_KEPT: usize = 1024;
/// One element for each layer; llama.cpp knows at most 512 layers.
const MAX_KEPT_ELEMENTS: u64 = 4096;
const MAX_KEPT_TEXT: u64 = 4096;
const MAX_TEMPLATE: u64 = 4 << 20;
/// The format's own limit.
const MAX_KEY: u64 = 65_535;
/// Alignment of a file without `general.alignment`.
const DEFAULT_ALIGNMENT: u64 = 32;

/// GGUF header, reduced to the values needed here.
#[derive(Debug, Default)]
pub(super) struct Header {
    values: HashMap<String, Value>,
    pub(super) has_chat_template: bool,
    /// The chat template supports tools.
    pub(super) template_has_tools: bool,
    /// The chat template supports thinking.
    pub(super) template_has_thinking: bool,
    /// Texts that the tokenizer reads as control tokens.
    pub(super) marks: Vec<String>,
    /// Number of tokens in the vocabulary.
    pub(super) tokens: Option<u64>,
    /// Bytes of the longest token of the vocabulary, as it is written there.
    pub(super) longest_token: Option<u64>,
    /// Elements of all tensors together.
    pub(super) parameters: u64,
}

#[derive(Debug, PartialEq)]
enum Value {
    Number(u64),
    Numbers(Vec<u64>),
    Text(String),
}

/// Reason for rejecting a file, phrased as the end of a sentence about the file. Inside `model_store/` it
/// becomes an `Error` that names the model.
#[derive(Debug)]
pub(super) enum Fault {
    NotGguf,
    Version(u32),
    CutOff {
        missing: u64,
    },
    Header(&'static str),
    /// The file is complete, but cannot be used for this purpose.
    Unfit(&'static str),
    Io(io::Error),
}

/// Reads the header of the file at `path`.
pub(super) fn read(path: &Path) -> Result<Header, Fault> {
    // Before it is opened: to open a pipe is to wait for its writer.
    if !fs::metadata(path)?.is_file() {
        return Err(Fault::NotGguf);
    }
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    read_from(file, len)
}

/// Reads a header from the start of `input`, which holds `len` bytes.
pub(super) fn read_from(input: impl Read + Seek, len: u64) -> Result<Header, Fault> {
    let mut reader = Reader::new(input, len);
    if len < 4 || reader.bytes::<4>()? != *b"GGUF" {
        return Err(Fault::NotGguf);
    }
    let version = reader.u32()?;
    if !(2..=3).contains(&version) {
        return Err(Fault::Version(version));
    }
    let (tensors, keys) = (reader.u64()?, reader.u64()?);
    if tensors > MAX_TENSORS || keys > MAX_KEYS {
        return Err(Fault::Header("it has too many entries"));
    }
    let mut header = Header::default();
    let (mut templates, mut vocabulary) = (String::new(), Vocabulary::default());
    for _ in 0..keys {
        let key = reader.text(MAX_KEY)?;
        let kind = reader.u32()?;
        match key.as_str() {
            "tokenizer.ggml.tokens" => vocabulary.note_texts(&mut reader, kind)?,
            "tokenizer.ggml.token_type" => vocabulary.read_kinds(&mut reader, kind)?,
            // Models with several templates have `tokenizer.chat_template.tool_use` besides.
            key if kind == TEXT && key.starts_with("tokenizer.chat_template") => {
                templates.push_str(&reader.text(MAX_TEMPLATE)?);
                header.has_chat_template = true;
                if templates.len() as u64 > MAX_TEMPLATE {
                    return Err(Fault::Header("its chat templates are too long"));
                }
            }
            _ => header.read_pair(key, &mut reader, kind)?,
        }
    }
    header.template_has_tools = templates.contains("tools");
    header.template_has_thinking = ["think", "reasoning"].iter().any(|word| templates.contains(word));
    let alignment = header.number("general.alignment").unwrap_or(DEFAULT_ALIGNMENT);
    if !alignment.is_power_of_two() || alignment > 1 << 30 {
        return Err(Fault::Header("the alignment is not a power of two"));
    }
    // The first part of a split model may have none.
    if tensors == 0 && header.number("split.count").is_none_or(|count| count <= 1) {
        return Err(Fault::Header("it has no tensors"));
    }
    header.parameters = tensors::check(&mut reader, tensors, alignment)?;
    header.tokens = vocabulary.tokens();
    header.longest_token = vocabulary.longest();
    header.marks = vocabulary.marks(&mut reader, &templates)?;
    Ok(header)
}

impl Header {
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match self.values.get(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub(super) fn number(&self, key: &str) -> Option<u64> {
        match self.values.get(key) {
            Some(Value::Number(number)) => Some(*number),
            _ => None,
        }
    }

    /// A number for each layer; a file that states one number for all gives a list of one.
    pub(super) fn numbers(&self, key: &str) -> Option<&[u64]> {
        match self.values.get(key) {
            Some(Value::Number(number)) => Some(std::slice::from_ref(number)),
            Some(Value::Numbers(numbers)) => Some(numbers),
            _ => None,
        }
    }

    fn read_pair<R: Read + Seek>(
        &mut self,
        key: String,
        reader: &mut Reader<R>,
        kind: u32,
    ) -> Result<(), Fault> {
        if !is_wanted(&key) {
            return skip_value(reader, kind);
        }
        if let Some(value) = read_value(reader, kind)?
            && self.values.insert(key, value).is_some()
        {
            return Err(Fault::Header("a key is there twice"));
        }
        if self.values.len() > MAX_KEPT {
            return Err(Fault::Header("it has too many entries"));
        }
        Ok(())
    }
}

/// Most of a header is the tokenizer's tables, which are skipped.
fn is_wanted(key: &str) -> bool {
    const WHOLE: [&str; 7] = [
        "general.architecture",
        "general.type",
        "general.file_type",
        "general.alignment",
        "split.count",
        "split.no",
        "tokenizer.ggml.model",
    ];
    // Behind `<architecture>.`
    const OF_ARCHITECTURE: [&str; 8] = [
        "context_length",
        "block_count",
        "embedding_length",
        "attention.head_count",
        "attention.head_count_kv",
        "attention.key_length",
        "attention.value_length",
        "pooling_type",
    ];
    WHOLE.contains(&key)
        || key.len() <= 128 && key.split_once('.').is_some_and(|(_, rest)| OF_ARCHITECTURE.contains(&rest))
}

/// The types of a value, by their numbers in the file (`enum gguf_type`).
const U32: u32 = 4;
const I32: u32 = 5;
const BOOL: u32 = 7;
const TEXT: u32 = 8;
const ARRAY: u32 = 9;

/// Bytes of one value of a type with a fixed size.
fn width(kind: u32) -> Result<u64, Fault> {
    match kind {
        0 | 1 | BOOL => Ok(1),
        2 | 3 => Ok(2),
        4..=6 => Ok(4),
        10..=12 => Ok(8),
        _ => Err(Fault::Header("a value has an unknown type")),
    }
}

fn skip_value<R: Read + Seek>(reader: &mut Reader<R>, kind: u32) -> Result<(), Fault> {
    match kind {
        TEXT => reader.skip_text().map(drop),
        ARRAY => {
            let (kind, count) = (reader.u32()?, reader.u64()?);
            skip_elements(reader, kind, count)
        }
        _ => reader.skip(width(kind)?),
    }
}

fn skip_elements<R: Read + Seek>(reader: &mut Reader<R>, kind: u32, count: u64) -> Result<(), Fault> {
    if kind == TEXT {
        // Each text takes at least its length field, so that the file's length bounds this loop.
        return (0..count).try_for_each(|_| reader.skip_text().map(drop));
    }
    // An array of arrays is refused here too, as llama.cpp does.
    let bytes = width(kind)?.checked_mul(count).ok_or(Fault::Header("an array is too long"))?;
    reader.skip(bytes)
}

/// `None` for what is not of interest: fractions, negative numbers and lists of texts.
fn read_value<R: Read + Seek>(reader: &mut Reader<R>, kind: u32) -> Result<Option<Value>, Fault> {
    match kind {
        TEXT => Ok(Some(Value::Text(reader.text(MAX_KEPT_TEXT)?))),
        ARRAY => {
            let (kind, count) = (reader.u32()?, reader.u64()?);
            if kind == TEXT || count > MAX_KEPT_ELEMENTS {
                return skip_elements(reader, kind, count).map(|()| None);
            }
            let numbers: Option<Vec<u64>> =
                (0..count).map(|_| read_number(reader, kind)).collect::<Result<_, _>>()?;
            Ok(numbers.map(Value::Numbers))
        }
        _ => Ok(read_number(reader, kind)?.map(Value::Number)),
    }
}

fn read_number<R: Read + Seek>(reader: &mut Reader<R>, kind: u32) -> Result<Option<u64>, Fault> {
    let raw = match width(kind)? {
        1 => u64::from(reader.bytes::<1>()?[0]),
        2 => u64::from(u16::from_le_bytes(reader.bytes()?)),
        4 => u64::from(reader.u32()?),
        _ => reader.u64()?,
    };
    let non_negative = |bits: u32| (raw >> (bits - 1) == 0).then_some(raw);
    Ok(match kind {
        1 => non_negative(8),
        3 => non_negative(16),
        5 => non_negative(32),
        11 => non_negative(64),
        6 | 12 => None,
        _ => Some(raw),
    })
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGguf => f.write_str("it is not a GGUF file"),
            Self::Version(version) => write!(f, "GGUF version {version} is not supported"),
            Self::CutOff { missing } => write!(f, "it is cut off, at least {missing} bytes are missing"),
            Self::Header(what) => write!(f, "its header is not valid, {what}"),
            Self::Unfit(what) => f.write_str(what),
            Self::Io(_) => f.write_str("it cannot be read"),
        }
    }
}

impl std::error::Error for Fault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(source) => Some(source),
            _ => None,
        }
    }
}

impl From<io::Error> for Fault {
    fn from(source: io::Error) -> Self {
        // The length was checked before: the file has become shorter since.
        if source.kind() == io::ErrorKind::UnexpectedEof {
            Self::CutOff { missing: 1 }
        } else {
            Self::Io(source)
        }
    }
}
