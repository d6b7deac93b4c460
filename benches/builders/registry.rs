//! Debian's docker-registry on a fixed port of loopback. Every measured sequence gets one that has the base images and nothing else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Mutex;
use std::time::Duration;

use crate::process::{interrupted, run, server};
use crate::shelf::Shelf;
use crate::traffic::Traffic;

pub const HOST: &str = "127.0.0.1:5077";

pub struct Registry {
    directory: PathBuf,
    /// The program that makes base images.
    brik: PathBuf,
    process: Mutex<Option<Child>>,
}

impl Registry {
    /// The base images are made with busybox from Debian, or taken from `bases`, another registry's data directory.
    pub fn prepare(directory: &Path, bases: Option<&Path>, brik: &Path) -> Result<Self, String> {
        fs::create_dir_all(directory).map_err(|error| error.to_string())?;
        let config = "version: 0.1\nlog: {level: info, accesslog: {disabled: false}}\n\
            storage: {filesystem: {rootdirectory: DIRECTORY/data}, delete: {enabled: true}}\nhttp: {addr: 'HOST'}\n";
        let config = config.replace("DIRECTORY", &directory.display().to_string()).replace("HOST", HOST);
        fs::write(directory.join("config.yml"), config).map_err(|error| error.to_string())?;
        let registry = Self { directory: directory.to_owned(), brik: brik.to_owned(), process: Mutex::new(None) };
        if !registry.seed().exists() {
            if let Some(bases) = bases {
                run(Command::new("cp").arg("-a").arg(bases).arg(registry.data()))?;
            }
            registry.start()?;
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

    fn has(&self, repository: &str) -> bool {
        let inside = format!("docker/registry/v2/repositories/{repository}/_manifests/tags/latest");
        self.data().join(&inside).exists() || self.seed().join(inside).exists()
    }

    /// Sees to it that `library/large` is a base image: made of the Dockerfile in `context`, with layers that skopeo has compressed, as
    /// one gzip stream each, and not brik in blocks that suit brik.
    pub fn prepare_large(&self, context: &Path) -> Result<(), String> {
        if self.has("library/large") {
            return Ok(());
        }
        self.start_afresh()?;
        let (archive, store) = (self.directory.join("large.tar"), self.directory.join("large-store"));
        let mut build = Command::new(&self.brik);
        build.args(["build", "--progress", "quiet", "--image", "localhost/large", "--store"]).arg(&store);
        run(build.arg("--output").arg(format!("docker:{}", archive.display())).current_dir(context))?;
        let mut copy = Command::new("skopeo");
        copy.args(["copy", "--quiet", "--dest-tls-verify=false", &format!("docker-archive:{}", archive.display())]);
        run(copy.arg(format!("docker://{HOST}/library/large:latest")))?;
        self.forget_store(&store)?;
        fs::remove_file(&archive).map_err(|error| error.to_string())?;
        self.keep()
    }

    fn forget_store(&self, store: &Path) -> Result<(), String> {
        run(Command::new(&self.brik).args(["cache", "prune", "--store"]).arg(store))?;
        fs::remove_dir_all(store).map_err(|error| error.to_string())
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

    fn start(&self) -> Result<(), String> {
        self.stop();
        let failed = |error: std::io::Error| format!("cannot start docker-registry: {error}");
        let log = fs::File::create(self.log()).map_err(failed)?;
        let errors = log.try_clone().map_err(failed)?;
        let mut serve = server("docker-registry", "KILL");
        serve.arg("serve").arg(self.directory.join("config.yml")).stdout(log).stderr(errors);
        *self.slot() = Some(serve.spawn().map_err(failed)?);
        for _ in 0..500 {
            if interrupted() {
                return Err("interrupted".to_owned());
            }
            if fs::read_to_string(self.log()).is_ok_and(|text| text.contains("listening on ")) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        Err(format!("docker-registry does not listen on {HOST}: {}", log.lines().last().unwrap_or_default()))
    }

    /// What it has now are the base images of all that follows.
    fn keep(&self) -> Result<(), String> {
        self.stop();
        let _ = fs::remove_dir_all(self.seed());
        fs::rename(self.data(), self.seed()).map_err(|error| error.to_string())
    }

    fn push_busybox(&self) -> Result<(), String> {
        let context = self.directory.join("busybox");
        fs::create_dir_all(&context).map_err(|error| error.to_string())?;
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].map(Path::new).into_iter().find(|path| path.exists());
        let busybox = busybox.ok_or("busybox is not installed (package busybox-static)")?;
        run(Command::new("cp").arg(busybox).arg(context.join("busybox")))?;
        let install = "/bin/busybox mkdir -p /usr/bin /usr/sbin /sbin /etc /tmp && /bin/busybox --install -s && chmod 1777 /tmp && echo root:x:0:0::/:/bin/sh > /etc/passwd";
        let text = format!("FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"sh\", \"-c\", \"{install}\"]\n");
        fs::write(context.join("Dockerfile"), text).map_err(|error| error.to_string())?;
        let store = self.directory.join("busybox-store");
        let mut build = Command::new(&self.brik);
        build.args(["build", "--progress", "quiet", "--push", "--image", &format!("{HOST}/library/busybox"), "--tags", "latest"]);
        run(build.arg("--store").arg(&store).current_dir(&context))?;
        self.forget_store(&store)
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
        Traffic::read(&fs::read_to_string(self.log()).unwrap_or_default(), &self.data())
    }

    /// What the builders' repositories have now.
    pub fn shelf(&self) -> Shelf {
        Shelf::read(&self.data().join("docker/registry/v2/repositories/bench"))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}
