//! The builders: how each is asked to build and push all services, and how it is made to forget.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

use crate::inputs::{Inputs, run};
use crate::registry::HOST;

pub trait Builder {
    fn name(&self) -> &'static str;
    fn version(&self) -> String;
    /// Forgets all images and caches.
    fn reset(&mut self) -> Result<(), String>;
    /// What builds and pushes everything.
    fn commands(&self, inputs: &Inputs) -> Vec<Command>;
    /// How many of them run at a time.
    fn at_once(&self) -> usize {
        2
    }
    /// The names of its processes, for the measure of its memory.
    fn processes(&self) -> &'static [&'static str];
    /// CPU time so far of what runs all the time.
    fn daemon_cpu(&self) -> Duration {
        Duration::ZERO
    }
}

pub struct Brik {
    binary: PathBuf,
    store: PathBuf,
}

impl Brik {
    pub fn new(binary: &Path, scratch: &Path) -> Self {
        Self { binary: binary.to_owned(), store: scratch.join("brik-store") }
    }
}

impl Builder for Brik {
    fn name(&self) -> &'static str {
        "brik"
    }

    fn version(&self) -> String {
        first_line(Command::new(&self.binary).arg("--version"))
    }

    fn reset(&mut self) -> Result<(), String> {
        remove(&self.store)
    }

    fn commands(&self, inputs: &Inputs) -> Vec<Command> {
        let mut build = Command::new(&self.binary);
        build.args(["build", "--push", "--progress", "plain", "--store"]).arg(&self.store).current_dir(&inputs.directory);
        vec![build]
    }

    fn processes(&self) -> &'static [&'static str] {
        &["brik"]
    }
}

pub struct Buildah {
    storage: PathBuf,
}

impl Buildah {
    pub fn find(scratch: &Path) -> Option<Self> {
        is_there("buildah").then(|| Self { storage: scratch.join("buildah") })
    }

    fn storage(&self) -> String {
        let storage = self.storage.display();
        format!("--root {storage}/root --runroot {storage}/run --storage-driver overlay")
    }
}

impl Builder for Buildah {
    fn name(&self) -> &'static str {
        "buildah"
    }

    fn version(&self) -> String {
        first_line(Command::new("buildah").arg("--version"))
    }

    fn reset(&mut self) -> Result<(), String> {
        remove(&self.storage)
    }

    fn commands(&self, inputs: &Inputs) -> Vec<Command> {
        let command = |service: &String| {
            let (storage, image) = (self.storage(), format!("{HOST}/bench/{service}:latest"));
            let (dockerfile, context) = (inputs.dockerfile(service), inputs.context(service));
            let (dockerfile, context) = (dockerfile.display(), context.display());
            shell(&format!(
                "buildah {storage} build --layers --isolation chroot --network host --tls-verify=false -t {image} -f {dockerfile} {context} \
                 && buildah {storage} push --tls-verify=false {image}"
            ))
        };
        inputs.services.iter().map(command).collect()
    }

    fn processes(&self) -> &'static [&'static str] {
        &["buildah", "exe"]
    }
}

/// The BuildKit in Debian's dockerd.
pub struct BuildKit {
    directory: PathBuf,
    daemon: Option<Child>,
}

impl BuildKit {
    pub fn find(scratch: &Path) -> Option<Self> {
        let found = is_there("dockerd") && is_there("docker");
        found.then(|| Self { directory: scratch.join("docker"), daemon: None })
    }

    fn socket(&self) -> String {
        format!("unix://{}/socket", self.directory.display())
    }

    fn start(&mut self) -> Result<(), String> {
        fs::create_dir_all(&self.directory).map_err(|error| error.to_string())?;
        let at = |name: &str| self.directory.join(name);
        let log = fs::File::create(at("log")).map_err(|error| error.to_string())?;
        let mut daemon = Command::new("dockerd");
        daemon.arg("--data-root").arg(at("data")).arg("--exec-root").arg(at("exec")).arg("-p").arg(at("pid")).args(["-H", &self.socket()]);
        daemon.args(["--iptables=false", "--ip6tables=false", "--bridge=none", "--insecure-registry", HOST]);
        daemon.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.daemon = Some(daemon.spawn().map_err(|error| format!("cannot start dockerd: {error}"))?);
        for _ in 0..300 {
            if Command::new("docker").args(["-H", &self.socket(), "version"]).output().is_ok_and(|output| output.status.success()) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(100));
        }
        Err(format!("dockerd does not answer: see {}", at("log").display()))
    }

    fn stop(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        let _ = run(Command::new("kill").arg(daemon.id().to_string()));
        let _ = daemon.wait();
    }
}

impl Builder for BuildKit {
    fn name(&self) -> &'static str {
        "buildkit"
    }

    fn version(&self) -> String {
        first_line(Command::new("dockerd").arg("--version"))
    }

    fn reset(&mut self) -> Result<(), String> {
        self.stop();
        remove(&self.directory)?;
        self.start()
    }

    fn commands(&self, inputs: &Inputs) -> Vec<Command> {
        let command = |service: &String| {
            let (socket, image) = (self.socket(), format!("{HOST}/bench/{service}:latest"));
            let (dockerfile, context) = (inputs.dockerfile(service), inputs.context(service));
            let (dockerfile, context) = (dockerfile.display(), context.display());
            shell(&format!(
                "DOCKER_BUILDKIT=1 docker -H {socket} build --network host -t {image} -f {dockerfile} {context} && docker -H {socket} push {image}"
            ))
        };
        inputs.services.iter().map(command).collect()
    }

    fn processes(&self) -> &'static [&'static str] {
        &["dockerd", "containerd", "docker"]
    }

    fn daemon_cpu(&self) -> Duration {
        self.daemon.as_ref().map_or(Duration::ZERO, |daemon| tree_cpu(daemon.id()))
    }
}

impl Drop for BuildKit {
    fn drop(&mut self) {
        self.stop();
    }
}

/// CPU time of a process, of its descendants, and of those that they have waited for (proc_pid_stat(5), fields 14 to 17).
fn tree_cpu(pid: u32) -> Duration {
    const TICKS_A_SECOND: u64 = 100;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<u64> = stat.rsplit(')').next().unwrap_or("").split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
    let own: u64 = fields.iter().skip(11).take(4).sum();
    let mut cpu = Duration::from_millis(own * 1000 / TICKS_A_SECOND);
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        cpu += children.split_whitespace().filter_map(|child| child.parse().ok()).map(tree_cpu).sum::<Duration>();
    }
    cpu
}

fn shell(script: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", script]);
    shell
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|directory| directory.join(program).is_file());
    if !found {
        println!("{program} is not installed: left out");
    }
    found
}

fn first_line(command: &mut Command) -> String {
    let text = command.output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("?").to_owned()
}

fn remove(directory: &Path) -> Result<(), String> {
    // Overlays that a builder has left mounted.
    let _ = run(&mut shell(&format!("grep -o ' {}[^ ]*' /proc/mounts | sort -r | xargs -r umount -l", directory.display())));
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(format!("cannot remove {}: {error}", directory.display())),
        _ => Ok(()),
    }
}
