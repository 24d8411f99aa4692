//! The chat templates that are rendered here. The engine works out anew for each request how to read a reply
//! of its template, which takes it longer than all that is done here (docs/adr/0020); where there is nothing
//! to work out, it is given the finished prompt instead. What is made of a template here has to be what the
//! engine makes of it, so the engine is asked to render a few conversations first.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OnceCell;

use super::template::{Template, parse, tool_marks};
use crate::{
    backend::{openai, work},
    client::Client,
    error::{Error, Result},
    types::{Message, Role},
    wire::llama::{PropsReply, TemplateBody, TemplateReply, TokenizeBody, TokenizeReply},
};

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
            Ok::<_, Error>(learnt.ok().map(Arc::new))
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
async fn learn(client: &Client) -> Result<Result<Template, String>> {
    let props: PropsReply = openai::get(client, "/props").await?;
    let marks = tool_marks(&props.chat_template);
    let mut template = match work(true, || Ok(parse(props))).await? {
        Ok(template) => template,
        Err(reason) => return Ok(Err(reason)),
    };
    // The engine shows such tokens in a reply, but not in a completion.
    if !marks.is_empty() && tokens(client, &marks, true).await? != tokens(client, &marks, false).await? {
        return Ok(Err(format!("it has control tokens for tools: {marks}")));
    }
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

async fn tokens(client: &Client, content: &str, parse_special: bool) -> Result<Vec<u32>> {
    let body = TokenizeBody { content, add_special: false, parse_special };
    let reply: TokenizeReply = openai::ask(client, "/tokenize", &body, "/prompt").await?;
    Ok(reply.tokens)
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
