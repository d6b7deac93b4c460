//! Layers that are pushed while later Steps run. Steps wait at a gate for what the test has to see first, so that nothing hangs on time.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Brik, Project, Registry};

/// The instruction that waits at a gate, and the gate: it opens when `condition` holds for what `T` has become, or far too late.
fn gate<T: Send + 'static>(state: T, mut condition: impl FnMut(&mut T) -> bool + Send + 'static) -> (String, JoinHandle<(bool, T)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let run = format!("RUN wget -q -O /gate http://{}/", listener.local_addr().unwrap());
    let keep = move || {
        let mut state = state;
        let (mut peer, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(peer.try_clone().unwrap()).lines();
        while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut held = condition(&mut state);
        while !held && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
            held = condition(&mut state);
        }
        peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").unwrap();
        (held, state)
    };
    (run, std::thread::spawn(keep))
}

fn uploads(registry: &Registry) -> usize {
    registry.requests_since(0, "PUT", "/blobs/uploads/").len()
}

fn row(text: &str) -> Value {
    serde_json::from_str::<Value>(text).unwrap()["rows"][0].clone()
}

/// A build that pushes to a repository of the registry, without a cache beside it.
fn build(project: &Project, host: &str) -> Brik {
    let image = format!("{host}/team/app");
    project.brik(["build", "--push", "--no-remote-cache", "--image", &image, "--tags", "v1", "--format", "json", "--progress", "json"])
}

#[test]
fn layers_are_in_the_registry_before_the_next_step_ends_and_are_counted_once() {
    let registry = Registry::start();
    let host = registry.host().to_owned();
    // The base's two layers, which lie in another registry, and that of the first Step.
    let (wait, gate) = gate(registry, |registry| uploads(registry) == 3);
    let project = Project::dockerfile(&format!("FROM {{busybox}}\nRUN echo 1 > /one\n{wait}\n"));
    let run = build(&project, &host).succeeds();
    let (held, registry) = gate.join().unwrap();
    assert!(held, "a layer waited for the next Step: {:?}", registry.requests());
    let row = row(&run.stdout);
    assert_eq!((&row["layers_pushed"], &row["layers_mounted"], &row["layers_skipped"]), (&4.into(), &0.into(), &0.into()), "{row}");
    // Nobody is asked twice for what went ahead: four layers and the config.
    for (method, part) in [("HEAD", "/blobs/"), ("PUT", "/blobs/uploads/")] {
        assert_eq!(registry.requests_since(0, method, part).len(), 5, "{method}");
    }
}

#[test]
fn layers_of_a_base_are_mounted_before_the_first_step_ends() {
    let registry = Registry::start();
    let host = registry.host().to_owned();
    let base = Project::dockerfile("FROM {busybox}\n");
    let _ = base.brik(["build", "--push", "--no-remote-cache", "--image", &format!("{host}/library/base"), "--tags", "1"]).succeeds();
    let (wait, gate) =
        gate(registry, |registry| registry.requests_since(0, "POST", "mount=").iter().filter(|r| r.ends_with(" 201")).count() == 2);
    let project = Project::dockerfile(&format!("FROM {host}/library/base:1\n{wait}\n"));
    let row = row(&build(&project, &host).succeeds().stdout);
    assert!(gate.join().unwrap().0, "the base waited for a Step");
    assert_eq!((&row["layers_pushed"], &row["layers_mounted"], &row["layers_skipped"]), (&1.into(), &2.into(), &0.into()), "{row}");
}

#[test]
fn a_step_that_fails_leaves_layers_but_no_tag() {
    let registry = Registry::start();
    let host = registry.host().to_owned();
    let (wait, gate) = gate(registry, |registry| uploads(registry) == 3);
    let project = Project::dockerfile(&format!("FROM {{busybox}}\nRUN echo 1 > /one\n{wait} && false\n"));
    let _ = build(&project, &host).exits(1);
    let (held, registry) = gate.join().unwrap();
    assert!(held);
    assert_eq!(registry.requests_since(0, "PUT", "/manifests/"), [""; 0]);
}

#[test]
fn what_only_other_stages_have_is_not_uploaded() {
    let registry = Registry::start();
    let text = "FROM {busybox} AS make\nRUN echo 1 > /one\nRUN echo 2 > /two\nFROM scratch\nCOPY --from=make /two /\n";
    let project = Project::dockerfile(text);
    let _ = build(&project, registry.host()).succeeds();
    // The layer and the config.
    assert_eq!(uploads(&registry), 2);
}

#[test]
fn an_upload_that_fails_ahead_stops_no_step_and_is_told_once() {
    let registry = Registry::start();
    let host = registry.host().to_owned();
    // What comes after the first Step finds no registry any more.
    let (wait, gate) = gate(Some(registry), |registry| {
        drop(registry.take());
        true
    });
    let project = Project::dockerfile(&format!("FROM {{busybox}}\n{wait}\nRUN echo 2 > /two\nRUN echo 3 > /three\n"));
    let run = build(&project, &host).exits(1);
    drop(gate.join().unwrap());
    let built = run.stderr.matches(r#""outcome":"built""#).count();
    assert_eq!(built, 3, "{}", run.stderr);
    assert_eq!(run.stderr.matches("connection refused").count(), 1, "{}", run.stderr);
}

#[test]
fn an_image_that_is_known_asks_for_its_tag_and_nothing_else() {
    let registry = Registry::start();
    let project = Project::dockerfile("FROM {busybox}\nRUN echo 1 > /one\nRUN echo 2 > /two\n");
    let _ = build(&project, registry.host()).succeeds();
    let before = registry.requests().len();
    let _ = build(&project, registry.host()).succeeds();
    assert_eq!(registry.requests().split_off(before), ["HEAD /v2/team/app/manifests/v1 200"]);
}

#[test]
fn services_with_a_layer_in_common_send_it_once_each_counting_what_it_did() {
    let registry = Registry::start();
    let shared = "FROM {busybox}\nRUN echo shared > /shared\n";
    let toml = format!("registry = \"{}\"\nmembers = [\"a\", \"b\"]\ntags = [\"v1\"]\n", registry.host());
    let project = Project::empty().file("brik.toml", toml);
    for name in ["a", "b"] {
        project.write(&format!("{name}/Dockerfile"), format!("{shared}RUN echo {name} > /own\n"));
    }
    let run = project.brik(["build", "--push", "--no-remote-cache", "--format", "json"]).succeeds();
    let rows = serde_json::from_str::<Value>(&run.stdout).unwrap()["rows"].clone();
    let sum = |what: &str| rows.as_array().unwrap().iter().map(|row| row[what].as_u64().unwrap()).sum::<u64>();
    // Two of the base, one in common, and two of their own; the three are mounted for the other service.
    assert_eq!((sum("layers_pushed"), sum("layers_mounted"), sum("layers_skipped")), (5, 3, 0), "{rows}");
    // And two configs.
    assert_eq!(uploads(&registry), 5 + 2);
}
