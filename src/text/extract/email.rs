//! Messages (RFC 5322) with their attachments, one level deep.

use mail_parser::{Address, Message, MessageParser, MimeHeaders, PartType};

use super::{Hints, Limits, Refusal, extract_nested, html, inline::Inline, plain, writer::Writer};

/// More attachments than people send.
const MAX_ATTACHMENTS: usize = 200;

pub(super) fn extract(
    bytes: &[u8],
    limits: &Limits,
    with_attachments: bool,
    writer: &mut Writer,
) -> Result<(), Refusal> {
    let message = MessageParser::default().parse(bytes).ok_or_else(|| Refusal::damaged("e-mail"))?;
    headers(&message, writer)?;
    let texts: Vec<_> = message.text_bodies().collect();
    for part in texts {
        match &part.body {
            PartType::Html(body) => html::chapter(body, writer)?,
            PartType::Text(body) => plain::text(&body.replace("\r\n", "\n"), writer)?,
            _ => {}
        }
    }
    let mut names = Vec::new();
    for attachment in message.attachments().take(MAX_ATTACHMENTS) {
        let name = attachment.attachment_name().unwrap_or("attachment").to_owned();
        let encoding = attachment.content_transfer_encoding().unwrap_or_default();
        let is_undecoded = attachment.is_encoding_problem && encoding.eq_ignore_ascii_case("base64");
        if with_attachments && !is_undecoded {
            attached(attachment.contents(), &name, limits, writer)?;
        }
        names.push(name);
    }
    if !names.is_empty() {
        writer.metadata("attachments", names);
    }
    Ok(())
}

fn headers(message: &Message<'_>, writer: &mut Writer) -> Result<(), Refusal> {
    let subject = message.subject().unwrap_or_default();
    writer.known("title", subject);
    writer.known("author", &addresses(message.from()));
    writer.known("to", &addresses(message.to()));
    writer.known("cc", &addresses(message.cc()));
    if let Some(date) = message.date() {
        writer.known("created", &date.to_rfc3339());
    }
    writer.heading(1, &Inline::of(subject))
}

fn addresses(list: Option<&Address<'_>>) -> String {
    let Some(list) = list else { return String::new() };
    let each = list.iter().map(|one| match (one.name(), one.address()) {
        (Some(name), Some(address)) => format!("{name} <{address}>"),
        (name, address) => name.or(address).unwrap_or_default().to_owned(),
    });
    each.collect::<Vec<_>>().join(", ")
}

/// An attachment's text, below a heading with its name; images and the like have none.
fn attached(bytes: &[u8], name: &str, limits: &Limits, writer: &mut Writer) -> Result<(), Refusal> {
    let hints = Hints { name: Some(name.to_owned()), ..Hints::default() };
    let Ok(extracted) = extract_nested(bytes, &hints, limits, false) else { return Ok(()) };
    writer.heading(2, &Inline::of(name))?;
    writer.append(&extracted, 2)
}
