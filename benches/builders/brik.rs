//! brik, and the variants of it that some scenarios compare it with.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::builder::{Builder, Job};
use crate::inputs::Inputs;
use crate::process::{first_line, is_root, remove, run};

/// The builder that all others are compared with.
pub const BRIK: &str = "brik";
pub const ROOTLESS: &str = "brik, rootless";
pub const NO_CACHE: &str = "brik, no remote cache";
pub const RUNNERS: &str = "brik, 4 runners at once";

/// How brik runs, and as whom.
pub struct Brik {
    name: &'static str,
    binary: PathBuf,
    store: PathBuf,
    user: Option<String>,
    flags: &'static [&'static str],
    /// How many of it build the same at the same time, each with a store of its own.
    runners: usize,
}

impl Brik {
    pub fn new(binary: &Path, scratch: &Path) -> Self {
        Self { name: BRIK, binary: binary.to_owned(), store: scratch.join("brik-store"), user: None, flags: &[], runners: 1 }
    }

    pub fn without_remote_cache(binary: &Path, scratch: &Path) -> Self {
        Self { name: NO_CACHE, flags: &["--no-remote-cache"], ..Self::new(binary, scratch) }
    }

    pub fn four_runners(binary: &Path, scratch: &Path) -> Self {
        Self { name: RUNNERS, runners: 4, ..Self::new(binary, scratch) }
    }

    /// For root: brik as an unprivileged user, with a copy of the program that this user may read.
    pub fn rootless(binary: &Path, scratch: &Path, user: &str) -> Result<Self, String> {
        let copy = scratch.join("brik");
        std::fs::copy(binary, &copy).map_err(|error| format!("cannot write {}: {error}", copy.display()))?;
        Ok(Self { name: ROOTLESS, store: scratch.join("rootless-store"), user: Some(user.to_owned()), ..Self::new(&copy, scratch) })
    }

    fn stores(&self) -> impl Iterator<Item = PathBuf> {
        (0..self.runners).map(|runner| self.store.join(runner.to_string()))
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
        self.name
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
        if !is_root() {
            // Snapshots may hold files of subordinate ids, which only brik's user namespace can remove.
            let stores = self.stores().filter(|store| store.exists());
            stores.into_iter().try_for_each(|store| run(self.command().args(["cache", "prune", "--store"]).arg(store)))?;
        }
        remove(&self.store)
    }

    /// The cache repositories are brik's default: there is nothing to add for [`Job::shared_cache`].
    fn commands(&self, inputs: &Inputs, job: Job) -> Vec<Command> {
        let command = |(runner, store): (usize, PathBuf)| {
            let mut build = self.command();
            build.args(["build", "--push", "--progress", "plain"]).args(self.flags).arg("--store").arg(store);
            let tag = if self.runners == 1 { job.tag.to_owned() } else { format!("{}-{runner}", job.tag) };
            build.args(["--tags", &tag]).current_dir(&inputs.directory);
            build
        };
        self.stores().enumerate().map(command).collect()
    }

    fn at_once(&self) -> usize {
        self.runners
    }

    fn processes(&self) -> Vec<String> {
        // A program has the first 15 bytes of its file's name; inside its namespaces brik has executed /proc/self/exe.
        let name = self.binary.file_name().unwrap_or_default().to_string_lossy();
        vec![name.chars().take(15).collect(), "exe".to_owned()]
    }
}
