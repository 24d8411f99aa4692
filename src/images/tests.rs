//! Files of every kind, made here: what is read, what comes out, and what is refused.

use std::io::Cursor;

use image::{DynamicImage, ImageEncoder, ImageFormat, Rgb, RgbImage, codecs::png::PngEncoder};
use jpeg_encoder::{ColorType, Encoder};

use super::*;

const LIMITS: ImageLimits = ImageLimits { max_bytes: 1024 * 1024, max_pixels: 1_000_000, max_side: 512 };

impl Image {
    /// Black image, one pixel high.
    pub(crate) fn black(width: u32) -> Self {
        open(&file(RgbImage::new(width, 1), ImageFormat::Png)).expect("an image")
    }
}

fn open(bytes: &[u8]) -> Result<Image, Refusal> {
    Image::from_bytes(bytes.to_vec(), &LIMITS)
}

/// Pixels as a backend receives them.
fn seen(image: &Image) -> RgbImage {
    image::load_from_memory(image.file()).expect("an image").into_rgb8()
}

/// Left red, right blue; the upper left quarter green.
fn pixels(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb(match (x < width / 2, y < height / 2) {
            (true, true) => [0, 200, 0],
            (true, false) => [220, 0, 0],
            (false, _) => [0, 0, 240],
        })
    })
}

fn file(pixels: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    pixels.into().write_to(&mut bytes, format).expect("a file");
    bytes.into_inner()
}

fn jpeg(pixels: &RgbImage, exif: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 95);
    if let Some(exif) = exif {
        encoder.add_exif_metadata(exif).expect("metadata");
    }
    let (width, height) = (pixels.width() as u16, pixels.height() as u16);
    encoder.encode(pixels, width, height, ColorType::Rgb).expect("a file");
    bytes
}

/// One entry: the orientation.
fn exif(orientation: u8) -> Vec<u8> {
    let mut chunk = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    chunk.extend_from_slice(&[orientation, 0, 0, 0, 0, 0, 0, 0]);
    chunk
}

/// The colours of the four quarters: upper left, upper right, lower left, lower right.
fn quarters(pixels: &RgbImage) -> String {
    let (width, height) = pixels.dimensions();
    [(1, 1), (3, 1), (1, 3), (3, 3)]
        .map(|(x, y)| match pixels.get_pixel(width * x / 4, height * y / 4).0 {
            [r, g, b] if r > 150 && g < 80 && b < 80 => 'r',
            [r, g, b] if g > 150 && r < 80 && b < 80 => 'g',
            [r, g, b] if b > 150 && r < 80 && g < 80 => 'b',
            [r, g, b] if r > 230 && g > 230 && b > 230 => 'w',
            _ => '?',
        })
        .iter()
        .collect()
}

const FORMATS: [ImageFormat; 4] = [ImageFormat::Png, ImageFormat::Gif, ImageFormat::WebP, ImageFormat::Bmp];

#[test]
fn every_format_is_read_and_goes_on_as_one_of_two() {
    let pixels = pixels(80, 60);
    let mut hashes = Vec::new();
    for format in FORMATS {
        let image = open(&file(pixels.clone(), format)).expect("an image");
        assert_eq!((image.size(), image.media_type()), ((80, 60), "image/png"), "{format:?}");
        assert_eq!(quarters(&seen(&image)), "gbrb", "{format:?}");
        hashes.push(*image.pixel_hash());
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "the same pixels have the same hash");
    let image = open(&jpeg(&pixels, None)).expect("an image");
    assert_eq!((image.size(), image.media_type()), ((80, 60), "image/jpeg"));
    assert_eq!(quarters(&seen(&image)), "gbrb");
    let as_png = open(&file(seen_pixels(&jpeg(&pixels, None)), ImageFormat::Png)).expect("an image");
    assert_eq!(image.pixel_hash(), as_png.pixel_hash(), "also when they came in a JPEG");
    let other = open(&file(self::pixels(60, 80), ImageFormat::Png)).expect("an image");
    assert_ne!(other.pixel_hash(), &hashes[0]);
}

fn seen_pixels(jpeg: &[u8]) -> RgbImage {
    ImageFile::open(jpeg.to_vec().into(), &LIMITS)
        .expect("a file")
        .decode(LIMITS.max_side)
        .expect("pixels")
        .rgb
}

