//! `brik init`: from a repository that nobody has prepared to a brik.toml that passes `brik check`.

use std::fs;

use crate::support::{Project, shared_registry, tools};

const WORKFLOW: &str = "
on: push
jobs:
  build-and-push:
    uses: acme/.github/.github/workflows/ci-build-kaniko.yml@main
    with:
      image_name: ghcr.io/acme/example-node-api
      context: .
      dockerfile: ./node-api-example/Dockerfile
      tags: |
        v0.1.0
        sha-${{ github.sha }}
      registry: ghcr.io
      cache_enabled: true
    secrets:
      REGISTRY_TOKEN: ${{ secrets.GITHUB_TOKEN }}
";

/// A repository on GitHub.
fn on_github(project: Project) -> Project {
    let project = project.commit();
    project.git(["remote", "add", "origin", "git@github.com:Acme/Shop.git"]);
    project
}

fn services() -> Project {
    Project::empty()
        .file("services/api/Dockerfile", "FROM scratch\nCOPY a /a\n")
        .file("services/api/a", "a")
        .file("services/web/Dockerfile", "FROM scratch\n")
}

/// What `brik init` says, and the brik.toml that it writes; which `brik check` has nothing against.
#[track_caller]
fn written(project: &Project) -> String {
    let run = project.brik(["init"]).succeeds();
    assert_eq!(run.stdout, "");
    let toml = fs::read_to_string(project.path("brik.toml")).unwrap();
    assert_eq!(project.brik(["init", "--dry-run"]).succeeds().stdout, toml);
    let check = project.brik(["check"]).succeeds();
    assert!(check.stdout.contains(": 0 errors"), "{}", check.stdout);
    format!("{}---\n{toml}", run.stderr)
}

