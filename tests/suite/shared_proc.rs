//! In a container whose /proc is partly covered nobody can mount a fresh one: RUNs see the container's processes, and must not look into
//! one another.

use std::process::{Command, Stdio};

use crate::support::{Brik, Project, tools};

/// A user namespace in which a cover of /proc cannot be taken away: what is mounted in the one above is locked there.
fn container() -> Command {
    let mut command = Command::new("unshare");
    let namespaces = ["--user", "--map-root-user", "--mount"];
    let script = "mount -t tmpfs -o ro tmpfs /proc/tty && exec unshare --user --map-root-user --mount \"$@\"";
    command.args(namespaces).args(["sh", "-c", script, "sh"]);
    command
}

/// `false`, and the reason, where this user cannot make one.
fn can_be_made() -> bool {
    let made = tools::installed(&["unshare", "mount"])
        && container().arg("true").stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !made {
        tools::skipped("no container with a covered /proc can be made here");
    }
    made
}

/// Services that see each other in a cache: a RUN fails if another one runs meanwhile.
fn services() -> Project {
    let run =
        |n: u32| format!("FROM {{busybox}}\nRUN --mount=type=cache,target=/c mkdir /c/busy && sleep 1 && rmdir /c/busy && echo {n}\n");
    let project = Project::monorepo("members = [\"a\", \"b\", \"c\"]\ntags = [\"v1\"]\n[build]\njobs = 4\n");
    ["a", "b", "c"].into_iter().zip(1..).fold(project, |project, (name, n)| project.file(&format!("{name}/Dockerfile"), run(n)))
}

fn there(project: &Project, args: &[&str]) -> Brik {
    project.brik(["build", "--progress", "json"]).args(args).under(container()).without_landlock()
}

#[test]
fn without_landlock_there_is_one_run_at_a_time_and_no_private_network() {
    if !can_be_made() {
        return;
    }
    let project = services();
    let run = there(&project, &[]).succeeds();
    run.says(&["RUNs see the processes of this container", "RUNs run one at a time", "Landlock"]);
    assert_eq!(run.steps_run().len(), 3);
    let run = there(&project, &["--no-cache", "--network", "private"]).exits(1);
    run.says(&["network = \\\"private\\\"", "slirp4netns would be open to it", "systempaths=unconfined"]);
}

/// Another program of the container, without capabilities, beside brik.
fn beside_a_neighbour() -> Command {
    let mut command = container();
    let script = "NEIGHBOUR=1 setpriv --bounding-set=-all --inh-caps=-all sleep 30 & \"$@\"; code=$?; kill $!; exit $code";
    command.args(["sh", "-c", script, "sh"]);
    command
}

#[test]
fn landlock_without_scopes_keeps_a_run_from_other_programs_of_the_container() {
    if !can_be_made() || !tools::installed(&["setpriv"]) {
        return;
    }
    let look = "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -c '^NEIGHBOUR=' > /n";
    let moves = "mkdir /x /y && touch /x/f && mv /x/f /y && ln /y/f /x && mv /y /x && mv /x /tmp";
    let project = Project::dockerfile(&format!("FROM {{busybox}}\nRUN {look}; mkdir -p /tmp; {moves}\n"));
    let build = || project.build([""; 0]).under(beside_a_neighbour());
    let seen = |run: Brik| {
        run.succeeds().says(&["RUNs see the processes of this container"]);
        project.built().text("/n")
    };
    assert_eq!([seen(build().without_landlock()), seen(build().args(["--no-cache"]).with_old_landlock())], ["1\n", "0\n"]);
}

#[test]
fn with_landlock_runs_go_on_at_the_same_time_and_none_looks_into_another() {
    if !can_be_made() {
        return;
    }
    let look = "sleep 1; cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -c ONLY_OF_THE_OTHER > /out";
    let other = "FROM {busybox}\nENV ONLY_OF_THE_OTHER=1\nRUN sleep 3\n";
    let project = Project::monorepo("members = [\"a\", \"b\"]\ntags = [\"v1\"]\n[build]\njobs = 4\n");
    let project = project.file("a/Dockerfile", other).file("b/Dockerfile", format!("FROM {{busybox}}\nRUN {look}; test $(cat /out) = 0\n"));
    let run = project.brik(["build", "--progress", "json"]).under(container()).succeeds();
    run.says(&["RUNs see the processes of this container"]);
}
