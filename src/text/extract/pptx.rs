//! Presentations (Office Open XML): a slide is a page, its title a heading; its notes follow it.

use super::{
    Limits, Refusal,
    archive::Archive,
    docx::add_line,
    inline::Inline,
    spreadsheet::core_properties,
    writer::Writer,
    xml::{Node, Tag, Xml},
};

const PRESENTATION: &str = "ppt/presentation.xml";

pub(super) fn extract(
    archive: &mut Archive<'_>,
    limits: &Limits,
    writer: &mut Writer,
) -> Result<(), Refusal> {
    if let Some(core) = archive.text("docProps/core.xml")? {
        core_properties(&core, writer)?;
    }
    let presentation = archive.text(PRESENTATION)?.ok_or_else(|| Refusal::damaged("PPTX"))?;
    let targets = archive.relationships(PRESENTATION)?;
    let mut slides = Vec::new();
    let mut xml = Xml::new(&presentation);
    while let Some(node) = xml.next()? {
        // Its own `id` is a number, the relationship's is one of another namespace.
        if let Node::Start(tag) = node
            && tag.name == "sldId"
        {
            slides.extend(tag.prefixed("id").and_then(|id| targets.get(&id).cloned()));
        }
    }
    if slides.len() > limits.max_pages as usize {
        return Err(Refusal::too_many_pages(limits));
    }
    for slide in slides {
        writer.page()?;
        let Some(text) = archive.text(&slide)? else { continue };
        Shapes::new(writer).read(&text)?;
        let related = archive.relationships(&slide)?;
        let Some(notes) = related.values().find(|target| target.contains("notesSlide")) else { continue };
        if let Some(text) = archive.text(notes)? {
            let mut shapes = Shapes::new(writer);
            shapes.of_notes = true;
            shapes.read(&text)?;
        }
    }
    Ok(())
}

/// Shapes of one slide.
struct Shapes<'w> {
    writer: &'w mut Writer,
    of_notes: bool,
    /// Placeholder of the shape: its type.
    placeholder: Option<String>,
    inline: Inline,
    depth: usize,
    /// Title that is spread over several paragraphs.
    title: Inline,
    table: Option<Vec<Vec<String>>>,
}

impl<'w> Shapes<'w> {
    fn new(writer: &'w mut Writer) -> Self {
        let (inline, title) = (Inline::default(), Inline::default());
        Self { writer, of_notes: false, placeholder: None, inline, depth: 0, title, table: None }
    }

    fn read(&mut self, text: &str) -> Result<(), Refusal> {
        let mut xml = Xml::new(text);
        while let Some(node) = xml.next()? {
            match node {
                Node::Start(tag) => self.start(&tag, &mut xml)?,
                Node::End(name) => self.end(&name)?,
                Node::Text(_) => {}
            }
        }
        Ok(())
    }

    fn start(&mut self, tag: &Tag<'_>, xml: &mut Xml<'_>) -> Result<(), Refusal> {
        match tag.name.as_str() {
            "sp" => self.placeholder = None,
            // A placeholder without a type is the body.
            "ph" => self.placeholder = Some(tag.attribute("type").unwrap_or_else(|| "body".to_owned())),
            "p" => (self.inline, self.depth) = (Inline::default(), 0),
            "pPr" => self.depth = tag.number("lvl").unwrap_or(0),
            "t" => self.inline.text(&xml.text_within()?),
            "br" => self.inline.line_break(),
            "Fallback" => xml.skip()?,
            "tbl" => self.table = Some(Vec::new()),
            "tr" => {
                if let Some(table) = &mut self.table {
                    table.push(Vec::new());
                }
            }
            "tc" => {
                if let Some(row) = self.table.as_mut().and_then(|table| table.last_mut()) {
                    row.push(String::new());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, name: &str) -> Result<(), Refusal> {
        match name {
            "p" => self.paragraph(),
            "sp" => {
                let title = self.title.take();
                self.writer.heading(2, &title)
            }
            "tbl" => {
                let rows = self.table.take().unwrap_or_default();
                self.writer.table(&rows)
            }
            _ => Ok(()),
        }
    }

    fn paragraph(&mut self) -> Result<(), Refusal> {
        let inline = self.inline.take();
        if let Some(cell) = self.table.as_mut().and_then(|table| table.last_mut()?.last_mut()) {
            add_line(cell, &inline.plain);
            return Ok(());
        }
        match self.placeholder.as_deref() {
            // The same on each slide.
            Some("sldNum" | "dt" | "ftr" | "hdr" | "sldImg") => Ok(()),
            Some("body") if self.of_notes => self.writer.quote(&inline),
            _ if self.of_notes => Ok(()),
            Some("title" | "ctrTitle") => {
                if !self.title.is_empty() {
                    self.title.text(" ");
                }
                self.title.text(&inline.plain);
                Ok(())
            }
            Some("body" | "obj") => self.writer.item(self.depth, "-", &inline),
            _ => self.writer.paragraph(&inline),
        }
    }
}
