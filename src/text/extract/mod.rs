//! Text of documents, with the page and the headings of each character. Formats are recognised by content first
//! and by name second. No I/O, but up to seconds of computation on untrusted bytes: the program calls it in a
//! child process, which bounds memory and time.

mod archive;
mod decode;
mod docx;
mod email;
mod epub;
mod extracted;
mod html;
mod inline;
mod language;
mod limits;
mod markdown;
mod open_document;
mod pdf;
mod plain;
mod pptx;
mod refusal;
mod rtf;
mod sniff;
mod spreadsheet;
mod table;
mod writer;
mod xml;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::{
    extracted::{Extracted, Heading, Page, Table},
    limits::Limits,
    markdown::headings as markdown_headings,
    pdf::page_image,
    refusal::{Refusal, RefusalReason},
    sniff::may_be_document,
};
use self::{sniff::Format, writer::Writer};

/// Facts about a document that are not in its bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Hints {
    /// Name of the file, of which only the ending counts.
    pub name: Option<String>,
    /// Texts of a PDF's pages that are images, as OCR has read them.
    pub page_texts: BTreeMap<u32, String>,
}

/// Extracts the text of a document.
///
/// # Errors
/// A refusal that says why the document has no text for us. A PDF whose pages are all images is not refused: its
/// text is empty, and `image_pages` lists the pages.
pub fn extract(bytes: &[u8], hints: &Hints, limits: &Limits) -> Result<Extracted, Refusal> {
    extract_nested(bytes, hints, limits, true)
}

/// Attachments of a message are documents, but their own attachments are not.
fn extract_nested(
    bytes: &[u8],
    hints: &Hints,
    limits: &Limits,
    with_attachments: bool,
) -> Result<Extracted, Refusal> {
    if bytes.is_empty() {
        return Err(Refusal::empty());
    }
    let format = Format::of(bytes, hints.name.as_deref(), limits)?;
    let mut writer = Writer::new(limits);
    writer.metadata("format", format.name());
    match format {
        Format::Pdf => pdf::extract(bytes, &hints.page_texts, limits, &mut writer)?,
        Format::Docx(mut archive) => docx::extract(&mut archive, &mut writer)?,
        Format::Pptx(mut archive) => pptx::extract(&mut archive, limits, &mut writer)?,
        Format::Xlsx(mut archive) => spreadsheet::xlsx(bytes, &mut archive, &mut writer)?,
        Format::OpenDocument(mut archive, _) => open_document::extract(&mut archive, &mut writer)?,
        Format::Epub(mut archive) => epub::extract(&mut archive, &mut writer)?,
        Format::Rtf => rtf::extract(bytes, &mut writer)?,
        Format::Email => email::extract(bytes, limits, with_attachments, &mut writer)?,
        Format::Html(text) => html::extract(&text, &mut writer)?,
        Format::Markdown(text) => markdown::extract(&text, &mut writer)?,
        Format::Csv(text) => spreadsheet::csv(&text, &mut writer)?,
        Format::Json(text) => plain::code(&text, "json", &mut writer)?,
        Format::Source(text, language) => {
            writer.metadata("programming_language", language);
            plain::code(&text, language, &mut writer)?;
        }
        Format::Text(text) => plain::text(&text, &mut writer)?,
    }
    let extracted = writer.finish();
    if extracted.text.is_empty() && extracted.image_pages.is_empty() {
        return Err(Refusal::no_text());
    }
    Ok(extracted)
}

#[cfg(test)]
mod tests;
