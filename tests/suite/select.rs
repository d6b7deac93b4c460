//! What SERVICE may be: a name, a group, a glob, a folder. And what is read for it.

use serde_json::Value;

use crate::support::Project;

/// base <- api <- web; svc-a, svc-b and worker, whose Dockerfile lies in api's folder, stand alone.
fn repository() -> Project {
    let toml = "members = [\"base\", \"services/*\"]\ntags = [\"dev\"]\n\
                [services.worker]\ncontext = \"jobs\"\ndockerfile = \"services/api/Dockerfile.worker\"\n\
                [groups]\nbackend = [\"api\", \"worker\"]\nsvc = [\"svc-*\"]\nall = [\"backend\", \"svc\", \"all\"]\n";
    let project = Project::monorepo(toml).file("jobs/run", "run\n").file("services/api/Dockerfile.worker", "FROM scratch\nCOPY run /\n");
    let services = [
        ("base", "scratch"),
        ("services/api", "base"),
        ("services/web", "api"),
        ("services/svc-a", "scratch"),
        ("services/svc-b", "scratch"),
    ];
    services.into_iter().fold(project, |project, (directory, base)| {
        project
            .file(&format!("{directory}/Dockerfile"), format!("FROM {base}\nCOPY file /{}\n", directory.replace('/', "-")))
            .file(&format!("{directory}/file"), directory)
    })
}

