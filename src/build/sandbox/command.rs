//! What execve(2) gets, prepared before the fork, and the wording of its failures.

use std::ffi::CString;
use std::path::Path;

use rustix::io::Errno;

use super::error::SandboxError;
use super::rootfs;
use super::spec::RunSpec;
use super::sys::ExecStrings;

/// Where programs are looked for if the environment has no `PATH`: BuildKit's default.
const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program with its arguments and environment.
pub(super) struct Command {
    /// The paths that `argv[0]` may mean, in the order of `PATH`.
    pub candidates: Vec<CString>,
    pub argv: ExecStrings,
    pub env: ExecStrings,
    program: String,
    searched: bool,
}

impl Command {
    pub fn prepare(spec: &RunSpec) -> Result<Self, SandboxError> {
        let program = spec.argv.first().filter(|program| !program.is_empty()).ok_or(SandboxError::EmptyCommand)?;
        let variable = |name: &[u8]| spec.env.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_slice());
        let searched = !program.contains(&b'/');
        let candidates: Vec<Vec<u8>> = if searched {
            let directories = variable(b"PATH").unwrap_or(DEFAULT_PATH).split(|byte| *byte == b':');
            // An empty entry is the working directory (POSIX); Go, and so runc, refuses those.
            directories.filter(|directory| !directory.is_empty()).map(|directory| [directory, b"/", program].concat()).collect()
        } else {
            vec![program.clone()]
        };
        let mut env: Vec<Vec<u8>> = spec.env.iter().map(|(name, value)| [name.as_slice(), b"=", value].concat()).collect();
        if variable(b"HOME").is_none() {
            env.push([b"HOME=", spec.user.home.as_bytes()].concat());
        }
        Ok(Self {
            candidates: c_strings(candidates, "program")?,
            argv: ExecStrings::new(c_strings(spec.argv.clone(), "arguments")?),
            env: ExecStrings::new(c_strings(env, "environment")?),
            program: String::from_utf8_lossy(program).into_owned(),
            searched,
        })
    }

    /// The error that `errno` from execve(2) means.
    pub fn failure(&self, root: &Path, cwd: &Path, errno: Errno) -> SandboxError {
        let exists = |candidate: &CString| {
            let path = cwd.join(String::from_utf8_lossy(candidate.as_bytes()).as_ref());
            rootfs::resolve(root, &path).is_ok_and(|inside| root.join(inside).exists())
        };
        let hint = match errno {
            Errno::NOENT if self.candidates.iter().any(exists) => " (the file exists: its interpreter does not)",
            Errno::NOENT if self.searched => return SandboxError::ExecutableNotFound(self.program.clone()),
            Errno::NOEXEC => " (built for another platform, or a script without `#!`)",
            _ => "",
        };
        SandboxError::Exec { program: self.program.clone(), source: errno, hint }
    }
}

fn c_strings(strings: Vec<Vec<u8>>, what: &'static str) -> Result<Vec<CString>, SandboxError> {
    strings.into_iter().map(|string| CString::new(string).map_err(|_| SandboxError::NulByte(what))).collect()
}
