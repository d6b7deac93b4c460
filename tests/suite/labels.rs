//! Standard labels and ARGs filled from git: they say where an image comes from, and no commit that changes nothing changes it.

use serde_json::{Map, Value};

use crate::support::{Brik, Image, Project, Registry, tools};

/// As much of the license's text as makes it one.
pub const MIT: &str = "MIT License\n\nPermission is hereby granted, free of charge, to any person obtaining a copy, to deal in the Software without \
    restriction, including without limitation the rights to use, copy, modify, merge, publish, distribute\n";

const TOML: &str = "members = [\"services/*\"]\ntags = [\"sha-{sha}\", \"v{version}\"]\n";
const DOCKERFILE: &str = "FROM {busybox}\nCOPY file /file\nRUN echo made > /made\n";

/// One service, committed, with a remote and a license.
fn repository(dockerfile: &str) -> Project {
    let project = Project::monorepo(TOML).file("LICENSE", MIT).file("README.md", "1");
    let project = project.file("services/app/Dockerfile", dockerfile).file("services/app/file", "1").commit();
    project.git(["remote", "add", "origin", "https://user:token@git.example/org/shop.git"]);
    project
}

/// Another commit that no image has anything of.
fn commit(project: &Project, text: &str) {
    project.write("README.md", text);
    project.git(["commit", "--quiet", "--all", "--message", text]);
}

