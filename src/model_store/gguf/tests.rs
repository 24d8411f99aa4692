use std::io::Cursor;

use proptest::prelude::*;

use super::{fixture::Writer, *};

fn parse(bytes: &[u8]) -> Result<Header, Fault> {
    read_from(Cursor::new(bytes), bytes.len() as u64)
}

fn refusal(bytes: &[u8]) -> String {
    parse(bytes).expect_err("it must be refused").to_string()
}

#[test]
fn reads_what_the_engine_has_to_know() {
    for version in [2, 3] {
        let file = Writer::decoder().numbers("llama.attention.head_count_kv", &[2, 1]).version(version);
        let header = parse(&file.bytes()).expect("a valid file");
        assert_eq!(header.text("general.architecture"), Some("llama"));
        assert_eq!(header.number("llama.context_length"), Some(128));
        assert_eq!(header.numbers("llama.attention.head_count"), Some([4].as_slice()));
        assert_eq!(header.numbers("llama.attention.head_count_kv"), Some([2, 1].as_slice()));
        assert_eq!(header.parameters, 32 * 3 + 32 * 32);
        assert!(header.has_chat_template && header.template_has_tools);
    }
}

#[test]
fn reads_the_demo_model() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo");
    let header = read(&folder.join("simpleton-demo.gguf")).expect("a valid file");
    assert_eq!(header.text("general.architecture"), Some("llama"));
    assert_eq!(header.number("llama.context_length"), Some(2048));
    assert_eq!(header.longest_token, Some(13), "Ġdescription");
    assert_eq!(header.parameters, 2_607_168);
    assert!(header.has_chat_template && header.template_has_tools);
    let header = read(&folder.join("simpleton-demo-mmproj.gguf")).expect("a valid file");
    assert_eq!(header.text("general.architecture"), Some("clip"));
}

#[test]
fn says_how_much_of_a_file_is_missing() {
    let whole = Writer::decoder().bytes();
    assert_eq!(refusal(&whole[..whole.len() - 5]), "it is cut off, at least 5 bytes are missing");
    assert_eq!(refusal(&whole[..20]), "it is cut off, at least 4 bytes are missing");
}

#[test]
fn refuses_what_is_not_a_gguf() {
    for bytes in [b"".as_slice(), b"GG", b"PK\x03\x04 a zip file", b"ggml an ancient model"] {
        assert_eq!(refusal(bytes), "it is not a GGUF file");
    }
    assert_eq!(refusal(&Writer::decoder().version(1).bytes()), "GGUF version 1 is not supported");
    assert!(matches!(read(Path::new("/nonexistent")), Err(Fault::Io(_))));
    assert!(matches!(read(Path::new(".")), Err(Fault::NotGguf)));
}

/// Each of these would allocate, loop or overflow without a limit.
#[test]
fn refuses_absurd_headers() {
    let header = |tensors: u64, keys: u64| {
        [b"GGUF".as_slice(), &3_u32.to_le_bytes(), &tensors.to_le_bytes(), &keys.to_le_bytes()].concat()
    };
    let key = |length: u64| [header(1, 1), length.to_le_bytes().to_vec()].concat();
    let array = |kind: u32, count: u64| {
        Writer::decoder().raw("x", 9, &[kind.to_le_bytes().as_slice(), &count.to_le_bytes()].concat()).bytes()
    };
    for (what, bytes) in [
        ("tensor count", header(u64::MAX, 0)),
        ("key count", header(1, u64::MAX)),
        ("key length", key(u64::MAX)),
        ("long array", array(10, u64::MAX)),
        ("array of many texts", array(8, u64::MAX)),
        ("array of arrays", array(9, 1)),
        ("unknown type", Writer::decoder().raw("x", 77, &[]).bytes()),
        ("no tensors", Writer::new().text("general.architecture", "llama").bytes()),
        ("alignment 0", Writer::decoder().number("general.alignment", 0).bytes()),
        ("alignment 3", Writer::decoder().number("general.alignment", 3).bytes()),
        ("overflowing tensor", one_tensor(&[u64::MAX / 2, 4])),
        ("negative dimension", one_tensor(&[u64::MAX])),
        ("five dimensions", one_tensor(&[1, 1, 1, 1, 1])),
    ] {
        let refusal = refusal(&bytes);
        assert!(
            refusal.starts_with("its header is not valid") || refusal.contains("cut off"),
            "{what}: {refusal}"
        );
    }
}

/// A file with nothing but one Q4_K tensor and 144 bytes of data, one block of 256 elements.
fn one_tensor(dimensions: &[u64]) -> Vec<u8> {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3_u32.to_le_bytes());
    bytes.extend([1_u64, 0, 1].iter().flat_map(|number| number.to_le_bytes()));
    bytes.push(b't');
    bytes.extend((dimensions.len() as u32).to_le_bytes());
    bytes.extend(dimensions.iter().flat_map(|size| size.to_le_bytes()));
    bytes.extend(12_u32.to_le_bytes());
    bytes.extend(0_u64.to_le_bytes());
    let data = bytes.len().next_multiple_of(32);
    bytes.resize(data + 144, 0);
    bytes
}

#[test]
fn knows_the_sizes_of_block_types() {
    assert_eq!(parse(&one_tensor(&[256])).expect("a valid file").parameters, 256);
    assert_eq!(refusal(&one_tensor(&[512])), "it is cut off, at least 144 bytes are missing");
    assert_eq!(
        refusal(&one_tensor(&[128])),
        "its header is not valid, a tensor does not consist of whole blocks"
    );
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = parse(&bytes);
        let _ = parse(&[b"GGUF\x03\x00\x00\x00".as_slice(), &bytes].concat());
    }

    #[test]
    fn a_truncated_file_is_always_refused(cut in any::<prop::sample::Index>()) {
        let whole = Writer::decoder().bytes();
        prop_assert!(parse(&whole).is_ok());
        prop_assert!(parse(&whole[..cut.index(whole.len())]).is_err());
    }

    #[test]
    fn flipped_bits_never_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8_u32), 1..8)) {
        let mut bytes = Writer::decoder().bytes();
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        let _ = parse(&bytes);
    }
}

#[test]
fn the_marks_of_a_tokenizer_are_found_wherever_its_tables_are() {
    let texts = ["a", "<|im_end|>", "<unk>", "[TOOL]", "[OTHER]", "    ", "</s>", "<|x|>", "</td>"];
    let kinds = [1, 3, 2, 4, 4, 4, 1, 1, 4];
    let template = "{{ '[TOOL]' }}{{ '    ' }}";
    let before = Writer::encoder("llama")
        .texts("tokenizer.ggml.tokens", &texts)
        .numbers("tokenizer.ggml.token_type", &kinds)
        .text("tokenizer.chat_template", template);
    let after = Writer::encoder("llama")
        .text("tokenizer.chat_template", template)
        .numbers("tokenizer.ggml.token_type", &kinds)
        .texts("tokenizer.ggml.tokens", &texts);
    for writer in [before, after] {
        let header = parse(&writer.bytes()).expect("a header");
        assert_eq!(header.marks, ["<|im_end|>", "<unk>", "[TOOL]", "</s>", "<|x|>"]);
    }
    let short = Writer::encoder("llama").numbers("tokenizer.ggml.token_type", &[3; 5000]);
    assert_eq!(parse(&short.bytes()).expect("a header").marks, ["a", "b", "ab"]);
    let absurd = Writer::encoder("llama").numbers("tokenizer.ggml.token_type", &[3; 70_000]);
    assert!(matches!(parse(&absurd.bytes()), Err(Fault::Header(_))));
}
