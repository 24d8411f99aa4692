//! Interpretation of a GGUF header: capabilities, size and memory of the model.

use std::borrow::Borrow;

use super::{
    entry::Architecture,
    gguf::{Fault, Header},
};
use crate::types::Capability;

/// llama.cpp's `LLAMA_MAX_LAYERS` is 512.
const MAX_BLOCKS: u64 = 4096;
/// llama.cpp's `LLAMA_POOLING_TYPE_NONE` and `LLAMA_POOLING_TYPE_RANK`.
const POOLING_NONE: u64 = 0;
const POOLING_RANK: u64 = 4;
/// Decoders that were retrained to embed carry a name of their own; every encoder has `bert` in its
/// name. From the list of architectures in llama.cpp's `llama-arch.cpp`.
const EMBEDDING_ARCHITECTURES: [&str; 3] = ["t5encoder", "gemma-embedding", "llama-embed"];

/// Refuses files that are not one whole model: the file itself, or all of its parts in order.
pub(super) fn check_parts<H: Borrow<Header>>(headers: &[H]) -> Result<(), Fault> {
    let count = |header: &H| header.borrow().number("split.count").unwrap_or(1);
    let all = headers.len() as u64;
    let in_order = |(index, header): (u64, &H)| {
        count(header) == all && header.borrow().number("split.no") == Some(index)
    };
    match headers {
        [whole] if count(whole) <= 1 => Ok(()),
        [_] => Err(Fault::Unfit("it is one part of a split model; merge the parts with llama-gguf-split")),
        parts if (0..).zip(parts).all(in_order) => Ok(()),
        _ => Err(Fault::Unfit("its files are not the parts of one split model")),
    }
}

/// Reads the header of a language or embedding model.
pub(super) fn architecture(header: &Header) -> Result<Architecture, Fault> {
    let name = header.text("general.architecture").unwrap_or_default();
    if name.is_empty() {
        return Err(Fault::Header("its architecture is missing"));
    }
    // It is shown, also in terminals.
    if !name.chars().all(|char| char.is_ascii_alphanumeric() || "-_.".contains(char)) {
        return Err(Fault::Header("the name of its architecture has invalid characters"));
    }
    if name == "clip" || header.text("general.type").is_some_and(|kind| kind != "model") {
        return Err(Fault::Unfit("it is only a part of a language model"));
    }
    let number = |key: &str| header.number(&format!("{name}.{key}"));
    let context_length = number("context_length").ok_or(Fault::Header("its context length is missing"))?;
    let block_count = number("block_count")
        .filter(|count| *count <= MAX_BLOCKS)
        .ok_or(Fault::Header("its number of layers is invalid"))?;
    Ok(Architecture {
        name: name.to_owned(),
        context_length,
        block_count,
        embedding_length: number("embedding_length"),
        kv_bytes_per_token: kv_bytes_per_token(header, name, block_count),
        tokens: header.tokens,
        longest_token: longest_token(header),
        embedding_only: name.contains("bert")
            || EMBEDDING_ARCHITECTURES.contains(&name)
            || number("pooling_type").is_some_and(|pooling| pooling != POOLING_NONE),
        has_chat_template: header.has_chat_template,
    })
}

/// Names of llama.cpp's tokenizers that cover every byte: `tokenizer_model` in `llama-vocab.cpp`.
const WHOLE_TOKENIZERS: [&str; 4] = ["llama", "gpt2", "gemma4", "rwkv"];

/// A vocabulary writes a byte as a character of up to two bytes and a blank as one of three, so that a token is no
/// longer in a text than it is there.
fn longest_token(header: &Header) -> Option<u64> {
    let is_whole = WHOLE_TOKENIZERS.contains(&header.text("tokenizer.ggml.model")?);
    header.longest_token.filter(|longest| is_whole && *longest > 0)
}

/// Refuses a GGUF file that cannot be given to the engine as a model's projector.
pub(super) fn check_projector(header: &Header) -> Result<(), Fault> {
    match header.text("general.architecture") {
        Some("clip") => Ok(()),
        _ => Err(Fault::Unfit("it is not a vision projector")),
    }
}

/// Capabilities of a model, in the order in which they are shown.
pub(super) fn capabilities(
    header: &Header,
    architecture: &Architecture,
    has_projector: bool,
) -> Vec<Capability> {
    if architecture.embedding_only {
        // A reranker judges pairs of texts; its vectors mean nothing.
        let pooling = header.number(&format!("{}.pooling_type", architecture.name));
        return if pooling == Some(POOLING_RANK) { Vec::new() } else { vec![Capability::Embedding] };
    }
    if header.text("tokenizer.ggml.model").is_none() {
        return Vec::new();
    }
    let mut capabilities = vec![Capability::Completion];
    if has_projector {
        capabilities.push(Capability::Vision);
    }
    if header.template_has_tools {
        capabilities.push(Capability::Tools);
    }
    if header.template_has_thinking {
        capabilities.push(Capability::Thinking);
    }
    capabilities
}

