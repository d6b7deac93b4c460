//! `[policy]`: what `brik check` says, what a push is refused for, and the evidence that both leave.

use serde_json::Value;

use crate::support::{Project, Registry};

const EVIDENCE: &str = ".audit/PIPE-CONTAINER-BUILD/policy";

/// A good service and a bad one, under the preset.
fn monorepo(policy: &str) -> Project {
    let toml = format!(
        "registry = \"r.example.com/org\"\nmembers = [\"services/*\"]\ntags = [\"sha-2f4c9a1\"]\n\n[policy]\nextends = \"brikbyte\"\n{policy}\n\n[services.web]\ntags = [\"edge\", \"latest\"]\n"
    );
    let good = "FROM scratch AS build\nCOPY a /a\nFROM scratch\nCOPY --from=build /a /a\nUSER 65532:65532\n";
    let bad = "FROM scratch\nARG NPM_TOKEN\nCOPY a /a\nUSER root\n";
    let project = Project::empty().file("brik.toml", toml).file("services/api/Dockerfile", good).file("services/api/a", "a");
    project.file("services/web/Dockerfile", bad).file("services/web/a", "a")
}

fn evidence(project: &Project) -> (Value, String) {
    let text = |name: &str| std::fs::read_to_string(project.path(EVIDENCE).join(name)).unwrap();
    (serde_json::from_str(&text("policy-summary.json")).unwrap(), text("policy-summary.md"))
}

/// One service that pushes to a registry of its own.
fn pushing(registry: &Registry, policy: &str, dockerfile: &str) -> Project {
    let host = registry.host();
    let toml = format!(
        "registry = \"{host}/org\"\ntags = [\"sha-2f4c9a1\"]\n[policy]\n{policy}\n[services.app]\ncontext = \".\"\n[registries.\"docker.io\"]\nmirror = \"{}\"\n",
        crate::support::shared_registry().host()
    );
    Project::empty().file("brik.toml", toml).file("Dockerfile", dockerfile)
}

