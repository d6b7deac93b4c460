//! Credentials: where they come from, and that bad ones are found before anything is built.

use base64::Engine;

use crate::support::{Brik, PASSWORD, Project, Registry, Run, USER};

/// An image with one Step that leaves a mark, in a registry that wants a password.
fn app(registry: &Registry) -> (Project, Brik) {
    let project = Project::dockerfile("FROM {busybox}\nRUN echo ran\n");
    let image = format!("{}/team/app", registry.host());
    let brik = project.brik(["build", "--push", "--progress", "json", "--image", &image, "--tags", "v1"]);
    (project, brik)
}

fn docker_config(host: &str, user: &str, password: &str) -> String {
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!(r#"{{"auths": {{"{host}": {{"auth": "{auth}"}}}}}}"#)
}

#[test]
fn docker_s_config_is_read() {
    let registry = Registry::with_password();
    let (project, brik) = app(&registry);
    project.write("../home/.docker/config.json", docker_config(registry.host(), USER, PASSWORD));
    let _ = brik.succeeds();
    assert_eq!(registry.tags("team/app"), ["v1"]);
}

#[test]
fn a_token_of_the_environment_goes_to_the_registry_of_the_project() {
    let registry = Registry::with_password();
    let (_project, brik) = app(&registry);
    let _ = brik.env("REGISTRY_TOKEN", PASSWORD).env("REGISTRY_USERNAME", USER).succeeds();
    assert_eq!(registry.tags("team/app"), ["v1"]);
}

#[test]
fn a_personal_token_is_used_where_there_is_no_other() {
    let registry = Registry::with_password();
    let (_project, brik) = app(&registry);
    let _ = brik.env("REGISTRY_PAT", PASSWORD).env("GITHUB_ACTOR", USER).succeeds();
    assert_eq!(registry.tags("team/app"), ["v1"]);
}

#[test]
fn a_token_of_github_goes_to_no_other_registry() {
    let registry = Registry::with_password();
    let (_project, brik) = app(&registry);
    let _ = brik.env("GITHUB_TOKEN", PASSWORD).env("GITHUB_ACTOR", USER).exits(1);
}

#[test]
fn a_credential_helper_is_asked() {
    let registry = Registry::with_password();
    let (project, brik) = app(&registry);
    let host = registry.host();
    project.write("../home/.docker/config.json", format!(r#"{{"credHelpers": {{"{host}": "test"}}}}"#));
    let answer = format!(r#"{{"ServerURL":"{host}","Username":"{USER}","Secret":"{PASSWORD}"}}"#);
    project.write("../bin/docker-credential-test", format!("#!/bin/sh\ncat >/dev/null\necho '{answer}'\n"));
    let bin = project.beside("bin");
    std::fs::set_permissions(bin.join("docker-credential-test"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let _ = brik.env("PATH", path).succeeds();
    assert_eq!(registry.tags("team/app"), ["v1"]);
}

#[test]
fn a_bad_password_fails_before_any_step_runs() {
    let registry = Registry::with_password();
    let (_project, brik) = app(&registry);
    let run = brik.env("REGISTRY_TOKEN", "wrong").env("REGISTRY_USERNAME", USER).exits(1);
    assert!(!run.stderr.contains("step_started"), "{}", run.stderr);
    run.says(&[registry.host()]);
    assert_eq!(registry.tags("team/app"), [""; 0]);
}

#[test]
fn no_password_at_all_fails_before_any_step_runs() {
    let registry = Registry::with_password();
    let (_project, brik) = app(&registry);
    let run = brik.exits(1);
    assert!(!run.stderr.contains("step_started"), "{}", run.stderr);
}

/// What a config.json names and cannot be used: what is told of it, and what mends it.
fn unusable(host: &str) -> [(String, String, String); 3] {
    [
        (
            format!(r#"{{"credHelpers": {{"{host}": "nothere"}}}}"#),
            format!("~/.docker/config.json names the credential helper docker-credential-nothere for {host}, which is not on PATH"),
            format!(
                "install docker-credential-nothere, or take it out of `credHelpers` and `credsStore` in ~/.docker/config.json and log in with `brik login {host}`"
            ),
        ),
        (
            format!(r#"{{"credsStore": "fails", "auths": {{"{host}": {{}}}}}}"#),
            format!("the credential helper docker-credential-fails, which ~/.docker/config.json names for {host}, failed: exit status: 7"),
            format!("see that docker-credential-fails works for {host}"),
        ),
        (
            format!(r#"{{"auths": {{"{host}": {{"auth": "!!!hunter2"}}}}}}"#),
            format!("the entry for {host} in ~/.docker/config.json has an `auth` that is not the base64 of user:password"),
            format!("log in again with `brik login {host}`, which replaces the entry"),
        ),
    ]
}

/// Puts a helper beside the project that fails and talks, and returns the PATH that finds it.
fn failing_helper(project: &Project) -> String {
    project.write("../bin/docker-credential-fails", "#!/bin/sh\ncat >/dev/null\necho hunter2\nexit 7\n");
    let bin = project.beside("bin");
    std::fs::set_permissions(bin.join("docker-credential-fails"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())
}

#[test]
fn credentials_that_cannot_be_used_are_told_with_the_refusal_and_by_doctor_and_by_login() {
    let registry = Registry::with_password();
    let host = registry.host();
    for (config, why, fix) in unusable(host) {
        let project = Project::empty()
            .file("brik.toml", format!("registry = \"{host}/team\"\nmembers = [\"app\"]\ntags = [\"v1\"]\n"))
            .file("app/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
        project.write("../home/.docker/config.json", &config);
        let path = failing_helper(&project);
        let run = |args: &[&str], code| {
            let run = project.brik(args).env("PATH", &path).exits(code);
            assert!(!run.stdout.contains("hunter2") && !run.stderr.contains("hunter2"), "{run:?}");
            run
        };
        let build = run(&["build", "--push"], 1);
        build.says(&["brik::push::refused", "not authorised with no credentials (status 401: ", &why, &fix]);
        let doctor: serde_json::Value = serde_json::from_str(&run(&["doctor", "--format", "json"], 3).stdout).unwrap();
        let checks: Vec<&serde_json::Value> =
            doctor["checks"].as_array().unwrap().iter().filter(|check| check["name"] == "credentials").collect();
        let says = |status: &str, found: &str| {
            checks.iter().any(|check| check["status"] == status && check["found"] == found && check["fix"].as_str().unwrap().contains(&fix))
        };
        assert!(says("failed", "none that can be used, and images are pushed there") && says("warning", &why), "{checks:#?}");
        let status = run(&["login", "--status"], 0);
        assert!(status.stdout.contains(", which cannot be used\n"), "{status:?}");
        assert!(status.stderr.contains(&format!("warning: {why}\n  help: ")) && status.stderr.contains(&fix), "{status:?}");
        let status: serde_json::Value = serde_json::from_str(&run(&["login", "--status", "--format", "json"], 0).stdout).unwrap();
        assert!(status.as_array().unwrap().iter().any(|place| place["unusable"] == why.as_str()), "{status:#}");
    }
}

#[test]
fn credentials_that_cannot_be_used_are_a_warning_where_others_do() {
    let registry = Registry::with_password();
    let (project, brik) = app(&registry);
    project.write("../home/.docker/config.json", format!(r#"{{"auths": {{"{}": {{"auth": "!!!hunter2"}}}}}}"#, registry.host()));
    let run = brik.env("REGISTRY_TOKEN", PASSWORD).env("REGISTRY_USERNAME", USER).succeeds();
    let warnings: Vec<String> = run.events_of("warning").iter().map(|event| event["message"].to_string()).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("that is not the base64 of user:password; going on without it"), "{run:?}");
    assert!(!run.stderr.contains("hunter2"), "{run:?}");
}

#[test]
fn images_that_are_built_already_and_may_not_be_pushed_are_one_refusal() {
    let registry = Registry::with_password();
    let host = registry.host();
    let project = Project::empty().file("brik.toml", format!("registry = \"{host}/team\"\nmembers = [\"*\"]\ntags = [\"v1\"]\n"));
    for service in ["one", "two", "three"] {
        project.write(&format!("{service}/Dockerfile"), format!("FROM scratch\nCOPY Dockerfile /{service}\n"));
    }
    let _ = project.brik(["build"]).succeeds();
    let run = project.brik(["build", "--push", "--keep-going"]).env("REGISTRY_TOKEN", "wrong").env("REGISTRY_USERNAME", USER).exits(1);
    assert_eq!((run.stderr.matches("brik::push::refused").count(), run.stderr.matches("brik::build::failed").count()), (1, 0), "{run:?}");
    run.says(&["not authorised with $REGISTRY_TOKEN (status 401", "; the same of ", "check that $REGISTRY_TOKEN is current"]);
}

/// Lines about caches.
fn of_caches(run: &Run) -> Vec<&str> {
    run.stderr.lines().filter(|line| line.starts_with("cache ")).collect()
}

#[test]
fn a_cache_that_refuses_is_told_as_what_it_is_and_once_for_a_registry() {
    let registry = Registry::with_password();
    let (host, toml) = (registry.host(), format!("registry = \"{}/team\"\nmembers = [\"*\"]\ntags = [\"v1\"]\n", registry.host()));
    let project = Project::empty().file("brik.toml", toml);
    for name in ["a", "b", "c"] {
        project.write(&format!("{name}/Dockerfile"), "FROM scratch\nCOPY x /x\n");
        project.write(&format!("{name}/x"), name);
    }
    let run = project.brik(["build", "--cache-to", "-j1", "--progress", "plain"]).succeeds();
    let told = of_caches(&run);
    assert_eq!(told.len(), 2, "{told:?}");
    for (line, fate) in told.iter().zip(["is not read", "is neither read nor written"]) {
        assert!(line.contains(&format!("-cache {fate}: {host}/team/")) && line.contains("not authorised with no credentials"), "{line}");
        let (_, others) = line.split_once("; the same of ").unwrap_or_default();
        assert_eq!(others.split(", ").count(), 2, "{line}");
    }
}
