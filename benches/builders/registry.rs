//! Debian's docker-registry on a fixed port of loopback. Every measured sequence gets one that has the base images and nothing else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use crate::inputs::run;

pub const HOST: &str = "127.0.0.1:5077";

pub struct Registry {
    directory: PathBuf,
    process: Mutex<Option<Child>>,
}

/// What was asked of a registry between two moments.
#[derive(Debug, Clone, Copy, Default)]
pub struct Traffic {
    pub requests: u64,
    /// Bytes of blobs that were sent to builders.
    pub bytes_down: u64,
    /// Bytes of blobs that came to lie in it.
    pub bytes_up: u64,
}

impl Registry {
    /// The base images are made with busybox from Debian, or taken from `bases`, another registry's data directory.
    pub fn prepare(directory: &Path, bases: Option<&Path>) -> Result<Self, String> {
        fs::create_dir_all(directory).map_err(|error| error.to_string())?;
        let config = "version: 0.1\nlog: {level: info, accesslog: {disabled: false}}\n\
            storage: {filesystem: {rootdirectory: DIRECTORY/data}, delete: {enabled: true}}\nhttp: {addr: 'HOST'}\n";
        let config = config.replace("DIRECTORY", &directory.display().to_string()).replace("HOST", HOST);
        fs::write(directory.join("config.yml"), config).map_err(|error| error.to_string())?;
        let registry = Self { directory: directory.to_owned(), process: Mutex::new(None) };
        if !registry.seed().exists() {
            if let Some(bases) = bases {
                run(Command::new("cp").arg("-a").arg(bases).arg(registry.seed()))?;
            }
            registry.start_afresh()?;
            if !registry.has("library/busybox") {
                registry.push_busybox()?;
            }
            registry.keep()?;
        }
        Ok(registry)
    }

    fn seed(&self) -> PathBuf {
        self.directory.join("seed")
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    pub fn has(&self, repository: &str) -> bool {
        let inside = format!("docker/registry/v2/repositories/{repository}/_manifests/tags/latest");
        self.data().join(&inside).exists() || self.seed().join(inside).exists()
    }

    /// Starts with the base images only.
    pub fn start_afresh(&self) -> Result<(), String> {
        self.stop();
        let _ = fs::remove_dir_all(self.data());
        if self.seed().exists() {
            // Blobs are never written in place, so that links serve.
            run(Command::new("cp").arg("-al").arg(self.seed()).arg(self.data()))?;
        }
        self.start()
    }

    pub fn start(&self) -> Result<(), String> {
        self.stop();
        let log = fs::File::create(self.log()).map_err(|error| error.to_string())?;
        let errors = log.try_clone().map_err(|error| error.to_string())?;
        let mut serve = Command::new("docker-registry");
        serve.arg("serve").arg(self.directory.join("config.yml")).stdin(Stdio::null()).stdout(log).stderr(errors);
        let child = serve.spawn().map_err(|error| format!("cannot start docker-registry: {error}"))?;
        *self.slot() = Some(child);
        for _ in 0..500 {
            if fs::read_to_string(self.log()).is_ok_and(|text| text.contains("listening on ")) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(format!("docker-registry does not listen on {HOST}: see {}", self.log().display()))
    }

    /// What it has now are the base images of all that follows.
    pub fn keep(&self) -> Result<(), String> {
        self.stop();
        let _ = fs::remove_dir_all(self.seed());
        fs::rename(self.data(), self.seed()).map_err(|error| error.to_string())
    }

    fn push_busybox(&self) -> Result<(), String> {
        let context = self.directory.join("busybox");
        fs::create_dir_all(&context).map_err(|error| error.to_string())?;
        run(Command::new("cp").arg("/bin/busybox").arg(context.join("busybox")))?;
        let install = "/bin/busybox mkdir -p /usr/bin /usr/sbin /sbin /etc /tmp && /bin/busybox --install -s && chmod 1777 /tmp && echo root:x:0:0::/:/bin/sh > /etc/passwd";
        let text = format!("FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"sh\", \"-c\", \"{install}\"]\n");
        fs::write(context.join("Dockerfile"), text).map_err(|error| error.to_string())?;
        let mut build = Command::new(env!("CARGO_BIN_EXE_brik"));
        build.args(["build", "--quiet", "--push", "--image", &format!("{HOST}/library/busybox"), "--tags", "latest"]);
        build.arg("--store").arg(self.directory.join("busybox-store"));
        run(build.current_dir(&context))
    }

    fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.process.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn stop(&self) {
        if let Some(mut child) = self.slot().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// All traffic so far. A request is logged after it was answered.
    pub fn traffic(&self) -> Traffic {
        std::thread::sleep(Duration::from_millis(80));
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let mut traffic = Traffic::default();
        for line in log.lines() {
            let mut quoted = line.split('"');
            let (Some(_), Some(request), Some(rest)) = (quoted.next(), quoted.next(), quoted.next()) else { continue };
            if !request.ends_with(" HTTP/1.1") {
                continue;
            }
            traffic.requests += 1;
            if request.starts_with("GET ") && request.contains("/blobs/") {
                traffic.bytes_down += rest.split_whitespace().nth(1).and_then(|bytes| bytes.parse::<u64>().ok()).unwrap_or(0);
            }
        }
        traffic.bytes_up = size(&self.data().join("docker/registry/v2/blobs"));
        traffic
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}

fn size(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => size(&entry.path()),
            _ => entry.metadata().map_or(0, |metadata| metadata.len()),
        })
        .sum()
}
