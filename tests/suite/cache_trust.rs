//! What cache repositories say, and may not: an entry speaks of its own Step, leads to no registry that nobody has named, and one that is of no
//! use costs a rebuild.

use serde_json::Value;

use crate::support::proxy::Ask;
use crate::support::{Fault, Project, Proxy, Registry, Run};

const DOCKERFILE: &str = "FROM BASE\nRUN echo one > /one.txt\nCOPY f.txt /srv/\nRUN cat /one.txt /srv/f.txt > /two.txt\n";

/// A service in a registry, which is spoken to as the host of `registry`.
fn project(registry: &str, base: &str) -> Project {
    Project::empty()
        .file("brik.toml", format!("registry = \"{registry}/team\"\nmembers = [\"one\"]\ntags = [\"v1\"]\n"))
        .file("one/Dockerfile", DOCKERFILE.replace("BASE", base))
        .file("one/f.txt", "f\n")
}

fn push(project: &Project, store: &str) -> Run {
    project.brik(["build", "--push", "--progress", "json", "--format", "json"]).store(&project.beside(store)).succeeds()
}

fn warnings(run: &Run) -> Vec<String> {
    run.events_of("warning").iter().map(Value::to_string).collect()
}

/// As by two names of one registry, which does not take blobs over: what was pushed by one name is nowhere by the other.
#[test]
fn entries_that_lead_to_registries_which_nobody_named_cost_a_rebuild() {
    let registry = Registry::start();
    let base = Project::dockerfile("FROM {busybox}\nENV BASE=1\n");
    let name = format!("{}/base", registry.host());
    let _ = base.brik(["build", "--push", "--no-remote-cache", "--image", &name, "--tags", "1"]).succeeds();
    let hosts = [Proxy::plain(&registry), Proxy::plain(&registry)];
    hosts.iter().for_each(|proxy| proxy.fault(Ask::Mount, Fault::NoMount));
    let [first, second] = [0, 1].map(|n| project(hosts[n].host(), &format!("{name}:1")));
    let _ = push(&first, "first");
    let run = push(&second.file("one/f.txt", "g\n"), "second");
    assert!(run.steps_run().iter().any(|step| step.contains("/two.txt")), "{run:?}");
}

/// The blob that every entry names is in each repository, whoever else has it.
#[test]
fn a_registry_that_takes_no_blobs_over_has_caches_of_all_services() {
    let registry = Registry::start();
    let proxy = Proxy::plain(&registry);
    proxy.fault(Ask::Mount, Fault::NoMount);
    let toml = format!("registry = \"{}/team\"\nmembers = [\"*\"]\ntags = [\"v1\"]\n", proxy.host());
    let project = Project::empty().file("brik.toml", toml);
    for name in ["a", "b", "c"] {
        project.write(&format!("{name}/Dockerfile"), format!("FROM {{busybox}}\nRUN echo {name} > /{name}\n"));
    }
    let run = push(&project, "first");
    assert_eq!(warnings(&run), [""; 0]);
    for name in ["a", "b", "c"] {
        assert!(!registry.tags(&format!("team/{name}-cache")).is_empty(), "{name}");
    }
}

/// A Step whose parent was made in another way is found by what it works on. What its entry carries comes with it.
#[test]
fn what_is_found_by_its_content_is_given_to_the_cache_under_its_new_key() {
    let registry = Registry::start();
    let project = project(registry.host(), "{busybox}");
    let _ = push(&project, "first");
    project.write("one/Dockerfile", DOCKERFILE.replace("BASE", "{busybox}").replace("echo one", ": ; echo one"));
    let run = push(&project, "second");
    assert_eq!((warnings(&run), run.steps_run().len()), (Vec::new(), 1), "{run:?}");
    assert_eq!(push(&project, "third").steps_run().len(), 0);
}

/// Services that share a Step believe each other's caches of it, also in what the store remembers of what was made of that.
#[test]
fn what_was_built_on_a_step_of_another_service_s_cache_is_known_from_then_on() {
    let registry = Registry::start();
    let toml = format!("registry = \"{}/team\"\nmembers = [\"*\"]\ntags = [\"v1\"]\n", registry.host());
    let project = Project::empty().file("brik.toml", toml);
    for name in ["a", "b"] {
        project.write(&format!("{name}/Dockerfile"), format!("FROM {{busybox}}\nRUN echo shared > /shared\nRUN cat /shared > /{name}\n"));
    }
    let brik = |store: &str, args: &[&str]| {
        let run = project.brik(["build", "--progress", "json"]).args(args).store(&project.beside(store)).succeeds();
        run.steps_run().len()
    };
    assert_eq!(brik("first", &["--push", "b"]), 2);
    assert_eq!(brik("second", &["--push"]), 1, "what b shares is in its cache");
    assert_eq!((brik("second", &["--push"]), brik("second", &["--push", "a"])), (0, 0));
    project.write("a/Dockerfile", "FROM {busybox}\nRUN echo shared > /shared\nRUN cat /shared > /a\nRUN echo more > /more\n");
    assert_eq!(brik("second", &["--push"]), 1);
}

/// What git tells of a commit is no part of the key, also where a base has labels of the same names.
#[test]
fn the_image_of_another_commit_is_found_though_the_base_is_labelled_like_it() {
    let registry = Registry::start();
    let base = Project::dockerfile("FROM {busybox}\nLABEL org.opencontainers.image.version=22.04\n");
    let name = format!("{}/base", registry.host());
    let _ = base.brik(["build", "--push", "--no-remote-cache", "--image", &name, "--tags", "1"]).succeeds();
    let project = project(registry.host(), &format!("{name}:1")).commit();
    project.git(["tag", "v1.2.3"]);
    let first = push(&project, "first");
    project.git(["tag", "--delete", "v1.2.3"]);
    project.write("README", "of another commit");
    let project = project.commit();
    let second = push(&project, "second");
    assert_eq!((warnings(&second), second.steps_run().len()), (Vec::new(), 0), "{second:?}");
    let digest = |run: &Run| serde_json::from_str::<Value>(&run.stdout).unwrap()["rows"][0]["digest"].clone();
    assert_eq!(digest(&first), digest(&second));
}
