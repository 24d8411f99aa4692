//! Real files of each format, and files that are broken or hostile.

mod hostile;

use super::*;

pub(super) const DOCX: &[u8] = include_bytes!("../../../tests/fixtures/documents/tides.docx");
pub(super) const PPTX: &[u8] = include_bytes!("../../../tests/fixtures/documents/review.pptx");
pub(super) const XLSX: &[u8] = include_bytes!("../../../tests/fixtures/documents/stock.xlsx");
pub(super) const ODT: &[u8] = include_bytes!("../../../tests/fixtures/documents/garden.odt");
pub(super) const EPUB: &[u8] = include_bytes!("../../../tests/fixtures/documents/lighthouse.epub");
pub(super) const RTF: &[u8] = include_bytes!("../../../tests/fixtures/documents/letter.rtf");
pub(super) const HTML: &[u8] = include_bytes!("../../../tests/fixtures/documents/menu.html");
pub(super) const COLUMNS: &[u8] = include_bytes!("../../../tests/fixtures/documents/columns.pdf");
pub(super) const TABLE: &[u8] = include_bytes!("../../../tests/fixtures/documents/table.pdf");
pub(super) const SCAN: &[u8] = include_bytes!("../../../tests/fixtures/documents/scan.pdf");
pub(super) const FAX: &[u8] = include_bytes!("../../../tests/fixtures/documents/fax.pdf");
pub(super) const LOCKED: &[u8] = include_bytes!("../../../tests/fixtures/documents/locked.pdf");

/// Extracts without a name, and checks that all offsets are true.
fn extracted(bytes: &[u8]) -> Extracted {
    named(bytes, None)
}

fn named(bytes: &[u8], name: Option<&str>) -> Extracted {
    let hints = Hints { name: name.map(str::to_owned), ..Hints::default() };
    let extracted = extract(bytes, &hints, &Limits::default()).unwrap();
    check_offsets(&extracted);
    extracted
}

pub(super) fn check_offsets(extracted: &Extracted) {
    let chars: Vec<char> = extracted.text.chars().collect();
    let slice = |start: usize, end: usize| chars[start..end].iter().collect::<String>();
    for heading in &extracted.headings {
        let rest = slice(heading.char_start, chars.len());
        let rest = rest.trim_start_matches(['#', ' ']);
        assert!(rest.starts_with(&heading.text), "{heading:?} in {rest:?}");
    }
    for table in &extracted.tables {
        assert_eq!(slice(table.char_start, table.char_end), table.markdown);
    }
    let mut end = 0;
    for (number, page) in (1..).zip(&extracted.pages) {
        assert!(
            page.number == number && end <= page.char_start && page.char_start <= page.char_end,
            "{page:?}"
        );
        end = page.char_end;
    }
    assert!(end <= chars.len());
}

fn page(extracted: &Extracted, number: usize) -> String {
    let page = &extracted.pages[number - 1];
    extracted.text.chars().skip(page.char_start).take(page.char_end - page.char_start).collect()
}

/// Headings above the first occurrence of a text.
fn above<'e>(extracted: &'e Extracted, text: &str) -> Vec<&'e str> {
    let byte = extracted.text.find(text).unwrap();
    extracted.heading_path(extracted.text[..byte].chars().count())
}

#[test]
fn word_documents() {
    let found = extracted(DOCX);
    assert_eq!(
        found.text,
        "Handbook of Tides\n\nHarbours\n\nThe tide in the harbour rises twice a day, and falls as often.\n\n\
         - Bring a rope\n- Bring a lamp\n1. Cast off\n2. Set sail\n\nHeights\n\n\
         | Port | High | Low |\n| --- | --- | --- |\n| Brest | 6.9 m | 1.1 m |\n| Hamburg | 3.8 m | 0.2 m |\n\n\
         After the table comes a closing remark: a < b & c."
    );
    assert!(
        found.markdown.starts_with("# Handbook of Tides\n\n# Harbours\n\nThe tide"),
        "{}",
        found.markdown
    );
    assert_eq!(above(&found, "Hamburg"), ["Harbours", "Heights"]);
    assert_eq!(found.metadata["author"], "A. Writer");
    assert_eq!((found.title.as_deref(), found.language.as_deref()), (Some("Handbook of Tides"), Some("en")));
}

