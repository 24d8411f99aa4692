//! PDF: text in reading order with its pages, headings by their size, tables by their alignment. hayro interprets
//! the file; what is made of its glyphs is ours (docs/adr/0029).

mod columns;
mod glyphs;
mod lines;
mod paragraphs;
mod running;
mod scan;
mod tables;

use std::collections::BTreeMap;

use hayro_interpret::hayro_syntax::{
    DecryptionError, LoadPdfError, Pdf, metadata::Metadata, object::DateTime,
};

use self::paragraphs::{Block, Sizes};
pub use self::scan::page_image;
use super::{Limits, Refusal, inline::Inline, plain, writer::Writer};

/// Adds the text of a PDF. `page_texts` are those of pages that are images.
pub(super) fn extract(
    bytes: &[u8],
    page_texts: &BTreeMap<u32, String>,
    limits: &Limits,
    writer: &mut Writer,
) -> Result<(), Refusal> {
    let pdf = open(bytes, limits)?;
    metadata(pdf.metadata(), writer);
    let mut read = glyphs::Interpreter::new();
    let mut pages = Vec::new();
    for page in pdf.pages().iter() {
        let seen = read.page(page);
        let is_image = seen.glyphs.is_empty() && seen.has_image;
        pages.push((columns::in_order(lines::of(seen.glyphs), seen.width), is_image));
    }
    let sizes = Sizes::of(pages.iter().flat_map(|(regions, _)| regions));
    running::remove(pages.iter_mut().map(|(regions, _)| regions), &sizes);
    for (number, (regions, is_image)) in (1..).zip(&pages) {
        writer.page()?;
        match page_texts.get(&number) {
            Some(text) => plain::text(text, writer)?,
            None if *is_image => writer.page_is_image(),
            None => {}
        }
        for block in regions.iter().flat_map(|region| paragraphs::of(region, &sizes)) {
            match block {
                Block::Heading(level, text) => writer.heading(level, &Inline::of(&text))?,
                Block::Paragraph(text) => writer.paragraph(&Inline::of(&text))?,
                Block::Item(marker, text) => writer.item(0, &marker, &Inline::of(&text))?,
                Block::Table(rows) => writer.table(&rows)?,
            }
        }
    }
    if !page_texts.is_empty() {
        writer.metadata("ocr_pages", page_texts.keys().copied().collect::<Vec<_>>());
    }
    Ok(())
}

fn open(bytes: &[u8], limits: &Limits) -> Result<Pdf, Refusal> {
    let pdf = Pdf::new(bytes.to_vec()).map_err(|error| match error {
        LoadPdfError::Decryption(
            DecryptionError::PasswordProtected | DecryptionError::UnsupportedAlgorithm,
        ) => Refusal::encrypted(),
        _ => Refusal::damaged("PDF"),
    })?;
    if pdf.pages().len() > limits.max_pages as usize {
        return Err(Refusal::too_many_pages(limits));
    }
    Ok(pdf)
}

fn metadata(found: &Metadata, writer: &mut Writer) {
    let texts = [
        ("title", &found.title),
        ("author", &found.author),
        ("subject", &found.subject),
        ("keywords", &found.keywords),
        ("producer", &found.producer),
    ];
    for (name, bytes) in texts {
        if let Some(bytes) = bytes {
            writer.known(name, &text_string(bytes));
        }
    }
    for (name, date) in [("created", &found.creation_date), ("modified", &found.modification_date)] {
        if let Some(date) = date {
            writer.known(name, &rfc3339(date));
        }
    }
}

/// A text string (ISO 32000-1, 7.9.2.2): UTF-16 or UTF-8 with a mark, else close to Latin-1.
fn text_string(bytes: &[u8]) -> String {
    let (text, _, _) = encoding_rs::WINDOWS_1252.decode(bytes);
    text.chars().filter(|c| !c.is_control()).collect()
}

fn rfc3339(date: &DateTime) -> String {
    let DateTime { year, month, day, hour, minute, second, utc_offset_hour, utc_offset_minute } = date;
    let (sign, offset) = if *utc_offset_hour < 0 { ('-', -utc_offset_hour) } else { ('+', *utc_offset_hour) };
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{sign}{offset:02}:{utc_offset_minute:02}"
    )
}
