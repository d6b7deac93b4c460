//! What was looked at, and what is to be done about it.

use std::path::PathBuf;

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Ok,
    /// Builds work, and something is lost.
    Warning,
    /// Something that a build needs is not there.
    Failed,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// One line of the doctor's, and what `--format json` says of it.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// What was looked at, as in `namespaces` or `write permission`.
    pub name: &'static str,
    /// Which of them, where there are several: a registry, a repository.
    pub subject: Option<String>,
    pub status: Status,
    pub found: String,
    /// What to do: a command to paste wherever one does it.
    pub fix: Option<String>,
    /// What `--fix` has done.
    pub done: Option<String>,
    #[serde(skip)]
    pub remedy: Option<Remedy>,
}

/// What `--fix` can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    MakeStore(PathBuf),
    /// To a user, by its name.
    GiveSubordinateIds(String),
    /// For this program.
    AllowNamespaces(PathBuf),
}

impl Check {
    pub fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, subject: None, status: Status::Ok, found: found.into(), fix: None, done: None, remedy: None }
    }

    pub fn warning(name: &'static str, found: impl Into<String>) -> Self {
        Self { status: Status::Warning, ..Self::ok(name, found) }
    }

    pub fn failed(name: &'static str, found: impl Into<String>) -> Self {
        Self { status: Status::Failed, ..Self::ok(name, found) }
    }

    pub fn of(self, subject: impl Into<String>) -> Self {
        Self { subject: Some(subject.into()), ..self }
    }

    /// Whoever is root needs no sudo.
    pub fn fix(self, fix: impl Into<String>) -> Self {
        let fix: String = fix.into();
        let root = rustix::process::geteuid().is_root();
        Self { fix: Some(if root { fix.replace("sudo ", "") } else { fix }), ..self }
    }

    pub fn remedy(self, remedy: Remedy) -> Self {
        Self { remedy: Some(remedy), ..self }
    }
}
