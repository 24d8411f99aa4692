//! Which tokens of a vocabulary are control tokens, and not text.

/// Bounds memory: the largest known vocabularies have some 7,000.
pub const MAX_CONTROL_TOKENS: usize = 65_536;

/// Type of a token that may not be text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    Unknown,
    Control,
    UserDefined,
}

impl TokenType {
    /// From its number in a GGUF file (`enum llama_token_type` in llama.cpp's `llama.h`).
    pub fn of(number: u32) -> Option<Self> {
        match number {
            2 => Some(Self::Unknown),
            3 => Some(Self::Control),
            4 => Some(Self::UserDefined),
            _ => None,
        }
    }
}

/// Texts that llama.cpp takes for control tokens whatever the file says (`llama-vocab.cpp`), besides those
/// between `<|` and `|>`.
const TAKEN_FOR_CONTROL: [&str; 34] = [
    "</s>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "[e~[",
    "<end_of_turn>",
    "<end_of_utterance>",
    "<｜end▁of▁sentence｜>",
    "<fim-prefix>",
    "<fim_prefix>",
    "<｜fim▁begin｜>",
    "<PRE>",
    "▁<PRE>",
    "<fim-suffix>",
    "<fim_suffix>",
    "<｜fim▁hole｜>",
    "<SUF>",
    "▁<SUF>",
    "<fim-middle>",
    "<fim_middle>",
    "<｜fim▁end｜>",
    "<MID>",
    "▁<MID>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "[PAD]",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
];
/// Bytes of the longest of them, with room for what stands between `<|` and `|>`.
pub const MAX_TAKEN_FOR_CONTROL: usize = 64;

/// Whether a tokenizer reads this token as a control token. Of those that a model's maker has defined,
/// only those count that its chat templates write: the others are runs of spaces and the like.
pub fn is_control_token(text: &str, kind: Option<TokenType>, templates: &str) -> bool {
    match kind {
        Some(TokenType::Control | TokenType::Unknown) => true,
        Some(TokenType::UserDefined) => {
            text.len() > 2 && text.starts_with(['<', '[']) && templates.contains(text)
        }
        None => text.len() <= MAX_TAKEN_FOR_CONTROL && is_taken_for_control(text),
    }
}

fn is_taken_for_control(text: &str) -> bool {
    text.len() > 4 && text.starts_with("<|") && text.ends_with("|>") || TAKEN_FOR_CONTROL.contains(&text)
}
