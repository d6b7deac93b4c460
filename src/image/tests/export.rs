//! Images to files, and other tools that read them.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::super::*;
use super::{no_toc, options};
use crate::oci::{Descriptor, Digest, ImageConfig, Index, Layer, Platform};

#[test]
fn an_index_is_kept_and_same_names_are_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let image = |content: &[u8], name: &str| ExportImage {
        names: vec![name.parse().unwrap()],
        document: content.to_vec(),
        descriptor: Descriptor::new("application/x", Digest::of(content), content.len() as u64),
        blobs: Vec::new(),
    };
    let none = |_: &Digest| -> io::Result<File> { Err(io::ErrorKind::NotFound.into()) };
    for (content, name) in [(&b"1"[..], "ghcr.io/o/a:v1"), (b"2", "ghcr.io/o/b:v1"), (b"3", "ghcr.io/o/a:v1")] {
        export_oci_layout(dir.path(), &[image(content, name)], &none).unwrap();
    }
    let index: Index = serde_json::from_slice(&fs::read(dir.path().join("index.json")).unwrap()).unwrap();
    let digests: Vec<_> = index.manifests.iter().map(|manifest| manifest.digest).collect();
    assert_eq!(digests, [Digest::of(b"2"), Digest::of(b"3")]);
}

/// A one-layer image and its blobs.
fn image(store: &Path, name: &str) -> ExportImage {
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("hello"), "hello").unwrap();
    let mut writer = LayerWriter::new(Codec::default(), Vec::new());
    write_layer(source.path(), &BorrowedFiles::default(), &options(), &mut writer, &mut no_toc()).unwrap();
    let (bytes, tar) = writer.finish().unwrap();
    let descriptor = Descriptor::new(Codec::default().media_type(), Digest::of(&bytes), bytes.len() as u64);
    let config = ImageConfig::scratch(&Platform::host());
    let image = assemble(&config, &[Layer { diff_id: tar.diff_id, descriptor: descriptor.clone() }], Format::Oci).unwrap();
    fs::write(store.join(descriptor.digest.hex()), bytes).unwrap();
    fs::write(store.join(image.config_descriptor.digest.hex()), &image.config).unwrap();
    ExportImage {
        names: vec![name.parse().unwrap()],
        document: image.manifest,
        descriptor: image.manifest_descriptor,
        blobs: vec![image.config_descriptor, descriptor],
    }
}

fn skopeo(reference: &str) {
    let mut command = std::process::Command::new("skopeo");
    let dir = tempfile::tempdir().unwrap();
    match command.args(["copy", "--insecure-policy", reference]).arg(format!("dir:{}", dir.path().display())).output() {
        Ok(output) => assert!(output.status.success(), "{reference}: {}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => eprintln!("skipped: skopeo cannot be run: {error}"),
    }
}

#[test]
fn skopeo_copies_from_layouts_and_docker_archives() {
    let store = tempfile::tempdir().unwrap();
    let image = image(store.path(), "ghcr.io/org/app:v1");
    let open = |digest: &Digest| File::open(store.path().join(digest.hex()));
    let out = tempfile::tempdir().unwrap();
    export_oci_layout(&out.path().join("layout"), std::slice::from_ref(&image), &open).unwrap();
    let archive = out.path().join("image.tar");
    export_docker_archive(File::create(&archive).unwrap(), std::slice::from_ref(&image), &open).unwrap();
    skopeo(&format!("oci:{}/layout:v1", out.path().display()));
    skopeo(&format!("docker-archive:{}:ghcr.io/org/app:v1", archive.display()));
    skopeo(&format!("oci-archive:{}:v1", archive.display()));
    let mut again = Vec::new();
    export_docker_archive(&mut again, &[image], &open).unwrap();
    assert!(again == fs::read(archive).unwrap());
}

#[test]
fn a_damaged_blob_is_not_exported() {
    let store = tempfile::tempdir().unwrap();
    let image = image(store.path(), "app");
    let layer = image.blobs[1].digest;
    fs::write(store.path().join(layer.hex()), "rubbish").unwrap();
    let open = |digest: &Digest| File::open(store.path().join(digest.hex()));
    let out = tempfile::tempdir().unwrap();
    let result = export_oci_layout(out.path(), std::slice::from_ref(&image), &open);
    assert!(matches!(result, Err(Error::BlobDamaged { digest, .. }) if digest == layer), "{result:?}");
    assert!(!out.path().join("blobs/sha256").join(layer.hex()).exists());
    assert!(matches!(export_docker_archive(io::sink(), &[image], &open), Err(Error::BlobDamaged { .. })));
}