#[test]
fn a_photograph_is_turned_upright() {
    for (orientation, expected) in [
        (0, "gbrb"),
        (1, "gbrb"),
        (2, "bgbr"),
        (3, "brbg"),
        (4, "rbgb"),
        (5, "grbb"),
        (6, "rgbb"),
        (7, "bbrg"),
        (8, "bbgr"),
        (99, "gbrb"),
    ] {
        let image = open(&jpeg(&pixels(80, 48), Some(&exif(orientation)))).expect("an image");
        assert_eq!(quarters(&seen(&image)), expected, "orientation {orientation}");
        let turned = (5..=8).contains(&orientation);
        assert_eq!(image.size(), if turned { (48, 80) } else { (80, 48) });
    }
    // Damaged metadata is passed over, and none goes on.
    for exif in [&b"II*\0\xff\xff\xff\xff"[..], b"MM", &[0; 40]] {
        let image = open(&jpeg(&pixels(80, 48), Some(exif))).expect("an image");
        assert_eq!(quarters(&seen(&image)), "gbrb");
        assert!(!image.file().windows(4).any(|four| four == b"Exif"));
    }
}

#[test]
fn what_shines_through_is_white() {
    let clear = image::RgbaImage::from_fn(40, 40, |x, y| {
        image::Rgba(match (x < 20, y < 20) {
            (true, true) => [0, 0, 0, 0],
            (false, true) => [255, 0, 0, 255],
            (true, false) => [0, 0, 255, 255],
            (false, false) => [255, 0, 0, 128],
        })
    });
    for format in [ImageFormat::Png, ImageFormat::WebP] {
        let seen = seen(&open(&file(clear.clone(), format)).expect("an image"));
        assert_eq!(quarters(&seen), "wrb?", "{format:?}");
        assert_eq!(seen.get_pixel(30, 30).0, [255, 127, 127]);
    }
}

#[test]
fn depths_and_colours_of_all_kinds_are_read() {
    let pixels = DynamicImage::ImageRgb8(pixels(40, 40));
    let grey = pixels.to_luma8();
    for (what, bytes, expected) in [
        ("16 bits", file(pixels.to_rgb16(), ImageFormat::Png), "gbrb"),
        ("16 bits with alpha", file(pixels.to_rgba16(), ImageFormat::Png), "gbrb"),
        ("grey", file(grey.clone(), ImageFormat::Png), "????"),
        ("grey of 16 bits", file(pixels.to_luma16(), ImageFormat::Png), "????"),
        ("grey with alpha", file(pixels.to_luma_alpha8(), ImageFormat::Png), "????"),
        ("palette", palette_png(), "rrbb"),
        ("grey JPEG", file(grey, ImageFormat::Jpeg), "????"),
        ("CMYK JPEG", cmyk_jpeg(), "rrrr"),
        ("1 × 1", file(self::pixels(1, 1), ImageFormat::Bmp), "bbbb"),
    ] {
        let image = open(&bytes).unwrap_or_else(|refusal| panic!("{what}: {refusal:?}"));
        assert_eq!(quarters(&seen(&image)), expected, "{what}");
    }
}

fn palette_png() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 8, 8);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::One);
    encoder.set_palette(&[255, 0, 0, 0, 0, 255][..]);
    let mut writer = encoder.write_header().expect("a header");
    writer.write_image_data(&[0, 0, 0, 0, 255, 255, 255, 255]).expect("pixels");
    drop(writer);
    bytes
}

fn cmyk_jpeg() -> Vec<u8> {
    let mut bytes = Vec::new();
    // No cyan, all magenta and yellow: red.
    let pixels = [0, 255, 255, 0].repeat(16 * 16);
    Encoder::new(&mut bytes, 95).encode(&pixels, 16, 16, ColorType::Cmyk).expect("a file");
    bytes
}