/// The number of parameters as Ollama shows it: `7.6B`, `2.6M`, `137M`.
pub(super) fn parameter_size(parameters: u64) -> String {
    let shown = |unit: u64, letter: char| {
        let number = format!("{:.1}", parameters as f64 / unit as f64);
        format!("{}{letter}", number.strip_suffix(".0").unwrap_or(&number))
    };
    match parameters {
        1_000_000_000.. => shown(1_000_000_000, 'B'),
        1_000_000.. => shown(1_000_000, 'M'),
        1000.. => shown(1000, 'K'),
        _ => parameters.to_string(),
    }
}

/// The name of `general.file_type`, `None` when it is absent or unknown. The numbers are those of
/// `enum llama_ftype` in llama.cpp's `llama.h`, where 1024 is added to a type that was guessed.
pub(super) fn quantization(header: &Header) -> Option<&'static str> {
    Some(match header.number("general.file_type")? & !1024 {
        0 => "F32",
        1 => "F16",
        2 => "Q4_0",
        3 => "Q4_1",
        7 => "Q8_0",
        8 => "Q5_0",
        9 => "Q5_1",
        10 => "Q2_K",
        11 => "Q3_K_S",
        12 => "Q3_K_M",
        13 => "Q3_K_L",
        14 => "Q4_K_S",
        15 => "Q4_K_M",
        16 => "Q5_K_S",
        17 => "Q5_K_M",
        18 => "Q6_K",
        19 => "IQ2_XXS",
        20 => "IQ2_XS",
        21 => "Q2_K_S",
        22 => "IQ3_XS",
        23 => "IQ3_XXS",
        24 => "IQ1_S",
        25 => "IQ4_NL",
        26 => "IQ3_S",
        27 => "IQ3_M",
        28 => "IQ2_S",
        29 => "IQ2_M",
        30 => "IQ4_XS",
        31 => "IQ1_M",
        32 => "BF16",
        36 => "TQ1_0",
        37 => "TQ2_0",
        38 => "MXFP4",
        39 => "NVFP4",
        40 => "Q1_0",
        41 => "Q2_0",
        _ => return None,
    })
}

