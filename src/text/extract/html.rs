//! Web pages: what one reads, without menus, scripts and hidden parts.

mod blocks;

use html5ever::{ParseOpts, parse_document, tendril::TendrilSink};
use markup5ever_rcdom::{Handle, NodeData, RcDom};

use self::blocks::Blocks;
use super::{Refusal, writer::Writer};

/// Deepest nesting of elements; a browser stops at as many.
const MAX_DEPTH: usize = 512;
/// Characters of a main part; a shorter one is not the page's text.
const MIN_MAIN: usize = 200;

pub(super) fn extract(text: &str, writer: &mut Writer) -> Result<(), Refusal> {
    let dom = parse(text)?;
    metadata(&dom.document, writer);
    let main = find(&dom.document, |node| {
        is_named(node, "main") || attribute(node, "role").as_deref() == Some("main")
    });
    let articles = all(&dom.document, |node| is_named(node, "article"));
    let parts = match main {
        Some(main) if length(&main) >= MIN_MAIN => vec![main],
        _ if articles.iter().map(length).sum::<usize>() >= MIN_MAIN => articles,
        _ => vec![dom.document.clone()],
    };
    let mut blocks = Blocks::new(writer);
    for part in parts {
        blocks.add(&part)?;
    }
    blocks.finish()
}

/// A chapter of a book, or the body of a message: all of it is text.
pub(super) fn chapter(text: &str, writer: &mut Writer) -> Result<(), Refusal> {
    let dom = parse(text)?;
    let mut blocks = Blocks::new(writer);
    blocks.add(&dom.document)?;
    blocks.finish()
}

fn parse(text: &str) -> Result<RcDom, Refusal> {
    let dom = parse_document(RcDom::default(), ParseOpts::default()).one(text);
    // Measured without recursion, so that everything else may recurse.
    let mut level = vec![dom.document.clone()];
    for _ in 0..MAX_DEPTH {
        if level.is_empty() {
            return Ok(dom);
        }
        level = level.iter().flat_map(|node| node.children.borrow().clone()).collect();
    }
    Err(Refusal::too_deep())
}

fn metadata(document: &Handle, writer: &mut Writer) {
    if let Some(title) = find(document, |node| is_named(node, "title")) {
        let title = plain(&title).split_whitespace().collect::<Vec<_>>().join(" ");
        writer.known("title", &title);
    }
    if let Some(language) =
        find(document, |node| is_named(node, "html")).and_then(|html| attribute(&html, "lang"))
    {
        writer.language(&language);
    }
    for meta in all(document, |node| is_named(node, "meta")) {
        let name = attribute(&meta, "name").or_else(|| attribute(&meta, "property")).unwrap_or_default();
        let content = attribute(&meta, "content").unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "author" | "article:author" => writer.known("author", &content),
            "description" => writer.known("description", &content),
            "keywords" => writer.known("keywords", &content),
            "date" | "article:published_time" | "dcterms.created" => writer.known("created", &content),
            _ => {}
        }
    }
}

fn find(node: &Handle, wanted: impl Fn(&Handle) -> bool) -> Option<Handle> {
    all(node, wanted).into_iter().next()
}

/// All elements that are wanted, in the order of the document, without those within others.
fn all(node: &Handle, wanted: impl Fn(&Handle) -> bool) -> Vec<Handle> {
    let (mut found, mut open) = (Vec::new(), vec![node.clone()]);
    while let Some(node) = open.pop() {
        if wanted(&node) {
            found.push(node);
        } else {
            open.extend(node.children.borrow().iter().rev().cloned());
        }
    }
    found
}

fn is_named(node: &Handle, wanted: &str) -> bool {
    name(node) == Some(wanted)
}

/// Name of an element.
fn name(node: &Handle) -> Option<&str> {
    match &node.data {
        NodeData::Element { name, .. } => Some(&name.local),
        _ => None,
    }
}

fn attribute(node: &Handle, wanted: &str) -> Option<String> {
    let NodeData::Element { attrs, .. } = &node.data else { return None };
    let attributes = attrs.borrow();
    attributes.iter().find(|attribute| &*attribute.name.local == wanted).map(|found| found.value.to_string())
}

/// All text within, as it is.
fn plain(node: &Handle) -> String {
    let (mut text, mut open) = (String::new(), vec![node.clone()]);
    while let Some(node) = open.pop() {
        if let NodeData::Text { contents } = &node.data {
            text.push_str(&contents.borrow());
        }
        open.extend(node.children.borrow().iter().rev().cloned());
    }
    text
}

fn length(node: &Handle) -> usize {
    plain(node).split_whitespace().map(|word| word.chars().count()).sum()
}
