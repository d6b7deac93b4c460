//! What a builder is for the bench: how it is asked to build and push all services, and how it is made to forget.

use std::path::Path;
use std::process::Command;

use crate::inputs::Inputs;
use crate::trace::strace;

pub trait Builder {
    fn name(&self) -> &'static str;
    fn version(&self) -> String;
    /// Starts with no images and no caches; its daemon, if it has one, under strace if it is to be traced into this directory.
    fn start(&mut self, trace: Option<&Path>) -> Result<(), String>;
    /// Stops what runs all the time, and removes all images and caches.
    fn forget(&mut self) -> Result<(), String>;
    /// What builds and pushes everything.
    fn commands(&self, inputs: &Inputs, job: Job) -> Vec<Command>;
    /// How many of them run at a time.
    fn at_once(&self) -> usize {
        2
    }
    /// The names (`/proc/PID/comm`) of its own processes, those apart that run inside RUN.
    fn processes(&self) -> Vec<String>;
}

/// What is asked of a builder besides building and pushing all services.
#[derive(Debug, Clone, Copy)]
pub struct Job {
    /// The tag of the images.
    pub tag: &'static str,
    /// Whether a cache in the registry is read and written.
    pub shared_cache: bool,
}

/// The tag of a sequence's first build. Caches that are part of an image are read from here.
pub const FIRST_TAG: &str = "latest";

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
