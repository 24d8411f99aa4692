//! Books (EPUB): their chapters in reading order.

use std::collections::HashMap;

use super::{
    Refusal,
    archive::{Archive, resolve},
    html,
    writer::Writer,
    xml::{self, Node, Xml},
};

pub(super) fn extract(archive: &mut Archive<'_>, writer: &mut Writer) -> Result<(), Refusal> {
    let damaged = || Refusal::damaged("EPUB");
    // Fonts are often obfuscated, which is listed beside encrypted chapters.
    let encrypted = archive.text("META-INF/encryption.xml")?.unwrap_or_default();
    let container = archive.text("META-INF/container.xml")?.ok_or_else(damaged)?;
    let package = package_path(&container)?.ok_or_else(damaged)?;
    let text = archive.text(&package)?.ok_or_else(damaged)?;
    let folder = package.rsplit_once('/').map_or("", |(folder, _)| folder);
    for (name, text) in xml::fields(&text)? {
        match name.as_str() {
            "title" | "publisher" | "description" => writer.known(&name, &text),
            "creator" => writer.known("author", &text),
            "date" => writer.known("created", &text),
            "language" => writer.language(&text),
            _ => {}
        }
    }
    for href in spine(&text)? {
        let path = resolve(folder, &percent_encoding::percent_decode_str(&href).decode_utf8_lossy());
        if encrypted.contains(&format!("\"{path}\"")) {
            return Err(Refusal::encrypted());
        }
        if let Some(chapter) = archive.text(&path)? {
            html::chapter(&chapter, writer)?;
        }
    }
    Ok(())
}

fn package_path(container: &str) -> Result<Option<String>, Refusal> {
    let mut xml = Xml::new(container);
    while let Some(node) = xml.next()? {
        if let Node::Start(tag) = node
            && tag.name == "rootfile"
        {
            return Ok(tag.attribute("full-path"));
        }
    }
    Ok(None)
}

/// Files of the chapters, in reading order, without the table of contents.
fn spine(package: &str) -> Result<Vec<String>, Refusal> {
    let (mut xml, mut items, mut spine) = (Xml::new(package), HashMap::new(), Vec::new());
    while let Some(node) = xml.next()? {
        let Node::Start(tag) = node else { continue };
        match tag.name.as_str() {
            "item" => {
                let is_contents =
                    tag.attribute("properties").is_some_and(|list| list.split(' ').any(|p| p == "nav"));
                if let (Some(id), Some(href), false) =
                    (tag.attribute("id"), tag.attribute("href"), is_contents)
                {
                    items.insert(id, href);
                }
            }
            "itemref" => spine.extend(tag.attribute("idref").and_then(|id| items.get(&id).cloned())),
            _ => {}
        }
    }
    Ok(spine)
}
