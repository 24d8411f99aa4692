//! A message as `POST /v1/chat/completions` and llama-server's `/apply-template` take it.

use serde::Serialize;

use crate::types::{Message, Part, ToolCall};

#[derive(Serialize)]
pub struct MessageBody<'a> {
    role: &'static str,
    content: Content<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCallBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

impl<'a> MessageBody<'a> {
    pub fn new(message: &'a Message) -> Self {
        Self {
            role: message.role.as_str(),
            content: Content::new(message),
            tool_calls: message.tool_calls.iter().map(ToolCallBody::new).collect(),
            tool_call_id: message.tool_call_id.as_deref(),
            name: message.tool_name.as_deref(),
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(&'a str),
    Parts(Vec<PartBody<'a>>),
}

impl<'a> Content<'a> {
    fn new(message: &'a Message) -> Self {
        let parts = match &message.content[..] {
            [] => return Self::Text(""),
            [Part::Text(text)] => return Self::Text(text),
            parts => parts,
        };
        let mut bodies = Vec::with_capacity(2 * parts.len());
        for part in parts {
            match part {
                Part::Text(text) => bodies.push(PartBody::Text { text }),
                Part::Image(image) => {
                    // llama-server's prompt cache cannot be cut between two images: a later prompt with the
                    // first one alone would be refused ("Chunk not found").
                    if let Some(PartBody::ImageUrl { .. }) = bodies.last() {
                        bodies.push(PartBody::Text { text: "\n" });
                    }
                    let url = format!("data:{};base64,{}", image.media_type(), image.to_base64());
                    bodies.push(PartBody::ImageUrl { image_url: ImageUrl { url } });
                }
            }
        }
        Self::Parts(bodies)
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum PartBody<'a> {
    Text { text: &'a str },
    ImageUrl { image_url: ImageUrl },
}

#[derive(Serialize)]
struct ImageUrl {
    url: String,
}

#[derive(Serialize)]
struct ToolCallBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    r#type: &'static str,
    function: CalledFunction<'a>,
}

#[derive(Serialize)]
struct CalledFunction<'a> {
    name: &'a str,
    /// JSON in a string.
    arguments: &'a str,
}

impl<'a> ToolCallBody<'a> {
    fn new(call: &'a ToolCall) -> Self {
        Self {
            id: call.id.as_deref(),
            r#type: "function",
            function: CalledFunction { name: &call.name, arguments: call.arguments.get() },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{images::Image, types::Role};

    #[test]
    fn texts_and_images_keep_their_order() {
        let (one, two) = (Image::black(1), Image::black(2));
        let (says, shows) =
            (|text: &str| Part::Text(text.to_owned()), |image: &Image| Part::Image(image.clone()));
        let text = |text: &str| json!({"type": "text", "text": text});
        let image = |image: &Image| {
            let url = format!("data:image/png;base64,{}", image.to_base64());
            json!({"type": "image_url", "image_url": {"url": url}})
        };
        for (content, sent) in [
            (vec![], json!("")),
            (vec![says("a")], json!("a")),
            (vec![says("a"), says("b")], json!([text("a"), text("b")])),
            (vec![shows(&one)], json!([image(&one)])),
            (
                vec![says("a"), shows(&one), says("b"), shows(&two)],
                json!([text("a"), image(&one), text("b"), image(&two)]),
            ),
            (
                vec![shows(&one), shows(&two), says("a")],
                json!([image(&one), text("\n"), image(&two), text("a")]),
            ),
        ] {
            let message = Message { content, ..Message::new(Role::User, "") };
            let body: Value = serde_json::to_value(MessageBody::new(&message)).expect("JSON");
            assert_eq!(body["content"], sent);
        }
    }
}
