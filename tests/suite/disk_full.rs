//! A store whose disk is full, by bytes and by inodes, at whatever moment of a build: an error that names the store and the fix, nothing
//! half pushed, and a store that goes on as soon as there is room.
//!
//! The disk is a tmpfs in a mount namespace that ends with the test. Only root makes it: in a user namespace brik would be on another rung.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::support::aftermath::{forget, listing, whole_images};
use crate::support::server::{Answers, ok, serve};
use crate::support::{Brik, Project, Run, shared_registry, tools, trials};

/// A tmpfs at `store` beside the project, seen by nobody else.
struct Disk {
    holder: Child,
    place: PathBuf,
}

impl Disk {
    /// `None`, with a printed reason, for who is not root.
    fn mount(place: PathBuf) -> Option<Self> {
        if !tools::is_root() {
            tools::skipped("only root may mount a tmpfs without another user namespace");
            return None;
        }
        let mut holder = Command::new("unshare");
        holder.args(["--mount", "sh", "-c", "mount -t tmpfs tmpfs \"$1\" && echo mounted && exec cat", "sh"]).arg(&place);
        let mut holder = holder.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("unshare");
        let mut said = String::new();
        BufReader::new(holder.stdout.take().expect("stdout")).read_line(&mut said).expect("a line");
        let disk = Self { holder, place };
        assert_eq!(said, "mounted\n");
        Some(disk)
    }

    /// What is to be run on it, as the last arguments.
    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder.id().to_string(), "--mount"]);
        let directory = self.place.with_file_name("project");
        command.args(["--", "sh", "-c", "cd \"$1\" && shift && exec \"$@\"", "sh"]).arg(directory);
        command
    }

    /// From now on there is so much of it, in KiB and inodes, and nothing on it if `empty`.
    #[track_caller]
    fn becomes(&self, kib: usize, inodes: usize, empty: bool) {
        let remove = if empty { "rm -rf \"$1\"/*" } else { ":" };
        let script = format!("{remove} && mount -o remount,size={kib}k,nr_inodes={inodes} \"$1\"");
        let status = self.enter().args(["sh", "-c", &script, "sh"]).arg(&self.place).status().expect("nsenter");
        assert!(status.success(), "{kib} KiB and {inodes} inodes");
    }

    /// KiB and inodes that are taken.
    fn taken(&self) -> (usize, usize) {
        let used = rustix::fs::statvfs(self.seen()).expect("a file system");
        (((used.f_blocks - used.f_bfree) * used.f_frsize / 1024) as usize, (used.f_files - used.f_ffree) as usize)
    }

    /// Its path from outside.
    fn seen(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.holder.id(), self.place.display()))
    }

    fn store(&self) -> PathBuf {
        self.place.join("store")
    }

    fn listing(&self) -> BTreeSet<String> {
        listing(&self.seen().join("store"))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

const ROOM: (usize, usize) = (1 << 20, 1 << 20);

struct World {
    project: Project,
    disk: Disk,
    namespace: String,
}

impl World {
    fn new() -> Option<Self> {
        let project = Project::monorepo("members = [\"*\"]\ntags = [\"v1\"]\n")
            .file("a/Dockerfile", "FROM {busybox}\nRUN --mount=type=cache,target=/c echo begun; seq 1 40000 | tee /c/n > /n && echo made\n")
            .file("b/Dockerfile", "FROM a\nRUN cp /bin/busybox /big\nCOPY src /src\n")
            .file("b/src/file", "a file\n");
        let place = project.beside("disk");
        std::fs::create_dir(&place).expect("a directory");
        let prefix = project.prefix();
        let namespace = prefix.split_once('/').expect("host and namespace").1.to_owned();
        Some(Self { disk: Disk::mount(place)?, project, namespace })
    }

    fn brik(&self, args: &[&str]) -> Brik {
        self.project.brik(args).store(&self.disk.store()).under(self.disk.enter())
    }

    fn push(&self) -> Run {
        self.brik(&["build", "--push", "--progress", "json"]).run()
    }

    /// A failure that a user can do something about.
    #[track_caller]
    fn is_clear(&self, run: &Run, what: &str) {
        assert_eq!(run.code, Some(1), "{what}: {}", run.stderr);
        for part in [self.disk.store().to_str().expect("UTF-8"), "brik cache prune", "--store"] {
            assert!(run.has_said(part), "{what}: {part:?} is not in {}", run.stderr);
        }
        assert!(!run.stderr.contains("panicked"), "{what}: {}", run.stderr);
    }
}

/// How far it came.
fn reached(run: &Run) -> &'static str {
    let said = |part| run.stderr.contains(part);
    match () {
        () if said("\"push_finished\"") => "after a push",
        () if said("\"transfer\":\"push\"") => "upload",
        () if said("\"made\"") => "tar and records",
        () if said("\"begun\"") => "RUN",
        () if said("\"transfer\":\"pull\"") => "pull and unpack",
        () if said("\"step_started\"") => "before the pull",
        () => "opening and planning",
    }
}

