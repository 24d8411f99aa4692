//! A model's chat template, rendered here. The engine works out anew for each request how to read a reply
//! of its template, which takes it longer than all that is done here (docs/adr/0020); where there is nothing
//! to work out, it is given the finished prompt instead. What is made of a template here has to be what the
//! engine makes of it, so the engine is asked to render a few conversations first.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Zoned;
use minijinja::{Environment, Error, ErrorKind, Value, context, syntax::SyntaxConfig};
use minijinja_contrib::pycompat::unknown_method_callback;
use tokio::sync::OnceCell;

use crate::{
    backend::openai,
    client::Client,
    error,
    types::{Message, Role},
    wire::llama::{PropsReply, TemplateBody, TemplateReply},
};

/// Steps that one rendering may take, some ten for each message: what takes more is no chat template.
const FUEL: u64 = 1_000_000;
/// Without an extension, nothing is escaped.
const NAME: &str = "chat";

/// The templates of the models that have been loaded, by the digests of their weights. `None` where the
/// engine has to be asked.
#[derive(Default)]
pub(super) struct Templates(Mutex<HashMap<String, Known>>);

type Known = Arc<OnceCell<Option<Arc<Template>>>>;

impl Templates {
    /// The template of the model with these weights, which runs behind this client.
    pub async fn of(&self, digest: &str, client: &Client) -> Option<Arc<Template>> {
        let known = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match all.get(digest) {
                Some(known) => Arc::clone(known),
                None => Arc::clone(all.entry(digest.to_owned()).or_default()),
            }
        };
        let learn = async || {
            let learnt = learn(client).await?;
            match &learnt {
                Ok(_) => tracing::debug!("the model's chat template is rendered here"),
                Err(reason) => {
                    tracing::debug!("the model's chat template is rendered by the engine: {reason}")
                }
            }
            Ok::<_, error::Error>(learnt.ok().map(Arc::new))
        };
        match known.get_or_try_init(learn).await {
            Ok(template) => template.clone(),
            Err(error) => {
                tracing::debug!("the model's chat template is still to be learnt: {}", error.chain());
                None
            }
        }
    }
}

/// The template, or why the engine has to render it.
///
/// # Errors
/// When the engine does not answer.
async fn learn(client: &Client) -> error::Result<Result<Template, String>> {
    let props: PropsReply = openai::get(client, "/props").await?;
    let mut template = match Template::new(props).and_then(Template::check_replies) {
        Ok(template) => template,
        Err(reason) => return Ok(Err(reason)),
    };
    let mut pairs = Vec::new();
    for (messages, is_open) in samples() {
        // What cannot be rendered here is left to the engine each time, and it says what is wrong.
        let Some(ours) = template.render(&messages, is_open) else { continue };
        let body = TemplateBody::new(&messages, is_open);
        let theirs: TemplateReply = openai::ask(client, "/apply-template", &body, "/prompt").await?;
        pairs.push((ours, theirs.prompt));
    }
    Ok(template.learn_ends(&pairs).map(|()| template))
}

/// Conversations, and whether the assistant is to speak next. What they say has in it what a template or
/// its engine might touch.
fn samples() -> Vec<(Vec<Message>, bool)> {
    let says = |role| Message::new(role, "  {{ a }} „ö“ & <b>'\"\\n</b>\n\n{% b %}\u{1f98a} \n");
    let (system, user, assistant) = (says(Role::System), says(Role::User), says(Role::Assistant));
    let turns = [system, user.clone(), assistant.clone(), user, assistant];
    [(1..2, true), (0..2, true), (1..4, true), (0..4, true), (1..3, false), (0..5, false)]
        .map(|(part, is_open)| (turns[part].to_vec(), is_open))
        .to_vec()
}

pub(super) struct Template {
    environment: Environment<'static>,
    /// The texts that the engine takes away where a prompt begins or ends with them, since the tokens that
    /// they stand for are added to every prompt.
    begin: String,
    end: String,
    takes: Ends,
}

/// Whether a prompt's beginning and end are taken away.
type Ends = (bool, bool);

