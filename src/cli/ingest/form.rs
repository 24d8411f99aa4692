//! Form for `/rag/upload` with a file, and the id of the file's document.

use std::path::Path;

use serde_json::json;

use crate::{
    cli::running_server::FormBody,
    error::{Error, Kind, Result},
    http_client::HeaderValue,
    vectors::{CollectionName, DocumentId, content_hash},
};

/// Returns the form, with the path as metadata.
pub(super) fn form(collection: &CollectionName, path: &Path, file: &[u8]) -> Result<FormBody> {
    let boundary = format!("simpleton-{:032x}", rand::random::<u128>());
    let mut bytes = Vec::with_capacity(file.len() + 2048);
    let id = document_id(collection, path);
    let metadata = json!({ "path": path.to_string_lossy() }).to_string();
    for (name, value) in [
        ("collection", collection.as_str()),
        ("document_id", id.as_str()),
        ("metadata", &metadata),
        ("stream", "true"),
    ] {
        let field =
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        bytes.extend_from_slice(field.as_bytes());
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // As browsers escape it (WHATWG HTML, "multipart form data").
    let name = name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A");
    let head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    bytes.extend_from_slice(head.as_bytes());
    bytes.extend_from_slice(file);
    bytes.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    let content_type = HeaderValue::from_str(&format!("multipart/form-data; boundary={boundary}"));
    let content_type = content_type
        .map_err(|source| Error::new(Kind::Internal, "The form could not be written.").with_source(source))?;
    Ok(FormBody { content_type, bytes })
}

/// Returns the id of a file's document, the same for every version of the file. It begins with the collection, because
/// the same file can be in several, and an id can only be in one. A path that cannot be part of an id, because it is
/// too long or has control characters, is replaced by its hash.
pub(super) fn document_id(collection: &CollectionName, path: &Path) -> DocumentId {
    let readable = path.to_str().and_then(|path| DocumentId::new(format!("{collection}:{path}")).ok());
    readable.unwrap_or_else(|| {
        let hash = content_hash(&format!("{path:?}"));
        DocumentId::new(format!("{collection}:{hash}")).expect("a name and a hash are short enough for an id")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_collection_and_the_path() {
        let collection = CollectionName::new("docs").expect("a name");
        let id = |path: &str| document_id(&collection, Path::new(path)).as_str().to_owned();
        assert_eq!(id("/home/ada/a b.md"), "docs:/home/ada/a b.md");
        for path in [&"/long".repeat(100), "/with\na line"] {
            assert_eq!(id(path).len(), "docs:".len() + 64);
            assert_eq!(id(path), id(path));
            assert_ne!(id(path), id(&format!("{path}x")));
        }
    }
}
