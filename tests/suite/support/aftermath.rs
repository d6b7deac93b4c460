//! What runs leave: processes, the files of a store, the images of a registry.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::server::digest;
use super::{Project, Registry};

/// Waits until no process has `mark` in its environment or command line.
#[track_caller]
pub fn no_process_is_left(mark: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let left = processes(mark);
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "still running: {left:#?}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn processes(mark: &str) -> Vec<String> {
    let own = std::process::id().to_string();
    let marked = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok().filter(|name| *name != own && name.bytes().all(|b| b.is_ascii_digit()))?;
        let read = |file: &str| String::from_utf8_lossy(&fs::read(entry.path().join(file)).unwrap_or_default()).into_owned();
        let command = read("cmdline");
        (command.contains(mark) || read("environ").contains(mark)).then(|| format!("{name} {}", command.replace('\0', " ")))
    };
    fs::read_dir("/proc").expect("/proc").flatten().filter_map(marked).collect()
}

/// All processes below this one, which is the first.
pub fn process_tree(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    let children: Vec<u32> =
        children.flat_map(|text| text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect();
    [pid].into_iter().chain(children.into_iter().flat_map(process_tree)).collect()
}

#[track_caller]
pub fn no_mount_is_left(project: &Project) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("/proc");
    assert!(!mounts.contains(&project.path("").display().to_string()), "{mounts}");
    let root = project.beside("").display().to_string();
    assert!(!mounts.contains(&root), "{mounts}");
}

/// What a store holds, by the names that its contents have: `blobs/sha256/…` and so on. Of caches of stats and of locks of flights nobody
/// cares which there are.
pub fn listing(store: &Path) -> BTreeSet<String> {
    ["blobs/*", "records/*", "snapshots/*", "mounts/*", "tmp"].iter().flat_map(|place| listed(store, place)).collect()
}

fn listed(store: &Path, place: &str) -> Vec<String> {
    let names = |directory: &str| {
        let names = fs::read_dir(store.join(directory)).into_iter().flatten().flatten();
        names.map(|entry| format!("{directory}/{}", entry.file_name().to_string_lossy())).collect::<Vec<_>>()
    };
    match place.strip_suffix("/*") {
        Some(parent) => names(parent).iter().flat_map(|directory| names(directory)).collect(),
        None => names(place),
    }
}

/// How many tags there are below `namespace`, each of which names an image that is whole: manifests, configs and layers of the size and the
/// digest that they have to have, in the same repository, and layers that unpack to what the config says.
#[track_caller]
pub fn whole_images(registry: &Registry, namespace: &str) -> usize {
    let root = registry.data().join("docker/registry/v2");
    let mut tags = 0;
    let mut directories = vec![root.join("repositories").join(namespace)];
    while let Some(directory) = directories.pop() {
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten().map(|entry| entry.path());
        directories
            .extend(entries.filter(|path| path.is_dir() && !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('_'))));
        for tag in fs::read_dir(directory.join("_manifests/tags")).into_iter().flatten().flatten() {
            // The registry itself writes the tag's directory before the link, and makes the link before it writes what it says.
            let Ok(manifest) = fs::read_to_string(tag.path().join("current/link")) else { continue };
            if manifest.is_empty() {
                continue;
            }
            is_whole(&root, &directory, &manifest);
            tags += 1;
        }
    }
    tags
}

#[track_caller]
fn is_whole(root: &Path, repository: &Path, manifest: &str) {
    let named = |digest: &str| digest.replace(':', "/");
    assert!(repository.join("_manifests/revisions").join(named(manifest)).join("link").is_file(), "{manifest} in {repository:?}");
    let document: Value = serde_json::from_slice(&content(root, manifest)).expect("a manifest");
    for manifest in document["manifests"].as_array().into_iter().flatten() {
        is_whole(root, repository, manifest["digest"].as_str().expect("a digest"));
    }
    let layers = document["layers"].as_array().into_iter().flatten();
    for blob in layers.chain(document.get("config")) {
        let name = blob["digest"].as_str().expect("a digest");
        assert!(repository.join("_layers").join(named(name)).join("link").is_file(), "{manifest} names {name}, {repository:?} has not");
        assert_eq!(content(root, name).len() as u64, blob["size"], "{name} of {manifest}");
    }
    let Some(config) = document["config"]["digest"].as_str() else { return };
    let config: Value = serde_json::from_slice(&content(root, config)).expect("a config");
    let layers = document["layers"].as_array().expect("layers");
    for (layer, diff_id) in layers.iter().zip(config["rootfs"]["diff_ids"].as_array().into_iter().flatten()) {
        let blob = content(root, layer["digest"].as_str().expect("a digest"));
        let mut tar = Vec::new();
        let read = match layer["mediaType"].as_str().expect("a media type") {
            kind if kind.ends_with("gzip") => flate2::read::MultiGzDecoder::new(&blob[..]).read_to_end(&mut tar),
            kind if kind.ends_with("zstd") => zstd::Decoder::new(&blob[..]).and_then(|mut layer| layer.read_to_end(&mut tar)),
            _ => (&blob[..]).read_to_end(&mut tar),
        };
        read.expect("a whole stream");
        assert_eq!(digest(&tar), *diff_id, "{layer} of {manifest}");
    }
}

#[track_caller]
fn content(root: &Path, name: &str) -> Vec<u8> {
    let (algorithm, hex) = name.split_once(':').expect("a digest");
    let bytes = fs::read(root.join("blobs").join(algorithm).join(&hex[..2]).join(hex).join("data"))
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(digest(&bytes), name);
    bytes
}

/// Makes a registry forget all repositories below `namespace`.
pub fn forget(registry: &Registry, namespace: &str) {
    let directory = registry.data().join("docker/registry/v2/repositories").join(namespace);
    // One who was killed may still have a request on its way.
    while directory.exists() {
        let _ = fs::remove_dir_all(&directory);
    }
}
