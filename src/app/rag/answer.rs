//! Answers from documents: the chunks that a search finds go to the model with the question.

use std::fmt::Write;

use futures_util::stream;
use serde_json::Value;

use super::SearchDocuments;
use crate::{
    app::{App, Caller, ChatReply},
    error::{Error, Kind, Result},
    types::{CacheStatus, ChatEvent, ChatRequest, Done, Message, Prompt, Role, Sampling},
    vectors::Hit,
};

/// Answer when a search finds nothing; no model is asked.
const NOT_IN_THE_DOCUMENTS: &str = "The documents do not contain an answer to this question.";
/// Follows the question, because small models forget what was said before the excerpts.
const REMINDER: &str = "Answer in full sentences. End each with the number of its excerpt, such as [1].";
const NO_QUESTION: &str = "must end with a question from the user to be answered from documents";
/// Context size to assume when the model's is not known.
const USUAL_CONTEXT: u64 = 4096;
/// Bytes of excerpts for each token of the context: in most languages, this leaves at least a quarter of it for the
/// question and the answer.
const EXCERPT_BYTES_PER_TOKEN: u64 = 3;
/// Tokens that a rewritten question may have.
const QUESTION_TOKENS: u32 = 128;

pub struct Answer {
    pub reply: ChatReply,
    /// The chunks that the model was given; source 1 is the first.
    pub sources: Vec<Hit>,
}

impl App {
    /// Answers the last message of a chat from documents. The query of `search` is made from the conversation.
    ///
    /// # Errors
    /// `Invalid` when the last message is not a question from the user; `NotFound` when there is no such model; those of
    /// `search` and `chat`, at the messages
    /// of the request.
    pub async fn answer_from(
        &self,
        caller: &Caller,
        request: ChatRequest,
        mut search: SearchDocuments,
    ) -> Result<Answer> {
        let messages = conversation(&request)?;
        let asked = format!("/messages/{}/content", messages.len() - 1);
        search.query = self.question(caller, &request.model, messages).await?;
        let found = self.search(caller, &search).await;
        let mut sources = found.map_err(|error| error.at(|_| asked.clone()))?;
        let context = self.catalog.route(&request.model).await.context.unwrap_or(USUAL_CONTEXT);
        keep_within(&mut sources, context.saturating_mul(EXCERPT_BYTES_PER_TOKEN));
        while !sources.is_empty() {
            let (asked, before) = with_excerpts(&request, &self.prompts.rag_answer, &sources);
            match self.chat(caller, asked).await {
                Ok(reply) => return Ok(Answer { reply, sources }),
                Err(error) if is_too_long(&error) && sources.len() > 1 => {
                    sources.truncate(sources.len() * 3 / 4);
                }
                Err(error) => return Err(error.at(|pointer| without(before, pointer))),
            }
        }
        self.check_installed(&request.model).await?;
        let events = [Ok(ChatEvent::Text(NOT_IN_THE_DOCUMENTS.to_owned())), Ok(Done::default().into())];
        let events = Box::pin(stream::iter(events));
        let reply = ChatReply { model: request.model, events, cache_status: CacheStatus::Bypass };
        Ok(Answer { reply, sources })
    }

    /// Refuses a model that no backend has, as the backend would if it were asked.
    ///
    /// # Errors
    /// `NotFound`
    async fn check_installed(&self, model: &str) -> Result<()> {
        if self.catalog.route(model).await.listed.is_some() {
            return Ok(());
        }
        match self.model_details(model).await {
            Err(error) if error.kind() == Kind::NotFound => Err(error),
            // A backend that cannot say is not needed for this answer.
            _ => Ok(()),
        }
    }

