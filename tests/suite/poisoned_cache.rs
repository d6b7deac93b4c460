//! Whoever may write to the cache repository of a service can change the images of that service, by layers. Of nothing else: not those of
//! others, nor what is built without that repository, whatever the store has taken from it.

mod monorepo;
mod others;
mod promises;

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::aftermath::whole_images;
use crate::support::{Registry, busybox};
use monorepo::{DOCKERFILE, Monorepo, digest, sha256};

/// A COPY that brings something else.
fn other_layer(entry: &mut Value, theirs: &Value) {
    for part in ["diff_id", "layer"] {
        entry["record"][part] = theirs["record"][part].clone();
    }
    entry["toc"] = theirs["toc"].clone();
    entry["carried"] = theirs["carried"].clone();
}

/// A RUN whose layer is said to hold a link.
fn other_contents(entry: &mut Value, theirs: &Value) {
    entry["toc"] = theirs["toc"].clone();
    entry["carried"] = theirs["carried"].clone();
}

#[test]
fn what_a_cache_says_of_content_counts_only_for_services_that_read_it() {
    let monorepo = Monorepo::new(other_layer, "files f.txt");
    let (a, b) = (monorepo.honest("a"), monorepo.honest("b"));
    assert_ne!(digest(&monorepo.push("shared", &["a"]).succeeds(), "a"), a, "a believes its own cache");
    assert_eq!(digest(&monorepo.without_caches("shared", "b").succeeds(), "b"), b, "on the same store");
    assert_eq!(digest(&monorepo.without_caches("shared", "a").succeeds(), "a"), a, "nobody is believed");
    assert_eq!(digest(&monorepo.push("shared", &["a", "b"]).succeeds(), "b"), b, "on the same store, together");
    assert_eq!(digest(&monorepo.push("both", &["a", "b"]).succeeds(), "b"), b, "in the same run");
    assert_eq!(digest(&monorepo.push("fresh", &["b"]).succeeds(), "b"), b, "from b's cache, which that run has written");
}

#[test]
fn what_was_made_of_a_false_table_of_contents_counts_only_for_services_that_read_it() {
    let monorepo = Monorepo::new(other_contents, "echo one");
    // The COPY has to be made, and looks at the directories of the RUN that is there.
    for name in ["a", "b"] {
        monorepo.project.write(&format!("{name}/f.txt"), "new\n");
        monorepo
            .project
            .write(&format!("{name}/Dockerfile"), DOCKERFILE.replace("NAME", name).replace("RUN cat /srv/in/f.txt > /two\n", ""));
    }
    let (a, b) = (monorepo.honest("a"), monorepo.honest("b"));
    assert_ne!(digest(&monorepo.push("shared", &["a"]).succeeds(), "a"), a, "a believes its own cache");
    assert_eq!(digest(&monorepo.without_caches("shared", "b").succeeds(), "b"), b, "on the same store");
    assert_eq!(digest(&monorepo.push("both", &["a", "b"]).succeeds(), "b"), b, "in the same run");
}

#[test]
fn what_was_made_on_a_false_layer_counts_only_for_services_that_read_that_cache() {
    let monorepo = Monorepo::new(other_layer, "files f.txt");
    let other = Monorepo::services(monorepo.registry.host(), "other", &["c"]);
    other.write("c/Dockerfile", DOCKERFILE.replace("NAME", "a"));
    let build = |store: &str| {
        let run = other.brik(["build", "--no-remote-cache", "--format", "json"]).store(&monorepo.project.beside(store));
        digest(&run.succeeds(), "c")
    };
    monorepo.project.write("a/Dockerfile", DOCKERFILE.replace("NAME", "a").replace("/two", "/three"));
    other.write("c/Dockerfile", DOCKERFILE.replace("NAME", "a").replace("/two", "/three"));
    let _ = monorepo.push("shared", &["a"]).succeeds();
    assert_eq!(build("shared"), build("clean"));
}

