//! Glyphs of a page, with their places, as the interpreter draws them.

use std::collections::HashSet;

use hayro_interpret::{
    BlendMode, ClipPath, Context, Device, DrawMode, DrawProps, Image, ImageDrawProps, InterpreterCache,
    InterpreterSettings, RenderContent, SoftMask, TransformExt,
    font::{Glyph as Drawn, GlyphRun},
    hayro_cmap::BfString,
    hayro_syntax::page::Page,
    interpret_page,
    kurbo::{Affine, BezPath, Point, Rect},
};

/// A page drawn over and over again by hostile files stops here; a full page has some ten thousand.
const MAX_GLYPHS: usize = 500_000;
/// Share of the page that an image covers at least when it is the page.
const MIN_IMAGE: f64 = 0.2;

/// A character, in points from the page's upper left corner, upright.
#[derive(Clone, Debug)]
pub(super) struct Glyph {
    pub(super) text: String,
    pub(super) x0: f64,
    pub(super) x1: f64,
    /// Baseline.
    pub(super) y: f64,
    /// Height of the font.
    pub(super) size: f64,
}

/// Glyphs and images of a page.
pub(super) struct Seen {
    pub(super) glyphs: Vec<Glyph>,
    pub(super) has_image: bool,
    pub(super) width: f64,
}

/// Interpreter of one document's pages, which share fonts.
pub(super) struct Interpreter<'a> {
    cache: InterpreterCache<'a>,
    settings: InterpreterSettings,
}

impl<'a> Interpreter<'a> {
    pub(super) fn new() -> Self {
        // What annotations show is not the document's text.
        let settings =
            InterpreterSettings { render_content: RenderContent::PAGE, ..InterpreterSettings::default() };
        Self { cache: InterpreterCache::new(), settings }
    }

    pub(super) fn page(&mut self, page: &'a Page<'a>) -> Seen {
        let (mut collector, size) = (Collector::default(), size(page));
        collector.page = size;
        self.draw(page, &mut collector);
        let glyphs = collector.upright();
        Seen { glyphs, has_image: collector.image > MIN_IMAGE * size.area(), width: size.width() }
    }

    pub(super) fn draw(&self, page: &'a Page<'a>, device: &mut impl Device<'a>) {
        let transform = page.initial_transform(true).to_kurbo();
        let mut context =
            Context::new(transform, size(page), &self.cache, page.xref(), self.settings.clone());
        interpret_page(page, &mut context, device);
    }
}

/// The page from its upper left corner.
pub(super) fn size(page: &Page<'_>) -> Rect {
    let (width, height) = page.render_dimensions();
    Rect::new(0.0, 0.0, f64::from(width), f64::from(height))
}

#[derive(Default)]
struct Collector {
    page: Rect,
    /// Glyphs by the direction that they are written in: to the right, down, to the left, up.
    glyphs: [Vec<Glyph>; 4],
    /// Characters and places, so that what is drawn twice to look bold counts once.
    seen: HashSet<(String, i64, i64, i64)>,
    /// Area of images on the page.
    image: f64,
}

impl Collector {
    /// The glyphs of the most frequent direction first, then the others below them.
    fn upright(&mut self) -> Vec<Glyph> {
        let mut directions = std::mem::take(&mut self.glyphs);
        directions.sort_by_key(|glyphs| std::cmp::Reverse(glyphs.len()));
        let (mut all, mut below) = (Vec::new(), 0.0_f64);
        for mut glyphs in directions {
            let top = glyphs.iter().map(|glyph| glyph.y - glyph.size).fold(f64::INFINITY, f64::min);
            let shift = if all.is_empty() { 0.0 } else { below - top + 100.0 };
            glyphs.iter_mut().for_each(|glyph| glyph.y += shift);
            below = glyphs.iter().map(|glyph| glyph.y).fold(below, f64::max);
            all.append(&mut glyphs);
        }
        all
    }

    fn add(&mut self, text: String, transform: Affine, advance: f64) {
        let (start, end) = (transform * Point::ORIGIN, transform * Point::new(advance, 0.0));
        let up = transform * Point::new(0.0, 1000.0) - start;
        let (along, size) = (end - start, up.hypot());
        let is_sane =
            [start.x, start.y, end.x, end.y, size].iter().all(|value| value.is_finite()) && size > 0.0;
        // Outside of what is shown.
        if !is_sane || !self.page.inflate(2.0, 2.0).contains(start) {
            return;
        }
        let place = |value: f64| value.round() as i64;
        let is_new = self.seen.insert((text.clone(), place(start.x), place(start.y), place(size)));
        if !is_new && !text.trim().is_empty() {
            return;
        }
        // Turned so that all of them are written to the right.
        let x_axis = transform * Point::new(1000.0, 0.0) - start;
        let (direction, x0, y) = match (x_axis.x.abs() >= x_axis.y.abs(), x_axis.x >= 0.0, x_axis.y >= 0.0) {
            (true, true, _) => (0, start.x, start.y),
            (true, false, _) => (2, -start.x, -start.y),
            (false, _, true) => (1, start.y, -start.x),
            (false, _, false) => (3, -start.y, start.x),
        };
        self.glyphs[direction].push(Glyph { text, x0, x1: x0 + along.hypot(), y, size });
    }
}

impl<'a> Device<'a> for Collector {
    fn draw_glyph_run(&mut self, run: &GlyphRun<'_, 'a>, props: DrawProps<'a>, _: &DrawMode) {
        for glyph in run.glyphs() {
            if self.seen.len() > MAX_GLYPHS {
                return;
            }
            let advance = match &**glyph {
                Drawn::Outline(outline) => outline.advance_width(),
                Drawn::Type3(glyph) => glyph.advance_width(),
            };
            let text = match glyph.as_unicode() {
                Some(BfString::Char(c)) => c.to_string(),
                Some(BfString::String(text)) => text,
                None => continue,
            };
            let text = plain(&text);
            if !text.is_empty() {
                self.add(text, props.transform * glyph.transform(), f64::from(advance.unwrap_or(500.0)));
            }
        }
    }

    fn draw_image(&mut self, image: Image<'a, '_>, props: ImageDrawProps<'a>) {
        let pixels = Rect::new(0.0, 0.0, f64::from(image.width()), f64::from(image.height()));
        let shown = props.transform.transform_rect_bbox(pixels).intersect(self.page);
        self.image += shown.area();
    }

    fn draw_path(&mut self, _: &BezPath, _: DrawProps<'a>, _: &DrawMode) {}
    fn push_clip_path(&mut self, _: &ClipPath) {}
    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'a>>, _: BlendMode) {}
    fn pop_clip(&mut self) {}
    fn pop_transparency_group(&mut self) {}
}

/// Letters for ligatures, and nothing for what is not shown.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            'ﬀ' => plain.push_str("ff"),
            'ﬁ' => plain.push_str("fi"),
            'ﬂ' => plain.push_str("fl"),
            'ﬃ' => plain.push_str("ffi"),
            'ﬄ' => plain.push_str("ffl"),
            'ﬅ' | 'ﬆ' => plain.push_str("st"),
            c if c.is_whitespace() => plain.push(' '),
            '\u{fffd}' | '\u{feff}' => {}
            c if c.is_control() => {}
            c => plain.push(c),
        }
    }
    plain
}
