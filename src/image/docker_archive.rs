//! Docker archives as `docker save` writes them since version 25: an OCI layout in a tar, and a `manifest.json` beside it, so that
//! `docker load`, `podman load` and skopeo read it alike. Layers stay compressed; all of these readers decompress them.

use std::io::{self, Read, Write};

use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use super::Error;
use super::oci_layout::{ExportImage, LAYOUT, OpenBlob, all_blobs, all_documents, copy_blob, full_name, index_json, unwrap};
use crate::oci::{Descriptor, Digest, Document};

/// Writes images to a docker archive, streaming; the same images give the same bytes. `out` is not flushed.
///
/// # Errors
/// [`Error::NotOnePlatform`] where an image is an index of several platforms. On any error `out` holds a part of an archive.
pub fn export_docker_archive(out: impl Write, images: &[ExportImage], open: OpenBlob<'_>) -> Result<(), Error> {
    let mut entries = Vec::new();
    let mut manifests = Vec::new();
    for image in images {
        manifests.push(manifest_entry(image, open)?);
        entries.extend(image.index_entries()?);
    }
    let mut tar = Builder::new(out);
    directory(&mut tar, "blobs/")?;
    directory(&mut tar, "blobs/sha256/")?;
    let documents = all_documents(images);
    let mut blobs = all_blobs(images);
    blobs.extend(documents.iter().map(|(digest, document)| (*digest, document.len() as u64)));
    for (digest, size) in blobs {
        let path = blob_path(digest);
        match documents.get(&digest) {
            Some(document) => file(&mut tar, &path, document)?,
            None => blob(&mut tar, &path, digest, size, open)?,
        }
    }
    file(&mut tar, "index.json", &serde_json::to_vec(&index_json(entries))?)?;
    file(&mut tar, "manifest.json", &serde_json::to_vec(&manifests)?)?;
    file(&mut tar, "oci-layout", LAYOUT.as_bytes())?;
    tar.into_inner().map(drop).map_err(Error::Write)
}

/// What `manifest.json` says of an image.
fn manifest_entry(image: &ExportImage, open: OpenBlob<'_>) -> Result<Value, Error> {
    let manifest = match Document::parse(&image.document)? {
        Document::Manifest(manifest) => manifest,
        Document::Index(index) => {
            let name = || image.names.first().map_or_else(|| image.descriptor.digest.to_string(), full_name);
            match index.manifests.as_slice() {
                [only] => read_manifest(only, open)?.ok_or_else(|| Error::NotOnePlatform { name: name(), count: 0 })?,
                several => return Err(Error::NotOnePlatform { name: name(), count: several.len() }),
            }
        }
    };
    let tags: Vec<_> = image.names.iter().filter(|name| name.tag_or_latest().is_some()).map(full_name).collect();
    let layers: Vec<_> = manifest.layers.iter().map(|layer| blob_path(layer.digest)).collect();
    Ok(json!({ "Config": blob_path(manifest.config.digest), "RepoTags": tags, "Layers": layers }))
}

fn read_manifest(descriptor: &Descriptor, open: OpenBlob<'_>) -> Result<Option<crate::oci::Manifest>, Error> {
    let mut bytes = Vec::new();
    copy_blob(open, descriptor.digest, descriptor.size, &mut bytes).map_err(|error| unwrap(error, Error::Write))?;
    match Document::parse(&bytes)? {
        Document::Manifest(manifest) => Ok(Some(manifest)),
        Document::Index(_) => Ok(None),
    }
}

fn blob_path(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    // GNU, not ustar: its size field has no limit that a layer could meet.
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn directory(tar: &mut Builder<impl Write>, path: &str) -> Result<(), Error> {
    tar.append_data(&mut header(EntryType::Directory, 0o755, 0), path, io::empty()).map_err(Error::Write)
}

fn file(tar: &mut Builder<impl Write>, path: &str, bytes: &[u8]) -> Result<(), Error> {
    tar.append_data(&mut header(EntryType::Regular, 0o644, bytes.len() as u64), path, bytes).map_err(Error::Write)
}

fn blob(tar: &mut Builder<impl Write>, path: &str, digest: Digest, size: u64, open: OpenBlob<'_>) -> Result<(), Error> {
    let mut entry = header(EntryType::Regular, 0o644, size);
    entry.set_path(path).map_err(Error::Write)?;
    entry.set_cksum();
    let out = tar.get_mut();
    out.write_all(entry.as_bytes()).map_err(Error::Write)?;
    copy_blob(open, digest, size, out).map_err(|error| unwrap(error, Error::Write))?;
    let padding = size.next_multiple_of(512) - size;
    io::copy(&mut io::repeat(0).take(padding), out).map(drop).map_err(Error::Write)
}
