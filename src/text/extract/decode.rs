//! Bytes of a text file as text, in whichever encoding.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

use super::Refusal;

/// Bytes that the encoding is detected from.
const SAMPLE: usize = 64 * 1024;

/// Decodes a text: by its byte order mark, else by `declared`, else as UTF-8, else by detection. Line ends become
/// single line feeds.
///
/// # Errors
/// `Format` when it is not text.
pub(super) fn decode(bytes: &[u8], declared: Option<&'static Encoding>) -> Result<String, Refusal> {
    let text = match Encoding::for_bom(bytes) {
        Some((encoding, length)) => encoding.decode_without_bom_handling(&bytes[length..]).0.into_owned(),
        None => without_mark(bytes, declared)?,
    };
    if is_binary(&text) {
        return Err(Refusal::binary());
    }
    Ok(if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n") } else { text })
}

/// Encoding by the name that a document gives it.
pub(super) fn named(label: &str) -> Option<&'static Encoding> {
    Encoding::for_label(label.trim().as_bytes())
}

fn without_mark(bytes: &[u8], declared: Option<&'static Encoding>) -> Result<String, Refusal> {
    if let Some(encoding) = utf16_without_mark(bytes) {
        return Ok(encoding.decode_without_bom_handling(bytes).0.into_owned());
    }
    if bytes.contains(&0) {
        return Err(Refusal::binary());
    }
    if let Some(encoding) = declared.filter(|encoding| *encoding != UTF_8) {
        return Ok(encoding.decode_without_bom_handling(bytes).0.into_owned());
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Ok(text.to_owned());
    }
    if is_damaged_utf8(bytes) {
        return Ok(String::from_utf8_lossy(bytes).into_owned());
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(&bytes[..bytes.len().min(SAMPLE)], bytes.len() <= SAMPLE);
    let encoding = detector.guess(None, Utf8Detection::Deny);
    Ok(encoding.decode_without_bom_handling(bytes).0.into_owned())
}

/// Latin text in UTF-16 has a zero in every other byte.
fn utf16_without_mark(bytes: &[u8]) -> Option<&'static Encoding> {
    let sample = &bytes[..bytes.len().min(SAMPLE)];
    let zeros = |offset: usize| sample.iter().skip(offset).step_by(2).filter(|byte| **byte == 0).count();
    let (even, odd, pairs) = (zeros(0), zeros(1), sample.len() / 2);
    match bytes.len().is_multiple_of(2) && pairs >= 2 {
        true if even == 0 && odd * 10 >= pairs * 7 => Some(UTF_16LE),
        true if odd == 0 && even * 10 >= pairs * 7 => Some(UTF_16BE),
        _ => None,
    }
}

/// Whether most characters beyond ASCII are valid UTF-8.
fn is_damaged_utf8(bytes: &[u8]) -> bool {
    let (mut valid, mut invalid) = (0_usize, 0_usize);
    for chunk in bytes.utf8_chunks() {
        valid += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        invalid += usize::from(!chunk.invalid().is_empty());
    }
    valid > invalid * 10
}

/// Text has hardly any control characters.
fn is_binary(text: &str) -> bool {
    let controls =
        text.chars().filter(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{c}' | '\u{1b}'));
    let (controls, replaced) = (controls.count(), text.matches('\u{fffd}').count());
    text.contains('\0') || controls * 200 > text.len() || replaced * 10 > text.len()
}