#[test]
fn large_images_are_scaled_down_in_proportion() {
    for (size, expected) in [
        ((512, 512), (512, 512)),
        ((1000, 1000), (512, 512)),
        ((1000, 500), (512, 256)),
        ((500, 1000), (256, 512)),
        ((10_000, 1), (512, 1)),
        ((1, 10_000), (1, 512)),
    ] {
        let bytes = file(pixels(size.0, size.1), ImageFormat::Png);
        assert_eq!(open(&bytes).expect("an image").size(), expected, "{size:?}");
    }
    // The decoder itself scales a JPEG down to a half or less where that is not too small.
    for (size, expected) in [
        ((900, 600), (342, 512)),
        ((920, 400), (223, 512)),
        ((940, 601), (301, 470)),
        ((1023, 601), (301, 512)),
        ((1028, 900), (449, 512)),
        ((2000, 400), (100, 500)),
        ((4000, 200), (25, 500)),
        ((7999, 100), (7, 512)),
    ] {
        let turned = jpeg(&pixels(size.0, size.1), Some(&exif(6)));
        let image = open(&turned).expect("an image");
        assert_eq!((image.size(), quarters(&seen(&image)).as_str()), (expected, "rgbb"), "{size:?}");
    }
    let grey = file(DynamicImage::from(pixels(960, 100)).to_luma8(), ImageFormat::Jpeg);
    assert_eq!(open(&grey).expect("an image").size(), (480, 50));
}

#[test]
fn only_the_first_image_of_an_animation_is_read() {
    let mut bytes = Vec::new();
    {
        let mut encoder = image::codecs::gif::GifEncoder::new_with_speed(&mut bytes, 30);
        encoder.encode_frame(image::Frame::new(first_frame())).expect("a frame");
        let red = image::RgbaImage::from_pixel(4, 4, image::Rgba([255, 0, 0, 255]));
        for _ in 1..10_000 {
            encoder.encode_frame(image::Frame::new(red.clone())).expect("a frame");
        }
    }
    let image = open(&bytes).expect("an image");
    assert_eq!((image.size(), quarters(&seen(&image)).as_str()), ((4, 4), "bbbb"));
}

fn first_frame() -> image::RgbaImage {
    image::RgbaImage::from_pixel(4, 4, image::Rgba([0, 0, 255, 255]))
}

fn every_file() -> Vec<(&'static str, Vec<u8>)> {
    // Noise, so that the pixels take most of the file.
    let mut state = 1_u32;
    let noise = RgbImage::from_fn(64, 64, |_, _| {
        Rgb([0; 3].map(|_: u8| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        }))
    });
    let mut progressive = Vec::new();
    let mut encoder = Encoder::new(&mut progressive, 90);
    encoder.set_progressive(true);
    encoder.encode(&noise, 64, 64, ColorType::Rgb).expect("a file");
    let mut files: Vec<_> = vec![("JPEG", jpeg(&noise, Some(&exif(6)))), ("progressive JPEG", progressive)];
    for (name, format) in ["PNG", "GIF", "WebP", "BMP"].into_iter().zip(FORMATS) {
        files.push((name, file(noise.clone(), format)));
    }
    files
}

#[test]
fn what_is_cut_off_is_refused() {
    use RefusalReason::{Broken, Empty, Format};
    for (name, bytes) in every_file() {
        open(&bytes).unwrap_or_else(|refusal| panic!("{name} as a whole: {refusal:?}"));
        for tenths in 0..10 {
            let cut = &bytes[..bytes.len() * tenths / 10];
            let refusal = open(cut).map(|image| image.size()).expect_err(name);
            assert!(matches!(refusal.reason, Broken | Empty | Format), "{name} at {tenths}/10: {refusal:?}");
        }
        // What a camera adds after the end harms nothing.
        open(&[&bytes[..], &[0; 100]].concat()).unwrap_or_else(|refusal| panic!("{name}: {refusal:?}"));
    }
}