impl Template {
    fn new(props: PropsReply) -> Result<Self, String> {
        let environment = Self::environment(&props).map_err(|error| error.to_string())?;
        Ok(Self { environment, begin: props.bos_token, end: props.eos_token, takes: (false, false) })
    }

    fn environment(props: &PropsReply) -> Result<Environment<'static>, Error> {
        let mut environment = Environment::new();
        // As transformers sets Jinja up, for which chat templates are written.
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        environment.set_unknown_method_callback(unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function("strftime_now", |format: &str| {
            jiff::fmt::strtime::format(format, &Zoned::now())
                .map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))
        });
        environment.set_fuel(Some(FUEL));
        environment.add_global("bos_token", &props.bos_token);
        environment.add_global("eos_token", &props.eos_token);
        environment.add_template_owned(NAME, props.chat_template.clone())?;
        Ok(environment)
    }

    /// The prompt of these turns, up to where the assistant is to speak next, or of turns that are over
    /// (not `is_open`). `None` where the engine has to be asked.
    pub(super) fn render(&self, messages: &[Message], is_open: bool) -> Option<String> {
        let is_plain = |message: &Message| {
            message.images.is_empty() && message.tool_calls.is_empty() && message.role != Role::Tool
        };
        // A last message of the assistant's is gone on with.
        let continues = is_open && messages.last().is_some_and(|last| last.role == Role::Assistant);
        if continues || !messages.iter().all(is_plain) {
            return None;
        }
        let mut prompt = self.apply(messages, is_open).ok()?;
        self.take_ends(self.takes, &mut prompt);
        Some(prompt)
    }

    fn apply(&self, messages: &[Message], is_open: bool) -> Result<String, Error> {
        let turn =
            |message: &Message| context! { role => message.role.as_str(), content => &message.content };
        let now = Zoned::now();
        let context = context! {
            messages => messages.iter().map(turn).collect::<Vec<_>>(),
            // As llama-server: not even defined where it does not hold.
            add_generation_prompt => if is_open { Value::from(true) } else { Value::UNDEFINED },
            date_string => now.strftime("%d %b %Y").to_string(),
            datetime => now.strftime("%b %d %Y").to_string(),
        };
        self.environment.get_template(NAME)?.render(context)
    }

    /// A reply has to be a text that begins where the prompt ends, and in it nothing but what the reader is
    /// to read. The engine finds thoughts by a template's own words for them.
    fn check_replies(self) -> Result<Self, String> {
        let template = self.environment.get_template(NAME).map_err(|error| error.to_string())?;
        let source = template.source().to_ascii_lowercase();
        if ["think", "reason"].iter().any(|word| source.contains(word)) {
            return Err("it is for a model that thinks".to_owned());
        }
        let turns = [Message::new(Role::User, "Who?"), Message::new(Role::Assistant, "Reynard.")];
        let apply = |turns, is_open| self.apply(turns, is_open).map_err(|error| error.to_string());
        let (open, closed) = (apply(&turns[..1], true)?, apply(&turns, false)?);
        if !closed.strip_prefix(&open).is_some_and(|reply| reply.starts_with("Reynard.")) {
            return Err("it writes something before a reply".to_owned());
        }
        Ok(self)
    }

    /// Whether the engine takes something away, from what was rendered here and by it.
    fn learn_ends(&mut self, pairs: &[(String, String)]) -> Result<(), String> {
        if pairs.is_empty() {
            return Err("it renders no conversation here".to_owned());
        }
        let all = [(false, false), (true, false), (false, true), (true, true)];
        let agrees = |takes: &Ends| {
            pairs.iter().all(|(ours, theirs)| {
                let mut ours = ours.clone();
                self.take_ends(*takes, &mut ours);
                ours == *theirs
            })
        };
        self.takes = all.into_iter().find(agrees).ok_or_else(|| {
            let differ = pairs.iter().find(|(ours, theirs)| ours != theirs);
            format!("ours and the engine's rendering differ: {differ:?}")
        })?;
        Ok(())
    }

    fn take_ends(&self, (begin, end): Ends, prompt: &mut String) {
        if begin && prompt.starts_with(&self.begin) {
            prompt.drain(..self.begin.len());
        }
        if end && prompt.ends_with(&self.end) {
            prompt.truncate(prompt.len() - self.end.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(source: &str) -> Template {
        let props = PropsReply {
            chat_template: source.to_owned(),
            bos_token: "<s>".to_owned(),
            eos_token: "</s>".to_owned(),
        };
        Template::new(props).expect("a template")
    }

    const CHATML: &str = "{% for message in messages %}\n    {{- '<|im_start|>' + message['role'] + '\\n' + message.content + '<|im_end|>' + '\\n' -}}\n{% endfor %}\n{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

    fn user(content: &str) -> Message {
        Message::new(Role::User, content)
    }

    #[test]
    fn turns_become_a_prompt() {
        let template = template(CHATML).check_replies().expect("plain replies");
        let turns = [Message::new(Role::System, "Be <brief>."), user("{{ 1 }}")];
        let closed = "<|im_start|>system\nBe <brief>.<|im_end|>\n<|im_start|>user\n{{ 1 }}<|im_end|>\n";
        assert_eq!(template.render(&turns, false).as_deref(), Some(closed));
        let open = format!("{closed}<|im_start|>assistant\n");
        assert_eq!(template.render(&turns, true), Some(open));
    }

    #[test]
    fn templates_may_call_what_transformers_gives_them() {
        let template = template(
            "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}{{ strftime_now('%Y')|length }}{% for m in messages %}{{ m.content.strip() }}{{ m.role.startswith('u') }}{% endfor %}",
        );
        assert_eq!(template.render(&[user(" a ")], true).as_deref(), Some("<s>4aTrue"));
        assert_eq!(template.render(&[Message::new(Role::System, "a")], true), None);
    }

    #[test]
    fn what_is_more_than_text_is_the_engines() {
        let template = template(CHATML);
        let answer = Message::new(Role::Assistant, "Rey");
        assert!(template.render(&[user("Who?"), answer.clone()], false).is_some());
        assert_eq!(template.render(&[user("Who?"), answer], true), None, "it is to be gone on with");
        assert_eq!(template.render(&[user("Who?"), Message::new(Role::Tool, "{}")], true), None);
    }

    #[test]
    fn replies_that_have_to_be_taken_apart_are_the_engines() {
        let turn = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}";
        let open = "{% if add_generation_prompt %}[assistant]{% endif %}";
        let plain = format!("{turn}{open}");
        assert!(template(&plain).check_replies().is_ok());
        let thinks = "it is for a model that thinks";
        let before = "it writes something before a reply";
        let cases = [
            (plain.replace("{{ m.c", "{{ m.reasoning_content }}{{ m.c"), thinks),
            (format!("{turn}{open}{{% if enable_thinking is false %}}(){{% endif %}}"), thinks),
            (plain.replace("{{ m.c", "{% if m.role == 'assistant' %}(){% endif %}{{ m.c"), before),
            (format!("{turn}{{% if add_generation_prompt %}}[assistant](final){{% endif %}}"), before),
        ];
        for (source, reason) in cases {
            assert_eq!(template(&source).check_replies().err().as_deref(), Some(reason), "{source}");
        }
    }

    #[test]
    fn what_the_engine_takes_away_is_taken_away_here() {
        let pair = |ours: &str, theirs: &str| (ours.to_owned(), theirs.to_owned());
        let mut template = template("{{ bos_token }}{{ messages[0].content }}{{ eos_token }}");
        let rendered = |template: &Template| template.render(&[user("a")], false).expect("a prompt");
        assert_eq!(rendered(&template), "<s>a</s>");
        template.learn_ends(&[pair("<s>a", "a"), pair("b</s>", "b</s>")]).expect("agreement");
        assert_eq!(rendered(&template), "a</s>");
        template.learn_ends(&[pair("<s>a</s>", "a")]).expect("agreement");
        assert_eq!(rendered(&template), "a");
        assert!(template.learn_ends(&[pair("<s>a", "a"), pair("<s>b", "<s>b")]).is_err());
        assert!(template.learn_ends(&[]).is_err());
    }

    #[test]
    fn a_template_that_does_not_end_is_given_up() {
        let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
        assert_eq!(template(endless).render(&[user("a")], true), None);
    }
}
