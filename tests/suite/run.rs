//! RUN: shells, users, environments, networks and all kinds of mounts.

use crate::support::{Project, tools};

/// Each: a name, a Dockerfile after `FROM {busybox}`, and what its RUN has to leave in `/out`.
#[track_caller]
fn leaves(instructions: &str, expected: &str) {
    let project = Project::dockerfile(&format!("FROM {{busybox}}\n{instructions}\n")).file("data/file", "from the context");
    assert_eq!(project.image::<&str>([]).text("/out").trim_end(), expected, "{instructions}");
}

#[test]
fn a_shell_runs_a_line() {
    leaves("RUN echo one; echo two > /out", "two");
}

#[test]
fn a_list_runs_without_a_shell() {
    leaves(r#"RUN ["/bin/busybox", "sh", "-c", "echo $0 > /out", "$HOME"]"#, "$HOME");
}

#[test]
fn another_shell_is_used_from_then_on() {
    leaves("SHELL [\"/bin/sh\", \"-e\", \"-c\"]\nRUN case $- in *e*) echo errexit > /out; esac", "errexit");
}

#[test]
fn lines_are_continued() {
    leaves("RUN echo one \\\n  # a comment\n  two > /out", "one two");
}

#[test]
fn a_heredoc_is_a_script() {
    leaves("RUN <<EOF\nA=1\necho $A > /out\nEOF", "1");
}

#[test]
fn a_heredoc_with_a_shebang_is_run_by_it() {
    leaves("RUN <<EOF\n#!/usr/bin/awk -f\nBEGIN { print 6 * 7 > \"/out\" }\nEOF", "42");
}

#[test]
fn a_heredoc_is_the_input_of_a_command() {
    leaves("RUN cat <<EOF > /out\nhello\nEOF", "hello");
}

#[test]
fn variables_come_from_env_and_arg() {
    leaves("ENV A=env\nARG B=arg\nRUN echo $A $B > /out", "env arg");
}

#[test]
fn the_later_of_an_env_and_an_arg_of_one_name_wins() {
    leaves("ARG A=arg\nENV A=env\nRUN echo $A > /out", "env");
    leaves("ENV A=env\nARG A=arg\nRUN echo $A > /out", "arg");
}

#[test]
fn the_working_directory_is_made_and_kept() {
    leaves("WORKDIR /deep/er\nRUN pwd > /out", "/deep/er");
}

#[test]
fn a_user_is_looked_up_with_its_groups() {
    leaves("RUN touch /out && chmod 666 /out\nUSER guest\nRUN echo $(id -u) $(id -g) $(id -G) > /out", "1000 1000 1000 50");
}

#[test]
fn a_user_has_its_home() {
    leaves("RUN touch /out && chmod 666 /out\nUSER guest\nRUN echo $HOME > /out", "/home/guest");
}

#[test]
fn a_bind_mount_shows_the_context() {
    leaves("RUN --mount=type=bind,source=data,target=/in cat /in/file > /out", "from the context");
}

#[test]
fn a_bind_mount_takes_no_changes_home() {
    leaves(
        "RUN --mount=type=bind,source=data,target=/in,rw echo changed > /in/file\nRUN --mount=source=data,target=/in cat /in/file > /out",
        "from the context",
    );
}

#[test]
fn a_bind_mount_is_read_only_unless_it_says_otherwise() {
    leaves("RUN --mount=type=bind,source=data,target=/in if touch /in/new; then echo written; else echo refused; fi > /out", "refused");
}

#[test]
fn a_bind_mount_shows_another_stage() {
    let project = Project::dockerfile(
        "FROM {busybox} AS made\nRUN echo made > /thing\nFROM {busybox}\nRUN --mount=from=made,source=/thing,target=/in cat /in > /out\n",
    );
    assert_eq!(project.image::<&str>([]).text("/out"), "made\n");
}

#[test]
fn a_cache_mount_lives_on_from_run_to_run_and_is_in_no_layer() {
    let project = Project::dockerfile("FROM {busybox}\nARG N\nRUN --mount=type=cache,target=/c echo $N >> /c/log && cp /c/log /out\n");
    let _ = project.image(["--build-arg", "N=1"]);
    let image = project.image(["--build-arg", "N=2"]);
    assert_eq!(image.text("/out"), "1\n2\n");
    assert!(!image.has("/c/log"));
}

#[test]
fn cache_mounts_of_different_ids_are_apart() {
    leaves("RUN --mount=type=cache,id=a,target=/c touch /c/x\nRUN --mount=type=cache,id=b,target=/c ls /c | wc -l > /out", "0");
}

#[test]
fn a_cache_mount_with_a_relative_target_is_the_same_in_every_directory() {
    leaves("WORKDIR /a\nRUN --mount=type=cache,target=c echo kept > c/x\nWORKDIR /b\nRUN --mount=type=cache,target=c cp c/x /out", "kept");
}

#[test]
fn a_mount_without_a_target_covers_the_working_directory() {
    leaves("WORKDIR /a\nRUN --mount=type=cache touch x\nRUN ls | wc -l > /out", "0");
}

/// Expects the mode, the owner and the names of a cache mount at /c that `options` starts.
fn starts_as(options: &str, expected: &str) {
    let project = Project::dockerfile(&format!(
        "FROM {{busybox}} AS seed\nRUN mkdir /seed && touch /seed/file && chmod 2750 /seed\n\
         FROM {{busybox}}\nRUN --mount=type=cache,target=/c,from=seed,{options} echo $(stat -c %a:%u /c; ls -d /c/seed /c/file 2>&-) > /out\n"
    ));
    assert_eq!(project.image::<&str>([]).text("/out").trim_end(), expected, "{options}");
}

#[test]
fn a_cache_mount_starts_as_the_directory_that_it_comes_from() {
    starts_as("source=/seed", "2750:0 /c/file");
    starts_as("source=/seed,mode=0777", "2750:0 /c/file");
    starts_as("id=root", "755:0 /c/seed");
}

#[test]
fn a_cache_mount_starts_as_the_files_of_a_named_context() {
    let project = Project::dockerfile("FROM {busybox}\nRUN --mount=type=cache,target=/c,from=files,source=sub cp /c/x /out\n");
    let project = project.file("files/sub/x", "from the context");
    assert_eq!(project.image(["--build-context", "files=files"]).text("/out"), "from the context");
}

#[test]
fn a_cache_mount_with_an_owner_or_a_mode_starts_empty() {
    starts_as("mode=0711", "711:0");
}

#[test]
fn a_tmpfs_mount_is_empty_and_forgotten() {
    let project =
        Project::dockerfile("FROM {busybox}\nRUN --mount=type=tmpfs,target=/t echo 1 > /t/x && grep -c ' /t tmpfs' /proc/mounts > /out\n");
    let image = project.image::<&str>([]);
    assert!(image.text("/out") == "1\n" && !image.has("/t/x"));
}

#[test]
fn a_secret_is_a_file_that_only_its_owner_reads() {
    let project = Project::dockerfile(
        "FROM {busybox}\nRUN --mount=type=secret,id=token cat /run/secrets/token | wc -c > /out && stat -c %a /run/secrets/token >> /out\n",
    );
    let project = project.file("../token", "0123456789");
    let image = project.image(["--secret", "id=token,src=../token"]);
    assert_eq!(image.text("/out"), "10\n400\n");
    assert!(!image.has("/run/secrets/token"));
}

#[test]
fn a_secret_is_a_variable_where_asked() {
    let project = Project::dockerfile("FROM {busybox}\nRUN --mount=type=secret,id=token,env=TOKEN echo ${#TOKEN} > /out\n")
        .file("../token", "0123456789");
    assert_eq!(project.image(["--secret", "id=token,src=../token"]).text("/out"), "10\n");
}

#[test]
fn a_secret_that_is_not_given_is_missing_only_where_required() {
    leaves("RUN --mount=type=secret,id=none test -e /run/secrets/none || echo absent > /out", "absent");
    let project = Project::dockerfile("FROM {busybox}\nRUN --mount=type=secret,id=none,required=true true\n");
    project.brik(["build", "--image", "localhost/app"]).exits(1).says(&["\"none\" is required", "--secret id=none"]);
}

#[test]
fn an_ssh_mount_is_a_socket() {
    let project = Project::dockerfile("FROM {busybox}\nRUN --mount=type=ssh test -S $SSH_AUTH_SOCK && echo a socket > /out\n");
    let socket = project.beside("agent");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let image = project.image(["--ssh", &format!("default={}", socket.display())]);
    assert_eq!(image.text("/out"), "a socket\n");
}

#[test]
fn the_socket_s_variable_is_set_without_an_agent_and_one_s_own_value_stays() {
    leaves("RUN --mount=type=ssh --mount=type=ssh,id=b echo $SSH_AUTH_SOCK > /out", "/run/buildkit/ssh_agent.0");
    leaves("ENV SSH_AUTH_SOCK=/mine\nRUN --mount=type=ssh echo $SSH_AUTH_SOCK > /out", "/mine");
}

#[test]
fn an_agent_has_no_source() {
    let project = Project::dockerfile("FROM {busybox}\nRUN --mount=type=ssh,source=x true\n");
    project.build::<&str>([]).exits(1).says(&["ssh does not support source"]);
}

#[test]
fn without_a_network_only_loopback_is_there() {
    leaves("RUN --network=none ls /sys/class/net > /out; grep -c : /proc/net/dev > /out", "1");
}

#[test]
fn hosts_are_added_where_asked() {
    let project = Project::dockerfile("FROM {busybox}\nRUN grep -c '10.1.2.3.*db.internal' /etc/hosts > /out\n");
    assert_eq!(project.image(["--add-host", "db.internal:10.1.2.3"]).text("/out"), "1\n");
}

#[test]
fn capabilities_are_those_of_docker_but_for_packets_of_the_host_s_network() {
    leaves("RUN grep CapEff /proc/self/status | tr -d '\\t' > /out", "CapEff:00000000a80405fb");
    leaves("RUN --network=none grep CapEff /proc/self/status | tr -d '\\t' > /out", "CapEff:00000000a80425fb");
}

#[test]
fn brik_s_own_environment_and_files_are_out_of_sight() {
    let project = Project::dockerfile("FROM {busybox}\nRUN { env; cat /proc/*/environ; ls -d \"$SEEN\"; true; } > /out 2>/dev/null\n")
        .file("mark", "");
    let _ = project.build::<&str>([]).env("CANARY_VARIABLE", "canary-value").succeeds();
    let text = project.built().text("/out");
    assert!(!text.contains("canary-value"), "{text}");
}

#[test]
fn what_a_run_leaves_running_ends_with_it() {
    leaves("RUN sleep 300 & echo started > /out", "started");
}

#[test]
fn a_failing_command_tells_its_output_its_line_and_its_exit_code() {
    let project = Project::dockerfile("FROM {busybox}\nRUN echo the last words && exit 42\n");
    let run = project.brik(["build", "--image", "localhost/app"]).exits(1);
    run.says(&["the last words", "exit code 42", "Dockerfile:2"]);
}

#[test]
fn a_run_that_may_start_no_more_processes_is_told_what_allows_more() {
    let project = Project::monorepo("members = [\"*\"]\ntags = [\"v1\"]\n[build]\nprocesses = 16");
    let project = project.file("api/Dockerfile", "FROM {busybox}\nRUN for i in $(seq 600); do sleep 60 & done\n");
    let run = project.brik(["build"]).run();
    if run.code == Some(0) {
        return tools::skipped("nothing that brik may use limits processes here");
    }
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    run.says(&["`processes` in [build] of brik.toml"]);
}

#[test]
fn mounts_stand_parents_first() {
    leaves("RUN --mount=type=tmpfs,target=/a/b --mount=type=tmpfs,target=/a touch /a/b/x && echo both > /out", "both");
}

#[test]
fn a_mount_that_does_not_fit_its_target_says_so() {
    let project = Project::dockerfile("FROM {busybox}\nRUN --mount=type=cache,target=/etc/passwd true\n");
    project.build::<&str>([]).exits(1).says(&["/etc/passwd is a file", "needs a directory"]);
}
