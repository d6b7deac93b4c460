//! `brik doctor`: what it finds on this machine and in registries, good ones and others, and what it says to do.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::scripted::{Answer, Server};
use crate::support::{Ask, Brik, Fault, PASSWORD, Project, Proxy, Registry, Run, USER, shared_registry, tools};

fn doctor(project: &Project) -> Brik {
    project.brik(["doctor", "--format", "json"])
}

fn report(run: &Run) -> Value {
    // Before it, a container has said what it is.
    let text = run.stdout.find('{').map_or("", |at| &run.stdout[at..]);
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {run:?}"))
}

/// The check of this name, and of this subject if there is one.
#[track_caller]
fn check(run: &Run, name: &str, subject: &str) -> Value {
    let checks = report(run)["checks"].as_array().unwrap().clone();
    let is_it = |check: &&Value| check["name"] == name && (subject.is_empty() || check["subject"] == subject);
    checks.iter().find(is_it).cloned().unwrap_or_else(|| panic!("no check of {name} {subject}: {}", run.stdout))
}

/// Status, what was found and the fix contain these.
#[track_caller]
fn says(check: &Value, status: &str, found: &str, fix: &str) {
    let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
    assert!(check["status"] == status && text("found").contains(found) && text("fix").contains(fix), "{check:#}");
}

