//! A monorepo in a temporary directory.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Brik, Image, busybox, shared_registry};

/// A directory tree with a home and a store beside it. All is removed when it goes out of scope.
#[must_use]
pub struct Project {
    root: tempfile::TempDir,
    /// A path that no other project of this test run has in its registry.
    namespace: String,
}

impl Project {
    pub fn empty() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let root = tempfile::Builder::new().prefix("brik-test-").tempdir().expect("a temporary directory");
        fs::create_dir_all(root.path().join("project")).expect("a project directory");
        fs::create_dir_all(root.path().join("home")).expect("a home directory");
        Self { root, namespace: format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed)) }
    }

    /// One Dockerfile; `{busybox}` in it is the name of a small base image. See [`Project::image`].
    pub fn dockerfile(text: &str) -> Self {
        Self::empty().file("Dockerfile", text)
    }

    /// A brik.toml that pushes below [`Project::prefix`] and finds `busybox`, followed by `toml`.
    pub fn monorepo(toml: &str) -> Self {
        let project = Self::empty();
        let text =
            format!("registry = \"{}\"\n{toml}\n[registries.\"docker.io\"]\nmirror = \"{}\"\n", project.prefix(), shared_registry().host());
        project.file("brik.toml", &text)
    }

    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.write(path, content);
        self
    }

    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let whole = self.path(path);
        fs::create_dir_all(whole.parent().expect("a parent")).expect("directories can be made");
        let content = content.as_ref();
        let is_dockerfile = content.windows(9).any(|window| window == b"{busybox}");
        let text = is_dockerfile.then(|| String::from_utf8_lossy(content).replace("{busybox}", busybox()));
        fs::write(whole, text.as_ref().map_or(content, String::as_bytes)).expect("files can be written");
    }

    /// Commits everything, with the same hash for the same files.
    pub fn commit(self) -> Self {
        self.git(["init", "--quiet", "--initial-branch=main"]);
        self.git(["add", "--all"]);
        self.git(["commit", "--quiet", "--allow-empty", "--message=all"]);
        self
    }

    #[track_caller]
    pub fn git<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) {
        let mut git = Command::new("git");
        git.current_dir(self.path(""))
            .args(args)
            .stdin(Stdio::null())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        git.env("HOME", self.home()).env("GIT_CONFIG_NOSYSTEM", "1");
        for role in ["AUTHOR", "COMMITTER"] {
            git.env(format!("GIT_{role}_NAME"), "brik").env(format!("GIT_{role}_EMAIL"), "brik@localhost");
            git.env(format!("GIT_{role}_DATE"), "2001-02-03T04:05:06Z");
        }
        let output = git.output().expect("git is installed");
        assert!(output.status.success(), "git: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.path().join("project").join(relative)
    }

    pub fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    pub fn store(&self) -> PathBuf {
        self.home().join("cache/brik")
    }

    /// `registry/namespace`, below which the images of the services lie.
    pub fn prefix(&self) -> String {
        format!("{}/{}", shared_registry().host(), self.namespace)
    }

    pub fn brik<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Brik {
        Brik::new(&self.path(""), &self.home()).args(args)
    }

    /// `brik build` of the Dockerfile alone, into the OCI layout `out` beside the project. [`Project::built`] reads it.
    pub fn build<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Brik {
        self.brik(["build", "--image", "localhost/app", "--progress", "json", "--output"])
            .args([format!("oci:{}", self.out().display())])
            .args(args)
    }

    pub fn out(&self) -> PathBuf {
        self.root.path().join("out")
    }

    #[track_caller]
    pub fn built(&self) -> Image {
        Image::read(&self.out())
    }

    /// Builds the Dockerfile and reads the image.
    #[track_caller]
    pub fn image<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Image {
        let _ = self.build(args).succeeds();
        self.built()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        // Snapshots may hold files of subordinate ids, which only brik's user namespace can remove.
        let stores = fs::read_dir(self.root.path()).into_iter().flatten().flatten().map(|entry| entry.path());
        for store in stores.chain([self.store()]).filter(|path| path.join("snapshots").is_dir()) {
            let _ = Brik::new(Path::new("/"), &self.home()).store(&store).args(["cache", "prune"]).run();
        }
    }
}

impl Project {
    /// A place for a second store, beside the project.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }
}
