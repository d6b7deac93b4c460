//! A built image as another reader sees it: this one shares no code with brik.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The first image of an OCI layout.
#[must_use]
pub struct Image {
    layout: PathBuf,
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
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    File(Vec<u8>),
    Directory,
    Symlink(String),
    Other,
}

impl Image {
    #[track_caller]
    pub fn read(layout: &Path) -> Self {
        let json = |bytes: Vec<u8>| serde_json::from_slice::<Value>(&bytes).expect("JSON");
        let index = json(fs::read(layout.join("index.json")).expect("an OCI layout has an index.json"));
        let manifest = json(blob(layout, &index["manifests"][0]));
        let config = json(blob(layout, &manifest["config"]));
        let mut files = BTreeMap::new();
        for layer in manifest["layers"].as_array().expect("a manifest has layers") {
            lay_over(&mut files, &entries(blob(layout, layer)));
        }
        Self { layout: layout.to_owned(), manifest, config, files }
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
        entries(blob(&self.layout, &self.manifest["layers"][index])).into_iter().map(|(path, ..)| path).collect()
    }

    pub fn layers(&self) -> usize {
        self.manifest["layers"].as_array().map_or(0, Vec::len)
    }
}

#[track_caller]
fn blob(layout: &Path, descriptor: &Value) -> Vec<u8> {
    let digest = descriptor["digest"].as_str().expect("a descriptor has a digest");
    let bytes = fs::read(layout.join("blobs").join(digest.replace(':', "/"))).expect("a blob of the layout can be read");
    assert_eq!(Some(bytes.len() as u64), descriptor["size"].as_u64(), "size of {digest}");
    bytes
}

type Raw = (String, Entry, Option<String>);

/// Entries of a gzip-compressed archive: path, entry, target of a hard link.
fn entries(layer: Vec<u8>) -> Vec<Raw> {
    let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(&layer[..]));
    let entry = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let mut entry = entry.expect("a readable archive");
        let text = |path: &Path| path.to_string_lossy().trim_end_matches('/').to_owned();
        let path = format!("/{}", text(&entry.path().expect("a path")));
        let target = entry.link_name().expect("a link").map(|target| text(&target));
        let header = entry.header().clone();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("content");
        let kind = match header.entry_type() {
            tar::EntryType::Regular | tar::EntryType::Link => Kind::File(content),
            tar::EntryType::Directory => Kind::Directory,
            tar::EntryType::Symlink => Kind::Symlink(target.clone().unwrap_or_default()),
            _ => Kind::Other,
        };
        let number = |value: std::io::Result<u64>| value.expect("a number");
        let owner = (number(header.uid()), number(header.gid()));
        let mode = header.mode().expect("a mode") & 0o7777;
        let link = (header.entry_type() == tar::EntryType::Link).then(|| format!("/{}", target.unwrap_or_default()));
        (path, Entry { kind, mode, owner, mtime: number(header.mtime()) }, link)
    };
    archive.entries().expect("an archive").map(entry).collect()
}

fn lay_over(files: &mut BTreeMap<String, Entry>, layer: &[Raw]) {
    let below = |path: &str, directory: &str| path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'));
    for (path, ..) in layer {
        let (parent, name) = path.rsplit_once('/').unwrap_or_default();
        match name.strip_prefix(".wh.") {
            Some(".wh..opq") => files.retain(|other, _| !below(other, parent)),
            Some(name) => files.retain(|other, _| *other != format!("{parent}/{name}") && !below(other, &format!("{parent}/{name}"))),
            None => {}
        }
    }
    for (path, entry, link) in layer.iter().filter(|(path, ..)| !path.contains("/.wh.")) {
        if entry.kind != Kind::Directory {
            files.retain(|other, _| !below(other, path));
        }
        let entry = match link {
            Some(target) => Entry { kind: files[target].kind.clone(), ..entry.clone() },
            None => entry.clone(),
        };
        files.insert(path.clone(), entry);
    }
}
