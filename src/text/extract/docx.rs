//! Word documents (Office Open XML). Deleted text, field instructions, headers and footers are left out; footnotes
//! follow the text.

mod styles;

use std::collections::HashMap;

use self::styles::{Numbering, Styles};
use super::{
    Refusal,
    archive::Archive,
    inline::Inline,
    spreadsheet::core_properties,
    writer::Writer,
    xml::{Node, Tag, Xml},
};

pub(super) fn extract(archive: &mut Archive<'_>, writer: &mut Writer) -> Result<(), Refusal> {
    if let Some(core) = archive.text("docProps/core.xml")? {
        core_properties(&core, writer)?;
    }
    let styles = Styles::read(&archive.text("word/styles.xml")?.unwrap_or_default())?;
    let numbering = Numbering::read(&archive.text("word/numbering.xml")?.unwrap_or_default())?;
    let text = archive.text("word/document.xml")?.ok_or_else(|| Refusal::damaged("DOCX"))?;
    let links = archive.relationships("word/document.xml")?;
    let mut body =
        Body { writer, styles, numbering, links, paragraphs: Vec::new(), tables: Vec::new(), link: None };
    body.part(&text)?;
    for notes in ["word/footnotes.xml", "word/endnotes.xml"] {
        if let Some(text) = archive.text(notes)? {
            body.part(&text)?;
        }
    }
    Ok(())
}

struct Body<'w> {
    writer: &'w mut Writer,
    styles: Styles,
    numbering: Numbering,
    links: HashMap<String, String>,
    /// Open paragraphs: a text box is within one.
    paragraphs: Vec<Paragraph>,
    /// Open tables, with their rows: a table may be within another one's cell.
    tables: Vec<Vec<Vec<String>>>,
    /// Target of the link that the text is in.
    link: Option<String>,
}

#[derive(Default)]
struct Paragraph {
    inline: Inline,
    level: Option<u8>,
    /// Numbering and depth of an item.
    list: Option<(String, usize)>,
}

impl Body<'_> {
    fn part(&mut self, text: &str) -> Result<(), Refusal> {
        let mut xml = Xml::new(text);
        while let Some(node) = xml.next()? {
            match node {
                Node::Start(tag) => self.start(&tag, &mut xml)?,
                Node::End(name) => self.end(&name)?,
                // Only `t` holds text that is shown.
                Node::Text(_) => {}
            }
        }
        Ok(())
    }

    fn start(&mut self, tag: &Tag<'_>, xml: &mut Xml<'_>) -> Result<(), Refusal> {
        let value = || tag.attribute("val");
        match tag.name.as_str() {
            "p" => self.paragraphs.push(Paragraph::default()),
            "tbl" => self.tables.push(Vec::new()),
            "tr" => {
                if let Some(table) = self.tables.last_mut() {
                    table.push(Vec::new());
                }
            }
            "tc" => {
                if let Some(row) = self.tables.last_mut().and_then(|table| table.last_mut()) {
                    row.push(String::new());
                }
            }
            // Fallbacks repeat what newer programs show.
            "del" | "instrText" | "Fallback" | "tblGrid" | "sectPr" => xml.skip()?,
            "hyperlink" => {
                self.link = tag.attribute("id").and_then(|id| self.links.get(&id).cloned());
                if self.link.is_some() {
                    self.mark("[");
                }
            }
            _ => {
                let Some(paragraph) = self.paragraphs.last_mut() else { return Ok(()) };
                match tag.name.as_str() {
                    "t" => paragraph.inline.text(&xml.text_within()?),
                    "tab" => paragraph.inline.text("\t"),
                    "br" | "cr" => paragraph.inline.line_break(),
                    "noBreakHyphen" => paragraph.inline.text("-"),
                    "footnoteReference" | "endnoteReference" => {}
                    "pStyle" => {
                        let style = value().unwrap_or_default();
                        paragraph.level = paragraph.level.or_else(|| self.styles.level(&style));
                        paragraph.list = paragraph.list.take().or_else(|| self.styles.list(&style));
                    }
                    "outlineLvl" => paragraph.level = level(tag.number("val")),
                    "ilvl" => paragraph.list.get_or_insert_default().1 = tag.number("val").unwrap_or(0),
                    "numId" => paragraph.list.get_or_insert_default().0 = value().unwrap_or_default(),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, name: &str) -> Result<(), Refusal> {
        match name {
            "hyperlink" => {
                if let Some(target) = self.link.take() {
                    self.mark(&format!("]({target})"));
                }
                Ok(())
            }
            "p" => match self.paragraphs.pop() {
                Some(paragraph) => self.paragraph(&paragraph),
                None => Ok(()),
            },
            "tbl" => {
                let rows = self.tables.pop().unwrap_or_default();
                match self.tables.last_mut().and_then(|table| table.last_mut()?.last_mut()) {
                    Some(cell) => {
                        rows.iter().flatten().for_each(|text| add_line(cell, text));
                        Ok(())
                    }
                    None => self.writer.table(&rows),
                }
            }
            _ => Ok(()),
        }
    }

    fn paragraph(&mut self, paragraph: &Paragraph) -> Result<(), Refusal> {
        if let Some(cell) = self.tables.last_mut().and_then(|table| table.last_mut()?.last_mut()) {
            add_line(cell, &paragraph.inline.plain);
            return Ok(());
        }
        if paragraph.inline.is_empty() {
            return Ok(());
        }
        if let Some(level) = paragraph.level {
            return self.writer.heading(level, &paragraph.inline);
        }
        match &paragraph.list {
            // 0 takes an inherited numbering away.
            Some((id, depth)) if id != "0" => {
                let marker = self.numbering.next(id, *depth);
                self.writer.item(*depth, &marker, &paragraph.inline)
            }
            _ => self.writer.paragraph(&paragraph.inline),
        }
    }

    fn mark(&mut self, mark: &str) {
        if let Some(paragraph) = self.paragraphs.last_mut() {
            paragraph.inline.mark(mark);
        }
    }
}

/// Heading level of an outline level, where 9 is body text.
fn level(outline: Option<usize>) -> Option<u8> {
    outline.filter(|level| *level < 9).map(|level| u8::try_from(level + 1).unwrap_or(6).min(6))
}

/// Adds a line to a cell.
pub(super) fn add_line(cell: &mut String, text: &str) {
    let text = text.trim();
    if !cell.is_empty() && !text.is_empty() {
        cell.push('\n');
    }
    cell.push_str(text);
}