#[test]
fn a_layer_that_is_not_what_its_entry_says_is_made_again() {
    let false_diff_id = |entry: &mut Value, _: &Value| entry["record"]["diff_id"] = format!("sha256:{}", "1".repeat(64)).into();
    let monorepo = Monorepo::new(false_diff_id, "files f.txt");
    monorepo.project.write("a/Dockerfile", DOCKERFILE.replace("NAME", "a").replace("/two", "/three"));
    let a = monorepo.honest("a");
    let run = monorepo.push("shared", &["a"]).succeeds();
    assert_eq!(digest(&run, "a"), a, "{}", run.stderr);
    assert_eq!(digest(&monorepo.without_caches("shared", "a").succeeds(), "a"), a);
}

#[test]
fn an_entry_that_names_the_layer_of_a_base_falsely_costs_no_build() {
    for more in [1, 0] {
        let monorepo = Monorepo::new(|_, _| {}, "files f.txt");
        let (_, _, image) = monorepo.entries("team/b-cache", 'i').remove(0);
        let mut layer = image["record"]["layers"][0]["descriptor"].clone();
        layer["size"] = (layer["size"].as_u64().unwrap() + more).into();
        for (tag, mut manifest, mut entry) in monorepo.entries("team/a-cache", 's') {
            if entry["record"]["inputs"].to_string().contains("echo one") {
                let (digest, size, media_type) = (&layer["digest"], &layer["size"], &layer["mediaType"]);
                entry["record"]["layer"] = json!({ "digest": digest, "size": size, "mediaType": media_type });
                entry.as_object_mut().unwrap().remove("toc");
                entry["places"] = json!([busybox()]);
                manifest["layers"] = json!([]);
                monorepo.put(&tag, manifest, &entry);
            }
        }
        // The RUN at the end works on all layers.
        monorepo.project.write("a/Dockerfile", DOCKERFILE.replace("NAME", "a").replace("/two", "/three"));
        let a = monorepo.honest("a");
        let run = monorepo.push("shared", &["a"]).succeeds();
        assert_eq!(digest(&run, "a"), a, "{}", run.stderr);
    }
}

#[test]
fn an_image_is_what_its_dockerfile_says_whatever_a_cache_says() {
    let monorepo = Monorepo::new(|_, _| {}, "files f.txt");
    let a = digest(&monorepo.push("again", &["a"]).succeeds(), "a");
    let (tag, manifest, mut entry) = monorepo.entries("team/a-cache", 'i').remove(0);
    let text = |entry: &Value, digest: &str| STANDARD.decode(entry["carried"][digest].as_str().unwrap()).unwrap();
    let config = entry["record"]["config"]["digest"].as_str().unwrap().to_owned();
    let mut forged: Value = serde_json::from_slice(&text(&entry, &config)).unwrap();
    forged["config"]["User"] = "root".into();
    let forged = forged.to_string();
    let descriptor =
        |text: &str, like: &Value| json!({ "mediaType": like["mediaType"], "digest": sha256(text.as_bytes()), "size": text.len() });
    entry["carried"][sha256(forged.as_bytes())] = STANDARD.encode(&forged).into();
    entry["record"]["config"] = descriptor(&forged, &entry["record"]["config"]);
    let mut own: Value = serde_json::from_str(entry["manifest"].as_str().unwrap()).unwrap();
    own["config"] = entry["record"]["config"].clone();
    let own = own.to_string();
    let platform = entry["record"]["manifest"]["platform"].clone();
    entry["record"]["manifest"] = descriptor(&own, &entry["record"]["manifest"]);
    entry["record"]["manifest"]["platform"] = platform;
    entry["manifest"] = own.into();
    monorepo.put(&tag, manifest, &entry);
    let run = monorepo.push("fresh", &["a"]).succeeds();
    assert_eq!(digest(&run, "a"), a);
    run.says(&["is not what the Dockerfile makes of its layers, it counts as absent"]);
    assert!(!monorepo.push("fresher", &["a"]).succeeds().has_said("counts as absent"), "it was replaced");
}

