//! A model's chat template, rendered by minijinja as the engine renders it, and what can be told of it
//! without asking the engine.

use std::{collections::BTreeSet, thread};

use jiff::{Zoned, fmt::strtime};
use minijinja::{Environment, Error, ErrorKind, Value, context, syntax::SyntaxConfig};
use minijinja_contrib::pycompat::unknown_method_callback;

use crate::{
    types::{Message, Role},
    wire::llama::PropsReply,
};

/// Steps that one rendering may take, some dozens for each message and one for every 64 bytes: what takes
/// more is the engine's.
const FUEL: u64 = 10_000;
/// Bytes of the longest template that is looked at; none of use here is half as long.
const LONGEST: usize = 16 * 1024;
/// minijinja's parser and compiler go one call deeper for each `elif` and each operator, without a limit.
const STACK: usize = 64 * 1024 * 1024;
/// Without an extension, nothing is escaped.
const NAME: &str = "chat";

/// `Template::new`, whatever the template is.
pub(super) fn parse(props: PropsReply) -> Result<Template, String> {
    if props.chat_template.len() > LONGEST {
        return Err("it is too long".to_owned());
    }
    let parsing = thread::Builder::new().stack_size(STACK).spawn(|| Template::new(props));
    let parsed = parsing.map(thread::JoinHandle::join).map_err(|error| error.to_string())?;
    parsed.unwrap_or_else(|_| Err("it cannot be parsed".to_owned()))
}

pub(super) struct Template {
    environment: Environment<'static>,
    /// The texts that the engine takes away where a prompt begins or ends with them, since the tokens that
    /// they stand for are added to every prompt.
    begin: String,
    end: String,
    takes: Ends,
    user_start: String,
}

/// Whether a prompt's beginning and end are taken away.
type Ends = (bool, bool);

impl Template {
    fn new(props: PropsReply) -> Result<Self, String> {
        // By these words the engine finds out how thoughts are marked in a reply.
        let source = props.chat_template.to_ascii_lowercase();
        if ["think", "reason"].iter().any(|word| source.contains(word)) {
            return Err("it is for a model that thinks".to_owned());
        }
        let environment = Self::environment(&props).map_err(|error| error.to_string())?;
        let (begin, end) = (props.bos_token, props.eos_token);
        let mut template = Self { environment, begin, end, takes: (false, false), user_start: String::new() };
        template.user_start = template.check_turns()?;
        Ok(template)
    }

    fn environment(props: &PropsReply) -> Result<Environment<'static>, Error> {
        let mut environment = Environment::new();
        // As transformers sets Jinja up, for which chat templates are written.
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        environment.set_unknown_method_callback(unknown_method_callback);
        environment.add_function("strftime_now", |format: &str| {
            strtime::format(format, &Zoned::now())
                .map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))
        });
        environment.set_fuel(Some(FUEL));
        environment.add_global("bos_token", &props.bos_token);
        environment.add_global("eos_token", &props.eos_token);
        environment.add_template_owned(NAME, props.chat_template.clone())?;
        Ok(environment)
    }

    /// A reply has to begin where the prompt ends. Gives what is written before a user's words, the first or
    /// later ones.
    fn check_turns(&self) -> Result<String, String> {
        let turns = [(Role::User, "Who?"), (Role::Assistant, "Reynard."), (Role::User, "Why?")]
            .map(|(role, content)| Message::new(role, content));
        let apply = |turns, is_open| self.apply(turns, is_open).map_err(|error| error.to_string());
        let (open, closed, longer) =
            (apply(&turns[..1], true)?, apply(&turns[..2], false)?, apply(&turns, true)?);
        if !closed.strip_prefix(&open).is_some_and(|reply| reply.starts_with("Reynard.")) {
            return Err("it writes something before a reply".to_owned());
        }
        let before_first = open.split_once("Who?").map(|(before, _)| before);
        let before_later = longer.split_once("Reynard.").and_then(|(_, rest)| rest.split_once("Why?"));
        match (before_first, before_later) {
            (Some(first), Some((later, _))) => Ok(common_end(first, later).trim().to_owned()),
            _ => Err("it leaves out what was said".to_owned()),
        }
    }

    /// What is written before a user's words. The engine looks for it in a prompt, to keep what it has
    /// computed up to there.
    pub(super) fn user_start(&self) -> &str {
        &self.user_start
    }

    /// The prompt of these turns, up to where the assistant is to speak next, or of turns that are over
    /// (not `is_open`). `None` where the engine has to be asked.
    pub(super) fn render(&self, messages: &[Message], is_open: bool) -> Option<String> {
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
            date_string => now.strftime("%d %b %Y").to_string(),
            datetime => now.strftime("%b %d %Y").to_string(),
            // As llama-server: not even defined where it does not hold.
            add_generation_prompt => if is_open { Value::from(true) } else { Value::UNDEFINED },
        };
        self.environment.get_template(NAME)?.render(context)
    }

    /// Whether the engine takes something away, from what was rendered here and by it.
    pub(super) fn learn_ends(&mut self, pairs: &[(String, String)]) -> Result<(), String> {
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

/// The longest text with which both end.
fn common_end<'a>(a: &'a str, b: &str) -> &'a str {
    let same = a.chars().rev().zip(b.chars().rev()).take_while(|(a, b)| a == b);
    &a[a.len() - same.map(|(char, _)| char.len_utf8()).sum::<usize>()..]
}

