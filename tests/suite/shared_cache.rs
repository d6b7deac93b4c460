//! Cache repositories: what a fresh runner asks, moves and runs.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::support::scripted::Server;
use crate::support::{Brik, Project, Registry, Run, proxy};

/// Three services that make something in one stage and ship it in another, and a registry of their own.
struct Monorepo {
    registry: Registry,
    project: Project,
}

const DOCKERFILE: &str = "FROM BASE AS make\nWORKDIR /src\nCOPY packages .\nRUN cp packages /installed\nCOPY src src\n\
    RUN grep -h -v '^#' src/* > /made\nFROM BASE\nRUN echo runtime > /runtime\nCOPY --from=make /made /app/made\nRUN wc -c < /app/made > /app/size\n";

impl Monorepo {
    /// Built and pushed by one runner.
    fn pushed() -> Self {
        let monorepo = Self::new("");
        let run = monorepo.runner("first").succeeds();
        assert_eq!(run.steps_run().len(), 8 * 3 - 2 - 2, "services share the first Step of either stage: {:?}", run.steps_run());
        monorepo
    }

    fn new(toml: &str) -> Self {
        let registry = Registry::start();
        let host = registry.host().to_owned();
        let base = Project::dockerfile("FROM {busybox}\nENV BASE=1\n");
        let _ = base.brik(["build", "--push", "--no-remote-cache", "--image", &format!("{host}/base"), "--tags", "1"]).succeeds();
        let toml = format!("registry = \"{host}/team\"\nmembers = [\"services/*\"]\ntags = [\"v1\"]\n{toml}\n");
        let project = Project::empty().file("brik.toml", toml);
        for name in ["a", "b", "c"] {
            project.write(&format!("services/{name}/Dockerfile"), DOCKERFILE.replace("BASE", &format!("{host}/base:1")));
            for file in ["packages", "src/one", "src/two"] {
                project.write(&format!("services/{name}/{file}"), format!("{file} of {name}\n"));
            }
        }
        Self { registry, project }
    }

    /// A push from the store of this name.
    fn runner(&self, store: &str) -> Brik {
        self.project.brik(["build", "--push", "--progress", "json", "--format", "json"]).store(&self.project.beside(store))
    }

    /// The same, and the requests that it makes.
    #[track_caller]
    fn watched(&self, push: Brik) -> (Run, Vec<String>) {
        let before = self.registry.requests().len();
        let run = push.succeeds();
        (run, self.registry.requests().split_off(before))
    }

    /// Where the registry has the bytes of a blob.
    fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        self.registry.data().join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }
}

fn of<'r>(requests: &'r [String], method: &str, part: &str) -> Vec<&'r str> {
    let wanted = |request: &&String| request.starts_with(&format!("{method} ")) && request.contains(part);
    requests.iter().filter(wanted).map(String::as_str).collect()
}

fn rows(run: &Run) -> Vec<Value> {
    serde_json::from_str::<Value>(&run.stdout).unwrap()["rows"].as_array().unwrap().clone()
}

fn digests(run: &Run) -> Vec<String> {
    rows(run).iter().map(|row| row["digest"].as_str().expect("a digest").to_owned()).collect()
}

fn warnings(run: &Run) -> Vec<String> {
    let told = run.events_of("warning").into_iter().chain(run.events_of("notice"));
    told.map(|event| event["message"].as_str().unwrap().to_owned()).filter(|text| text.contains("cache")).collect()
}

#[test]
fn a_fresh_runner_pushes_what_is_unchanged_under_a_new_tag_with_few_requests_and_no_layer() {
    let monorepo = Monorepo::pushed();
    let first = monorepo.runner("first").succeeds();
    let (run, requests) = monorepo.watched(monorepo.runner("second").args(["--tags", "v2"]));
    assert_eq!(run.steps_run(), [""; 0]);
    assert!(run.events_of("sandbox").is_empty());
    assert_eq!(digests(&run), digests(&first));
    assert!(of(&requests, "GET", "/blobs/").len() <= 1, "the config of the base: {requests:?}");
    assert_eq!(of(&requests, "POST", "").len() + of(&requests, "HEAD", "/blobs/").len(), 0, "{requests:?}");
    assert_eq!(of(&requests, "PUT", "").len(), 3, "a tag each: {requests:?}");
    // Manifest and config of the base; of each service the entry, two looks and the tag.
    assert_eq!(requests.len(), 2 + 3 * 4, "{requests:?}");
    let told: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(told["requests"], requests.len(), "{told}");
}

