//! XML as a stream of elements and texts. Names are without their namespace's prefix. No entity but the five of
//! XML and characters by number is expanded, so that none can grow.

use quick_xml::{
    Reader,
    escape::unescape,
    events::{BytesStart, Event},
};

use super::Refusal;

/// Deepest nesting of elements in a document.
const MAX_DEPTH: usize = 512;

pub(super) struct Xml<'a> {
    reader: Reader<&'a [u8]>,
    depth: usize,
}

pub(super) enum Node<'a> {
    Start(Tag<'a>),
    End(String),
    Text(String),
}

pub(super) struct Tag<'a> {
    pub(super) name: String,
    start: BytesStart<'a>,
}

impl<'a> Xml<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let mut reader = Reader::from_str(text);
        let config = reader.config_mut();
        config.expand_empty_elements = true;
        config.check_end_names = false;
        Self { reader, depth: 0 }
    }

    /// The next element or text; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Node<'a>>, Refusal> {
        loop {
            match self.reader.read_event().map_err(|_| Refusal::damaged("XML"))? {
                Event::Start(start) => {
                    self.depth += 1;
                    if self.depth > MAX_DEPTH {
                        return Err(Refusal::too_deep());
                    }
                    return Ok(Some(Node::Start(Tag {
                        name: start.local_name().as_ref().to_owned(),
                        start,
                    })));
                }
                Event::End(end) => {
                    self.depth = self.depth.saturating_sub(1);
                    return Ok(Some(Node::End(end.local_name().as_ref().to_owned())));
                }
                Event::Text(text) => return Ok(Some(Node::Text((*text).to_owned()))),
                Event::CData(text) => return Ok(Some(Node::Text((*text).to_owned()))),
                Event::GeneralRef(entity) => {
                    let reference = format!("&{};", &*entity);
                    if let Ok(text) = unescape(&reference) {
                        return Ok(Some(Node::Text(text.into_owned())));
                    }
                }
                Event::Eof => return Ok(None),
                _ => {}
            }
        }
    }

    /// Skips to the end of the element whose start was the last node.
    pub(super) fn skip(&mut self) -> Result<(), Refusal> {
        let mut depth = 1_usize;
        while depth > 0 {
            match self.next()? {
                Some(Node::Start(_)) => depth += 1,
                Some(Node::End(_)) => depth -= 1,
                Some(Node::Text(_)) => {}
                None => break,
            }
        }
        Ok(())
    }

    /// All text up to the end of the element whose start was the last node.
    pub(super) fn text_within(&mut self) -> Result<String, Refusal> {
        let (mut depth, mut all) = (1_usize, String::new());
        while depth > 0 {
            match self.next()? {
                Some(Node::Start(_)) => depth += 1,
                Some(Node::End(_)) => depth -= 1,
                Some(Node::Text(text)) => all.push_str(&text),
                None => break,
            }
        }
        Ok(all)
    }
}

impl Tag<'_> {
    /// Value of the attribute with this name, whatever its namespace.
    pub(super) fn attribute(&self, name: &str) -> Option<String> {
        let mut attributes = self.start.attributes();
        let found = attributes
            .with_checks(false)
            .flatten()
            .find(|attribute| attribute.key.local_name().as_ref() == name)?;
        let unescaped = unescape(&found.value).ok();
        Some(unescaped.map_or_else(|| found.value.to_string(), std::borrow::Cow::into_owned))
    }

    /// Value of the attribute with this name and a namespace's prefix.
    pub(super) fn prefixed(&self, name: &str) -> Option<String> {
        let mut attributes = self.start.attributes();
        let found = attributes.with_checks(false).flatten().find(|attribute| {
            attribute.key.as_ref().split_once(':').is_some_and(|(_, local)| local == name)
        })?;
        Some(found.value.into_owned())
    }

    /// The attribute as a number.
    pub(super) fn number(&self, name: &str) -> Option<usize> {
        self.attribute(name)?.parse().ok()
    }
}

/// Metadata of the elements with simple texts: each element's name and text.
pub(super) fn fields(text: &str) -> Result<Vec<(String, String)>, Refusal> {
    let (mut xml, mut fields, mut open) = (Xml::new(text), Vec::new(), Vec::<(String, String)>::new());
    while let Some(node) = xml.next()? {
        match node {
            Node::Start(tag) => open.push((tag.name, String::new())),
            Node::Text(text) => {
                if let Some((_, all)) = open.last_mut() {
                    all.push_str(&text);
                }
            }
            Node::End(_) => fields.extend(open.pop().filter(|(_, text)| !text.trim().is_empty())),
        }
    }
    Ok(fields)
}
