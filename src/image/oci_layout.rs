//! OCI image layouts (OCI image spec, "Image Layout"): a directory of blobs and an index of names.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};

use super::Error;
use crate::oci::{Descriptor, Digest, Hasher, Reference, media_type};

pub(super) const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";
pub(super) const IMAGE_NAME: &str = "io.containerd.image.name";

/// Opens a stored blob.
pub type OpenBlob<'a> = &'a dyn Fn(&Digest) -> io::Result<File>;

/// An image to be written to files.
#[derive(Debug, Clone)]
pub struct ExportImage {
    pub names: Vec<Reference>,
    /// The manifest or index.
    pub document: Vec<u8>,
    pub descriptor: Descriptor,
    /// Everything that the document leads to: manifests of an index, configs, layers.
    pub blobs: Vec<Descriptor>,
}

impl ExportImage {
    /// Entries of an `index.json`: one a name, or a single nameless one.
    pub(super) fn index_entries(&self) -> Result<Vec<Value>, Error> {
        let entry = |name: Option<&Reference>| {
            let mut descriptor = self.descriptor.clone();
            if let Some(name) = name {
                descriptor.annotations.insert(IMAGE_NAME.to_owned(), full_name(name));
                descriptor.annotations.extend(name.tag_or_latest().map(|tag| (REF_NAME.to_owned(), tag.to_owned())));
            }
            Ok(serde_json::to_value(descriptor)?)
        };
        if self.names.is_empty() { Ok(vec![entry(None)?]) } else { self.names.iter().map(|name| entry(Some(name))).collect() }
    }
}

/// `registry/repository:tag`, or with the digest where there is no tag.
pub(super) fn full_name(name: &Reference) -> String {
    match name.tag_or_latest() {
        Some(tag) => name.with_tag(tag).to_string(),
        None => name.to_string(),
    }
}

/// Every blob of `images` once, sorted by digest.
pub(super) fn all_blobs(images: &[ExportImage]) -> BTreeMap<Digest, u64> {
    images.iter().flat_map(|image| &image.blobs).map(|blob| (blob.digest, blob.size)).collect()
}

/// Every manifest or index of `images` once.
pub(super) fn all_documents(images: &[ExportImage]) -> BTreeMap<Digest, &[u8]> {
    images.iter().map(|image| (image.descriptor.digest, image.document.as_slice())).collect()
}

pub(super) fn index_json(manifests: Vec<Value>) -> Value {
    json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": manifests })
}

/// Copies a blob and checks it on the way. What is wrong with the blob is an [`Error`] inside the `io::Error`, see [`unwrap`].
pub(super) fn copy_blob(open: OpenBlob<'_>, digest: Digest, expected: u64, out: &mut impl Write) -> io::Result<()> {
    let failed = |source| io::Error::other(Error::Blob { digest, source });
    let mut file = open(&digest).map_err(failed)?.take(expected.saturating_add(1));
    let (mut hasher, mut size, mut buffer) = (Hasher::new(), 0, vec![0; 256 << 10]);
    loop {
        let n = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(failed(source)),
        };
        hasher.update(&buffer[..n]);
        size += n as u64;
        out.write_all(&buffer[..n])?;
    }
    let actual = hasher.finish();
    if (actual, size) == (digest, expected) { Ok(()) } else { Err(io::Error::other(Error::BlobDamaged { digest, actual, size })) }
}

/// The [`Error`] that [`copy_blob`] put into an error, or `otherwise` of the output's own.
pub(super) fn unwrap(error: io::Error, otherwise: impl FnOnce(io::Error) -> Error) -> Error {
    error.downcast::<Error>().unwrap_or_else(otherwise)
}

/// Writes images to the OCI layout at `dir`, which is created where it is missing. Images there stay, but for those of the same names;
/// blobs there are not written again. Readers never see half a file; several writers wait for one another.
pub fn export_oci_layout(dir: &Path, images: &[ExportImage], open: OpenBlob<'_>) -> Result<(), Error> {
    let failed = |path: &Path| {
        let path = path.to_string_lossy().into_owned();
        move |source| Error::Export { path, source }
    };
    let blobs = dir.join("blobs/sha256");
    fs::create_dir_all(&blobs).map_err(failed(&blobs))?;
    let lock = File::open(dir).map_err(failed(dir))?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|error| failed(dir)(error.into()))?;

    for (digest, size) in all_blobs(images) {
        let path = blobs.join(digest.hex());
        if path.metadata().is_ok_and(|there| there.len() == size) {
            continue;
        }
        replace(&path, |out| copy_blob(open, digest, size, out)).map_err(|error| unwrap(error, failed(&path)))?;
    }
    for (digest, document) in all_documents(images) {
        let path = blobs.join(digest.hex());
        replace(&path, |out| out.write_all(document)).map_err(failed(&path))?;
    }
    let layout = dir.join("oci-layout");
    replace(&layout, |out| out.write_all(LAYOUT.as_bytes())).map_err(failed(&layout))?;

    let path = dir.join("index.json");
    let mut index = match fs::read(&path) {
        Ok(bytes) => read_index(&bytes).map_err(|source| Error::Index { path: path.to_string_lossy().into_owned(), source })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => index_json(Vec::new()),
        Err(error) => return Err(failed(&path)(error)),
    };
    for image in images {
        add_entries(&mut index, image.index_entries()?);
    }
    let bytes = serde_json::to_vec(&index)?;
    replace(&path, |out| out.write_all(&bytes)).map_err(failed(&path))
}

/// Reads an index as it is: what brik does not know of it is kept.
fn read_index(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice::<crate::oci::Index>(bytes)?;
    serde_json::from_slice(bytes)
}

/// Adds entries in place of those of the same name, or of the same content where they have none.
fn add_entries(index: &mut Value, entries: Vec<Value>) {
    fn identity(entry: &Value) -> (Option<&Value>, Option<&Value>) {
        let annotation = |key: &str| entry.get("annotations").and_then(|annotations| annotations.get(key));
        match annotation(IMAGE_NAME) {
            Some(name) => (Some(name), None),
            // Other tools write the tag alone.
            None => (annotation(REF_NAME), entry.get("digest").filter(|_| annotation(REF_NAME).is_none())),
        }
    }
    if let Some(manifests) = index.get_mut("manifests").and_then(Value::as_array_mut) {
        manifests.retain(|old| entries.iter().all(|new| identity(old) != identity(new)));
        manifests.extend(entries);
    }
}

/// Writes a file under another name and renames it into place.
fn replace(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    // The lock on the layout makes one such name a file enough.
    let temporary = path.with_extension("part");
    let result = File::create(&temporary).and_then(|mut file| write(&mut file)).and_then(|()| fs::rename(&temporary, path));
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result
}
