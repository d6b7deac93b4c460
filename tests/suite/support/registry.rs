//! Debian's docker-registry on a free port of loopback.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{fs, thread};

use super::Project;

/// Who may use a registry that was started [`Registry::with_password`].
pub const USER: &str = "brik";
pub const PASSWORD: &str = "correct-horse-battery";
/// bcrypt of [`PASSWORD`], cost 4.
const HTPASSWD: &str = "brik:$2y$04$pTzDMf1o/SKw6DBMkC0L2.dD60uuI9CjlHLfY/r9Qg.GMKck5Fd0e\n";

/// Ends, with its data, when it goes out of scope or when the tests end, however they end.
#[must_use]
pub struct Registry {
    host: String,
    directory: PathBuf,
    guard: Child,
}

/// Waits for the end of its stdin, which is the end of the tests, and takes the registry with it.
const GUARD: &str = r#"docker-registry serve "$1/config.yml" >"$1/log" 2>&1 & cat >/dev/null; kill $!; wait; rm -rf "$1""#;

impl Registry {
    pub fn start() -> Self {
        Self::serve("")
    }

    /// Only [`USER`] with [`PASSWORD`] may read and write.
    pub fn with_password() -> Self {
        Self::serve("auth: {htpasswd: {realm: test, path: DIRECTORY/htpasswd}}\n")
    }

    fn serve(auth: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("brik-registry-").tempdir().expect("a temporary directory").keep();
        let config = "version: 0.1\n\
            log: {level: info, accesslog: {disabled: false}}\n\
            storage: {filesystem: {rootdirectory: DIRECTORY/data}, delete: {enabled: true}}\n\
            http: {addr: '127.0.0.1:0'}\n";
        let config = (config.to_owned() + auth).replace("DIRECTORY", &directory.display().to_string());
        fs::write(directory.join("config.yml"), config).expect("the configuration can be written");
        fs::write(directory.join("htpasswd"), HTPASSWD).expect("the password file can be written");
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "registry"]).arg(&directory).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let guard = guard.spawn().expect("a shell starts");
        let mut registry = Self { host: String::new(), directory: directory.clone(), guard };
        let log = directory.join("log");
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            let text = fs::read_to_string(&log).unwrap_or_default();
            if let Some((_, rest)) = text.split_once("listening on ") {
                registry.host = rest.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
                return registry;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("docker-registry did not start: {}", fs::read_to_string(&log).unwrap_or_default());
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Where its blobs and tags lie.
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Every request so far, as in `PUT /v2/app/manifests/v1 201`, oldest first.
    pub fn requests(&self) -> Vec<String> {
        // A request is logged after it was answered.
        let mut text = read(&self.directory.join("log"));
        loop {
            thread::sleep(Duration::from_millis(60));
            let now = read(&self.directory.join("log"));
            if now == text {
                break;
            }
            text = now;
        }
        let request = |line: &str| {
            let mut quoted = line.split('"');
            let (_, request, rest) = (quoted.next()?, quoted.next()?, quoted.next()?);
            let (method, path) = request.rsplit_once(" HTTP/1.")?.0.split_once(' ')?;
            Some(format!("{method} {path} {}", rest.split_whitespace().next()?))
        };
        text.lines().filter_map(request).collect()
    }

    /// The requests since there were `before`, whose path contains `part` and whose method is `method`.
    pub fn requests_since(&self, before: usize, method: &str, part: &str) -> Vec<String> {
        let wanted = |request: &String| request.starts_with(&format!("{method} ")) && request.contains(part);
        self.requests().into_iter().skip(before).filter(wanted).collect()
    }

    /// The tags of a repository, as they lie on its disk.
    pub fn tags(&self, repository: &str) -> Vec<String> {
        let path = self.data().join("docker/registry/v2/repositories").join(repository).join("_manifests/tags");
        let mut tags: Vec<String> =
            fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        tags.sort();
        tags
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// The registry that all tests share; each writes below a namespace of its own.
pub fn shared_registry() -> &'static Registry {
    static SHARED: OnceLock<Registry> = OnceLock::new();
    SHARED.get_or_init(Registry::start)
}

/// The name of a base image with a shell, which brik itself has built from Debian's busybox and pushed to the shared registry.
pub fn busybox() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let binary = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find_map(|path| fs::read(path).ok());
        let install = "/bin/busybox mkdir -p /usr/bin /usr/sbin /sbin /etc /tmp /root && /bin/busybox --install -s && chmod 1777 /tmp \
             && echo root:x:0:0:root:/root:/bin/sh >/etc/passwd && echo guest:x:1000:1000::/home/guest:/bin/sh >>/etc/passwd \
             && echo root:x:0: >/etc/group && echo guest:x:1000: >>/etc/group && echo staff:x:50:guest >>/etc/group";
        let dockerfile = format!(
            "FROM scratch\nCOPY --chmod=755 busybox /bin/busybox\nRUN [\"/bin/busybox\", \"sh\", \"-c\", \"{install}\"]\nCMD [\"sh\"]\n"
        );
        let project = Project::empty().file("busybox", binary.expect("busybox-static is installed")).file("Dockerfile", dockerfile);
        let name = format!("{}/library/busybox", shared_registry().host());
        let _ = project.brik(["build", "--push", "--image", &name, "--tags", "latest"]).succeeds();
        name
    })
}
