//! What is pushed: two services over one base, through a proxy, below a path that nobody else uses.

use std::fs;
use std::path::Path;

use super::kept;
use crate::support::{Ask, Brik, Fault, PASSWORD, Project, Proxy, Registry, Run, USER};

const BASE: &str = "seed/base";
const OLD: &str = "seed/old";

/// Bytes that do not compress.
fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(size).collect()
}

/// A registry with a base for two platforms and another that its tag may move to, and with what the services' tags lead to before.
pub fn registry() -> Registry {
    let registry = Registry::start();
    for (repository, tag, content) in [(BASE, "1", 1), (BASE, "moved", 2), (OLD, "v1", 3), (OLD, "moved", 4)] {
        let project = Project::dockerfile("FROM scratch\nCOPY file /file\n").file("file", noise(content, 30_000));
        let image = format!("{}/{repository}", registry.host());
        let push = project.brik(["build", "--push", "--no-remote-cache", "--image", &image, "--tags", tag]);
        let _ = push.args(["--platform", "linux/amd64", "--platform", "linux/arm64"]).succeeds();
    }
    registry
}

/// Which push is disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flow {
    /// The first there ever was.
    Cold,
    /// That of another machine after a file has changed.
    Warm,
}

/// The services, on a machine that knows nothing.
pub struct Monorepo {
    project: Project,
    /// Whose store is used.
    machine: &'static str,
}

impl Monorepo {
    /// The services `a` (for two platforms) and `b` below `namespace`, where both have an older image already.
    pub fn new(registry: &Registry, proxy: &Proxy, namespace: &str) -> Self {
        let host = proxy.host();
        for service in ["a", "b"] {
            let repositories = kept::repositories(registry);
            copy(&repositories.join(OLD), &repositories.join(namespace).join(service));
        }
        let toml = format!(
            "registry = \"{host}/{namespace}\"\nmembers = [\"*\"]\ntags = [\"v1\"]\n\
             [services.a]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n"
        );
        let from = format!("FROM {host}/{BASE}:1");
        let project = Project::empty()
            .file("brik.toml", toml)
            .file("a/Dockerfile", format!("{from}\nCOPY one /one\nCOPY two /two\n"))
            .file("b/Dockerfile", format!("{from} AS make\nCOPY three /three\n{from}\nCOPY --from=make /three /made\nCOPY four /four\n"));
        for (path, content) in [("a/one", 5), ("a/two", 6), ("b/three", 7), ("b/four", 8)] {
            project.write(path, noise(content, 40_000));
        }
        Self { project, machine: "first" }
    }

    /// Before the push of `flow`.
    pub fn prepare(&mut self, flow: Flow) {
        if flow == Flow::Warm {
            let _ = self.push().succeeds();
            self.project.write("a/two", noise(9, 40_000));
            self.project.write("b/four", noise(10, 40_000));
            self.machine = "second";
        }
    }

    pub fn push(&self) -> Brik {
        let store = self.project.beside(self.machine);
        self.project.brik(["build", "--push"]).store(&store).env("REGISTRY_TOKEN", PASSWORD).env("REGISTRY_USERNAME", USER)
    }
}

/// What a flow comes to with no fault, but for the tag of the base, which may have moved.
pub fn undisturbed(registry: &Registry, flow: Flow, namespace: &str, moved: bool) -> (Proxy, Run) {
    let proxy = Proxy::ghcr(registry);
    if moved {
        proxy.fault(Ask::ReadManifest.at(BASE), Fault::Moved);
    }
    let mut monorepo = Monorepo::new(registry, &proxy, namespace);
    monorepo.prepare(flow);
    proxy.forget();
    let run = monorepo.push().succeeds();
    (proxy, run)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory").flatten() {
        match entry.file_type().expect("a type").is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).expect("a file can be copied")),
        }
    }
}
