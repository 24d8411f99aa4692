//! Lines of a page: glyphs on one baseline, in segments that are set apart.

use super::glyphs::Glyph;

/// Gap between glyphs that is a space, as a share of the font's height.
const SPACE: f64 = 0.16;
/// Gap that sets segments apart.
const APART: f64 = 0.9;

/// A piece of a line.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) text: String,
    pub(super) x0: f64,
    pub(super) x1: f64,
}

#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) y: f64,
    pub(super) size: f64,
    /// From left to right; never empty.
    pub(super) segments: Vec<Segment>,
}

impl Line {
    pub(super) fn x0(&self) -> f64 {
        self.segments.first().map_or(0.0, |segment| segment.x0)
    }

    pub(super) fn x1(&self) -> f64 {
        self.segments.last().map_or(0.0, |segment| segment.x1)
    }

    pub(super) fn text(&self) -> String {
        self.segments.iter().map(|segment| segment.text.as_str()).collect::<Vec<_>>().join(" ")
    }
}

/// Lines from top to bottom.
pub(super) fn of(mut glyphs: Vec<Glyph>) -> Vec<Line> {
    glyphs.sort_by(|a, b| a.y.total_cmp(&b.y));
    let mut lines: Vec<Vec<Glyph>> = Vec::new();
    for glyph in glyphs {
        // Raised and lowered characters are smaller, and belong to the line that they are nearest to.
        let joins = lines.last().and_then(|line| line.last()).is_some_and(|last| {
            (glyph.y - last.y).abs() < 0.3 * glyph.size.min(last.size).max(0.5 * glyph.size.max(last.size))
        });
        match lines.last_mut().filter(|_| joins) {
            Some(line) => line.push(glyph),
            None => lines.push(vec![glyph]),
        }
    }
    lines.into_iter().filter_map(line).collect()
}

fn line(mut glyphs: Vec<Glyph>) -> Option<Line> {
    glyphs.sort_by(|a, b| a.x0.total_cmp(&b.x0));
    let visible = |glyph: &&Glyph| !glyph.text.trim().is_empty();
    let size = glyphs.iter().filter(visible).map(|glyph| glyph.size).fold(0.0, f64::max);
    let y =
        glyphs.iter().filter(visible).filter(|glyph| glyph.size > 0.9 * size).map(|glyph| glyph.y).next()?;
    let mut segments: Vec<Segment> = Vec::new();
    let mut is_spaced = false;
    for glyph in glyphs {
        if glyph.text.trim().is_empty() {
            is_spaced = true;
            continue;
        }
        match segments.last_mut() {
            Some(last) if glyph.x0 - last.x1 < APART * size => {
                let is_apart = glyph.x0 - last.x1 > SPACE * glyph.size;
                if (is_spaced || is_apart) && !last.text.ends_with(' ') {
                    last.text.push(' ');
                }
                last.text.push_str(&glyph.text);
                last.x1 = last.x1.max(glyph.x1);
            }
            _ => segments.push(Segment { text: glyph.text, x0: glyph.x0, x1: glyph.x1 }),
        }
        is_spaced = false;
    }
    (!segments.is_empty()).then_some(Line { y, size, segments })
}