#[test]
fn presentations_have_their_slides_as_pages() {
    let found = extracted(PPTX);
    assert_eq!(page(&found, 1), "Quarterly review\n\nSpring");
    assert_eq!(page(&found, 2), "Results\n\n- Sales rose\n  - by four percent\n\nMention the weather.");
    assert_eq!(page(&found, 3), "Figures\n\n| Month | Units |\n| --- | --- |\n| May | 41 |");
    assert_eq!((found.tables[0].page, &found.metadata["page_count"]), (Some(3), &3.into()));
    assert_eq!(above(&found, "four percent"), ["Results"]);
}

#[test]
fn spreadsheets() {
    let found = extracted(XLSX);
    assert_eq!(
        found.text,
        "Stock\n\n| Item | Count | Since |\n| --- | --- | --- |\n| Rope | 12 | 2024-03-01 |\n\
         | Lamp | 2.5 | 2024-03-02 08:30:00 |\n\n\
         Notes\n\n| Ask for oil \\| tar |  |  |\n| --- | --- | --- |\n|  |  | TRUE |"
    );
    assert_eq!(above(&found, "Lamp"), ["Stock"]);
    let csv = named(b"name;count\n\"Rope; long\";12\nLamp;3\n", Some("stock.csv"));
    assert_eq!(csv.text, "| name | count |\n| --- | --- |\n| Rope; long | 12 |\n| Lamp | 3 |");
    let lines = named(b"name;note\nRope;\"one,\ntwo; three\"\n", Some("notes.csv"));
    assert_eq!(lines.text, "| name | note |\n| --- | --- |\n| Rope | one, two; three |");
}

#[test]
fn open_documents_and_books_and_rich_text() {
    let found = extracted(ODT);
    assert_eq!(
        found.text,
        "Garden\n\nSoil\n\nLoam holds water well.\n\n- Spade\n- Rake\n\n| Plant | Month |\n| --- | --- |\n| Peas | April |"
    );
    assert_eq!(above(&found, "Peas"), ["Garden", "Soil"]);
    let found = extracted(EPUB);
    assert_eq!(above(&found, "Gulls"), ["Morning"]);
    assert_eq!(
        (found.title.as_deref(), &found.metadata["author"]),
        (Some("The Lighthouse"), &"B. Keeper".into())
    );
    let found = extracted(RTF);
    assert_eq!(
        found.text,
        "Dear friend\n\nThe café on the corner is open — come by. Price: 5 €.\n\n\
         | Day | Hour |\n| --- | --- |\n| Monday | Nine |\n\nYours, C."
    );
    assert_eq!((above(&found, "Yours"), found.title.as_deref()), (vec!["Dear friend"], Some("A Letter")));
}

#[test]
fn web_pages_without_menus_and_hidden_parts() {
    let found = extracted(HTML);
    for hidden in ["Home", "not text", "hidden words", "invisible words", "Imprint"] {
        assert!(!found.text.contains(hidden), "{hidden}");
    }
    assert!(
        found.text.starts_with("Tide tables\n\nHigh water at Brest is at six o'clock."),
        "{}",
        found.text
    );
    assert!(found.text.contains("- First the day\n  - then the hour\n- Last the height"), "{}", found.text);
    let markdown = "High water at **Brest** is at [six o'clock](https://example.com/six).";
    assert!(found.markdown.contains(markdown), "{}", found.markdown);
    assert!(
        found.markdown.contains("```sh\ntide --port brest\n```\n\n> Time and tide"),
        "{}",
        found.markdown
    );
    assert_eq!(above(&found, "Last"), ["Tide tables", "How to read them"]);
    assert_eq!(found.metadata["author"], "D. Web");
}