#[test]
fn after_one_change_a_fresh_runner_pulls_what_running_steps_need_and_nothing_else() {
    let monorepo = Monorepo::pushed();
    monorepo.project.write("services/b/src/two", "changed\n");
    let (run, requests) = monorepo.watched(monorepo.runner("second"));
    let ran: Vec<String> = run.steps_run();
    assert_eq!(
        ran,
        [
            "[b make 4/5] COPY src src",
            "[b make 5/5] RUN grep -h -v '^#' src/* > /made",
            "[b stage-1 2/3] COPY --from=make /made /app/made",
            "[b stage-1 3/3] RUN wc -c < /app/made > /app/size"
        ]
    );
    let others: Vec<&String> =
        requests.iter().filter(|r| (r.contains("/team/a") || r.contains("/team/c")) && r.contains("/manifests/")).collect();
    // The entry and the tag.
    assert_eq!(others.len(), 2 * 2, "{others:?}");
    // Of the layers of b, those below the Steps that ran: all but the four that they made. What says which file changed is in the entries.
    let pulled = of(&requests, "GET", "-cache/blobs/");
    assert_eq!(pulled.len(), 3 + 1, "{requests:?}");
    let reasons = run.events_of("step_started").into_iter().map(|event| event["reason"].clone()).collect::<Vec<_>>();
    assert!(reasons[0].as_str().unwrap().contains("services/b/src/two"), "{reasons:?}");
    // And it is the image that a runner with everything builds.
    let whole = monorepo.runner("first").succeeds();
    assert_eq!(digests(&run), digests(&whole));
}

#[test]
fn what_leads_to_the_same_result_ends_the_rebuild_there() {
    let monorepo = Monorepo::pushed();
    let first = monorepo.runner("first").succeeds();
    monorepo.project.write("services/b/src/two", "# a comment\nsrc/two of b\n");
    for store in ["first", "fresh"] {
        let run = monorepo.runner(store).succeeds();
        let ran = run.steps_run();
        assert_eq!(ran, ["[b make 4/5] COPY src src", "[b make 5/5] RUN grep -h -v '^#' src/* > /made"], "{store}");
        assert_eq!(digests(&run), digests(&first), "{store}");
        // The runner that comes next finds what this one has found out.
        monorepo.project.write("services/b/src/two", "# another comment\nsrc/two of b\n");
    }
}

