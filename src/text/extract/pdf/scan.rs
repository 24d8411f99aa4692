//! Images of scanned pages, for OCR.

use hayro_interpret::{
    BlendMode, ClipPath, Device, DrawMode, DrawProps, Image, ImageData, ImageDrawProps, LumaData, SoftMask,
    font::GlyphRun,
    kurbo::{Affine, BezPath, Point, Rect},
};

use super::{
    super::{Limits, Refusal},
    glyphs::{Interpreter, size},
    open,
};

/// Longer side of a page's image in pixels: 300 dots per inch of A4.
const MAX_SIDE: f64 = 3508.0;
/// Dots per point at least, so that pages of several small images can be read.
const MIN_SCALE: f64 = 2.0;

/// Draws the images of a page, without its text: a BMP file in grey.
///
/// # Errors
/// Those of `extract`, and `Damaged` when there is no such page.
pub fn page_image(bytes: &[u8], number: u32, limits: &Limits) -> Result<Vec<u8>, Refusal> {
    let pdf = open(bytes, limits)?;
    let page = (number as usize).checked_sub(1).and_then(|at| pdf.pages().get(at));
    let page = page.ok_or_else(|| Refusal::damaged("PDF"))?;
    let (interpreter, area) = (Interpreter::new(), size(page));
    let most = MAX_SIDE / area.width().max(area.height()).max(1.0);
    let mut finest = Finest(MIN_SCALE);
    interpreter.draw(page, &mut finest);
    let scale = finest.0.min(most);
    let mut canvas = Canvas::new(area, scale);
    interpreter.draw(page, &mut canvas);
    Ok(canvas.bmp())
}

/// Resolution of the finest image, in pixels per point.
struct Finest(f64);

/// Grey pixels, white at first.
struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
    scale: f64,
}

impl Canvas {
    fn new(area: Rect, scale: f64) -> Self {
        let pixels = |length: f64| (length * scale).clamp(1.0, MAX_SIDE) as usize;
        let (width, height) = (pixels(area.width()), pixels(area.height()));
        Self { width, height, pixels: vec![255; width * height], scale }
    }

    /// Draws the image that `grey` has; `None` is transparent.
    fn draw(&mut self, (width, height): (u32, u32), to_page: Affine, grey: impl Fn(usize) -> Option<u8>) {
        let to_canvas = Affine::scale(self.scale) * to_page;
        if to_canvas.determinant().abs() < 1e-9 || !to_canvas.is_finite() {
            return;
        }
        let image = Rect::new(0.0, 0.0, f64::from(width), f64::from(height));
        let bounds = to_canvas.transform_rect_bbox(image);
        let bounds = bounds.intersect(Rect::new(0.0, 0.0, self.width as f64, self.height as f64));
        let from_canvas = to_canvas.inverse();
        for y in bounds.y0.floor() as usize..(bounds.y1.ceil() as usize).min(self.height) {
            for x in bounds.x0.floor() as usize..(bounds.x1.ceil() as usize).min(self.width) {
                let at = from_canvas * Point::new(x as f64 + 0.5, y as f64 + 0.5);
                if at.x >= 0.0 && at.y >= 0.0 && at.x < f64::from(width) && at.y < f64::from(height) {
                    let pixel = at.y as usize * width as usize + at.x as usize;
                    if let Some(value) = grey(pixel) {
                        self.pixels[y * self.width + x] = value;
                    }
                }
            }
        }
    }

    /// BMP with 256 shades of grey.
    fn bmp(&self) -> Vec<u8> {
        const HEADER: usize = 14 + 40 + 256 * 4;
        let stride = self.width.next_multiple_of(4);
        let mut file = Vec::with_capacity(HEADER + stride * self.height);
        let number =
            |bytes: &mut Vec<u8>, value: usize| bytes.extend_from_slice(&(value as u32).to_le_bytes());
        file.extend_from_slice(b"BM");
        for value in [HEADER + stride * self.height, 0, HEADER, 40, self.width, self.height] {
            number(&mut file, value);
        }
        // One plane, eight bits a pixel, no compression.
        file.extend_from_slice(&[1, 0, 8, 0]);
        for value in [0, stride * self.height, 0, 0, 256, 0] {
            number(&mut file, value);
        }
        file.extend((0..=255_u8).flat_map(|grey| [grey, grey, grey, 0]));
        for row in self.pixels.chunks(self.width).rev() {
            file.extend_from_slice(row);
            file.resize(file.len() + stride - self.width, 0);
        }
        file
    }
}

impl<'a> Device<'a> for Finest {
    fn draw_image(&mut self, image: Image<'a, '_>, props: ImageDrawProps<'a>) {
        let pixels = Rect::new(0.0, 0.0, f64::from(image.width()), f64::from(image.height()));
        let shown = props.transform.transform_rect_bbox(pixels);
        let fine = (pixels.area() / shown.area().max(1.0)).sqrt();
        // Icons may be finer than the scan.
        if shown.area() > 5000.0 && fine.is_finite() {
            self.0 = self.0.max(fine);
        }
    }

    fn draw_path(&mut self, _: &BezPath, _: DrawProps<'a>, _: &DrawMode) {}
    fn draw_glyph_run(&mut self, _: &GlyphRun<'_, 'a>, _: DrawProps<'a>, _: &DrawMode) {}
    fn push_clip_path(&mut self, _: &ClipPath) {}
    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'a>>, _: BlendMode) {}
    fn pop_clip(&mut self) {}
    fn pop_transparency_group(&mut self) {}
}

impl<'a> Device<'a> for Canvas {
    fn draw_image(&mut self, image: Image<'a, '_>, props: ImageDrawProps<'a>) {
        match image {
            Image::Stencil(stencil) => stencil.with_stencil(
                |LumaData { data, width, height, scale_factors: (x, y), .. }, _| {
                    let to_page = props.transform * Affine::scale_non_uniform(x.into(), y.into());
                    self.draw((width, height), to_page, |at| (*data.get(at)? > 127).then_some(0));
                },
                None,
            ),
            Image::Raster(raster) => raster.with_rgba(
                |data, _| {
                    let ((x, y), size) = (data.scale_factors(), (data.width(), data.height()));
                    let to_page = props.transform * Affine::scale_non_uniform(x.into(), y.into());
                    match data {
                        ImageData::Luma(luma) => self.draw(size, to_page, |at| luma.data.get(at).copied()),
                        ImageData::Rgb(rgb) => {
                            self.draw(size, to_page, |at| grey(rgb.data.get(at * 3..at * 3 + 3)?))
                        }
                    }
                },
                None,
            ),
        }
    }

    fn draw_path(&mut self, _: &BezPath, _: DrawProps<'a>, _: &DrawMode) {}
    fn draw_glyph_run(&mut self, _: &GlyphRun<'_, 'a>, _: DrawProps<'a>, _: &DrawMode) {}
    fn push_clip_path(&mut self, _: &ClipPath) {}
    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'a>>, _: BlendMode) {}
    fn pop_clip(&mut self) {}
    fn pop_transparency_group(&mut self) {}
}

/// Brightness of a colour, by the weights of sRGB.
fn grey(rgb: &[u8]) -> Option<u8> {
    let [red, green, blue] = rgb else { return None };
    let weighted = 2126 * u32::from(*red) + 7152 * u32::from(*green) + 722 * u32::from(*blue);
    u8::try_from(weighted / 10_000).ok()
}
