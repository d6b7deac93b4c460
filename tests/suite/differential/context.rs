//! Random build contexts: small trees with the kinds of entry, modes and names that builders trip over.

use std::fmt;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use fastrand::Rng;
use rustix::fs::XattrFlags;

use super::archive;

#[derive(Debug)]
pub struct Node {
    pub path: String,
    pub kind: NodeKind,
}

/// Extended attributes: name, value.
type Attributes = &'static [(&'static str, &'static str)];

#[derive(Debug)]
pub enum NodeKind {
    Directory {
        mode: u32,
    },
    File {
        mode: u32,
        content: Vec<u8>,
        attributes: Attributes,
    },
    Symlink(String),
    /// Of a file with this path.
    Link(String),
}

/// Parents stand before their children, and what is linked before its links.
#[derive(Debug)]
pub struct Context {
    pub nodes: Vec<Node>,
    /// Whether a `.dockerignore` hides some of it.
    pub ignores: bool,
}

/// Directories have other names than files and these others than links, so that merging two directories never asks for one to
/// become the other: builders fail on that in different places, and the tests of COPY cover it.
const DIRECTORIES: [&str; 6] = ["d0", "d1", "d0/e", "d1/e", "empty", "d0/e/.k"];
const FILES: [&str; 6] = ["f0", "f1.txt", "f2.md", ".f3", "f4", "f5.txt"];
/// The files of `odd`, which are copied with it and never named: they would have to be quoted, and what a pattern matches is a pattern
/// again to buildah.
const ODD_FILES: [&str; 8] = ["sp ace", "qu'ote\"", "br[ack]et", "-dash", "ünï-☃", "st*r", "new\nline", "back\\slash"];
/// No setuid or setgid: BuildKit keeps them, buildah takes them from what comes from a context.
const FILE_MODES: [u32; 6] = [0o644, 0o644, 0o600, 0o755, 0o400, 0o666];
const DIRECTORY_MODES: [u32; 5] = [0o755, 0o755, 0o700, 0o775, 0o1777];

impl Context {
    /// `links`: with hard links.
    pub fn generate(rng: &mut Rng, links: bool) -> Self {
        let mut context = Self { nodes: Vec::new(), ignores: false };
        for path in DIRECTORIES {
            if context.has_parent(path) && (path == "d0" || rng.u8(..) < 200) {
                context.push(path, NodeKind::Directory { mode: choose(rng, &DIRECTORY_MODES) });
            }
        }
        for directory in [vec![String::new()], context.directories()].concat() {
            if directory == "empty" {
                continue;
            }
            let names = FILES.into_iter().filter(|_| rng.bool()).collect::<Vec<_>>();
            for name in names {
                context.push(&join(&directory, name), file(rng));
            }
        }
        if rng.bool() {
            context.push("odd", NodeKind::Directory { mode: 0o755 });
            for name in ODD_FILES {
                context.push(&join("odd", name), file(rng));
            }
        }
        if context.files().is_empty() {
            context.push("f0", file(rng));
        }
        context.symlinks(rng);
        if links {
            for index in 0..rng.usize(1..3) {
                let (file, directory) = (choose(rng, &context.files()), choose(rng, &context.directories()));
                context.push(&join(&directory, &format!("h{index}")), NodeKind::Link(file));
            }
        }
        if rng.u8(..) < 120 {
            let (name, content) = archive::generate(rng, links);
            context.push(name, NodeKind::File { mode: 0o644, content, attributes: &[] });
        }
        if rng.u8(..) < 60 {
            context.ignores = true;
            let content = ignore_file(rng).into_bytes();
            context.push(".dockerignore", NodeKind::File { mode: 0o644, content, attributes: &[] });
        }
        context
    }

    fn symlinks(&mut self, rng: &mut Rng) {
        let (files, directories) = (self.files(), self.directories());
        for index in 0..rng.usize(0..4) {
            let directory = choose(rng, &[vec![String::new()], directories.clone()].concat());
            let up = "../".repeat(if directory.is_empty() { 0 } else { directory.split('/').count() });
            let target = match rng.u8(0..5) {
                0 => format!("{up}{}", choose(rng, &files)),
                1 => format!("{up}{}", choose(rng, &directories)),
                2 => format!("/{}", choose(rng, &files)),
                3 => "nowhere".to_owned(),
                _ => format!("{up}{}/", choose(rng, &directories)),
            };
            self.push(&join(&directory, &format!("l{index}")), NodeKind::Symlink(target));
        }
    }

