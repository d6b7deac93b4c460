//! What is known of an image, as JSON has it. Every text that an image could have made up is printable by then.

use std::collections::BTreeMap;

use serde::Serialize;

use super::image::Image;
use crate::image::{Listed, ListedKind, Listing};
use crate::oci::{ContainerConfig, Digest, HistoryEntry, Platform};
use crate::report::sanitise;

/// What stdout carries with `--format json`.
#[derive(Serialize)]
pub struct Report {
    #[serde(flatten)]
    pub image: Inspected,
    /// What has changed since the other image, if one was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<super::compare::Comparison>,
}

#[derive(Serialize)]
pub struct Inspected {
    pub name: String,
    /// `OCI layout`, `built here` or `registry`.
    pub place: &'static str,
    /// Of the manifest.
    pub digest: Digest,
    pub index: Option<Digest>,
    pub platform: String,
    /// What the index has images for.
    pub platforms: Vec<String>,
    pub created: Option<String>,
    /// Bytes of all layers, compressed.
    pub size: u64,
    /// Bytes of all layers, unpacked to tars; `null` where they were not read.
    pub unpacked: Option<u64>,
    pub config: Config,
    /// Instructions and layers, the lowest first.
    pub history: Vec<Step>,
}

/// An instruction as far as the history tells, and the layer that it made, if it made one.
#[derive(Serialize)]
pub struct Step {
    pub instruction: Option<String>,
    pub layer: Option<Layer>,
}

#[derive(Serialize)]
pub struct Layer {
    pub digest: Digest,
    pub diff_id: Option<Digest>,
    pub media_type: String,
    /// Bytes of the blob.
    pub size: u64,
    /// Bytes of the tar; `null` where it was not read.
    pub unpacked: Option<u64>,
    /// With `--files`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<File>>,
}

#[derive(Serialize)]
pub struct File {
    /// Absolute.
    pub path: String,
    /// `file`, `directory`, `symlink`, `hardlink`, `device`, `fifo`; `whiteout` and `opaque` remove what is below.
    pub kind: &'static str,
    /// As in `0755`.
    pub mode: String,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// The configuration, without the values of variables: people put secrets there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Config {
    pub user: String,
    pub working_dir: String,
    pub entrypoint: Option<Vec<String>>,
    pub cmd: Option<Vec<String>>,
    pub env: Vec<String>,
    pub exposed_ports: Vec<String>,
    pub volumes: Vec<String>,
    pub labels: BTreeMap<String, String>,
    pub stop_signal: String,
    pub healthcheck: Option<Vec<String>>,
    pub shell: Option<Vec<String>>,
    pub on_build: Vec<String>,
}

pub fn printable(text: &str) -> String {
    sanitise(text.as_bytes())
}

pub fn path(path: &[u8]) -> String {
    format!("/{}", sanitise(path))
}

impl Inspected {
    /// `listings`: of all layers, in their order, if they were read.
    pub fn new(image: &Image, listings: Option<&[Listing]>, files: bool) -> Self {
        let own = image.config.platform();
        Self {
            name: image.name.clone(),
            place: image.place,
            digest: image.digest,
            index: image.index,
            platform: printable(&own.to_string()),
            platforms: image.platforms.iter().map(|platform: &Platform| printable(&platform.to_string())).collect(),
            created: image.config.created.as_deref().map(printable),
            size: image.manifest.layers.iter().fold(0, |sum, layer| sum.saturating_add(layer.size)),
            unpacked: listings.map(|listings| listings.iter().map(|listing| listing.uncompressed).sum()),
            config: Config::of(&image.config.config),
            history: steps(image, listings, files),
        }
    }
}

fn steps(image: &Image, listings: Option<&[Listing]>, files: bool) -> Vec<Step> {
    let layers = image.manifest.layers.iter().enumerate().map(|(at, blob)| {
        let listing = listings.and_then(|listings| listings.get(at));
        Layer {
            digest: blob.digest,
            diff_id: image.config.rootfs.diff_ids.get(at).map(|id| id.0),
            media_type: printable(&blob.media_type),
            size: blob.size,
            unpacked: listing.map(|listing| listing.uncompressed),
            files: listing.filter(|_| files).map(|listing| listing.members.iter().map(File::of).collect()),
        }
    });
    let mut layers = layers;
    let mut steps: Vec<Step> = Vec::new();
    for entry in &image.config.history {
        let layer = if entry.empty_layer { None } else { layers.next() };
        steps.push(Step { instruction: instruction(entry), layer });
    }
    // Layers of which the history says nothing.
    steps.extend(layers.map(|layer| Step { instruction: None, layer: Some(layer) }));
    steps
}

/// What BuildKit, brik, Kaniko and the old builder write, as a Dockerfile would have it; without values of variables.
fn instruction(entry: &HistoryEntry) -> Option<String> {
    let text = printable(&entry.created_by);
    let text = text.trim().trim_end_matches("# buildkit").trim_end();
    let text = text.strip_prefix("/bin/sh -c #(nop)").map_or(text, str::trim_start);
    let (run, command) = match text.strip_prefix("RUN ") {
        Some(command) => (true, command),
        None => (text.starts_with("/bin/sh -c ") || text.starts_with('|'), text),
    };
    // `|2 NAME=value NAME=value /bin/sh -c …` where build arguments are in force.
    let command = match (command.starts_with('|'), command.find("/bin/sh -c ")) {
        (true, None) => "with build arguments",
        (true, Some(at)) => &command[at..],
        (false, _) => command,
    };
    let text = match run {
        true => format!("RUN {}", command.strip_prefix("/bin/sh -c ").unwrap_or(command)),
        false => without_value(text),
    };
    (!text.is_empty()).then_some(text)
}

