//! The other builder: Debian's buildah, with a storage of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::generate::Case;
use crate::support::{Image, busybox, tools};

/// A storage in a temporary directory, with the base image in it.
pub struct Buildah {
    directory: tempfile::TempDir,
}

/// As root, the storage's mounts would stay behind; in a namespace of their own they end with it.
const AS_ROOT: [&str; 3] = ["unshare", "--mount", "--propagation=private"];

impl Buildah {
    pub fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("brik-buildah-").tempdir().expect("a temporary directory");
        let buildah = Self { directory };
        let output = buildah.command(&["pull", "--quiet", "--tls-verify=false", busybox()]).output().expect("buildah starts");
        assert!(output.status.success(), "buildah pull: {}", String::from_utf8_lossy(&output.stderr));
        buildah
    }

    /// The image, or what buildah says against it.
    pub fn build(&self, case: &Case, context: &Path) -> Result<Image, String> {
        let out = self.path("out");
        let _ = std::fs::remove_dir_all(&out);
        // The manifest of OCI has no place for HEALTHCHECK, SHELL and ONBUILD in buildah's eyes.
        let mut build = self.command(&["build", "--pull=never", "--isolation=chroot", "--no-cache", "--force-rm", "--format=docker"]);
        build.arg(format!("--layers={}", case.layers)).arg("--identity-label=false");
        build.args(case.arguments.iter().map(|argument| format!("--build-arg={argument}")));
        build.arg(format!("--tag=dir:{}", out.display())).arg(context);
        let output = build.output().expect("buildah starts");
        match output.status.success() {
            true => Ok(with_capabilities_only(Image::read_dir_transport(&out))),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let wrapper = if tools::is_root() { &AS_ROOT[..] } else { &[] };
        let words: Vec<&str> = [wrapper, &["buildah", "--storage-driver=overlay"]].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg("--root").arg(self.path("storage")).arg("--runroot").arg(self.path("run")).args(args);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.directory.path()).env("XDG_RUNTIME_DIR", self.directory.path()).env("TMPDIR", self.directory.path());
        command.stdin(Stdio::null());
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// Of the extended attributes, BuildKit's layers have file capabilities; buildah's have what users set, and rootless even those in which
/// overlayfs keeps its books.
fn with_capabilities_only(mut image: Image) -> Image {
    for entry in image.files.values_mut() {
        entry.xattrs.retain(|name, _| name == "security.capability");
    }
    image
}

impl Drop for Buildah {
    fn drop(&mut self) {
        // Files of subordinate ids can only be removed in buildah's user namespace.
        if !tools::is_root() {
            let _ = Command::new("buildah").args(["unshare", "rm", "-rf"]).arg(self.path("storage")).output();
        }
    }
}
