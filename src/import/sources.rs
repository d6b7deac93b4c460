//! Which files of a repository are read, and in which order: what says most first.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::draft::Draft;
use super::found::{Found, normal};
use super::left::{Fate, Left};
use super::remote::Remote;
use super::{bake, compose, gitlab, scan, workflow};

/// What is to be imported.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Where brik.toml will be; nothing outside of it is read.
    pub root: &'a Path,
    /// The address of the git remote.
    pub remote_url: Option<&'a str>,
    /// Only these files, relative to `root`, instead of all that are known; Dockerfiles are not searched then.
    pub only: &'a [String],
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    #[error("{0} is not a file below this directory")]
    NoFile(String),
    #[error("{0} is neither a bake file, a compose file, a GitHub workflow nor .gitlab-ci.yml")]
    Unknown(String),
}

const BAKE: [&str; 2] = ["docker-bake.hcl", "docker-bake.json"];
/// Compose takes the first of them.
const COMPOSE: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
/// What other tools lay over these.
const OVERLAYS: [&str; 6] = [
    "docker-bake.override.hcl",
    "docker-bake.override.json",
    "compose.override.yaml",
    "compose.override.yml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];
const WORKFLOWS: &str = ".github/workflows";
const GITLAB: &str = ".gitlab-ci.yml";

/// Bytes of a file; the readers take less.
const LARGEST: u64 = 2 << 20;

/// Everything that the repository says of its images.
///
/// # Errors
/// Where a file of `only` is none that is known.
pub fn import(request: &Request) -> Result<Draft, SourceError> {
    let Request { root, remote_url, only } = *request;
    let remote = remote_url.and_then(Remote::parse);
    let files = if only.is_empty() { known(root) } else { only.iter().map(|file| wanted(root, file)).collect::<Result<_, _>>()? };
    let (mut found, mut left) = (Vec::new(), Vec::new());
    let mut read = Vec::new();
    for file in files {
        let (images, rest) = match text(&root.join(&file)) {
            Ok(text) => of_file(root, &file, &text, remote.as_ref()),
            Err(problem) => (Vec::new(), vec![whole(&file, Fate::Lost, problem)]),
        };
        if !images.is_empty() || !rest.is_empty() {
            read.push(file.clone());
        }
        left.extend((!only.is_empty() && images.is_empty() && rest.is_empty()).then(|| silent(&file)));
        found.extend(images);
        left.extend(rest);
    }
    if only.is_empty() {
        let overlays = OVERLAYS.iter().filter(|file| root.join(file).is_file());
        left.extend(overlays.map(|file| whole(file, Fate::Lost, "what it lays over the other file is not looked at".to_owned())));
        let (dockerfiles, rest) = scan::dockerfiles(root, &name_of(root, remote.as_ref()));
        add_dockerfiles(dockerfiles, &mut found, &mut left);
        left.extend(rest.into_iter().filter(|left| !found.iter().any(|image: &Found| image.dockerfile == left.file)));
    }
    Ok(Draft::new(root, read, found, left, remote.as_ref()))
}

fn whole(file: &str, fate: Fate, why: String) -> Left {
    Left { file: file.to_owned(), what: String::new(), of: Vec::new(), why, fate, at: None }
}

/// The files that there are, of all kinds.
fn known(root: &Path) -> Vec<String> {
    let there = |names: &[&str]| names.iter().filter(|name| root.join(name).is_file()).map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let mut files = there(&BAKE);
    files.extend(there(&COMPOSE).into_iter().next());
    let mut workflows: Vec<String> = fs::read_dir(root.join(WORKFLOWS))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| is_yaml(name))
        .map(|name| format!("{WORKFLOWS}/{name}"))
        .collect();
    workflows.sort();
    files.extend(workflows);
    files.extend(there(&[GITLAB]));
    files
}

fn wanted(root: &Path, file: &str) -> Result<String, SourceError> {
    let relative = if Path::new(file).is_absolute() { Path::new(file).strip_prefix(root).ok() } else { Some(Path::new(file)) };
    let file_in_root = relative.and_then(Path::to_str).and_then(normal).filter(|path| root.join(path).is_file());
    let path = file_in_root.ok_or_else(|| SourceError::NoFile(file.to_owned()))?;
    let known = is_yaml(&path) || PathBuf::from(&path).extension().is_some_and(|extension| extension == "hcl" || extension == "json");
    if known { Ok(path) } else { Err(SourceError::Unknown(file.to_owned())) }
}

fn is_yaml(name: &str) -> bool {
    name.ends_with(".yml") || name.ends_with(".yaml")
}

/// The tools whose files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bake,
    Compose,
    Workflow,
    Gitlab,
}

fn kind(file: &str) -> Kind {
    match is_yaml(file) {
        true if file.contains(".github/") => Kind::Workflow,
        true if file.ends_with("gitlab-ci.yml") || file.ends_with("gitlab-ci.yaml") => Kind::Gitlab,
        true => Kind::Compose,
        false => Kind::Bake,
    }
}