fn listed(project: &Project, arguments: &[&str]) -> Vec<String> {
    let run = project.brik(["list", "--format", "json"]).args(arguments).succeeds();
    let listing: Value = serde_json::from_str(&run.stdout).unwrap();
    let mut names: Vec<String> =
        listing["services"].as_array().unwrap().iter().map(|service| service["service"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn names_groups_globs_and_folders_stand_for_services_and_bring_what_these_need() {
    let project = repository();
    for (arguments, expected) in [
        (&["api"][..], &["api", "base"][..]),
        (&["svc-*"], &["svc-a", "svc-b"]),
        (&["{svc-a,w*}"], &["api", "base", "svc-a", "web", "worker"]),
        (&["backend"], &["api", "base", "worker"]),
        (&["all"], &["api", "base", "svc-a", "svc-b", "worker"]),
        (&["svc-a", "svc", "svc-a"], &["svc-a", "svc-b"]),
        (&["services/svc-a"], &["svc-a"]),
        // The worker's Dockerfile lies there.
        (&["services/api/"], &["api", "base", "worker"]),
        (&["./services/api/Dockerfile.worker"], &["worker"]),
        (&["jobs/."], &["worker"]),
        (&["."], &["api", "base", "svc-a", "svc-b", "web", "worker"]),
        (&[], &["api", "base", "svc-a", "svc-b", "web", "worker"]),
        (&["-C", "services/svc-b", "."], &["svc-b"]),
        (&["-C", "services/svc-b", "../svc-a"], &["svc-a"]),
        (&["-C", "services/svc-b", "web"], &["api", "base", "web"]),
    ] {
        assert_eq!(listed(&project, arguments), expected, "{arguments:?}");
    }
}

#[test]
fn all_commands_that_take_services_take_them_alike() {
    let project = repository();
    let run = project.brik(["build", "svc", "./jobs", "--progress", "quiet"]).succeeds();
    let names: Vec<&str> = run.stdout.lines().filter_map(|line| line.split('@').next()?.rsplit('/').next()).collect();
    assert_eq!(names, ["svc-a", "svc-b", "worker"]);
    assert!(project.brik(["check", "svc"]).succeeds().stdout.starts_with("2 services, "));
    assert!(project.brik(["plan", "svc-*"]).succeeds().stdout.contains("2 images, 2 finished"));
    let last = project.brik(["why", "--last", "svc"]).succeeds().stdout;
    assert_eq!(last.matches("step ran").count(), 2, "{last}");
    let _ = project.brik(["cache", "ls", "--remote", "svc-*"]).succeeds();
}

#[test]
fn what_stands_for_nothing_is_told_with_what_may_be_meant() {
    let project = repository();
    for (argument, says) in [
        ("apo", "there is no service \"apo\"; did you mean `api`?"),
        ("backand", "there is no service \"backand\"; did you mean `backend`?"),
        ("xyz-unknown", "the services are: api, base, svc-a, svc-b, web, worker; the groups: all, backend, svc"),
        ("jobs", "there is no service \"jobs\"; the folder is ./jobs"),
        ("zz*", "no service matches \"zz*\""),
        ("a[", "invalid glob \"a[\""),
        ("./none", "there is no \"./none\""),
        ("services/api/../../jobs/../.git", "there is no"),
        ("..", ""),
    ] {
        let run = project.brik(["check", argument]).run();
        assert_eq!(run.code, Some(if argument == ".." { 0 } else { 2 }), "{argument}: {run:?}");
        run.says(&[says]);
    }
    let inside = project.file("services/svc-a/src/x", "x").brik(["check", "services/svc-a/src"]).exits(2);
    inside.says(&["no service has its context or Dockerfile in \"services/svc-a/src\"; it lies in the context of svc-a: name svc-a"]);
}

#[test]
fn a_broken_dockerfile_is_no_business_of_services_that_do_not_need_it() {
    let project = repository().file("services/api/Dockerfile", "FORM base\n").file("services/svc-b/Dockerfile", "FROM ${}\n");
    let _ = project.brik(["build", "svc-a", "base", "--progress", "quiet"]).succeeds();
    let _ = project.brik(["check", "svc-a"]).succeeds();
    project.brik(["build", "web"]).exits(2).says(&["services/api/Dockerfile:1", "FORM"]);
    let all = project.brik(["check"]).exits(3);
    all.says(&["services/api/Dockerfile:1", "services/svc-b/Dockerfile:1"]);
}

#[test]
fn what_triggers_of_a_base_need_is_found_where_only_one_service_is_named() {
    let toml = "members = [\"*\"]\ntags = [\"dev\"]\n[services.base]\ncontexts = {}\n";
    let project = Project::monorepo(toml)
        .file("base/Dockerfile", "FROM scratch\nONBUILD COPY --from=tool /tool /tool\n")
        .file("tool/Dockerfile", "FROM scratch\nCOPY tool /tool\n")
        .file("tool/tool", "tool")
        .file("app/Dockerfile", "FROM base\nENV A=1\n")
        .file("broken/Dockerfile", "FORM x\n");
    assert_eq!(listed(&project, &["app"]), ["app", "base", "tool"]);
    let run = project.brik(["build", "app", "--progress", "json"]).succeeds();
    assert!(run.steps_run().iter().any(|step| step.contains("COPY --from=tool")), "{:?}", run.steps_run());
}

#[test]
fn groups_that_cannot_be_meant_are_pointed_at() {
    for (groups, says) in [
        ("api = [\"base\"]", &["the group api is called like a service", "brik.toml:"][..]),
        ("x = [\"apo\"]", &["there is no service apo", "did you mean `api`?"]),
        ("x = []", &["the group x has no service"]),
        ("x = [\"y\"]\ny = [\"x\"]", &["the group x has no service", "the group y has no service"]),
        ("x = [\"nothing-*\", \"api\"]", &["no service matches nothing-*"]),
        ("x = [\"a[\"]", &["invalid glob"]),
        ("x = \"api\"", &["`groups.x` must be a list of strings", "write [\"api\"]"]),
        ("X = [\"api\"]", &["\"X\" is not a service's name"]),
    ] {
        let project = repository();
        let toml = std::fs::read_to_string(project.path("brik.toml")).unwrap();
        let (head, tail) = toml.split_once("[groups]\n").unwrap();
        let registries = &tail[tail.find("[registries").unwrap()..];
        project.write("brik.toml", format!("{head}[groups]\n{groups}\n{registries}"));
        let run = project.brik(["check"]).run();
        let code = if says[0].starts_with("no service matches") { 0 } else { 2 };
        assert_eq!(run.code, Some(code), "{groups}: {run:?}");
        run.says(says);
    }
}
