//! Directories of `RUN --mount=type=cache` in cache repositories: what a second machine finds, and what moves.

use std::fs;
use std::path::PathBuf;

use crate::support::{Brik, Project, Registry, Run, tools};

const CACHE: &str = "[cache]\nmounts = true\n";
/// Six to twenty chunks that do not compress.
const LARGE: &str = "dd if=/dev/urandom of=/c/large bs=1M count=40 2>/dev/null";

/// Services whose one RUN executes a script with `/c` mounted, and a registry of their own.
struct Services {
    registry: Registry,
    project: Project,
}

impl Services {
    fn new(names: &[&str], toml: &str) -> Self {
        Self::mounting(names, toml, "--mount=type=cache,target=/c")
    }

    fn mounting(names: &[&str], toml: &str, mounts: &str) -> Self {
        let registry = Registry::start();
        let host = registry.host().to_owned();
        let base = Project::dockerfile("FROM {busybox}\nENV BASE=1\n");
        let _ = base.brik(["build", "--push", "--no-remote-cache", "--image", &format!("{host}/base"), "--tags", "1"]).succeeds();
        let members: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
        let head = format!("registry = \"{host}/team\"\nmembers = [{}]\ntags = [\"v1\"]\n", members.join(", "));
        let project = Project::empty().file("brik.toml", head + toml);
        for name in names {
            project.write(&format!("{name}/Dockerfile"), format!("FROM {host}/base:1\nCOPY do /do\nRUN {mounts} sh -e /do\n"));
        }
        Self { registry, project }
    }

    /// A push from the store of this name, after the scripts have changed.
    fn runs(&self, store: &str, scripts: &[(&str, &str)]) -> Brik {
        scripts.iter().for_each(|(name, script)| self.project.write(&format!("{name}/do"), script));
        self.project.brik(["build", "--push", "--progress", "json"]).store(&self.project.beside(store))
    }

    /// The same, and the requests that concern `part`.
    #[track_caller]
    fn watched(&self, store: &str, scripts: &[(&str, &str)], part: &str) -> (Run, Vec<String>) {
        let before = self.registry.requests().len();
        let run = self.runs(store, scripts).succeeds();
        (run, self.registry.requests().split_off(before).into_iter().filter(|request| request.contains(part)).collect())
    }

    /// Where the registry has the bytes of the blobs that the one mount of a service consists of, in order.
    fn chunks(&self, service: &str) -> Vec<PathBuf> {
        let cache = format!("team/{service}-cache");
        let tags = self.registry.tags(&cache);
        let tags: Vec<&String> = tags.iter().filter(|tag| tag.starts_with("m-")).collect();
        let [tag] = tags[..] else { panic!("{tags:?}") };
        let root = self.registry.data().join("docker/registry/v2");
        let link =
            fs::read_to_string(root.join("repositories").join(cache).join("_manifests/tags").join(tag).join("current/link")).unwrap();
        let blob = |digest: &str| {
            let hex = digest.trim().trim_start_matches("sha256:");
            root.join("blobs/sha256").join(&hex[..2]).join(hex).join("data")
        };
        let manifest: serde_json::Value = serde_json::from_slice(&fs::read(blob(&link)).unwrap()).unwrap();
        manifest["layers"].as_array().unwrap().iter().map(|layer| blob(layer["digest"].as_str().unwrap())).collect()
    }
}

/// What was said of cache mounts.
fn told(run: &Run) -> Vec<String> {
    let told = run.events_of("notice").into_iter().chain(run.events_of("warning"));
    told.map(|event| event["message"].as_str().unwrap().to_owned()).filter(|text| text.contains("cache mount")).collect()
}

fn count(requests: &[String], method: &str, part: &str) -> usize {
    requests.iter().filter(|request| request.starts_with(&format!("{method} ")) && request.contains(part)).count()
}

