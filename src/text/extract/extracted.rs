//! A document as text, and what is known of each of its characters. Offsets are in characters (Unicode scalar
//! values), not bytes.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Extracted {
    /// Plain text, with tables as Markdown; of a Markdown file, the Markdown.
    pub text: String,
    pub markdown: String,
    /// In order, without gaps in their numbers; empty for formats without pages.
    pub pages: Vec<Page>,
    /// In the order of the text.
    pub headings: Vec<Heading>,
    /// In the order of the text.
    pub tables: Vec<Table>,
    pub title: Option<String>,
    /// `format`, and where known `title`, `author`, `created`, `page_count` and others.
    pub metadata: Map<String, Value>,
    /// ISO 639-1 code, where it could be recognised.
    pub language: Option<String>,
    /// Pages that show an image and no text, such as those of a scanned document.
    pub image_pages: Vec<u32>,
}

/// A page, or a slide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The first is 1.
    pub number: u32,
    pub char_start: usize,
    pub char_end: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heading {
    /// 1 to 6, 1 being the highest.
    pub level: u8,
    pub text: String,
    pub char_start: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    pub markdown: String,
    pub page: Option<u32>,
    pub char_start: usize,
    pub char_end: usize,
}

impl Extracted {
    /// Headings above a character of the text, the highest first. A heading is above itself.
    pub fn heading_path(&self, offset: usize) -> Vec<&str> {
        let end = self.headings.partition_point(|heading| heading.char_start <= offset);
        let mut path: Vec<&Heading> = Vec::new();
        for heading in self.headings[..end].iter().rev() {
            if path.last().is_none_or(|below| heading.level < below.level) {
                path.push(heading);
            }
            if heading.level == 1 {
                break;
            }
        }
        path.iter().rev().map(|heading| heading.text.as_str()).collect()
    }

    /// Number of the page that a character of the text is on.
    pub fn page_at(&self, offset: usize) -> Option<u32> {
        let after = self.pages.partition_point(|page| page.char_start <= offset);
        Some(self.pages[after.checked_sub(1)?].number)
    }
}
