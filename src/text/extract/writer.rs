//! The text and the Markdown of a document, written side by side within the limit, with the places of pages,
//! headings and tables.

use serde_json::Value;

use super::{Extracted, Heading, Limits, Page, Refusal, Table, inline::Inline, language, table};

pub(super) struct Writer {
    limits: Limits,
    done: Extracted,
    /// Characters of the text so far.
    chars: usize,
    /// Whether the last block is an item of a list, which the next item follows without an empty line.
    after_item: bool,
}

impl Writer {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { limits: *limits, done: Extracted::default(), chars: 0, after_item: false }
    }

    /// Begins the next page.
    pub(super) fn page(&mut self) -> Result<(), Refusal> {
        self.end_page();
        let number = self.done.pages.last().map_or(1, |page| page.number + 1);
        if number > self.limits.max_pages {
            return Err(Refusal::too_many_pages(&self.limits));
        }
        // Set to the first character that is written.
        self.done.pages.push(Page { number, char_start: usize::MAX, char_end: 0 });
        Ok(())
    }

    /// Says that the page shows an image and no text.
    pub(super) fn page_is_image(&mut self) {
        self.done.image_pages.extend(self.done.pages.last().map(|page| page.number));
    }

    pub(super) fn heading(&mut self, level: u8, inline: &Inline) -> Result<(), Refusal> {
        let text = inline.plain.split_whitespace().collect::<Vec<_>>().join(" ");
        if text.is_empty() {
            return Ok(());
        }
        let level = level.clamp(1, 6);
        let markdown = inline.markdown.split_whitespace().collect::<Vec<_>>().join(" ");
        let start = self.block(&text, &format!("{} {markdown}", "#".repeat(level.into())), false)?;
        self.done.headings.push(Heading { level, text, char_start: start });
        Ok(())
    }

    pub(super) fn paragraph(&mut self, inline: &Inline) -> Result<(), Refusal> {
        if inline.is_empty() {
            return Ok(());
        }
        self.block(inline.plain.trim(), &escape_start(inline.markdown.trim()), false).map(drop)
    }

    /// An item of a list; `marker` is `-` or its number.
    pub(super) fn item(&mut self, depth: usize, marker: &str, inline: &Inline) -> Result<(), Refusal> {
        if inline.is_empty() {
            return Ok(());
        }
        let indent = "  ".repeat(depth.min(8));
        let line = |text: &str| format!("{indent}{marker} {}", text.trim());
        self.block(&line(&inline.plain), &line(&inline.markdown), true).map(drop)
    }

    pub(super) fn table(&mut self, rows: &[Vec<String>]) -> Result<(), Refusal> {
        let Some(markdown) = table::markdown(rows) else { return Ok(()) };
        let start = self.block(&markdown, &markdown, false)?;
        let page = self.done.pages.last().map(|page| page.number);
        self.done.tables.push(Table { markdown, page, char_start: start, char_end: self.chars });
        Ok(())
    }

    pub(super) fn quote(&mut self, inline: &Inline) -> Result<(), Refusal> {
        if inline.is_empty() {
            return Ok(());
        }
        let markdown = inline.markdown.trim().replace('\n', "\n> ");
        self.block(inline.plain.trim(), &format!("> {markdown}"), false).map(drop)
    }

    /// Text whose line breaks and blank space count.
    pub(super) fn code(&mut self, text: &str, language: &str) -> Result<(), Refusal> {
        let text = text.trim_matches('\n').trim_end();
        if text.is_empty() {
            return Ok(());
        }
        let fence = "`".repeat(longest_run(text, '`').max(2) + 1);
        self.block(text, &format!("{fence}{language}\n{text}\n{fence}"), false).map(drop)
    }

    /// Text as it is, which is its own Markdown; returns its first character's offset.
    pub(super) fn raw(&mut self, text: &str) -> Result<usize, Refusal> {
        self.block(text, text, false)
    }

    /// Adds the headings of a text that was written with `raw` from this character on.
    pub(super) fn raw_headings(&mut self, headings: Vec<Heading>, start: usize) {
        let placed = |heading: Heading| Heading { char_start: start + heading.char_start, ..heading };
        self.done.headings.extend(headings.into_iter().map(placed));
    }

    /// Adds another document's text, with its headings below `level`.
    pub(super) fn append(&mut self, other: &Extracted, level: u8) -> Result<(), Refusal> {
        if other.text.is_empty() {
            return Ok(());
        }
        let start = self.block(&other.text, &other.markdown, false)?;
        let heading = |heading: &Heading| Heading {
            level: (heading.level + level).min(6),
            text: heading.text.clone(),
            char_start: heading.char_start + start,
        };
        self.done.headings.extend(other.headings.iter().map(heading));
        let table = |table: &Table| Table {
            markdown: table.markdown.clone(),
            page: None,
            char_start: table.char_start + start,
            char_end: table.char_end + start,
        };
        self.done.tables.extend(other.tables.iter().map(table));
        Ok(())
    }

    pub(super) fn metadata(&mut self, name: &str, value: impl Into<Value>) {
        self.done.metadata.insert(name.to_owned(), value.into());
    }

    /// The same, for text that may be blank, in which case nothing is known.
    pub(super) fn known(&mut self, name: &str, text: &str) {
        let text = text.trim();
        if !text.is_empty() {
            self.metadata(name, text);
        }
    }

    /// Declared language, as a code such as `en` or `en-US`.
    pub(super) fn language(&mut self, code: &str) {
        let main = code.trim().split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
        if (2..=3).contains(&main.len()) && main.bytes().all(|byte| byte.is_ascii_lowercase()) {
            self.done.language = Some(main);
        }
    }

    pub(super) fn finish(mut self) -> Extracted {
        self.end_page();
        let mut done = self.done;
        if !done.pages.is_empty() {
            done.metadata.insert("page_count".to_owned(), done.pages.len().into());
        }
        // The text decides, because a declared language is often the one of the program that wrote the file.
        done.language = language::of(&done.text).or(done.language);
        let declared = done.metadata.get("title").and_then(Value::as_str).map(str::to_owned);
        done.title = declared.or_else(|| {
            done.headings.iter().min_by_key(|heading| heading.level).map(|heading| heading.text.clone())
        });
        done
    }

    /// Writes a block, after an empty line when there is text before it; returns its first character's offset.
    fn block(&mut self, text: &str, markdown: &str, is_item: bool) -> Result<usize, Refusal> {
        let between = match (self.done.text.is_empty(), is_item && self.after_item) {
            (true, _) => "",
            (false, true) => "\n",
            (false, false) => "\n\n",
        };
        if self.done.text.len() + between.len() + text.len() > self.limits.max_text {
            return Err(Refusal::too_much_text(&self.limits));
        }
        self.done.text.push_str(between);
        self.chars += between.len();
        let start = self.chars;
        self.done.text.push_str(text);
        self.chars += text.chars().count();
        if !self.done.markdown.is_empty() {
            self.done.markdown.push_str(between);
        }
        self.done.markdown.push_str(markdown);
        self.after_item = is_item;
        if let Some(page) = self.done.pages.last_mut() {
            page.char_start = page.char_start.min(start);
            page.char_end = self.chars;
        }
        Ok(start)
    }

    fn end_page(&mut self) {
        self.after_item = false;
        if let Some(page) = self.done.pages.last_mut().filter(|page| page.char_start == usize::MAX) {
            (page.char_start, page.char_end) = (self.chars, self.chars);
        }
    }
}

/// Escapes a paragraph's beginning that Markdown would read as a heading, a quotation or an item.
fn escape_start(markdown: &str) -> String {
    let is_block = markdown.starts_with(['#', '>', '+', '-', '=', '|']);
    let digits = markdown.bytes().take_while(u8::is_ascii_digit).count();
    let is_numbered =
        (1..10).contains(&digits) && [". ", ") "].iter().any(|end| markdown[digits..].starts_with(end));
    match (is_block, is_numbered) {
        (true, _) => format!("\\{markdown}"),
        (_, true) => format!("{}\\{}", &markdown[..digits], &markdown[digits..]),
        _ => markdown.to_owned(),
    }
}

fn longest_run(text: &str, of: char) -> usize {
    let (mut longest, mut run) = (0, 0);
    for c in text.chars() {
        run = if c == of { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}
