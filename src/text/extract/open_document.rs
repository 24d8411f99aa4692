//! OpenDocument texts, spreadsheets and presentations.

use super::{
    Refusal,
    archive::Archive,
    docx::add_line,
    inline::Inline,
    writer::Writer,
    xml::{self, Node, Tag, Xml},
};

/// Repetitions of a cell that are kept: empty ones are repeated to the end of the sheet.
const MAX_REPEATED: usize = 100;

pub(super) fn extract(archive: &mut Archive<'_>, writer: &mut Writer) -> Result<(), Refusal> {
    if archive.text("META-INF/manifest.xml")?.is_some_and(|manifest| manifest.contains("encryption-data")) {
        return Err(Refusal::encrypted());
    }
    if let Some(meta) = archive.text("meta.xml")? {
        for (name, text) in xml::fields(&meta)? {
            match name.as_str() {
                "title" | "subject" | "description" | "keyword" => writer.known(&name, &text),
                "initial-creator" | "creator" => writer.known("author", &text),
                "creation-date" => writer.known("created", &text),
                "date" => writer.known("modified", &text),
                "language" => writer.language(&text),
                _ => {}
            }
        }
    }
    let content = archive.text("content.xml")?.ok_or_else(|| Refusal::damaged("OpenDocument"))?;
    let mut body = Body {
        writer,
        inlines: Vec::new(),
        lists: 0,
        has_marker: false,
        tables: Vec::new(),
        of_title: false,
    };
    body.read(&content)
}

struct Body<'w> {
    writer: &'w mut Writer,
    /// Open paragraphs, with a heading's level: a note is within one.
    inlines: Vec<(Inline, Option<u8>)>,
    /// Depth of open lists.
    lists: usize,
    /// Whether the open item has had its first paragraph.
    has_marker: bool,
    tables: Vec<Table>,
    /// Whether the frame is a slide's title.
    of_title: bool,
}

#[derive(Default)]
struct Table {
    rows: Vec<Vec<String>>,
    /// How often the open cell is repeated.
    repeated: usize,
}

impl Body<'_> {
    fn read(&mut self, text: &str) -> Result<(), Refusal> {
        let mut xml = Xml::new(text);
        while let Some(node) = xml.next()? {
            match node {
                Node::Start(tag) => self.start(&tag, &mut xml)?,
                Node::End(name) => self.end(&name)?,
                Node::Text(text) => self.text(&text),
            }
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if let Some((inline, _)) = self.inlines.last_mut() {
            inline.text(text);
        }
    }

    fn start(&mut self, tag: &Tag<'_>, xml: &mut Xml<'_>) -> Result<(), Refusal> {
        match tag.name.as_str() {
            // Comments, deleted text, and what is the same on each page.
            "annotation" | "tracked-changes" | "automatic-styles" | "scripts" | "forms" | "note-citation" => {
                xml.skip()?
            }
            "notes" if tag.attribute("style-name").is_some() => {}
            "h" => self.inlines.push((Inline::default(), Some(outline(tag)))),
            "p" => self.inlines.push((Inline::default(), self.of_title.then_some(2))),
            "s" => self.text(&" ".repeat(tag.number("c").unwrap_or(1).min(MAX_REPEATED))),
            "tab" => self.text("\t"),
            "line-break" => {
                if let Some((inline, _)) = self.inlines.last_mut() {
                    inline.line_break();
                }
            }
            "list" => self.lists += 1,
            "list-item" | "list-header" => self.has_marker = false,
            "page" => self.writer.page()?,
            "frame" => self.of_title = tag.attribute("class").is_some_and(|class| class == "title"),
            "table" => {
                // A sheet of a spreadsheet has a name that is shown; a text's table has one that is not.
                if self.inlines.is_empty()
                    && tag.attribute("style-name").is_some_and(|name| name.starts_with("ta"))
                {
                    self.writer.heading(2, &Inline::of(&tag.attribute("name").unwrap_or_default()))?;
                }
                self.tables.push(Table::default());
            }
            "table-row" => {
                if let Some(table) = self.tables.last_mut() {
                    table.rows.push(Vec::new());
                }
            }
            "table-cell" | "covered-table-cell" => {
                if let Some(table) = self.tables.last_mut() {
                    table.repeated =
                        tag.number("number-columns-repeated").unwrap_or(1).clamp(1, MAX_REPEATED);
                    if let Some(row) = table.rows.last_mut() {
                        row.push(String::new());
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, name: &str) -> Result<(), Refusal> {
        match name {
            "h" | "p" => match self.inlines.pop() {
                Some((inline, level)) => self.paragraph(&inline, level)?,
                None => return Ok(()),
            },
            "list" => self.lists = self.lists.saturating_sub(1),
            "frame" => self.of_title = false,
            "table-cell" | "covered-table-cell" => {
                if let Some(table) = self.tables.last_mut()
                    && let Some(row) = table.rows.last_mut()
                    && let Some(cell) = row.last().cloned()
                {
                    row.extend(std::iter::repeat_n(cell, table.repeated.saturating_sub(1)));
                }
            }
            "table" => {
                let rows = self.tables.pop().unwrap_or_default().rows;
                match self.cell() {
                    Some(cell) => rows.iter().flatten().for_each(|text| add_line(cell, text)),
                    None => self.writer.table(&rows)?,
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Open cell of a table.
    fn cell(&mut self) -> Option<&mut String> {
        self.tables.last_mut()?.rows.last_mut()?.last_mut()
    }

    fn paragraph(&mut self, inline: &Inline, level: Option<u8>) -> Result<(), Refusal> {
        if let Some(cell) = self.cell() {
            add_line(cell, &inline.plain);
            return Ok(());
        }
        if let Some((around, _)) = self.inlines.last_mut() {
            // A note, where its number stands.
            around.text(&format!(" ({})", inline.plain.trim()));
            return Ok(());
        }
        match level {
            Some(level) => self.writer.heading(level, inline),
            None if self.lists > 0 && !self.has_marker => {
                self.has_marker = true;
                self.writer.item(self.lists - 1, "-", inline)
            }
            None => self.writer.paragraph(inline),
        }
    }
}

fn outline(tag: &Tag<'_>) -> u8 {
    u8::try_from(tag.number("outline-level").unwrap_or(1)).unwrap_or(6)
}
