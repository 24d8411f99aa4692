//! Files that are empty, binary, locked, damaged or made to exhaust memory.

use std::io::Write;

use zip::{ZipWriter, write::SimpleFileOptions};

use super::*;

fn refusal(bytes: &[u8], limits: &Limits) -> Refusal {
    extract(bytes, &Hints::default(), limits).unwrap_err()
}

fn reason(bytes: &[u8]) -> RefusalReason {
    refusal(bytes, &Limits::default()).reason
}

/// An archive of entries, deflated.
fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn docx(body: &str) -> Vec<u8> {
    archive(&[("word/document.xml", body.as_bytes())])
}

#[test]
fn what_is_no_document() {
    assert_eq!(reason(b""), RefusalReason::Empty);
    assert_eq!(reason(b" \n\t\n"), RefusalReason::Empty);
    assert_eq!(reason(b"<html><body><script>1</script></body></html>"), RefusalReason::Empty);
    assert_eq!(reason(&docx("<document/>")), RefusalReason::Empty);
    assert_eq!(reason(&[0, 1, 2, 3, 0, 255, 254, 7].repeat(100)), RefusalReason::Format);
    assert_eq!(reason(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0"), RefusalReason::Format);
    assert_eq!(reason(b"\x89PNG\r\n\x1a\n0000"), RefusalReason::Format);
    assert_eq!(reason(&archive(&[("readme.txt", b"hello")])), RefusalReason::Format);
    let old = [&b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"[..], &[0; 512]].concat();
    assert!(refusal(&old, &Limits::default()).detail.contains("save it as DOCX"));
}

#[test]
fn locked_documents_are_refused_plainly() {
    assert_eq!(reason(LOCKED), RefusalReason::Encrypted);
    let package: Vec<u8> = "EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let office = [&b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"[..], &[0; 504], &package].concat();
    assert_eq!(reason(&office), RefusalReason::Encrypted);
    let odt = archive(&[
        ("mimetype", b"application/vnd.oasis.opendocument.text"),
        ("META-INF/manifest.xml", b"<manifest><encryption-data/></manifest>"),
        ("content.xml", b"\x01\x02"),
    ]);
    assert_eq!(reason(&odt), RefusalReason::Encrypted);
}

#[test]
fn bombs_stop_at_the_limits() {
    let limits = Limits { max_text: 100_000, max_pages: 50, max_unpacked: 1_000_000 };
    let long = format!("<p><t>{}</t></p>", "a".repeat(2_000_000));
    assert_eq!(refusal(&docx(&long), &limits).reason, RefusalReason::TooLarge);
    // Within the limit of what is unpacked, but not of the text.
    let text = format!("<p><r><t>{}</t></r></p>", "a".repeat(200_000));
    let refused = refusal(&docx(&text), &limits);
    assert_eq!((refused.reason, refused.detail.contains("of text")), (RefusalReason::TooLarge, true));
    // An entry that declares less than what comes out.
    let mut lying = docx(&long);
    for at in 0..lying.len() - 4 {
        if lying[at..at + 4] == (long.len() as u32).to_le_bytes() {
            lying[at..at + 4].copy_from_slice(&10_u32.to_le_bytes());
        }
    }
    assert!(matches!(refusal(&lying, &limits).reason, RefusalReason::TooLarge | RefusalReason::Damaged));
    let spreadsheet = archive(&[("xl/workbook.xml", b"<workbook/>"), ("xl/big.xml", long.as_bytes())]);
    assert_eq!(refusal(&spreadsheet, &limits).reason, RefusalReason::TooLarge);
}

#[test]
fn entities_do_not_grow() {
    let mut body = "<!DOCTYPE d [<!ENTITY a \"aaaaaaaaaa\">".to_owned();
    for (name, other) in
        ["b", "c", "d", "e", "f", "g", "h", "i"].iter().zip(["a", "b", "c", "d", "e", "f", "g", "h"])
    {
        body += &format!("<!ENTITY {name} \"{}\">", format!("&{other};").repeat(10));
    }
    body += "]><document><p><r><t>before &i; after &#65;&amp;</t></r></p></document>";
    let found = extract(&docx(&body), &Hints::default(), &Limits::default()).unwrap();
    assert_eq!(found.text, "before after A&");
}

#[test]
fn elements_nested_without_end() {
    let deep = "<p>".repeat(100_000);
    assert_eq!(reason(&docx(&deep)), RefusalReason::Damaged);
    assert_eq!(reason(format!("<html>{}text", "<div>".repeat(1000)).as_bytes()), RefusalReason::Damaged);
    assert_eq!(reason(format!("{{\\rtf1{}text", "{".repeat(100_000)).as_bytes()), RefusalReason::Damaged);
    // Is text, because it is no JSON that we would read.
    assert!(extract("[".repeat(100_000).as_bytes(), &Hints::default(), &Limits::default()).is_ok());
}

/// A PDF of objects, the first of which is the catalog.
fn pdf(objects: &[String]) -> Vec<u8> {
    let mut file = "%PDF-1.4\n".to_owned();
    let mut places = Vec::new();
    for (number, object) in (1..).zip(objects) {
        places.push(file.len());
        file += &format!("{number} 0 obj\n{object}\nendobj\n");
    }
    let start = file.len();
    file += &format!("xref\n0 {}\n0000000000 65535 f \n", places.len() + 1);
    places.iter().for_each(|place| file += &format!("{place:010} 00000 n \n"));
    file += &format!("trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n", places.len() + 1);
    file.into_bytes()
}

#[test]
fn a_million_empty_pages() {
    let catalog = "<< /Type /Catalog /Pages 2 0 R >>".to_owned();
    let kids = "3 0 R ".repeat(1_000_000);
    let pages = format!("<< /Type /Pages /Count 1000000 /Kids [{kids}] >>");
    let page = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 100] >>".to_owned();
    // Each is the same object, so that they count as one.
    assert_eq!(reason(&pdf(&[catalog, pages, page])), RefusalReason::Empty);
    for file in [TABLE, PPTX] {
        let refused = refusal(file, &Limits { max_pages: 1, ..Limits::default() });
        assert_eq!(refused.reason, RefusalReason::TooLarge);
        assert!(refused.detail.contains("at most 1)"), "{refused}");
    }
}

#[test]
fn references_in_circles() {
    let catalog = "<< /Type /Catalog /Pages 2 0 R >>".to_owned();
    let pages = "<< /Type /Pages /Count 3 /Kids [2 0 R 3 0 R 2 0 R] /Parent 2 0 R >>".to_owned();
    let page = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 100] /Contents 4 0 R \
                /Resources << /XObject << /X 5 0 R >> >> >>";
    let content = "<< /Length 5 >>\nstream\n/X Do\nendstream".to_owned();
    let form = "<< /Type /XObject /Subtype /Form /BBox [0 0 100 100] /Length 11 \
                /Resources << /XObject << /X 5 0 R >> >> >>\nstream\n/X Do /X Do\nendstream";
    let circle = pdf(&[catalog, pages, page.to_owned(), content, form.to_owned()]);
    assert!(extract(&circle, &Hints::default(), &Limits::default()).is_err());
}

#[test]
fn files_cut_off_anywhere() {
    for (name, file) in [
        ("docx", DOCX),
        ("pptx", PPTX),
        ("xlsx", XLSX),
        ("odt", ODT),
        ("epub", EPUB),
        ("rtf", RTF),
        ("html", HTML),
        ("columns", COLUMNS),
        ("table", TABLE),
        ("scan", SCAN),
        ("locked", LOCKED),
    ] {
        for tenth in 0..10 {
            let part = &file[..file.len() * tenth / 10];
            match extract(part, &Hints::default(), &Limits::default()) {
                Ok(found) => check_offsets(&found),
                Err(refused) => assert!(!refused.detail.is_empty(), "{name}, {tenth} tenths"),
            }
        }
    }
}
