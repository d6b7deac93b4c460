//! COPY and WORKDIR on layers that are not here: tables of contents tell what is there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::support::{Brik, Project, Registry, Run, tools};

/// Services whose images have the same lower layers, which one runner has built and shared.
struct Shared {
    registry: Registry,
    project: Project,
}

/// Directories, links and files of many kinds; removed, replaced and made again by layers above.
const PARENT: &str = "FROM BASE\n\
    RUN mkdir -p /srv/odd /gone/deep /opaque/deep/er && chmod 2750 /srv/odd && chown 1:50 /srv/odd && echo x > /srv/odd/f \
    && ln -s odd /srv/relative && ln -s /srv/odd /absolute && ln -s /srv/relative /srv/chain && ln -s /nowhere/deep /dangling \
    && echo x > /srv/file && ln /srv/file /srv/hard && echo x > /opaque/f && chmod 700 /opaque/deep && mkfifo /srv/fifo \
    && ln -s /loop-b /loop-a && ln -s /loop-a /loop-b\n\
    RUN rm -rf /gone /opaque && mkdir -m 711 /opaque && rm /srv/odd/f && mkdir /srv/odd/f && chmod 1711 /srv/odd/f\n\
    RUN mkdir -p /opaque/deep /gone/again && chmod 1777 /opaque/deep && ln /srv/hard /srv/harder\n\
    RUN echo app:x:77:78::/app:/bin/sh >> /etc/passwd && ln /etc/passwd /etc/a-name-before\n";

impl Shared {
    fn new(services: usize) -> Self {
        let registry = Registry::start();
        let host = registry.host().to_owned();
        let base = Project::dockerfile("FROM {busybox}\nENV BASE=1\n");
        let _ = base.brik(["build", "--push", "--no-remote-cache", "--image", &format!("{host}/base"), "--tags", "1"]).succeeds();
        let toml = format!("registry = \"{host}/team\"\nmembers = [\"services/*\"]\ntags = [\"v1\"]\n");
        let shared = Self { registry, project: Project::empty().file("brik.toml", toml) };
        for n in 0..services {
            for file in ["one", "sub/two"] {
                shared.project.write(&format!("services/s{n}/src/{file}"), format!("{file} of {n}\n"));
            }
            shared.service(n, "");
        }
        let _ = shared.runner("first").succeeds();
        shared
    }

    /// Gives a service a Dockerfile that goes on from the shared layers.
    fn service(&self, n: usize, rest: &str) {
        let parent = PARENT.replace("BASE", &format!("{}/base:1", self.registry.host()));
        self.project.write(&format!("services/s{n}/Dockerfile"), format!("{parent}{rest}\n"));
    }

    /// A push from the store of this name.
    fn runner(&self, store: &str) -> Brik {
        self.project.brik(["build", "--push", "--progress", "json"]).store(&self.project.beside(store))
    }

    /// A push, and how many layers it pulls.
    fn layers_pulled(&self, push: impl FnOnce() -> Run) -> (Run, usize) {
        let before = self.registry.requests().len();
        let run = push();
        let blobs = self.registry.requests_since(before, "GET", "/blobs/sha256:");
        let digest = |request: &String| request.split("/blobs/").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        // Layers are in gzip, tables of contents in zstd, and all else is JSON.
        let is_layer = |request: &&String| fs::read(self.blob(&digest(request))).unwrap_or_default().starts_with(&[0x1f, 0x8b]);
        (run, blobs.iter().filter(is_layer).count())
    }

    /// Where the registry has the bytes of a blob.
    fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        self.registry.data().join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }

    /// Expects that a runner with nothing pulls no layer, or some, and makes the images that one makes that runs everything.
    #[track_caller]
    fn is_lazy(&self, lazy: bool) {
        let (run, layers) = self.layers_pulled(|| self.runner("fresh").succeeds());
        assert_eq!(layers == 0, lazy, "{layers} layers pulled: {}", run.stderr);
        assert!(!run.steps_run().is_empty());
        let whole = self.runner("whole").args(["--no-remote-cache"]).succeeds();
        assert_eq!(run.digests(), whole.digests());
    }
}

#[test]
fn wherever_it_copies_to_a_fresh_runner_pulls_no_layer_and_makes_the_image_of_a_full_build() {
    let tails = [
        "COPY src /srv/odd",
        "COPY src /srv/odd/",
        "COPY src /srv/relative/",
        "COPY src /absolute/x/",
        "COPY src/one /absolute",
        "COPY src /srv/chain/",
        "COPY src /dangling/",
        "COPY src/one /dangling",
        "COPY src /dangling/../x",
        "COPY src /app/",
        "COPY src /app/a/b",
        "COPY src /",
        "COPY src /opaque",
        "COPY src /opaque/deep/er/",
        "COPY src /gone/deep/",
        "COPY src/one src/sub /gone/",
        "COPY src/one /srv/file",
        "COPY src/one /srv/harder",
        "COPY src/one /srv/fifo",
        "COPY src/one /srv/odd/f",
        "COPY --chown=7:8 --chmod=0700 src /srv/odd/f/",
        "COPY --parents src/./sub/two /srv/odd/",
        "COPY <<EOF /srv/chain/here\ntext\nEOF",
        "ADD --unpack=false src/one /srv/chain/",
        "COPY --chown=app src /srv/odd/",
        "COPY --chown=guest:staff src /absolute/",
        "COPY --chown=nobody-knows src /app/",
        "WORKDIR /srv/chain/new/er",
        "WORKDIR /dangling",
        "WORKDIR /srv/odd",
        "USER 7:8\nWORKDIR /opaque/deep/er",
        "USER app:staff\nWORKDIR /srv/relative/er",
        "WORKDIR /srv/relative/app\nCOPY src/one .\nCOPY src/sub sub\nWORKDIR sub",
    ];
    let shared = Shared::new(tails.len());
    tails.iter().enumerate().for_each(|(n, tail)| shared.service(n, tail));
    shared.is_lazy(true);
}

