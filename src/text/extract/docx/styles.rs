//! Styles and lists of a Word document: which paragraphs are headings, and how items are numbered.

use std::collections::HashMap;

use super::super::{
    Refusal,
    xml::{Node, Xml},
};

/// Styles that are based on others, at most.
const MAX_CHAIN: usize = 16;

#[derive(Default)]
pub(super) struct Styles(HashMap<String, Style>);

#[derive(Default)]
struct Style {
    level: Option<u8>,
    list: Option<(String, usize)>,
    based_on: Option<String>,
}

impl Styles {
    pub(super) fn read(text: &str) -> Result<Self, Refusal> {
        let (mut xml, mut styles, mut id) = (Xml::new(text), HashMap::<String, Style>::new(), String::new());
        while let Some(node) = xml.next()? {
            let Node::Start(tag) = node else { continue };
            if tag.name == "style" {
                id = tag.attribute("styleId").unwrap_or_default();
                continue;
            }
            let style = styles.entry(id.clone()).or_default();
            let value = tag.attribute("val");
            match (tag.name.as_str(), value) {
                ("name", Some(name)) => style.level = by_name(&name),
                ("basedOn", value) => style.based_on = value,
                ("outlineLvl", _) => style.level = super::level(tag.number("val")).or(style.level),
                ("numId", Some(number)) => style.list.get_or_insert_default().0 = number,
                ("ilvl", _) => style.list.get_or_insert_default().1 = tag.number("val").unwrap_or(0),
                _ => {}
            }
        }
        Ok(Self(styles))
    }

    /// Heading level of a style.
    pub(super) fn level(&self, id: &str) -> Option<u8> {
        self.chain(id).find_map(|style| style.level)
    }

    /// Numbering and depth of a style.
    pub(super) fn list(&self, id: &str) -> Option<(String, usize)> {
        self.chain(id).find_map(|style| style.list.clone())
    }

    /// The style and those that it is based on.
    fn chain<'s>(&'s self, id: &str) -> impl Iterator<Item = &'s Style> {
        let based_on = |style: &&'s Style| self.0.get(style.based_on.as_deref()?);
        std::iter::successors(self.0.get(id), based_on).take(MAX_CHAIN)
    }
}

/// Names of the built-in styles are the same in all languages.
fn by_name(name: &str) -> Option<u8> {
    let name = name.to_ascii_lowercase();
    match name.strip_prefix("heading ") {
        Some(level) => level.parse().ok().map(|level: u8| level.clamp(1, 6)),
        None => (name == "title").then_some(1),
    }
}

/// Numbering of items: for each list its abstract one, and for each level of that whether it has numbers.
#[derive(Default)]
pub(super) struct Numbering {
    lists: HashMap<String, String>,
    numbered: HashMap<(String, usize), bool>,
    /// Next number of each level of a list.
    counters: HashMap<String, Vec<usize>>,
}

impl Numbering {
    pub(super) fn read(text: &str) -> Result<Self, Refusal> {
        let (mut xml, mut numbering) = (Xml::new(text), Self::default());
        let (mut of_abstract, mut list, mut level) = (String::new(), String::new(), 0);
        while let Some(node) = xml.next()? {
            let Node::Start(tag) = node else { continue };
            match tag.name.as_str() {
                "abstractNum" => of_abstract = tag.attribute("abstractNumId").unwrap_or_default(),
                "lvl" => level = tag.number("ilvl").unwrap_or(0),
                "numFmt" => {
                    let is_numbered =
                        tag.attribute("val").is_some_and(|format| format != "bullet" && format != "none");
                    numbering.numbered.insert((of_abstract.clone(), level), is_numbered);
                }
                "num" => list = tag.attribute("numId").unwrap_or_default(),
                "abstractNumId" => {
                    numbering.lists.insert(list.clone(), tag.attribute("val").unwrap_or_default());
                }
                _ => {}
            }
        }
        Ok(numbering)
    }

    /// Marker of the next item.
    pub(super) fn next(&mut self, list: &str, depth: usize) -> String {
        let depth = depth.min(8);
        let of_abstract = self.lists.get(list).cloned().unwrap_or_default();
        let counters = self.counters.entry(of_abstract.clone()).or_default();
        counters.resize(depth + 1, 0);
        counters[depth] += 1;
        match self.numbered.get(&(of_abstract, depth)) {
            Some(true) => format!("{}.", counters[depth]),
            _ => "-".to_owned(),
        }
    }
}