/// What in a template looks like a token for the calls of tools (`<tool_call>`, `[TOOL_CALLS]`).
pub(super) fn tool_marks(template: &str) -> String {
    let all = [('<', '>'), ('[', ']')].into_iter().flat_map(|(begin, end)| {
        let marks = template.split(begin).skip(1).filter_map(move |rest| rest.split_once(end));
        marks.map(move |(name, _)| format!("{begin}{name}{end}"))
    });
    let is_tool = |mark: &String| {
        let lower = mark.to_ascii_lowercase();
        let names_one = ["tool", "function", "action"].iter().any(|word| lower.contains(word));
        names_one && !mark.contains(|char: char| char.is_whitespace() || "'\"{}()".contains(char))
    };
    all.filter(is_tool).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(" ")
}

/// A text, at whose ends is no white space that is cut off by one of Jinja's implementations only.
fn is_plain(message: &Message) -> bool {
    const ASCII: [char; 6] = [' ', '\t', '\n', '\u{b}', '\u{c}', '\r'];
    let Message { role, content, images, tool_calls, tool_call_id, tool_name } = message;
    *role != Role::Tool
        && images.is_empty()
        && tool_calls.is_empty()
        && tool_call_id.is_none()
        && tool_name.is_none()
        && content.trim() == content.trim_matches(ASCII)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(source: &str) -> Result<Template, String> {
        let text = str::to_owned;
        super::parse(PropsReply {
            chat_template: text(source),
            bos_token: text("<s>"),
            eos_token: text("</s>"),
        })
    }

    const CHATML: &str = "{% for message in messages %}\n    {{- '<|im_start|>' + message['role'] + '\n' + message.content + '<|im_end|>' + '\n' -}}\n{% endfor %}\n{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

    fn chatml() -> Template {
        parse(CHATML).expect("a template")
    }

    fn user(content: &str) -> Message {
        Message::new(Role::User, content)
    }

    #[test]
    fn turns_become_a_prompt() {
        let turns = [Message::new(Role::System, "Be <brief>."), user("{{ 1 }}")];
        let closed = "<|im_start|>system\nBe <brief>.<|im_end|>\n<|im_start|>user\n{{ 1 }}<|im_end|>\n";
        assert_eq!(chatml().render(&turns, false).as_deref(), Some(closed));
        let open = format!("{closed}<|im_start|>assistant\n");
        assert_eq!(chatml().render(&turns, true), Some(open));
        assert_eq!(chatml().user_start(), "<|im_start|>user");
    }

    #[test]
    fn templates_may_call_what_pythons_texts_have() {
        let template = parse(
            "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}{% for m in messages %}[{{ m.role.upper() }}]{{ m.content.strip() }}{% endfor %}{% if add_generation_prompt %}[ASSISTANT]{% endif %}",
        );
        let template = template.expect("a template");
        assert_eq!(template.render(&[user(" a ")], true).as_deref(), Some("<s>[USER]a[ASSISTANT]"));
        assert_eq!(template.render(&[Message::new(Role::System, "a")], true), None);
    }

    #[test]
    fn what_is_more_than_text_is_the_engines() {
        let answer = Message::new(Role::Assistant, "Rey");
        assert!(chatml().render(&[user("Who?"), answer.clone()], false).is_some());
        assert_eq!(chatml().render(&[user("Who?"), answer], true), None, "it is to be gone on with");
        assert!(chatml().render(&[user(" \t\u{b}ö\u{a0}ö\r\n")], true).is_some());
        let named = Message { tool_name: Some("bob".to_owned()), ..user("Who?") };
        for other in [Message::new(Role::Tool, "{}"), named, user("\u{a0}Who?"), user("Who?\u{3000}\n")] {
            assert_eq!(chatml().render(&[user("Who?"), other.clone()], true), None, "{other:?}");
        }
    }

    #[test]
    fn templates_of_replies_that_are_taken_apart_are_the_engines() {
        let turn = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}";
        let open = "{% if add_generation_prompt %}[assistant]{% endif %}";
        let plain = format!("{turn}{open}");
        assert!(parse(&plain).is_ok());
        let cases = [
            (plain.replace("{{ m.c", "{{ m.reasoning_content }}{{ m.c"), "thinks"),
            (format!("{turn}{open}{{% if not enable_Thinking %}}(){{% endif %}}"), "thinks"),
            (plain.replace("{{ m.c", "{% if m.role == 'assistant' %}(){% endif %}{{ m.c"), "before a reply"),
            (
                format!("{turn}{{% if add_generation_prompt %}}[assistant](final){{% endif %}}"),
                "before a reply",
            ),
            (plain.replace("in messages", "in messages[:2]"), "leaves out"),
            (format!("{plain}{{% generation %}}"), "syntax error"),
        ];
        for (source, reason) in cases {
            let found = parse(&source).err().expect("a reason");
            assert!(found.contains(reason), "{found}: {source}");
        }
    }

    #[test]
    fn what_the_engine_takes_away_is_taken_away_here() {
        let pair = |ours: &str, theirs: &str| (ours.to_owned(), theirs.to_owned());
        let mut template = chatml();
        let taken = |template: &Template, prompt: &str| {
            let mut prompt = prompt.to_owned();
            template.take_ends(template.takes, &mut prompt);
            prompt
        };
        assert_eq!(taken(&template, "<s>a</s>"), "<s>a</s>");
        template.learn_ends(&[pair("<s>a", "a"), pair("b</s>", "b</s>")]).expect("agreement");
        assert_eq!(taken(&template, "<s>a</s>"), "a</s>");
        template.learn_ends(&[pair("<s>a</s>", "a")]).expect("agreement");
        assert_eq!(taken(&template, "<s>a</s>"), "a");
        assert!(template.learn_ends(&[pair("<s>a", "a"), pair("<s>b", "<s>b")]).is_err());
        assert!(template.learn_ends(&[]).is_err());
    }

    #[test]
    fn marks_of_tools_are_found() {
        let marks = tool_marks(
            "{{ '<tool_call>' }} [TOOL_CALLS] <|im_start|> <｜tool▁calls▁begin｜> [tools[0]] a < tool > <tool_call>",
        );
        assert_eq!(marks, "<tool_call> <｜tool▁calls▁begin｜> [TOOL_CALLS]");
        assert_eq!(tool_marks(CHATML), "");
    }

    #[test]
    fn no_template_brings_the_server_down() {
        let many = |text: &str| text.repeat((LONGEST - 200) / text.len());
        let sums = format!("{{{{ a{} }}}}", many("+a"));
        let branches = format!("{{% if a %}}{}{{% endif %}}", many("{%elif a%}"));
        let nested =
            "{% set n = namespace(x=[]) %}{% for a in range(99999) %}{% set n.x = [n.x] %}{% endfor %}";
        let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
        let long = many("{{ 1 }}").repeat(2);
        for (source, reason) in
            [(&*sums, ""), (&*branches, ""), (nested, "fuel"), (endless, "fuel"), (&*long, "too long")]
        {
            let found = parse(source).err().expect("a reason");
            assert!(found.contains(reason), "{found}");
        }
        // What is left of a rendering is dropped on a thread of the server's.
        let fatal =
            format!("{CHATML}{}", "{% if messages|length > 5 %}NESTED{% endif %}".replace("NESTED", nested));
        let template = parse(&fatal).expect("a template");
        assert_eq!(template.render(&vec![user("a"); 6], true), None);
    }
}
