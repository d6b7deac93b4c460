//! What a build leaves behind and says: exports, the metadata file, stdout.

use serde_json::Value;

use crate::support::{Image, Project, tools};

#[test]
fn an_oci_layout_names_the_image_and_its_digest() {
    let project = Project::dockerfile("FROM scratch\nCOPY a /a\n").file("a", "a");
    let digest = project.build(["--tags", "v1"]).succeeds().digests().remove(0);
    let index: Value = serde_json::from_slice(&std::fs::read(project.out().join("index.json")).unwrap()).unwrap();
    assert_eq!(index["manifests"][0]["digest"], digest.as_str());
    assert_eq!(project.built().text("/a"), "a");
}

#[test]
fn a_docker_archive_is_read_by_skopeo() {
    if !tools::installed(&["skopeo"]) {
        return;
    }
    let project = Project::dockerfile("FROM scratch\nCOPY a /a\n").file("a", "a");
    let archive = project.beside("image.tar");
    let _ = project.brik(["build", "--image", "localhost/app:v1", "--output", &format!("docker:{}", archive.display())]).succeeds();
    let copy = project.beside("copy");
    let _ = tools::output(
        "skopeo",
        &["copy", "--quiet", &format!("docker-archive:{}:localhost/app:v1", archive.display()), &format!("oci:{}", copy.display())],
    );
    assert_eq!(Image::read(&copy).text("/a"), "a");
}

#[test]
fn several_outputs_are_written_by_one_build() {
    let project = Project::dockerfile("FROM scratch\nCOPY a /a\n").file("a", "a");
    let archive = project.beside("image.tar");
    let _ = project.build(["--output", &format!("docker:{}", archive.display())]).succeeds();
    assert!(archive.is_file() && project.out().join("oci-layout").is_file());
}

#[test]
fn stdout_is_one_reference_and_digest_a_line() {
    let project = Project::monorepo("members = [\"*\"]\ntags = [\"v1\"]").file("a/Dockerfile", "FROM scratch\nENV A=1\n");
    let project = project.file("b/Dockerfile", "FROM scratch\nENV B=1\n");
    let run = project.brik(["build"]).succeeds();
    let names: Vec<&str> = run.stdout.lines().map(|line| line.split_once("@sha256:").unwrap().0).collect();
    let prefix = project.prefix();
    let bare: Vec<String> = names.iter().map(|name| name.trim_end_matches(":v1").to_owned()).collect();
    assert_eq!(bare, [format!("{prefix}/a"), format!("{prefix}/b")]);
}

#[test]
fn json_tells_every_service_with_what_it_cost() {
    let project = Project::dockerfile("FROM scratch\nCOPY a /a\n").file("a", "a");
    let run = project.brik(["build", "--image", "localhost/app:v1", "--format", "json"]).succeeds();
    let json: Value = serde_json::from_str(&run.stdout).unwrap();
    let row = &json["rows"][0];
    assert_eq!((&row["service"], &row["steps_run"], &row["outcome"]), (&"app".into(), &1.into(), &"built".into()));
    assert!(row["digest"].as_str().unwrap().starts_with("sha256:"));
}

#[test]
fn the_metadata_file_has_the_keys_of_bake() {
    let project = Project::monorepo("members = [\"*\"]\ntags = [\"v1\"]").file("api/Dockerfile", "FROM scratch\nENV A=1\n");
    let digest = project.brik(["build", "--metadata-file", "metadata.json"]).succeeds().digests().remove(0);
    let json: Value = serde_json::from_slice(&std::fs::read(project.path("metadata.json")).unwrap()).unwrap();
    assert_eq!(json["api"]["containerimage.digest"], digest.as_str());
    assert_eq!(json["api"]["image.name"], format!("{}/api:v1", project.prefix()));
}

#[test]
fn quiet_says_nothing_on_success() {
    let project = Project::dockerfile("FROM {busybox}\nRUN echo hello\n");
    let run = project.brik(["build", "--image", "localhost/app", "--progress", "quiet"]).succeeds();
    assert_eq!(run.stderr, "");
}

#[test]
fn quiet_tells_what_failed_with_its_output() {
    let project = Project::dockerfile("FROM {busybox}\nRUN echo last words; exit 7\n");
    project.brik(["build", "--image", "localhost/app", "--progress", "quiet"]).exits(1).says(&["last words", "exit code 7"]);
}

