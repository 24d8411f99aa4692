//! Blocks of a web page: headings, paragraphs, lists, tables, quotations and code.

use markup5ever_rcdom::{Handle, NodeData};

use super::super::{Refusal, inline::Inline, writer::Writer};
use super::{attribute, name, plain};

pub(super) struct Blocks<'w> {
    writer: &'w mut Writer,
    inline: Inline,
    block: Block,
    /// Open lists, each with its next number, if it has numbers.
    lists: Vec<Option<usize>>,
}

#[derive(Clone, PartialEq)]
enum Block {
    Paragraph,
    Heading(u8),
    Quote,
    /// An item of a list, at this depth and with this marker.
    Item(usize, String),
}

impl<'w> Blocks<'w> {
    pub(super) fn new(writer: &'w mut Writer) -> Self {
        Self { writer, inline: Inline::default(), block: Block::Paragraph, lists: Vec::new() }
    }

    pub(super) fn finish(mut self) -> Result<(), Refusal> {
        self.end_block()
    }

    /// Adds an element and all within it.
    pub(super) fn add(&mut self, node: &Handle) -> Result<(), Refusal> {
        if let NodeData::Text { contents } = &node.data {
            self.inline.text(&contents.borrow());
            return Ok(());
        }
        let Some(name) = name(node) else { return self.children(node) };
        if is_hidden(node, name) {
            return Ok(());
        }
        match name {
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                let level = name.as_bytes()[1] - b'0';
                self.within(Block::Heading(level), node)
            }
            "blockquote" => self.within(Block::Quote, node),
            "ul" | "menu" | "ol" => self.list(node, name),
            "li" => self.item(node),
            "dt" | "dd" => self.within(self.block.clone(), node),
            "pre" => {
                self.end_block()?;
                let language = language(node);
                self.writer.code(&plain(node), &language)
            }
            "table" => self.table(node),
            "br" => {
                self.inline.line_break();
                Ok(())
            }
            "hr" => self.end_block(),
            "img" => {
                self.inline.text(&attribute(node, "alt").unwrap_or_default());
                Ok(())
            }
            "a" => self.link(node),
            "strong" | "b" => self.marked("**", node),
            "em" | "i" => self.marked("*", node),
            "code" | "kbd" | "samp" => self.code(node),
            _ if is_inline(name) => self.children(node),
            _ => self.within(self.block.clone(), node),
        }
    }

    fn children(&mut self, node: &Handle) -> Result<(), Refusal> {
        node.children.borrow().iter().try_for_each(|child| self.add(child))
    }

    /// Adds the element as blocks of their own.
    fn within(&mut self, block: Block, node: &Handle) -> Result<(), Refusal> {
        self.end_block()?;
        let around = std::mem::replace(&mut self.block, block);
        self.children(node)?;
        self.end_block()?;
        self.block = around;
        Ok(())
    }

    fn end_block(&mut self) -> Result<(), Refusal> {
        let inline = self.inline.take();
        if inline.is_empty() {
            return Ok(());
        }
        match &self.block {
            Block::Paragraph => self.writer.paragraph(&inline),
            Block::Heading(level) => self.writer.heading(*level, &inline),
            Block::Quote => self.writer.quote(&inline),
            Block::Item(depth, marker) => {
                self.writer.item(*depth, marker, &inline)?;
                // Only an item's first paragraph has the marker.
                self.block = Block::Paragraph;
                Ok(())
            }
        }
    }

    fn list(&mut self, node: &Handle, name: &str) -> Result<(), Refusal> {
        self.end_block()?;
        let first = attribute(node, "start").and_then(|start| start.parse().ok()).unwrap_or(1);
        self.lists.push((name == "ol").then_some(first));
        let done = self.within(Block::Paragraph, node);
        self.lists.pop();
        done
    }

    fn item(&mut self, node: &Handle) -> Result<(), Refusal> {
        let depth = self.lists.len().saturating_sub(1);
        let marker = match self.lists.last_mut() {
            Some(Some(number)) => {
                *number = number.saturating_add(1);
                format!("{}.", *number - 1)
            }
            _ => "-".to_owned(),
        };
        self.within(Block::Item(depth, marker), node)
    }

    /// Tables without headers and with blocks within them are layout, as pages of old have it.
    fn table(&mut self, node: &Handle) -> Result<(), Refusal> {
        self.end_block()?;
        let is_layout = attribute(node, "role").as_deref() == Some("presentation")
            || !super::all(node, |inner| {
                matches!(super::name(inner), Some("h1" | "h2" | "h3" | "ul" | "ol"))
            })
            .is_empty();
        if is_layout {
            return self.within(self.block.clone(), node);
        }
        let mut rows = Vec::new();
        for row in super::all(node, |inner| super::is_named(inner, "tr")) {
            let cells = super::all(&row, |inner| matches!(super::name(inner), Some("td" | "th")));
            let text = |cell: &Handle| shown(cell).split_whitespace().collect::<Vec<_>>().join(" ");
            rows.push(cells.iter().map(text).collect::<Vec<_>>());
        }
        for caption in super::all(node, |inner| super::is_named(inner, "caption")) {
            self.writer.paragraph(&Inline::of(&shown(&caption)))?;
        }
        self.writer.table(&rows)
    }

    fn link(&mut self, node: &Handle) -> Result<(), Refusal> {
        if is_permalink(node) {
            return Ok(());
        }
        let target =
            attribute(node, "href").filter(|href| href.starts_with("http") || href.starts_with("mailto:"));
        let Some(target) = target.filter(|target| !target.contains([' ', ')', '\n'])) else {
            return self.children(node);
        };
        self.inline.mark("[");
        self.children(node)?;
        self.inline.mark(&format!("]({target})"));
        Ok(())
    }

    fn marked(&mut self, mark: &str, node: &Handle) -> Result<(), Refusal> {
        // Emphasis around blank space is none in Markdown.
        let text = plain(node);
        if text.trim().len() != text.len() || text.is_empty() {
            return self.children(node);
        }
        self.inline.mark(mark);
        self.children(node)?;
        self.inline.mark(mark);
        Ok(())
    }

    fn code(&mut self, node: &Handle) -> Result<(), Refusal> {
        let text = plain(node);
        if text.trim().is_empty() || text.contains('`') {
            return self.children(node);
        }
        self.inline.code(&text);
        Ok(())
    }
}

