//! A paragraph's text, plain and as Markdown.

/// Text with blank space collapsed as browsers do.
#[derive(Default)]
pub(super) struct Inline {
    pub(super) plain: String,
    pub(super) markdown: String,
}

impl Inline {
    pub(super) fn of(text: &str) -> Self {
        let mut inline = Self::default();
        inline.text(text);
        inline
    }

    /// Adds text, in which any blank space counts as one space.
    pub(super) fn text(&mut self, text: &str) {
        let mut words = text.split_whitespace().peekable();
        if text.starts_with(char::is_whitespace) || text.is_empty() {
            self.space();
        }
        while let Some(word) = words.next() {
            self.plain.push_str(word);
            escape(word, &mut self.markdown);
            if words.peek().is_some() {
                self.space();
            }
        }
        if text.ends_with(char::is_whitespace) {
            self.space();
        }
    }

    /// Adds a line break.
    pub(super) fn line_break(&mut self) {
        trim_end(&mut self.plain);
        trim_end(&mut self.markdown);
        if !self.plain.is_empty() {
            self.plain.push('\n');
            self.markdown.push_str("  \n");
        }
    }

    /// Adds code, in which nothing is escaped.
    pub(super) fn code(&mut self, text: &str) {
        self.markdown.push('`');
        let before = self.markdown.len();
        self.text(text);
        self.markdown.truncate(before);
        self.markdown.push_str(&text.split_whitespace().collect::<Vec<_>>().join(" "));
        self.markdown.push('`');
    }

    /// Adds to the Markdown only.
    pub(super) fn mark(&mut self, mark: &str) {
        self.markdown.push_str(mark);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.plain.trim().is_empty()
    }

    pub(super) fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    fn space(&mut self) {
        if !self.plain.is_empty() && !self.plain.ends_with(char::is_whitespace) {
            self.plain.push(' ');
            self.markdown.push(' ');
        }
    }
}

fn trim_end(text: &mut String) {
    text.truncate(text.trim_end_matches(' ').len());
}

/// Escapes what Markdown would read as markup.
fn escape(word: &str, markdown: &mut String) {
    for c in word.chars() {
        if matches!(c, '\\' | '*' | '`' | '[' | ']' | '<') {
            markdown.push('\\');
        }
        markdown.push(c);
    }
}
