//! Running titles and page numbers: first and last lines that many pages share, except for their numbers.

use std::collections::HashMap;

use super::{
    columns::Region,
    paragraphs::{HEADING, Sizes},
};

/// Pages of a document that has running titles.
const MIN_PAGES: usize = 4;

/// Removes them. Chapters' titles are alike, too, but larger.
pub(super) fn remove<'l>(pages: impl Iterator<Item = &'l mut Vec<Region>>, sizes: &Sizes) {
    let mut pages: Vec<&mut Vec<Region>> = pages.collect();
    if pages.len() < MIN_PAGES {
        return;
    }
    for edge in [Edge::Top, Edge::Bottom] {
        // Twice, because there may be two such lines.
        for _ in 0..2 {
            let mut counts = HashMap::<String, usize>::new();
            for page in &pages {
                if let Some(text) = edge.line(page, sizes) {
                    *counts.entry(text).or_default() += 1;
                }
            }
            // Titles differ between left and right pages, and between chapters.
            let enough = MIN_PAGES.max(pages.len() / 8);
            let is_running = |text: &str| counts.get(text).is_some_and(|count| *count >= enough);
            for page in &mut pages {
                if edge.line(page, sizes).is_some_and(|text| is_running(&text)) {
                    edge.remove(page);
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Edge {
    Top,
    Bottom,
}

impl Edge {
    /// Region and line that are outermost on the page.
    fn place(self, page: &[Region]) -> Option<(usize, usize)> {
        let all = page
            .iter()
            .enumerate()
            .flat_map(|(region, lines)| lines.iter().enumerate().map(move |(at, line)| (region, at, line.y)));
        let outermost = match self {
            Self::Top => all.min_by(|a, b| a.2.total_cmp(&b.2)),
            Self::Bottom => all.max_by(|a, b| a.2.total_cmp(&b.2)),
        };
        outermost.map(|(region, at, _)| (region, at))
    }

    /// Its text, with all numbers alike.
    fn line(self, page: &[Region], sizes: &Sizes) -> Option<String> {
        let (region, at) = self.place(page)?;
        let line = &page[region][at];
        if line.size > HEADING * sizes.body {
            return None;
        }
        let text = line.text();
        let mut alike = String::new();
        for c in text.chars() {
            match c.is_ascii_digit() {
                true if alike.ends_with('0') => {}
                true => alike.push('0'),
                false => alike.push(c),
            }
        }
        Some(alike)
    }

    fn remove(self, page: &mut Vec<Region>) {
        let Some((region, at)) = self.place(page) else { return };
        page[region].remove(at);
        page.retain(|lines| !lines.is_empty());
    }
}
