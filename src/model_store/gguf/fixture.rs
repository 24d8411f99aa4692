//! Writes tiny GGUF files for tests.

/// A GGUF file in the making.
#[derive(Clone)]
pub(in crate::model_store) struct Writer {
    version: u32,
    pairs: Vec<(String, Vec<u8>)>,
    tensors: Vec<(String, Vec<u64>)>,
}

impl Writer {
    pub(in crate::model_store) fn new() -> Self {
        Self { version: 3, pairs: Vec::new(), tensors: Vec::new() }
    }

    /// A decoder with two layers, a tokenizer and a chat template that knows tools.
    pub(in crate::model_store) fn decoder() -> Self {
        Self::encoder("llama")
            .text("tokenizer.chat_template", "{% if tools %}{{ tools }}{% endif %}{{ messages }}")
            .number("llama.attention.head_count_kv", 2)
    }

    /// A model with two layers and a tokenizer.
    pub(in crate::model_store) fn encoder(architecture: &str) -> Self {
        Self::new()
            .text("general.architecture", architecture)
            .number("general.file_type", 1)
            .number(&format!("{architecture}.context_length"), 128)
            .number(&format!("{architecture}.block_count"), 2)
            .number(&format!("{architecture}.embedding_length"), 32)
            .number(&format!("{architecture}.attention.head_count"), 4)
            .text("tokenizer.ggml.model", "gpt2")
            .texts("tokenizer.ggml.tokens", &["a", "b", "ab"])
            .tensor("token_embd.weight", &[32, 3])
            .tensor("blk.0.attn_q.weight", &[32, 32])
    }

    pub(in crate::model_store) fn projector() -> Self {
        Self::new()
            .text("general.architecture", "clip")
            .text("general.type", "mmproj")
            .tensor("mm.0.weight", &[32, 2])
    }

    pub(in crate::model_store) fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// A value whose bytes are given, of a type that is given by its number.
    pub(in crate::model_store) fn raw(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        let bytes = [&kind.to_le_bytes(), value].concat();
        self.pairs.retain(|(existing, _)| existing != key);
        self.pairs.push((key.to_owned(), bytes));
        self
    }

    pub(in crate::model_store) fn number(self, key: &str, value: u32) -> Self {
        self.raw(key, 4, &value.to_le_bytes())
    }

    pub(in crate::model_store) fn numbers(self, key: &str, values: &[i32]) -> Self {
        let mut bytes = array_head(5, values.len());
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        self.raw(key, 9, &bytes)
    }

    pub(in crate::model_store) fn text(self, key: &str, value: &str) -> Self {
        self.raw(key, 8, &text(value))
    }

    pub(in crate::model_store) fn texts(self, key: &str, values: &[&str]) -> Self {
        let mut bytes = array_head(8, values.len());
        bytes.extend(values.iter().flat_map(|value| text(value)));
        self.raw(key, 9, &bytes)
    }

    pub(in crate::model_store) fn without(mut self, key: &str) -> Self {
        self.pairs.retain(|(existing, _)| existing != key);
        self
    }

    /// A tensor of 32-bit floats; with multiples of 8 elements the file ends in no padding.
    pub(in crate::model_store) fn tensor(mut self, name: &str, dimensions: &[u64]) -> Self {
        self.tensors.push((name.to_owned(), dimensions.to_vec()));
        self
    }

    pub(in crate::model_store) fn bytes(&self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(self.version.to_le_bytes());
        file.extend((self.tensors.len() as u64).to_le_bytes());
        file.extend((self.pairs.len() as u64).to_le_bytes());
        for (key, value) in &self.pairs {
            file.extend(text(key));
            file.extend(value);
        }
        let mut offset = 0_u64;
        for (name, dimensions) in &self.tensors {
            file.extend(text(name));
            file.extend((dimensions.len() as u32).to_le_bytes());
            file.extend(dimensions.iter().flat_map(|size| size.to_le_bytes()));
            file.extend(0_u32.to_le_bytes());
            file.extend(offset.to_le_bytes());
            offset += (dimensions.iter().product::<u64>() * 4).next_multiple_of(32);
        }
        let data = file.len().next_multiple_of(32);
        file.resize(data, 0);
        file.extend((0..offset).map(|at| at as u8));
        file
    }
}

fn text(value: &str) -> Vec<u8> {
    [&(value.len() as u64).to_le_bytes(), value.as_bytes()].concat()
}

fn array_head(kind: u32, len: usize) -> Vec<u8> {
    [kind.to_le_bytes().as_slice(), &(len as u64).to_le_bytes()].concat()
}
