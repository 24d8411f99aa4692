//! The demo model, made as slow as a small model of use by a hundred blocks more. All their weights are
//! zero, so they add nothing to what flows past them, and the answers are the demo's. The format is GGUF,
//! <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

use std::{fs, fs::File, io::Write, path::Path};

use crate::support::Result;

const DEMO: &str = "models/demo/simpleton-demo.gguf";
const EMBEDDING: u64 = 192;
const BLOCKS: u32 = 5;
const WIDTH: u64 = 512;
const MORE_BLOCKS: u32 = 100;

const STRING: u32 = 8;
const ARRAY: u32 = 9;
const ALIGNMENT: u64 = 32;
/// (number in the format, bytes of an element)
const F32: (u32, u64) = (0, 4);
const F16: (u32, u64) = (1, 2);

/// Writes the file; its new weights are a hole in it.
pub fn write(path: &Path) -> Result<()> {
    let demo = fs::read(DEMO)?;
    let mut at = 8;
    let (tensors, pairs) = (number(&demo, &mut at, 8), number(&demo, &mut at, 8));
    let more = more_tensors();
    let mut out = demo[..8].to_vec();
    out.extend((tensors + more.len() as u64).to_le_bytes());
    out.extend(pairs.to_le_bytes());
    for _ in 0..pairs {
        let begin = at;
        let name = string(&demo, &mut at);
        let kind = number(&demo, &mut at, 4);
        let value = at;
        skip(&demo, &mut at, kind);
        if name == b"llama.block_count" {
            out.extend(&demo[begin..value]);
            out.extend((BLOCKS + MORE_BLOCKS).to_le_bytes());
        } else {
            out.extend(&demo[begin..at]);
        }
    }
    let infos = at;
    for _ in 0..tensors {
        string(&demo, &mut at);
        let dimensions = number(&demo, &mut at, 4);
        at += 8 * usize::try_from(dimensions)? + 4 + 8;
    }
    out.extend(&demo[infos..at]);
    let data = &demo[at.next_multiple_of(32)..];
    let mut offset = (data.len() as u64).next_multiple_of(ALIGNMENT);
    for (name, dimensions, (kind, bytes)) in more {
        out.extend((name.len() as u64).to_le_bytes());
        out.extend(name.as_bytes());
        out.extend(u32::try_from(dimensions.len())?.to_le_bytes());
        dimensions.iter().for_each(|dimension| out.extend(dimension.to_le_bytes()));
        out.extend(kind.to_le_bytes());
        out.extend(offset.to_le_bytes());
        offset += (dimensions.iter().product::<u64>() * bytes).next_multiple_of(ALIGNMENT);
    }
    out.resize(out.len().next_multiple_of(32), 0);
    let begin = out.len() as u64;
    out.extend(data);
    let mut file = File::create(path)?;
    file.write_all(&out)?;
    file.set_len(begin + offset)?;
    Ok(())
}

fn more_tensors() -> Vec<(String, Vec<u64>, (u32, u64))> {
    let square = vec![EMBEDDING, EMBEDDING];
    let parts = [
        ("attn_q", square.clone(), F16),
        ("attn_k", square.clone(), F16),
        ("attn_v", square.clone(), F16),
        ("attn_output", square, F16),
        ("ffn_gate", vec![EMBEDDING, WIDTH], F16),
        ("ffn_up", vec![EMBEDDING, WIDTH], F16),
        ("ffn_down", vec![WIDTH, EMBEDDING], F16),
        ("attn_norm", vec![EMBEDDING], F32),
        ("ffn_norm", vec![EMBEDDING], F32),
    ];
    let block = |number: u32| {
        parts
            .clone()
            .map(|(part, dimensions, kind)| (format!("blk.{number}.{part}.weight"), dimensions, kind))
    };
    (BLOCKS..BLOCKS + MORE_BLOCKS).flat_map(block).collect()
}

fn number(file: &[u8], at: &mut usize, bytes: usize) -> u64 {
    let mut number = [0; 8];
    number[..bytes].copy_from_slice(&file[*at..*at + bytes]);
    *at += bytes;
    u64::from_le_bytes(number)
}

fn string<'a>(file: &'a [u8], at: &mut usize) -> &'a [u8] {
    let length = number(file, at, 8) as usize;
    *at += length;
    &file[*at - length..*at]
}

/// Passes over a value of this kind.
fn skip(file: &[u8], at: &mut usize, kind: u64) {
    match u32::try_from(kind) {
        Ok(STRING) => drop(string(file, at)),
        Ok(ARRAY) => {
            let kind = number(file, at, 4);
            (0..number(file, at, 8)).for_each(|_| skip(file, at, kind));
        }
        Ok(0 | 1 | 7) => *at += 1,
        Ok(2 | 3) => *at += 2,
        Ok(10..=12) => *at += 8,
        _ => *at += 4,
    }
}
