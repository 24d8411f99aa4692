//! Images of the kind that the demo model was trained on (models/demo/train/images.py), drawn anew:
//! shapes on a plain background, and words in the two fonts that it knows.

use std::{fs, io::Cursor};

use ab_glyph::{Font, FontVec, PxScale, ScaleFont};
use image::{ImageFormat, Rgb, RgbImage};

/// The frame that the model's vision tower sees, twice as large.
const SIDE: u32 = 280;

pub(crate) const COLOURS: [(&str, [u8; 3]); 9] = [
    ("red", [214, 38, 40]),
    ("green", [40, 160, 60]),
    ("blue", [36, 84, 210]),
    ("yellow", [245, 220, 50]),
    ("orange", [250, 140, 25]),
    ("purple", [130, 50, 170]),
    ("pink", [250, 140, 190]),
    ("brown", [125, 75, 40]),
    ("black", [18, 18, 20]),
];
pub(crate) const SHAPES: [&str; 8] =
    ["circle", "square", "triangle", "star", "diamond", "rectangle", "heart", "cross"];
/// Background colours, and the shape colours that are hard to see on them.
const GROUNDS: [([u8; 3], &[&str]); 3] = [
    ([250; 3], &["yellow"]),
    ([18, 18, 20], &["black", "brown", "purple"]),
    ([245, 220, 50], &["yellow", "orange", "pink"]),
];

/// A generator of its own, so that the same images are drawn everywhere (Knuth's MMIX numbers).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 0 to `sides` - 1.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    /// From `from` to `to`.
    fn between(&mut self, from: f32, to: f32) -> f32 {
        from + (to - from) * self.roll(10_000) as f32 / 10_000.0
    }
}

/// One or two shapes on a plain ground, with their colours and names, from left to right.
pub(crate) fn shapes(dice: &mut Dice) -> (Vec<u8>, Vec<(&'static str, &'static str)>) {
    let (ground, hidden) = GROUNDS[dice.roll(GROUNDS.len())];
    let mut pixels = RgbImage::from_pixel(SIDE, SIDE, Rgb(ground));
    let side = SIDE as f32;
    let seen: Vec<_> = COLOURS.iter().filter(|(name, _)| !hidden.contains(name)).collect();
    let count = 1 + dice.roll(2);
    let mut names = Vec::new();
    for n in 0..count {
        let &(colour, rgb) = seen[dice.roll(seen.len())];
        let shape = SHAPES[dice.roll(SHAPES.len())];
        let (radius, x) = if count == 1 {
            (side * dice.between(0.25, 0.3), side * dice.between(0.4, 0.6))
        } else {
            let third = [0.22, 0.78][n];
            (side * dice.between(0.15, 0.17), side * dice.between(third - 0.02, third + 0.02))
        };
        let y = side * dice.between(0.4, 0.6);
        draw(&mut pixels, rgb, |px, py| inside(shape, (px - x) / radius, (py - y) / radius));
        names.push((colour, shape));
    }
    (png(&pixels), names)
}

/// Whether a point lies in a shape of radius 1 around the origin.
fn inside(shape: &str, x: f32, y: f32) -> bool {
    match shape {
        "circle" => x * x + y * y <= 1.0,
        "square" => x.abs() <= 0.9 && y.abs() <= 0.9,
        // Corners at 1.12 around the middle, one of them above.
        "triangle" => y <= 0.56 && 1.732 * x.abs() <= y + 1.12,
        "rectangle" => x.abs() <= 1.25 && y.abs() <= 0.62,
        "star" => star(x, y),
        "heart" => heart(x, -y),
        "diamond" => x.abs() / 0.98 + y.abs() / 1.15 <= 1.0,
        _ => x.abs().min(y.abs()) <= 0.34 && x.abs().max(y.abs()) <= 1.0,
    }
}

/// Five points at 1.15, and the corners between them at 0.48.
fn star(x: f32, y: f32) -> bool {
    let fifth = std::f32::consts::TAU / 5.0;
    // From the nearest point, which is above for the first one.
    let angle = (x.atan2(-y).rem_euclid(fifth) - fifth / 2.0).abs();
    let (far, near) = (1.15_f32, 0.48_f32);
    let from_near = [near, 0.0];
    let point = [far * (fifth / 2.0).cos(), far * (fifth / 2.0).sin()];
    let length = x.hypot(y);
    let [px, py] = [length * angle.cos(), length * angle.sin()];
    // On the inner side of the edge from a corner to a point.
    let (ex, ey) = (point[0] - from_near[0], point[1] - from_near[1]);
    ex * (py - from_near[1]) - ey * (px - from_near[0]) >= 0.0
}