/// Text within that is shown, with a space between elements.
fn shown(node: &Handle) -> String {
    let (mut text, mut open) = (String::new(), vec![node.clone()]);
    while let Some(node) = open.pop() {
        if let NodeData::Text { contents } = &node.data {
            text.push_str(&contents.borrow());
        }
        let Some(name) = name(&node) else {
            open.extend(node.children.borrow().iter().rev().cloned());
            continue;
        };
        if !is_hidden(&node, name) {
            if !is_inline(name) || name == "br" {
                text.push(' ');
            }
            open.extend(node.children.borrow().iter().rev().cloned());
        }
    }
    text
}

/// Whether this is a permalink sign, as documentation generators add to headings.
fn is_permalink(node: &Handle) -> bool {
    attribute(node, "href").is_some_and(|href| href.starts_with('#'))
        && matches!(plain(node).trim(), "¶" | "#" | "§" | "🔗")
}

fn is_hidden(node: &Handle, name: &str) -> bool {
    const NOT_TEXT: [&str; 20] = [
        "head", "title", "script", "style", "noscript", "template", "nav", "aside", "footer", "button",
        "select", "input", "textarea", "iframe", "object", "svg", "canvas", "audio", "video", "dialog",
    ];
    const ROLES: [&str; 5] = ["navigation", "banner", "contentinfo", "search", "complementary"];
    if NOT_TEXT.contains(&name) || attribute(node, "hidden").is_some() {
        return true;
    }
    let style = attribute(node, "style").unwrap_or_default().replace(' ', "").to_ascii_lowercase();
    attribute(node, "aria-hidden").as_deref() == Some("true")
        || attribute(node, "role").is_some_and(|role| ROLES.contains(&role.as_str()))
        || style.contains("display:none")
        || style.contains("visibility:hidden")
}

fn is_inline(name: &str) -> bool {
    const INLINE: [&str; 27] = [
        "a", "abbr", "b", "bdi", "bdo", "cite", "code", "data", "del", "dfn", "em", "font", "i", "ins",
        "kbd", "label", "mark", "q", "s", "samp", "small", "span", "strong", "sub", "sup", "time", "u",
    ];
    INLINE.contains(&name) || matches!(name, "br" | "img" | "var" | "wbr" | "ruby" | "rt" | "picture" | "tt")
}

/// Language of code, as highlighters are told it.
fn language(node: &Handle) -> String {
    let codes = super::all(node, |inner| super::is_named(inner, "code"));
    let classes = codes.iter().chain([node]).filter_map(|node| attribute(node, "class"));
    let found =
        classes.flat_map(|list| list.split(' ').map(str::to_owned).collect::<Vec<_>>()).find_map(|class| {
            let language = class.strip_prefix("language-").or_else(|| class.strip_prefix("lang-"))?;
            language
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-#".contains(&byte))
                .then(|| language.to_owned())
        });
    found.unwrap_or_default()
}