#[test]
fn what_is_no_image_is_refused_by_its_reason() {
    use RefusalReason::{Broken, Bytes, Empty, Format, Pixels};
    let huge = |format| match format {
        ImageFormat::Bmp => bmp_header(60_000, 60_000),
        // A header, and the beginning of a frame of the same size.
        ImageFormat::Gif => b"GIF89a\x60\xea\x60\xea\0\0\0,\0\0\0\0\x60\xea\x60\xea\0\x08".to_vec(),
        _ => png_header(60_000, 60_000),
    };
    for (what, bytes, reason) in [
        ("nothing", Vec::new(), Empty),
        ("text", b"this is not an image".to_vec(), Format),
        ("a program", b"\x7fELF\x02\x01\x01".to_vec(), Format),
        ("an SVG", b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec(), Format),
        ("a TIFF", b"II*\0\x08\0\0\0".to_vec(), Format),
        ("a PDF", b"%PDF-1.7".to_vec(), Format),
        ("the first bytes of a PNG", b"\x89PNG\r\n\x1a\n".to_vec(), Broken),
        ("the first bytes of a JPEG", b"\xff\xd8\xff\xe0".to_vec(), Broken),
        ("too many bytes", [file(pixels(8, 8), ImageFormat::Bmp), vec![0; 1024 * 1024]].concat(), Bytes),
        ("too many pixels", file(RgbImage::new(1001, 1000), ImageFormat::Png), Pixels),
        ("a huge PNG in 100 bytes", huge(ImageFormat::Png), Pixels),
        ("a huge GIF in 24 bytes", huge(ImageFormat::Gif), Pixels),
        ("a huge BMP in 58 bytes", huge(ImageFormat::Bmp), Pixels),
        ("no pixels", bmp_header(0, 10), Broken),
    ] {
        let refusal = open(&bytes).map(|image| image.size()).expect_err(what);
        assert_eq!(refusal.reason, reason, "{what}: {refusal:?}");
    }
}

/// A PNG that has only its header and the beginning of its data.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    // An encoder writes pixels only when it is given some.
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().expect("a header");
    writer.write_chunk(png::chunk::IDAT, &[0x78, 0x01]).expect("a chunk");
    drop(writer);
    bytes.truncate(100);
    bytes
}

fn bmp_header(width: i32, height: i32) -> Vec<u8> {
    let mut bytes = file(pixels(1, 1), ImageFormat::Bmp);
    bytes[18..22].copy_from_slice(&width.to_le_bytes());
    bytes[22..26].copy_from_slice(&height.to_le_bytes());
    bytes
}

#[test]
fn a_jpeg_of_endless_scans_is_refused() {
    let mut bytes = jpeg(&pixels(64, 64), None);
    let end = bytes.split_off(bytes.len() - 2);
    // Each announces data for all three components, and has none.
    let scan = [0xff, 0xda, 0, 12, 3, 1, 0, 2, 0x11, 3, 0x11, 0, 63, 0];
    let refusal = open(&[bytes, scan.repeat(1000), end].concat()).map(|image| image.size());
    let refusal = refusal.expect_err("too many");
    assert_eq!(refusal.reason, RefusalReason::Broken);
    assert!(refusal.at("/image").chain().contains("too many scans"));
}

#[test]
fn a_bomb_costs_no_more_than_its_pixels() {
    // A megapixel of one colour in a few kilobytes is an image like any other.
    let flat = file(RgbImage::new(1000, 1000), ImageFormat::Png);
    assert!(flat.len() < 50_000);
    open(&flat).expect("an image");
    // 96 MB of nothing in the metadata, in 100 kB.
    let mut bytes = Vec::new();
    let profile = vec![0; 96 * 1024 * 1024];
    let mut encoder = PngEncoder::new(&mut bytes);
    encoder.set_icc_profile(profile).expect("a profile");
    encoder.write_image(&pixels(8, 8), 8, 8, image::ExtendedColorType::Rgb8).expect("a file");
    assert!(bytes.len() < 1024 * 1024);
    // Whether it is read without its profile or refused: it is at once.
    if let Err(refusal) = open(&bytes) {
        assert!(matches!(refusal.reason, RefusalReason::Broken | RefusalReason::Bytes), "{refusal:?}");
    }
}

#[test]
fn a_name_inside_is_not_believed() {
    // A PNG is a PNG, whatever the `data:` URI around it says.
    let png = file(pixels(8, 8), ImageFormat::Png);
    let base64 = STANDARD.encode(&png);
    for prefix in ["data:image/jpeg;base64,", "data:text/plain;base64,", "data:;base64,", "data:,"] {
        let bytes = EncodedImage::from_base64(&format!("{prefix}{base64}")).into_bytes().expect("base64");
        assert_eq!(open(&bytes).expect("an image").size(), (8, 8), "{prefix}");
    }
}
