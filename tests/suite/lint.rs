//! BuildKit's build checks: what `brik check` and `brik build` say of Dockerfiles, and what makes them fail.

use serde_json::Value;

use crate::support::server::serve_base_for;
use crate::support::{Project, Run};

/// Breaks every rule, and builds.
const EVERYTHING: &str = "# check=experimental=all
ARG BASE
FROM --platform=$TARGETPLATFORM $BASE as Build
FROM --platform=linux/s390x scratch${NOTHING} AS context
FROM scratch AS build
FROM scratch
MAINTAINER me@example.org
# no description
ARG TOKEN
ENV key value
WORKDIR app
copy ignored* \\

/
EXPOSE 80/TCP 127.0.0.1:81:81
LABEL of=$NOBODY
CMD first
CMD second
";

/// One service that builds the Dockerfile, with a build argument and an ignore file.
fn service(dockerfile: &str) -> Project {
    let toml = "registry = \"r.example.com/org\"\ntags = [\"v1\"]\n[services.app]\ncontext = \".\"\nargs = { BASE = \"scratch\" }\n";
    Project::empty().file("brik.toml", toml).file("Dockerfile", dockerfile).file(".dockerignore", "ignored*\n")
}

/// `line:column-column rule` of each finding.
fn places(run: &Run) -> String {
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    let place = |finding: &Value| {
        let rule = finding["code"].as_str().unwrap().trim_start_matches("brik::lint::");
        format!("{}:{}-{} {rule}\n", finding["line"], finding["column"], finding["end"]["column"])
    };
    report["findings"].as_array().unwrap().iter().map(place).collect()
}

/// The warnings of a `brik build --progress json`.
fn warnings(run: &Run) -> String {
    run.events_of("warning").iter().map(|event| format!("{}\n", event["message"].as_str().unwrap())).collect()
}

