//! `/documents/parse`: the text of a document.

use std::sync::Arc;

use axum::{Json as JsonReply, extract::State};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    http::{
        HttpState,
        extract::document::{Document, DocumentBody},
        middleware::{auth::Caller, errors::Result},
    },
    text::extract::{Extracted, Page, Table},
};

#[derive(ToSchema)]
#[expect(dead_code, reason = "documentation of a form")]
pub(in crate::http) struct DocumentUpload {
    /// PDF, DOCX, PPTX, XLSX, ODT, EPUB, RTF, HTML, Markdown, CSV, JSON, e-mail, source code or plain text.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct ParseReply {
    /// Plain text, with tables as Markdown; of a Markdown file, the Markdown.
    text: String,
    markdown: String,
    /// Pages of a PDF, slides of a presentation.
    pages: Vec<PageReply>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    tables: Vec<TableReply>,
    /// `format`, and where known `title`, `author`, `created`, `page_count` and others.
    metadata: Map<String, Value>,
    /// ISO 639-1 code of the language, if it could be recognized.
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<String>,
}

/// A page of a document. Offsets count the characters of `text`.
#[derive(Serialize, ToSchema)]
struct PageReply {
    number: u32,
    char_start: usize,
    char_end: usize,
}

/// A table of a document. Offsets count the characters of `text`.
#[derive(Serialize, ToSchema)]
struct TableReply {
    markdown: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<u32>,
    char_start: usize,
    char_end: usize,
}

/// Extract the text of a document
#[utoipa::path(post, path = "/documents/parse", tag = "Documents",
    request_body(content((DocumentUpload = "multipart/form-data"), (DocumentBody = "application/json", example = json!({"content_base64": "IyBUaWRlcwoKVGhlIHRpZGUgcmlzZXMgdHdpY2UgYSBkYXku", "name": "tides.md"})))),
    responses((status = 200, body = ParseReply)))]
pub(in crate::http) async fn parse(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    document: Document,
) -> Result<JsonReply<ParseReply>> {
    let Document { bytes, name, pointer, room: _room } = document;
    Ok(JsonReply(state.app.extract(&caller, bytes, name, pointer).await?.into()))
}

impl From<Extracted> for ParseReply {
    fn from(extracted: Extracted) -> Self {
        let Extracted { text, markdown, pages, tables, metadata, language, .. } = extracted;
        let pages = pages.into_iter().map(|Page { number, char_start, char_end }| PageReply {
            number,
            char_start,
            char_end,
        });
        let tables = tables.into_iter().map(|Table { markdown, page, char_start, char_end }| TableReply {
            markdown,
            page,
            char_start,
            char_end,
        });
        Self { text, markdown, pages: pages.collect(), tables: tables.collect(), metadata, language }
    }
}
