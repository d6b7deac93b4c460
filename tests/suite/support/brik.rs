//! Runs of the binary.

use std::ffi::OsStr;
use std::io::{Seek, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use super::{Screen, container, trace};

/// A run of brik that has not started: with an empty environment but for a home, a store and a PATH.
#[must_use]
pub struct Brik {
    command: Command,
}

/// A run that has ended.
#[must_use]
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Brik {
    pub(super) fn new(directory: &Path, home: &Path) -> Self {
        let binary = std::env::var_os("BRIK_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_brik").into());
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        let mut command = Command::new(binary);
        command.current_dir(directory).env_clear().env("PATH", path).env("HOME", home).env("XDG_CACHE_HOME", home.join("cache"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command }
    }

    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// What it reads on stdin, in place of nothing.
    pub fn stdin(mut self, text: &str) -> Self {
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(text.as_bytes()).and_then(|()| file.rewind()).expect("it can be written");
        self.command.stdin(file);
        self
    }

    /// Another store than the project's.
    pub fn store(self, directory: &Path) -> Self {
        self.env("BRIK_STORE", directory)
    }

    /// As root in an unprivileged container, without namespaces and mounts; for tests that are root.
    pub fn in_container(self) -> Self {
        let mut command = container::contained(&self.command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command }
    }

    /// As on a kernel without Landlock.
    pub fn without_landlock(self) -> Self {
        let mut command = container::without_landlock(&self.command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command }
    }

    /// As on a kernel whose Landlock has no scopes.
    pub fn with_old_landlock(self) -> Self {
        let mut command = container::with_old_landlock(&self.command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command }
    }

    /// Under strace, which writes to the empty `directory`.
    pub fn traced(self, directory: &Path) -> Self {
        self.under(trace::strace(directory))
    }

    /// As the last arguments of another program, which starts it.
    pub fn under(self, mut launcher: Command) -> Self {
        launcher.arg(self.command.get_program()).args(self.command.get_args()).env_clear();
        launcher.envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(directory) = self.command.get_current_dir() {
            launcher.current_dir(directory);
        }
        launcher.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command: launcher }
    }

    /// As a shell starts a job: in a process group of its own.
    pub fn in_own_group(mut self) -> Self {
        self.command.process_group(0);
        self
    }

    /// In a terminal of this size, with whatever else it is given in its environment.
    pub fn in_terminal(self, columns: u16, rows: u16) -> Screen {
        Screen::start(&self.command, columns, rows)
    }

    pub fn start(mut self) -> Child {
        self.command.spawn().expect("brik starts")
    }

    pub fn run(mut self) -> Run {
        Run::of(self.command.output().expect("brik starts"))
    }

    /// Runs it and expects success.
    #[track_caller]
    pub fn succeeds(self) -> Run {
        self.exits(0)
    }

    /// Runs it and expects this exit code, and no panic whatever the code is.
    #[track_caller]
    pub fn exits(self, code: i32) -> Run {
        let run = self.run();
        assert!(!run.stderr.contains("panicked"), "brik panicked:\n{}", run.stderr);
        assert_eq!(run.code, Some(code), "stdout:\n{}\nstderr:\n{}", run.stdout, run.stderr);
        run
    }
}

impl Run {
    pub fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("brik writes UTF-8");
        let stdout = text(output.stdout);
        let stdout = stdout.strip_prefix(container::PREAMBLE).map_or(stdout.clone(), str::to_owned);
        Self { code: output.status.code(), stdout, stderr: text(output.stderr) }
    }

    /// Of `--progress json`: every line of stderr.
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        let event = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
        self.stderr.lines().map(event).collect()
    }

    /// The events of one type, in order.
    #[track_caller]
    pub fn events_of(&self, kind: &str) -> Vec<Value> {
        self.events().into_iter().filter(|event| event["type"] == kind).collect()
    }

    /// Names of the Steps that ran, as in `[stage-0 1/2] COPY . .`, in the order in which they began.
    #[track_caller]
    pub fn steps_run(&self) -> Vec<String> {
        let events = self.events();
        let built = |id: &Value| events.iter().any(|e| e["type"] == "step_finished" && e["id"] == *id && e["outcome"] == "built");
        let started = events.iter().filter(|event| event["type"] == "step_started" && built(&event["id"]));
        started.map(|event| event["name"].as_str().expect("a Step has a name").to_owned()).collect()
    }

    /// What followed the `@` in each line of stdout.
    #[track_caller]
    pub fn digests(&self) -> Vec<String> {
        let digest = |line: &str| line.split_once('@').unwrap_or_else(|| panic!("no digest in {line:?}")).1.to_owned();
        self.stdout.lines().map(digest).collect()
    }

    /// Expects every one of `parts` on stderr, line breaks of diagnostics notwithstanding.
    #[track_caller]
    pub fn says(&self, parts: &[&str]) {
        for part in parts {
            assert!(self.has_said(part), "{part:?} is not in:\n{}", self.stderr);
        }
    }

    /// Whether `part` is on stderr, line breaks of diagnostics notwithstanding; an error that is an event counts as its text, with its
    /// place as `file:line`.
    pub fn has_said(&self, part: &str) -> bool {
        let events = self.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let errors = events.filter(|event| event["type"] == "error").map(|error| {
            let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
            format!("{} {} {} {}:{}", text("code"), text("message"), text("help"), text("file"), error["line"])
        });
        flat(&errors.chain([self.stderr.clone()]).collect::<Vec<_>>().join("\n")).contains(&flat(part))
    }
}

/// Text without the frame and the line breaks that diagnostics are drawn with.
fn flat(text: &str) -> String {
    text.split(|c: char| c.is_whitespace() || "│╭╰─├┤×·▲".contains(c)).collect()
}
