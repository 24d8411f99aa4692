//! The crate's only error. It has a kind (for the caller's program), a message (one plain sentence for the
//! caller, without paths, credentials or internals) and a source (the cause, for the log).
//!
//! Use `Error::new(Kind::X, "sentence")` where the fault is found and `.with_source(source)` to keep
//! the cause. Do not log while building an error: it is logged once, at the edge that reports it.

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Kind of an error, as far as a caller can act on it. `http/middleware/errors.rs` maps each to one status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The bytes cannot be read as what they claim to be (JSON, base64, an image).
    Malformed,
    /// The key is missing or wrong.
    Unauthorized,
    /// The key is right but may not do this.
    Forbidden,
    /// No such route, model or collection.
    NotFound,
    MethodNotAllowed,
    UnsupportedMediaType,
    /// The body, image or upload is over its limit.
    TooLarge,
    /// The caller stopped sending its request.
    RequestTimeout,
    /// Well formed, but a field is wrong.
    Invalid,
    /// Well formed, but the model's backend cannot do it; another one may.
    Unsupported,
    /// A limit is reached or a queue is full; asking again later helps.
    Busy,
    /// The backend answered with an error or broke off.
    BadGateway,
    /// No backend can take the request now.
    Unavailable,
    /// The backend did not answer in time.
    GatewayTimeout,
    /// The server is shutting down and has waited for as long as it may.
    ShuttingDown,
    /// A setting, a file or the machine: something the operator has to put right.
    Setup,
    /// A bug or a fault of this process.
    Internal,
}

/// Maximum number of wrong fields in a refusal: longer lists do not help.
pub const MAX_FIELDS: usize = 10;

/// One refused field of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// RFC 6901 JSON pointer, `/temperature`.
    pub pointer: String,
    /// Rule that the value breaks, such as `must be between 0 and 2`.
    pub detail: String,
    /// Whether the pointer's last name is one that the caller made up.
    is_unknown: bool,
}

/// Code of a refusal of a prompt or text that does not fit the context of the model.
pub const CONTEXT_LENGTH_EXCEEDED: &str = "context_length_exceeded";

/// Fields that hold JSON of the caller's own: the names within them are the caller's words.
const FREE_FORM: [&str; 8] = [
    "/format/",
    "/parameters/",
    "/arguments/",
    "/metadata/",
    "/filter/",
    "/schema/",
    "/input_schema/",
    "/input/",
];

impl FieldError {
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into(), is_unknown: false }
    }

    /// A field that does not exist.
    pub fn unknown(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { is_unknown: true, ..Self::new(pointer, detail) }
    }

    /// The field by its name, and what is wrong with it.
    fn sentence(&self) -> String {
        let Some(name) = self.pointer.strip_prefix('/') else { return self.detail.clone() };
        let first = name.split('/').next().unwrap_or_default();
        match first.bytes().all(|byte| byte.is_ascii_digit()) {
            _ if !is_plain(name) => format!("{name:?} {}", self.detail),
            // The body is a list.
            true => format!("item {name} {}", self.detail),
            false => format!("{name} {}", self.detail),
        }
    }

    /// The same without the caller's words.
    fn summary(&self) -> String {
        let parent = self.pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
        let known = if self.is_unknown { parent } else { &self.pointer };
        let free = FREE_FORM.iter().filter_map(|name| Some(known.find(name)? + name.len() - 1)).min();
        let (place, detail) = (&known[..free.unwrap_or(known.len())], ours(&self.detail));
        match (place, self.is_unknown) {
            ("", false) => detail,
            ("", true) => format!("a field {detail}"),
            (place, false) => format!("{place} {detail}"),
            (place, true) => format!("a field of {place} {detail}"),
        }
    }
}

/// Whether a reader sees where a name begins and ends without quotation marks.
fn is_plain(name: &str) -> bool {
    let is_word_character = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '$');
    name.split('/').all(|part| !part.is_empty() && part.chars().all(is_word_character))
}

