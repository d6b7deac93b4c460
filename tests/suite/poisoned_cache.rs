//! Whoever may write to the cache repository of a service can change the images of that service, by layers. Of nothing else: not those of
//! others, nor what is built without that repository, whatever the store has taken from it.

use std::fs;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::aftermath::whole_images;
use crate::support::{Brik, Image, Project, Registry, Run, busybox};

/// What they have in common but for the first Step is made in two ways, so that only its content is the same.
const DOCKERFILE: &str = "FROM {busybox}\nRUN echo tools > /tools\nRUN : NAME; echo one > /one\nCOPY f.txt /srv/in/\nWORKDIR /app\nRUN cat /srv/in/f.txt > /two\nUSER guest\n";

struct Monorepo {
    registry: Registry,
    project: Project,
}

impl Monorepo {
    /// Services a and b, pushed by somebody, so that there are caches; then a's cache has been in other hands.
    fn new(forge: impl Fn(&mut Value, &Value), of: &str) -> Self {
        let registry = Registry::start();
        let host = registry.host();
        let evil = Self::services(host, "evil", &["a"]).file("a/f.txt", "EVIL\n");
        if of == "echo one" {
            evil.write("a/Dockerfile", DOCKERFILE.replace("echo one > /one", "echo one > /one; ln -s /etc /srv"));
        }
        let project = Self::services(host, "team", &["a", "b"]);
        let monorepo = Self { registry, project };
        let _ = monorepo.push("first", &["a", "b"]).succeeds();
        let _ = evil.brik(["build", "--push"]).succeeds();
        let wanted = |entry: &Value| entry["record"]["inputs"].to_string().contains(of);
        let theirs = monorepo.entries("evil/a-cache", 's').into_iter().map(|(_, _, entry)| entry).find(wanted).expect("an evil entry");
        for (tag, mut manifest, mut entry) in monorepo.entries("team/a-cache", 's').into_iter().filter(|(_, _, entry)| wanted(entry)) {
            forge(&mut entry, &theirs);
            let layer = entry["record"]["layer"].clone();
            monorepo.give(&layer);
            manifest["layers"] = json!([layer]);
            monorepo.put(&tag, manifest, &entry);
        }
        // Without its image, a is made of its Steps.
        for (tag, ..) in monorepo.entries("team/a-cache", 'i') {
            fs::remove_dir_all(monorepo.tags("team/a-cache").join(tag)).unwrap();
        }
        monorepo
    }

    fn services(host: &str, namespace: &str, names: &[&str]) -> Project {
        let toml = format!("registry = \"{host}/{namespace}\"\nmembers = [\"*\"]\ntags = [\"v1\"]\n");
        let project = Project::empty().file("brik.toml", toml);
        for name in names {
            project.write(&format!("{name}/Dockerfile"), DOCKERFILE.replace("NAME", name));
            project.write(&format!("{name}/f.txt"), "good\n");
        }
        project
    }

    fn brik(&self, store: &str, args: &[&str]) -> Brik {
        self.project.brik(["build", "--progress", "json", "--format", "json"]).args(args).store(&self.project.beside(store))
    }

    fn push(&self, store: &str, services: &[&str]) -> Brik {
        self.brik(store, &["--push"]).args(services)
    }

    fn without_caches(&self, store: &str, service: &str) -> Brik {
        self.brik(store, &["--no-remote-cache", service])
    }

    fn repository(&self, name: &str) -> PathBuf {
        self.registry.data().join("docker/registry/v2/repositories").join(name)
    }

    fn tags(&self, repository: &str) -> PathBuf {
        self.repository(repository).join("_manifests/tags")
    }

    fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        self.registry.data().join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }

    /// Tags of a kind, with their manifests and the records in these.
    fn entries(&self, repository: &str, kind: char) -> Vec<(String, Value, Value)> {
        let tags = self.registry.tags(repository).into_iter().filter(|tag| tag.starts_with(&format!("{kind}-")));
        let read = |tag: String| {
            let digest = fs::read_to_string(self.tags(repository).join(&tag).join("current/link")).unwrap();
            let manifest: Value = serde_json::from_slice(&fs::read(self.blob(&digest)).unwrap()).unwrap();
            let record = serde_json::from_str(manifest["annotations"]["dev.brik.record"].as_str().unwrap()).unwrap();
            (tag, manifest, record)
        };
        tags.map(read).collect()
    }

    /// Puts an entry into a's cache.
    fn put(&self, tag: &str, mut manifest: Value, entry: &Value) {
        manifest["annotations"]["dev.brik.record"] = entry.to_string().into();
        let bytes = manifest.to_string();
        let digest = sha256(bytes.as_bytes());
        write(&self.blob(&digest), &bytes);
        let hex = digest.trim_start_matches("sha256:");
        write(&self.repository("team/a-cache").join(format!("_manifests/revisions/sha256/{hex}/link")), &digest);
        write(&self.tags("team/a-cache").join(tag).join("current/link"), &digest);
    }

    /// Lets a's cache have a blob that the registry has.
    fn give(&self, blob: &Value) {
        let digest = blob["digest"].as_str().unwrap();
        let hex = digest.trim_start_matches("sha256:");
        write(&self.repository("team/a-cache").join(format!("_layers/sha256/{hex}/link")), digest);
    }

    /// The digest of a service's image, made of what it says and of nothing else.
    fn honest(&self, service: &str) -> String {
        digest(&self.without_caches("honest", service).succeeds(), service)
    }
}

