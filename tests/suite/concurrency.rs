//! Many briks at once, on one store or on several, while others make the store smaller.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::support::aftermath::{listing, whole_images};
use crate::support::{Project, Run, shared_registry, trials};

const AT_ONCE: usize = 8;
/// After this, they wait for each other.
const DEADLOCK: Duration = Duration::from_secs(300);

/// Three services, one over another, and a stage that two share. `version` is what their sources say.
fn monorepo(version: &str) -> Project {
    let project = Project::monorepo("members = [\"*\"]\ntags = [\"v1\"]\n")
        .file("a/Dockerfile", "FROM {busybox}\nRUN seq 1 2000 > /numbers\nCOPY src /src\nRUN cat /src/file > /made\n")
        .file("b/Dockerfile", "FROM a\nCOPY src /src\nRUN wc -c < /src/file > /made; sleep 0.05\n")
        .file("c/Dockerfile", "FROM {busybox}\nRUN seq 1 2000 > /numbers\nRUN --mount=type=cache,target=/c date >> /c/x; sleep 0.05\n");
    write_sources(&project, version);
    project
}

fn write_sources(project: &Project, version: &str) {
    ["a", "b"].iter().for_each(|name| project.write(&format!("{name}/src/file"), format!("{name} {version}\n")));
}

/// Waits for all, each of which has to succeed.
#[track_caller]
fn all_succeed(children: Vec<Child>) -> Vec<Run> {
    let started = Instant::now();
    let waiting: Vec<_> = children.into_iter().map(|child| thread::spawn(|| Run::of(child.wait_with_output().expect("output")))).collect();
    while waiting.iter().any(|thread| !thread.is_finished()) {
        assert!(started.elapsed() < DEADLOCK, "they wait for each other");
        thread::sleep(Duration::from_millis(20));
    }
    let runs: Vec<Run> = waiting.into_iter().map(|thread| thread.join().expect("a run")).collect();
    for run in &runs {
        assert_eq!(run.code, Some(0), "{}", run.stderr);
    }
    runs
}

fn pushes(project: &Project, store: impl Fn(usize) -> std::path::PathBuf) -> Vec<Child> {
    let push = |number| project.brik(["build", "--push", "--progress", "json"]).store(&store(number)).start();
    (0..AT_ONCE).map(push).collect()
}

/// How often each Step has run, over all runs.
fn executions(runs: &[Run]) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    runs.iter().flat_map(Run::steps_run).for_each(|step| *times.entry(step).or_default() += 1);
    times
}

#[track_caller]
fn same_images(runs: &[Run]) -> String {
    for run in runs {
        assert_eq!(run.stdout, runs[0].stdout);
    }
    runs[0].stdout.clone()
}

/// Makes everything in a store old enough for a prune to take it.
fn make_old(store: &Path) {
    let old = SystemTime::now() - Duration::from_secs(7200);
    for name in listing(store).iter().filter(|name| !name.starts_with("tmp/")) {
        File::open(store.join(name)).and_then(|file| file.set_modified(old)).expect("it can be made old");
    }
}

#[test]
fn eight_briks_on_one_store_run_each_step_once_while_others_prune_it() {
    let (mut rounds, mut pruned_rounds, mut prunes) = (0, 0, 0);
    for round in 0..trials(2) {
        let project = monorepo("first");
        let store = project.store();
        let _ = project.brik(["build", "--push"]).store(&store).succeeds();
        make_old(&store);
        let before = listing(&store);
        write_sources(&project, &format!("round {round}"));
        let done = AtomicBool::new(false);
        let (runs, gone) = thread::scope(|scope| {
            let prune = scope.spawn(|| {
                let mut times = 0;
                while !done.load(Ordering::Relaxed) {
                    let keep: &[&str] = [&["cache", "prune"][..], &["cache", "prune", "--keep-storage", "1KB"]][times % 2];
                    let _ = project.brik(keep).store(&store).succeeds();
                    times += 1;
                }
                times
            });
            let runs = all_succeed(pushes(&project, |_| store.clone()));
            let gone = before.difference(&listing(&store)).count();
            done.store(true, Ordering::Relaxed);
            prunes += prune.join().expect("prunes");
            (runs, gone)
        });
        rounds += 1;
        pruned_rounds += usize::from(gone > 0);
        let fresh = project.brik(["build", "--no-remote-cache"]).store(&project.beside("fresh")).succeeds();
        assert_eq!(tag_free(&same_images(&runs)), tag_free(&fresh.stdout));
        for (step, times) in executions(&runs) {
            assert_eq!(times, 1, "{step}");
        }
        assert!(whole_images(shared_registry(), &namespace(&project)) >= 3);
        let _ = project.brik(["cache", "verify", "--dry-run"]).store(&store).succeeds();
    }
    println!("8 briks, one store: {rounds} rounds with {prunes} prunes, in {pruned_rounds} of them something was pruned");
    assert!(pruned_rounds > 0, "nothing was ever pruned");
}

#[test]
fn eight_briks_with_a_store_each_push_the_same_images_to_one_registry() {
    let rounds = trials(1);
    for round in 0..rounds {
        let project = monorepo(&format!("round {round}"));
        let runs = all_succeed(pushes(&project, |number| project.beside(&format!("store-{number}"))));
        same_images(&runs);
        assert!(whole_images(shared_registry(), &namespace(&project)) >= 3);
    }
    println!("8 briks, 8 stores: {rounds} rounds");
}

fn namespace(project: &Project) -> String {
    project.prefix().split_once('/').expect("host and namespace").1.to_owned()
}

fn tag_free(images: &str) -> Vec<String> {
    images.lines().map(|line| line.rsplit('@').next().unwrap_or_default().to_owned()).collect()
}
