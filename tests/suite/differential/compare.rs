//! Two images, and every difference that a container would notice.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::support::{Entry, Image, Kind, server};

/// What builders leave behind of what they mount during RUN, which no Dockerfile asked for.
const LEFTOVERS: [&str; 8] = ["/dev", "/proc", "/sys", "/run", "/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/"];

const CONFIG: [&str; 12] = [
    "Cmd",
    "Entrypoint",
    "Env",
    "ExposedPorts",
    "Healthcheck",
    "Labels",
    "OnBuild",
    "Shell",
    "StopSignal",
    "User",
    "Volumes",
    "WorkingDir",
];

/// One line a difference: what it is of, brik's side, buildah's side.
pub fn differences(brik: &Image, buildah: &Image) -> Vec<String> {
    let mut found = Vec::new();
    for key in CONFIG {
        let (ours, theirs) = (setting(brik, key), setting(buildah, key));
        if ours != theirs {
            found.push(format!("{key}: {ours} | {theirs}"));
        }
    }
    let (ours, theirs) = (files(brik), files(buildah));
    // BuildKit leaves the directories of VOLUME to the runtime; buildah makes them.
    let is_mount_point = |path: &str| {
        !ours.contains_key(path) && theirs[path] == "directory 0755 0:0" && !buildah.config["config"]["Volumes"][path].is_null()
    };
    for path in ours.keys().chain(theirs.keys()).collect::<BTreeSet<_>>() {
        let side = |files: &BTreeMap<String, String>| files.get(path).cloned().unwrap_or_else(|| "not there".to_owned());
        if side(&ours) != side(&theirs) && !is_mount_point(path) {
            found.push(format!("{path:?}: {} | {}", side(&ours), side(&theirs)));
        }
    }
    found
}

/// With the many ways to say nothing made one, and without the order of Env.
fn setting(image: &Image, key: &str) -> Value {
    let mut value = image.config["config"][key].clone();
    if key == "Env"
        && let Some(list) = value.as_array_mut()
    {
        list.sort_by_key(Value::to_string);
    }
    let nothing = match &value {
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty() || (key == "WorkingDir" && text == "/"),
        _ => false,
    };
    if nothing { Value::Null } else { value }
}

/// Everything about each path but its times, as text.
fn files(image: &Image) -> BTreeMap<String, String> {
    let mut names: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for (path, entry) in &image.files {
        names.entry(entry.inode).or_default().push(path);
    }
    let judged = image.files.iter().filter(|(path, _)| !LEFTOVERS.contains(&path.as_str()));
    judged.map(|(path, entry)| (path.clone(), describe(entry, &names[&entry.inode]))).collect()
}

/// `names`: all hard links of the entry.
fn describe(entry: &Entry, names: &[&str]) -> String {
    let (uid, gid) = entry.owner;
    let mut text = match &entry.kind {
        Kind::File(content) => {
            let beginning = String::from_utf8_lossy(&content[..content.len().min(60)]);
            format!("file {:04o} {uid}:{gid}, {} bytes {} {beginning:?}", entry.mode, content.len(), server::digest(content))
        }
        // The mode of a symbolic link means nothing.
        Kind::Symlink(target) => format!("link {uid}:{gid} to {target:?}"),
        Kind::Directory => format!("directory {:04o} {uid}:{gid}", entry.mode),
        Kind::Other(kind) => format!("{kind:?} {:04o} {uid}:{gid}", entry.mode),
    };
    if !entry.xattrs.is_empty() {
        text += &format!(", attributes {:?}", entry.xattrs);
    }
    if names.len() > 1 {
        text += &format!(", linked as {names:?}");
    }
    text
}
