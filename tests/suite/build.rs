//! Images: layers, config, history; and that nothing runs twice.

use serde_json::json;

use crate::support::Project;

#[test]
fn an_image_has_a_layer_for_each_instruction_that_changes_files() {
    let project = Project::dockerfile("FROM scratch\nENV A=1\nCOPY one /one\nLABEL b=2\nCOPY two /two\n").file("one", "1").file("two", "2");
    let image = project.image::<&str>([]);
    assert_eq!((image.layer(0), image.layer(1), image.layers()), (vec!["/one".to_owned()], vec!["/two".to_owned()], 2));
}

#[test]
fn the_config_says_what_the_dockerfile_says() {
    let project = Project::dockerfile(
        "FROM scratch\nENV A=1 B=\"two words\"\nLABEL maker=brik\nEXPOSE 80 53/udp\nVOLUME /data\nUSER 10:20\nWORKDIR /srv/app\n\
         STOPSIGNAL SIGINT\nENTRYPOINT [\"/app\", \"--serve\"]\nCMD [\"fast\"]\nHEALTHCHECK --interval=30s --retries=2 CMD [\"/app\", \"ok\"]\n",
    );
    let config = project.image::<&str>([]).config["config"].clone();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let table = [
        ("Env", json!([path, "A=1", "B=two words"])),
        ("Labels", json!({ "maker": "brik" })),
        ("ExposedPorts", json!({ "53/udp": {}, "80/tcp": {} })),
        ("Volumes", json!({ "/data": {} })),
        ("User", json!("10:20")),
        ("WorkingDir", json!("/srv/app")),
        ("StopSignal", json!("SIGINT")),
        ("Entrypoint", json!(["/app", "--serve"])),
        ("Cmd", json!(["fast"])),
        ("Healthcheck", json!({ "Test": ["CMD", "/app", "ok"], "Interval": 30_000_000_000u64, "Retries": 2 })),
    ];
    for (key, expected) in table {
        assert_eq!(config[key], expected, "{key}");
    }
}

#[test]
fn the_history_names_every_instruction_and_marks_those_without_a_layer() {
    let image = Project::dockerfile("FROM scratch\nENV A=1\nCOPY one /one\nCMD [\"/one\"]\n").file("one", "1").image::<&str>([]);
    let history = image.config["history"].as_array().unwrap();
    let told: Vec<(&str, bool)> =
        history.iter().map(|h| (h["created_by"].as_str().unwrap(), h["empty_layer"].as_bool().unwrap_or(false))).collect();
    for (index, (instruction, empty)) in [("ENV A=1", true), ("COPY one /one", false), ("CMD [\"/one\"]", true)].into_iter().enumerate() {
        assert!(told[index].0.contains(instruction) && told[index].1 == empty, "{told:?}");
    }
    assert_eq!(image.config["rootfs"]["diff_ids"].as_array().unwrap().len(), 1);
}

#[test]
fn a_layer_of_run_holds_what_changed_and_nothing_else() {
    let project = Project::dockerfile("FROM {busybox}\nRUN mkdir /a && echo 1 > /a/new && rm /etc/group && chmod 700 /root\n");
    let image = project.image::<&str>([]);
    let mut layer = image.layer(image.layers() - 1);
    layer.retain(|path| path != "/etc");
    assert_eq!(layer, ["/a", "/a/new", "/etc/.wh.group", "/root"]);
    assert!(!image.has("/etc/group") && image.has("/etc/passwd"));
}

#[test]
fn what_a_run_leaves_of_brik_itself_is_nothing() {
    let image = Project::dockerfile("FROM {busybox}\nRUN true\nRUN echo > /made\n").image::<&str>([]);
    let stray: Vec<&str> =
        image.paths().into_iter().filter(|path| ["/proc", "/sys", "/dev"].iter().any(|top| path.starts_with(top))).collect();
    let expected: [&str; 0] = [];
    assert_eq!(stray, expected);
    assert!(!image.has("/etc/resolv.conf") && !image.has("/etc/hosts"), "{:?}", image.paths());
}

#[test]
fn the_second_run_executes_no_step_and_starts_no_sandbox() {
    let project = Project::dockerfile("FROM {busybox}\nRUN echo 1 > /one\nCOPY two /two\nRUN cat /two\n").file("two", "2");
    let first = project.build::<&str>([]).succeeds();
    let second = project.build::<&str>([]).succeeds();
    assert_eq!(first.steps_run().len(), 3);
    assert!(second.steps_run().is_empty() && second.events_of("sandbox").is_empty(), "{}", second.stderr);
    assert_eq!(first.digests(), second.digests());
}

