//! SIGKILL at any moment of a build or a prune: what was pushed is whole, the next run gives the same images, and nothing else is left.
//!
//! `BRIK_TRIALS` is how many are killed, `BRIK_SEED` when.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::support::aftermath::{forget, listing, no_mount_is_left, no_process_is_left, process_tree, whole_images};
use crate::support::{Brik, Project, random, shared_registry, tools, trials};

/// From what brik says first in a phase until what it says first in the next one.
const PHASES: [(&str, &str); 6] = [
    ("plan", ""),
    ("pull", "\"step_started\""),
    ("RUN", "\"begun\""),
    ("tar", "\"made\""),
    ("upload", "\"push\""),
    ("rest", "\"push_finished\""),
];

/// What a CI service or the kernel may kill: the process that it has started, its process group, all that it knows to be below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Process,
    Group,
    Tree,
}

const VICTIMS: [Victim; 3] = [Victim::Process, Victim::Group, Victim::Tree];

/// A project whose base is pulled, and a namespace of the registry that is empty before each trial.
struct World {
    project: Project,
    namespace: String,
    mark: String,
    in_container: bool,
}

impl World {
    fn new(name: &str, in_container: bool) -> Self {
        let mark = format!("brik-killed-{name}-{}", std::process::id());
        let project = Project::monorepo("members = [\"*\"]\ntags = [\"v1\"]\n")
            .file(
                "a/Dockerfile",
                format!(
                    "FROM {{busybox}}\nENV MARK={mark}\nCOPY src /src\nRUN --mount=type=cache,target=/cache \
                     echo begun; seq 1 30000 | tee /numbers > /cache/numbers; sleep 99 & sleep 0.1; cp /bin/busybox /big; echo made\n"
                ),
            )
            .file("a/src/file", "a file\n")
            .file("b/Dockerfile", "FROM a\nRUN wc -l < /numbers > /count; seq 30000 40000 > /more\nCOPY src /src\n")
            .file("b/src/file", "another file\n");
        let prefix = project.prefix();
        let namespace = prefix.split_once('/').expect("host and namespace").1.to_owned();
        Self { project, namespace, mark, in_container }
    }

    fn brik(&self, args: &[&str], store: &Path) -> Brik {
        let brik = self.project.brik(args).store(store);
        (if self.in_container { brik.in_container() } else { brik }).in_own_group()
    }

    fn push(&self, store: &Path) -> Brik {
        self.brik(&["build", "--push", "--progress", "json"], store)
    }
}

/// When something was said for the first time, since the start.
type Timeline = Vec<Duration>;

/// Reads along until everything is said.
fn lines(stderr: ChildStderr) -> Receiver<(Instant, String)> {
    let (sender, receiver) = channel();
    thread::spawn(move || BufReader::new(stderr).lines().map_while(Result::ok).try_for_each(|line| sender.send((Instant::now(), line))));
    receiver
}

/// The phase that a line begins, if it is the one after `phase`. Layers of the base are uploaded earlier, too.
fn phase_after(phase: usize, line: &str) -> usize {
    phase + usize::from(PHASES.get(phase + 1).is_some_and(|next| line.contains(next.1)))
}

/// When each phase of an undisturbed run began, and when the last one ended.
fn timeline(mut child: Child) -> Timeline {
    let started = Instant::now();
    let (mut begun, mut phase) = (vec![Duration::ZERO], 0);
    for (at, line) in lines(child.stderr.take().unwrap()) {
        let next = phase_after(phase, &line);
        if next > phase {
            begun.push(at - started);
        }
        phase = next;
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(phase, PHASES.len() - 1);
    begun.push(started.elapsed());
    begun
}

fn kill(child: &Child, victim: Victim) {
    let pid = Pid::from_child(child);
    match victim {
        Victim::Process => _ = kill_process(pid, Signal::KILL),
        Victim::Group => _ = kill_process_group(pid, Signal::KILL),
        Victim::Tree => {
            // All at once, as the kernel does it for a cgroup: nobody has the time to fork.
            let mut stopped = Vec::new();
            while let Some(new) = process_tree(child.id()).into_iter().find(|pid| !stopped.contains(pid)) {
                send(new, Signal::STOP);
                stopped.push(new);
            }
            stopped.into_iter().for_each(|pid| send(pid, Signal::KILL));
        }
    }
}

fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    let _ = kill_process(pid, signal);
}

