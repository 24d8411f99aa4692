//! ZIP archives, unpacked within a limit that counts what really comes out.

use std::{
    collections::HashMap,
    io::{Cursor, Read},
};

use zip::ZipArchive;

use super::{Limits, Refusal, decode::decode};

/// Documents with thousands of images have several entries for each.
const MAX_ENTRIES: usize = 50_000;

pub(super) struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    limits: Limits,
    unpacked: u64,
}

impl<'a> Archive<'a> {
    pub(super) fn open(bytes: &'a [u8], limits: &Limits) -> Result<Self, Refusal> {
        let zip = ZipArchive::new(Cursor::new(bytes)).map_err(|_| Refusal::damaged("ZIP"))?;
        if zip.len() > MAX_ENTRIES {
            return Err(Refusal::too_much_unpacked(limits));
        }
        Ok(Self { zip, limits: *limits, unpacked: 0 })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.zip.index_for_name(name).is_some()
    }

    /// Bytes of an entry; none when there is no such entry.
    pub(super) fn bytes(&mut self, name: &str) -> Result<Option<Vec<u8>>, Refusal> {
        let Some(index) = self.zip.index_for_name(name) else { return Ok(None) };
        let left = self.limits.max_unpacked - self.unpacked;
        let entry = self.zip.by_index(index).map_err(|error| match error {
            zip::result::ZipError::UnsupportedArchive(zip::result::ZipError::PASSWORD_REQUIRED) => {
                Refusal::encrypted()
            }
            _ => Refusal::damaged("ZIP"),
        })?;
        if entry.size() > left {
            return Err(Refusal::too_much_unpacked(&self.limits));
        }
        let mut bytes = Vec::new();
        // What an entry declares may be less than what comes out.
        entry.take(left + 1).read_to_end(&mut bytes).map_err(|_| Refusal::damaged("ZIP"))?;
        if bytes.len() as u64 > left {
            return Err(Refusal::too_much_unpacked(&self.limits));
        }
        self.unpacked += bytes.len() as u64;
        Ok(Some(bytes))
    }

    /// Text of an entry; none when there is no such entry.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        self.bytes(name)?.map(|bytes| decode(&bytes, None).map_err(|_| Refusal::damaged("XML"))).transpose()
    }

    /// Declared size of everything in it, for libraries that unpack by themselves.
    pub(super) fn check_declared(&mut self) -> Result<(), Refusal> {
        let total = self.zip.decompressed_size().unwrap_or(u128::MAX);
        if total > u128::from(self.limits.max_unpacked) {
            return Err(Refusal::too_much_unpacked(&self.limits));
        }
        Ok(())
    }

    /// Targets of a part's relationships (Open Packaging Conventions), by their ids.
    pub(super) fn relationships(&mut self, part: &str) -> Result<HashMap<String, String>, Refusal> {
        let (folder, file) = part.rsplit_once('/').unwrap_or(("", part));
        let Some(text) = self.text(&format!("{folder}/_rels/{file}.rels"))? else {
            return Ok(HashMap::new());
        };
        let mut found = HashMap::new();
        let mut xml = super::xml::Xml::new(&text);
        while let Some(node) = xml.next()? {
            if let super::xml::Node::Start(tag) = node
                && let (Some(id), Some(target)) = (tag.attribute("Id"), tag.attribute("Target"))
            {
                let is_external = tag.attribute("TargetMode").is_some_and(|mode| mode == "External");
                let target = if is_external { target } else { resolve(folder, &target) };
                found.insert(id, target);
            }
        }
        Ok(found)
    }
}

/// Path of an entry that another one in `folder` names.
pub(super) fn resolve(folder: &str, target: &str) -> String {
    let mut parts: Vec<&str> = match target.starts_with('/') {
        true => Vec::new(),
        false => folder.split('/').filter(|part| !part.is_empty()).collect(),
    };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
