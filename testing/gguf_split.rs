//! Splits a GGUF file as llama-gguf-split does: every part is a GGUF file with some of the tensors, and the first
//! one has all other values.

/// Types of values by their numbers in the file (`enum gguf_type`).
const UINT16: u32 = 2;
const INT32: u32 = 5;
const TEXT: u32 = 8;
const ARRAY: u32 = 9;
const ALIGNMENT: usize = 32;

struct Tensor<'a> {
    /// Name, dimensions and type.
    info: &'a [u8],
    data: &'a [u8],
}

/// Splits a file into `count` parts.
pub fn split(file: &[u8], count: u16) -> Vec<Vec<u8>> {
    let mut reader = Reader { file, at: 4 };
    reader.skip(4);
    let (tensors, pairs) = (reader.u64(), reader.u64());
    let values_start = reader.at;
    for _ in 0..pairs {
        reader.skip_text();
        let kind = reader.u32();
        reader.skip_value(kind);
    }
    let values = &file[values_start..reader.at];
    let infos: Vec<(&[u8], usize)> = (0..tensors).map(|_| reader.tensor()).collect();
    let data = &file[reader.at.next_multiple_of(ALIGNMENT)..];
    let end_of = |offset: usize| infos.iter().map(|(_, other)| *other).filter(|other| *other > offset).min();
    let all: Vec<Tensor<'_>> = infos
        .iter()
        .map(|(info, offset)| Tensor { info, data: &data[*offset..end_of(*offset).unwrap_or(data.len())] })
        .collect();
    let share = all.len().div_ceil(usize::from(count));
    let chunks = all.chunks(share).zip(0..);
    chunks
        .map(|(chunk, number)| {
            part(chunk, if number == 0 { (values, pairs) } else { (&[], 0) }, (number, count), tensors)
        })
        .collect()
}

fn part(
    tensors: &[Tensor<'_>],
    (values, pairs): (&[u8], u64),
    (number, count): (u16, u16),
    all: u64,
) -> Vec<u8> {
    let mut file = b"GGUF".to_vec();
    file.extend(3_u32.to_le_bytes());
    file.extend((tensors.len() as u64).to_le_bytes());
    file.extend((pairs + 3).to_le_bytes());
    file.extend(values);
    for (key, kind, value) in [
        ("split.no", UINT16, number.to_le_bytes().to_vec()),
        ("split.count", UINT16, count.to_le_bytes().to_vec()),
        ("split.tensors.count", INT32, (all as u32).to_le_bytes().to_vec()),
    ] {
        file.extend((key.len() as u64).to_le_bytes());
        file.extend(key.as_bytes());
        file.extend(kind.to_le_bytes());
        file.extend(value);
    }
    let mut offset = 0;
    for tensor in tensors {
        file.extend(tensor.info);
        file.extend((offset as u64).to_le_bytes());
        offset += tensor.data.len().next_multiple_of(ALIGNMENT);
    }
    for tensor in tensors {
        file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
        file.extend(tensor.data);
    }
    file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
    file
}

struct Reader<'a> {
    file: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn skip(&mut self, bytes: usize) -> &'a [u8] {
        self.at += bytes;
        &self.file[self.at - bytes..self.at]
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.skip(4).try_into().expect("four bytes"))
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.skip(8).try_into().expect("eight bytes"))
    }

    fn skip_text(&mut self) {
        let length = self.u64();
        self.skip(length as usize);
    }

    fn skip_value(&mut self, kind: u32) {
        match kind {
            0 | 1 | 7 => drop(self.skip(1)),
            2 | 3 => drop(self.skip(2)),
            4..=6 => drop(self.skip(4)),
            TEXT => self.skip_text(),
            ARRAY => {
                let (kind, count) = (self.u32(), self.u64());
                (0..count).for_each(|_| self.skip_value(kind));
            }
            _ => drop(self.skip(8)),
        }
    }

    /// A tensor's description without its offset, and the offset.
    fn tensor(&mut self) -> (&'a [u8], usize) {
        let start = self.at;
        self.skip_text();
        let dimensions = self.u32();
        self.skip(dimensions as usize * 8 + 4);
        let info = &self.file[start..self.at];
        (info, self.u64() as usize)
    }
}