#[test]
fn another_machine_finds_what_was_in_the_cache_with_owners_modes_times_and_links() {
    let services = Services::new(&["a"], CACHE);
    let fill = "cd /c; mkdir -p d; echo text > d/f; chmod 640 d/f; ln d/f d/hard; ln -s f d/soft; touch -d @1000000000 d/f\n\
        chown 3:4 d/f; chmod 1777 d; touch -d @1100000000 d; chmod 711 /c";
    let first = services.runs("first", &[("a", fill)]).succeeds();
    let [saved] = &told(&first)[..] else { panic!("{:?}", told(&first)) };
    assert!(saved.starts_with("cache mount /c: saved 1 of 1 chunks, "), "{saved}");
    let look = "cd /c; stat -c '%n %a %Y %u:%g %h' d d/f > /seen; cat d/hard d/soft >> /seen; stat -c %a /c >> /seen; cat /seen";
    let second = services.runs("second", &[("a", look)]).succeeds();
    let [restored] = &told(&second)[..] else { panic!("{:?}", told(&second)) };
    assert!(restored.starts_with("cache mount /c: restored ") && restored.ends_with("(1 chunks)"), "{restored}");
    let seen: String =
        second.events_of("step_output").iter().map(|event| event["text"].as_str().unwrap_or_default().to_owned() + "\n").collect();
    let expected = "d 1777 1100000000 0:0 2\nd/f 640 1000000000 3:4 2\ntext\ntext\n711\n";
    assert_eq!(seen, expected, "{}", second.stderr);
}

#[test]
fn what_has_not_changed_is_not_written_and_a_change_sends_the_chunks_around_it() {
    let services = Services::new(&["a"], CACHE);
    let _ = services.runs("first", &[("a", LARGE)]).succeeds();
    let all = services.chunks("a").len();
    assert!((4..=40).contains(&all), "{all} chunks");
    for store in ["first", "second"] {
        let (run, requests) = services.watched(store, &[("a", &format!("wc -c /c/large # {store}"))], "a-cache");
        assert_eq!(count(&requests, "PUT", "/manifests/m-"), 0, "{store}: {requests:?}");
        assert_eq!(count(&requests, "GET", "/manifests/m-"), usize::from(store == "second"), "{store}: {requests:?}");
        assert_eq!(run.steps_run().len(), 2, "{store}");
    }
    for (store, script) in [("first", "echo new > /c/added"), ("second", "echo other > /c/added")] {
        let (run, requests) = services.watched(store, &[("a", script)], "a-cache");
        let told = told(&run);
        assert!(told[0].starts_with("cache mount /c: saved ") && told.len() == 1, "{told:?}");
        assert_eq!(count(&requests, "PUT", "/manifests/m-"), 1, "{requests:?}");
        // The layers of two Steps, and chunks.
        let sent = count(&requests, "PUT", "/blobs/uploads/");
        assert!(sent <= 2 + 2, "{sent} blobs of {all}: {requests:?}");
    }
    // The last who wrote has won.
    let (_, _) = services.watched("third", &[("a", "test $(cat /c/added) = other; test -s /c/large")], "");
}

#[test]
fn what_is_larger_than_allowed_is_neither_saved_nor_restored() {
    let services = Services::new(&["a"], "[cache]\nmounts = true\nmounts_size = \"1MiB\"\n");
    let (run, requests) = services.watched("first", &[("a", LARGE)], "/manifests/m-");
    let [told] = &told(&run)[..] else { panic!("{:?}", told(&run)) };
    assert!(told.contains("/c is not saved: it holds 41.9 MB, and mounts_size is 1.0 MB"), "{told}");
    assert_eq!(count(&requests, "PUT", ""), 0, "{requests:?}");

    let _ = services.runs("large", &[("a", &format!("{LARGE}; true"))]).args(["--set", "cache.mounts_size=1GiB"]).succeeds();
    let run = services.runs("second", &[("a", "test ! -e /c/large")]).succeeds();
    let told = self::told(&run);
    assert!(told.iter().any(|text| text.contains("/c is not restored: 41.9 MB are more than mounts_size, 1.0 MB")), "{told:?}");
}

#[test]
fn a_chunk_that_is_damaged_or_gone_means_an_empty_cache_and_the_next_machine_has_a_whole_one() {
    let harms: [fn(&PathBuf); 2] = [
        |blob| {
            let mut bytes = fs::read(blob).unwrap();
            bytes[1000] ^= 1;
            fs::write(blob, bytes).unwrap();
        },
        |blob| fs::remove_file(blob).unwrap(),
    ];
    for harm in harms {
        let services = Services::new(&["a"], CACHE);
        let _ = services.runs("first", &[("a", LARGE)]).succeeds();
        harm(&services.chunks("a")[2]);
        let refill = format!("test ! -e /c/large; {LARGE}");
        let run = services.runs("second", &[("a", &refill)]).succeeds();
        let told = told(&run);
        assert_eq!(told.iter().filter(|text| text.starts_with("cache mount /c is not restored: ")).count(), 1, "{told:?}");
        let _ = services.runs("third", &[("a", "test -s /c/large")]).succeeds();
    }
}

