//! Keys of the cache, equal for equal requests. A key is a SHA-256 over a canonical form of everything that can
//! change the answer. Every structure is destructured without `..`, so that a new field does not compile until
//! its part in the key is decided.

use sha2::{Digest, Sha256};

use super::store::{CacheKey, EntryType};
use crate::{
    images::Image,
    types::{
        ChatRequest, Completion, EmbedRequest, Format, Message, Part, Prompt, Sampling, Tool, ToolCall,
        ToolChoice,
    },
};

/// Changed when the canonical form or the meaning of an entry changes: old entries are then not found.
const VERSION: u8 = 7;

/// Scope of a cache key: everything an answer depends on besides the request.
#[derive(Clone, Copy, Debug)]
pub struct KeyScope<'a> {
    /// The kind of backend.
    pub backend: &'a str,
    /// Of the model that answers; a model that is pulled anew has another one.
    pub digest: &'a str,
    /// Tokens that the backend makes room for, where that is known: an answer that was longer is another.
    pub context: Option<u64>,
    /// Whose entries these are, when keys do not share them.
    pub owner: Option<[u8; 32]>,
}

/// The key of a request for text.
pub(super) fn chat(request: &ChatRequest, origin: KeyScope<'_>) -> CacheKey {
    // How long the model stays loaded changes nothing in what it says.
    let ChatRequest {
        model,
        prompt,
        tools,
        tool_choice,
        parallel_tool_calls,
        format,
        sampling,
        logprobs,
        think,
        context_size,
        keep_alive: _,
    } = request;
    let mut hash = Canonical::new(origin, model);
    let mut has_images = false;
    match prompt {
        Prompt::Messages(messages) => {
            hash.byte(0).count(messages.len());
            for message in messages {
                has_images |= message.images().next().is_some();
                hash.message(message);
            }
        }
        Prompt::Completion(Completion { text, suffix, system, template, images, context, raw }) => {
            has_images = !images.is_empty();
            hash.byte(1).text(text).maybe(suffix.as_deref(), Canonical::text);
            hash.maybe(system.as_deref(), Canonical::text).maybe(template.as_deref(), Canonical::text);
            images.iter().fold(hash.count(images.len()), Canonical::image);
            hash.maybe(context.as_deref(), |hash, context| {
                context.iter().fold(hash.count(context.len()), |hash, id| hash.bytes(&id.to_le_bytes()))
            });
            hash.byte(u8::from(*raw));
        }
    }
    hash.count(tools.len());
    for Tool { name, description, parameters } in tools {
        hash.text(name).maybe(description.as_deref(), Canonical::text).text(parameters.get());
    }
    match tool_choice {
        ToolChoice::Auto => hash.byte(0),
        ToolChoice::None => hash.byte(1),
        ToolChoice::Required => hash.byte(2),
        ToolChoice::Named(name) => hash.byte(3).text(name),
    };
    hash.byte(u8::from(*parallel_tool_calls));
    match format {
        Format::Text => hash.byte(0),
        Format::Json => hash.byte(1),
        Format::Schema(schema) => hash.byte(2).text(schema.get()),
    };
    hash.sampling(sampling);
    hash.maybe(*logprobs, Canonical::byte);
    hash.maybe(*think, |hash, think| {
        hash.byte(u8::from(think.is_on())).text(think.effort().unwrap_or_default())
    });
    hash.maybe(*context_size, |hash, tokens| hash.bytes(&tokens.to_le_bytes()));
    let entry_type = match prompt {
        _ if has_images => EntryType::Vision,
        Prompt::Messages(_) => EntryType::Chat,
        Prompt::Completion(_) => EntryType::Inference,
    };
    hash.finish(entry_type)
}

/// Domain separator of a request's hash, whichever backend answers it.
const NOBODY: KeyScope<'static> = KeyScope { backend: "", digest: "", context: None, owner: None };

/// A hash of everything in a request that can change its answer.
pub fn fingerprint(request: &ChatRequest) -> [u8; 32] {
    chat(request, NOBODY).hash
}

/// The same of a request to embed texts.
pub fn embed_fingerprint(request: &EmbedRequest) -> [u8; 32] {
    let EmbedRequest { model, input, truncate, keep_alive: _ } = request;
    let mut hash = Canonical::new(NOBODY, model);
    hash.byte(u8::from(*truncate));
    input.iter().fold(hash.count(input.len()), |hash, text| hash.text(text));
    hash.finish(EntryType::Embedding).hash
}

/// The key of one text's embedding, whether the text may be cut or not: the entry says whether it was.
pub(super) fn embedding(model: &str, text: &str, origin: KeyScope<'_>) -> CacheKey {
    let mut hash = Canonical::new(origin, model);
    hash.text(text);
    hash.finish(EntryType::Embedding)
}

/// Feeds a hash so that no two different inputs give the same bytes: every text and list comes with
/// its length, every option with a mark.
struct Canonical(Sha256);