    /// Returns the question of the last message, rewritten so that it makes sense without the earlier messages.
    async fn question(&self, caller: &Caller, model: &str, messages: &[Message]) -> Result<String> {
        let Some((last, earlier)) = messages.split_last() else { return Ok(String::new()) };
        let asked = last.text().into_owned();
        let spoken = |message: &&Message| matches!(message.role, Role::User | Role::Assistant);
        let earlier: Vec<&Message> = earlier.iter().filter(spoken).collect();
        if earlier.is_empty() {
            return Ok(asked);
        }
        let mut transcript = format!("{}\n\n", self.prompts.rag_question);
        for message in earlier.into_iter().chain([last]) {
            let _ = writeln!(transcript, "{}: {}", message.role.as_str(), message.text());
        }
        let prompt = Prompt::Messages(vec![Message::new(Role::User, transcript)]);
        let sampling =
            Sampling { temperature: Some(0.0), max_tokens: Some(QUESTION_TOKENS), ..Sampling::default() };
        let request = ChatRequest { sampling, ..ChatRequest::new(model, prompt) };
        let asked_whole = self.chat(caller, request).await;
        let whole = asked_whole.map_err(|error| error.at(|_| "/messages".to_owned()))?.collect().await?.text;
        Ok(if whole.trim().is_empty() { asked } else { whole.trim().to_owned() })
    }
}

fn conversation(request: &ChatRequest) -> Result<&[Message]> {
    let Prompt::Messages(messages) = &request.prompt else {
        return Err(Error::field("/messages", NO_QUESTION));
    };
    match messages.last() {
        Some(last) if last.role == Role::User && !last.text().trim().is_empty() => Ok(messages),
        _ => Err(Error::field("/messages", NO_QUESTION)),
    }
}

/// Removes the lowest ranked, until the texts have at most this many bytes; the first always stays.
fn keep_within(sources: &mut Vec<Hit>, bytes: u64) {
    let mut total = 0;
    let fits = sources.iter().take_while(|source| {
        total += source.content.len() as u64;
        total <= bytes
    });
    let fits = fits.count().max(1);
    sources.truncate(fits);
}

/// Whether the model has refused the messages, which are sound, for their length.
fn is_too_long(error: &Error) -> bool {
    error.kind() == Kind::Invalid
        && error.field_errors().iter().any(|field| field.pointer.starts_with("/messages"))
}

/// The request with the rules in its system prompt, and the excerpts before the text of its last message; and the
/// number of messages that were put before its own.
fn with_excerpts(request: &ChatRequest, rules: &str, sources: &[Hit]) -> (ChatRequest, usize) {
    let mut request = request.clone();
    let Prompt::Messages(messages) = &mut request.prompt else { return (request, 0) };
    if let Some(last) = messages.last_mut() {
        let text = format!("{}\nQuestion: {}\n{REMINDER}", excerpts(sources), last.text());
        *last = Message::new(Role::User, text).with_images(last.images().cloned().collect());
    }
    match messages.first_mut() {
        Some(first) if first.role == Role::System => {
            let text = format!("{}\n\n{rules}", first.text());
            *first = Message::new(Role::System, text);
            (request, 0)
        }
        _ => {
            messages.insert(0, Message::new(Role::System, rules));
            (request, 1)
        }
    }
}

/// A pointer to a message, without those that were put before the request's own.
fn without(before: usize, pointer: &str) -> String {
    let number = pointer.strip_prefix("/messages/").and_then(|rest| rest.split_once('/'));
    match number.and_then(|(number, rest)| Some((number.parse::<usize>().ok()?.checked_sub(before)?, rest))) {
        Some((number, rest)) => format!("/messages/{number}/{rest}"),
        None => pointer.to_owned(),
    }
}

fn excerpts(sources: &[Hit]) -> String {
    let mut text = String::new();
    for (number, source) in (1..).zip(sources) {
        let field = |name: &str| match source.metadata.get(name) {
            Some(Value::String(value)) => Some(value.clone()),
            Some(Value::Number(value)) => Some(value.to_string()),
            _ => None,
        };
        let name = field("title").unwrap_or_else(|| source.document_id.to_string());
        let page = field("page").map(|page| format!(", page {page}")).unwrap_or_default();
        let heading = field("heading").map(|heading| format!(", {heading}")).unwrap_or_default();
        let _ = writeln!(
            text,
            "<excerpt number=\"{number}\" from=\"{}\">\n{}\n</excerpt>",
            without_marks(&format!("{name}{page}{heading}")).replace('"', "'"),
            without_marks(&source.content)
        );
    }
    text
}

/// Escapes the tags, so that a text cannot pretend to end its excerpt.
fn without_marks(text: &str) -> String {
    text.replace("<excerpt", "&lt;excerpt").replace("</excerpt", "&lt;/excerpt")
}
