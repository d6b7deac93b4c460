//! The BuildKit in Debian's dockerd, two services at a time.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::builder::{Builder, FIRST_TAG, Job};
use crate::inputs::Inputs;
use crate::process::{first_line, interrupted, is_installed, is_root, remove, server, shell};
use crate::registry::HOST;
use crate::trace::strace;

/// Debian's own client: newer ones refuse to talk to its dockerd.
const CLIENT: &str = "/usr/bin/docker";

pub struct BuildKit {
    directory: PathBuf,
    daemon: Option<Child>,
}

impl BuildKit {
    pub fn find(scratch: &Path) -> Option<Self> {
        if !is_root() {
            println!("dockerd needs root: left out");
            return None;
        }
        (is_installed("dockerd") && is_installed(CLIENT)).then(|| Self { directory: scratch.join("docker"), daemon: None })
    }

    fn socket(&self) -> String {
        format!("unix://{}/socket", self.directory.display())
    }

    fn stop(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        // Under strace the child is strace, which ends with dockerd.
        let pid = fs::read_to_string(self.directory.join("pid")).ok().and_then(|text| text.trim().parse().ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        } else {
            let _ = daemon.kill();
        }
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

    fn start(&mut self, trace: Option<&Path>) -> Result<(), String> {
        self.forget()?;
        let failed = |error: std::io::Error| format!("cannot start dockerd: {error}");
        fs::create_dir_all(&self.directory).map_err(failed)?;
        let at = |name: &str| self.directory.join(name);
        let mut daemon = match trace {
            None => server("dockerd", "TERM"),
            Some(directory) => {
                fs::create_dir_all(directory).map_err(failed)?;
                let strace = strace(directory);
                let mut daemon = server(strace.get_program(), "TERM");
                daemon.args(strace.get_args()).arg("dockerd");
                daemon
            }
        };
        daemon.arg("--data-root").arg(at("data")).arg("--exec-root").arg(at("exec")).arg("-p").arg(at("pid")).args(["-H", &self.socket()]);
        daemon.args(["--iptables=false", "--ip6tables=false", "--bridge=none", "--insecure-registry", HOST]);
        let log = File::create(at("log")).map_err(failed)?;
        self.daemon = Some(daemon.stderr(log).spawn().map_err(failed)?);
        for _ in 0..300 {
            if interrupted() {
                break;
            }
            if Command::new(CLIENT).args(["-H", &self.socket(), "version"]).output().is_ok_and(|output| output.status.success()) {
                return Ok(());
            }
            sleep(Duration::from_millis(100));
        }
        let log = fs::read_to_string(at("log")).unwrap_or_default();
        Err(format!("dockerd does not answer: {}", log.lines().last().unwrap_or_default()))
    }

    fn forget(&mut self) -> Result<(), String> {
        self.stop();
        remove(&self.directory)
    }

    /// The only cache in a registry that it knows is the one inside the images: the layers of their last stage.
    fn commands(&self, inputs: &Inputs, job: Job) -> Vec<Command> {
        let docker = format!("{CLIENT} -H {}", self.socket());
        let command = |service: &String| {
            let image = format!("{HOST}/bench/{service}:{}", job.tag);
            let cache = if job.shared_cache {
                format!("--build-arg BUILDKIT_INLINE_CACHE=1 --cache-from {HOST}/bench/{service}:{FIRST_TAG}")
            } else {
                String::new()
            };
            let (dockerfile, context) = (inputs.dockerfile(service), inputs.context(service));
            let (dockerfile, context) = (dockerfile.display(), context.display());
            shell(&format!(
                "DOCKER_BUILDKIT=1 {docker} build {cache} --network host -t {image} -f {dockerfile} {context} && {docker} push {image}"
            ))
        };
        inputs.services.iter().map(command).collect()
    }

    fn processes(&self) -> Vec<String> {
        ["dockerd", "containerd", "docker"].map(str::to_owned).to_vec()
    }
}

impl Drop for BuildKit {
    fn drop(&mut self) {
        self.stop();
    }
}
