//! What a program asked the kernel for, as strace(1) saw it. The bench uses this file, too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

/// What a program and all its descendants did.
#[derive(Debug, Default)]
pub struct Trace {
    /// Processes that were made. Threads are none.
    pub forks: usize,
    /// Programs that were executed, the traced one among them.
    pub programs: Vec<String>,
    /// Whatever was opened, as often as it was.
    pub opened: Vec<PathBuf>,
}

/// strace of a command that is still to be added as arguments. It writes to the empty `directory`, for [`Trace::read`].
///
/// No set-user-id program works under it, unless root runs it: brik without root gets a single id.
pub fn strace(directory: &Path) -> Command {
    let mut strace = Command::new("strace");
    // A file a thread (-ff), so that no line is cut in two by another thread's; only these calls stop the program (--seccomp-bpf).
    strace.args(["-ff", "--seccomp-bpf", "--decode-fds=path", "--signal=none", "-qq", "-s4096"]);
    strace.args(["--trace=clone,clone3,fork,vfork,execve,execveat,open,openat,openat2", "-o"]).arg(directory.join("trace")).arg("--");
    strace
}

impl Trace {
    pub fn read(directory: &Path) -> io::Result<Self> {
        let mut trace = Self::default();
        for entry in fs::read_dir(directory)? {
            String::from_utf8_lossy(&fs::read(entry?.path())?).lines().for_each(|line| trace.add(line));
        }
        Ok(trace)
    }

    /// Adds a line such as `openat(5</a>, "b", O_RDONLY|O_CLOEXEC) = 6</a/b>`; calls that failed are left out.
    fn add(&mut self, line: &str) {
        let Some((call, result)) = line.rsplit_once(" = ") else { return };
        let Some((name, arguments)) = call.split_once('(') else { return };
        if !result.starts_with(|c: char| c.is_ascii_digit()) {
            return;
        }
        match name {
            "clone" | "clone3" | "fork" | "vfork" => self.forks += usize::from(!arguments.contains("CLONE_THREAD")),
            "execve" | "execveat" => self.programs.extend(arguments.split('"').nth(1).map(str::to_owned)),
            // Nothing is read through these.
            _ if arguments.contains("O_PATH") => {}
            _ => self.opened.extend(result.split_once('<').and_then(|(_, path)| path.strip_suffix('>')).map(PathBuf::from)),
        }
    }

    /// The files below `directory`, and not the directories, that were opened: how often, by their paths relative to it.
    pub fn files_below(&self, directory: &Path) -> BTreeMap<String, usize> {
        let mut files = BTreeMap::new();
        for path in self.opened.iter().filter(|path| path.starts_with(directory) && !path.is_dir()) {
            let relative = path.strip_prefix(directory).unwrap_or(path);
            *files.entry(relative.display().to_string()).or_default() += 1;
        }
        files
    }
}