#[test]
fn a_build_without_the_cache_believes_no_table_of_contents() {
    let monorepo = Monorepo::new(other_contents, "echo one");
    monorepo.project.write("a/Dockerfile", "FROM {busybox}\nCOPY f.txt /srv/in/\n");
    let a = monorepo.honest("a");
    let (_, _, theirs) =
        monorepo.entries("evil/a-cache", 's').into_iter().find(|(.., entry)| entry.to_string().contains("echo one")).unwrap();
    let toc = &theirs["toc"];
    let digest_of_toc = toc["digest"].as_str().unwrap();
    let bytes = STANDARD.decode(theirs["carried"][digest_of_toc].as_str().unwrap()).unwrap();
    fs::create_dir_all(monorepo.blob(digest_of_toc).parent().unwrap()).unwrap();
    fs::write(monorepo.blob(digest_of_toc), bytes).unwrap();
    monorepo.give(toc);
    let of_base = monorepo.entries("team/a-cache", 't');
    assert!(!of_base.is_empty());
    for (tag, mut manifest, mut entry) in of_base {
        entry["toc"] = toc.clone();
        manifest["layers"] = json!([toc]);
        monorepo.put(&tag, manifest, &entry);
    }
    assert_ne!(digest(&monorepo.push("believing", &["a"]).succeeds(), "a"), a, "a believes its own cache");
    assert_eq!(digest(&monorepo.brik("fresh", &["--push", "--no-cache", "a"]).succeeds(), "a"), a);
}

/// A RUN that is made again makes something else.
#[test]
fn an_entry_does_not_name_the_layer_of_one_result_and_the_diff_id_of_another() {
    let registry = Registry::start();
    let project = Monorepo::services(registry.host(), "team", &["a"]);
    let monorepo = Monorepo { registry, project };
    let random = "FROM {busybox}\nRUN head -c 9 /dev/urandom > /r\nCOPY f.txt /srv/\n";
    let change = |f: &str, dockerfile: &str| {
        monorepo.project.write("a/f.txt", f);
        monorepo.project.write("a/Dockerfile", dockerfile);
    };
    let last = format!("{random}RUN cat /srv/f.txt > /g\n");
    change("1", &last);
    let _ = monorepo.push("ci", &["a"]).succeeds();
    change("2", &last);
    let _ = monorepo.push("dev", &["a"]).succeeds();
    change("3", &last);
    let _ = monorepo.brik("dev", &["--no-remote-cache", "a"]).succeeds();
    for kind in ['s', 'i', 't'] {
        for (tag, ..) in monorepo.entries("team/a-cache", kind) {
            fs::remove_dir_all(monorepo.tags("team/a-cache").join(tag)).unwrap();
        }
    }
    change("2", &last);
    let _ = monorepo.push("dev", &["--tags", "v2", "a"]).succeeds();
    change("4", random);
    let _ = monorepo.push("fresh", &["--tags", "v3", "a"]).succeeds();
    assert_eq!(whole_images(&monorepo.registry, "team/a"), 3);
}

#[test]
fn a_cache_that_promises_what_nobody_has_costs_nobody_else_anything() {
    let registry = Registry::start();
    let steps: String = (0..10).map(|n| format!("RUN echo {n} > /{n}\n")).collect();
    let project = Monorepo::services(registry.host(), "team", &["a", "b"]);
    project.write("a/Dockerfile", format!("FROM {{busybox}}\n{steps}RUN cat /0\n"));
    project.write("b/Dockerfile", "FROM {busybox}\nRUN head -c 9 /dev/urandom > /r\n");
    let monorepo = Monorepo { registry, project };
    let b = digest(&monorepo.push("first", &["a", "b"]).succeeds(), "b");
    for (tag, mut manifest, mut entry) in monorepo.entries("team/a-cache", 's') {
        entry["record"]["layer"]["digest"] = sha256(tag.as_bytes()).into();
        manifest["layers"] = json!([]);
        monorepo.put(&tag, manifest, &entry);
    }
    monorepo.project.write("a/Dockerfile", format!("FROM {{busybox}}\n{steps}RUN cat /1\n"));
    let run = monorepo.push("fresh", &["a", "b"]).succeeds();
    run.says(&["team/a-cache is not read any more in this run"]);
    assert_eq!([digest(&run, "a"), digest(&run, "b")], [monorepo.honest("a"), b]);
}

