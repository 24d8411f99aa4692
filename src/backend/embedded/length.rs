//! Texts that cannot fit a model's context are refused before its child reads them: to make tokens of a text
//! takes 130 times its bytes, and a child that has begun does not stop when its caller leaves. What cannot fit
//! by its bytes is refused without asking, and what is suspiciously long is counted in pieces.

use super::Child;
use crate::{
    backend::openai,
    error::{CONTEXT_LENGTH_EXCEEDED, Error, FieldError, MAX_FIELDS, Result},
    model_store::Entry,
    types::{ChatRequest, Completion, EmbedRequest, Message, Prompt, Role, Tool},
    wire::llama::{TokenizeBody, TokenizeReply},
};

/// Bytes counted at a time, so that a caller who leaves leaves little work behind.
const COUNTED_AT_ONCE: usize = 256 * 1024;
/// Tokens by which a text is longer for having been cut in two: a word more, and what a model adds at the ends.
const CUT_TOKENS: usize = 8;
/// Bytes that a prompt may have without being counted, besides those that a full context has: texts in most
/// languages and programs have three to five bytes in a token.
const UNCOUNTED_BYTES: usize = 512 * 1024;
const UNCOUNTED_PER_TOKEN: usize = 8;

/// How much fits a model.
#[derive(Clone, Copy)]
pub(super) struct Room {
    /// Context size in tokens, for prompt and answer together.
    context: usize,
    /// Context size that the model was trained for, in tokens.
    trained: u64,
    /// Bytes that as many tokens stand for at most.
    bytes: Option<usize>,
}

impl Room {
    pub(super) fn new(entry: &Entry, context: u32) -> Self {
        let context = context as usize;
        let longest = entry.architecture.longest_token.and_then(|longest| usize::try_from(longest).ok());
        let bytes = longest.map(|longest| longest.saturating_mul(context));
        Self { context, trained: entry.architecture.context_length, bytes }
    }

    /// # Errors
    /// `Invalid` for a prompt that cannot fit, naming the field that is too long.
    pub(super) fn check_chat(self, request: &ChatRequest) -> Result<()> {
        let tools: usize = request.offered_tools().map(tool_bytes).sum();
        let (pointer, bytes) = match &request.prompt {
            Prompt::Messages(messages) => {
                self.check_number(messages)?;
                let sizes = messages.iter().map(message_bytes);
                match sizes.clone().position(|bytes| !self.holds(bytes)) {
                    Some(n) => (format!("/messages/{n}/content"), message_bytes(&messages[n])),
                    None => ("/messages".to_owned(), sizes.sum()),
                }
            }
            Prompt::Completion(completion) => {
                let tokens = completion.context.as_ref().map_or(0, Vec::len);
                if tokens > self.context {
                    let detail = format!("has {tokens} tokens and {}", self.limit());
                    return Err(
                        Error::field("/context", detail).over_context(tokens as u64, self.context as u64)
                    );
                }
                let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
                let (system, suffix) = (length(&completion.system), length(&completion.suffix));
                let template = length(&completion.template);
                match () {
                    () if !self.holds(system) => ("/system".to_owned(), system),
                    () if !self.holds(suffix) => ("/suffix".to_owned(), suffix),
                    () => ("/prompt".to_owned(), system + suffix + template + completion.text.len()),
                }
            }
        };
        match (self.holds(tools), self.holds(bytes)) {
            (false, _) => Err(self.refusal("/tools".to_owned(), tools)),
            (_, false) => Err(self.refusal(pointer, bytes)),
            _ => Ok(()),
        }
    }

    /// A chat template adds at least one token to each message and each tool call, even to empty ones.
    fn check_number(self, messages: &[Message]) -> Result<()> {
        let calls: usize = messages.iter().map(|message| message.tool_calls.len()).sum();
        let tokens = messages.len() + calls;
        if tokens <= self.context {
            return Ok(());
        }
        let detail = format!("has {tokens} messages and tool calls, which is too many: {}", self.limit());
        Err(Error::field("/messages", detail).with_code(CONTEXT_LENGTH_EXCEEDED))
    }