#[test]
fn a_full_disk_is_told_with_the_fix_and_harms_nothing_whenever_it_comes() {
    let Some(world) = World::new() else { return };
    let World { disk, namespace, .. } = &world;
    let registry = shared_registry();
    disk.becomes(ROOM.0, ROOM.1, true);
    let whole = world.push();
    assert_eq!(whole.code, Some(0), "{}", whole.stderr);
    let (kib, inodes) = disk.taken();
    let mut came: BTreeMap<&str, usize> = BTreeMap::new();
    let points = trials(12);
    for point in 0..points {
        // From next to nothing to a little more than what is left at the end: there are temporary files before.
        let share = |most: usize| 4 + most * 3 / 2 * (point / 2) / points.div_ceil(2);
        let (size, files) = if point % 2 == 0 { (share(kib), ROOM.1) } else { (ROOM.0, share(inodes)) };
        forget(registry, namespace);
        disk.becomes(size, files, true);
        let run = world.push();
        let what = format!("{size} KiB, {files} inodes, {}", reached(&run));
        whole_images(registry, namespace);
        if run.code == Some(0) {
            *came.entry("enough").or_default() += 1;
            assert_eq!(run.stdout, whole.stdout, "{what}");
            continue;
        }
        *came.entry(reached(&run)).or_default() += 1;
        world.is_clear(&run, &what);
        // What is said to help does, if there is room for a directory.
        let prune = world.brik(&["cache", "prune", "--keep-storage", "1KB"]).run();
        if prune.code != Some(0) {
            world.is_clear(&prune, &what);
        }
        disk.becomes(ROOM.0, ROOM.1, false);
        let _ = world.brik(&["cache", "verify", "--dry-run"]).succeeds();
        let again = world.push();
        assert_eq!((again.code, &again.stdout), (Some(0), &whole.stdout), "{what}: {}", again.stderr);
        assert!(whole_images(registry, namespace) >= 2, "{what}");
        let left = disk.listing();
        assert!(left.iter().all(|name| !name.starts_with("tmp/")), "{what}: {left:#?}");
    }
    let came: Vec<String> = came.iter().map(|(phase, times)| format!("{phase} {times}")).collect();
    println!("full disk: {points} points: {}", came.join(", "));
}

#[test]
fn what_planning_fetches_and_has_no_room_for_is_told_with_the_fix() {
    let Some(world) = World::new() else { return };
    let host = serve(Answers::from([("/large".to_owned(), ok(&vec![1; 8 << 20]))]));
    world.project.write("add/Dockerfile", format!("FROM scratch\nADD http://{host}/large /\n"));
    world.disk.becomes(2 << 10, ROOM.1, true);
    let run = world.brik(&["build", "--image", "localhost/app", "add"]).run();
    world.is_clear(&run, "ADD");
}
