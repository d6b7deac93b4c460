//! The verdict of `[policy]`, left beside brik.toml.
//!
//! A repository may be anybody's, and `brik check` runs on it unasked: no link in it leads a write elsewhere.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::places::Places;
use crate::config::{Config, Finding};
use crate::policy::Verdict;

/// Where evidence lies, from the directory of brik.toml.
const DIRECTORY: [&str; 3] = [".audit", "PIPE-CONTAINER-BUILD", "policy"];

/// Writes the summaries; what keeps them from being written is no reason to fail.
pub fn write_evidence(config: &Config, cwd: &Path, mut verdict: Verdict) -> Option<Finding> {
    // The same from wherever brik was started.
    let places = Places::new(cwd.to_owned(), Some(&config.file));
    verdict.rename(&|source| places.path_of(source));
    let failed = |error: io::Error| {
        let message = format!("the evidence cannot be written to {}: {error}", DIRECTORY.join("/"));
        Finding::warning("brik::policy::evidence", message)
    };
    write(&config.root, &verdict).map_err(failed).err()
}

fn write(root: &Path, verdict: &Verdict) -> io::Result<()> {
    let mut directory = root.to_owned();
    for name in DIRECTORY {
        directory.push(name);
        if make(&directory)? && name == DIRECTORY[0] {
            // Evidence is no source: git is not to offer it for a commit.
            replace(&directory.join(".gitignore"), "*\n")?;
        }
    }
    replace(&directory.join("policy-summary.json"), &verdict.json().map_err(io::Error::other)?)?;
    replace(&directory.join("policy-summary.md"), &verdict.markdown())
}

/// Makes a directory; whether it was not there.
fn make(directory: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(directory) {
        Ok(there) if there.is_dir() => Ok(false),
        Ok(_) => Err(io::Error::new(io::ErrorKind::NotADirectory, format!("{} is not a directory", directory.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir(directory).map(|()| true),
        Err(error) => Err(error),
    }
}

/// Puts a file in the place of what is there, whole.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut part = path.to_owned().into_os_string();
    part.push(format!(".{}", std::process::id()));
    let part = PathBuf::from(part);
    let written = File::create_new(&part).and_then(|mut file| file.write_all(text.as_bytes())).and_then(|()| fs::rename(&part, path));
    written.inspect_err(|_| drop(fs::remove_file(&part)))
}
