//! `brik login` and `brik logout`: credentials that were tried, kept where docker keeps them, and shown nowhere.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::support::{Brik, Fault, PASSWORD, Project, Proxy, Registry, Run, USER, shared_registry};

const CONFIG: &str = "../home/.docker/config.json";

fn login(project: &Project, host: &str, password: &str) -> Brik {
    project.brik(["login", host, "--username", USER, "--password-stdin"]).stdin(password)
}

/// Neither as it is nor as docker writes it.
#[track_caller]
fn tells_nothing_of(run: &Run, password: &str) {
    for form in [password.to_owned(), STANDARD.encode(password), STANDARD.encode(format!("{USER}:{password}"))] {
        assert!(!run.stdout.contains(&form) && !run.stderr.contains(&form), "{form} is told: {run:?}");
    }
}

#[test]
fn a_password_that_the_registry_accepts_is_kept_beside_what_was_there_and_forgotten_again() {
    let registry = Registry::with_password();
    let host = registry.host();
    let project = Project::dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    project.write(CONFIG, r#"{"zeta": [1], "auths": {"other.io": {"auth": "eDp5"}}, "alpha": {"b": 1, "a": 2}}"#);
    let run = login(&project, host, &format!("{PASSWORD}\n")).succeeds();
    assert_eq!(run.stdout, format!("logged in to {host} as {USER}: kept in ~/.docker/config.json\n"));
    tells_nothing_of(&run, PASSWORD);
    let auth = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let config = || serde_json::from_slice::<serde_json::Value>(&fs::read(project.path(CONFIG)).unwrap()).unwrap().to_string();
    let with = format!(r#"{{"zeta":[1],"auths":{{"other.io":{{"auth":"eDp5"}},"{host}":{{"auth":"{auth}"}}}},"alpha":{{"b":1,"a":2}}}}"#);
    assert_eq!(config(), with);
    assert_eq!(fs::metadata(project.path(CONFIG)).unwrap().permissions().mode() & 0o777, 0o600);

    let image = format!("{host}/team/app");
    let push = || project.brik(["build", "--push", "--image", &image, "--tags", "v1"]);
    let _ = push().succeeds();
    assert_eq!(registry.tags("team/app"), ["v1"]);
    let run = project.brik(["logout", host]).succeeds();
    assert_eq!(run.stdout, format!("logged out of {host}: removed from ~/.docker/config.json\n"));
    assert_eq!(config(), r#"{"zeta":[1],"auths":{"other.io":{"auth":"eDp5"}},"alpha":{"b":1,"a":2}}"#);
    let _ = push().exits(1);
    assert_eq!(project.brik(["logout", host]).succeeds().stdout, format!("{host}: nothing was kept\n"));
}

#[test]
fn a_password_that_the_registry_refuses_is_not_kept_and_not_told() {
    let registry = Registry::with_password();
    let project = Project::empty();
    let run = login(&project, registry.host(), "hunter2-hunter2").exits(1);
    run.says(&["brik::login::failed", "the password on stdin", "status 401", "nothing was kept"]);
    tells_nothing_of(&run, "hunter2-hunter2");
    assert!(!project.path(CONFIG).exists());
}

#[test]
fn a_registry_with_a_token_server_is_asked_for_a_token_for_nothing() {
    let proxy = Proxy::ghcr(shared_registry());
    let project = Project::empty();
    let run = login(&project, proxy.host(), "hunter2-hunter2").exits(1);
    run.says(&["get a token", "403"]);
    tells_nothing_of(&run, "hunter2-hunter2");
    let run = login(&project, proxy.host(), PASSWORD).args(["--format", "json"]).succeeds();
    let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((&report["verified"], &report["username"]), (&true.into(), &USER.into()));
    tells_nothing_of(&run, PASSWORD);
}

#[test]
fn a_registry_that_asks_nobody_gets_no_credentials_and_they_are_kept_with_a_word() {
    let project = Project::empty();
    login(&project, shared_registry().host(), PASSWORD).succeeds().says(&["did not ask for credentials"]);
    assert!(project.path(CONFIG).exists());
}

/// A helper that keeps what it is given in files named by what it is told to do.
fn helper(project: &Project) -> String {
    let bin = project.beside("bin");
    let script = format!("#!/bin/sh\ncat > {}/$1\n", bin.display());
    project.write("../bin/docker-credential-test", script);
    fs::set_permissions(bin.join("docker-credential-test"), fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())
}

#[test]
fn the_helper_that_docker_s_config_names_keeps_it_and_erases_it() {
    let registry = Registry::with_password();
    let host = registry.host();
    let project = Project::empty();
    let path = helper(&project);
    let text = format!(r#"{{"credHelpers": {{"{host}": "test"}}}}"#);
    project.write(CONFIG, &text);
    let run = login(&project, host, PASSWORD).env("PATH", &path).succeeds();
    assert!(run.stdout.ends_with("kept by docker-credential-test\n"), "{run:?}");
    tells_nothing_of(&run, PASSWORD);
    let given: serde_json::Value = serde_json::from_slice(&fs::read(project.beside("bin/store")).unwrap()).unwrap();
    assert_eq!(given, serde_json::json!({"ServerURL": host, "Username": USER, "Secret": PASSWORD}));
    assert_eq!(fs::read_to_string(project.path(CONFIG)).unwrap(), text, "the file is not touched");
    let run = project.brik(["logout", host]).env("PATH", &path).succeeds();
    assert_eq!(run.stdout, format!("logged out of {host}: removed from docker-credential-test\n"));
    assert_eq!(fs::read_to_string(project.beside("bin/erase")).unwrap(), format!("{host}\n"));
}

#[test]
fn a_helper_that_is_not_there_is_named_and_nothing_is_kept_in_the_open() {
    let registry = Registry::with_password();
    let project = Project::empty().file(CONFIG, r#"{"credsStore": "gone"}"#);
    let run = login(&project, registry.host(), PASSWORD).exits(1);
    run.says(&["docker-credential-gone", "~/.docker/config.json", "is not installed"]);
    tells_nothing_of(&run, PASSWORD);
    assert_eq!(fs::read_to_string(project.path(CONFIG)).unwrap(), r#"{"credsStore": "gone"}"#);
}

#[test]
fn a_password_comes_on_stdin_or_not_at_all() {
    let project = Project::empty();
    let run = project.brik(["login", "ghcr.io", "-u", "me"]).exits(2);
    run.says(&["brik::login::stdin", "printf %s \"$TOKEN\" | brik login ghcr.io --username me --password-stdin"]);
    for args in [["login", "ghcr.io", "--password=hunter2"], ["login", "ghcr.io", "-phunter2"]] {
        let run = project.brik(args).exits(2);
        assert!(!run.stderr.contains("hunter2"), "{run:?}");
    }
    for password in ["", "\n", "two\nlines\n"] {
        login(&project, "ghcr.io", password).exits(2).says(&["the password on stdin"]);
    }
}

#[test]
fn a_registry_is_named_or_that_of_brik_toml() {
    let project = Project::empty();
    project.brik(["login"]).exits(2).says(&["no registry is named", "brik login ghcr.io"]);
    project.brik(["logout", "not/a/host"]).exits(2).says(&["expected a host"]);
    let registry = Registry::with_password();
    project.write("brik.toml", format!("registry = \"{}/team\"\n", registry.host()));
    let run = project.brik(["login", "-u", USER, "--password-stdin"]).stdin(PASSWORD).succeeds();
    assert!(run.stdout.starts_with(&format!("logged in to {}", registry.host())), "{run:?}");
    project.write("brik.toml", "registry = 7\n");
    project.brik(["login", "-u", USER, "--password-stdin"]).stdin(PASSWORD).exits(2).says(&["brik.toml"]);
}

#[test]
fn a_place_that_cannot_be_written_to_is_named_with_another() {
    let registry = Registry::with_password();
    let project = Project::empty();
    let run = login(&project, registry.host(), PASSWORD).env("HOME", "/proc/1").exits(1);
    run.says(&["cannot write ~/.docker/config.json", "DOCKER_CONFIG"]);
    tells_nothing_of(&run, PASSWORD);
    project.write(CONFIG, "{\"auths\": {");
    login(&project, registry.host(), PASSWORD).exits(1).says(&["left as it is", "line 1"]);
    assert_eq!(fs::read_to_string(project.path(CONFIG)).unwrap(), "{\"auths\": {");
}

#[test]
fn a_registry_that_does_not_answer_keeps_nobody_waiting() {
    let proxy = Proxy::ghcr(shared_registry());
    proxy.fault(crate::support::Ask::Ping, Fault::Status(500));
    let project = Project::empty();
    login(&project, proxy.host(), PASSWORD).exits(1).says(&["status 500"]);
    login(&project, "127.0.0.1:9", PASSWORD).exits(1).says(&["nothing listens at 127.0.0.1:9"]);
    assert!(!project.path(CONFIG).exists());
}

#[test]
fn where_credentials_come_from_is_told_without_them() {
    let project = Project::empty().file("brik.toml", "registry = \"ghcr.io/org\"\n");
    let auth = STANDARD.encode("me:hunter2hunter2");
    project.write(CONFIG, format!(r#"{{"auths": {{"r.io": {{"auth": "{auth}"}}}}, "credHelpers": {{"h.io": "x"}}}}"#));
    let run = project.brik(["login", "--status"]).env("REGISTRY_TOKEN", "swordfish-1").succeeds();
    let expected = "h.io     docker-credential-x (by ~/.docker/config.json), which cannot be used\nr.io     ~/.docker/config.json\nghcr.io  $REGISTRY_TOKEN\n";
    assert_eq!(run.stdout, expected);
    assert!(!run.stdout.contains("hunter2") && !run.stdout.contains("swordfish"));
    let run = project.brik(["logout", "ghcr.io"]).env("REGISTRY_TOKEN", "swordfish-1").succeeds();
    run.says(&["there are still credentials for ghcr.io: $REGISTRY_TOKEN"]);
}
