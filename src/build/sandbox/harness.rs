//! Tests that need namespaces run in a copy of the test program inside the sandbox, which [`in_sandbox`] starts.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::MemfdFlags;

use super::*;

/// Runs `body` inside; `name` is the full name of the calling test. Where the machine has no rung to offer, the test is skipped with
/// the reason.
pub(super) fn in_sandbox(name: &str, body: impl FnOnce(Rung)) {
    if let Some(rung) = inside() {
        return body(rung);
    }
    let log = rustix::fs::memfd_create("log", MemfdFlags::CLOEXEC).unwrap();
    let program = std::env::args_os().next().unwrap();
    let args = [program, name.into(), "--exact".into(), "--nocapture".into(), "--include-ignored".into()];
    let child = match respawn::start(args.into(), Some(log.try_clone().unwrap()), &[]) {
        Ok(child) => child,
        Err(SandboxError::Refused(reason)) => return println!("skipped: {reason}"),
        Err(error) => panic!("{error}"),
    };
    let code = respawn::wait(&child).unwrap();
    let (mut log, mut text) = (File::from(log), String::new());
    log.rewind().unwrap();
    log.read_to_string(&mut text).unwrap();
    assert!(code == 0 && text.contains("1 passed"), "inside the sandbox (exit code {code}):\n{text}");
    text.lines().filter(|line| line.starts_with("skipped: ")).for_each(|line| println!("{line}"));
}

pub(super) fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// A root file system of busybox, stacked as the store does it.
pub(super) struct Room {
    /// Dropped before the directory that it lies in.
    pub overlay: Overlay,
    pub directory: tempfile::TempDir,
    pub rung: Rung,
}

/// What a RUN said.
#[derive(Debug)]
pub(super) struct Said {
    pub outcome: Outcome,
    pub stdout: String,
    pub stderr: String,
}

impl Room {
    /// `None`, and a printed reason, without a static busybox.
    pub fn new(rung: Rung) -> Option<Self> {
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().map(Path::new).find(|path| path.exists());
        let Some(busybox) = busybox else {
            println!("skipped: busybox-static is not installed");
            return None;
        };
        let directory = temporary();
        let at = |name: &str| directory.path().join(name);
        for name in ["base/bin", "base/etc", "base/tmp", "base/home/app", "top", "upper", "work", "root"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        fs::copy(busybox, at("base/bin/busybox")).unwrap();
        let applets = "sh true false cat echo id env pwd ls sleep hostname mkdir touch rm stat chown chmod mknod head yes dd kill grep ps \
                       readlink nc mount unshare test wc tr ip ifconfig df awk printf setsid mv ln";
        for applet in applets.split_whitespace() {
            symlink("busybox", at("base/bin").join(applet)).unwrap();
        }
        fs::write(at("base/etc/passwd"), "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n").unwrap();
        fs::write(at("base/etc/group"), "root:x:0:\napp:x:1001:\nvideo:x:44:app\n").unwrap();
        let overlay = Overlay::mount(&[at("top"), at("base")], Some(&at("upper")), Some(&at("work")), &at("root"));
        Some(Self { overlay: overlay.unwrap(), directory, rung })
    }

    pub fn spec(&self, argv: &[&str]) -> RunSpec {
        let root = self.overlay.path().to_owned();
        let user = resolve_user(&root, "").unwrap();
        RunSpec::new(root, self.rung, user, argv.iter().map(|arg| arg.as_bytes().to_vec()).collect())
    }

    pub fn shell(&self, script: &str) -> RunSpec {
        self.spec(&["sh", "-c", script])
    }

    /// Everything that the RUNs have left in the upper directory, sorted.
    pub fn left_behind(&self) -> Vec<PathBuf> {
        fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if fs::symlink_metadata(&path).unwrap().is_dir() {
                    walk(&path, found);
                } else {
                    found.push(path);
                }
            }
        }
        let upper = self.directory.path().join("upper");
        let mut found = Vec::new();
        walk(&upper, &mut found);
        found.sort();
        found.into_iter().map(|path| path.strip_prefix(&upper).unwrap().to_owned()).collect()
    }
}

pub(super) fn say(spec: &RunSpec) -> Result<Said, SandboxError> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut collect = |stream, chunk: &[u8]| match stream {
        Stream::Stdout => stdout.extend_from_slice(chunk),
        Stream::Stderr => stderr.extend_from_slice(chunk),
    };
    let outcome = run(spec, &mut collect, &CancelFlag::new().unwrap())?;
    let text = |bytes| String::from_utf8_lossy(bytes).trim_end().to_owned();
    Ok(Said { outcome, stdout: text(&stdout), stderr: text(&stderr) })
}

/// The standard output of a command that must succeed.
pub(super) fn stdout(spec: &RunSpec) -> String {
    let said = say(spec).unwrap();
    assert_eq!((said.outcome.code, said.stderr.as_str()), (0, ""), "{said:?}");
    said.stdout
}
