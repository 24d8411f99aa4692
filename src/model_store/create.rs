//! A model made from another one, or from uploaded files, with texts of its own.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

use super::{
    DEMO_MODEL, ModelStore, absent,
    blobs::{Staged, lock_for_writing, write_error, write_whole},
    blobs_of, describe,
    digest::Digest,
    gguf::{self, Header},
    import, is_demo,
    manifest::{self, Layer, Manifest},
    refused, upload,
};
use crate::{
    error::{Error, Kind, Result},
    files,
    types::{BaseModel, CreateModel, ModelName, Role},
};

/// Limit in bytes of a model's parameters.
const MAX_TEXT: u64 = 1 << 20;

impl ModelStore {
    /// Makes a model. One that has the name is replaced.
    ///
    /// # Errors
    /// `NotFound` when its base is not installed or a file is not there, `Invalid` for the demo's name and for files that
    /// are no model, `Setup` when the models folder cannot be written to.
    pub fn create(&self, create: &CreateModel) -> Result<()> {
        if is_demo(&create.name) {
            let message = format!("{DEMO_MODEL} is the built-in demo model; choose another name.");
            return Err(Error::new(Kind::Invalid, message));
        }
        let base = match &create.base {
            BaseModel::Model(name) => self.of_model(name)?,
            BaseModel::Files(digests) => self.of_files(digests, &create.name)?,
        };
        let folder = base.folder;
        let _writing = lock_for_writing(folder)?;
        let blobs = blobs_of(folder);
        for (path, digest) in &base.waiting {
            match fs::rename(path, blobs.join(digest.blob_name())) {
                // Another request has made a model of it meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result.map_err(|error| write_error(folder, error))?,
            }
        }
        let mut layers = base.layers;
        self.add_texts(create, folder, &mut layers)?;
        let manifest = made(folder, &create.name, layers)?;
        let parsed = Manifest::parse(&manifest).map_err(|source| {
            Error::new(Kind::Internal, format!("The manifest of {} is not valid.", create.name))
                .with_source(source)
        })?;
        if let Err(error) = self.check(folder, &create.name, &parsed) {
            // Files that no model can use would only take room.
            self.remove_unused(folder, &manifest);
            return Err(error);
        }
        let path = manifest::path(folder, &manifest::installed(folder, &create.name));
        let replaced = manifest::read(&path).unwrap_or_default();
        write_whole(&path, &manifest).map_err(|error| write_error(folder, error))?;
        self.remove_unused(folder, &replaced);
        Ok(())
    }