/// Kills it `delay` after `phase` has begun. The phase in which it died; `None` if it had ended.
fn killed(mut child: Child, victim: Victim, phase: usize, delay: Duration) -> Option<usize> {
    let lines = lines(child.stderr.take().unwrap());
    let (mut now, mut deadline) = (0, None);
    loop {
        if now >= phase {
            deadline.get_or_insert_with(|| Instant::now() + delay);
        }
        let wait = deadline.map_or(Duration::from_secs(120), |deadline| deadline.saturating_duration_since(Instant::now()));
        match lines.recv_timeout(wait) {
            Ok((_, line)) => now = phase_after(now, &line),
            Err(_) => break,
        }
    }
    kill(&child, victim);
    let ended = child.wait().unwrap();
    lines.iter().for_each(|(_, line)| now = phase_after(now, &line));
    (ended.code().is_none()).then_some(now)
}

fn try_kills(name: &str, in_container: bool, count: usize) {
    let world = World::new(name, in_container);
    let registry = shared_registry();
    let mut random = random();
    let undisturbed = world.project.beside("undisturbed");
    let timeline = timeline(world.push(&undisturbed).start());
    let images = world.push(&undisturbed).succeeds().stdout;
    let expected = listing(&undisturbed);
    let mut died: BTreeMap<&str, usize> = BTreeMap::new();
    for trial in 0..count {
        let store = world.project.beside(&format!("store-{trial}"));
        let victim = VICTIMS[trial / (PHASES.len() + 1) % VICTIMS.len()];
        forget(registry, &world.namespace);
        let phase = trial % (PHASES.len() + 1);
        let ended_in = if phase < PHASES.len() {
            let delay = (timeline[phase + 1] - timeline[phase]).mul_f64(random.f64());
            killed(world.push(&store).start(), victim, phase, delay).map(|phase| PHASES[phase].0)
        } else {
            let _ = world.push(&store).succeeds();
            let started = Instant::now();
            let _ = world.brik(&["cache", "prune"], &undisturbed).succeeds();
            let delay = started.elapsed().mul_f64(random.f64());
            killed(world.brik(&["cache", "prune"], &store).start(), victim, 0, delay).map(|_| "prune")
        };
        *died.entry(ended_in.unwrap_or("too late")).or_default() += 1;
        let what = format!("trial {trial}: {victim:?} killed in {ended_in:?}");
        no_process_is_left(&world.mark);
        no_process_is_left(&store.display().to_string());
        no_mount_is_left(&world.project);
        whole_images(registry, &world.namespace);
        if store.is_dir() {
            let _ = world.brik(&["cache", "verify", "--dry-run"], &store).succeeds();
        }

        let again = world.push(&store).succeeds();
        assert_eq!(again.stdout, images, "{what}");
        assert!(whole_images(registry, &world.namespace) >= 2, "{what}");
        // What was pushed before it died need not be here again.
        let left = listing(&store);
        let too_much: Vec<_> = left.difference(&expected).collect();
        assert!(too_much.is_empty(), "{what}: {too_much:#?}");
        let _ = world.brik(&["cache", "prune"], &store).succeeds();
        fs::remove_dir_all(&store).unwrap();
    }
    let died: Vec<String> = died.iter().map(|(phase, times)| format!("{phase} {times}")).collect();
    println!("killed ({name}): {count} trials: {}", died.join(", "));
}

#[test]
fn after_a_kill_at_any_moment_what_is_pushed_is_whole_and_the_next_run_is_as_ever() {
    try_kills("namespaces", false, trials(7));
}

#[test]
fn after_a_kill_without_namespaces_nothing_is_left_either() {
    if tools::is_root() {
        return try_kills("chroot", true, trials(7));
    }
    tools::skipped("only root can be root in a container");
}