    /// # Errors
    /// `Invalid` for each text that cannot fit.
    pub(super) fn check_embed(self, request: &EmbedRequest) -> Result<()> {
        if request.truncate {
            return Ok(());
        }
        let too_long = request.input.iter().enumerate().filter(|(_, text)| !self.holds(text.len()));
        let fields = too_long.take(MAX_FIELDS).map(|(n, text)| self.field(format!("/input/{n}"), text.len()));
        let fields: Vec<FieldError> = fields.collect();
        if fields.is_empty() {
            return Ok(());
        }
        Err(Error::fields(fields).with_code(CONTEXT_LENGTH_EXCEEDED))
    }

    /// Counts what a prompt has in it when that is so long that it hardly fits.
    ///
    /// # Errors
    /// `Invalid` when it is too long; as `openai::ask`.
    pub(super) async fn count_chat(self, request: &ChatRequest, child: &Child) -> Result<()> {
        let (texts, pointer): (Vec<&str>, _) = match &request.prompt {
            // What the assistant has said before may be left out by a template, such as its thoughts.
            Prompt::Messages(messages) => {
                let kept = messages.iter().filter(|message| message.role != Role::Assistant);
                (kept.flat_map(Message::texts).collect(), "/messages")
            }
            Prompt::Completion(Completion { text, suffix, system, template, .. }) => {
                let texts = system.iter().chain(suffix).chain(template).chain([text]);
                (texts.map(String::as_str).collect(), "/prompt")
            }
        };
        let uncounted = UNCOUNTED_BYTES.max(self.context.saturating_mul(UNCOUNTED_PER_TOKEN));
        if texts.iter().map(|text| text.len()).sum::<usize>() <= uncounted {
            return Ok(());
        }
        let mut count = Count::default();
        for text in texts {
            count.add(text, self.context, child, pointer).await?;
        }
        match count.over(self.context) {
            Some(told) => {
                let most = self.context as u64;
                let detail = child.place(pointer).too_long(&told, most);
                Err(Error::field(pointer, detail).over_context(count.tokens as u64, most))
            }
            None => Ok(()),
        }
    }

    fn holds(self, bytes: usize) -> bool {
        self.bytes.is_none_or(|most| bytes <= most)
    }

    fn refusal(self, pointer: String, bytes: usize) -> Error {
        Error::fields(vec![self.field(pointer, bytes)]).with_code(CONTEXT_LENGTH_EXCEEDED)
    }

    fn field(self, pointer: String, bytes: usize) -> FieldError {
        let kilobytes = bytes.div_ceil(1000);
        FieldError::new(pointer, format!("is {kilobytes} kB long, which is too much: {}", self.limit()))
    }

    /// The end of a sentence.
    fn limit(self) -> String {
        let Self { context, trained, .. } = self;
        if trained > context as u64 {
            format!("ENGINE_CONTEXT limits it to {context} tokens; the model supports up to {trained}")
        } else {
            format!("the model accepts at most {context} tokens, whatever ENGINE_CONTEXT is")
        }
    }
}

fn message_bytes(message: &Message) -> usize {
    let calls = message.tool_calls.iter().map(|call| call.name.len() + call.arguments.get().len());
    message.texts().map(str::len).chain(calls).sum()
}

fn tool_bytes(Tool { name, description, parameters }: &Tool) -> usize {
    name.len() + description.as_ref().map_or(0, String::len) + parameters.get().len()
}

/// The tokens of texts, counted until there are enough. A word that is cut in two counts for a token more.
#[derive(Default)]
struct Count {
    tokens: usize,
    pieces: usize,
    is_cut_short: bool,
}

impl Count {
    async fn add(&mut self, text: &str, enough: usize, child: &Child, pointer: &str) -> Result<()> {
        let mut counted = 0;
        while counted < text.len() {
            if self.tokens > enough + self.slack() {
                self.is_cut_short = true;
                return Ok(());
            }
            let content = first_piece(&text[counted..]);
            let body = TokenizeBody { content, add_special: true, parse_special: true };
            let place = child.place(pointer);
            let reply: TokenizeReply = openai::ask(child.client(), "/tokenize", &body, place).await?;
            self.tokens += reply.tokens.len();
            self.pieces += 1;
            counted += content.len();
        }
        Ok(())
    }

