//! Formats of documents, recognised by their content, and where that leaves several, by their name.

use super::{
    Limits, Refusal,
    archive::Archive,
    decode::{decode, named},
    plain,
};

/// A recognised format, with what reading it has already made of the bytes.
pub(super) enum Format<'a> {
    Pdf,
    Docx(Archive<'a>),
    Pptx(Archive<'a>),
    Xlsx(Archive<'a>),
    /// With its kind: `odt`, `ods` or `odp`.
    OpenDocument(Archive<'a>, &'static str),
    Epub(Archive<'a>),
    Rtf,
    Email,
    Html(String),
    Markdown(String),
    Csv(String),
    Json(String),
    /// Source code, with its language.
    Source(String, &'static str),
    Text(String),
}

/// Bytes in which a PDF's header may stand (as in Acrobat).
const PDF_HEADER_WITHIN: usize = 1024;

impl<'a> Format<'a> {
    pub(super) fn of(bytes: &'a [u8], name: Option<&str>, limits: &Limits) -> Result<Self, Refusal> {
        let head = &bytes[..bytes.len().min(PDF_HEADER_WITHIN)];
        if memchr::memmem::find(head, b"%PDF-").is_some() {
            return Ok(Self::Pdf);
        }
        if bytes.starts_with(b"PK\x03\x04") {
            return Self::of_archive(Archive::open(bytes, limits)?);
        }
        if bytes.starts_with(b"{\\rtf") {
            return Ok(Self::Rtf);
        }
        if bytes.starts_with(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") {
            return Err(compound(bytes));
        }
        if is_image(bytes) {
            return Err(Refusal::image());
        }
        let ending = name.and_then(ending);
        if matches!(ending.as_deref(), Some("eml" | "mbox")) || has_email_header(head) {
            return Ok(Self::Email);
        }
        Self::of_text(decode(bytes, html_charset(head))?, ending.as_deref())
    }

    fn of_archive(mut archive: Archive<'a>) -> Result<Self, Refusal> {
        let is_a = |name: &str| archive.has(name);
        if is_a("word/document.xml") {
            return Ok(Self::Docx(archive));
        }
        if is_a("ppt/presentation.xml") {
            return Ok(Self::Pptx(archive));
        }
        if is_a("xl/workbook.xml") {
            return Ok(Self::Xlsx(archive));
        }
        let kind = archive.text("mimetype").ok().flatten().unwrap_or_default();
        let kind = kind.trim();
        if kind == "application/epub+zip" || archive.has("META-INF/container.xml") {
            return Ok(Self::Epub(archive));
        }
        let kinds = [("text", "odt"), ("spreadsheet", "ods"), ("presentation", "odp")];
        let of = kind.strip_prefix("application/vnd.oasis.opendocument.");
        let known =
            kinds.iter().find(|(long, _)| of.is_some_and(|of| of.trim_end_matches("-template") == *long));
        match known {
            Some((_, short)) => Ok(Self::OpenDocument(archive, short)),
            None => Err(Refusal::binary()),
        }
    }

    fn of_text(text: String, ending: Option<&str>) -> Result<Self, Refusal> {
        let start = text.trim_start();
        if is_html(start) {
            return Ok(Self::Html(text));
        }
        if start.starts_with(['{', '[']) && serde_json::from_str::<serde::de::IgnoredAny>(start).is_ok() {
            return Ok(Self::Json(text));
        }
        let of_name = match ending {
            Some("md" | "markdown" | "mdown" | "mkd") => Self::Markdown(text),
            Some("html" | "htm" | "xhtml") => Self::Html(text),
            Some("csv" | "tsv" | "tab") => Self::Csv(text),
            Some("txt" | "text" | "log" | "rst" | "adoc") => Self::Text(text),
            ending => match ending.and_then(plain::language).or_else(|| plain::shebang(&text)) {
                Some(language) => Self::Source(text, language),
                None if looks_like_markdown(&text) => Self::Markdown(text),
                None => Self::Text(text),
            },
        };
        Ok(of_name)
    }

    /// Short name, as in the metadata.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Pdf => "pdf",
            Self::Docx(_) => "docx",
            Self::Pptx(_) => "pptx",
            Self::Xlsx(_) => "xlsx",
            Self::OpenDocument(_, kind) => kind,
            Self::Epub(_) => "epub",
            Self::Rtf => "rtf",
            Self::Email => "eml",
            Self::Html(_) => "html",
            Self::Markdown(_) => "markdown",
            Self::Csv(_) => "csv",
            Self::Json(_) => "json",
            Self::Source(..) => "source",
            Self::Text(_) => "text",
        }
    }
}

/// Whether a file that begins like this may be a document with text.
pub fn may_be_document(head: &[u8]) -> bool {
    let starts: [&[u8]; 3] = [b"PK\x03\x04", b"{\\rtf", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"];
    starts.iter().any(|start| head.starts_with(start))
        || memchr::memmem::find(&head[..head.len().min(PDF_HEADER_WITHIN)], b"%PDF-").is_some()
        || (!is_image(head) && decode(head, html_charset(head)).is_ok())
}

/// Ending of a file's name, in lower case.
fn ending(name: &str) -> Option<String> {
    let file = name.rsplit(['/', '\\']).next()?;
    Some(file.rsplit_once('.')?.1.to_ascii_lowercase())
}

/// Compound files are encrypted documents of today's Office, or its old formats.
fn compound(bytes: &[u8]) -> Refusal {
    let utf16: Vec<u8> = "EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes).collect();
    match memchr::memmem::find(bytes, &utf16) {
        Some(_) => Refusal::encrypted(),
        None => Refusal::old_office(),
    }
}

fn is_image(bytes: &[u8]) -> bool {
    const STARTS: [&[u8]; 6] = [b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*"];
    let is_webp = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP");
    // Two letters may begin a text.
    is_webp || STARTS.iter().any(|start| bytes.starts_with(start) && (start.len() > 2 || bytes.contains(&0)))
}

/// Whether it begins with the header of a message, not only with one line like it.
fn has_email_header(head: &[u8]) -> bool {
    const NAMES: [&str; 9] = [
        "from",
        "to",
        "subject",
        "date",
        "received",
        "message-id",
        "mime-version",
        "return-path",
        "content-type",
    ];
    let Ok(text) =
        std::str::from_utf8(head).or_else(|error| std::str::from_utf8(&head[..error.valid_up_to()]))
    else {
        return false;
    };
    let (mut known, mut names_sender) = (0, false);
    for line in text.lines().take_while(|line| !line.trim().is_empty()) {
        if line.starts_with([' ', '\t']) {
            continue;
        }
        let Some((name, _)) = line.split_once(':') else { return false };
        let name = name.to_ascii_lowercase();
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return false;
        }
        known += usize::from(NAMES.contains(&name.as_str()));
        names_sender |= matches!(name.as_str(), "from" | "received" | "message-id");
    }
    names_sender && known >= 3
}

fn is_html(start: &str) -> bool {
    let mut rest = start;
    // An XML declaration and comments may precede it.
    while let Some(after) = rest.strip_prefix("<?xml").and_then(|rest| rest.split_once("?>")) {
        rest = after.1.trim_start();
    }
    while let Some(after) = rest.strip_prefix("<!--").and_then(|rest| rest.split_once("-->")) {
        rest = after.1.trim_start();
    }
    let head: String = rest.chars().take(15).collect::<String>().to_ascii_lowercase();
    let tags = ["<!doctype html", "<html", "<head", "<body"];
    tags.iter().any(|tag| head.strip_prefix(tag).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric)))
}

/// Encoding that an HTML page declares in its first kilobyte.
fn html_charset(head: &[u8]) -> Option<&'static encoding_rs::Encoding> {
    if !head.trim_ascii_start().starts_with(b"<") {
        return None;
    }
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let declared = text.find("charset=").map(|at| &text[at + 8..]).or_else(|| {
        let at = text.starts_with("<?xml").then(|| text.find("encoding="))??;
        Some(&text[at + 9..])
    })?;
    let label = declared.trim_start_matches(['"', '\'']);
    let end = label.find(|c: char| !c.is_ascii_alphanumeric() && !"-_:.".contains(c)).unwrap_or(label.len());
    named(&label[..end])
}

/// A heading, a list of links, a fence or metadata at its beginning.
fn looks_like_markdown(text: &str) -> bool {
    let is_heading = |line: &str| {
        let marks = line.bytes().take_while(|byte| *byte == b'#').count();
        (1..=6).contains(&marks) && line[marks..].starts_with(' ')
    };
    text.starts_with("---\n")
        || text.lines().take(200).any(|line| is_heading(line) || line.starts_with("```"))
}
