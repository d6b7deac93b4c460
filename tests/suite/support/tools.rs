//! Other people's tools, as a second opinion. A test whose tool is not there says so and ends.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Says why a test is not run; past the capture of the test harness, so that it is seen.
pub fn skipped(reason: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = std::io::stderr().write_all(format!("skipped {test}: {reason}\n").as_bytes());
}

/// Whether all of these programs are there; says which one is not.
#[must_use]
pub fn installed(programs: &[&str]) -> bool {
    let found =
        |program: &&str| std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|dir| dir.join(program).is_file());
    match programs.iter().find(|program| !found(program)) {
        Some(missing) => {
            skipped(&format!("{missing} is not installed"));
            false
        }
        None => true,
    }
}

/// Whether this user can give a RUN a network of its own.
#[must_use]
pub fn have_slirp() -> bool {
    let device = "/dev/net/tun";
    let opened = std::fs::OpenOptions::new().read(true).write(true).open(device);
    if let Err(error) = &opened {
        skipped(&format!("{device}: {error}"));
    }
    opened.is_ok() && installed(&["slirp4netns"])
}

/// Makes a program of a file of C below `tests/suite` that runs in any image. `false` where C programs cannot be made.
#[must_use]
pub fn made_static(source: &str, program: &Path) -> bool {
    if !installed(&["cc"]) {
        return false;
    }
    let source = super::repository().join("tests/suite").join(source);
    let made = Command::new("cc").args(["-static", "-O1", "-w", "-o"]).arg(program).arg(source).output().expect("cc starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    true
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// stdout of a command that has to succeed.
#[track_caller]
pub fn output(program: &str, args: &[&str]) -> String {
    let mut command = Command::new(program);
    // Without it, skopeo looks for credentials in /run/containers, which belongs to root where root has used a tool of that family.
    command.args(args).env("XDG_RUNTIME_DIR", std::env::temp_dir()).stdin(Stdio::null());
    let output = command.output().expect("an installed program starts");
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Limits and cgroups as the machine has them: crun refuses hybrid cgroups, and containers whose limits may not be raised.
const PODMAN: &str = r#"
    mount -t cgroup2 none /sys/fs/cgroup 2>/dev/null
    podman="podman --root $1/storage --runroot $1/run --storage-driver vfs"
    image=$($podman pull --quiet --tls-verify=false "$2") && shift 2 &&
    exec $podman run --rm --cgroups=disabled --network=host --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 "$image" "$@"
"#;

/// stdout of a container that podman and crun run of `image`, as in `oci:out`, below `directory`. Needs `podman`, `crun` and `unshare`.
#[track_caller]
pub fn podman_run(directory: &Path, image: &str, command: &[&str]) -> String {
    let state = tempfile::tempdir().expect("a temporary directory");
    let mut args = vec!["unshare", "--mount", "--cgroup", "sh", "-c", PODMAN, "podman"];
    if !is_root() {
        args.splice(0..0, ["podman", "unshare"]);
    }
    let mut podman = Command::new(args[0]);
    podman.current_dir(directory).args(&args[1..]).arg(state.path()).arg(image).args(command).stdin(Stdio::null());
    podman.env("XDG_RUNTIME_DIR", state.path()).env("HOME", state.path());
    let output = podman.output().expect("podman starts");
    remove(state.path());
    assert!(output.status.success(), "podman: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The storage of podman has files of subordinate ids.
fn remove(directory: &Path) {
    let path = directory.display().to_string();
    if !is_root() {
        let _ = Command::new("podman").args(["unshare", "rm", "-rf", &path]).stdin(Stdio::null()).output();
    }
}
