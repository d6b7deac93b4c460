//! Rung 3: what a RUN hands on, by a name in a cache or an open file, is not what its layer or another Step's root is made of.

use crate::support::{Project, tools};

/// Only root can be root in a container.
fn project(dockerfile: &str) -> Option<Project> {
    if !tools::is_root() {
        tools::skipped("only root can be root in a container");
        return None;
    }
    Some(Project::dockerfile(dockerfile).file("../token", "0123456789"))
}

const CACHE: &str = "--mount=type=cache,id=c,target=/c";

/// Builds the stages `p` and `q` and then `last`; `q` writes to what `p` has linked into the cache.
#[track_caller]
fn honest(p: &str, last: &str) {
    let text = format!(
        "{p}\nFROM {{busybox}} AS q\nCOPY --from=p /tool /order\nRUN {CACHE} echo harmed > /c/link && touch /late\n\
         {last}"
    );
    let Some(project) = project(&text) else { return };
    let _ = project.build::<&str>([]).in_container().succeeds();
    assert_eq!(project.built().text("/out"), "honest\n");
}

#[test]
fn a_file_with_a_name_in_a_cache_is_not_what_the_store_keeps() {
    honest(
        &format!("FROM {{busybox}} AS p\nRUN {CACHE} echo honest > /tool && ln /tool /c/link"),
        "FROM {busybox}\nCOPY --from=q /late /late\nCOPY --from=p /tool /out\n",
    );
}

#[test]
fn a_file_that_comes_out_of_a_cache_is_not_what_the_store_keeps() {
    honest(
        &format!("FROM {{busybox}} AS p\nRUN {CACHE} echo honest > /c/link && ln /c/link /tool"),
        "FROM {busybox}\nCOPY --from=q /late /late\nCOPY --from=p /tool /out\n",
    );
}

#[test]
fn a_root_with_a_name_in_a_cache_is_no_other_steps() {
    honest(
        &format!("FROM {{busybox}} AS p\nRUN {CACHE} echo honest > /tool && ln /tool /c/link"),
        "FROM p\nCOPY --from=q /late /late\nRUN cat /tool > /out\n",
    );
}

#[test]
fn nor_is_one_whose_file_had_several_names_before() {
    honest(
        &format!("FROM {{busybox}} AS p\nRUN echo honest > /tool && ln /tool /two\nRUN {CACHE} ln /tool /c/link && rm /two"),
        "FROM p\nCOPY --from=q /late /late\nRUN cat /tool > /out\n",
    );
}

#[test]
fn a_covered_file_that_is_changed_through_another_name_is_changed() {
    let text = "FROM {busybox}\nRUN echo good > /a && ln /a /b\n\
                RUN --mount=type=secret,id=token,target=/a echo evil > /b\nRUN cat /a > /next\n";
    let Some(project) = project(text) else { return };
    let _ = project.build(["--secret", "id=token,src=../token"]).in_container().succeeds();
    let image = project.built();
    assert_eq!(["/a", "/b", "/next"].map(|path| image.text(path)), ["evil\n"; 3]);
}

#[test]
fn a_covered_file_of_several_names_that_nobody_changes_is_in_no_layer() {
    let text = "FROM {busybox}\nRUN echo good > /a && ln /a /b\nRUN --mount=type=secret,id=token,target=/a true\n";
    let Some(project) = project(text) else { return };
    let run = project.build(["--secret", "id=token,src=../token"]).succeeds();
    let there = project.brik(["build", "--image", "localhost/app", "--progress", "json", "--secret", "id=token,src=../token"]);
    let there = there.store(&project.beside("third")).in_container().succeeds();
    assert_eq!(there.digests(), run.digests());
}

#[test]
fn runs_that_could_hand_open_files_to_each_other_run_one_at_a_time() {
    if !tools::is_root() {
        return tools::skipped("only root can be root in a container");
    }
    let text = |n: u32| format!("FROM {{busybox}}\nRUN echo begin; sleep 1; echo end; echo {n} > /n\n");
    let project = Project::monorepo("members = [\"a\", \"b\"]\ntags = [\"v1\"]\n[build]\njobs = 4\n");
    let project = project.file("a/Dockerfile", text(1)).file("b/Dockerfile", text(2));
    let run = project.brik(["build", "--progress", "json"]).without_landlock().in_container().succeeds();
    run.says(&["RUNs run one at a time", "no-new-privileges"]);
    let said: Vec<String> = run.events_of("step_output").iter().map(|event| event["text"].as_str().unwrap().to_owned()).collect();
    assert_eq!(said, ["begin", "end", "begin", "end"]);
}