/// Pull requests write one cache, and read that of the main branch of each service, too.
#[test]
fn services_find_a_shared_step_in_one_cache_though_it_rests_on_their_own_ones() {
    let registry = Registry::start();
    let project = Monorepo::services(registry.host(), "team", &["a", "b"]);
    let monorepo = Monorepo { registry, project };
    let _ = monorepo.push("main", &["a", "b"]).succeeds();
    let to = format!("--cache-to={}/team/pr", monorepo.registry.host());
    for name in ["a", "b"] {
        let shared = DOCKERFILE.replace("RUN : NAME; echo one > /one", "RUN echo shared > /shared\nRUN : NAME; echo one > /one");
        monorepo.project.write(&format!("{name}/Dockerfile"), shared.replace("NAME", name));
    }
    let ran = |store: &str, service: &str| monorepo.brik(store, &[&to, service]).succeeds().steps_run().concat();
    assert!(ran("1", "a").contains("shared"));
    for (store, service) in [("2", "b"), ("3", "a"), ("4", "b"), ("5", "a")] {
        assert!(!ran(store, service).contains("shared"), "{store}");
    }
}

/// Which of the caches tells of a layer that both have may differ from one run to the next.
#[test]
fn a_layer_that_came_from_the_cache_of_one_service_is_known_when_that_of_another_tells_of_it() {
    let registry = Registry::start();
    let project = Monorepo::services(registry.host(), "team", &["a", "b"]);
    let monorepo = Monorepo { registry, project };
    let dockerfile =
        "FROM {busybox} AS tools\nRUN echo tools > /t\nFROM {busybox}\nCOPY --from=tools /t /t\nCOPY f.txt /srv/\nRUN ls /srv\n";
    let write = |name: &str, file: &str, text: &str| monorepo.project.write(&format!("{name}/{file}"), text);
    ["a", "b"].into_iter().for_each(|name| write(name, "Dockerfile", dockerfile));
    ["a", "b"].into_iter().for_each(|name| write(name, "f.txt", &format!("old {name}")));
    let _ = monorepo.push("ci", &["a", "b"]).succeeds();
    ["a", "b"].into_iter().for_each(|name| write(name, "f.txt", &format!("new {name}")));
    let ran = || monorepo.brik("laptop", &["--cache-from"]).succeeds().steps_run();
    assert_eq!([ran().len(), ran().len()], [4, 0]);
}

/// Where no byte of a layer moves through brik.
#[test]
fn a_size_that_an_entry_makes_up_stands_in_no_manifest() {
    for mounted in [false, true] {
        let longer = |entry: &mut Value, _: &Value| {
            let size = &mut entry["record"]["layer"]["size"];
            *size = (size.as_u64().unwrap() + 1).into();
        };
        let monorepo = Monorepo::new(longer, "files f.txt");
        if mounted {
            fs::remove_dir_all(monorepo.repository("team/a")).unwrap();
        }
        monorepo.project.write("a/Dockerfile", DOCKERFILE.replace("NAME", "a").replace("guest", "nobody"));
        let run = monorepo.push("fresh", &["--tags", "v2", "a"]).succeeds();
        assert_eq!(digest(&run, "a"), monorepo.honest("a"), "{}", run.stderr);
        run.says(&["of the cache cannot be had, what needs it is built again", "expected"]);
        assert_eq!(whole_images(&monorepo.registry, "team/a"), if mounted { 1 } else { 2 });
    }
}

/// As a build of the main branch that was given the cache of a pull request, once.
#[test]
fn what_rests_on_a_cache_counts_in_other_caches_only_where_that_one_is_read() {
    let monorepo = Monorepo::new(other_layer, "files f.txt");
    let (host, of_others) = (monorepo.registry.host().to_owned(), format!("--cache-from={}/team/a-cache", monorepo.registry.host()));
    let toml = fs::read_to_string(monorepo.project.path("brik.toml")).unwrap();
    monorepo.project.write("brik.toml", format!("{toml}\n[services.a]\ncache = \"{host}/team/main\"\n"));
    let a = monorepo.honest("a");
    let first = monorepo.push("first-main", &[&of_others, "a"]).succeeds();
    assert_ne!(digest(&first, "a"), a, "who reads it believes it");
    let again = monorepo.push("second-main", &[&of_others, "a"]).succeeds();
    assert_eq!((digest(&again, "a"), again.steps_run().len()), (digest(&first, "a"), 0), "and believes what rests on it");
    let without = monorepo.push("third-main", &["a"]).succeeds();
    assert_eq!(digest(&without, "a"), a, "{}", without.stderr);
    let after = monorepo.push("fourth-main", &["a"]).succeeds();
    assert_eq!((digest(&after, "a"), after.steps_run().len()), (a, 0), "what is of no use was replaced");
}