/// Cheap enough to clone: several requests may fail by one fault.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: Kind,
    message: String,
    /// Name of the fault for programs, where an API has one.
    code: Option<&'static str>,
    fields: Vec<FieldError>,
    /// Tokens of a prompt that is too long, and their maximum.
    over_context: Option<(u64, u64)>,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            code: None,
            fields: Vec::new(),
            over_context: None,
            retry_after: None,
            source: None,
        }))
    }

    /// Refuses one or more fields of a request, of which the first `MAX_FIELDS` are listed.
    pub fn fields(mut fields: Vec<FieldError>) -> Self {
        fields.truncate(MAX_FIELDS);
        let mut error = Self::new(Kind::Invalid, sentence(&fields));
        error.0.fields = fields;
        error
    }

    /// Refuses one field of a request.
    pub fn field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::fields(vec![FieldError::new(pointer, detail)])
    }

    /// The same of a request whose fields stand elsewhere.
    #[must_use]
    pub fn at(mut self, place: impl Fn(&str) -> String) -> Self {
        if self.0.fields.is_empty() {
            return self;
        }
        for field in &mut self.0.fields {
            field.pointer = place(&field.pointer);
        }
        self.0.message = sentence(&self.0.fields);
        self
    }

    /// The same refusal of one of its fields only.
    #[must_use]
    pub fn only(mut self, pointer: &str) -> Self {
        self.0.fields.retain(|field| field.pointer == pointer);
        self.0.message = sentence(&self.0.fields);
        self
    }

    /// A field may be refused for something else than being `Invalid`.
    #[must_use]
    pub fn of_kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// Names the fault for programs.
    #[must_use]
    pub fn with_code(mut self, code: &'static str) -> Self {
        self.0.code = Some(code);
        self
    }

    /// Marks the refusal of a prompt of so many tokens, of which `maximum` would fit.
    #[must_use]
    pub fn over_context(mut self, tokens: u64, maximum: u64) -> Self {
        self.0.over_context = Some((tokens, maximum));
        self.with_code(CONTEXT_LENGTH_EXCEEDED)
    }

    /// Keeps the cause, for the log only.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    /// Tells the caller when asking again makes sense.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self
    }

    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    pub fn code(&self) -> Option<&'static str> {
        self.0.code
    }

    /// Tokens of the prompt and their maximum, if it was refused for its length and they were counted.
    pub fn context_exceeded(&self) -> Option<(u64, u64)> {
        self.0.over_context
    }

    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The message for records that are kept: without what stands in quotation marks or after a colon,
    /// where callers' and backends' words are, and without names that a caller made up.
    pub fn summary(&self) -> String {
        let summary = if self.0.fields.is_empty() {
            ours(&self.0.message)
        } else {
            let fields: Vec<String> = self.0.fields.iter().map(FieldError::summary).collect();
            format!("Refused: {}", fields.join("; "))
        };
        if summary.ends_with(['.', '!', '?']) { summary } else { summary + "." }
    }

    pub fn field_errors(&self) -> &[FieldError] {
        &self.0.fields
    }

    pub fn retry_after_hint(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The whole chain of causes in one line, for logs.
    pub fn chain(&self) -> String {
        // The end of a sentence is not the end of the line.
        let message = self.message();
        self.causes().map_or_else(
            || message.to_owned(),
            |causes| format!("{}: {causes}", message.trim_end_matches('.')),
        )
    }

    /// The causes in one line, for the person at the terminal.
    pub fn causes(&self) -> Option<String> {
        let causes =
            std::iter::successors(self.source(), |cause: &&(dyn StdError + 'static)| (*cause).source());
        let causes: Vec<String> =
            causes.map(|cause| cause.to_string().trim_end_matches('.').to_owned()).collect();
        (!causes.is_empty()).then(|| causes.join(": "))
    }
}

/// Joins the field errors into one sentence.
fn sentence(fields: &[FieldError]) -> String {
    let list: Vec<String> = fields.iter().map(FieldError::sentence).collect();
    format!("{}.", list.join("; "))
}

/// A text of ours without the words of others in it.
fn ours(text: &str) -> String {
    let text = match text.split_once(": ") {
        // What only leads to the words that are left out goes with them.
        Some((told, _)) => told.rsplit_once("; ").map_or(told, |(told, _)| told),
        None => text,
    };
    // Every other part is within quotation marks.
    let parts = text.split(['"', '`']).enumerate();
    parts.map(|(at, part)| if at % 2 == 0 { part } else { "…" }).collect()
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.kind, self.chain())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_holds_nothing_of_what_others_said() {
        for (error, summary) in [
            (
                Error::new(Kind::Busy, "The line is full; try again later."),
                "The line is full; try again later.",
            ),
            (
                Error::new(Kind::Invalid, "Ollama refused the request: my secret prompt"),
                "Ollama refused the request.",
            ),
            (
                Error::new(Kind::Invalid, "There is no \"secret\" here, nor `one`."),
                "There is no … here, nor ….",
            ),
            (Error::new(Kind::Invalid, "An open \"secret"), "An open …."),
            (Error::field("/prompt", "invalid type: string \"secret\""), "Refused: /prompt invalid type."),
            (
                Error::field("/model", "small cannot use tools; these can: large, secret"),
                "Refused: /model small cannot use tools.",
            ),
            (Error::field("", "The body must be an object"), "Refused: The body must be an object."),
            (
                Error::fields(vec![
                    FieldError::new("/format/properties/secret", "must be an object"),
                    FieldError::new("/filter/and/0/secret", "must be a list"),
                    FieldError::new(
                        "/response_format/json_schema/schema/properties/secret",
                        "must be a list",
                    ),
                    FieldError::new("/tools/0/input_schema/properties/secret", "must be a list"),
                    FieldError::new("/messages/0/content/0/input/secret", "is given twice"),
                    FieldError::new("/metadata/secret", "is set by the server"),
                    FieldError::unknown("/secret", "is unknown"),
                    FieldError::unknown("/messages/0/secret", "is unknown"),
                ]),
                "Refused: /format must be an object; /filter must be a list; /response_format/json_schema/schema must be a list; /tools/0/input_schema must be a list; /messages/0/content/0/input is given twice; /metadata is set by the server; a field is unknown; a field of /messages/0 is unknown.",
            ),
        ] {
            assert_eq!(error.summary(), summary);
        }
    }

    #[test]
    fn a_field_is_called_by_its_name_and_an_item_of_a_list_by_its_number() {
        assert_eq!(Error::field("/input/3", "must not be empty").message(), "input/3 must not be empty.");
        assert_eq!(Error::field("/0", "must not be empty").message(), "item 0 must not be empty.");
    }

    #[test]
    fn a_name_that_is_no_plain_word_is_quoted() {
        for (pointer, name) in [
            ("/stream", "stream"),
            ("/format/$defs/x-y.z", "format/$defs/x-y.z"),
            ("/größe", "größe"),
            ("/stream  ", "\"stream  \""),
            ("/messages/0/role\n", "\"messages/0/role\\n\""),
            ("/messages/0/", "\"messages/0/\""),
            ("/say \"hi\"", "\"say \\\"hi\\\"\""),
            ("/max tokens", "\"max tokens\""),
            ("/", "\"\""),
        ] {
            let error = Error::fields(vec![FieldError::unknown(pointer, "is unknown")]);
            assert_eq!(error.message(), format!("{name} is unknown."));
        }
    }
}
