//! A built image as another reader sees it: this one shares no code with brik.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The first image of an OCI layout, or the image in a `dir:` of skopeo and buildah.
#[must_use]
pub struct Image {
    /// Where the blobs lie, named by the hexadecimal part of their digests.
    blobs: PathBuf,
    pub manifest: Value,
    pub config: Value,
    /// All layers laid over each other: absolute path, entry.
    pub files: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub kind: Kind,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    pub owner: (u64, u64),
    /// Seconds since 1970.
    pub mtime: u64,
    /// The same in entries that are hard links of each other, and only there.
    pub inode: usize,
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    File(Vec<u8>),
    Directory,
    Symlink(String),
    Other(tar::EntryType),
}

impl Image {
    #[track_caller]
    pub fn read(layout: &Path) -> Self {
        let index = json(&fs::read(layout.join("index.json")).expect("an OCI layout has an index.json"));
        let blobs = layout.join("blobs/sha256");
        let manifest = json(&blob(&blobs, &index["manifests"][0]));
        Self::of(blobs, manifest)
    }

    /// Of a directory that `skopeo copy … dir:` or `buildah build --tag dir:` wrote.
    #[track_caller]
    pub fn read_dir_transport(directory: &Path) -> Self {
        let manifest = json(&fs::read(directory.join("manifest.json")).expect("there is a manifest.json"));
        Self::of(directory.to_owned(), manifest)
    }

    #[track_caller]
    fn of(blobs: PathBuf, manifest: Value) -> Self {
        let config = json(&blob(&blobs, &manifest["config"]));
        let (mut files, mut inodes) = (BTreeMap::new(), 0);
        for layer in manifest["layers"].as_array().expect("a manifest has layers") {
            lay_over(&mut files, entries(blob(&blobs, layer)), &mut inodes);
        }
        Self { blobs, manifest, config, files }
    }

    /// The content of a regular file, as text.
    #[track_caller]
    pub fn text(&self, path: &str) -> String {
        match self.files.get(path).map(|entry| &entry.kind) {
            Some(Kind::File(content)) => String::from_utf8_lossy(content).into_owned(),
            other => panic!("{path} is no file but {other:?}; there are {:?}", self.paths()),
        }
    }

    #[track_caller]
    pub fn entry(&self, path: &str) -> &Entry {
        self.files.get(path).unwrap_or_else(|| panic!("there is no {path}; there are {:?}", self.paths()))
    }

    pub fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    pub fn paths(&self) -> Vec<&str> {
        self.files.keys().map(String::as_str).collect()
    }

    /// Paths of the entries of one layer, from the bottom, as they stand in its archive.
    #[track_caller]
    pub fn layer(&self, index: usize) -> Vec<String> {
        entries(blob(&self.blobs, &self.manifest["layers"][index])).into_iter().map(|(path, ..)| path).collect()
    }

    pub fn layers(&self) -> usize {
        self.manifest["layers"].as_array().map_or(0, Vec::len)
    }
}

#[track_caller]
fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("JSON")
}

#[track_caller]
fn blob(blobs: &Path, descriptor: &Value) -> Vec<u8> {
    let digest = descriptor["digest"].as_str().expect("a descriptor has a digest");
    let bytes = fs::read(blobs.join(digest.trim_start_matches("sha256:"))).expect("a blob of the image can be read");
    assert_eq!(Some(bytes.len() as u64), descriptor["size"].as_u64(), "size of {digest}");
    bytes
}

type Raw = (String, Entry, Option<String>);

/// Entries of an archive, plain or gzip-compressed: path, entry, target of a hard link.
fn entries(layer: Vec<u8>) -> Vec<Raw> {
    let reader: Box<dyn Read> = match layer.starts_with(&[0x1f, 0x8b]) {
        true => Box::new(flate2::read::MultiGzDecoder::new(&layer[..])),
        false => Box::new(&layer[..]),
    };
    tar::Archive::new(reader).entries().expect("an archive").map(|entry| raw(entry.expect("a readable archive"))).collect()
}

fn raw(mut entry: tar::Entry<'_, Box<dyn Read + '_>>) -> Raw {
    let text = |path: &Path| path.to_string_lossy().trim_matches('/').to_owned();
    let path = format!("/{}", text(&entry.path().expect("a path")));
    let target = entry.link_name_bytes().map(|target| String::from_utf8_lossy(&target).into_owned());
    let header = entry.header().clone();
    let mut xattrs = BTreeMap::new();
    for record in entry.pax_extensions().expect("PAX records").into_iter().flatten().map(Result::unwrap) {
        if let Some(name) = record.key().expect("a PAX key").strip_prefix("SCHILY.xattr.") {
            xattrs.insert(name.to_owned(), record.value_bytes().to_owned());
        }
    }
    let mut content = Vec::new();
    entry.read_to_end(&mut content).expect("content");
    let kind = match header.entry_type() {
        tar::EntryType::Regular | tar::EntryType::Link => Kind::File(content),
        tar::EntryType::Directory => Kind::Directory,
        tar::EntryType::Symlink => Kind::Symlink(target.clone().unwrap_or_default()),
        other => Kind::Other(other),
    };
    let number = |value: std::io::Result<u64>| value.expect("a number");
    let owner = (number(header.uid()), number(header.gid()));
    let mode = header.mode().expect("a mode") & 0o7777;
    let link = target.filter(|_| header.entry_type() == tar::EntryType::Link);
    let link = link.map(|target| format!("/{}", target.trim_start_matches("./").trim_start_matches('/')));
    (path, Entry { kind, mode, owner, mtime: number(header.mtime()), inode: 0, xattrs }, link)
}

/// `inodes` counts those that were given so far.
fn lay_over(files: &mut BTreeMap<String, Entry>, layer: Vec<Raw>, inodes: &mut usize) {
    let below = |path: &str, directory: &str| path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'));
    for (path, ..) in &layer {
        let (parent, name) = path.rsplit_once('/').unwrap_or_default();
        match name.strip_prefix(".wh.") {
            Some(".wh..opq") => files.retain(|other, _| !below(other, parent)),
            Some(name) => files.retain(|other, _| *other != format!("{parent}/{name}") && !below(other, &format!("{parent}/{name}"))),
            None => {}
        }
    }
    for (path, mut entry, link) in layer.into_iter().filter(|(path, ..)| !path.contains("/.wh.")) {
        if entry.kind != Kind::Directory {
            files.retain(|other, _| !below(other, &path));
        }
        match link {
            // A hard link is what it links, whatever its own header says.
            Some(target) => entry = files.get(&target).unwrap_or_else(|| panic!("{path} links {target}, which is not there")).clone(),
            None => {
                *inodes += 1;
                entry.inode = *inodes;
            }
        }
        files.insert(path, entry);
    }
}