#[test]
fn no_byte_is_sent_to_the_registry_twice() {
    let monorepo = Monorepo::new("");
    let (_, requests) = monorepo.watched(monorepo.runner("first"));
    let sent = of(&requests, "PUT", "/blobs/uploads/");
    let digest = |request: &str| request.split("digest=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let mut blobs: Vec<String> = sent.iter().map(|request| digest(request)).collect();
    // The two bytes that every repository's entries name.
    blobs.retain(|blob| !blob.contains("44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"));
    let count = blobs.len();
    blobs.sort();
    blobs.dedup();
    assert_eq!(blobs.len(), count, "{sent:?}");
}

#[test]
fn runners_that_start_together_end_with_the_same_images_and_a_whole_cache() {
    let monorepo = Monorepo::new("");
    let runners: Vec<Run> = std::thread::scope(|scope| {
        let start = |n: usize| {
            let runner = monorepo.runner(&format!("runner-{n}"));
            scope.spawn(move || runner.succeeds())
        };
        (0..4).map(start).collect::<Vec<_>>().into_iter().map(|runner| runner.join().unwrap()).collect()
    });
    for run in &runners[1..] {
        assert_eq!(digests(run), digests(&runners[0]));
    }
    for name in ["a", "b", "c"] {
        let tags = monorepo.registry.tags(&format!("team/{name}-cache"));
        let of = |letter: &str| tags.iter().filter(|tag| tag.starts_with(letter)).count();
        // Eight Steps, six of which work on what another has made.
        assert_eq!((of("i-"), of("s-")), (1, 8 + 6), "{tags:?}");
    }
    let (run, requests) = monorepo.watched(monorepo.runner("next"));
    assert_eq!(run.steps_run(), [""; 0]);
    assert_eq!(of(&requests, "PUT", ""), [""; 0], "nothing is missing");
}

#[test]
fn a_cache_that_has_lost_or_damaged_what_it_promises_costs_time_and_is_told() {
    let flip = |path: PathBuf| {
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x55;
        fs::write(path, bytes).unwrap();
    };
    for what in ["damaged", "gone"] {
        let monorepo = Monorepo::pushed();
        monorepo.project.write("services/b/src/two", "changed\n");
        // What the Steps that have to run work on.
        let layer = monorepo.registry.requests_since(0, "PUT", "/team/b-cache/blobs/uploads/");
        let digests_of = layer.iter().map(|request| request.split("digest=sha256%3A").nth(1).unwrap()[..64].to_owned());
        for hex in digests_of.filter(|hex| !hex.starts_with("44136fa3")) {
            match what {
                "damaged" => flip(monorepo.blob(&hex)),
                _ => fs::remove_file(monorepo.blob(&hex)).unwrap(),
            }
        }
        let run = monorepo.runner("second").args(["--report", "report.json"]).succeeds();
        assert!(!warnings(&run).is_empty(), "{what}: {}", run.stderr);
        assert_eq!(run.events_of("sandbox").len(), 1, "{what}: {}", run.stderr);
        let built: BTreeSet<String> =
            run.events_of("step_finished").iter().filter(|e| e["outcome"] == "built").map(|e| e["id"].to_string()).collect();
        let of_b = |e: &&Value| e["services"].as_array().unwrap().iter().any(|name| name == "b");
        let ran: BTreeSet<String> = run.events_of("step_started").iter().filter(of_b).map(|e| e["id"].to_string()).collect();
        let report: Value = serde_json::from_slice(&fs::read(monorepo.project.path("report.json")).unwrap()).unwrap();
        let b = report["services"].as_array().unwrap().iter().find(|service| service["service"] == "b").unwrap();
        assert_eq!(b["misses"], ran.intersection(&built).count(), "{what}: what ran before the loss was known counts, too: {report}");
        let clean = Monorepo { registry: Registry::start(), project: monorepo.project };
        let whole = clean.runner("clean").args(["--no-remote-cache"]).succeeds();
        assert_eq!(digests(&run), digests(&whole), "{what}");
        // What a registry says that it has, it does not take again.
        if what == "gone" {
            let healed = Monorepo { registry: monorepo.registry, project: clean.project };
            healed.project.write("services/b/src/two", "changed again\n");
            let run = healed.runner("healed").succeeds();
            assert!(warnings(&run).is_empty() && !run.steps_run().iter().any(|step| step.contains("packages")), "{}", run.stderr);
        }
    }
}

#[test]
fn a_cache_that_is_out_of_reach_is_told_once_and_changes_nothing() {
    let monorepo = Monorepo::new("[services.a]\ncache = \"127.0.0.1:9/team/cache\"\n[services.b]\ncache = \"127.0.0.1:9/team/cache\"");
    let run = monorepo.runner("first").succeeds();
    let told: Vec<String> = warnings(&run).into_iter().filter(|text| text.contains("127.0.0.1:9")).collect();
    assert_eq!(told.len(), 1, "of both services, reading and writing: {told:?}");
}

#[test]
fn flags_and_brik_toml_say_which_repositories_are_asked_and_written() {
    let monorepo = Monorepo::new("[services.c]\ncache = false\n[services.b]\ncache = \"shared\"");
    let host = monorepo.registry.host().to_owned();
    let records = |tag: &&String| !tag.starts_with("t-");
    let tags = |repository: &str| monorepo.registry.tags(repository).iter().filter(records).count();
    let build = |store: &str, args: &[&str]| {
        let args = ["build", "--progress", "json"].iter().chain(args);
        monorepo.project.brik(args).store(&monorepo.project.beside(store)).succeeds().steps_run().len()
    };
    let all = build("1", &[]);
    assert_eq!((tags("team/a-cache"), tags("team/shared")), (0, 0), "without --push nothing is written");
    assert_eq!(build("2", &["--cache-to"]), all);
    assert_eq!((tags("team/a-cache"), tags("team/shared"), tags("team/c-cache")), (16, 16, 0));
    assert_eq!(build("3", &[]), all, "without --push nothing is asked");
    assert_eq!(build("4", &["--cache-from", "a", "b"]), 0);
    assert_eq!(build("5", &["--push", "--no-remote-cache"]), all);
    let elsewhere = format!("--cache-to={host}/elsewhere/cache");
    assert_eq!(build("6", &["c", &elsewhere]), 8, "nobody knows c, whose own cache is off");
    assert_eq!(build("7", &["c", &format!("--cache-from={host}/elsewhere/cache")]), 0);
    let _ = monorepo.project.brik(["build", "--cache-from=x:tag"]).exits(2);
}

#[test]
fn what_was_built_before_it_was_pushed_is_given_to_the_cache_with_the_push() {
    let monorepo = Monorepo::new("");
    let build = monorepo.project.brik(["build"]).store(&monorepo.project.beside("first"));
    let _ = build.succeeds();
    let run = monorepo.runner("first").succeeds();
    assert_eq!(run.steps_run(), [""; 0]);
    let run = monorepo.runner("second").succeeds();
    assert_eq!(run.steps_run(), [""; 0], "the image is in the cache");
    monorepo.project.write("services/b/src/two", "changed\n");
    assert_eq!(monorepo.runner("third").succeeds().steps_run().len(), 4, "and its Steps are");
}

#[test]
fn what_is_built_anew_on_purpose_takes_the_place_of_what_was_known() {
    let monorepo = Monorepo::new("");
    let host = monorepo.registry.host().to_owned();
    let random = format!("FROM {host}/base:1\nRUN head -c 20 /dev/urandom > /random\n");
    monorepo.project.write("services/a/Dockerfile", random);
    let first = monorepo.runner("1").args(["a"]).succeeds();
    assert_eq!(digests(&monorepo.runner("2").args(["a"]).succeeds()), digests(&first));
    let anew = monorepo.runner("3").args(["a", "--no-cache"]).succeeds();
    assert_ne!(digests(&anew), digests(&first));
    assert_eq!(digests(&monorepo.runner("4").args(["a"]).succeeds()), digests(&anew));
}

#[test]
fn a_rebuild_ends_early_on_a_fresh_runner_though_no_first_key_is_known_any_more() {
    let registry = Registry::start();
    let text = "FROM {busybox} AS s\nCOPY f /f\nRUN head -c1 /f > /g\nFROM {busybox}\nCOPY --from=s /g /g\nRUN wc -c /g > /h\n";
    let project = Project::dockerfile(text).file("f", "x1");
    let image = format!("{}/team/app", registry.host());
    let push = |store: &str| {
        let args = ["build", "--push", "--image", &image, "--progress", "json"];
        project.brik(args).store(&project.beside(store)).succeeds().steps_run().len()
    };
    assert_eq!(push("first"), 4);
    project.write("f", "x2");
    assert_eq!(push("fresh"), 2);
}

#[test]
fn an_entry_that_stands_under_another_key_counts_as_absent() {
    let monorepo = Monorepo::pushed();
    let whole = monorepo.runner("first").succeeds();
    // Every tag of a's cache that is a key's leads to what stands under the next one.
    let tags = monorepo.registry.data().join("docker/registry/v2/repositories/team/a-cache/_manifests/tags");
    let names: Vec<String> = monorepo.registry.tags("team/a-cache").into_iter().filter(|tag| !tag.starts_with("last")).collect();
    let link = |name: &str| tags.join(name).join("current/link");
    let links: Vec<Vec<u8>> = names.iter().map(|name| fs::read(link(name)).unwrap()).collect();
    for (name, other) in names.iter().zip(links.iter().cycle().skip(1)) {
        fs::write(link(name), other).unwrap();
    }
    let run = monorepo.runner("second").succeeds();
    assert_eq!(digests(&run), digests(&whole));
    assert!(warnings(&run).iter().any(|text| text.contains("cannot be read")), "{}", run.stderr);
    let healed = monorepo.runner("third").succeeds();
    assert_eq!((healed.steps_run(), warnings(&healed)), (Vec::new(), Vec::new()), "what cannot be read is replaced: {}", healed.stderr);
}

#[test]
fn a_step_that_nobody_has_is_asked_for_in_the_repositories_of_all_that_share_it_at_once() {
    let services = ["a", "b", "c", "d", "e"];
    let registry = Registry::start();
    let (host, waiting, most) = (registry.host().to_owned(), AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let counted = most.clone();
    let front = Server::start(move |_, request| {
        let about_a_step = request.target.contains("/manifests/s-");
        if about_a_step {
            counted.fetch_max(waiting.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(500));
            waiting.fetch_sub(1, Ordering::SeqCst);
        }
        proxy::forward(&host, request).into()
    });
    let project = Project::empty();
    project.write("brik.toml", format!("registry = \"{}/team\"\nmembers = [\"*\"]\ntags = [\"v1\"]\n", front.host));
    for service in services {
        project.write(&format!("{service}/Dockerfile"), "FROM {busybox}\nRUN echo shared > /file\n");
    }
    let _ = project.brik(["build", "--push"]).succeeds();
    assert!(most.load(Ordering::SeqCst) > 1, "one after the other");
}
