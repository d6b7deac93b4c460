//! The builders that are tried.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::host::Host;
use crate::support::{Project, busybox, tools};

pub enum Builder {
    Brik {
        project: Project,
        in_container: bool,
        network: &'static str,
    },
    /// With this isolation, and a storage of its own.
    Buildah {
        isolation: &'static str,
        directory: tempfile::TempDir,
    },
    /// Of a dockerd that ends with it, with runc.
    BuildKit {
        directory: tempfile::TempDir,
        daemon: Child,
    },
}

/// As root, what it mounts would stay behind; and it knows no hybrid cgroups.
const BUILDAH_AS_ROOT: [&str; 6] =
    ["unshare", "--mount", "--propagation=private", "sh", "-c", "mount -t cgroup2 none /sys/fs/cgroup; exec \"$0\" \"$@\""];

impl Builder {
    pub fn brik() -> Self {
        Self::Brik { project: Project::empty(), in_container: false, network: "host" }
    }

    pub fn brik_in_container() -> Self {
        Self::Brik { project: Project::empty(), in_container: true, network: "host" }
    }

    /// brik as it is without a container, with a network for each RUN.
    pub fn brik_with_private_network() -> Self {
        Self::Brik { project: Project::empty(), in_container: false, network: "private" }
    }

    /// As many as this user and machine have.
    pub fn all() -> Vec<Self> {
        let mut builders = vec![Self::brik(), Self::brik_with_private_network()];
        let directory = || tempfile::Builder::new().prefix("brik-builder-").tempdir().expect("a temporary directory");
        if tools::is_root() {
            builders.push(Self::brik_in_container());
            if tools::installed(&["dockerd", "runc"]) {
                builders.extend(Self::buildkit(directory()));
            }
        }
        if tools::installed(&["buildah", "runc", "unshare"]) {
            builders.extend(["oci", "chroot"].map(|isolation| Self::Buildah { isolation, directory: directory() }));
        }
        builders
    }

    fn buildkit(directory: tempfile::TempDir) -> Option<Self> {
        let at = |name: &str| directory.path().join(name).display().to_string();
        let registry = busybox().split('/').next().unwrap_or_default();
        let mut command = Command::new("dockerd");
        command.args(["--iptables=false", "--ip6tables=false", "--bridge=none", "--insecure-registry", registry]);
        command.args(["--data-root", &at("data"), "--exec-root", &at("exec"), "-p", &at("pid"), "-H", &format!("unix://{}", at("socket"))]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(at("log")).expect("a log"));
        let daemon = command.spawn().expect("dockerd starts");
        let mut builder = Self::BuildKit { directory, daemon };
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(60) {
            if let Self::BuildKit { directory, daemon } = &mut builder {
                let answers = Command::new("/usr/bin/docker")
                    .env("DOCKER_HOST", format!("unix://{}/socket", directory.path().display()))
                    .arg("info")
                    .output();
                match (answers, daemon.try_wait()) {
                    (Ok(output), _) if output.status.success() => return Some(builder),
                    (_, Ok(None)) => std::thread::sleep(Duration::from_millis(200)),
                    _ => break,
                }
            }
        }
        tools::skipped("dockerd does not start");
        None
    }

    pub fn name(&self) -> String {
        match self {
            Self::Brik { network: "private", .. } => "brik, private network".to_owned(),
            Self::Brik { in_container: true, .. } => "brik, root without namespaces".to_owned(),
            Self::Brik { .. } if tools::is_root() => "brik, root".to_owned(),
            Self::Brik { .. } => "brik, rootless".to_owned(),
            Self::Buildah { isolation, .. } => {
                format!("buildah, {}, {isolation}", if tools::is_root() { "root" } else { "rootless" })
            }
            Self::BuildKit { .. } => "BuildKit and runc, root".to_owned(),
        }
    }

    /// Everything that it prints while it builds, or fails to.
    pub fn build(&self, context: &Path, dockerfile: &str, host: &Host) -> String {
        fs::write(context.join("Dockerfile"), dockerfile.replace("{busybox}", busybox())).expect("a file");
        let secret = format!("id=token,src={}", host.secret().display());
        let output = match self {
            Self::Brik { project, in_container, network } => {
                let out = format!("oci:{}", project.out().display());
                let brik = project.brik([
                    "build",
                    "--image",
                    "localhost/escape",
                    "--progress",
                    "plain",
                    "--no-cache",
                    "--network",
                    network,
                    "--output",
                    &out,
                    "--context",
                ]);
                let brik = brik.args([context]).args(["--secret", &secret]).env("HOST_CANARY", "of brik's environment");
                let run = if *in_container { brik.in_container().run() } else { brik.run() };
                return run.stdout + &run.stderr;
            }
            Self::Buildah { isolation, directory } => {
                let wrapper = if tools::is_root() { &BUILDAH_AS_ROOT[..] } else { &[] };
                let at = |name: &str| directory.path().join(name).display().to_string();
                let words: Vec<&str> = [wrapper, &["buildah", "--storage-driver=overlay"]].concat();
                let mut command = Command::new(words[0]);
                command.args(&words[1..]).args(["--root", &at("storage"), "--runroot", &at("run")]);
                // Limits as a machine has them on which they may not be raised.
                let limits = ["nofile", "nproc", "memlock"]
                    .map(|name| format!("--ulimit={name}={0}:{0}", if name == "memlock" { 8 << 20 } else { 1024 }));
                command.args([
                    "build",
                    "--tls-verify=false",
                    "--runtime=runc",
                    "--no-cache",
                    "--force-rm",
                    &format!("--isolation={isolation}"),
                ]);
                command.args(limits).args(["--network=host", "--secret", &secret]).arg(context);
                output(command.env("HOME", directory.path()).env("XDG_RUNTIME_DIR", directory.path()).env("TMPDIR", directory.path()))
            }
            Self::BuildKit { directory, .. } => {
                let mut command = Command::new("/usr/bin/docker");
                command.args(["build", "--network=host", "--no-cache", "--progress=plain", "--secret", &secret]).arg(context);
                let address = format!("unix://{}/socket", directory.path().display());
                output(command.env("DOCKER_BUILDKIT", "1").env("DOCKER_HOST", address).env("HOME", directory.path()))
            }
        };
        String::from_utf8_lossy(&output.stdout).into_owned() + "\n" + &String::from_utf8_lossy(&output.stderr)
    }
}

fn output(command: &mut Command) -> Output {
    command.env("HOST_CANARY", "of the builder's environment").stdin(Stdio::null()).output().expect("the builder starts")
}

impl Drop for Builder {
    fn drop(&mut self) {
        match self {
            Self::BuildKit { daemon, .. } => {
                let _ = rustix::process::kill_process(rustix::process::Pid::from_child(daemon), rustix::process::Signal::TERM);
                let _ = daemon.wait();
            }
            Self::Buildah { directory, .. } if !tools::is_root() => {
                let _ = Command::new("buildah").args(["unshare", "rm", "-rf"]).arg(directory.path().join("storage")).output();
            }
            _ => {}
        }
    }
}