    fn push(&mut self, path: &str, kind: NodeKind) {
        self.nodes.push(Node { path: path.to_owned(), kind });
    }

    fn has_parent(&self, path: &str) -> bool {
        path.rsplit_once('/').is_none_or(|(parent, _)| self.nodes.iter().any(|node| node.path == parent))
    }

    /// Regular files whose names need no quotes.
    pub fn files(&self) -> Vec<String> {
        self.paths(|kind| matches!(kind, NodeKind::File { .. }))
            .filter(|path| !path.contains("tar") && path != ".dockerignore" && !path.starts_with("odd/"))
            .collect()
    }

    pub fn directories(&self) -> Vec<String> {
        self.paths(|kind| matches!(kind, NodeKind::Directory { .. })).collect()
    }

    /// Links that lead to a file or a directory of the context.
    pub fn symlinks_to_something(&self) -> Vec<String> {
        self.paths(|kind| matches!(kind, NodeKind::Symlink(target) if target != "nowhere")).collect()
    }

    pub fn archive(&self) -> Option<String> {
        self.paths(|kind| matches!(kind, NodeKind::File { .. })).find(|path| path.contains("tar"))
    }

    fn paths(&self, wanted: impl Fn(&NodeKind) -> bool) -> impl Iterator<Item = String> {
        self.nodes.iter().filter(move |node| wanted(&node.kind)).map(|node| node.path.clone())
    }

    pub fn write(&self, root: &Path) {
        for Node { path, kind } in &self.nodes {
            let whole = root.join(path);
            match kind {
                NodeKind::Directory { .. } => fs::create_dir(&whole).unwrap(),
                NodeKind::File { content, attributes, .. } => {
                    fs::write(&whole, content).unwrap();
                    for (name, value) in *attributes {
                        // A file system without them takes nothing from the comparison: neither builder sees any.
                        let _ = rustix::fs::setxattr(&whole, *name, value.as_bytes(), XattrFlags::empty());
                    }
                }
                NodeKind::Symlink(target) => symlink(target, &whole).unwrap(),
                NodeKind::Link(target) => fs::hard_link(root.join(target), &whole).unwrap(),
            }
        }
        for Node { path, kind } in self.nodes.iter().rev() {
            if let NodeKind::Directory { mode } | NodeKind::File { mode, .. } = kind {
                fs::set_permissions(root.join(path), fs::Permissions::from_mode(*mode)).unwrap();
            }
        }
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Node { path, kind } in &self.nodes {
            match kind {
                NodeKind::Directory { mode } => writeln!(f, "{mode:o} {path:?}/")?,
                NodeKind::File { content, .. } if path == ".dockerignore" => writeln!(f, "{path}: {}", String::from_utf8_lossy(content))?,
                NodeKind::File { mode, content, attributes } => writeln!(f, "{mode:o} {path:?} {} bytes {attributes:?}", content.len())?,
                NodeKind::Symlink(target) => writeln!(f, "{path:?} -> {target}")?,
                NodeKind::Link(target) => writeln!(f, "{path:?} = {target}")?,
            }
        }
        Ok(())
    }
}

fn file(rng: &mut Rng) -> NodeKind {
    let size = choose(rng, &[0, 1, 20, 700, 5000]);
    let content = (0..size).map(|_| rng.alphanumeric() as u8).collect();
    let attributes: Attributes = if rng.u8(..) < 40 { &[("user.brik", "none")] } else { &[] };
    NodeKind::File { mode: choose(rng, &FILE_MODES), content, attributes }
}

/// No exception reaches into a directory that is ignored: buildah takes that for gone, BuildKit looks for what the exception keeps.
fn ignore_file(rng: &mut Rng) -> String {
    const LINES: [&str; 10] = ["*.md", "**/f4", "d1/e", "empty", "**/.f3", "# comment", "d?/f1*", "!d0/f4", "!d0/f1.txt", "./d0/e//f0 "];
    let lines = LINES.iter().filter(|_| rng.u8(..) < 80).copied();
    lines.chain([".dockerignore"]).collect::<Vec<_>>().join("\n") + "\n"
}

pub fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// One of `options`, which are not empty.
pub fn choose<T: Clone>(rng: &mut Rng, options: &[T]) -> T {
    options[rng.usize(..options.len())].clone()
}