#[test]
fn check_points_at_the_bytes_of_every_rule_that_is_broken() {
    let run = service(EVERYTHING).brik(["check", "--format", "json"]).succeeds();
    insta::assert_snapshot!(places(&run), @r#"
    3:17-32 RedundantTargetPlatform
    3:33-38 InvalidDefaultArgInFrom
    3:39-41 FromAsCasing
    3:42-47 StageNameCasing
    4:17-28 FromPlatformFlagConstDisallowed
    4:36-46 UndefinedArgInFrom
    4:50-57 ReservedStageName
    5:17-22 DuplicateStageName
    7:1-11 MaintainerDeprecated
    9:1-4 InvalidDefinitionDescription
    9:5-10 SecretsUsedInArgOrEnv
    10:5-8 SecretsUsedInArgOrEnv
    10:5-14 LegacyKeyValueFormat
    11:9-12 WorkdirRelativePath
    12:1-5 ConsistentInstructionCasing
    12:6-14 CopyIgnoredFile
    14:1-2 NoEmptyContinuation
    15:8-14 ExposeProtoCasing
    15:15-30 ExposeInvalidFormat
    16:10-17 UndefinedVar
    17:1-4 MultipleInstructionsDisallowed
    17:5-10 JSONArgsRecommended
    18:5-11 JSONArgsRecommended
    "#);
}

#[test]
fn a_warning_is_drawn_with_buildkits_words_and_where_to_read_more() {
    let run = service("FROM scratch\nCOPY a \\\n  $B /\n").file("a", "").file("$B", "").brik(["check"]).succeeds();
    assert_eq!(run.stdout, "1 service, 0 edges: 0 errors, 1 warning\n");
    insta::assert_snapshot!(run.stderr, @r#"
    brik::lint::UndefinedVar

      ⚠ Usage of undefined variable '$B'
       ╭─[Dockerfile:3:3]
     2 │ COPY a \
     3 │   $B /
       ·   ──
       ╰────
      help: `brik explain UndefinedVar` says more
    "#);
}

#[test]
fn a_build_tells_every_warning_once() {
    let run = service(EVERYTHING).brik(["build", "--progress", "json"]).succeeds();
    insta::assert_snapshot!(warnings(&run), @r#"
    Dockerfile:3:17: RedundantTargetPlatform: Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior
    Dockerfile:3:33: InvalidDefaultArgInFrom: Default value for ARG $BASE results in empty or invalid base image name
    Dockerfile:3:39: FromAsCasing: 'as' and 'FROM' keywords' casing do not match
    Dockerfile:3:42: StageNameCasing: Stage name 'Build' should be lowercase
    Dockerfile:4:17: FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value "linux/s390x"
    Dockerfile:4:36: UndefinedArgInFrom: FROM argument 'NOTHING' is not declared
    Dockerfile:4:50: ReservedStageName: Stage name should not use the same name as reserved stage "context"
    Dockerfile:5:17: DuplicateStageName: Duplicate stage name "build", stage names should be unique
    Dockerfile:7:1: MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label
    Dockerfile:9:1: InvalidDefinitionDescription: Comment for ARG should follow the format: `# TOKEN <description>`
    Dockerfile:9:5: SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ARG "TOKEN")
    Dockerfile:10:5: SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV "key")
    Dockerfile:10:5: LegacyKeyValueFormat: "ENV key=value" should be used instead of legacy "ENV key value" format
    Dockerfile:11:9: WorkdirRelativePath: Relative workdir "app" can have unexpected results if the base image changes
    Dockerfile:12:1: ConsistentInstructionCasing: Command 'copy' should match the case of the command majority (uppercase)
    Dockerfile:12:6: CopyIgnoredFile: Attempting to Copy file "ignored*" that is excluded by .dockerignore
    Dockerfile:14:1: NoEmptyContinuation: Empty continuation line
    Dockerfile:15:8: ExposeProtoCasing: Defined protocol '80/TCP' in EXPOSE instruction should be lowercase
    Dockerfile:15:15: ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, found '127.0.0.1:81:81'
    Dockerfile:16:10: UndefinedVar: Usage of undefined variable '$NOBODY'
    Dockerfile:17:1: MultipleInstructionsDisallowed: Multiple CMD instructions should not be used in the same stage because only the last one will be used
    Dockerfile:17:5: JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals
    Dockerfile:18:5: JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals
    "#);
}

#[test]
fn services_and_platforms_that_share_a_dockerfile_share_its_warnings() {
    let toml = "registry = \"r.example.com/org\"\ntags = [\"v1\"]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n[services.a]\ncontext = \".\"\n[services.b]\ncontext = \".\"\n";
    let project = Project::empty().file("brik.toml", toml).file("Dockerfile", "FROM scratch\nCMD a\n");
    let run = project.brik(["build", "--progress", "json"]).succeeds();
    assert_eq!(warnings(&run).lines().count(), 1, "{}", warnings(&run));
}

#[test]
fn a_build_looks_at_the_stages_it_needs_and_check_at_all() {
    let project = service("FROM scratch AS unused\nENV a b\nFROM scratch\nENV c=d\n");
    assert_eq!(warnings(&project.brik(["build", "--progress", "json"]).succeeds()), "");
    let check = ["check", "--format", "json"];
    assert_eq!(places(&project.brik(check).succeeds()), "2:5-8 LegacyKeyValueFormat\n");
    let target = project.brik(check).args(["--set", "services.app.target=unused"]).succeeds();
    assert_eq!(places(&target), "2:5-8 LegacyKeyValueFormat\n");
    let other = service("FROM scratch AS unused\nENV a b\nFROM scratch AS used\n");
    assert_eq!(places(&other.brik(check).args(["--set", "services.app.target=used"]).succeeds()), "");
}

#[test]
fn skipped_rules_are_silent() {
    let all = service(&EVERYTHING.replace("experimental=all", "skip=all"));
    assert_eq!(places(&all.brik(["check", "--format", "json"]).succeeds()), "");
    let here = service("FROM scratch\n# check=skip=JSONArgsRecommended // a script\nCMD a\nENTRYPOINT b\n");
    assert_eq!(places(&here.brik(["check", "--format", "json"]).succeeds()), "4:12-13 JSONArgsRecommended\n");
}

#[test]
fn with_error_true_a_build_ends_before_anything_runs() {
    let project = service("# check=skip=ConsistentInstructionCasing;error=true\nFROM scratch as base\ncopy Dockerfile .\nCMD x\n");
    let run = project.brik(["build", "--progress", "plain"]).exits(3);
    assert_eq!(run.stdout, "");
    insta::assert_snapshot!(run.stderr, @r#"
    brik::lint::FromAsCasing

      ⚠ 'as' and 'FROM' keywords' casing do not match
       ╭─[Dockerfile:2:14]
     1 │ # check=skip=ConsistentInstructionCasing;error=true
     2 │ FROM scratch as base
       ·              ──
     3 │ copy Dockerfile .
       ╰────
      help: `brik explain FromAsCasing` says more
    brik::lint::JSONArgsRecommended

      ⚠ JSON arguments recommended for CMD to prevent unintended behavior related to OS signals
       ╭─[Dockerfile:4:5]
     3 │ copy Dockerfile .
     4 │ CMD x
       ·     ─
       ╰────
      help: `brik explain JSONArgsRecommended` says more
    brik::lint::violation

      × lint violation found for rules: FromAsCasing, JSONArgsRecommended
       ╭─[Dockerfile:1:9]
     1 │ # check=skip=ConsistentInstructionCasing;error=true
       ·         ───────────────────────────────────────────
     2 │ FROM scratch as base
       ╰────
      help: fix them, or take `error=true` out of the check options of Dockerfile
    "#);
    let check = project.brik(["check"]).exits(3);
    assert_eq!(check.stdout, "1 service, 0 edges: 1 error, 2 warnings\n");
    check.says(&["lint violation found for rules: FromAsCasing, JSONArgsRecommended"]);
}

#[test]
fn with_error_true_and_nothing_to_warn_about_all_is_well() {
    let project = service("# check=error=true\nFROM scratch\nCMD [\"x\"]\n");
    let _ = project.brik(["check"]).succeeds();
    let _ = project.brik(["build"]).succeeds();
}

#[test]
fn the_build_argument_overrules_the_directive() {
    let project = Project::dockerfile("# check=error=true\nFROM scratch as base\n");
    let skip = "--build-arg=BUILDKIT_DOCKERFILE_CHECK=skip=all";
    assert_eq!(warnings(&project.build([skip]).succeeds()), "");
    let error = "--build-arg=BUILDKIT_DOCKERFILE_CHECK=error=true";
    Project::dockerfile("# check=skip=all\nFROM scratch as base\n").build([error]).exits(3).says(&["violation", "FromAsCasing"]);
}

#[test]
fn options_that_make_no_sense_are_pointed_at() {
    let project = service("# check=skip=A;warn=true\nFROM scratch\n");
    let _ = project.brik(["build"]).exits(3);
    insta::assert_snapshot!(project.brik(["check"]).exits(3).stderr, @r#"
    brik::lint::options

      × invalid check option "warn": expected skip=, error= or experimental=
       ╭─[Dockerfile:1:9]
     1 │ # check=skip=A;warn=true
       ·         ────────────────
     2 │ FROM scratch
       ╰────
    "#);
}

#[test]
fn variables_of_base_images_are_known_after_a_build() {
    let project = Project::monorepo("tags = [\"v1\"]\n[services.app]\ncontext = \".\"\n");
    let project = project.file("Dockerfile", "FROM {busybox}\nENV A=$PATH B=$NOWHERE\n");
    let check = ["check", "--format", "json"];
    assert_eq!(places(&project.brik(check).succeeds()), "", "nothing is said of an image that nobody has seen");
    assert!(!project.store().exists(), "and checking makes no store");
    let built = warnings(&project.brik(["build", "--progress", "json"]).succeeds());
    assert_eq!(built, "Dockerfile:2:15: UndefinedVar: Usage of undefined variable '$NOWHERE'\n");
    assert_eq!(places(&project.brik(check).succeeds()), "2:15-23 UndefinedVar\n");
}

#[test]
fn a_base_for_another_platform_is_told_for_every_platform_that_is_built() {
    let host = serve_base_for("s390x", &[]);
    let project = Project::monorepo("tags = [\"v1\"]\nplatforms = [\"linux/s390x\", \"linux/arm64\"]\n[services.app]\ncontext = \".\"\n");
    let project = project.file("Dockerfile", format!("FROM {host}/base\n"));
    let built = || warnings(&project.brik(["build", "--progress", "json"]).succeeds());
    let message = format!(
        "Dockerfile:1:6: InvalidBaseImagePlatform: Base image {host}/base was pulled with platform \"linux/s390x\", expected \"linux/arm64\" \
         for current build\n"
    );
    assert_eq!(built(), message);
    assert_eq!(
        places(&project.brik(["check", "--format", "json"]).succeeds()),
        format!("1:6-{} InvalidBaseImagePlatform\n", 11 + host.len())
    );
    project.write("Dockerfile", format!("# check=skip=InvalidBaseImagePlatform\nFROM {host}/base\n"));
    assert_eq!(built(), "");
    // What says nothing contradicts nothing.
    project.write("Dockerfile", format!("FROM {}/base\n", serve_base_for("", &[])));
    assert_eq!(built(), "");
}

#[test]
fn a_failed_plan_is_told_after_the_warnings_that_may_say_why() {
    let project = service("FROM scratch\nCOPY ignored.txt /\n").file("ignored.txt", "");
    project.brik(["build"]).exits(1).says(&["Attempting to Copy file \"ignored.txt\" that is excluded by .dockerignore", "not found"]);
}