#[test]
fn each_violation_is_drawn_on_its_bytes() {
    let run = monorepo("").brik(["check"]).exits(3);
    assert_eq!(run.stdout, "2 services, 0 edges: 5 errors, 0 warnings\n");
    insta::assert_snapshot!(run.stderr, @r#"
    brik::policy::sha-tag

      × missing sha tag: web has edge, latest
        ╭─[brik.toml:10:8]
      9 │ [services.web]
     10 │ tags = ["edge", "latest"]
        ·        ──────────────────
        ╰────
      help: add "sha-{sha}" to `tags`
    brik::policy::latest-tag

      × latest forbidden: web would be tagged latest
        ╭─[brik.toml:10:17]
      9 │ [services.web]
     10 │ tags = ["edge", "latest"]
        ·                 ────────
        ╰────
      help: take it out of `tags`, or set `allow_latest = true` in [policy]
    brik::policy::non-root

      × web runs as root: its last USER is root
       ╭─[services/web/Dockerfile:4:6]
     3 │ COPY a /a
     4 │ USER root
       ·      ────
       ╰────
      help: end the final stage with a USER that is not root, as in `USER 65532:65532`
    brik::policy::multi-stage

      × services/web/Dockerfile has a single stage
       ╭─[services/web/Dockerfile:1:6]
     1 │ FROM scratch
       ·      ───────
     2 │ ARG NPM_TOKEN
       ╰────
      help: build in a stage of its own, and take the result with COPY --from into a small final one
    brik::policy::no-secrets

      × ARG NPM_TOKEN is named like a secret
       ╭─[services/web/Dockerfile:2:5]
     1 │ FROM scratch
     2 │ ARG NPM_TOKEN
       ·     ─────────
     3 │ COPY a /a
       ╰────
      help: whoever can pull the image can read it: use RUN --mount=type=secret, and `secrets` in
            brik.toml
    "#);
}

#[test]
fn evidence_is_left_on_fail_and_on_pass_and_is_the_same_each_time() {
    let project = monorepo("");
    let _ = project.brik(["check"]).exits(3);
    let (json, markdown) = evidence(&project);
    assert_eq!((&json["build_verdict"], &json["preset"], &json["version"]), (&"fail".into(), &"brikbyte".into(), &1.into()));
    let verdict = |at: usize| (json["services"][at]["service"].as_str().unwrap(), json["services"][at]["verdict"].as_str().unwrap());
    assert_eq!([verdict(0), verdict(1)], [("api", "pass"), ("web", "fail")]);
    insta::assert_snapshot!(markdown, @r#"
    # Policy: fail

    preset `brikbyte`, enforced

    | service | image | tags | verdict |
    |---|---|---|---|
    | api | r.example.com/org/api | sha-2f4c9a1 | pass |
    | web | r.example.com/org/web | edge latest | fail |

    | rule | level | violations | waived |
    |---|---|---|---|
    | sha-tag | deny | 1 | 0 |
    | version-tag | deny | 0 | 0 |
    | latest-tag | deny | 1 | 0 |
    | non-root | deny | 1 | 0 |
    | multi-stage | deny | 1 | 0 |
    | no-secrets | deny | 1 | 0 |
    | narrow-context | warn | 0 | 0 |

    - deny sha-tag, web: brik.toml:10:8: missing sha tag: web has edge, latest
    - deny latest-tag, web: brik.toml:10:17: latest forbidden: web would be tagged latest
    - deny non-root, web: services/web/Dockerfile:4:6: web runs as root: its last USER is root
    - deny multi-stage, web: services/web/Dockerfile:1:6: services/web/Dockerfile has a single stage
    - deny no-secrets, web: services/web/Dockerfile:2:5: ARG NPM_TOKEN is named like a secret
    "#);
    let _ = project.brik(["check", "--format", "json"]).exits(3);
    assert_eq!(evidence(&project), (json.clone(), markdown.clone()), "the same again");
    let _ = project.brik(["-C", "services", "check"]).exits(3);
    assert_eq!(evidence(&project), (json, markdown), "and from below");
    let _ = project.brik(["check", "api"]).succeeds();
    let (json, markdown) = evidence(&project);
    assert_eq!(json["build_verdict"], "pass");
    assert!(markdown.starts_with("# Policy: pass\n"), "{markdown}");
    assert_eq!(std::fs::read_to_string(project.path(".audit/.gitignore")).unwrap(), "*\n");
}

#[test]
fn without_a_policy_nothing_is_held_and_nothing_is_left() {
    let project =
        Project::empty().file("brik.toml", "registry = \"r.example.com/org\"\ntags = [\"latest\"]\n[services.app]\ncontext = \".\"\n");
    let project = project.file("Dockerfile", "FROM scratch\n");
    let _ = project.brik(["check"]).succeeds();
    assert!(!project.path(".audit").exists());
}

#[test]
fn what_cannot_be_read_fails_the_evidence() {
    let project = monorepo("").file("services/api/Dockerfile", "FORM scratch\n");
    let _ = project.brik(["check"]).exits(3);
    let (json, _) = evidence(&project);
    let services: Vec<&str> = json["services"].as_array().unwrap().iter().map(|line| line["verdict"].as_str().unwrap()).collect();
    assert_eq!((&json["build_verdict"], &services[..]), (&"fail".into(), &["fail", "unread"][..]));
}

#[test]
fn evidence_that_cannot_be_written_is_a_warning() {
    let project = monorepo("").file(".audit", "a file in its place");
    let run = project.brik(["check", "api"]).succeeds();
    run.says(&["brik::policy::evidence", "the evidence cannot be written to"]);
}

#[test]
fn no_link_leads_evidence_elsewhere() {
    let project = monorepo("");
    let elsewhere = project.beside("elsewhere");
    std::fs::create_dir_all(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, project.path(".audit")).unwrap();
    project.brik(["check", "api"]).succeeds().says(&[".audit is not a directory"]);
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
    std::fs::remove_file(project.path(".audit")).unwrap();
    std::fs::create_dir_all(project.path(EVIDENCE)).unwrap();
    std::fs::write(elsewhere.join("precious"), "kept").unwrap();
    std::os::unix::fs::symlink(elsewhere.join("precious"), project.path(EVIDENCE).join("policy-summary.json")).unwrap();
    let _ = project.brik(["check", "api"]).succeeds();
    assert_eq!(std::fs::read_to_string(elsewhere.join("precious")).unwrap(), "kept");
    assert_eq!(evidence(&project).0["build_verdict"], "pass");
}

#[test]
fn warnings_pass() {
    let run = monorepo("enforce = false").brik(["check"]).succeeds();
    assert_eq!(run.stdout, "2 services, 0 edges: 0 errors, 5 warnings\n");
}

#[test]
fn waivers_need_a_reason_and_a_day_and_are_told_when_they_have_expired() {
    let waiver = |text: &str| monorepo(&format!("[[policy.waive]]\nrule = \"non-root\"\n{text}"));
    let told = |text: &str, code: i32, said: &[&str]| waiver(text).brik(["check", "web"]).exits(code).says(said);
    told("until = 2027-01-31", 2, &["brik::config::missing-key", "`policy.waive` lacks the key `reason`"]);
    told("reason = \"x\"", 2, &["brik::config::missing-key", "`policy.waive` lacks the key `until`"]);
    told("reason = \" \"\nuntil = 2027-01-31", 2, &["brik::config::empty", "a waiver without a reason waives nothing"]);
    told("reason = \"x\"\nuntil = 2027-02-30", 2, &["brik.toml:"]);
    told("reason = \"x\"\nuntil = \"soon\"", 2, &["brik::config::invalid-date", "as in 2027-01-31"]);
    told("reason = \"x\"\nuntil = 2027-01-31\nservices = [\"wep\"]", 2, &["there is no service wep", "did you mean `web`?"]);
    told("reason = \"old\"\nuntil = 2020-01-31", 3, &["the waiver of non-root has expired: old", "web runs as root"]);
    let held = waiver("reason = \"port 80\"\nuntil = 9999-12-31").brik(["check", "web"]).exits(3);
    assert!(!held.has_said("runs as root"), "{}", held.stderr);
}

#[test]
fn a_push_that_is_forbidden_builds_nothing_and_uploads_nothing() {
    let registry = Registry::start();
    let project = pushing(&registry, "non_root = true", "FROM {busybox}\nRUN touch /a\n");
    let checked = project.brik(["check"]).succeeds();
    checked.says(&["app may run as root: no USER is set, and nobody has seen yet whom", "before a push it is known"]);
    let run = project.brik(["build", "--push", "--progress", "json"]).exits(3);
    assert_eq!(run.stdout, "");
    run.says(&["brik::policy::non-root", "app runs as root: no USER is set"]);
    assert!(!run.has_said("step_started"), "{}", run.stderr);
    for method in ["PUT", "POST", "PATCH"] {
        assert_eq!(registry.requests_since(0, method, "/"), [""; 0], "{method}");
    }
    assert_eq!(evidence(&project).0["build_verdict"], "fail");
    let _ = project.brik(["build"]).succeeds();
}

#[test]
fn a_push_that_is_allowed_leaves_evidence_and_tells_its_warnings() {
    let registry = Registry::start();
    let project =
        pushing(&registry, "non_root = true\nmulti_stage = true\nwarn = [\"multi-stage\"]", "FROM {busybox}\nRUN touch /a\nUSER 1\n");
    let run = project.brik(["build", "--push", "--progress", "json"]).succeeds();
    let warnings = run.events_of("warning");
    let told = |text: &str| warnings.iter().filter(|event| event["message"].as_str().unwrap().contains(text)).count();
    assert_eq!(told("has a single stage"), 1, "{warnings:?}");
    assert_eq!(registry.tags("org/app"), ["sha-2f4c9a1"]);
    assert_eq!(evidence(&project).0["build_verdict"], "pass");
}

#[test]
fn the_tags_of_the_command_line_are_held_too() {
    let registry = Registry::start();
    let project = pushing(&registry, "allow_latest = false", "FROM scratch\n");
    let run = project.brik(["build", "--push", "--tags", "v1,latest"]).exits(3);
    run.says(&["latest forbidden: app would be tagged latest", "--tags:1:1"]);
    assert_eq!(registry.tags("org/app"), [""; 0]);
}

#[test]
fn a_build_check_is_not_told_where_the_policy_says_it() {
    let project = monorepo("");
    let run = project.brik(["check", "web", "--format", "json"]).exits(3);
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    let codes: Vec<&str> = report["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap()).collect();
    assert!(codes.contains(&"brik::policy::no-secrets") && !codes.contains(&"brik::lint::SecretsUsedInArgOrEnv"), "{codes:?}");
}

#[test]
fn a_lock_pins_bases_and_an_ignore_file_narrows_a_context() {
    let toml = "registry = \"r.example.com/org\"\nmembers = [\"services/*\"]\ntags = [\"v1\"]\n[policy]\npinned_bases = true\nnarrow_context = true\n[services.all]\ncontext = \".\"\n";
    let project = Project::empty().file("brik.toml", toml).file("Dockerfile", "FROM alpine:3.22\n");
    let project = project.file("services/api/Dockerfile", "FROM scratch\n");
    let codes = || {
        let run = project.brik(["check", "--format", "json"]).run();
        let report: Value = serde_json::from_str(&run.stdout).unwrap();
        report["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(codes(), ["brik::policy::pinned-bases", "brik::policy::narrow-context"]);
    let digest = format!("sha256:{}", "1".repeat(64));
    let lock = format!("version = 1\n\n[base.\"docker.io/library/alpine:3.22\"]\ndigest = \"{digest}\"\nresolved = \"2026-11-22\"\n");
    project.write("brik.lock", lock);
    project.write(".dockerignore", "services\n");
    assert_eq!(codes(), [""; 0]);
}