    fn slack(&self) -> usize {
        self.pieces.saturating_sub(1) * CUT_TOKENS
    }

    /// How many there are, when there are too many.
    fn over(&self, context: usize) -> Option<String> {
        let more = if self.is_cut_short { "more than " } else { "" };
        (self.tokens > context + self.slack()).then(|| format!("{more}{}", self.tokens))
    }
}

/// As much of the beginning as is counted at a time.
pub(super) fn first_piece(text: &str) -> &str {
    let mut end = text.len().min(COUNTED_AT_ONCE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{JsonText, ToolCall};

    const ROOM: Room = Room { context: 100, trained: 100, bytes: Some(1000) };

    fn refusal(prompt: Prompt, tools: Vec<Tool>) -> Option<(String, String)> {
        let request = ChatRequest { tools, ..ChatRequest::new("m", prompt) };
        let error = ROOM.check_chat(&request).err()?;
        let [field] = error.field_errors() else { panic!("{error:?}") };
        Some((field.pointer.clone(), field.detail.clone()))
    }

    fn pointer(prompt: Prompt) -> Option<String> {
        refusal(prompt, Vec::new()).map(|(pointer, _)| pointer)
    }

    #[test]
    fn what_cannot_fit_by_its_bytes_is_refused_by_its_name() {
        let user = |bytes: usize| Message::new(Role::User, "x".repeat(bytes));
        let completion = |text: usize, system: usize, context: usize| {
            Prompt::Completion(Completion {
                text: "x".repeat(text),
                system: Some("x".repeat(system)),
                context: Some(vec![0; context]),
                ..Completion::default()
            })
        };
        assert_eq!(pointer(Prompt::Messages(vec![user(600), user(400)])), None);
        assert_eq!(pointer(Prompt::Messages(vec![user(600), user(401)])).as_deref(), Some("/messages"));
        let second = pointer(Prompt::Messages(vec![user(600), user(1001)]));
        assert_eq!(second.as_deref(), Some("/messages/1/content"));
        assert_eq!(pointer(completion(600, 400, 100)), None);
        assert_eq!(pointer(completion(600, 401, 0)).as_deref(), Some("/prompt"));
        assert_eq!(pointer(completion(0, 1001, 0)).as_deref(), Some("/system"));
        assert_eq!(pointer(completion(0, 0, 101)).as_deref(), Some("/context"));
        assert_eq!(pointer(Prompt::Messages(vec![user(0); 100])), None);
        let number = refusal(Prompt::Messages(vec![user(0); 101]), Vec::new());
        assert!(number.is_some_and(|(at, told)| at == "/messages" && told.contains("has 101 messages")));
        let call = ToolCall { id: None, name: "f".to_owned(), arguments: JsonText::default() };
        let calls = Message { tool_calls: vec![call; 100], ..user(0) };
        assert_eq!(pointer(Prompt::Messages(vec![calls])).as_deref(), Some("/messages"));
        let tool = Tool { name: "x".repeat(1001), description: None, parameters: JsonText::default() };
        let refused = refusal(Prompt::Messages(vec![user(1)]), vec![tool]).expect("a tool without end");
        assert_eq!(refused.0, "/tools");
        assert!(
            refused.1.contains("2 kB") && refused.1.contains("100 tokens, whatever ENGINE_CONTEXT"),
            "{refused:?}"
        );
    }

    #[test]
    fn a_limit_says_whose_it_is() {
        let larger = Room { trained: 8192, ..ROOM };
        assert!(
            larger.limit().contains("ENGINE_CONTEXT limits it to 100 tokens; the model supports up to 8192")
        );
        let unknown = Room { bytes: None, ..ROOM };
        assert!(unknown.holds(usize::MAX));
    }
}