fn head(project: &Project) -> String {
    let output = std::process::Command::new("git").args(["rev-parse", "HEAD"]).current_dir(project.path("")).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn build(project: &Project) -> Brik {
    project.brik(["build", "--progress", "json", "--output"]).args([format!("oci:{}", project.out().display())])
}

#[track_caller]
fn digest(brik: Brik) -> String {
    brik.succeeds().digests().remove(0)
}

#[track_caller]
fn built(project: &Project) -> (String, Image) {
    let _ = std::fs::remove_dir_all(project.out());
    (digest(build(project)), project.built())
}

fn labels(image: &Image) -> Map<String, Value> {
    image.config["config"]["Labels"].as_object().cloned().unwrap_or_default()
}

fn label(image: &Image, name: &str) -> Option<String> {
    let labels = labels(image);
    labels.get(&format!("org.opencontainers.image.{name}")).and_then(Value::as_str).map(str::to_owned)
}

#[test]
fn an_image_says_where_it_comes_from() {
    let project = repository(DOCKERFILE);
    project.git(["tag", "v1.2.3"]);
    let (_, image) = built(&project);
    for (name, value) in [
        ("title", "app"),
        ("source", "https://git.example/org/shop"),
        ("url", "https://git.example/org/shop"),
        ("licenses", "MIT"),
        ("revision", &head(&project)),
        ("version", "1.2.3"),
        ("created", "2001-02-03T04:05:06Z"),
    ] {
        assert_eq!(label(&image, name).as_deref(), Some(value), "{name}");
    }
}

#[test]
fn an_unchanged_image_keeps_its_digest_and_its_labels_from_commit_to_commit() {
    let project = repository(DOCKERFILE);
    let (first, image) = built(&project);
    let revision = label(&image, "revision");
    assert_eq!(revision, Some(head(&project)));
    commit(&project, "2");
    project.git(["tag", "v2.0.0"]);
    let (second, image) = built(&project);
    assert_eq!((first.as_str(), revision), (second.as_str(), label(&image, "revision")));
    project.write("services/app/file", "2");
    project.git(["commit", "--quiet", "--all", "--message=changed"]);
    let (third, image) = built(&project);
    assert_ne!(second, third);
    assert_eq!(label(&image, "revision"), Some(head(&project)));
}

#[test]
fn a_fresh_runner_with_the_shared_cache_keeps_the_digest_too() {
    let registry = Registry::start();
    let toml = format!("registry = \"{}/team\"\n{TOML}", registry.host());
    let project = Project::empty().file("brik.toml", &toml).file("README.md", "1").file("services/app/file", "1");
    let project = project.file("services/app/Dockerfile", "FROM scratch\nCOPY file /file\n").commit();
    let push = |store: &str| project.brik(["build", "--push", "--progress", "json"]).store(&project.beside(store));
    let first = push("first").succeeds();
    commit(&project, "2");
    let second = push("second").succeeds();
    assert_eq!((first.digests(), second.steps_run()), (second.digests(), Vec::new()));
    let tag = format!("/v2/team/app/manifests/sha-{}", &head(&project)[..7]);
    assert!(registry.requests().iter().any(|request| request.starts_with("PUT ") && request.contains(&tag)), "it has gained {tag}");
}

#[test]
fn the_same_commit_has_the_same_digest_on_machines_that_know_nothing_of_each_other() {
    let project = repository(DOCKERFILE);
    let clone = project.beside("clone");
    project.git(["clone", "--quiet", project.path("").to_str().unwrap(), clone.to_str().unwrap()]);
    project.git(["-C", clone.to_str().unwrap(), "remote", "set-url", "origin", "git@git.example:org/shop"]);
    let there = project.brik(["-C", clone.to_str().unwrap(), "build", "--progress", "json"]).store(&project.beside("other"));
    assert_eq!(built(&project).0, digest(there));
}

#[test]
fn with_exact_labels_every_commit_has_a_digest_of_its_own_and_runs_nothing() {
    let project = repository(DOCKERFILE);
    let exact = |project: &Project| build(project).args(["--set", "build.exact_labels=true"]).succeeds();
    let first = exact(&project);
    commit(&project, "2");
    let second = exact(&project);
    assert_ne!(first.digests(), second.digests());
    assert_eq!(second.steps_run(), [""; 0]);
    assert_eq!(label(&Image::read(&project.out()), "revision").map(|revision| revision.len()), Some(40));
}

#[test]
fn labels_of_the_user_count_more_and_those_of_a_base_less() {
    let base = Project::dockerfile(
        "FROM scratch\nLABEL org.opencontainers.image.title=Base org.opencontainers.image.vendor=B\nCOPY Dockerfile /\n",
    );
    let name = format!("{}/base", base.prefix());
    let _ = base.brik(["build", "--push", "--no-remote-cache", "--image", &name, "--tags", "1"]).succeeds();
    let (_, image) = built(&repository(&format!("FROM {name}:1\nCOPY file /\n")));
    assert_eq!((label(&image, "title").as_deref(), label(&image, "vendor").as_deref()), (Some("app"), Some("B")));
    let dockerfile = "FROM scratch\nLABEL org.opencontainers.image.revision=mine org.opencontainers.image.licenses=ISC\nCOPY file /file\n";
    let project = repository(dockerfile);
    let _ = build(&project).args(["--label", "org.opencontainers.image.created=never"]).succeeds();
    let app = project.built();
    assert_eq!((label(&app, "revision").as_deref(), label(&app, "licenses").as_deref()), (Some("mine"), Some("ISC")));
    assert_eq!((label(&app, "title").as_deref(), label(&app, "created").as_deref()), (Some("app"), Some("never")));
}

#[test]
fn a_service_on_another_service_has_labels_of_its_own() {
    let project = repository("FROM scratch\nARG VCS_REF\nLABEL ref=$VCS_REF\nCOPY file /file\n")
        .file("services/web/Dockerfile", "FROM base\nCOPY file /web\n")
        .file("services/web/file", "web");
    let toml = std::fs::read_to_string(project.path("brik.toml")).unwrap();
    project.write("brik.toml", toml + "[services.web]\ncontexts = { base = \"service:app\" }\n");
    let build = || project.brik(["build", "--progress", "json"]).succeeds().digests();
    let first = build();
    commit(&project, "2");
    assert_eq!(first, build());
    if !tools::installed(&["skopeo"]) {
        return;
    }
    let _ = project.brik(["build", "--push", "--no-remote-cache", "--tags", "x"]).succeeds();
    let (out, from) = (project.beside("web"), format!("docker://{}/web:x", project.prefix()));
    let _ = tools::output("skopeo", &["copy", "-q", "--src-tls-verify=false", &from, &format!("dir:{}", out.display())]);
    let image = Image::read_dir_transport(&out);
    assert_eq!(label(&image, "title").as_deref(), Some("web"));
    assert_eq!(labels(&image)["ref"].as_str().map(str::len), Some(40), "what the base says of its commit is inherited");
}

#[test]
fn without_a_commit_there_are_no_labels() {
    let image = Project::dockerfile("FROM scratch\nCOPY Dockerfile /\nARG VCS_REF=none\nENV A=$VCS_REF\n").image::<&str>([]);
    assert_eq!(labels(&image), Map::new());
    assert!(image.config["config"]["Env"].as_array().unwrap().iter().any(|entry| entry == "A=none"), "{}", image.config);
}

#[test]
fn source_date_epoch_dates_the_label() {
    let project = repository(DOCKERFILE);
    let _ = build(&project).env("SOURCE_DATE_EPOCH", "1578616200").succeeds();
    assert_eq!(label(&project.built(), "created").as_deref(), Some("2020-01-10T00:30:00Z"));
    let own = repository("ARG SOURCE_DATE_EPOCH=1578616201\nFROM scratch\nCOPY file /file\n");
    assert_eq!(label(&built(&own).1, "created").as_deref(), Some("2020-01-10T00:30:01Z"));
}

#[test]
fn args_are_filled_where_they_are_declared_and_cost_an_unchanged_image_nothing() {
    let text = "FROM {busybox}\nRUN env > /before\nARG IMAGE_SOURCE\nARG VCS_REF=unknown BUILD_DATE\nLABEL ref=at-$VCS_REF date=$BUILD_DATE source=$IMAGE_SOURCE\n";
    let project = repository(text);
    let (first, image) = built(&project);
    let revision = head(&project);
    let said = |name: &str| labels(&image)[name].as_str().unwrap().to_owned();
    assert_eq!(said("ref"), format!("at-{revision}"));
    assert_eq!((said("date").as_str(), said("source").as_str()), ("2001-02-03T04:05:06Z", "https://git.example/org/shop"));
    assert!(!image.text("/before").contains(&revision), "what is not declared is not there");
    commit(&project, "2");
    let (second, image) = built(&project);
    assert_eq!((first, labels(&image)["ref"].as_str()), (second, Some(format!("at-{revision}").as_str())));
    let given = build(&project).args(["--build-arg", "VCS_REF=mine", "--set", "build.exact_labels=true"]).succeeds();
    assert!(given.steps_run().is_empty());
    assert_eq!(labels(&project_image(&project))["ref"], "at-mine");
}

/// The image that was added last.
fn project_image(project: &Project) -> Image {
    let _ = std::fs::remove_dir_all(project.out());
    let _ = build(project).args(["--build-arg", "VCS_REF=mine"]).succeeds();
    project.built()
}

#[test]
fn an_arg_of_git_before_a_run_is_warned_about_on_its_bytes() {
    let project = repository("FROM {busybox}\nARG A=1 VCS_REF\nRUN echo $VCS_REF > /ref\n");
    project.brik(["check"]).succeeds().says(&["CommitArgBeforeRun", "ARG VCS_REF stands before a RUN", "services/app/Dockerfile:2:9"]);
    let run = build(&project).succeeds();
    assert!(run.events_of("warning").iter().any(|event| event["message"].as_str().unwrap().contains("CommitArgBeforeRun")), "{run:?}");
    assert_eq!(project.built().text("/ref").trim(), head(&project));
    let given = project.brik(["check", "--set", "args.VCS_REF=fixed"]).succeeds();
    assert!(!given.has_said("CommitArgBeforeRun"), "{given:?}");
    let page = project.brik(["explain", "CommitArgBeforeRun"]).succeeds().stdout;
    assert!(page.contains("below the last `RUN`") && !page.contains("BuildKit's page"), "{page}");
}