#[test]
fn a_repository_of_dockerfiles_needs_two_lines() {
    insta::assert_snapshot!(written(&on_github(services())), @r#"
    service  context       from
    api      services/api  services/api/Dockerfile
    web      services/web  services/web/Dockerfile
    registry ghcr.io/acme, after the git remote
    wrote brik.toml (2 lines); next: brik check
    ---
    registry = "ghcr.io/acme"
    members = ["services/*"]
    "#);
}

#[test]
fn a_call_of_the_kaniko_workflow_becomes_a_service() {
    let project =
        Project::empty().file(".github/workflows/ci.yml", WORKFLOW).file("node-api-example/Dockerfile", "FROM scratch\nCOPY x /x\n");
    insta::assert_snapshot!(written(&on_github(project.file("x", ""))), @r#"
    service           context  from
    example-node-api  .        .github/workflows/ci.yml
    registry ghcr.io/acme, as its images are named
    wrote brik.toml (6 lines); next: brik check
    ---
    registry = "ghcr.io/acme"
    tags = ["v0.1.0", "sha-{sha_long}"]

    [services.example-node-api]
    context = "."
    dockerfile = "node-api-example/Dockerfile"
    "#);
}

#[test]
fn kaniko_in_scripts_of_github_and_gitlab_becomes_services() {
    let workflow = r#"
on: push
env: {REGISTRY: ghcr.io/acme}
jobs:
  web:
    steps:
      - uses: actions/checkout@v4
      - run: |
          echo "{}" > /kaniko/.docker/config.json
          /kaniko/executor --context="$GITHUB_WORKSPACE/services/web" \
            --dockerfile=services/web/Dockerfile --build-arg MODE=fast \
            --destination=$REGISTRY/web2:v1 --destination=$REGISTRY/web2:${{ github.ref_name }}
  api:
    steps:
      - uses: docker://gcr.io/kaniko-project/executor:v1.23.0
        with:
          args: --context=dir:///github/workspace/services/api --destination=ghcr.io/acme/api:v1 --insecure
  tool:
    steps:
      - run: docker run -v "$PWD":/workspace gcr.io/kaniko-project/executor --context=dir:///workspace/tool --destination=ghcr.io/acme/tool:v1
  odd:
    container: gcr.io/kaniko-project/executor:debug
    steps:
      - run: ./build.sh
"#;
    let gitlab = r#"
cron:
  image: {name: "gcr.io/kaniko-project/executor:debug", entrypoint: [""]}
  script:
    - /kaniko/executor --context "${CI_PROJECT_DIR}/cron" --destination "ghcr.io/acme/cron:v1"
"#;
    let project = services().file("tool/Dockerfile", "FROM scratch\n").file("cron/Dockerfile", "FROM scratch\n");
    let project = project.file(".github/workflows/ci.yml", workflow).file(".gitlab-ci.yml", gitlab);
    insta::assert_snapshot!(written(&on_github(project)), @r#"
    service  context       from
    api      services/api  .github/workflows/ci.yml
    cron     cron          .gitlab-ci.yml
    tool     tool          .github/workflows/ci.yml
    web2     services/web  .github/workflows/ci.yml
    registry ghcr.io/acme, as its images are named
    left:
      .github/workflows/ci.yml: a tag (web): it depends on github.ref_name; brik has templates and metadata-action's `type=` lines for `tags`
      .github/workflows/ci.yml: insecure (api): [registries] of brik.toml has `insecure`, `ca` and `mirror` of a registry
      .github/workflows/ci.yml: job "odd": it calls Kaniko in a way that is not understood
    wrote brik.toml (12 lines); next: brik check
    ---
    registry = "ghcr.io/acme"
    members = ["cron", "tool", "services/api"]
    tags = ["v1"]

    [services.web2]
    context = "services/web"
    args = { MODE = "fast" }

    # Not taken over:
    # - .github/workflows/ci.yml: a tag (web): it depends on github.ref_name; brik has templates and
    #   metadata-action's `type=` lines for `tags`
    # - .github/workflows/ci.yml: job "odd": it calls Kaniko in a way that is not understood
    "#);
}

#[test]
fn a_service_called_docs_is_one_and_the_directory_of_documents_is_none() {
    let project = services().file("services/docs/Dockerfile", "FROM scratch\n").file("docs/examples/Dockerfile", "FROM scratch\n");
    let project = project.file("services/web/Dockerfile", "FROM scratch\nCOPY --from=docs / /docs\n");
    insta::assert_snapshot!(written(&on_github(project)), @r#"
    service  context        from
    api      services/api   services/api/Dockerfile
    docs     services/docs  services/docs/Dockerfile
    web      services/web   services/web/Dockerfile
    registry ghcr.io/acme, after the git remote
    left:
      docs/examples/Dockerfile: below docs/
    wrote brik.toml (2 lines); next: brik check
    ---
    registry = "ghcr.io/acme"
    members = ["services/*"]
    "#);
}

#[test]
fn a_file_that_is_none_of_its_kind_is_shown_where_it_is_wrong() {
    let bake = "target \"api\" {\n  context = \"services/api\"\n  tags = [\"a\" \"b\"]\n}\n";
    let run = services().file("docker-bake.hcl", bake).brik(["init", "--dry-run"]).succeeds();
    insta::assert_snapshot!(run.stderr.split("service ").next().unwrap(), @r#"
    brik::init::syntax

      ⚠ docker-bake.hcl: it is no HCL: line 3, column 15: expected `]`
       ╭─[docker-bake.hcl:3:15]
     2 │   context = "services/api"
     3 │   tags = ["a" "b"]
       ·               ─
     4 │ }
       ╰────
    "#);
    run.says(&["api      services/api  services/api/Dockerfile"]);
    assert!(run.stdout.contains("# - docker-bake.hcl: it is no HCL: line 3, column 15: "), "{}", run.stdout);
    let run = services().file("docker-bake.json", "{\n  \"target\": [}\n").brik(["init", "--dry-run"]).succeeds();
    run.says(&["docker-bake.json: it is no JSON", "docker-bake.json:2:14"]);
}

#[test]
fn a_file_that_was_asked_for_and_says_nothing_is_told() {
    let project = services().file(".gitlab-ci.yml", "build: {script: [docker build .]}\n").file("other.yml", "steps: []\n");
    let project = project.file(".github/workflows/x.yml", "on: push\njobs: {}\n");
    for (file, reason) in [
        (".gitlab-ci.yml", "only calls of Kaniko are read of it, and it has none"),
        ("other.yml", "it has no service; of other files in YAML, GitHub workflows and .gitlab-ci.yml are read"),
        (".github/workflows/x.yml", "only calls of Kaniko and of docker/build-push-action are read of it, and it has none"),
    ] {
        let run = project.brik(["init", "--dry-run", "--from", file]).exits(2);
        run.says(&[&format!("{file}: {reason}"), &format!("nothing in {file} says how to build an image"), "without --from"]);
        assert!(!run.has_said("write a Dockerfile first"), "{}", run.stderr);
    }
}

#[test]
fn what_cannot_be_taken_over_is_told_and_stands_in_the_file() {
    let bake = r#"
variable "TAG" { default = "dev" }
group "default" { targets = ["api", "web"] }
target "_base" { platforms = ["linux/amd64"] }
target "api" {
  inherits   = ["_base"]
  context    = "services/api"
  tags       = ["ghcr.io/acme/api:${TAG}"]
  output     = ["type=registry"]
  ulimits    = ["nofile=1024"]
}
target "web" {
  inherits = ["_base"]
  context  = "services/web"
  contexts = { api = "target:api" }
  output   = ["type=registry"]
}
target "each" {
  matrix = { v = ["1", "2"] }
  name   = "each-${v}"
}
"#;
    let project = services().file("docker-bake.hcl", bake).file("services/attic/Dockerfile", "FROM scratch\n");
    insta::assert_snapshot!(written(&project.file("docker-bake.override.hcl", "")), @r#"
    service  context       from
    api      services/api  docker-bake.hcl
    web      services/web  docker-bake.hcl
    registry ghcr.io/acme, as its images are named
    left:
      docker-bake.hcl: target "each": it has a matrix: write a service for each of its values
      docker-bake.hcl: output (api, web): `brik build --push` pushes, `--output` writes files
      docker-bake.hcl: ulimits (api): a RUN is limited by `processes` and `memory` of [build]
      docker-bake.hcl: tags (api): made of the variable TAG: brik has its own tags, `--tags "$TAG"` gives others
      docker-bake.override.hcl: what it lays over the other file is not looked at
      services/attic/Dockerfile: docker-bake.hcl builds nothing from it
    wrote brik.toml (9 lines); next: brik check
    ---
    registry = "ghcr.io/acme"
    members = ["services/*", "!services/attic"]
    platforms = ["linux/amd64"]

    # Not taken over:
    # - docker-bake.hcl: target "each": it has a matrix: write a service for each of its values
    # - docker-bake.hcl: ulimits (api): a RUN is limited by `processes` and `memory` of [build]
    # - docker-bake.override.hcl: what it lays over the other file is not looked at
    # - services/attic/Dockerfile: docker-bake.hcl builds nothing from it
    "#);
}

#[test]
fn from_an_unprepared_repository_to_a_pushed_image_in_four_commands() {
    let project = Project::empty().file("services/api/Dockerfile", "FROM {busybox}\nRUN echo hello > /hello\n");
    let compose = format!("services: {{api: {{build: services/api, image: '{}/api:v1'}}}}\n", project.prefix());
    let project = project.file("compose.yaml", compose);
    for command in [&["init"][..], &["check"], &["build"], &["build", "--push"]] {
        let _ = project.brik(command).succeeds();
    }
    let repository = project.prefix().split_once('/').unwrap().1.to_owned() + "/api";
    assert_eq!(shared_registry().tags(&repository), ["v1"]);
}

#[test]
fn a_brik_toml_that_is_there_stays_unless_it_is_forced() {
    let project = services().file("brik.toml", "members = []\n");
    project.brik(["init"]).exits(2).says(&["brik::init::exists", "--force", "--dry-run"]);
    let printed = project.brik(["init", "--stdout"]).succeeds().stdout;
    assert_eq!(fs::read_to_string(project.path("brik.toml")).unwrap(), "members = []\n");
    let _ = project.brik(["init", "--force"]).succeeds();
    assert_eq!(fs::read_to_string(project.path("brik.toml")).unwrap(), printed);
    project.brik(["init", "--force", "--dry-run"]).exits(2).says(&["cannot be used with"]);
}

#[test]
fn one_file_alone_can_be_imported() {
    let project = services().file("other.hcl", "target \"x\" {\n  context = \"services/api\"\n}\n").file("x.txt", "");
    let run = project.brik(["init", "--dry-run", "--from", "other.hcl"]).succeeds();
    assert!(run.stdout.ends_with("\n[services.x]\ncontext = \"services/api\"\n"), "{}", run.stdout);
    for file in ["x.txt", "missing.hcl", "../other.hcl", "/etc/passwd"] {
        project.brik(["init", "--from", file]).exits(2).says(&["brik::init::source"]);
    }
}

#[test]
fn where_there_is_nothing_it_says_so() {
    let project = Project::empty();
    project.brik(["init"]).exits(2).says(&["brik::init::nothing", "write a Dockerfile first"]);
    let project =
        project.file("compose.yaml", "services: [").file("docker-bake.hcl", "target {").file(".github/workflows/x.yml", "kaniko: [");
    let run = project.brik(["init"]).exits(2);
    run.says(&["compose.yaml: it is no YAML", "docker-bake.hcl: it is no HCL", ".github/workflows/x.yml: it is no YAML"]);
    assert!(!project.path("brik.toml").exists());
}

#[test]
fn detached_and_shallow_checkouts_and_subdirectories_are_as_good_as_others() {
    let project = on_github(services());
    project.git(["checkout", "--quiet", "--detach"]);
    let elsewhere = project.beside("shallow");
    let from = format!("file://{}", project.path("").display());
    project.git(["clone", "--quiet", "--depth=1", &from, elsewhere.to_str().unwrap()]);
    let run = project.brik(["-C", elsewhere.to_str().unwrap(), "init"]).succeeds();
    run.says(&["registry unknown", "wrote brik.toml"]);
    assert!(project.brik(["init"]).succeeds().has_said("registry ghcr.io/acme, after the git remote"));
    let below = project.brik(["-C", "services", "init", "--dry-run"]).succeeds();
    assert_eq!(below.stdout, "registry = \"ghcr.io/acme\"\nmembers = [\"api\", \"web\"]\n");
}

#[test]
fn a_directory_that_cannot_be_written_to_is_told() {
    if tools::is_root() {
        return tools::skipped("root may write anywhere");
    }
    let project = services();
    let mut rights = fs::metadata(project.path("")).unwrap().permissions();
    rights.set_readonly(true);
    fs::set_permissions(project.path(""), rights.clone()).unwrap();
    let run = project.brik(["init"]).exits(2);
    std::os::unix::fs::PermissionsExt::set_mode(&mut rights, 0o755);
    fs::set_permissions(project.path(""), rights).unwrap();
    run.says(&["brik::init::unwritable", "brik.toml cannot be written"]);
}

#[test]
fn no_file_makes_it_panic_or_hang() {
    let laughs: String = (1..20).map(|level| format!("a{level}: &a{level} [{}]\n", format!("*a{},", level - 1).repeat(9))).collect();
    let compose = format!("a0: &a0 [x]\n{laughs}services: {{a: {{build: *a19}}}}\n");
    let bakes = [
        "\u{0}",
        "target \"a\" { tags = [",
        "a = a\nb = c\nc = b\ntarget \"x\" { inherits = [\"x\"] tags = [a] }",
        "target \"a\" {\n tags = [1/0]\n}",
    ];
    for bake in bakes {
        let project = services().file("docker-bake.hcl", bake).file("docker-bake.json", "[".repeat(100_000)).file("compose.yaml", &compose);
        let project = project
            .file("broken/Dockerfile", [0xff, 0xfe, 0])
            .file(".github/workflows/x.yml", "jobs: {kaniko: {uses: kaniko, strategy: {matrix: []}}}");
        let run = project.brik(["init", "--dry-run"]).run();
        assert!(matches!(run.code, Some(0 | 2)) && !run.stderr.contains("panicked"), "{bake}: {run:?}");
        run.says(&["compose.yaml: it is no YAML"]);
    }
}
