//! `brik check`: what it says, as people and as scripts read it, and how it exits.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::Project;

fn monorepo() -> Project {
    let toml = "registry = \"r.example.com/org\"\nmembers = [\"services/*\"]\ntags = [\"v1\"]\n";
    let project = Project::empty().file("brik.toml", toml);
    let project = project.file("services/api/Dockerfile", "FROM scratch\nCOPY src /src\n").file("services/api/src/a", "a");
    project.file("services/web/Dockerfile", "FROM api\nENV A=1\n")
}

fn json(project: &Project, code: i32) -> Value {
    serde_json::from_str(&project.brik(["check", "--format", "json"]).exits(code).stdout).unwrap()
}

/// stderr of `brik check`, which has to exit so.
fn told(project: &Project, code: i32) -> String {
    project.brik(["check"]).exits(code).stderr
}

#[test]
fn a_sound_project_is_summed_up() {
    let run = monorepo().brik(["check"]).succeeds();
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("2 services, 1 edge: 0 errors, 0 warnings\n", ""));
}

#[test]
fn scripts_get_services_and_edges() {
    let json = json(&monorepo(), 0);
    assert_eq!((&json["ok"], &json["services"], &json["findings"]), (&true.into(), &2.into(), &serde_json::json!([])));
    let edge = &json["edges"][0];
    assert_eq!((&edge["service"], &edge["dependency"]), (&"web".into(), &"api".into()));
}