#[test]
fn what_is_in_the_way_is_told_as_in_a_full_build() {
    let shared = Shared::new(1);
    for (tail, told) in [
        ("COPY src /srv/file/", "cannot copy to non-directory: /srv/file"),
        ("COPY src/one /srv/hard/x", "cannot copy to non-directory: /srv/hard"),
        ("COPY src /srv/fifo", "cannot copy to non-directory: /srv/fifo"),
        ("COPY src /loop-a/x", "/loop-a/x"),
        ("WORKDIR /srv/harder", "cannot copy to non-directory: /srv/harder"),
    ] {
        shared.service(0, tail);
        let (lazy, layers) = shared.layers_pulled(|| shared.runner("fresh").exits(1));
        let whole = shared.runner("whole").args(["--no-remote-cache"]).exits(1);
        lazy.says(&[told]);
        whole.says(&[told]);
        assert_eq!(layers, 0, "{tail}");
    }
}

#[test]
fn whoever_reads_files_of_the_parent_has_its_layers() {
    for tail in ["COPY src /app/\nRUN ls /app > /list", "ADD src/one /app/", "COPY --from=BASE /etc/group /app/"] {
        let shared = Shared::new(1);
        shared.service(0, &tail.replace("BASE", &format!("{}/base:1", shared.registry.host())));
        shared.is_lazy(false);
    }
}

#[test]
fn names_are_looked_up_wherever_the_image_has_them() {
    let shared = Shared::new(1);
    let moved = "RUN mkdir /other && mv /etc/passwd /other/users && ln -s ../other/users /etc/passwd\n";
    shared.service(0, moved);
    let _ = shared.runner("first").succeeds();
    shared.service(0, &format!("{moved}COPY --chown=app src /app/"));
    shared.is_lazy(false);
}

#[test]
fn without_good_tables_of_contents_the_layers_are_pulled() {
    let shared = Shared::new(1);
    shared.service(0, "COPY src /srv/chain/");
    let sent = shared.registry.requests_since(0, "PUT", "/blobs/uploads/");
    let digests = sent.iter().filter_map(|request| Some(request.split("digest=sha256%3A").nth(1)?[..64].to_owned()));
    let is_toc = |path: &PathBuf| fs::read(path).is_ok_and(|bytes| bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]));
    let tocs: Vec<PathBuf> = digests.map(|hex| shared.blob(&hex)).filter(is_toc).collect();
    // That of the base; those of the layers above stand in their entries.
    assert!(!tocs.is_empty(), "{sent:?}");
    for toc in tocs {
        let mut bytes = fs::read(&toc).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x55;
        fs::write(toc, bytes).unwrap();
    }
    shared.is_lazy(false);
}

#[test]
fn tables_of_contents_that_a_crash_has_emptied_are_not_believed() {
    let shared = Shared::new(1);
    shared.service(0, "COPY src /srv/chain/");
    let _ = shared.runner("fresh").succeeds();
    let mut emptied = 0;
    for entry in fs::read_dir(shared.project.beside("fresh").join("blobs/sha256")).unwrap().map(Result::unwrap) {
        // The mode of what was pulled.
        if entry.metadata().unwrap().permissions().mode() & 0o777 == 0o444 {
            let length = entry.metadata().unwrap().len() as usize;
            fs::remove_file(entry.path()).unwrap();
            fs::write(entry.path(), vec![0; length]).unwrap();
            emptied += 1;
        }
    }
    assert!(emptied > 0);
    shared.service(0, "COPY src /srv/relative/");
    shared.is_lazy(false);
}

#[test]
fn without_namespaces_it_is_the_same() {
    if !tools::is_root() {
        tools::skipped("only root can be root in a container");
        return;
    }
    let shared = Shared::new(2);
    shared.service(0, "COPY src /srv/chain/");
    shared.service(1, "WORKDIR /opaque/new\nCOPY src .");
    let (run, layers) = shared.layers_pulled(|| shared.runner("fresh").in_container().succeeds());
    let whole = shared.runner("whole").args(["--no-remote-cache"]).succeeds();
    assert_eq!((run.digests(), layers), (whole.digests(), 0));
}
