//! brik.toml as the binary reads it: layers, overrides, and errors that point at their bytes.

use serde_json::Value;

use crate::support::{Project, Run};

const TOML: &str = "registry = \"r.example.com/org\"\nmembers = [\"app\"]\ntags = [\"v1\"]\n";

fn project(toml: &str) -> Project {
    Project::empty().file("brik.toml", toml).file("app/Dockerfile", "FROM scratch\nENV A=1\n")
}

/// The reference of the one service, in force after all layers.
#[track_caller]
fn reference(run: &Run) -> String {
    serde_json::from_str::<Value>(&run.stdout).unwrap()["rows"][0]["reference"].as_str().unwrap().to_owned()
}

#[test]
fn the_stronger_layer_wins() {
    let project = project(TOML).file("brik.prod.toml", "registry = \"prod.example.com/org\"\n");
    let build = |args: &[&str], env: &[(&str, &str)]| {
        let brik = project.brik(["build", "--format", "json"]).args(args);
        let run = env.iter().fold(brik, |brik, (name, value)| brik.env(name, value)).succeeds();
        reference(&run).split(':').next().unwrap().to_owned()
    };
    assert_eq!(build(&[], &[]), "r.example.com/org/app");
    assert_eq!(build(&["--env", "prod"], &[]), "prod.example.com/org/app");
    assert_eq!(build(&["--env", "prod"], &[("REGISTRY_URL", "env.example.com")]), "env.example.com/org/app");
    assert_eq!(build(&["--set", "registry=set.example.com/x"], &[("REGISTRY_URL", "env.example.com")]), "set.example.com/x/app");
}

#[test]
fn errors_point_at_what_is_wrong() {
    let table: [(&str, &[&str]); 9] = [
        ("regsitry = \"r.example.com\"\n", &["regsitry", "registry"]),
        ("registry = 5\n", &["registry", "brik.toml:1"]),
        ("registry = \"r.example.com/UPPER\"\nmembers = [\"app\"]\n", &["brik.toml:1"]),
        (&format!("{TOML}[services.app]\ncontxt = \"app\"\n"), &["contxt", "context", "brik.toml:5"]),
        (&format!("{TOML}[services.app]\ncontext = \"../outside\"\n"), &["outside", "brik.toml:5"]),
        (&format!("{TOML}[services.gone]\n"), &["gone"]),
        (&format!("{TOML}[services.app]\nneeds = [\"nobody\"]\n"), &["nobody", "brik.toml:5"]),
        (&format!("{TOML}[services.app]\nplatforms = [\"linux\"]\n"), &["linux", "brik.toml:5"]),
        (&TOML.replace("v1", "v{versoin}"), &["versoin", "version"]),
    ];
    for (toml, parts) in table {
        let run = project(toml).brik(["check"]).run();
        assert!(run.code == Some(2) || run.code == Some(3), "{toml}\n{run:?}");
        run.says(parts);
    }
}

#[test]
fn members_that_match_nothing_are_warned_about() {
    let run = project(&TOML.replace("[\"app\"]", "[\"app\", \"nothing/*\"]")).brik(["check"]).succeeds();
    run.says(&["nothing/*", "brik.toml:2"]);
}

#[test]
fn an_error_in_an_override_is_pointed_at_there() {
    let project = project(TOML).file("brik.prod.toml", "tags = [\"bad tag\"]\n");
    project.brik(["check", "--set", "servces.app.target=x"]).exits(2).says(&["--set", "servces"]);
    project.brik(["check", "--env", "prod"]).exits(2).says(&["brik.prod.toml:1"]);
}

#[test]
fn an_overlay_that_is_not_there_is_an_error() {
    project(TOML).brik(["check", "--env", "nowhere"]).exits(2).says(&["brik.nowhere.toml"]);
}

#[test]
fn a_service_that_is_not_there_is_a_usage_error() {
    project(TOML).brik(["build", "ap"]).exits(2).says(&["there is no service \"ap\"", "app"]);
    project(TOML).brik(["check", "ap"]).exits(2).says(&["there is no service \"ap\""]);
}

#[test]
fn tags_that_are_all_skipped_are_an_error_that_says_why() {
    let project = project(&TOML.replace("v1", "v{version}"));
    project.brik(["build"]).exits(2).says(&["version"]);
}

#[test]
fn flags_that_contradict_each_other_are_usage_errors() {
    let project = project(TOML);
    for args in [
        &["build", "--dockerfile", "x"][..],
        &["build", "--jobs", "0"],
        &["build", "--output", "zip:x"],
        &["build", "--tags", "bad tag"],
        &["explode"],
    ] {
        let _ = project.brik(args).exits(2);
    }
}

#[test]
fn a_variable_that_is_set_to_nothing_is_unset_or_named() {
    let project = project(TOML);
    let with = |name: &str| project.brik(["build"]).env(name, "");
    for name in ["BRIK_STORE", "BRIK_ENV", "REGISTRY_URL"] {
        let _ = with(name).succeeds();
    }
    assert!(project.store().is_dir(), "the store is where it is without the variable");
    let _ = project.brik(["tags"]).env("GITHUB_OUTPUT", "").succeeds();
    for (name, says) in [
        ("BRIK_BUILD__JOBS", "`build.jobs` must be an integer, not an empty string"),
        ("BRIK_REGISTRY", "this may not be empty"),
        ("BRIK_SERVICES__APP__CONTEXT", "may not be empty"),
    ] {
        with(name).exits(2).says(&[says, &format!("${name} is set to nothing: give it a value, or unset it")]);
    }
}

#[test]
fn a_flag_of_one_image_is_told_as_the_key_of_a_service() {
    let project = project(TOML);
    let missing = "<--image <NAME>|--tag <NAME[:TAG]>>";
    let platform = project.brik(["build", "app", "--platform", "linux/arm64"]).exits(2);
    platform.says(&[missing, "help: with a brik.toml it is --set services.app.platforms=linux/arm64"]);
    project.brik(["build", "app", "--target", "x"]).exits(2).says(&[missing, "--set services.app.target=x"]);
}

/// `a/../b` is beside `a`, not below it.
#[test]
fn the_directory_of_another_place_is_not_below_this_one() {
    let project = Project::monorepo("members = [\"app\"]\ntags = [\"v1\"]\n").file("app/Dockerfile", "FROM scratch\n");
    std::fs::create_dir(project.beside("empty")).unwrap();
    for there in ["app/../../empty", "../empty"] {
        project.brik(["-C", there, "list"]).exits(2).says(&["no brik.toml in"]);
    }
    let _ = project.brik(["-C", "app/..", "list"]).succeeds();
}