#[test]
fn plain_progress_has_no_control_characters() {
    let project = Project::dockerfile("FROM {busybox}\nRUN printf '\\033[31mred\\033[0m\\n'\n");
    let run = project.brik(["build", "--image", "localhost/app"]).succeeds();
    assert!(run.stderr.contains("red") && !run.stderr.contains('\x1b'), "{:?}", run.stderr);
}

#[test]
fn events_begin_with_their_version_and_end_with_the_result() {
    let project = Project::dockerfile("FROM scratch\nCOPY a /a\n").file("a", "a");
    let events = project.build::<&str>([]).succeeds().events();
    assert_eq!((&events[0]["type"], &events[0]["version"]), (&"start".into(), &1.into()));
    let last = events.last().unwrap();
    assert_eq!((&last["type"], &last["success"]), (&"finished".into(), &true.into()));
}

#[test]
fn help_and_version_are_no_errors() {
    let project = Project::empty();
    assert!(project.brik(["--version"]).succeeds().stdout.starts_with("brik "));
    assert!(project.brik(["build", "--help"]).succeeds().stdout.contains("--push"));
}

#[test]
fn what_is_no_regular_file_is_written_to_as_it_is() {
    let project = Project::dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    project.build(["--metadata-file", "/dev/stderr", "--output", "docker:/dev/null"]).succeeds().says(&["containerimage.digest"]);
    use std::os::unix::fs::FileTypeExt;
    assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());
}

#[test]
fn an_archive_that_does_not_fit_is_told_with_its_file() {
    let project = Project::dockerfile("FROM scratch\nLABEL a=b\n");
    let run = project.build(["--output", "docker:/dev/full"]).exits(1);
    assert!(run.stderr.contains("cannot write /dev/full: No space left on device"), "{}", run.stderr);
}

#[test]
fn a_run_that_writes_without_end_is_clipped_and_its_last_words_are_shown_where_it_fails() {
    let project = Project::dockerfile(
        "FROM {busybox}\nARG EXIT\n\
         RUN --mount=type=secret,id=token yes | head -c 8000000; echo last words $(cat /run/secrets/token); exit $EXIT\n",
    );
    let project = project.file("../token", "hunter2");
    for (progress, in_ci) in [("plain", false), ("json", false), ("quiet", false), ("auto", true)] {
        for exit in [0, 3] {
            let arguments = ["build", "--image", "localhost/app", "--no-cache", "--secret", "id=token,src=../token"];
            let run = project.brik(arguments).args(["--progress", progress, "--build-arg", &format!("EXIT={exit}")]);
            let run = if in_ci { run.env("GITHUB_ACTIONS", "true") } else { run };
            let (run, memory) = run.watched();
            let what = format!("{progress}, exit code {exit}: {} bytes said, {} MiB", run.stderr.len(), memory >> 20);
            println!("{what}");
            assert_eq!(run.code, Some(i32::from(exit != 0)), "{what}");
            let said = |what: &str| run.stderr.matches(what).count();
            let shown = exit != 0 || progress != "quiet";
            assert_eq!(said("\"output_clipped\"") + said(" of output left out: "), usize::from(shown), "{what}");
            assert_eq!(said("last words ***"), usize::from(exit != 0), "{what}");
            assert!(run.stderr.len() < 12_000_000 && memory < 256 << 20 && said("hunter2") == 0, "{what}");
        }
    }
}

#[test]
fn lines_of_steps_that_run_at_the_same_time_are_whole() {
    let slowly = |name: &str| {
        format!(
            "FROM {{busybox}}\nRUN for i in 1 2 3 4 5 6 7 8 9; do for c in a b c d e f; do printf $c; usleep 900; done; echo ' {name}'; done\n"
        )
    };
    let project = Project::monorepo("members = [\"*\"]\ntags = [\"v1\"]").file("api/Dockerfile", slowly("api"));
    let project = project.file("web/Dockerfile", slowly("web"));
    let run = project.brik(["build", "-j2"]).succeeds();
    for service in ["api", "web"] {
        let line = format!("{service} stage-0 1/1│ abcdef {service}");
        assert_eq!(run.stderr.lines().filter(|said| *said == line).count(), 9, "{}", run.stderr);
    }
}
