//! Services with caches, and somebody who can write one of them.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::{Brik, Project, Registry, Run};

/// What they have in common but for the first Step is made in two ways, so that only its content is the same.
pub const DOCKERFILE: &str = "FROM {busybox}\nRUN echo tools > /tools\nRUN : NAME; echo one > /one\nCOPY f.txt /srv/in/\nWORKDIR /app\nRUN cat /srv/in/f.txt > /two\nUSER guest\n";

pub struct Monorepo {
    pub registry: Registry,
    pub project: Project,
}

impl Monorepo {
    /// Services a and b, pushed by somebody, so that there are caches; then a's cache has been in other hands.
    pub fn new(forge: impl Fn(&mut Value, &Value), of: &str) -> Self {
        let registry = Registry::start();
        let host = registry.host();
        let evil = Self::services(host, "evil", &["a"]).file("a/f.txt", "EVIL\n");
        if of == "echo one" {
            evil.write("a/Dockerfile", DOCKERFILE.replace("echo one > /one", "echo one > /one; ln -s /etc /srv"));
        }
        let project = Self::services(host, "team", &["a", "b"]);
        let monorepo = Self { registry, project };
        let _ = monorepo.push("first", &["a", "b"]).succeeds();
        let _ = evil.brik(["build", "--push"]).succeeds();
        let wanted = |entry: &Value| entry["record"]["inputs"].to_string().contains(of);
        let theirs = monorepo.entries("evil/a-cache", 's').into_iter().map(|(_, _, entry)| entry).find(wanted).expect("an evil entry");
        for (tag, mut manifest, mut entry) in monorepo.entries("team/a-cache", 's').into_iter().filter(|(_, _, entry)| wanted(entry)) {
            forge(&mut entry, &theirs);
            let layer = entry["record"]["layer"].clone();
            monorepo.give(&layer);
            manifest["layers"] = json!([layer]);
            monorepo.put(&tag, manifest, &entry);
        }
        // Without its image, a is made of its Steps.
        for (tag, ..) in monorepo.entries("team/a-cache", 'i') {
            fs::remove_dir_all(monorepo.tags("team/a-cache").join(tag)).unwrap();
        }
        monorepo
    }

    pub fn services(host: &str, namespace: &str, names: &[&str]) -> Project {
        let toml = format!("registry = \"{host}/{namespace}\"\nmembers = [\"*\"]\ntags = [\"v1\"]\n");
        let project = Project::empty().file("brik.toml", toml);
        for name in names {
            project.write(&format!("{name}/Dockerfile"), DOCKERFILE.replace("NAME", name));
            project.write(&format!("{name}/f.txt"), "good\n");
        }
        project
    }

    pub fn brik(&self, store: &str, args: &[&str]) -> Brik {
        self.project.brik(["build", "--progress", "json", "--format", "json"]).args(args).store(&self.project.beside(store))
    }

    pub fn push(&self, store: &str, services: &[&str]) -> Brik {
        self.brik(store, &["--push"]).args(services)
    }

    pub fn without_caches(&self, store: &str, service: &str) -> Brik {
        self.brik(store, &["--no-remote-cache", service])
    }

    pub fn repository(&self, name: &str) -> PathBuf {
        self.registry.data().join("docker/registry/v2/repositories").join(name)
    }

    pub fn tags(&self, repository: &str) -> PathBuf {
        self.repository(repository).join("_manifests/tags")
    }

    pub fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        self.registry.data().join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }

    /// Tags of a kind, with their manifests and the records in these.
    pub fn entries(&self, repository: &str, kind: char) -> Vec<(String, Value, Value)> {
        let tags = self.registry.tags(repository).into_iter().filter(|tag| tag.starts_with(&format!("{kind}-")));
        let read = |tag: String| {
            let digest = fs::read_to_string(self.tags(repository).join(&tag).join("current/link")).unwrap();
            let manifest: Value = serde_json::from_slice(&fs::read(self.blob(&digest)).unwrap()).unwrap();
            let record = serde_json::from_str(manifest["annotations"]["dev.brik.record"].as_str().unwrap()).unwrap();
            (tag, manifest, record)
        };
        tags.map(read).collect()
    }

    /// Puts an entry into a's cache.
    pub fn put(&self, tag: &str, mut manifest: Value, entry: &Value) {
        manifest["annotations"]["dev.brik.record"] = entry.to_string().into();
        let bytes = manifest.to_string();
        let digest = sha256(bytes.as_bytes());
        write(&self.blob(&digest), &bytes);
        let hex = digest.trim_start_matches("sha256:");
        write(&self.repository("team/a-cache").join(format!("_manifests/revisions/sha256/{hex}/link")), &digest);
        write(&self.tags("team/a-cache").join(tag).join("current/link"), &digest);
    }

    /// Lets a's cache have a blob that the registry has.
    pub fn give(&self, blob: &Value) {
        let digest = blob["digest"].as_str().unwrap();
        let hex = digest.trim_start_matches("sha256:");
        write(&self.repository("team/a-cache").join(format!("_layers/sha256/{hex}/link")), digest);
    }

    /// The digest of a service's image, made of what it says and of nothing else.
    pub fn honest(&self, service: &str) -> String {
        digest(&self.without_caches("honest", service).succeeds(), service)
    }
}

fn write(path: &std::path::Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

pub fn sha256(bytes: &[u8]) -> String {
    brik::oci::Digest::of(bytes).to_string()
}

pub fn digest(run: &Run, service: &str) -> String {
    let rows = serde_json::from_str::<Value>(&run.stdout).unwrap()["rows"].as_array().unwrap().clone();
    rows.iter().find(|row| row["service"] == service).unwrap()["digest"].as_str().unwrap().to_owned()
}