/// Keys and values of one token at 16 bits each, over all layers. Layers with a sliding window or
/// a recurrent state cost less than this in the end, so that it errs on the safe side.
fn kv_bytes_per_token(header: &Header, name: &str, block_count: u64) -> u64 {
    let numbers = |key: &str| header.numbers(&format!("{name}.{key}")).unwrap_or_default();
    let heads = numbers("attention.head_count");
    let kv_heads = numbers("attention.head_count_kv");
    // Layers without attention state 0 heads, so that the largest number is the one that counts.
    let most_heads = heads.iter().copied().max().unwrap_or(0);
    let embedding_length = numbers("embedding_length").first().copied().unwrap_or(0);
    let head_length = embedding_length.checked_div(most_heads).unwrap_or(0);
    let key_length = numbers("attention.key_length").first().copied().unwrap_or(head_length);
    let value_length = numbers("attention.value_length").first().copied().unwrap_or(head_length);
    let per_head = key_length.saturating_add(value_length).saturating_mul(2);
    (0..block_count)
        .map(|layer| {
            let heads_of = |list: &[u64]| match list {
                [every_layer] => Some(*every_layer),
                list => list.get(layer as usize).copied(),
            };
            let heads = heads_of(kv_heads).or_else(|| heads_of(heads)).unwrap_or(0);
            heads.saturating_mul(per_head)
        })
        .fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::model_store::gguf::{self, fixture::Writer};

    fn header(writer: &Writer) -> Header {
        let bytes = writer.bytes();
        gguf::read_from(Cursor::new(&bytes), bytes.len() as u64).expect("a valid file")
    }

    fn can(writer: &Writer, has_projector: bool) -> Vec<Capability> {
        let header = header(writer);
        capabilities(&header, &architecture(&header).expect("a model"), has_projector)
    }

    #[test]
    fn tells_what_a_model_can_do() {
        use Capability::{Completion, Embedding, Tools, Vision};
        let plain = Writer::decoder().text("tokenizer.chat_template", "{{ messages }}");
        let pooled = |pooling| Writer::encoder("qwen3").number("qwen3.pooling_type", pooling);
        for (what, writer, has_projector, expected) in [
            ("a decoder", Writer::decoder(), false, vec![Completion, Tools]),
            ("with eyes", Writer::decoder(), true, vec![Completion, Vision, Tools]),
            ("no tools", plain, false, vec![Completion]),
            ("no tokenizer", Writer::decoder().without("tokenizer.ggml.model"), false, vec![]),
            ("bert", Writer::encoder("bert"), false, vec![Embedding]),
            ("nomic", Writer::encoder("nomic-bert"), false, vec![Embedding]),
            ("gemma", Writer::encoder("gemma-embedding"), false, vec![Embedding]),
            ("a decoder that pools", pooled(3), false, vec![Embedding]),
            ("a decoder that does not", pooled(0), false, vec![Completion]),
            ("a reranker", pooled(4), false, vec![]),
        ] {
            assert_eq!(can(&writer, has_projector), expected, "{what}");
        }
    }

    #[test]
    fn counts_the_cost_of_a_token() {
        let cost = |writer: &Writer| architecture(&header(writer)).expect("a model").kv_bytes_per_token;
        let decoder = Writer::decoder();
        // 2 layers × 2 heads × (8 + 8) × 2 bytes
        assert_eq!(cost(&decoder), 128);
        assert_eq!(cost(&decoder.clone().without("llama.attention.head_count_kv")), 256);
        assert_eq!(cost(&decoder.clone().numbers("llama.attention.head_count_kv", &[2, 0])), 64);
        assert_eq!(cost(&decoder.clone().number("llama.attention.key_length", 24)), 256);
        assert_eq!(cost(&decoder.raw("llama.attention.head_count_kv", 10, &[0xff; 8])), u64::MAX);
    }

    #[test]
    fn tells_how_much_text_a_token_stands_for() {
        let longest = |writer: &Writer| architecture(&header(writer)).expect("a model").longest_token;
        let decoder = Writer::decoder();
        assert_eq!(longest(&decoder), Some(2));
        assert_eq!(longest(&decoder.clone().texts("tokenizer.ggml.tokens", &[&"x".repeat(9), "y"])), Some(9));
        // It leaves out blanks, and a word that it does not know is one token.
        assert_eq!(longest(&decoder.clone().text("tokenizer.ggml.model", "bert")), None);
        assert_eq!(longest(&decoder.clone().without("tokenizer.ggml.tokens")), None);
        let tokens = |writer: &Writer| architecture(&header(writer)).expect("a model").tokens;
        assert_eq!(tokens(&decoder), Some(3));
        assert_eq!(tokens(&decoder.without("tokenizer.ggml.tokens")), None);
    }

    #[test]
    fn refuses_parts_of_a_model() {
        for writer in [
            Writer::projector(),
            Writer::decoder().text("general.type", "adapter"),
            Writer::decoder().without("llama.context_length"),
            Writer::decoder().number("llama.block_count", u32::MAX),
            Writer::decoder().without("general.architecture"),
        ] {
            assert!(architecture(&header(&writer)).is_err());
        }
        let part = |no: u32, count: u32| {
            header(&Writer::decoder().number("split.no", no).number("split.count", count))
        };
        assert!(check_parts(&[part(0, 1)]).is_ok() && check_parts(&[header(&Writer::decoder())]).is_ok());
        assert!(check_parts(&[part(0, 2), part(1, 2)]).is_ok());
        for parts in [
            vec![part(0, 3)],
            vec![part(1, 2), part(0, 2)],
            vec![part(0, 3), part(1, 3)],
            vec![part(0, 1), part(0, 1)],
        ] {
            assert!(check_parts(&parts).is_err());
        }
        assert!(check_projector(&header(&Writer::projector())).is_ok());
        assert!(check_projector(&header(&Writer::decoder())).is_err());
    }

    #[test]
    fn shows_sizes_as_ollama_does() {
        for (parameters, shown) in [
            (7_615_616_512, "7.6B"),
            (2_607_168, "2.6M"),
            (137_000_000, "137M"),
            (1_000_000_000, "1B"),
            (22_713, "22.7K"),
            (999, "999"),
        ] {
            assert_eq!(parameter_size(parameters), shown);
        }
        let named =
            |file_type| quantization(&header(&Writer::decoder().number("general.file_type", file_type)));
        assert_eq!(named(15), Some("Q4_K_M"));
        assert_eq!(named(1024 + 1), Some("F16"));
        assert_eq!(named(5), None);
    }
}
