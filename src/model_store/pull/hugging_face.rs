//! Models on Hugging Face: GGUF files in a repository, with the checksums of its large files.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Deserialize;

use super::{
    choice::{self, RepositoryFile},
    plan::{Plan, RemoteFile},
    session::Session,
};
use crate::{
    error::{Error, Kind, Result},
    http_client::{HeaderMap, Url},
    model_store::manifest::{self, Layer},
    types::ModelName,
};

/// Pages of a list of files have 1,000 each.
const MAX_PAGES: usize = 20;

const PATH: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'?').add(b'\\');

#[derive(Deserialize)]
struct TreeEntry {
    #[serde(rename = "type")]
    kind: String,
    #[serde(flatten)]
    file: RepositoryFile,
}

/// Lists a repository's files, and chooses those of the model.
pub(super) async fn plan(session: Session, name: &ModelName) -> Result<Plan> {
    let repository = format!("{}/{}", name.namespace, name.name);
    let files = list(&session, &repository).await?;
    let tag = Some(name.tag.as_str()).filter(|tag| !tag.eq_ignore_ascii_case(ModelName::DEFAULT_TAG));
    let choice = choice::choose(&files, tag).map_err(|labels| nothing(&repository, name, &labels))?;
    let weights = choice.weights.into_iter().map(|file| (manifest::MODEL, file));
    let projector = choice.projector.map(|file| (manifest::PROJECTOR, file));
    let remote = |(media_type, file): (&str, &RepositoryFile)| {
        let digest = file.lfs.as_ref().and_then(|lfs| Some((lfs.digest()?, lfs.size)));
        let (digest, size) = digest.ok_or_else(|| {
            let message = format!("{} does not give the checksum of {}.", session.host(), file.path);
            Error::new(Kind::BadGateway, message)
        })?;
        let path = utf8_percent_encode(&file.path, PATH);
        let url = session.url(&format!("{repository}/resolve/main/{path}"))?;
        Ok(RemoteFile { layer: Layer { media_type: media_type.to_owned(), digest, size }, url })
    };
    let files = weights.chain(projector).map(remote).collect::<Result<_>>()?;
    Ok(Plan { session, files, manifest: None })
}

async fn list(session: &Session, repository: &str) -> Result<Vec<RepositoryFile>> {
    let mut next = Some(session.url(&format!("api/models/{repository}/tree/main?recursive=true"))?);
    let mut files = Vec::new();
    for _ in 0..MAX_PAGES {
        let Some(url) = next else { break };
        let response = session.get(&url, &HeaderMap::new()).await?;
        check_status(session, repository, response.status())?;
        next = response.header("link").and_then(|link| next_page(&url, link));
        next = next.filter(|url| session.is_same_origin(url));
        let body = session.read(response).await?;
        let page: Vec<TreeEntry> = serde_json::from_slice(&body).map_err(|source| {
            let message = format!("{} sent something that is not a list of files.", session.host());
            Error::new(Kind::BadGateway, message).with_source(source)
        })?;
        files.extend(page.into_iter().filter(|entry| entry.kind == "file").map(|entry| entry.file));
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn check_status(session: &Session, repository: &str, status: u16) -> Result<()> {
    let host = session.host();
    let (kind, message) = match status {
        200 => return Ok(()),
        // The same for a repository that does not exist and for a private one.
        401 | 404 => (
            Kind::NotFound,
            format!(
                "{host} has no repository {repository}, or it is private and HF_TOKEN has no access to it."
            ),
        ),
        403 => (
            Kind::Forbidden,
            format!("Access to {repository} is restricted: accept its terms on {host}, and set HF_TOKEN."),
        ),
        status => {
            (Kind::BadGateway, format!("{host} cannot list {repository} (status {status}); try again later."))
        }
    };
    Err(Error::new(kind, message))
}

/// The address of the next page in a `Link` header (RFC 8288).
fn next_page(url: &Url, link: &str) -> Option<Url> {
    let next = link.split(',').find(|link| link.contains("rel=\"next\""))?;
    let (_, rest) = next.split_once('<')?;
    url.join(rest.split_once('>')?.0).ok()
}

fn nothing(repository: &str, name: &ModelName, labels: &[String]) -> Error {
    let message = if labels.is_empty() {
        format!("{repository} has no GGUF file; look for a repository of the model whose name ends in GGUF.")
    } else {
        let tag = &name.tag;
        format!("{repository} has no file for {tag}; it has these: {}.", labels.join(", "))
    };
    Error::new(Kind::NotFound, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found() {
        let url = Url::parse("https://huggingface.co/api/models/a/b/tree/main").expect("a URL");
        let next = |link: &str| next_page(&url, link).map(|url| url.to_string());
        let page = "https://huggingface.co/api/models/a/b/tree/main?cursor=x";
        assert_eq!(next(&format!("<{page}>; rel=\"next\"")).as_deref(), Some(page));
        assert_eq!(next("</x>; rel=\"prev\", <?cursor=x>; rel=\"next\"").as_deref(), Some(page));
        assert_eq!(next("</x>; rel=\"prev\""), None);
    }
}
