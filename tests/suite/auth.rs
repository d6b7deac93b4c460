//! Credentials: where they come from, and that bad ones are found before anything is built.

use base64::Engine;

use crate::support::{Brik, PASSWORD, Project, Registry, USER};

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
