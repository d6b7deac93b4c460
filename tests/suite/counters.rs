//! Exact counters: the processes, files and requests that a build costs. A number stands in one place, with its reason. Who makes brik
//! do with less changes the number; who makes it do more learns it here.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::support::trace::Trace;
use crate::support::{Brik, Project, Registry, Run, tools};

/// Where a Step runs, brik reads the definitions and plans outside of its sandbox, and again inside.
const PLANNINGS: usize = 2;
/// Of each planning: for the context, and for the build check CopyIgnoredFile.
const READS_OF_AN_IGNORE_FILE: usize = 2;
/// A changed file is read to be hashed. The second planning finds its digest in the stat cache.
const READS_TO_HASH: usize = 1;
/// The COPY that selects a file reads it once.
const READS_TO_COPY: usize = 1;

/// brik once more, in its namespaces.
const RESPAWNS: usize = 1;
/// newgidmap and newuidmap, unless brik is root. Under strace the first has no power, and the second is not tried.
const ID_MAPPERS: usize = 1;
/// A RUN: the init of its process namespace, and the command as its child.
const FORKS_A_RUN: usize = 2;

/// Before the first Step of a build that pushes, an upload to each repository that is to get a new image is begun and cancelled, to learn
/// whether it may be written.
const PERMISSION_PROBES: usize = 1;

/// `false`, and a printed reason, where the numbers cannot be had.
fn can_trace() -> bool {
    tools::installed(&["strace"])
}

/// Of a build in which a Step runs.
fn sandbox_forks() -> usize {
    RESPAWNS + if tools::is_root() { 0 } else { ID_MAPPERS }
}

/// Runs brik under strace.
#[track_caller]
fn traced(brik: Brik) -> (Run, Trace) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let run = brik.traced(directory.path()).succeeds();
    let trace = Trace::read(directory.path()).expect("what strace wrote");
    assert!(!trace.programs.is_empty(), "strace saw nothing: {}", run.stderr);
    (run, trace)
}

/// Until a file that was just written can be told from one that is written now (see `source::stat_cache`).
fn let_files_age() {
    sleep(Duration::from_millis(100));
}

/// Services a, b and c with five Steps each, the first of which is the same, on a base in a registry that nobody else uses.
struct Monorepo {
    registry: Registry,
    project: Project,
}

impl Monorepo {
    /// Built and pushed.
    fn pushed() -> Self {
        let registry = Registry::start();
        let host = registry.host().to_owned();
        let base = Project::dockerfile("FROM {busybox}\nENV BASE=1\n");
        let _ = base.brik(["build", "--push", "--image", &format!("{host}/base"), "--tags", "1"]).succeeds();
        let toml = format!("registry = \"{host}/team\"\nmembers = [\"services/*\"]\ntags = [\"v1\"]\n");
        let mut project = Project::empty().file("brik.toml", toml);
        for name in ["a", "b", "c"] {
            let dockerfile = "WORKDIR /app\nCOPY packages .\nRUN cp packages /installed\nCOPY src src\nRUN ls src > /list\n";
            project = project.file(&format!("services/{name}/Dockerfile"), format!("FROM {host}/base:1\n{dockerfile}"));
            project = project.file(&format!("services/{name}/.dockerignore"), "Dockerfile\n.dockerignore\nnotes\n");
            for file in ["packages", "src/one", "src/two", "notes/unused"] {
                project.write(&format!("services/{name}/{file}"), format!("{file} of {name}"));
            }
        }
        let_files_age();
        let monorepo = Self { registry, project };
        assert_eq!(monorepo.push().succeeds().steps_run().len(), 1 + 3 * 4);
        monorepo
    }

    fn push(&self) -> Brik {
        self.project.brik(["build", "--push", "--progress", "json", "--format", "json"])
    }

    /// Under strace, and the requests that it makes.
    #[track_caller]
    fn push_traced(&self) -> (Run, Trace, Counted) {
        let before = self.registry.requests().len();
        let (run, trace) = traced(self.push());
        (run, trace, counted(self.registry.requests().iter().skip(before).map(|request| shape(request))))
    }
}

/// How often things were.
type Counted = BTreeMap<String, usize>;