fn write(path: &std::path::Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn sha256(bytes: &[u8]) -> String {
    brik::oci::Digest::of(bytes).to_string()
}

fn digest(run: &Run, service: &str) -> String {
    let rows = serde_json::from_str::<Value>(&run.stdout).unwrap()["rows"].as_array().unwrap().clone();
    rows.iter().find(|row| row["service"] == service).unwrap()["digest"].as_str().unwrap().to_owned()
}

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
fn an_entry_leads_to_no_repository_that_nobody_named() {
    let private = |entry: &mut Value, theirs: &Value| {
        other_layer(entry, theirs);
        entry["record"]["layer"]["digest"] = format!("sha256:{}", "2".repeat(64)).into();
    };
    let monorepo = Monorepo::new(private, "files f.txt");
    for (tag, mut manifest, mut entry) in monorepo.entries("team/a-cache", 's') {
        manifest["layers"] = json!([]);
        entry["places"] = json!([format!("{}/private/repository", monorepo.registry.host())]);
        monorepo.put(&tag, manifest, &entry);
    }
    let run = monorepo.push("fresh", &["a"]).succeeds();
    assert_eq!(digest(&run, "a"), monorepo.honest("a"), "{}", run.stderr);
    let asked: Vec<String> = monorepo.registry.requests().into_iter().filter(|request| request.contains("private")).collect();
    assert_eq!(asked, [""; 0]);
}

/// Another project was built on the same store, and somebody has learned the digest of its layer.
#[test]
fn what_the_store_has_of_others_is_given_to_nobody_for_its_digest() {
    let monorepo = Monorepo::new(|_, _| {}, "files f.txt");
    let vault = Project::empty().file("Dockerfile", "FROM scratch\nCOPY key-of-acme /\n").file("key-of-acme", "private\n");
    let built = vault.brik(["build", "--image", "localhost/vault", "--output", "oci:out"]).store(&monorepo.project.beside("shared"));
    let _ = built.succeeds();
    let read = |digest: &Value| fs::read(vault.path("out/blobs/sha256").join(&digest.as_str().unwrap()["sha256:".len()..])).unwrap();
    let json = |digest: &Value| serde_json::from_slice::<Value>(&read(digest)).unwrap();
    let index: Value = serde_json::from_slice(&fs::read(vault.path("out/index.json")).unwrap()).unwrap();
    let manifest = json(&index["manifests"][0]["digest"]);
    let (layer, diff_id) = (&manifest["layers"][0], &json(&manifest["config"]["digest"])["rootfs"]["diff_ids"][0]);
    let store = monorepo.project.beside("shared");
    let records = fs::read_dir(store.join("records/step")).unwrap().map(|record| fs::read_to_string(record.unwrap().path()).unwrap());
    let record: Value = serde_json::from_str(records.last().unwrap().rsplit_once("\nblake3").unwrap().0).unwrap();
    let names = fs::read(store.join("blobs/sha256").join(&record["files"]["digest"].as_str().unwrap()["sha256:".len()..])).unwrap();
    assert!(String::from_utf8_lossy(&names).contains("acme"));
    for (tag, mut manifest, mut entry) in monorepo.entries("team/a-cache", 's') {
        let inputs = entry["record"]["inputs"].to_string();
        if inputs.contains("workdir") {
            (entry["record"]["layer"], entry["record"]["diff_id"]) = (layer.clone(), diff_id.clone());
            entry["carried"] = json!({});
            entry.as_object_mut().unwrap().remove("toc");
            manifest["layers"] = json!([]);
        } else if inputs.contains("files f.txt") {
            entry["record"]["files"] = record["files"].clone();
        }
        monorepo.put(&tag, manifest, &entry);
    }
    // An image that nobody has asked the layers of yet, and then one that is exported.
    let reads = format!("--cache-from={}/team/a-cache", monorepo.registry.host());
    let _ = monorepo.brik("shared", &[&reads, "a"]).succeeds();
    let exported = monorepo.brik("shared", &[&reads, "--output", "oci:exported", "a"]).succeeds();
    let run = monorepo.push("shared", &["a"]).succeeds();
    assert_eq!([digest(&exported, "a"), digest(&run, "a")], [monorepo.honest("a"), monorepo.honest("a")], "{}", run.stderr);
    assert!(!monorepo.blob(layer["digest"].as_str().unwrap()).exists());
    let carried = [STANDARD.encode(read(&layer["digest"])), STANDARD.encode(names)];
    for repository in ["team/a", "team/a-cache"] {
        for tag in monorepo.registry.tags(repository) {
            let digest = fs::read_to_string(monorepo.tags(repository).join(&tag).join("current/link")).unwrap();
            let manifest = fs::read_to_string(monorepo.blob(&digest)).unwrap();
            assert!(!carried.iter().any(|carried| manifest.contains(carried)), "{repository}:{tag}");
        }
    }
}

#[test]
fn the_configuration_of_an_image_is_read_from_no_host_that_nobody_named() {
    let monorepo = Monorepo::new(|_, _| {}, "files f.txt");
    let a = digest(&monorepo.push("again", &["a"]).succeeds(), "a");
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let (tag, mut manifest, mut entry) = monorepo.entries("team/a-cache", 'i').remove(0);
    manifest["layers"] = json!([]);
    entry["carried"] = json!({});
    entry["places"] = json!([format!("{}/x", elsewhere.local_addr().unwrap())]);
    monorepo.put(&tag, manifest, &entry);
    assert_eq!(digest(&monorepo.push("fresh", &["a"]).succeeds(), "a"), a);
    assert_eq!(elsewhere.accept().map(drop).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
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

/// Another project was built on the same store, and somebody has learned the DiffId of its layer.
#[test]
fn what_the_store_has_made_of_others_is_in_no_image_for_its_diff_id() {
    // What works on that layer has run there, too, or not.
    for last in ["/three", "/four"] {
        let monorepo = Monorepo::new(|_, _| {}, "files f.txt");
        let dockerfile = |last: &str| DOCKERFILE.replace("NAME", "a").replace("/two", last);
        let vault = Monorepo::services(monorepo.registry.host(), "vault", &["a"]).file("a/f.txt", "private\n");
        vault.write("a/Dockerfile", dockerfile(last));
        let built = vault.brik(["build", "--output", "oci:out"]).store(&monorepo.project.beside("shared"));
        let _ = built.succeeds();
        let diff_ids = Image::read(&vault.path("out")).config["rootfs"]["diff_ids"].as_array().unwrap().clone();
        for (tag, manifest, mut entry) in monorepo.entries("team/a-cache", 's') {
            if entry["record"]["inputs"].to_string().contains("files f.txt") {
                entry["record"]["diff_id"] = diff_ids[diff_ids.len() - 3].clone();
                entry["carried"] = json!({});
                entry.as_object_mut().unwrap().remove("toc");
            }
            monorepo.put(&tag, manifest, &entry);
        }
        monorepo.project.write("a/Dockerfile", dockerfile("/three"));
        let run = monorepo.push("shared", &["a"]).succeeds();
        assert_eq!(digest(&run, "a"), monorepo.honest("a"), "{last}: {}", run.stderr);
    }
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
