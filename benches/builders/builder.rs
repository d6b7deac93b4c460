//! What a builder is for the bench: how it is asked to build and push all services, and how it is made to forget.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::inputs::Inputs;
use crate::process::{first_line, is_root, remove, run};
use crate::trace::strace;

pub trait Builder {
    fn name(&self) -> &'static str;
    fn version(&self) -> String;
    /// Starts with no images and no caches; its daemon, if it has one, under strace if it is to be traced into this directory.
    fn start(&mut self, trace: Option<&Path>) -> Result<(), String>;
    /// Stops what runs all the time, and removes all images and caches.
    fn forget(&mut self) -> Result<(), String>;
    /// What builds and pushes everything.
    fn commands(&self, inputs: &Inputs) -> Vec<Command>;
    /// How many of them run at a time.
    fn at_once(&self) -> usize {
        2
    }
    /// The names (`/proc/PID/comm`) of its own processes, those apart that run inside RUN.
    fn processes(&self) -> Vec<String>;
}

/// Where brik runs, and as whom.
pub struct Brik {
    binary: PathBuf,
    store: PathBuf,
    user: Option<String>,
}

impl Brik {
    pub fn new(binary: &Path, scratch: &Path) -> Self {
        Self { binary: binary.to_owned(), store: scratch.join("brik-store"), user: None }
    }

    /// For root: brik as an unprivileged user, with a copy of the program that this user may read.
    pub fn rootless(binary: &Path, scratch: &Path, user: &str) -> Result<Self, String> {
        let copy = scratch.join("brik");
        std::fs::copy(binary, &copy).map_err(|error| format!("cannot write {}: {error}", copy.display()))?;
        Ok(Self { binary: copy, store: scratch.join("rootless-store"), user: Some(user.to_owned()) })
    }

    fn command(&self) -> Command {
        let Some(user) = &self.user else { return Command::new(&self.binary) };
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", user, "--regid", user, "--init-groups", "--"])
            .arg(&self.binary)
            .env("HOME", &self.store)
            .env("USER", user);
        command
    }
}

impl Builder for Brik {
    fn name(&self) -> &'static str {
        if self.user.is_some() { ROOTLESS } else { BRIK }
    }

    fn version(&self) -> String {
        first_line(Command::new(&self.binary).arg("--version"))
    }

    fn start(&mut self, _: Option<&Path>) -> Result<(), String> {
        self.forget()?;
        std::fs::create_dir_all(&self.store).map_err(|error| format!("cannot create {}: {error}", self.store.display()))?;
        self.user.as_ref().map_or(Ok(()), |user| run(Command::new("chown").arg(format!("{user}:")).arg(&self.store)))
    }

    fn forget(&mut self) -> Result<(), String> {
        if !is_root() && self.store.exists() {
            // Snapshots may hold files of subordinate ids, which only brik's user namespace can remove.
            run(self.command().args(["cache", "prune", "--store"]).arg(&self.store))?;
        }
        remove(&self.store)
    }

    fn commands(&self, inputs: &Inputs) -> Vec<Command> {
        let mut build = self.command();
        build.args(["build", "--push", "--progress", "plain", "--store"]).arg(&self.store).current_dir(&inputs.directory);
        vec![build]
    }

    fn processes(&self) -> Vec<String> {
        // A program has the first 15 bytes of its file's name; inside its namespaces brik has executed /proc/self/exe.
        let name = self.binary.file_name().unwrap_or_default().to_string_lossy();
        vec![name.chars().take(15).collect(), "exe".to_owned()]
    }
}

/// The builder that all others are compared with.
pub const BRIK: &str = "brik";
pub const ROOTLESS: &str = "brik, rootless";

/// The same commands, each traced into a directory of its own below `directory`.
pub fn traced(commands: Vec<Command>, directory: &Path) -> Result<Vec<Command>, String> {
    let traced = |(n, command): (usize, Command)| {
        let directory = directory.join(n.to_string());
        std::fs::create_dir_all(&directory).map_err(|error| format!("cannot create {}: {error}", directory.display()))?;
        let mut strace = strace(&directory);
        strace.arg(command.get_program()).args(command.get_args());
        if let Some(directory) = command.get_current_dir() {
            strace.current_dir(directory);
        }
        Ok(strace)
    };
    commands.into_iter().enumerate().map(traced).collect()
}
