//! Registries with Ollama's models, which speak OCI's distribution protocol.

use std::collections::HashMap;

use super::{
    plan::{Plan, RemoteFile},
    session::Session,
};
use crate::{
    error::{Error, Kind, Result},
    http_client::{HeaderMap, HeaderName, HeaderValue},
    model_store::manifest::{self, Layer, Manifest},
    types::ModelName,
};

const ACCEPT: HeaderName = HeaderName::from_static("accept");

/// Reads the manifest of a model.
pub(super) async fn plan(session: Session, name: &ModelName) -> Result<Plan> {
    let repository = format!("v2/{}/{}", name.namespace, name.name);
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static(manifest::ACCEPTED));
    let url = session.url(&format!("{repository}/manifests/{}", name.tag))?;
    let response = session.get(&url, &headers).await?;
    let host = session.host();
    match response.status() {
        200 => {}
        // Some registries answer the same for a model that does not exist and for a private one.
        401 | 403 | 404 => {
            let message = format!("{host} has no model {name}, or it is private; check its name and tag.");
            return Err(
                Error::new(Kind::NotFound, message).with_source(format!("status {}", response.status()))
            );
        }
        status => {
            let message =
                format!("{host} cannot give the manifest of {name} (status {status}); try again later.");
            return Err(Error::new(Kind::BadGateway, message));
        }
    }
    let bytes = session.read(response).await?;
    let manifest = Manifest::parse(&bytes).map_err(|source| {
        Error::new(Kind::BadGateway, format!("{host} sent something that is not a manifest of {name}."))
            .with_source(source)
    })?;
    check(&manifest, name)?;
    let file = |layer: &Layer| {
        let url = session.url(&format!("{repository}/blobs/{}", layer.digest))?;
        Ok(RemoteFile { layer: layer.clone(), url })
    };
    let files = manifest.blobs().map(file).collect::<Result<_>>()?;
    Ok(Plan { session, files, manifest: Some(bytes.to_vec()) })
}

/// Refuses what is no model, or none for the embedded engine, before gigabytes are downloaded.
fn check(manifest: &Manifest, name: &ModelName) -> Result<()> {
    let foreign = manifest.layers().find(|layer| !layer.media_type.starts_with(manifest::LAYER_PREFIX));
    if let Some(layer) = foreign {
        let message = format!("{name} is not a model: its manifest lists files of other types.");
        return Err(Error::new(Kind::Invalid, message).with_source(layer.media_type.clone()));
    }
    let mut sizes = HashMap::new();
    if manifest.blobs().any(|layer| *sizes.entry(layer.digest.hex()).or_insert(layer.size) != layer.size) {
        let message = format!("The manifest of {name} states two sizes of one file.");
        return Err(Error::new(Kind::BadGateway, message));
    }
    manifest.weights(name).map(drop)
}