fn of_file(root: &Path, file: &str, text: &str, remote: Option<&Remote>) -> (Vec<Found>, Vec<Left>) {
    match kind(file) {
        Kind::Bake => bake::read(root, file, text),
        Kind::Compose => compose::read(root, file, text),
        Kind::Workflow => workflow::read(root, file, text, remote),
        Kind::Gitlab => gitlab::read(root, file, text, remote),
    }
}

/// What is to be said of a file that was asked for and says nothing.
fn silent(file: &str) -> Left {
    let why = match kind(file) {
        Kind::Bake => "it has no target",
        Kind::Compose => "it has no service; of other files in YAML, GitHub workflows and .gitlab-ci.yml are read",
        Kind::Workflow => "only calls of Kaniko and of docker/build-push-action are read of it, and it has none",
        Kind::Gitlab => "only calls of Kaniko are read of it, and it has none",
    };
    whole(file, Fate::Lost, why.to_owned())
}

/// # Errors
/// Why a file is not read.
fn text(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("it cannot be read: {error}");
    let mut bytes = Vec::new();
    fs::File::open(path).map_err(unreadable)?.take(LARGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST {
        return Err(format!("it is larger than {LARGEST} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

/// What a service at the top is called: like the repository, whatever the directory is called on this machine.
fn name_of(root: &Path, remote: Option<&Remote>) -> String {
    let directory = || root.file_name().map(|name| name.to_string_lossy().into_owned());
    remote.map(|remote| remote.repository().to_owned()).or_else(directory).unwrap_or_else(|| "app".to_owned())
}

/// Adds Dockerfiles that no file has told of. A bake file tells of all that is to be built.
fn add_dockerfiles(dockerfiles: Vec<Found>, found: &mut Vec<Found>, left: &mut Vec<Left>) {
    let bake = found.iter().map(|image| &image.file).find(|file| BAKE.contains(&file.as_str())).cloned();
    for image in dockerfiles {
        if found.iter().any(|other| other.dockerfile == image.dockerfile) {
            continue;
        }
        match &bake {
            Some(bake) => left.push(whole(&image.dockerfile, Fate::Lost, format!("{bake} builds nothing from it"))),
            None => found.push(image),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAKE: &str = "variable \"T\" { default = \"v${1 + 1}\" }\ngroup \"default\" { targets = [\"a\"] }\n\
                        target \"a\" {\n  inherits = [\"b\"]\n  tags = [\"x.io/a:${T}\", T == \"\" ? \"y\" : \"é\"]\n  args = { A = [for x in [1]: x] }\n}\n\
                        target \"b\" {\n  contexts = { c = \"target:a\" }\n  secret = [\"id=x\", { id = 1 }]\n}\n";
    const COMPOSE: &str =
        "x: &x {args: [A=1, B]}\nservices:\n  a:\n    image: \"x.io/a:${T:-v1}\"\n    build: {<<: *x, context: ., ssh: [default]}\n";
    const WORKFLOW: &str = "on: {workflow_call: {inputs: {x: {default: 1}}}}\njobs:\n  a:\n    strategy: {matrix: {s: [a, b], include: [{s: c}]}}\n    \
                            steps:\n    - uses: x/kaniko@v1\n      with:\n        image: x.io/${{ matrix.s }}\n        tags: v1,${{ inputs.x }}\n    \
                            - run: echo '$(' && /kaniko/executor -d x.io/\"${A:-é}\"\n";
    const JOBS: &str = "variables: {A: $B, B: \"x${A}\"}\na: {extends: .b, script: [[cd `é`, '/kaniko/executor \\']]}\n\
                        c: {image: {name: kaniko/executor}, extends: [a], script: '/kaniko/executor -d \"x.io/$A:$(date \"+%s\")\" -v=1'}\n";

    /// Beginnings, ends, and texts without one character.
    fn parts(text: &str) -> impl Iterator<Item = String> {
        let cuts = text.char_indices().map(|(at, c)| (at, at + c.len_utf8()));
        cuts.flat_map(move |(from, to)| [text[..from].to_owned(), text[to..].to_owned(), format!("{}{}", &text[..from], &text[to..])])
    }

    #[test]
    fn no_part_of_a_file_makes_a_reader_panic() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("Dockerfile"), "FROM scratch\n").unwrap();
        let files = [("docker-bake.hcl", BAKE), ("compose.yaml", COMPOSE), (".github/workflows/x.yml", WORKFLOW), (GITLAB, JOBS)];
        for (file, text) in files {
            assert!(!of_file(root.path(), file, text, None).0.is_empty(), "{file} is understood as a whole");
            for part in parts(text) {
                let (found, left) = of_file(root.path(), file, &part, None);
                let _ = Draft::new(root.path(), Vec::new(), found, left, None).document();
            }
        }
    }
}