/// The curve (x² + y² - 1)³ = x² y³, a little larger than the circle.
fn heart(x: f32, y: f32) -> bool {
    let (x, y) = (x * 1.15, y * 1.15 + 0.1);
    (x * x + y * y - 1.0).powi(3) <= x * x * y.powi(3)
}

/// Each pixel by how many of its nine points are inside.
fn draw(pixels: &mut RgbImage, rgb: [u8; 3], inside: impl Fn(f32, f32) -> bool) {
    for (x, y, pixel) in pixels.enumerate_pixels_mut() {
        let offsets = [1.0, 3.0, 5.0].map(|n| n / 6.0);
        let points = offsets.iter().flat_map(|dx| offsets.map(|dy| (x as f32 + dx, y as f32 + dy)));
        let share = points.filter(|(x, y)| inside(*x, *y)).count() as f32 / 9.0;
        blend(pixel, rgb, share);
    }
}

fn blend(pixel: &mut Rgb<u8>, rgb: [u8; 3], share: f32) {
    for (value, new) in pixel.0.iter_mut().zip(rgb) {
        *value = (f32::from(*value) * (1.0 - share) + f32::from(new) * share).round() as u8;
    }
}

/// A word of 3 to 6 letters, in capitals or not, or a number, black on white, and what it says.
pub(crate) fn word(dice: &mut Dice) -> (Vec<u8>, String) {
    const FONTS: [&str; 2] = ["DejaVuSans.ttf", "DejaVuSans-Bold.ttf"];
    let font = FONTS[dice.roll(FONTS.len())];
    let (consonants, vowels) = ("BCDFGHJKLMNPRSTVWZ", "AEIOU");
    let length = 3 + dice.roll(4);
    let word: String = (0..length)
        .map(|at| {
            let letters = if at % 2 == 0 { consonants } else { vowels };
            letters.as_bytes()[dice.roll(letters.len())] as char
        })
        .collect();
    let word = match dice.roll(4) {
        0 => word[..1].to_owned() + &word[1..].to_lowercase(),
        1 => (0..length).map(|_| char::from(b'0' + dice.roll(10) as u8)).collect(),
        _ => word,
    };
    (text(&word, font), word)
}

/// One line of text as large as it fits.
pub(crate) fn text(line: &str, font: &str) -> Vec<u8> {
    let bytes = fs::read(format!("/usr/share/fonts/truetype/dejavu/{font}"));
    let font = FontVec::try_from_vec(bytes.expect("fonts-dejavu-core, which `make test` installs"));
    let font = font.expect("a font");
    let width_at = |scale: f32| {
        let scaled = font.as_scaled(PxScale::from(scale));
        line.chars().map(|c| scaled.h_advance(scaled.glyph_id(c))).sum::<f32>()
    };
    let side = SIDE as f32;
    let scale = (100.0 * side * 0.9 / width_at(100.0)).min(80.0);
    let scaled = font.as_scaled(PxScale::from(scale));
    let mut pixels = RgbImage::from_pixel(SIDE, SIDE, Rgb([250; 3]));
    let mut x = (side - width_at(scale)) / 2.0;
    for c in line.chars() {
        let mut glyph = scaled.scaled_glyph(c);
        glyph.position = ab_glyph::point(x, side / 2.0 + scale * 0.3);
        x += scaled.h_advance(glyph.id);
        let Some(outline) = font.outline_glyph(glyph) else { continue };
        let corner = outline.px_bounds().min;
        outline.draw(|dx, dy, share| {
            let (x, y) = (corner.x as u32 + dx, corner.y as u32 + dy);
            if let Some(pixel) = pixels.get_pixel_mut_checked(x, y) {
                blend(pixel, [18, 18, 20], share.min(1.0));
            }
        });
    }
    png(&pixels)
}

fn png(pixels: &RgbImage) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    pixels.write_to(&mut bytes, ImageFormat::Png).expect("a PNG");
    bytes.into_inner()
}