#[test]
fn a_change_runs_the_step_that_saw_it_and_those_after_it() {
    let project = Project::dockerfile("FROM {busybox}\nRUN echo 1 > /one\nCOPY two /two\nRUN cat /two\n").file("two", "2");
    let _ = project.build::<&str>([]).succeeds();
    project.write("two", "changed");
    let steps = project.build::<&str>([]).succeeds().steps_run();
    assert!(steps.len() == 2 && steps[0].contains("COPY two") && steps[1].contains("RUN cat"), "{steps:?}");
}

#[test]
fn a_file_that_no_copy_selects_changes_nothing() {
    let project = Project::dockerfile("FROM scratch\nCOPY src /src\n").file("src/a", "a").file("README", "1");
    let first = project.build::<&str>([]).succeeds();
    project.write("README", "2");
    let second = project.build::<&str>([]).succeeds();
    assert!(second.steps_run().is_empty());
    assert_eq!(first.digests(), second.digests());
}

#[test]
fn ignored_files_are_neither_copied_nor_part_of_the_key() {
    let project = Project::dockerfile("FROM scratch\nCOPY . /src\n").file(".dockerignore", "*.log\nDockerfile\n!keep.log\n");
    let project = project.file("a.txt", "a").file("b.log", "b").file("keep.log", "k");
    let image = project.image::<&str>([]);
    assert!(image.has("/src/a.txt") && image.has("/src/keep.log") && !image.has("/src/b.log"), "{:?}", image.paths());
    project.write("b.log", "another");
    assert!(project.build::<&str>([]).succeeds().steps_run().is_empty());
}

#[test]
fn stages_that_nothing_needs_do_not_run() {
    let project = Project::dockerfile(
        "FROM {busybox} AS unused\nRUN false\nFROM {busybox} AS used\nRUN echo 1 > /one\nFROM scratch\nCOPY --from=used /one /one\n",
    );
    assert_eq!(project.image::<&str>([]).paths(), ["/one"]);
}

#[test]
fn a_target_ends_the_build_at_its_stage() {
    let project =
        Project::dockerfile("FROM scratch AS first\nCOPY one /one\nFROM first\nCOPY two /two\n").file("one", "1").file("two", "2");
    assert_eq!(project.image(["--target", "first"]).paths(), ["/one"]);
}

#[test]
fn build_arguments_and_labels_come_from_the_command_line() {
    let project = Project::dockerfile("ARG BASE=missing\nFROM ${BASE}\nARG NAME=nobody\nENV WHO=$NAME\n");
    let config = project.image(["--build-arg", "BASE=scratch", "--build-arg", "NAME=brik", "--label", "a=b"]).config;
    assert!(config["config"]["Env"].as_array().unwrap().contains(&json!("WHO=brik")));
    assert_eq!(config["config"]["Labels"]["a"], "b");
}

#[test]
fn the_same_files_give_the_same_digest_in_another_store_at_another_path_and_time() {
    let text = "FROM {busybox}\nCOPY . /src\nRUN echo built > /out && touch /src/later\n";
    let project = || Project::dockerfile(text).file("a/b", "c");
    let (one, other) = (project(), project());
    std::fs::File::options().append(true).open(other.path("a/b")).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(one.build::<&str>([]).succeeds().digests(), other.build(["-j1"]).succeeds().digests());
}

#[test]
fn times_of_files_are_normal_unless_the_argument_source_date_epoch_says_otherwise() {
    let project = Project::dockerfile("FROM scratch\nCOPY a /a\n").file("a", "a");
    assert_eq!(project.image::<&str>([]).entry("/a").mtime, 315_619_200);
    assert_eq!(project.image(["--build-arg", "SOURCE_DATE_EPOCH=1700000000"]).entry("/a").mtime, 1_700_000_000);
}

#[test]
fn the_variable_source_date_epoch_dates_the_image_and_runs_nothing_again() {
    let project = Project::dockerfile("FROM scratch\nCOPY a /a\n").file("a", "a");
    let _ = project.build::<&str>([]).succeeds();
    let run = project.build(["--output", "oci:dated"]).env("SOURCE_DATE_EPOCH", "1700000000").succeeds();
    assert_eq!(run.steps_run(), Vec::<String>::new());
    assert_eq!(crate::support::Image::read(&project.path("dated")).config["created"], "2023-11-14T22:13:20Z");
}
