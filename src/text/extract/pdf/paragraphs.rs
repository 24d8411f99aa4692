//! Paragraphs, headings, items and tables of a region.

use std::collections::HashMap;

use super::{columns::Region, lines::Line, tables};

/// Text above this share of the body's height is a heading.
pub(super) const HEADING: f64 = 1.12;
/// Characters of a heading at most; larger text is a paragraph.
const MAX_HEADING: usize = 200;
/// Line spacing above the usual that begins a paragraph.
const PARAGRAPH: f64 = 1.2;

pub(super) enum Block {
    Heading(u8, String),
    Paragraph(String),
    /// With its marker.
    Item(String, String),
    Table(Vec<Vec<String>>),
}

/// Heights of the fonts of a document, in half points.
pub(super) struct Sizes {
    pub(super) body: f64,
    /// The largest first.
    headings: Vec<i64>,
}

impl Sizes {
    pub(super) fn of<'l>(regions: impl Iterator<Item = &'l Region>) -> Self {
        let mut chars = HashMap::<i64, usize>::new();
        for line in regions.flatten() {
            let length: usize = line.segments.iter().map(|segment| segment.text.chars().count()).sum();
            *chars.entry(rounded(line.size)).or_default() += length;
        }
        let body = chars.iter().max_by_key(|(size, count)| (**count, **size)).map_or(0, |(size, _)| *size);
        let body = body as f64 / 2.0;
        let mut headings: Vec<i64> =
            chars.into_keys().filter(|size| *size as f64 / 2.0 > HEADING * body).collect();
        headings.sort_unstable_by(|a, b| b.cmp(a));
        Self { body, headings }
    }

    fn heading(&self, line: &Line) -> Option<u8> {
        if line.size <= HEADING * self.body {
            return None;
        }
        let rank = self.headings.iter().position(|size| *size == rounded(line.size))?;
        Some(u8::try_from(rank + 1).unwrap_or(6).min(6))
    }
}

fn rounded(size: f64) -> i64 {
    (size * 2.0).round() as i64
}

pub(super) fn of(region: &Region, sizes: &Sizes) -> Vec<Block> {
    let shape = Shape::of(region);
    let (mut blocks, mut at) = (Vec::new(), 0);
    while at < region.len() {
        if let Some((rows, length)) = tables::first(&region[at..]) {
            blocks.push(Block::Table(rows));
            at += length;
            continue;
        }
        let level = sizes.heading(&region[at]);
        let mut length = 1;
        while let Some(next) = region.get(at + length) {
            let is_table = next.segments.len() > 1 && tables::first(&region[at + length..]).is_some();
            if is_table || shape.begins(&region[at + length - 1], next) {
                break;
            }
            length += 1;
        }
        let text = joined(&region[at..at + length]);
        blocks.push(match (level, marker(&text)) {
            (Some(level), _) if text.chars().count() <= MAX_HEADING => Block::Heading(level, text),
            (_, Some((marker, rest))) => Block::Item(marker.to_owned(), rest.to_owned()),
            _ => Block::Paragraph(text),
        });
        at += length;
    }
    blocks
}

/// Edges of most lines of a region, and their usual distance.
struct Shape {
    left: f64,
    right: f64,
    spacing: f64,
}

impl Shape {
    fn of(region: &Region) -> Self {
        let at = |mut values: Vec<f64>, share: f64| {
            values.sort_by(f64::total_cmp);
            let index = (values.len() as f64 * share) as usize;
            values.get(index).or(values.last()).copied().unwrap_or(0.0)
        };
        let gaps = region.windows(2).map(|pair| pair[1].y - pair[0].y).filter(|gap| *gap > 0.0);
        Self {
            left: at(region.iter().map(Line::x0).collect(), 0.25),
            right: at(region.iter().map(Line::x1).collect(), 0.9),
            // Most lines continue a paragraph; with short paragraphs, fewer do.
            spacing: at(gaps.collect(), 0.33),
        }
    }

    /// Whether a line begins a paragraph.
    fn begins(&self, previous: &Line, line: &Line) -> bool {
        let gap = line.y - previous.y;
        let is_other_size = (line.size - previous.size).abs() > 0.12 * previous.size;
        let is_far = gap > PARAGRAPH * self.spacing.max(0.9 * previous.size) || gap < 0.0;
        let indent = line.x0() - self.left;
        let is_indented = indent > line.size
            && indent < 4.0 * line.size
            && (previous.x0() - self.left).abs() < 0.5 * line.size;
        is_other_size
            || is_far
            || is_indented
            || self.had_room(previous, line)
            || marker(&line.text()).is_some()
    }

    /// Whether the line's first word would have fitted on the line before, which was therefore ended on purpose.
    fn had_room(&self, previous: &Line, line: &Line) -> bool {
        let text = line.text();
        let (word, all) =
            (text.split(' ').next().map_or(0, |word| word.chars().count()), text.chars().count());
        let width = (line.x1() - line.x0()) * (word as f64 + 1.0) / (all as f64 + 1.0);
        previous.x1() + width + 1.5 * line.size < self.right
    }
}

/// Marker of an item, and the text after it.
fn marker(text: &str) -> Option<(&str, &str)> {
    const BULLETS: [char; 9] = ['•', '‣', '▪', '●', '○', '◦', '■', '–', '·'];
    let (first, rest) = text.split_once(' ')?;
    if first.chars().count() == 1 && first.starts_with(BULLETS) {
        return Some(("-", rest));
    }
    let digits = first.strip_suffix(['.', ')'])?;
    let is_number = (1..=2).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some((first, rest))
}

/// Text of lines, with words put together that a hyphen divides at a line's end.
fn joined(lines: &[Line]) -> String {
    let mut text = String::new();
    for line in lines {
        let next = line.text();
        let ends_in_hyphen = text.ends_with(['-', '\u{ad}', '‐'])
            && text.chars().rev().nth(1).is_some_and(char::is_alphabetic)
            && next.starts_with(char::is_lowercase);
        if ends_in_hyphen {
            text.pop();
        } else if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&next);
    }
    text.retain(|c| c != '\u{ad}');
    text
}