#[test]
fn nothing_is_asked_unless_it_is_asked_for_and_only_for_what_runs() {
    let services = Services::new(&["a"], "");
    let (run, requests) = services.watched("first", &[("a", "echo 1 > /c/f")], "/manifests/m-");
    assert_eq!((told(&run).len(), requests.len()), (0, 0), "{requests:?}");
    let with = |store: &str, args: &[&str]| {
        let before = services.registry.requests().len();
        let run = services.runs(store, &[]).args(args).succeeds();
        let asked = services.registry.requests().split_off(before);
        (run.steps_run().len(), count(&asked, "GET", "/manifests/m-") + count(&asked, "PUT", "/manifests/m-"))
    };
    let on = "cache.mounts=true";
    assert_eq!(with("second", &["--set", on]), (0, 0), "nothing runs");
    assert_eq!(with("third", &["--set", on, "--no-remote-cache"]), (2, 0), "no repository is used");
    // Asked once, asked what is there, and written.
    assert_eq!(with("third", &["--set", on, "--no-cache"]), (2, 2), "the store has the directory");
    services.project.write("a/do", "cat /c/f");
    assert_eq!(with("fourth", &["--set", on]), (2, 1), "restored, and not changed");
}

#[test]
fn mounts_and_services_have_entries_of_their_own_and_chunks_are_taken_over() {
    let mounts = "--mount=type=cache,target=/c --mount=type=cache,id=other,target=/o,sharing=locked --mount=type=cache,target=/r,readonly";
    let services = Services::mounting(&["a", "b"], CACHE, mounts);
    let fill = "echo one >> /c/list; dd if=/dev/urandom of=/c/$0 bs=1M count=8; echo two >> /o/list";
    let before = services.registry.requests().len();
    let run = services.runs("first", &[("a", fill), ("b", &format!("{fill}; true"))]).succeeds();
    let requests = services.registry.requests().split_off(before);
    // Of two services, each has both; what is only read is nobody's to save.
    assert_eq!(told(&run).len(), 4, "{:?}", told(&run));
    for service in ["a", "b"] {
        let tags = services.registry.tags(&format!("team/{service}-cache"));
        assert_eq!(tags.iter().filter(|tag| tag.starts_with("m-")).count(), 2, "{service}: {tags:?}");
    }
    let large = |text: &&String| text.contains(" MB sent to ");
    assert_eq!(told(&run).iter().filter(large).count(), 1, "to one, and mounted by the other: {:?}", told(&run));
    assert!(count(&requests, "POST", "mount=sha256") > 0, "{requests:?}");
    let look = "test $(wc -l < /c/list) = 2; test $(wc -l < /o/list) = 2; test ! -e /r/f";
    let run = services.runs("second", &[("b", look)]).args(["b"]).succeeds();
    assert_eq!(told(&run).len(), 2, "{:?}", told(&run));
}

#[test]
fn root_without_namespaces_saves_and_restores_too() {
    if !tools::is_root() {
        return println!("skipped: it takes root to be root in a container");
    }
    let services = Services::new(&["a"], CACHE);
    let run = services.runs("first", &[("a", "echo text > /c/f; chown 3:4 /c/f; chmod 600 /c/f")]).in_container().succeeds();
    assert!(told(&run).iter().any(|text| text.contains("saved 1 of 1")), "{:?}", told(&run));
    let look = "test $(stat -c %u:%g:%a /c/f) = 3:4:600";
    let run = services.runs("second", &[("a", look)]).in_container().succeeds();
    assert!(told(&run).iter().any(|text| text.contains("restored")), "{:?}", told(&run));
    // Moved there and back, it is what it was.
    let (_, requests) = services.watched("second", &[("a", &format!("{look}; true"))], "/manifests/m-");
    assert_eq!(requests, [""; 0]);
}

#[test]
fn names_that_mean_something_in_a_layer_mean_nothing_in_a_cache() {
    let services = Services::new(&["a"], CACHE);
    let _ = services.runs("first", &[("a", "cd /c; mkdir d; echo 1 > d/.wh.f; echo 2 > d/f; echo 3 > .wh..wh..opq")]).succeeds();
    let _ = services.runs("second", &[("a", "test $(cat /c/d/.wh.f /c/d/f /c/.wh..wh..opq | tr -d '\\n') = 123")]).succeeds();
}