#[test]
fn pages_of_two_columns_are_read_column_by_column() {
    let found = extracted(COLUMNS);
    let places: Vec<usize> = ["A title across", "Left1", "Left5", "Right1", "Right5"]
        .iter()
        .map(|text| found.text.find(text).unwrap_or_else(|| panic!("{text} in {}", found.text)))
        .collect();
    assert!(places.is_sorted(), "{places:?}");
    // Lines of a paragraph are joined.
    assert!(found.text.contains("so that each gale of autumn drives the swell against its older mole."));
    assert_eq!(above(&found, "Right5"), ["A title across both columns"]);
}

#[test]
fn pages_headings_and_tables_of_a_pdf() {
    let found = extracted(TABLE);
    let table = "| Port | High water | Low water | Time |\n| --- | --- | --- | --- |\n| Brest | 6.9 m | 1.1 m | 06:12 |\n\
                 | Hamburg | 3.8 m | 0.2 m | 09:40 |\n| Dover | 6.2 m | 0.8 m | 11:05 |";
    assert_eq!((found.tables[0].markdown.as_str(), found.tables[0].page), (table, Some(1)));
    assert_eq!(above(&found, "In summer"), ["Heights of the tide", "Source"]);
    assert!(page(&found, 2).starts_with("Second page\n\nEvery spring"), "{}", page(&found, 2));
    assert_eq!(found.page_at(0), Some(1));
    assert_eq!(found.page_at(found.text.chars().count() - 1), Some(2));
    assert_eq!((&found.metadata["author"], &found.metadata["page_count"]), (&"T. Able".into(), &2.into()));
}

#[test]
fn scanned_pages_are_listed_and_take_the_texts_of_ocr() {
    let found = extracted(SCAN);
    assert_eq!(
        (found.image_pages.as_slice(), page(&found, 2).as_str()),
        (&[1][..], "A page with real text.")
    );
    let page_texts = [(1, "The scanned page says hello\n".to_owned())].into();
    let hints = Hints { page_texts, ..Hints::default() };
    let read = extract(SCAN, &hints, &Limits::default()).unwrap();
    check_offsets(&read);
    assert_eq!(read.text, "The scanned page says hello\n\nA page with real text.");
    assert_eq!((page(&read, 1).as_str(), read.page_at(30)), ("The scanned page says hello", Some(2)));
    assert!(read.image_pages.is_empty() && read.metadata["ocr_pages"] == serde_json::json!([1]));
    let nothing = extract(FAX, &Hints::default(), &Limits::default()).unwrap();
    assert_eq!((nothing.text.as_str(), nothing.image_pages.as_slice()), ("", &[1][..]));
}

#[test]
fn images_of_scanned_pages() {
    for (file, name) in [(SCAN, "grey"), (FAX, "black and white")] {
        let image = page_image(file, 1, &Limits::default()).unwrap();
        let image = image::load_from_memory(&image).unwrap().into_luma8();
        let (width, height) = image.dimensions();
        assert!(width >= 1000 && height >= 1400, "{name}: {width} × {height}");
        let share = |top: f64, bottom: f64| {
            let rows = (f64::from(height) * top) as u32..(f64::from(height) * bottom) as u32;
            let dark = rows.clone().flat_map(|y| (0..width).map(move |x| (x, y)));
            let dark = dark.filter(|(x, y)| image.get_pixel(*x, *y).0[0] < 128).count();
            dark as f64 / f64::from(width * rows.len() as u32)
        };
        // The text is in the upper quarter, upright and dark on white.
        assert!((0.01..0.3).contains(&share(0.08, 0.22)) && share(0.25, 1.0) < 0.001, "{name}");
    }
    assert!(page_image(FAX, 2, &Limits::default()).is_err());
}

#[test]
fn markdown_stays_markdown() {
    let source = "---\ntitle: Field notes\ntags: \"a, b\"\n---\n# Field notes\n\nSome text.\n\n## Birds ##\n\n```\n# not a heading\n```\n\nOwls — and more.\n\nUnderlined\n==========\n\nEnd.\n";
    let found = named(source.as_bytes(), Some("notes.md"));
    assert_eq!(found.text, found.markdown);
    assert!(found.text.starts_with("# Field notes\n\nSome text."), "{}", found.text);
    assert_eq!(
        (above(&found, "Owls"), above(&found, "End.")),
        (vec!["Field notes", "Birds"], vec!["Underlined"])
    );
    assert_eq!((found.headings.len(), &found.metadata["tags"]), (3, &"a, b".into()));
    assert_eq!(found.title.as_deref(), Some("Field notes"));
}