impl Canonical {
    fn new(KeyScope { backend, digest, context, owner }: KeyScope<'_>, model: &str) -> Self {
        let mut new = Self(Sha256::new());
        new.byte(VERSION).text(backend).text(model).text(digest);
        new.maybe(context, |hash, tokens| hash.bytes(&tokens.to_le_bytes()));
        new.maybe(owner, |hash, owner| hash.bytes(&owner));
        new
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(bytes);
        self
    }

    fn byte(&mut self, byte: u8) -> &mut Self {
        self.bytes(&[byte])
    }

    fn count(&mut self, count: usize) -> &mut Self {
        self.bytes(&(count as u64).to_le_bytes())
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.count(text.len()).bytes(text.as_bytes())
    }

    fn maybe<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T) -> &mut Self) -> &mut Self {
        match value {
            None => self.byte(0),
            Some(value) => write(self.byte(1), value),
        }
    }

    /// By the pixels, so that the same image in another file is the same.
    fn image(&mut self, image: &Image) -> &mut Self {
        self.bytes(image.pixel_hash())
    }

    fn message(&mut self, message: &Message) {
        let Message { role, content, tool_calls, tool_call_id, tool_name } = message;
        self.text(role.as_str()).count(content.len());
        for part in content {
            match part {
                Part::Text(text) => self.byte(0).text(text),
                Part::Image(image) => self.byte(1).image(image),
            };
        }
        self.count(tool_calls.len());
        for ToolCall { id, name, arguments } in tool_calls {
            self.maybe(id.as_deref(), Self::text).text(name).text(arguments.get());
        }
        self.maybe(tool_call_id.as_deref(), Self::text).maybe(tool_name.as_deref(), Self::text);
    }

    fn sampling(&mut self, sampling: &Sampling) {
        let Sampling {
            temperature,
            top_p,
            top_k,
            min_p,
            typical_p,
            repeat_penalty,
            repeat_last_n,
            presence_penalty,
            frequency_penalty,
            mirostat,
            mirostat_tau,
            mirostat_eta,
            logit_bias,
            seed,
            stop,
            max_tokens,
        } = sampling;
        for share in
            [temperature, top_p, min_p, typical_p, repeat_penalty, presence_penalty, frequency_penalty]
        {
            self.maybe(*share, |hash, x| hash.bytes(&x.to_le_bytes()));
        }
        self.maybe(*top_k, |hash, x| hash.bytes(&x.to_le_bytes()))
            .maybe(*mirostat, |hash, x| hash.bytes(&x.to_le_bytes()))
            .maybe(*mirostat_tau, |hash, x| hash.bytes(&x.to_le_bytes()))
            .maybe(*mirostat_eta, |hash, x| hash.bytes(&x.to_le_bytes()))
            .maybe(*repeat_last_n, |hash, x| hash.bytes(&x.to_le_bytes()))
            .maybe(*seed, |hash, x| hash.bytes(&x.to_le_bytes()))
            .maybe(*max_tokens, |hash, x| hash.bytes(&x.to_le_bytes()))
            .count(logit_bias.len());
        for (token, bias) in logit_bias {
            self.bytes(&token.to_le_bytes()).bytes(&bias.to_le_bytes());
        }
        self.count(stop.len());
        for text in stop {
            self.text(text);
        }
    }

    fn finish(self, entry_type: EntryType) -> CacheKey {
        CacheKey { entry_type, hash: self.0.finalize().into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{JsonText, Role, Think};

    const ORIGIN: KeyScope<'static> = KeyScope { backend: "fake", digest: "d1", context: None, owner: None };

    fn request() -> ChatRequest {
        ChatRequest::new("m", Prompt::Messages(vec![Message::new(Role::User, "hi")]))
    }

    fn changed(change: impl FnOnce(&mut ChatRequest)) -> CacheKey {
        let mut request = request();
        change(&mut request);
        chat(&request, ORIGIN)
    }

    fn with_schema(text: &str) -> CacheKey {
        let schema = serde_json::from_str(text).expect("JSON");
        changed(|r| r.format = Format::Schema(schema))
    }

    #[test]
    fn whatever_can_change_the_answer_changes_the_key() {
        let completion = |completion: Completion| changed(|r| r.prompt = Prompt::Completion(completion));
        let message = |message: Message| changed(|r| r.prompt = Prompt::Messages(vec![message]));
        let text = || Completion { text: "hi".into(), ..Completion::default() };
        let parts = |content: Vec<Part>| Message { content, ..Message::new(Role::User, "") };
        let text_part = |text: &str| Part::Text(text.to_owned());
        let keys = [
            chat(&request(), ORIGIN),
            chat(&request(), KeyScope { backend: "other", ..ORIGIN }),
            chat(&request(), KeyScope { digest: "d2", ..ORIGIN }),
            chat(&request(), KeyScope { context: Some(4096), ..ORIGIN }),
            chat(&request(), KeyScope { context: Some(8192), ..ORIGIN }),
            chat(&request(), KeyScope { owner: Some([1; 32]), ..ORIGIN }),
            chat(&request(), KeyScope { owner: Some([2; 32]), ..ORIGIN }),
            changed(|r| r.model = "n".into()),
            message(Message::new(Role::User, "ho")),
            message(Message::new(Role::System, "hi")),
            message(Message { tool_name: Some("t".into()), ..Message::new(Role::User, "hi") }),
            message(Message { tool_call_id: Some("t".into()), ..Message::new(Role::User, "hi") }),
            changed(|r| {
                r.prompt =
                    Prompt::Messages(vec![Message::new(Role::User, "h"), Message::new(Role::User, "i")])
            }),
            completion(text()),
            completion(Completion { raw: true, ..text() }),
            completion(Completion { images: vec![Image::black(1)], ..text() }),
            completion(Completion { images: vec![Image::black(2)], ..text() }),
            completion(Completion { images: vec![Image::black(1), Image::black(2)], ..text() }),
            message(Message::new(Role::User, "hi").with_images(vec![Image::black(1)])),
            message(parts(vec![text_part("hi"), Part::Image(Image::black(1))])),
            message(parts(vec![text_part("h"), Part::Image(Image::black(1)), text_part("i")])),
            message(parts(vec![text_part("h"), text_part("i")])),
            message(parts(vec![text_part("hi"), text_part("")])),
            message(parts(Vec::new())),
            completion(Completion { system: Some(String::new()), ..text() }),
            completion(Completion { suffix: Some(String::new()), ..text() }),
            completion(Completion { template: Some(String::new()), ..text() }),
            completion(Completion { context: Some(Vec::new()), ..text() }),
            completion(Completion { context: Some(vec![1]), ..text() }),
            changed(|r| r.format = Format::Json),
            with_schema("{}"),
            with_schema(r#"{"a": 1, "b": 2}"#),
            // An answer follows the order of its schema.
            with_schema(r#"{"b": 2, "a": 1}"#),
            changed(|r| r.sampling.temperature = Some(0.0)),
            changed(|r| r.sampling.top_p = Some(0.0)),
            changed(|r| r.sampling.top_k = Some(1)),
            changed(|r| r.sampling.min_p = Some(0.5)),
            changed(|r| r.sampling.typical_p = Some(0.5)),
            changed(|r| r.sampling.mirostat = Some(2)),
            changed(|r| r.sampling.mirostat_tau = Some(5.0)),
            changed(|r| r.sampling.mirostat_eta = Some(0.5)),
            changed(|r| r.context_size = Some(4096)),
            changed(|r| r.sampling.repeat_penalty = Some(0.5)),
            changed(|r| r.sampling.repeat_last_n = Some(1)),
            changed(|r| r.sampling.presence_penalty = Some(0.5)),
            changed(|r| r.sampling.frequency_penalty = Some(0.5)),
            changed(|r| r.sampling.logit_bias = vec![(1, 1.0)]),
            changed(|r| r.sampling.logit_bias = vec![(1, 2.0)]),
            changed(|r| r.logprobs = Some(0)),
            changed(|r| r.logprobs = Some(1)),
            changed(|r| r.sampling.seed = Some(1)),
            changed(|r| r.sampling.max_tokens = Some(1)),
            changed(|r| r.sampling.stop = vec!["x".into()]),
            changed(|r| r.sampling.stop = vec!["x".into(), String::new()]),
            changed(|r| {
                r.tools = vec![Tool { name: "t".into(), description: None, parameters: JsonText::default() }]
            }),
            changed(|r| r.parallel_tool_calls = false),
            changed(|r| r.tool_choice = ToolChoice::None),
            changed(|r| r.tool_choice = ToolChoice::Required),
            changed(|r| r.tool_choice = ToolChoice::Named("t".into())),
            changed(|r| r.tool_choice = ToolChoice::Named("u".into())),
            changed(|r| r.think = Some(Think::Off)),
            changed(|r| r.think = Some(Think::On)),
            changed(|r| r.think = Some(Think::Low)),
            changed(|r| r.think = Some(Think::High)),
            embedding("m", "hi", ORIGIN),
            embedding("m", "ho", ORIGIN),
            embedding("m", "hi", KeyScope { context: Some(4096), ..ORIGIN }),
        ];
        let different: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(different.len(), keys.len());
    }

    #[test]
    fn what_cannot_change_the_answer_does_not() {
        assert_eq!(
            with_schema(r#"{"a": 1, "b": ["é"]}"#),
            with_schema("{ \"a\":1, \"b\" : [\"\\u00e9\"]\n}")
        );
        let kept = changed(|r| r.keep_alive = Some(crate::types::KeepAlive::Forever));
        assert_eq!(kept, chat(&request(), ORIGIN));
    }
}