    fn of_model(&self, name: &ModelName) -> Result<Base<'_>> {
        let folder = self.folder_of(name).ok_or_else(|| absent(name))?;
        let path = manifest::path(folder, &manifest::installed(folder, name));
        let bytes = manifest::read(&path).map_err(|_| absent(name))?;
        let manifest = Manifest::parse(&bytes).map_err(|source| {
            super::damaged(name, "its manifest is not valid").with_source(super::at(&path, &source))
        })?;
        Ok(Base { folder, layers: manifest.layers().cloned().collect(), waiting: Vec::new() })
    }

    /// The weights first, in the order of their parts, and then the projector.
    fn of_files(&self, digests: &[String], name: &ModelName) -> Result<Base<'_>> {
        let digests = digests.iter().map(|digest| upload::parse(digest)).collect::<Result<Vec<_>>>()?;
        let located = |folder: &Path| -> Option<Vec<PathBuf>> {
            digests.iter().map(|digest| upload::located(folder, digest)).collect()
        };
        let found = self.folders().find_map(|folder| Some((folder, located(folder)?)));
        let (folder, paths) = found.ok_or_else(|| {
            let message = "A file is not on the server; upload it with POST /api/blobs/sha256:… before.";
            Error::new(Kind::NotFound, message)
        })?;
        let mut files = Vec::with_capacity(paths.len());
        for (path, digest) in paths.into_iter().zip(digests) {
            let header = gguf::read(&path).map_err(|fault| unfit(&digest, &fault))?;
            files.push(UploadedFile { path, digest, header });
        }
        files.sort_by_key(|file| (file.is_projector(), file.header.number("split.no").unwrap_or(0)));
        let weights: Vec<&Header> =
            files.iter().filter(|file| !file.is_projector()).map(|file| &file.header).collect();
        let first = weights.first().ok_or_else(|| {
            Error::new(Kind::Invalid, format!("The files of {name} have no language or embedding model."))
        })?;
        let digest = &files[0].digest;
        describe::check_parts(&weights)
            .and_then(|()| describe::architecture(first))
            .map_err(|fault| unfit(digest, &fault))?;
        let mut base = Base { folder, layers: Vec::new(), waiting: Vec::new() };
        for file in files {
            let size = fs::metadata(&file.path).map_err(|error| write_error(folder, error))?.len();
            let media_type = if file.is_projector() { manifest::PROJECTOR } else { manifest::MODEL };
            base.layers.push(Layer { media_type: media_type.to_owned(), digest: file.digest.clone(), size });
            if file.path == upload::waiting(&blobs_of(folder), &file.digest) {
                base.waiting.push((file.path, file.digest));
            }
        }
        Ok(base)
    }

    /// Replaces the texts of the base by those that are given.
    fn add_texts(&self, create: &CreateModel, folder: &Path, layers: &mut Vec<Layer>) -> Result<()> {
        let mut texts: Vec<(&str, Vec<u8>)> = Vec::new();
        let own = [(manifest::SYSTEM, &create.system), (manifest::LICENSE, &create.license)];
        texts.extend(own.into_iter().filter_map(|(kind, text)| Some((kind, text.clone()?.into_bytes()))));
        if !create.parameters.is_empty() {
            let mut all = parameters(folder, layers, &create.name)?;
            all.extend(create.parameters.clone());
            texts.push((manifest::PARAMETERS, Value::Object(all).to_string().into_bytes()));
        }
        if !create.messages.is_empty() {
            let turn = |(role, content): &(Role, String)| json!({"role": role.as_str(), "content": content});
            let turns = Value::Array(create.messages.iter().map(turn).collect());
            texts.push((manifest::MESSAGES, turns.to_string().into_bytes()));
        }
        let blobs = blobs_of(folder);
        for (media_type, text) in texts {
            layers.retain(|layer| layer.media_type != media_type);
            let staged = Staged::copy(&blobs, &mut text.as_slice())?;
            let (digest, size) = (staged.digest.clone(), staged.size);
            layers.push(Layer { media_type: media_type.to_owned(), digest, size });
            staged.publish(&blobs)?;
        }
        Ok(())
    }
}

/// Files of the model that is being made.
struct Base<'a> {
    folder: &'a Path,
    layers: Vec<Layer>,
    /// Uploaded files, which still have to get the names of blobs.
    waiting: Vec<(PathBuf, Digest)>,
}

struct UploadedFile {
    path: PathBuf,
    digest: Digest,
    header: Header,
}

impl UploadedFile {
    fn is_projector(&self) -> bool {
        self.header.text("general.architecture") == Some("clip")
    }
}

/// The parameters among the layers.
fn parameters(folder: &Path, layers: &[Layer], name: &ModelName) -> Result<Map<String, Value>> {
    let Some(layer) = layers.iter().rfind(|layer| layer.media_type == manifest::PARAMETERS) else {
        return Ok(Map::new());
    };
    let path = blobs_of(folder).join(layer.digest.blob_name());
    let bytes = files::read(&path, MAX_TEXT).map_err(|error| write_error(folder, error))?;
    serde_json::from_slice(&bytes)
        .map_err(|source| super::damaged(name, "its parameters are not valid").with_source(source))
}

/// Makes the manifest, with its config.
fn made(folder: &Path, name: &ModelName, layers: Vec<Layer>) -> Result<Vec<u8>> {
    let blobs = blobs_of(folder);
    let weights = layers.iter().find(|layer| layer.media_type == manifest::MODEL);
    let weights = weights.ok_or_else(|| super::cannot_run(name, "it has no GGUF file"))?;
    let path = blobs.join(weights.digest.blob_name());
    let header = gguf::read(&path).map_err(|fault| refused(name, &path, &fault))?;
    let config = import::config(&header, &layers);
    Staged::copy(&blobs, &mut config.as_slice())?.publish(&blobs)?;
    Ok(import::manifest(&config, layers))
}

/// Why an uploaded file is refused.
fn unfit(digest: &Digest, fault: &gguf::Fault) -> Error {
    Error::new(Kind::Invalid, format!("The file {digest} cannot be used: {fault}."))
}