#[test]
fn messages_with_attachments() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let message = format!(
        "From: Eve <eve@example.com>\r\nTo: bob@example.com\r\nSubject: =?utf-8?q?Meeting_=E2=80=94_minutes?=\r\n\
         Date: Fri, 01 Mar 2024 09:00:00 +0100\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n\
         --x\r\nContent-Type: text/plain\r\n\r\nDear Bob, the minutes are attached.\r\n\
         --x\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=\"tides.docx\"\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}\r\n\
         --x\r\nContent-Type: image/png\r\nContent-Disposition: attachment; filename=\"logo.png\"\r\n\r\nx\r\n--x--\r\n",
        STANDARD.encode(DOCX)
    );
    let found = extracted(message.as_bytes());
    assert!(
        found.text.starts_with("Meeting — minutes\n\nDear Bob, the minutes are attached.\n\ntides.docx\n\n")
    );
    assert_eq!(above(&found, "Hamburg"), ["Meeting — minutes", "tides.docx", "Harbours", "Heights"]);
    assert_eq!(found.metadata["attachments"], serde_json::json!(["tides.docx", "logo.png"]));
    assert_eq!(found.metadata["author"], "Eve <eve@example.com>");
    assert_eq!(found.metadata["created"], "2024-03-01T09:00:00+01:00");
    // The attachment is cut off, so that its base64 cannot be decoded.
    let found = extracted(&message.as_bytes()[..message.len() / 2]);
    assert_eq!(found.text, "Meeting — minutes\n\nDear Bob, the minutes are attached.");
    assert_eq!(found.metadata["attachments"], serde_json::json!(["tides.docx"]));
}

#[test]
fn texts_in_any_encoding() {
    let text = "Der Bär läuft über die Brücke und grüßt die Mädchen. Schöne Grüße aus München.";
    let utf16 = |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
    let latin: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    let marked = |mark: &[u8], bytes: Vec<u8>| [mark, &bytes].concat();
    for bytes in [
        text.as_bytes().to_vec(),
        marked(b"\xef\xbb\xbf", text.into()),
        marked(b"\xff\xfe", utf16(u16::to_le_bytes)),
        marked(b"\xfe\xff", utf16(u16::to_be_bytes)),
        utf16(u16::to_le_bytes),
        latin,
    ] {
        let found = extracted(&bytes);
        assert_eq!((found.text.as_str(), found.language.as_deref()), (text, Some("de")));
    }
    // A single wrong byte does not make all of it another encoding.
    let damaged = [text.repeat(10).as_bytes(), b"\xff end"].concat();
    assert!(extracted(&damaged).text.ends_with("München.\u{fffd} end"));
    assert_eq!(extracted(b"one\r\ntwo\rthree").text, "one\ntwo\nthree");
}

#[test]
fn source_code_and_json_are_text() {
    let found = named(b"# a comment\ndef greet():\n    return 1\n", Some("src/greet.PY"));
    assert_eq!(found.markdown, "```python\n# a comment\ndef greet():\n    return 1\n```");
    assert_eq!(found.metadata["programming_language"], "python");
    assert!(found.headings.is_empty() && found.text.starts_with("# a comment"));
    let found = extracted(b"{\"port\": \"Brest\"}");
    assert_eq!((found.text.as_str(), &found.metadata["format"]), ("{\"port\": \"Brest\"}", &"json".into()));
}

#[test]
fn the_content_counts_before_the_name() {
    for (bytes, name, format) in [
        (DOCX, "tides.pdf", "docx"),
        (TABLE, "table.txt", "pdf"),
        (HTML, "page", "html"),
        (RTF, "letter.doc", "rtf"),
        (b"# Title\n\nText", "", "markdown"),
        (b"# Title\n\nText", "a.txt", "text"),
        (b"Only: a line\nwith a colon.", "", "text"),
    ] {
        assert_eq!(named(bytes, Some(name)).metadata["format"], format, "{name}");
    }
}
