//! `--output oci:DIR|docker:FILE`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::workspace::Workspace;
use crate::build::{Built, Finished, Layers, document};
use crate::image::{ExportImage, export_docker_archive, export_oci_layout};
use crate::oci::Descriptor;
use crate::plan::Plan;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// An OCI image layout; images are added to one that is there.
    OciLayout(PathBuf),
    /// What `docker load` and `podman load` read.
    DockerArchive(PathBuf),
}

impl Destination {
    pub fn parse(text: &str, cwd: &Path) -> Result<Self, Failure> {
        match text.split_once(':') {
            Some(("oci", path)) if !path.is_empty() => Ok(Self::OciLayout(cwd.join(path))),
            Some(("docker", path)) if !path.is_empty() => Ok(Self::DockerArchive(cwd.join(path))),
            _ if text.starts_with("type=registry") || text.starts_with("type=image") => {
                Err(Failure::usage(format!("--output {text}: --push pushes")))
            }
            _ => Err(Failure::usage(format!("--output {text:?}: expected oci:DIR or docker:FILE"))),
        }
    }
}

/// Writes all images of a run, whose blobs are in the store, to one destination.
pub fn export(
    layers: &Layers,
    destination: &Destination,
    workspace: &Workspace,
    plan: &Plan,
    finished: &BTreeMap<usize, Finished>,
) -> Result<(), String> {
    let mut images = Vec::new();
    for loaded in &workspace.services {
        let own: Vec<(usize, &Finished)> =
            finished.iter().filter(|(index, _)| plan.images[**index].service == loaded.service.name).map(|(i, f)| (*i, f)).collect();
        if own.is_empty() {
            continue;
        }
        let mut blobs: Vec<Descriptor> = Vec::new();
        let mut built = Vec::new();
        for &(index, finished) in &own {
            let image = &plan.images[index];
            blobs.extend(finished.record.blobs().cloned());
            if own.len() > 1 {
                blobs.push(finished.record.manifest.clone());
            }
            built.push(Built { platform: &image.platform, record: &finished.record });
        }
        let (descriptor, document) = document(layers, &built).map_err(|error| error.to_string())?;
        let names = loaded.tags.iter().map(|tag| loaded.service.image.with_tag(tag)).collect();
        images.push(ExportImage { names, document, descriptor, blobs });
    }
    let open = |digest: &crate::oci::Digest| layers.store.open_blob(digest).map_err(std::io::Error::other);
    let failed = |error: crate::image::Error| match error {
        // The store says it and removes the blob, so that the next run makes it again.
        crate::image::Error::BlobDamaged { digest, .. } => {
            layers.store.verify_blob(&digest).map_or_else(|damaged| damaged.to_string(), |()| error.to_string())
        }
        error => error.to_string(),
    };
    match destination {
        Destination::OciLayout(dir) => export_oci_layout(dir, &images, &open).map_err(failed),
        Destination::DockerArchive(path) => {
            let mut failure = None;
            let written = write_whole(path, |file| {
                let mut out = BufWriter::new(file);
                match export_docker_archive(&mut out, &images, &open) {
                    // Of what is written, and not of a layer.
                    Err(crate::image::Error::Write(error)) => Err(error),
                    Err(error) => Err(std::io::Error::other(failure.insert(failed(error)).clone())),
                    Ok(()) => out.flush(),
                }
            });
            written.map_err(|error| failure.unwrap_or_else(|| format!("cannot write {}: {error}", path.display())))
        }
    }
}

/// Writes a file so that it is there whole or not at all. What is there and is no regular file (a pipe, `/dev/stdout`, a link to one)
/// is written to as it is.
pub fn write_whole(path: &Path, write: impl FnOnce(&mut File) -> std::io::Result<()>) -> std::io::Result<()> {
    if std::fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return write(&mut File::options().write(true).open(path)?);
    }
    let (target, part) = target_and_part(path);
    let written = File::create(&part).and_then(|mut file| write(&mut file)).and_then(|()| std::fs::rename(&part, &target));
    written.inspect_err(|_| drop(std::fs::remove_file(&part)))
}

/// Makes sure, while there is nothing to lose yet, that [`write_whole`] can write a file. What is there stays.
///
/// # Errors
/// What will not let it be written, with its path.
pub fn check_writable(path: &Path) -> Result<(), String> {
    if std::fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return Ok(());
    }
    let (_, part) = target_and_part(path);
    let tried = File::create(&part).and_then(|_| std::fs::remove_file(&part));
    tried.map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// The file behind all links, and where it is written first.
fn target_and_part(path: &Path) -> (PathBuf, PathBuf) {
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut part = target.clone().into_os_string();
    part.push(".brik-part");
    (target, PathBuf::from(part))
}