/// A service that is pushed to `host`.
fn service(host: &str) -> Project {
    Project::empty()
        .file("brik.toml", format!("registry = \"{host}/team\"\nmembers = [\"app\"]\ntags = [\"v1\"]\n"))
        .file("app/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
}

#[test]
fn a_machine_that_builds_is_told_so_without_a_brik_toml_and_nothing_is_made() {
    let project = Project::empty();
    let run = doctor(&project).succeeds();
    assert_eq!((&report(&run)["ok"], &report(&run)["failed"]), (&true.into(), &0.into()));
    says(&check(&run, "overlayfs", ""), "ok", "mounted, written to and read back", "");
    says(&check(&run, "brik.toml", ""), "ok", "none in", "");
    says(&check(&run, "registries", ""), "ok", "brik doctor ghcr.io", "");
    for name in ["namespaces", "subordinate ids", "store", "disk", "git"] {
        assert_ne!(check(&run, name, "")["status"], "failed");
    }
    assert!(!project.store().exists());
    assert_eq!(std::fs::read_dir(project.home()).unwrap().count(), 0, "what was tried is removed");
    let human = project.brik(["doctor"]).succeeds();
    assert!(human.stdout.starts_with("ok ") && human.stdout.ends_with(" 0 failed\n"), "{human:?}");
}

#[test]
fn a_store_is_made_on_request() {
    let project = Project::empty();
    let run = doctor(&project).args(["--fix"]).succeeds();
    let store = check(&run, "store", "");
    assert!(store["done"].as_str().unwrap().starts_with("made ") && project.store().join("version").is_file(), "{store:#}");
    says(&check(&doctor(&project).succeeds(), "overlayfs", ""), "ok", "mounted", "");
}

#[test]
fn a_store_that_others_may_write_to_is_told() {
    let project = Project::empty();
    let _ = doctor(&project).args(["--fix"]).succeeds();
    std::fs::set_permissions(project.store(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    says(&check(&doctor(&project).succeeds(), "store", ""), "warning", "can be written to by other users", "chmod go-w");
}

#[test]
fn a_home_that_cannot_be_written_to_fails_with_another_place() {
    let run = doctor(&Project::empty()).env("XDG_CACHE_HOME", "/proc/1/cache").exits(3);
    says(&check(&run, "store", ""), "failed", "cannot be written to", "export BRIK_STORE=");
    says(&check(&run, "overlayfs", ""), "failed", "the store cannot be written to", "");
}

#[test]
fn a_broken_brik_toml_is_a_finding_among_others() {
    let run = doctor(&Project::empty().file("brik.toml", "registri = 1\n")).exits(3);
    says(&check(&run, "brik.toml", ""), "failed", "brik.toml:1:1", "brik check");
    assert_ne!(check(&run, "namespaces", "")["status"], "failed");
}

#[test]
fn the_state_of_git_is_told_as_far_as_tags_need_it() {
    let project = service(shared_registry().host());
    let git = |run: &Run| check(run, "git", "");
    says(&git(&doctor(&project).succeeds()), "warning", "no repository here", "git init");
    project.git(["init", "--quiet", "--initial-branch=main"]);
    says(&git(&doctor(&project).succeeds()), "warning", "no commit yet", "git commit");
    let project = project.commit();
    says(&git(&doctor(&project).succeeds()), "ok", "", "");
    project.git(["checkout", "--quiet", "--detach"]);
    says(&git(&doctor(&project).succeeds()), "ok", "detached HEAD", "");
    let clone = Project::empty();
    let url = format!("file://{}", project.path("").display());
    clone.git(["clone", "--quiet", "--depth=1", &url, "."]);
    let run = doctor(&clone).run();
    // With one commit there is nothing that is not there.
    if clone.path(".git/shallow").exists() {
        says(&git(&run), "warning", "shallow clone", "git fetch --unshallow");
    }
}

#[test]
fn a_limit_of_memory_that_has_no_effect_is_told_by_the_doctor_and_once_by_a_build() {
    let project = Project::monorepo("members = [\"*\"]\ntags = [\"v1\"]\n[build]\nmemory = \"1GiB\"");
    let project = project.file("api/Dockerfile", "FROM {busybox}\nRUN echo one\nRUN echo two\n");
    let project = project.file("web/Dockerfile", "FROM {busybox}\nRUN echo three\n");
    let limit = check(&doctor(&project).run(), "memory limit", "");
    let without = limit["status"] == "warning";
    if without {
        says(&limit, "warning", "`memory` in [build] has no effect", "or remove `memory`");
    } else {
        says(&limit, "ok", "may make control groups", "");
    }
    let run = project.brik(["build"]).succeeds();
    assert_eq!(run.stderr.matches("memory has no effect").count(), usize::from(without), "{limit:#}\n{}", run.stderr);
}

#[test]
fn root_in_a_container_learns_what_keeps_it_on_the_lower_rung() {
    if !tools::is_root() {
        return tools::skipped("only root can be root in a container");
    }
    let run = doctor(&Project::empty()).in_container().succeeds();
    says(&check(&run, "namespaces", ""), "warning", "filters unshare and mount", "seccomp=unconfined");
    says(&check(&run, "devices", ""), "ok", "can be made", "");
}

#[test]
fn who_may_push_is_told_where_that_is_known_from_and_nothing_stays_there() {
    let registry = Registry::with_password();
    let host = registry.host();
    let project = service(host);
    let run = doctor(&project).exits(3);
    says(&check(&run, "registry", host), "ok", "asks who we are", "");
    says(&check(&run, "credentials", host), "failed", "images are pushed there", &format!("brik login {host}"));

    let run = doctor(&project).env("REGISTRY_TOKEN", "hunter2-hunter2").env("REGISTRY_USERNAME", USER).exits(3);
    says(&check(&run, "credentials", host), "failed", "$REGISTRY_TOKEN", "--password-stdin");
    assert!(!run.stdout.contains("hunter2"));

    let run = doctor(&project).env("REGISTRY_TOKEN", PASSWORD).env("REGISTRY_USERNAME", USER).succeeds();
    says(&check(&run, "credentials", host), "ok", "$REGISTRY_TOKEN, accepted", "");
    says(&check(&run, "write permission", host), "ok", "2 repositories may be written to", "");
    says(&check(&run, "mount", host), "ok", "nothing has been pushed", "");
    says(&check(&run, "clock", ""), "ok", "agrees", "");
    assert!(!run.stdout.contains(PASSWORD));
    let stays = tools::output("find", &[&registry.data().display().to_string(), "-name", "data", "-type", "f"]);
    assert_eq!((stays.as_str(), registry.tags("team/app")), ("", Vec::new()));
}

#[test]
fn a_repository_is_asked_about_without_a_brik_toml() {
    let host = shared_registry().host();
    let run = doctor(&Project::empty()).args([&format!("{host}/some/app"), "127.0.0.1:9"]).exits(3);
    says(&check(&run, "write permission", host), "ok", "1 repository may be written to", "");
    says(&check(&run, "registry", "127.0.0.1:9"), "failed", "connection refused", "check that the registry runs");
    let _ = doctor(&Project::empty()).args(["no registry"]).exits(2);
}

#[test]
fn a_package_that_is_closed_to_us_is_told_with_what_opens_it() {
    let proxy = Proxy::ghcr(shared_registry());
    let project = service(proxy.host());
    let as_user = || doctor(&project).env("REGISTRY_TOKEN", PASSWORD).env("REGISTRY_USERNAME", USER);
    proxy.fault(Ask::Open.of_path("team/app/"), Fault::WritePackage);
    let run = as_user().exits(3);
    let name = format!("{}/team/app", proxy.host());
    says(&check(&run, "write permission", &name), "failed", "permission_denied: write_package", "Manage Actions access");
    proxy.heal();
    // The cache alone is no reason to fail.
    proxy.fault(Ask::Open.of_path("team/app-cache"), Fault::WritePackage);
    let run = as_user().succeeds();
    says(&check(&run, "write permission", &format!("{name}-cache")), "warning", "results are not shared", "Manage Actions access");
}

#[test]
fn mounts_are_tried_with_what_was_pushed() {
    let proxy = Proxy::ghcr(shared_registry());
    let project = service(&format!("{}/mounts", proxy.host()));
    let as_user = |brik: Brik| brik.env("REGISTRY_TOKEN", PASSWORD).env("REGISTRY_USERNAME", USER);
    let _ = as_user(project.brik(["build", "--push"])).succeeds();
    says(&check(&as_user(doctor(&project)).succeeds(), "mount", proxy.host()), "ok", "takes over blobs", "");
    proxy.fault(Ask::Mount, Fault::NoMount);
    says(&check(&as_user(doctor(&project)).succeeds(), "mount", proxy.host()), "warning", "takes no blobs over", "");
}

#[test]
fn registries_that_answer_badly_or_not_at_all_are_failures_and_keep_nobody_long() {
    let refusing = Server::start(|_, _| Answer::error(403, "DENIED", "go away"));
    let broken = Server::start(|_, _| Answer::new(500));
    let page = Server::start(|_, _| Answer::new(200).header("Content-Type", "text/html").body("<html>"));
    let silent = Server::start(|_, _| Answer::new(200).delay(Duration::from_secs(60)));
    let hosts = [&refusing.host, &broken.host, &page.host, &silent.host];
    let started = Instant::now();
    let run = doctor(&Project::empty()).args(hosts).args(["registry.invalid"]).exits(3);
    assert!(started.elapsed() < Duration::from_secs(40), "{:?}", started.elapsed());
    for (host, found) in hosts.into_iter().zip(["status 403", "status 500", "an HTML page", "no byte moved"]) {
        says(&check(&run, "registry", host), "failed", found, "");
    }
    assert_eq!(check(&run, "registry", "registry.invalid")["status"], "failed");
}

#[test]
fn a_clock_that_is_off_is_told_by_how_much() {
    let server = Server::start(|_, _| Answer::new(200).header("Date", "Sun, 09 Sep 2001 01:46:40 GMT"));
    let run = doctor(&Project::empty()).args([&server.host]).exits(3);
    says(&check(&run, "clock", ""), "failed", "s ahead of that of a registry", "timedatectl");
}

#[test]
fn a_base_s_registry_may_be_away_as_long_as_its_mirror_is_there() {
    let project = Project::empty()
        .file("brik.toml", format!("members = [\"app\"]\n[registries.\"127.0.0.1:9\"]\nmirror = \"{}\"\n", shared_registry().host()))
        .file("app/Dockerfile", "FROM 127.0.0.1:9/library/busybox\n");
    let run = doctor(&project).succeeds();
    says(&check(&run, "registry", shared_registry().host()), "ok", "; the mirror of 127.0.0.1:9", "");
    says(&check(&run, "registry", "127.0.0.1:9"), "warning", "connection refused", "");
}