/// `ENV TOKEN=…`
fn without_value(text: &str) -> String {
    let is_variable = ["ENV ", "ARG "].iter().any(|name| text.starts_with(name));
    let end = text.char_indices().skip(4).find(|(_, c)| *c == '=' || *c == ' ').map(|(at, _)| at);
    match end.filter(|_| is_variable) {
        Some(end) => format!("{}=…", &text[..end]),
        None => text.to_owned(),
    }
}

impl File {
    fn of(listed: &Listed) -> Self {
        Self {
            path: path(&listed.path),
            kind: kind(listed.kind),
            mode: format!("{:04o}", listed.mode),
            uid: listed.owner.0,
            gid: listed.owner.1,
            size: listed.size,
            link: match listed.kind {
                ListedKind::Symlink => Some(sanitise(&listed.link)),
                ListedKind::Hardlink => Some(path(&listed.link)),
                _ => None,
            },
        }
    }

    /// As `ls -l` writes it.
    pub fn permissions(&self) -> String {
        let mode = u32::from_str_radix(&self.mode, 8).unwrap_or_default();
        let first = match self.kind {
            "directory" | "opaque" => 'd',
            "symlink" => 'l',
            "device" => 'c',
            "fifo" => 'p',
            _ => '-',
        };
        let bit = |mask: u32, letter: char| if mode & mask != 0 { letter } else { '-' };
        let execute = |mask: u32, special: u32, letters: [char; 2]| match (mode & mask != 0, mode & special != 0) {
            (true, true) => letters[0],
            (false, true) => letters[1],
            (true, false) => 'x',
            (false, false) => '-',
        };
        let classes = [(6, 0o4000, ['s', 'S']), (3, 0o2000, ['s', 'S']), (0, 0o1000, ['t', 'T'])];
        let class = |(shift, special, letters): (u32, u32, [char; 2])| {
            [bit(4 << shift, 'r'), bit(2 << shift, 'w'), execute(1 << shift, special, letters)]
        };
        std::iter::once(first).chain(classes.into_iter().flat_map(class)).collect()
    }
}

fn kind(kind: ListedKind) -> &'static str {
    match kind {
        ListedKind::File => "file",
        ListedKind::Directory => "directory",
        ListedKind::Symlink => "symlink",
        ListedKind::Hardlink => "hardlink",
        ListedKind::CharDevice | ListedKind::BlockDevice => "device",
        ListedKind::Fifo => "fifo",
        ListedKind::Whiteout => "whiteout",
        ListedKind::Opaque => "opaque",
    }
}

impl Config {
    pub fn of(config: &ContainerConfig) -> Self {
        let words = |words: &[String]| words.iter().map(|word| printable(word)).collect::<Vec<_>>();
        let keys = |keys: &BTreeMap<String, crate::oci::Empty>| keys.keys().map(|key| printable(key)).collect::<Vec<_>>();
        Self {
            user: printable(&config.user),
            working_dir: printable(&config.working_dir),
            entrypoint: config.entrypoint.as_deref().map(words),
            cmd: config.cmd.as_deref().map(words),
            env: config.env.iter().map(|entry| printable(entry.split('=').next().unwrap_or_default())).collect(),
            exposed_ports: keys(&config.exposed_ports),
            volumes: keys(&config.volumes),
            labels: config.labels.iter().map(|(name, value)| (printable(name), printable(value))).collect(),
            stop_signal: printable(&config.stop_signal),
            healthcheck: config.healthcheck.as_ref().map(|check| words(&check.test)),
            shell: config.shell.as_deref().map(words),
            on_build: words(&config.on_build),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_of_every_builder_read_like_a_dockerfile() {
        for (text, expected) in [
            ("RUN /bin/sh -c apt-get update # buildkit", Some("RUN apt-get update")),
            ("/bin/sh -c apt-get update", Some("RUN apt-get update")),
            ("/bin/sh -c #(nop)  CMD [\"sh\"]", Some("CMD [\"sh\"]")),
            ("COPY a /a", Some("COPY a /a")),
            ("ENV TOKEN=hunter2 OTHER=x", Some("ENV TOKEN=…")),
            ("/bin/sh -c #(nop)  ENV TOKEN hunter2", Some("ENV TOKEN=…")),
            ("ARG TOKEN", Some("ARG TOKEN")),
            ("RUN |1 TOKEN=hunter2 /bin/sh -c make # buildkit", Some("RUN make")),
            ("|1 TOKEN=hunter2 /bin/sh -c make", Some("RUN make")),
            ("RUN |1 TOKEN=hunter2 /bin/bash -c make # buildkit", Some("RUN with build arguments")),
            ("RUN \u{1b}[2Jx\nrm", Some("RUN x rm")),
            ("", None),
        ] {
            let entry = HistoryEntry { created_by: text.to_owned(), ..HistoryEntry::default() };
            assert_eq!(instruction(&entry).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn permissions_are_written_as_ls_does() {
        for (mode, kind, expected) in [
            ("0755", "directory", "drwxr-xr-x"),
            ("4755", "file", "-rwsr-xr-x"),
            ("2644", "file", "-rw-r-Sr--"),
            ("1777", "directory", "drwxrwxrwt"),
            ("0777", "symlink", "lrwxrwxrwx"),
        ] {
            let file = File { path: String::new(), kind, mode: mode.to_owned(), uid: 0, gid: 0, size: 0, link: None };
            assert_eq!(file.permissions(), expected);
        }
    }
}