fn counted<S: Into<String>>(things: impl IntoIterator<Item = S>) -> Counted {
    let mut counted = Counted::new();
    for thing in things {
        *counted.entry(thing.into()).or_default() += 1;
    }
    counted
}

fn expected<S: Into<String>>(things: impl IntoIterator<Item = (S, usize)>) -> Counted {
    things.into_iter().map(|(thing, times)| (thing.into(), times)).collect()
}

/// `HEAD /v2/team/a/blobs/sha256:0123… 200` → `HEAD team/a/blobs/*`: without what differs from run to run.
fn shape(request: &str) -> String {
    let (method, rest) = request.split_once(' ').expect("a method");
    let path = rest.split([' ', '?']).next().unwrap_or_default().trim_start_matches("/v2/");
    match path.split_once("/blobs/") {
        Some((repository, upload)) if upload.starts_with("uploads/") && upload.len() > "uploads/".len() => {
            format!("{method} {repository}/blobs/uploads/*")
        }
        Some((repository, digest)) if digest.starts_with("sha256:") => format!("{method} {repository}/blobs/*"),
        // Digests, and keys of a cache.
        _ => match path.rsplit_once(['-', ':']).filter(|(_, hex)| hex.len() == 64) {
            Some((start, _)) => format!("{method} {start}*"),
            None => format!("{method} {path}"),
        },
    }
}

/// What tells brik what to build: brik.toml, and of each service the Dockerfile and the ignore file.
fn definitions(plannings: usize) -> Vec<(String, usize)> {
    let of_a_service =
        |name| [(format!("services/{name}/Dockerfile"), 1), (format!("services/{name}/.dockerignore"), READS_OF_AN_IGNORE_FILE)];
    let all = [("brik.toml".to_owned(), 1)].into_iter().chain(["a", "b", "c"].into_iter().flat_map(of_a_service));
    all.map(|(file, times)| (file, times * plannings)).collect()
}

#[test]
fn a_push_of_what_is_unchanged_forks_nothing_reads_no_source_and_asks_for_the_base_and_the_tags() {
    if !can_trace() {
        return;
    }
    let monorepo = Monorepo::pushed();
    let (run, trace, requests) = monorepo.push_traced();
    assert_eq!(run.steps_run(), [""; 0]);
    assert_eq!((trace.forks, trace.programs.len()), (0, 1), "{:?}", trace.programs);
    assert_eq!(trace.files_below(&monorepo.project.path("")), expected(definitions(1)));
    let asked = ["GET base/manifests/1", "HEAD team/a/manifests/v1", "HEAD team/b/manifests/v1", "HEAD team/c/manifests/v1"];
    assert_eq!(requests, expected(asked.map(|request| (request, 1))));
    let json: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(json["bytes_up"], 0, "{json}");
}

