//! Where brik.toml is and what its paths may reach.

use std::path::{Component, Path, PathBuf};

use super::LoadOptions;
use super::finding::{Finding, Source};
use crate::source::{Files, leads_out, read_text};

/// Canonical paths, all of them.
#[derive(Debug)]
pub(super) struct Place<'f> {
    pub files: &'f dyn Files,
    pub file: PathBuf,
    /// The directory of `file`.
    pub root: PathBuf,
    /// `root`, or the top level of the git repository that contains it.
    pub repository: PathBuf,
    /// As the user stands to it, for names in messages.
    cwd: PathBuf,
}

/// Why a path of brik.toml cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PathProblem {
    #[error("{0} does not exist")]
    Missing(String),
    #[error("{0} leaves the repository")]
    Leaves(String),
    #[error("{path} leaves the repository through a symbolic link to {target}")]
    LeavesByLink { path: String, target: String },
    #[error("{0} cannot be read: {1}")]
    Unreadable(String, String),
}

const FILE_NAME: &str = "brik.toml";

impl<'f> Place<'f> {
    /// The file that `options` name, else the nearest brik.toml upwards from `cwd`.
    pub fn find(options: &LoadOptions, files: &'f dyn Files) -> Result<Self, Finding> {
        let file = match &options.file {
            Some(file) => options.cwd.join(file),
            None => match options.cwd.ancestors().map(|directory| directory.join(FILE_NAME)).find(|file| files.is_file(file)) {
                Some(file) => file,
                None => {
                    let message = format!("no {FILE_NAME} in {} or any directory above", options.cwd.display());
                    return Err(Finding::error("brik::config::not-found", message)
                        .help("`brik init` writes one, or name it with --config; one image needs none: `brik build -t NAME:TAG .`"));
                }
            },
        };
        let name = file.file_name().map(Path::new).unwrap_or(Path::new(FILE_NAME)).to_owned();
        let directory = file.parent().filter(|_| files.is_file(&file)).map(|directory| files.canonicalize(directory));
        let Some(Ok(root)) = directory else {
            return Err(Finding::error("brik::config::not-found", format!("{} is not a file", file.display())));
        };
        let repository = root.ancestors().find(|directory| directory.join(".git").exists()).unwrap_or(&root).to_owned();
        let cwd = options.cwd.canonicalize().unwrap_or_else(|_| options.cwd.clone());
        Ok(Self { files, file: root.join(name), root, repository, cwd })
    }

    /// Where there is none.
    pub fn without_file(options: &LoadOptions, files: &'f dyn Files) -> Self {
        let root = options.cwd.clone();
        Self { files, file: root.join(FILE_NAME), repository: root.clone(), cwd: root.clone(), root }
    }

    /// A file's name from where the user stands: `brik.toml`, `../brik.toml` from below.
    pub fn shown(&self, file: &Path) -> String {
        if let Ok(below) = file.strip_prefix(&self.cwd) {
            return below.display().to_string();
        }
        match (self.cwd.strip_prefix(&self.root), file.strip_prefix(&self.root)) {
            (Ok(down), Ok(below)) => format!("{}{}", "../".repeat(down.components().count()), below.display()),
            _ => file.display().to_string(),
        }
    }

    /// `brik.<env>.toml` beside the file, where an environment is named.
    pub fn overlay(&self, options: &LoadOptions) -> Result<Option<PathBuf>, Finding> {
        let named = options.environment.as_ref().or(options.env.get("BRIK_ENV")).filter(|name| !name.is_empty());
        let Some(name) = named else { return Ok(None) };
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
            let finding = Finding::error("brik::config::invalid-environment", format!("{name:?} is not an environment's name"));
            return Err(finding.help("use A-Z a-z 0-9 _ -"));
        }
        let overlay = self.file.with_extension(format!("{name}.toml"));
        if self.files.is_file(&overlay) {
            return Ok(Some(overlay));
        }
        let message = format!("the environment {name:?} has no overlay {}", self.shown(&overlay));
        Err(Finding::error("brik::config::no-overlay", message).help("write the file, it may be empty, or drop --env and $BRIK_ENV"))
    }

    /// Whether a path is one of the repository, by its text alone.
    pub fn contains(&self, path: &Path) -> bool {
        lexical(path).is_some_and(|path| path.starts_with(&self.repository))
    }

    /// The canonical path that `text`, relative to `base`, names inside the repository.
    pub fn confine(&self, base: &Path, text: &str) -> Result<PathBuf, PathProblem> {
        if !self.contains(&base.join(text)) {
            return Err(PathProblem::Leaves(text.to_owned()));
        }
        let real = self.files.canonicalize(&base.join(text)).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => PathProblem::Missing(text.to_owned()),
            _ => PathProblem::Unreadable(text.to_owned(), error.to_string()),
        })?;
        if !real.starts_with(&self.repository) {
            return Err(PathProblem::LeavesByLink { path: text.to_owned(), target: real.display().to_string() });
        }
        Ok(real)
    }
}

/// Without `.` and `..`, by the text alone; None where `..` climbs over the root.
fn lexical(path: &Path) -> Option<PathBuf> {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => out.pop().then_some(())?,
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    Some(out)
}

/// Reads a file as UTF-8.
pub(super) fn read(files: &dyn Files, file: &Path, name: &str) -> Result<Source, Finding> {
    let unreadable = |error: std::io::Error| Finding::error("brik::config::unreadable", format!("{name} cannot be read: {error}"));
    if leads_out(files, file, &[]) {
        return Err(unreadable(std::io::Error::other("it is a link that leads out of the repository")));
    }
    let bytes = read_text(files, file).map_err(unreadable)?;
    String::from_utf8(bytes).map(|text| Source::new(name, text)).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
        let end = at + char::REPLACEMENT_CHARACTER.len_utf8();
        Finding::error("brik::config::syntax", "this is not UTF-8").at(Source::new(name, text).at(at..end))
    })
}