#[test]
fn an_unknown_key_is_pointed_at_with_what_was_meant() {
    let project = monorepo().file("brik.toml", "registry = \"r.example.com/org\"\nmember = [\"services/*\"]\n");
    insta::assert_snapshot!(told(&project, 2), @r#"
    brik::config::unknown-key

      × unknown key `member`
       ╭─[brik.toml:2:1]
     1 │ registry = "r.example.com/org"
     2 │ member = ["services/*"]
       · ──────
       ╰────
      help: did you mean `members`?
    "#);
}

#[test]
fn all_that_is_wrong_with_a_dockerfile_is_told_at_once() {
    let dockerfile =
        "FROM scratch AS 1st\nRNU make\nCOPY --form=build --chmd=755 /a /b\nENV A=1 B\nHEALTHCHECK --interval=5 CMD x\nRUN <<EOF\nx\n";
    insta::assert_snapshot!(told(&monorepo().file("services/api/Dockerfile", dockerfile), 3), @r##"
    brik::dockerfile::syntax

      × invalid name for build stage: "1st", name can't start with a number or contain symbols
       ╭─[services/api/Dockerfile:1:17]
     1 │ FROM scratch AS 1st
       ·                 ───
     2 │ RNU make
       ╰────
      help: begin it with a letter, and go on with letters, digits, `-`, `_` and `.`
    brik::dockerfile::syntax

      × unknown instruction: RNU
       ╭─[services/api/Dockerfile:2:1]
     1 │ FROM scratch AS 1st
     2 │ RNU make
       · ───
     3 │ COPY --form=build --chmd=755 /a /b
       ╰────
      help: did you mean RUN?
    brik::dockerfile::syntax

      × unknown flag: --form
       ╭─[services/api/Dockerfile:3:6]
     2 │ RNU make
     3 │ COPY --form=build --chmd=755 /a /b
       ·      ────────────
     4 │ ENV A=1 B
       ╰────
      help: did you mean --from?
    brik::dockerfile::syntax

      × unknown flag: --chmd
       ╭─[services/api/Dockerfile:3:19]
     2 │ RNU make
     3 │ COPY --form=build --chmd=755 /a /b
       ·                   ──────────
     4 │ ENV A=1 B
       ╰────
      help: did you mean --chmod?
    brik::dockerfile::syntax

      × syntax error - can't find = in "B". must be of the form: name=value
       ╭─[services/api/Dockerfile:4:9]
     3 │ COPY --form=build --chmd=755 /a /b
     4 │ ENV A=1 B
       ·         ─
     5 │ HEALTHCHECK --interval=5 CMD x
       ╰────
      help: put a value with spaces in quotes, as in name="two words"
    brik::dockerfile::syntax

      × --interval: missing unit in duration "5"
       ╭─[services/api/Dockerfile:5:24]
     4 │ ENV A=1 B
     5 │ HEALTHCHECK --interval=5 CMD x
       ·                        ─
     6 │ RUN <<EOF
       ╰────
      help: write numbers with units, as in 30s, 1m30s or 500ms
    brik::dockerfile::syntax

      × unterminated heredoc "EOF"
       ╭─[services/api/Dockerfile:6:5]
     5 │ HEALTHCHECK --interval=5 CMD x
     6 │ RUN <<EOF
       ·     ─────
     7 │ x
       ╰────
      help: end it with a line that holds nothing but "EOF"
    "##);
}

#[test]
fn values_that_cannot_be_right_are_told_before_anything_is_built() {
    let dockerfile = "FROM scratch\nCOPY --chmod=888 src /src\nEXPOSE http\nSTOPSIGNAL SIGNOPE\nRUN --mount=tpye=cache x\n";
    insta::assert_snapshot!(told(&monorepo().file("services/api/Dockerfile", dockerfile), 3), @r##"
    brik::plan::invalid

      × invalid chmod parameter: '888'. it should be octal string and between 0 and 07777
       ╭─[services/api/Dockerfile:2:14]
     1 │ FROM scratch
     2 │ COPY --chmod=888 src /src
       ·              ───
     3 │ EXPOSE http
       ╰────
    brik::plan::invalid

      × invalid container port: http
       ╭─[services/api/Dockerfile:3:8]
     2 │ COPY --chmod=888 src /src
     3 │ EXPOSE http
       ·        ────
     4 │ STOPSIGNAL SIGNOPE
       ╰────
      help: write a port, as in 8080 or 53/udp, or a range, as in 8000-8010
    brik::plan::invalid

      × invalid signal: SIGNOPE
       ╭─[services/api/Dockerfile:4:12]
     3 │ EXPOSE http
     4 │ STOPSIGNAL SIGNOPE
       ·            ───────
     5 │ RUN --mount=tpye=cache x
       ╰────
      help: write a number or a name, as in 9, SIGKILL or RTMIN+3
    brik::plan::invalid

      × unexpected key 'tpye' in 'tpye=cache'
       ╭─[services/api/Dockerfile:5:13]
     4 │ STOPSIGNAL SIGNOPE
     5 │ RUN --mount=tpye=cache x
       ·             ──────────
       ╰────
      help: did you mean type?
    "##);
}

#[test]
fn dockerfiles_of_any_size_end_soon() {
    let lines = |line: &dyn Fn(usize) -> String, count: usize| (0..count).map(line).collect::<String>();
    let stages = lines(&|n| format!("FROM s{n} AS s{}\n", n + 1), 20_000);
    let cases = [
        ("a chain of stages", format!("FROM scratch AS s0\n{stages}"), 0),
        ("many ARGs", format!("FROM scratch\n{}", lines(&|n| format!("ARG a{n}=b\n"), 20_000)), 0),
        ("many here-documents", format!("FROM scratch\n{}", "COPY <<E /d\nx\nE\n".repeat(20_000)), 0),
        ("many faults", format!("FROM scratch\n{}", "RNU x\n".repeat(100_000)), 3),
        ("many values that cannot be right", format!("FROM scratch\n{}", "COPY --chmod=9 src /\n".repeat(20_000)), 3),
        ("nested substitutions", format!("FROM scratch\nENV A={}{}\n", "${a:-".repeat(10_000), "}".repeat(10_000)), 3),
        ("many ranges of ports", format!("FROM scratch\n{}", "EXPOSE 1-65535\n".repeat(20_000)), 0),
        ("control and bidirectional characters", "FROM scratch\nEN\u{202e}V\u{9b}31m a\0\u{2028}b\n".to_owned(), 3),
    ];
    for (what, dockerfile, code) in cases {
        let project = monorepo().file("services/api/Dockerfile", &dockerfile);
        let started = Instant::now();
        let run = project.brik(["check"]).exits(code);
        assert!(started.elapsed() < Duration::from_secs(120), "{what}");
        assert!(!run.stderr.contains(['\u{202e}', '\u{9b}', '\0']), "{what}: {}", run.stderr);
        let drawn = run.stderr.matches("brik::").count();
        assert!(
            drawn <= 500 && (drawn < 500 || run.stderr.contains(" more; `brik check --format json` has all of them")),
            "{what}: {drawn}"
        );
    }
}

#[test]
fn a_source_that_is_not_there_is_pointed_at() {
    let project = monorepo().file("services/api/Dockerfile", "FROM scratch\nCOPY missing.txt /x\n");
    let root = project.path("").canonicalize().unwrap().display().to_string();
    insta::assert_snapshot!(told(&project, 3).replace(root.trim_end_matches('/'), "ROOT").replace("\n  │ ", " "), @r#"
    brik::copy::missing

      × "missing.txt" is not in the context ROOT/services/api
       ╭─[services/api/Dockerfile:2:6]
     1 │ FROM scratch
     2 │ COPY missing.txt /x
       ·      ───────────
       ╰────
      help: paths of COPY and ADD are relative to the service's context
    "#);
}

#[test]
fn a_cycle_is_told_as_a_path_of_names() {
    let project = monorepo().file("services/api/Dockerfile", "FROM web\n");
    insta::assert_snapshot!(told(&project, 3), @r#"
    brik::graph::cycle

      × services need each other: api -> web -> api
       ╭─[services/api/Dockerfile:1:6]
     1 │ FROM web
       ·      ───
       ╰────
      help: take one of these away: api needs web by services/api/Dockerfile:1, web needs api by
            services/web/Dockerfile:1
    "#);
}

#[test]
fn a_service_that_is_not_built_for_the_platform_is_found_as_the_build_would_find_it() {
    let toml = "registry = \"r.example.com/org\"\nmembers = [\"services/*\"]\ntags = [\"v1\"]\n\
                [services.api]\nplatforms = [\"linux/amd64\"]\n[services.web]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n";
    let project = monorepo().file("brik.toml", toml);
    insta::assert_snapshot!(told(&project, 3), @r#"
    brik::plan::invalid

      × api: service api is not built for linux/arm64
       ╭─[services/web/Dockerfile:1:6]
     1 │ FROM api
       ·      ───
     2 │ ENV A=1
       ╰────
      help: write platforms = ["linux/amd64", "linux/arm64"] in [services.api]
    "#);
    project.brik(["build", "web"]).exits(1).says(&["service api is not built for linux/arm64", "in [services.api]"]);
    for (dockerfile, expected) in [
        ("FROM scratch\nCOPY --from=api /src /src\n", 3),
        ("FROM scratch AS unused\nCOPY --from=api /src /src\nFROM scratch\n", 0),
        ("FROM scratch\nRUN --mount=from=api,target=/api true\n", 3),
        ("FROM --platform=linux/amd64 api AS make\nFROM scratch\nCOPY --from=make /src /src\n", 0),
        ("FROM --platform=linux/amd64 api AS make\nCOPY --from=api /src /src\n", 3),
        ("FROM r.example.com/org/api:v1\n", 3),
        ("FROM r.example.com/org/api:v2\n", 0),
    ] {
        project.write("services/web/Dockerfile", dockerfile);
        assert_eq!(project.brik(["check"]).run().code, Some(expected), "{dockerfile}");
    }
    project.write("services/web/Dockerfile", "FROM api AS a\nFROM api\nCOPY --from=a /src /src2\n");
    assert_eq!(json(&project, 3)["findings"].as_array().unwrap().len(), 2);
}

#[test]
fn an_unknown_instruction_is_pointed_at() {
    let project = monorepo().file("services/api/Dockerfile", "FROM scratch\nCPOY a /a\n");
    insta::assert_snapshot!(told(&project, 3), @r#"
    brik::dockerfile::syntax

      × unknown instruction: CPOY
       ╭─[services/api/Dockerfile:2:1]
     1 │ FROM scratch
     2 │ CPOY a /a
       · ────
       ╰────
      help: did you mean COPY?
    "#);
}

#[test]
fn a_file_that_is_no_toml_is_pointed_at() {
    let project = monorepo().file("brik.toml", "registry = \"r.example.com\nmembers = []\n");
    insta::assert_snapshot!(told(&project, 2), @r#"
    brik::config::syntax

      × invalid basic string, expected `"`
       ╭─[brik.toml:1:26]
     1 │ registry = "r.example.com
       ·                          ▲
     2 │ members = []
       ╰────
    "#);
}

#[test]
fn no_brik_toml_at_all_is_an_unusable_configuration() {
    Project::empty().brik(["check"]).exits(2).says(&["brik.toml"]);
}

#[test]
fn all_findings_are_told_not_only_the_first() {
    let project = monorepo()
        .file("services/api/Dockerfile", "FROM scratch\nCOPY one /x\nCOPY two /y\n")
        .file("services/web/Dockerfile", "FORM api\n");
    let json = json(&project, 3);
    let mut codes: Vec<&str> = json["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap()).collect();
    codes.sort_unstable();
    assert!(
        codes.iter().filter(|code| **code == "brik::copy::missing").count() == 2 && codes.contains(&"brik::dockerfile::syntax"),
        "{codes:?}"
    );
}

#[test]
fn findings_of_scripts_name_file_line_and_column() {
    let project = monorepo().file("services/api/Dockerfile", "FROM scratch\nCPOY a /a\n");
    let finding = &json(&project, 3)["findings"][0];
    let place = (&finding["file"], &finding["line"], &finding["column"]);
    assert_eq!(place, (&"services/api/Dockerfile".into(), &2.into(), &1.into()), "{finding}");
}

#[test]
fn two_services_of_one_image_and_tag_are_refused() {
    let project = monorepo().file(
        "brik.toml",
        "registry = \"r.example.com/org\"\nmembers = [\"services/*\"]\ntags = [\"v1\"]\n[services.web]\nimage = \"api\"\n",
    );
    let run = project.brik(["check"]).run();
    assert!(run.code == Some(2) || run.code == Some(3), "{run:?}");
    run.says(&["api", "web"]);
}

#[test]
fn two_hundred_services_are_checked_without_a_network_in_a_moment() {
    let project = Project::empty().file("brik.toml", "registry = \"r.invalid/org\"\nmembers = [\"services/*\"]\ntags = [\"v1\"]\n");
    for n in 0..200 {
        let base = if n % 10 == 0 { "docker.io/library/debian".to_owned() } else { format!("s{}", n / 10 * 10) };
        project.write(&format!("services/s{n}/Dockerfile"), format!("FROM {base}\nCOPY src /src\nRUN make {n}\n"));
        project.write(&format!("services/s{n}/src/file"), "x");
    }
    let started = Instant::now();
    let run = project.brik(["check"]).succeeds();
    // Nothing that waits for a network; how fast it is, benches tell.
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    assert_eq!(run.stdout, "200 services, 180 edges: 0 errors, 0 warnings\n");
}
