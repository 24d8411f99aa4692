//! List of tensors at the end of a header: the size of each, and where its data ends.

use std::io::{Read, Seek};

use super::{Fault, reader::Reader};

/// llama.cpp's `GGML_MAX_DIMS`.
const MAX_DIMENSIONS: u32 = 4;
/// llama.cpp refuses names of 64 bytes and more; this only bounds the work.
const MAX_NAME: u64 = 1024;

/// Reads `count` tensor descriptions and refuses a file that ends before the data of any of them.
/// Returns the number of elements of all tensors.
pub(super) fn check<R: Read + Seek>(
    reader: &mut Reader<R>,
    count: u64,
    alignment: u64,
) -> Result<u64, Fault> {
    let too_large = Fault::Header("a tensor is too large");
    let (mut parameters, mut data_len) = (0_u64, 0_u64);
    for _ in 0..count {
        let tensor = Tensor::read(reader)?;
        let end = tensor.bytes().and_then(|bytes| tensor.offset.checked_add(bytes));
        let (Some(end), Some(sum)) = (end, parameters.checked_add(tensor.elements)) else {
            return Err(too_large);
        };
        data_len = data_len.max(end);
        parameters = sum;
    }
    let data_start = reader.position().checked_next_multiple_of(alignment);
    let Some(end) = data_start.and_then(|start| start.checked_add(data_len)) else { return Err(too_large) };
    match end.checked_sub(reader.len()) {
        None | Some(0) => Ok(parameters),
        Some(missing) => Err(Fault::CutOff { missing }),
    }
}

struct Tensor {
    elements: u64,
    kind: u32,
    /// From the start of the data to the tensor's first byte.
    offset: u64,
}

impl Tensor {
    fn read<R: Read + Seek>(reader: &mut Reader<R>) -> Result<Self, Fault> {
        reader.text(MAX_NAME)?;
        let dimensions = reader.u32()?;
        if dimensions > MAX_DIMENSIONS {
            return Err(Fault::Header("a tensor has too many dimensions"));
        }
        let (mut row, mut elements) = (1, 1_u64);
        for dimension in 0..dimensions {
            let size = reader.u64()?;
            if dimension == 0 {
                row = size;
            }
            elements = elements
                .checked_mul(size)
                .filter(|elements| i64::try_from(*elements).is_ok())
                .ok_or(Fault::Header("a tensor is too large"))?;
        }
        let (kind, offset) = (reader.u32()?, reader.u64()?);
        if block(kind).is_some_and(|(block_elements, _)| row % block_elements != 0) {
            return Err(Fault::Header("a tensor does not consist of whole blocks"));
        }
        Ok(Self { elements, kind, offset })
    }

    /// Its size in the file, `None` when that overflows. A type that came after this table was
    /// written counts as one byte: the engine, which may be newer, has the last word on it.
    fn bytes(&self) -> Option<u64> {
        match block(self.kind) {
            Some((elements, bytes)) => (self.elements / elements).checked_mul(bytes),
            None => Some(1),
        }
    }
}

/// Elements and bytes of one block of a tensor type. The numbers are those of `enum ggml_type` in
/// llama.cpp's `ggml.h`, the sizes those of `GGML_QUANT_SIZES` in its `gguf-py/gguf/constants.py`.
fn block(kind: u32) -> Option<(u64, u64)> {
    Some(match kind {
        0 | 26 => (1, 4),      // F32, I32
        1 | 25 | 30 => (1, 2), // F16, I16, BF16
        2 | 20 => (32, 18),    // Q4_0, IQ4_NL
        3 => (32, 20),         // Q4_1
        6 => (32, 22),         // Q5_0
        7 => (32, 24),         // Q5_1
        8 => (32, 34),         // Q8_0
        9 => (32, 36),         // Q8_1
        10 => (256, 84),       // Q2_K
        11 | 21 => (256, 110), // Q3_K, IQ3_S
        12 => (256, 144),      // Q4_K
        13 => (256, 176),      // Q5_K
        14 => (256, 210),      // Q6_K
        15 => (256, 292),      // Q8_K
        16 | 35 => (256, 66),  // IQ2_XXS, TQ2_0
        17 => (256, 74),       // IQ2_XS
        18 => (256, 98),       // IQ3_XXS
        19 => (256, 50),       // IQ1_S
        22 => (256, 82),       // IQ2_S
        23 => (256, 136),      // IQ4_XS
        24 => (1, 1),          // I8
        27 | 28 => (1, 8),     // I64, F64
        29 => (256, 56),       // IQ1_M
        34 => (256, 54),       // TQ1_0
        39 => (32, 17),        // MXFP4
        40 => (64, 36),        // NVFP4
        41 => (128, 18),       // Q1_0
        42 => (64, 18),        // Q2_0
        _ => return None,
    })
}