#[test]
fn one_changed_file_runs_the_steps_that_follow_in_its_service_and_moves_their_layers() {
    if !can_trace() {
        return;
    }
    let monorepo = Monorepo::pushed();
    monorepo.project.write("services/b/src/two", "changed");
    let_files_age();
    let (run, trace, requests) = monorepo.push_traced();
    assert_eq!(run.steps_run(), ["[b stage-0 4/5] COPY src src", "[b stage-0 5/5] RUN ls src > /list"]);
    assert_eq!(trace.forks, sandbox_forks() + FORKS_A_RUN, "{:?}", trace.programs);

    let sources = [("services/b/src/one", READS_TO_COPY), ("services/b/src/two", READS_TO_HASH + READS_TO_COPY)];
    let sources = sources.map(|(file, times)| (file.to_owned(), times));
    assert_eq!(trace.files_below(&monorepo.project.path("")), expected(definitions(PLANNINGS).into_iter().chain(sources)));

    let (layers_of_the_base, layers, changed) = (2, 5, 2);
    assert_eq!(
        requests,
        expected([
            // Of all plannings: the inner brik is given what servers have answered the outer one.
            ("GET base/manifests/1", 1),
            ("HEAD team/a/manifests/v1", 1),
            ("POST team/b/blobs/uploads/", PERMISSION_PROBES + changed),
            ("DELETE team/b/blobs/uploads/*", PERMISSION_PROBES),
            ("HEAD team/b/manifests/v1", 1),
            ("HEAD team/b/manifests/sha256*", 1),
            // Each layer, and the config.
            ("HEAD team/b/blobs/*", layers_of_the_base + layers + 1),
            // The layer of the COPY and the config: the RUN has made the layer that it made before.
            ("PUT team/b/blobs/uploads/*", changed),
            ("PUT team/b/manifests/v1", 1),
            ("HEAD team/c/manifests/v1", 1),
            // Nobody knows the image, nor the two Steps.
            ("GET team/b-cache/manifests/i*", 1),
            ("GET team/b-cache/manifests/s*", 2 + 2),
            // Whether it is worth it to ask for the two by their second keys.
            ("GET team/b-cache/manifests/last-linux-amd64", 1),
            // What is to be known is known of the others, among them one that all services have; the two are written under two keys each.
            ("HEAD team/a-cache/manifests/s*", 1),
            ("HEAD team/c-cache/manifests/s*", 1),
            ("HEAD team/b-cache/manifests/s*", 3 + 2),
            ("PUT team/b-cache/manifests/s*", 2 * 2),
            // The table of contents of the uppermost layer of the base.
            ("HEAD team/b-cache/manifests/t*", 1),
            ("HEAD team/b-cache/manifests/i*", 1),
            ("PUT team/b-cache/manifests/i*", 1),
            ("PUT team/b-cache/manifests/last-linux-amd64", 1),
            // The layers and the empty blob, of which one is new and comes from the image. The image's entry carries the config.
            ("HEAD team/b-cache/blobs/*", layers + 1),
            ("POST team/b-cache/blobs/uploads/", 1),
        ])
    );
}

#[test]
fn files_of_a_context_are_read_to_be_hashed_and_to_be_copied_and_never_again() {
    if !can_trace() {
        return;
    }
    let project = Project::dockerfile("FROM scratch\nCOPY src /src\n");
    let files: Vec<String> = (0..100).map(|n| format!("{}/{n}", n % 10)).collect();
    files.iter().for_each(|file| project.write(&format!("src/{file}"), format!("file {file}")));
    let_files_age();
    let read = || traced(project.build::<&str>([])).1.files_below(&project.path("src"));
    assert_eq!(read(), expected(files.iter().map(|file| (file, READS_TO_HASH + READS_TO_COPY))));
    assert_eq!(read(), Counted::new());
}

#[test]
fn a_run_costs_two_processes_and_one_program() {
    if !can_trace() {
        return;
    }
    const RUNS: usize = 30;
    let lines: String = (0..RUNS).map(|n| format!("RUN echo {n} > /f{n}\n")).collect();
    let project = Project::dockerfile(&format!("FROM {{busybox}}\n{lines}"));
    let (run, trace) = traced(project.build::<&str>([]));
    assert_eq!(run.steps_run().len(), RUNS);
    assert_eq!(trace.forks, sandbox_forks() + RUNS * FORKS_A_RUN);
    assert_eq!(trace.programs.len(), 1 + sandbox_forks() + RUNS, "{:?}", trace.programs);
}

/// Waits until as many RUNs as there are jobs have come this far, so that they must run at the same time; in vain for 30 seconds.
const MEET: &str = "FROM {busybox}\nRUN --mount=type=cache,id=JOBS,target=/met touch /met/NAME && \\\n\
    for i in $(seq 300); do [ $(ls /met | wc -l) -ge JOBS ] && exit 0; sleep 0.1; done; exit 1\n";

#[test]
fn as_many_steps_run_at_a_time_as_there_are_jobs() {
    for jobs in [1, 3] {
        let project = Project::monorepo("members = [\"*\"]\ntags = [\"v1\"]");
        for name in ["a", "b", "c", "d", "e"] {
            project.write(&format!("{name}/Dockerfile"), MEET.replace("JOBS", &jobs.to_string()).replace("NAME", name));
        }
        let run = project.brik(["build", "--progress", "json", &format!("-j{jobs}")]).succeeds();
        let changes = run.events().into_iter().map(|event| match event["type"].as_str() {
            Some("step_started") => 1,
            Some("step_finished") => -1,
            _ => 0,
        });
        let running = changes.scan(0, |running, change| {
            *running += change;
            Some(*running)
        });
        assert_eq!(running.max(), Some(jobs));
    }
}
