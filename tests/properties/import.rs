//! Other tools' files, as a brik.toml.

use std::path::Path;

use brik::config::{LoadOptions, load};
use brik::import::{Draft, Request, import};
use brik::source::Disk;

use super::scratch::Scratch;

/// What may be in a repository.
const FILES: [&str; 8] = [
    "docker-bake.hcl",
    "docker-bake.json",
    "compose.yaml",
    ".github/workflows/images.yml",
    ".gitlab-ci.yml",
    "services/api/Dockerfile",
    "services/web/worker.Dockerfile",
    "Dockerfile",
];

/// `input` is one or several files with a NUL between: the name on a line of its own, then the content.
pub fn check(input: &[u8]) {
    let scratch = Scratch::new();
    for file in ["services/api/Dockerfile", "services/web/Dockerfile"] {
        scratch.write(file, b"FROM scratch AS build\nCOPY . /\nFROM build AS runtime\n");
    }
    scratch.write("packages/shared/file", b"");
    let mut known = false;
    for part in input.split(|byte| *byte == 0) {
        let at = part.iter().position(|byte| *byte == b'\n').unwrap_or(part.len());
        if let Some(file) = FILES.iter().find(|file| file.as_bytes() == &part[..at]) {
            scratch.write(file, part.get(at + 1..).unwrap_or_default());
            known = true;
        }
    }
    if known {
        drafted(scratch.path());
    }
}

fn drafted(root: &Path) {
    let draft = |only: &[String]| import(&Request { root, remote_url: Some("git@github.com:example-org/shop.git"), only });
    let all = draft(&[]).expect("no file was asked for");
    assert_eq!(draft(&[]).as_ref(), Ok(&all), "twice");
    reads(root, &all);
    for file in &all.read {
        if let Ok(one) = draft(std::slice::from_ref(file)) {
            reads(root, &one);
        }
    }
}

/// What is written of it is a brik.toml, with its services.
fn reads(root: &Path, draft: &Draft) {
    assert!(draft.left.iter().all(|left| !left.to_string().is_empty()));
    if draft.services.is_empty() {
        return;
    }
    let text = draft.document();
    assert!(text.len() <= 8 << 20, "{} bytes", text.len());
    std::fs::write(root.join("brik.toml"), &text).unwrap();
    let options = LoadOptions { cwd: root.to_owned(), ..LoadOptions::default() };
    let config = load(&options, &Disk).unwrap_or_else(|found| panic!("{:#?}\n{text}", found.0));
    let names: Vec<&String> = draft.services.iter().map(|service| &service.name).collect();
    assert_eq!(config.services.keys().collect::<Vec<_>>(), names, "{text}");
    std::fs::remove_file(root.join("brik.toml")).unwrap();
}
