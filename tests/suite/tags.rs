//! `brik tags`: docker/metadata-action's own examples, row by row over the command line; outputs for GitHub Actions; and what is wrong.

use std::fs;

use serde_json::Value;

use crate::support::{Brik, Project, Run};

const SHA: &str = "860c1904a1ce19322e91ac35af1ab07466440c37";
/// 2020-01-10T00:30:00Z, the time of metadata-action's examples.
const NOW: &str = "1578616200";

/// A run in GitHub Actions on an event of a repository whose default branch is `master`.
fn action(project: &Project, event: &str, reference: &str) -> Brik {
    let payload = r#"{"repository": {"default_branch": "master"}, "pull_request": {"base": {"ref": "master"}, "head": {"sha": "0123456789abcdef0123456789abcdef01234567"}}}"#;
    project.write("event.json", payload);
    let brik = project.brik(["tags", "--image", "name/app", "--format", "json"]).env("GITHUB_EVENT_NAME", event);
    brik.env("GITHUB_REF", reference)
        .env("GITHUB_SHA", SHA)
        .env("GITHUB_EVENT_PATH", project.path("event.json"))
        .env("SOURCE_DATE_EPOCH", NOW)
}

fn report(run: &Run) -> Value {
    serde_json::from_str::<Value>(&run.stdout).expect("JSON")["services"].clone()
}

/// The tags of the first image, with spaces between.
fn tags(run: &Run) -> String {
    let tags = report(run)[0]["tags"].as_array().expect("a list").iter().map(|tag| tag.as_str().unwrap().to_owned()).collect::<Vec<_>>();
    tags.join(" ")
}

/// Expects these tags for each event, ref and list of tags, with metadata-action's `latest=auto`.
#[track_caller]
fn reproduces(rows: &[(&str, &str, &str, &str)]) {
    let project = Project::empty();
    for (event, reference, list, expected) in rows {
        let brik = action(&project, event, reference).args(["--flavor", "latest=auto"]);
        let brik = if list.is_empty() { brik } else { brik.args(["--tags", list]) };
        assert_eq!(tags(&brik.succeeds()), *expected, "{event} {reference}\n{list}");
    }
}

#[test]
fn the_basic_example_is_reproduced() {
    reproduces(&[
        ("pull_request", "refs/pull/2/merge", "", "pr-2"),
        ("push", "refs/heads/master", "", "master"),
        ("push", "refs/heads/releases/v1", "", "releases-v1"),
        ("push", "refs/tags/v1.2.3", "", "v1.2.3 latest"),
        ("push", "refs/tags/v2.0.8-beta.67", "", "v2.0.8-beta.67 latest"),
        ("workflow_dispatch", "refs/heads/master", "", "master"),
    ]);
}

#[test]
fn the_semver_example_is_reproduced() {
    const LIST: &str = "type=ref,event=branch\ntype=ref,event=pr\ntype=semver,pattern={{version}}\ntype=semver,pattern={{major}}.{{minor}}";
    reproduces(&[
        ("pull_request", "refs/pull/2/merge", LIST, "pr-2"),
        ("push", "refs/heads/master", LIST, "master"),
        ("push", "refs/heads/releases/v1", LIST, "releases-v1"),
        ("push", "refs/tags/v1.2.3", LIST, "1.2.3 1.2 latest"),
        ("push", "refs/tags/v2.0.8-beta.67", LIST, "2.0.8-beta.67"),
    ]);
    reproduces(&[("push", "refs/tags/v1.2.3", &format!("{LIST}\ntype=sha"), "1.2.3 1.2 sha-860c190 latest")]);
}

/// Git tag, pattern and further attributes, output.
type Row = (&'static str, &'static str, &'static str);

#[track_caller]
fn reproduces_type(kind: &str, rows: &[Row]) {
    let project = Project::empty();
    for (git_tag, attributes, expected) in rows {
        let line = format!("type={kind},pattern={attributes}");
        let run = action(&project, "push", &format!("refs/tags/{git_tag}")).args(["--tags", &line]).succeeds();
        assert_eq!(tags(&run), *expected, "{git_tag} {line}");
    }
}

#[test]
fn the_table_of_semver_is_reproduced() {
    reproduces_type(
        "semver",
        &[
            ("v1.2.3", "{{raw}}", "v1.2.3"),
            ("v1.2.3", "{{version}}", "1.2.3"),
            ("v1.2.3", "{{major}}.{{minor}}", "1.2"),
            ("v1.2.3", "v{{major}}", "v1"),
            ("v1.2.3", "{{minor}}", "2"),
            ("v1.2.3", "{{patch}}", "3"),
            ("p1/v1.2.3", r"{{version}},match=v(\d.\d.\d)$", "1.2.3"),
            ("v2.0.8-beta.67", "{{raw}}", "v2.0.8-beta.67"),
            ("v2.0.8-beta.67", "{{version}}", "2.0.8-beta.67"),
            ("v2.0.8-beta.67", "{{major}}", "2.0.8-beta.67"),
            ("v2.0.8-beta.67", "{{major}}.{{minor}}", "2.0.8-beta.67"),
        ],
    );
}

#[test]
fn the_table_of_pep440_is_reproduced() {
    reproduces_type(
        "pep440",
        &[
            ("1.2.3", "{{raw}}", "1.2.3"),
            ("1.2.3", "{{version}}", "1.2.3"),
            ("v1.2.3", "{{version}}", "1.2.3"),
            ("1.2.3", "{{major}}.{{minor}}", "1.2"),
            ("1.2.3", "v{{major}}", "v1"),
            ("v1.2.3rc2", "{{raw}}", "v1.2.3rc2"),
            ("1.2.3rc2", "{{version}}", "1.2.3rc2"),
            ("p1/v1.2.3", r"{{version}},match=v(\d.\d.\d)$", "1.2.3"),
            ("1.2.3rc2", "{{major}}.{{minor}}", "1.2.3rc2"),
            ("1.2.3post1", "{{major}}.{{minor}}", "1.2.3.post1"),
            ("1.2.3beta2", "{{major}}.{{minor}}", "1.2.3b2"),
            ("1.0dev4", "{{major}}.{{minor}}", "1.0.dev4"),
        ],
    );
}

#[test]
fn the_table_of_match_is_reproduced() {
    reproduces_type(
        "match",
        &[
            ("v1.2.3", r"\d.\d.\d", "1.2.3"),
            ("v1.2.3", r"\d.\d.\d,group=0", "1.2.3"),
            ("v2.0.8-beta.67", r"v(.*),group=1", "2.0.8-beta.67"),
            ("v2.0.8-beta.67", r"v(\d.\d),group=1", "2.0"),
            ("20200110-RC2", r"\d+", "20200110"),
            ("p1/v1.2.3", r"p1/v(\d.\d.\d),group=1", "1.2.3"),
            ("x", r"v(.*),group=1,value=v1.0.0", "1.0.0"),
        ],
    );
}

#[test]
fn the_tables_of_schedule_edge_ref_raw_and_sha_are_reproduced() {
    reproduces(&[
        ("schedule", "refs/heads/master", "type=schedule", "nightly"),
        ("schedule", "refs/heads/master", "type=schedule,pattern=nightly", "nightly"),
        ("schedule", "refs/heads/master", "type=schedule,pattern={{date 'YYYYMMDD'}}", "20200110"),
        ("schedule", "refs/heads/master", "type=schedule,pattern={{date 'YYYYMMDD-HHmmss' tz='Asia/Tokyo'}}", "20200110-093000"),
        ("push", "refs/heads/master", "type=edge", "edge"),
        ("push", "refs/heads/main", "type=edge,branch=main", "edge"),
        ("pull_request", "refs/pull/2/merge", "type=ref,event=pr", "pr-2"),
        ("pull_request", "refs/pull/2/merge", "type=ref,enable=true,priority=600,prefix=pr-,suffix=,event=pr", "pr-2"),
        ("push", "refs/heads/master", "type=ref,event=branch", "master"),
        ("push", "refs/heads/my/branch", "type=ref,event=branch", "my-branch"),
        ("push", "refs/tags/v1.2.3", "type=ref,event=tag", "v1.2.3 latest"),
        ("push", "refs/tags/v2.0.8-beta.67", "type=ref,event=tag", "v2.0.8-beta.67 latest"),
        ("workflow_dispatch", "refs/heads/master", "type=ref,event=branch", "master"),
        ("push", "refs/heads/x", "type=raw,value=foo\ntype=raw,value=bar", "foo bar"),
        ("push", "refs/heads/x", "type=raw,foo\ntype=raw,bar", "foo bar"),
        ("push", "refs/heads/x", "foo\nbar", "foo bar"),
        ("push", "refs/heads/x", "type=sha", "sha-860c190"),
        ("push", "refs/heads/x", "type=sha,enable=true,priority=100,prefix=sha-,suffix=,format=short", "sha-860c190"),
        ("push", "refs/heads/x", "type=sha,format=long", &format!("sha-{SHA}")),
    ]);
}

#[test]
fn the_tables_of_global_expressions_are_reproduced() {
    reproduces(&[
        ("push", "refs/heads/master", "type=sha,prefix={{branch}}-", "master-860c190"),
        ("push", "refs/heads/my/branch", "type=raw,value=mytag-{{branch}}-{{sha}}", "mytag-my-branch-860c190"),
        ("pull_request", "refs/pull/2/merge", "type=raw,value=x{{branch}}", "x"),
        ("push", "refs/tags/v1.2.3", "type=raw,value=x{{branch}}{{tag}}", "xv1.2.3"),
        ("pull_request", "refs/pull/2/merge", "type=raw,value={{base_ref}}", "master"),
        ("push", "refs/heads/master", "type=raw,value=x{{base_ref}}", "x"),
        ("push", "refs/heads/master", "type=raw,value=latest,enable={{is_default_branch}}", "latest"),
        ("push", "refs/heads/x", "type=raw,value=a,enable={{is_default_branch}}\nb", "b"),
        ("push", "refs/heads/x", "type=raw,value=a,enable={{is_not_default_branch}}", "a"),
        ("schedule", "refs/heads/x", "type=raw,value=latest,enable={{is_default_branch}}", "latest"),
        ("push", "refs/heads/x", "type=raw,value={{date 'YYYYMMDD'}}", "20200110"),
        ("push", "refs/heads/x", "type=raw,\"value={{date 'dddd, MMMM Do YYYY, h:mm:ss a'}}\"", "Friday-January-10th-2020-12-30-00-am"),
        ("push", "refs/heads/x", "type=raw,value={{commit_date 'YYYYMMDD-HHmmss' tz='Asia/Tokyo'}}", "20200110-093000"),
        ("push", "refs/tags/v0.1.2", "type=semver,pattern={{version}}\ntype=semver,pattern={{major}},enable=false", "0.1.2 latest"),
    ]);
}

#[test]
fn flavors_and_priorities_are_those_of_metadata_action() {
    let project = Project::empty();
    let semver = "type=semver,pattern={{version}}\ntype=semver,pattern={{major}}.{{minor}}.{{patch}}";
    for (reference, list, flavor, expected) in [
        ("refs/tags/v1.1.1", semver, "latest=auto\nsuffix=-dev,onlatest=true", "1.1.1-dev latest-dev"),
        ("refs/tags/v1.1.1", semver, "latest=auto\nprefix=foo-,onlatest=true\nsuffix=-dev,onlatest=true", "foo-1.1.1-dev foo-latest-dev"),
        ("refs/tags/v1.1.1", "type=sha\ntype=raw,value=x,priority=950\ntype=ref,event=tag", "latest=auto", "x v1.1.1 sha-860c190"),
        ("refs/tags/sometag", "type=ref,event=tag\ntype=pep440,pattern={{version}}", "latest=false", "sometag"),
        ("refs/tags/release1", r#"type=match,"pattern=^release\d{1,2}""#, "latest=auto", "release1 latest"),
        ("refs/tags/v1.1.1", "type=sha", "prefix=p-", "sha-860c190"),
        ("refs/heads/x", "type=ref,event=branch", "latest=true", "x latest"),
        ("refs/tags/v1.1.1", "type=ref,event=tag", "", "v1.1.1"),
    ] {
        let run = action(&project, "push", reference).args(["--tags", list, "--flavor", flavor]).succeeds();
        assert_eq!(tags(&run), expected, "{reference} {list} {flavor}");
    }
    let head = action(&project, "pull_request", "refs/pull/2/merge").args(["--tags", "type=sha"]);
    let head = head.env("DOCKER_METADATA_PR_HEAD_SHA", "true").env("DOCKER_METADATA_SHORT_SHA_LENGTH", "9").succeeds();
    assert_eq!(tags(&head), "sha-012345678");
}

/// Two services whose lists mix lines and templates.
fn monorepo() -> Project {
    let toml = "registry = \"r.example.com/org\"\nmembers = [\"services/*\"]\nflavor = [\"latest=auto\"]\n\
                tags = [\"sha-{sha}\", \"type=semver,pattern={{version}}\", \"type=ref,event=branch\"]\n\
                [services.web]\ntags = [\"{branch}\", \"v{version}\"]\nflavor = [\"suffix=-alpine\"]\nlabels = { \"org.opencontainers.image.title\" = \"Web\" }\n";
    let project = Project::empty().file("brik.toml", toml).file("LICENSE", crate::labels::MIT);
    let project = project.file("services/api/Dockerfile", "FROM scratch\n").file("services/web/Dockerfile", "FROM scratch\n").commit();
    project.git(["remote", "add", "origin", "git@github.com:org/shop.git"]);
    project
}

#[test]
fn a_git_tag_of_a_service_is_its_version_alone() {
    let project = monorepo();
    let run =
        project.brik(["tags", "--format", "json"]).env("GITHUB_REF", "refs/tags/api/v1.2.3").env("GITHUB_EVENT_NAME", "push").succeeds();
    let report = report(&run);
    let tags = |index: usize| report[index]["tags"].to_string();
    let short = &report[0]["labels"]["org.opencontainers.image.revision"].as_str().unwrap()[..7];
    assert_eq!(tags(0), format!("[\"1.2.3\",\"sha-{short}\",\"latest\"]"));
    assert_eq!(tags(1), "[\"main-alpine\"]");
    assert_eq!(report[0]["labels"]["org.opencontainers.image.version"], "1.2.3");
    assert_eq!(report[1]["labels"].get("org.opencontainers.image.version"), None);
    assert_eq!(report[1]["skipped"][0]["reason"], "no git tag at this commit");
}

#[test]
fn a_person_reads_tags_what_was_skipped_and_labels() {
    let project = monorepo();
    let run = project.brik(["tags", "api"]).succeeds();
    let revision = String::from_utf8(
        std::process::Command::new("git").args(["rev-parse", "HEAD"]).current_dir(project.path("")).output().unwrap().stdout,
    );
    let revision = revision.unwrap().trim().to_owned();
    let text = run.stdout.replace(&revision, "<revision>").replace(&revision[..7], "<sha>");
    insta::assert_snapshot!(text, @r"
    api
      tag     r.example.com/org/api:main
      tag     r.example.com/org/api:sha-<sha>
      skipped type=semver,pattern={{version}} (not on a git tag)
      label   org.opencontainers.image.created=2001-02-03T04:05:06Z
      label   org.opencontainers.image.licenses=MIT
      label   org.opencontainers.image.revision=<revision>
      label   org.opencontainers.image.source=https://github.com/org/shop
      label   org.opencontainers.image.title=api
      label   org.opencontainers.image.url=https://github.com/org/shop
    ");
}

#[test]
fn gitlab_tells_by_its_variables() {
    let project = monorepo();
    let brik = || project.brik(["tags", "api", "--format", "json"]).env("GITLAB_CI", "true").env("CI_COMMIT_SHA", SHA);
    let list = "type=schedule\ntype=edge\ntype=ref,event=branch\ntype=ref,event=tag\ntype=ref,event=pr\ntype=sha";
    for (variables, expected) in [
        (&[("CI_COMMIT_TAG", "v1.2.3"), ("CI_PIPELINE_SOURCE", "push")][..], "v1.2.3 sha-860c190 latest"),
        (&[("CI_COMMIT_BRANCH", "main"), ("CI_DEFAULT_BRANCH", "main"), ("CI_PIPELINE_SOURCE", "push")], "edge main sha-860c190"),
        (&[("CI_COMMIT_BRANCH", "main"), ("CI_PIPELINE_SOURCE", "schedule")], "nightly main sha-860c190"),
        (&[("CI_MERGE_REQUEST_IID", "9"), ("CI_PIPELINE_SOURCE", "merge_request_event")], "pr-9 sha-860c190"),
    ] {
        let run = variables.iter().fold(brik(), |brik, (name, value)| brik.env(name, value)).args(["--tags", list]).succeeds();
        assert_eq!(tags(&run), expected, "{variables:?}");
    }
}

/// Names and values of a file of outputs.
fn outputs(text: &str) -> Vec<(String, String)> {
    let (mut lines, mut outputs) = (text.lines(), Vec::new());
    while let Some((name, delimiter)) = lines.next().and_then(|line| line.split_once("<<")) {
        let value: Vec<&str> = lines.by_ref().take_while(|line| *line != delimiter).collect();
        outputs.push((name.to_owned(), value.join("\n")));
    }
    outputs
}

#[test]
fn a_step_of_github_actions_has_the_outputs_of_metadata_action() {
    let project = Project::empty();
    let file = project.path("output");
    fs::write(&file, "before=1\n").unwrap();
    let list = "type=semver,pattern={{version}}\ntype=sha";
    let brik = || action(&project, "push", "refs/tags/v1.2.3").args(["--tags", list]).env("GITHUB_OUTPUT", &file);
    let _ = brik().succeeds();
    let text = fs::read_to_string(&file).unwrap();
    let outputs = outputs(text.strip_prefix("before=1\n").expect("what was there stays"));
    let value = |name: &str| outputs.iter().find(|(other, _)| other == name).unwrap_or_else(|| panic!("{name} in {text}")).1.clone();
    assert_eq!(value("version"), "1.2.3");
    assert_eq!(value("tags"), "docker.io/name/app:1.2.3\ndocker.io/name/app:sha-860c190");
    assert_eq!(value("tag-names"), "1.2.3\nsha-860c190");
    let labels = value("labels");
    let revision = format!("org.opencontainers.image.revision={SHA}");
    assert!(labels.lines().any(|line| line == revision), "{labels}");
    assert!(labels.lines().any(|line| line == "org.opencontainers.image.created=2020-01-10T00:30:00Z"), "{labels}");
    let json: Value = serde_json::from_str(&value("json")).unwrap();
    assert_eq!(
        (&json["tags"][0], &json["labels"]["org.opencontainers.image.version"]),
        (&"docker.io/name/app:1.2.3".into(), &"1.2.3".into())
    );
    let delimiter = |text: &str| text.lines().find_map(|line| line.strip_prefix("version<<")).map(str::to_owned);
    fs::write(&file, "").unwrap();
    let _ = brik().succeeds();
    assert_ne!(delimiter(&fs::read_to_string(&file).unwrap()), delimiter(&text), "nobody can foresee it");
}

#[test]
fn outputs_of_several_services_are_told_apart_by_name() {
    let project = monorepo();
    let file = project.path("output");
    let _ = project.brik(["tags", "--github-output"]).args([&file]).succeeds();
    let outputs = outputs(&fs::read_to_string(&file).unwrap());
    let value = |name: &str| outputs.iter().find(|(other, _)| other == name).unwrap().1.clone();
    let json: Value = serde_json::from_str(&value("json")).unwrap();
    assert_eq!(json["web"]["tags"][0], "r.example.com/org/web:main-alpine");
    assert_eq!((value("version"), value("tags").lines().count()), (String::new(), 3));
    assert!(!value("labels").contains("image.title="), "they do not agree on it");
}

#[test]
fn lists_of_a_build_take_lines_too() {
    let project = monorepo();
    let run = project.brik(["build", "api", "--format", "json", "--tags", "type=ref,event=branch\ntype=raw,value=b\nc,d"]).succeeds();
    let row = &serde_json::from_str::<Value>(&run.stdout).unwrap()["rows"][0];
    assert_eq!(row["tags"].to_string(), "[\"main\",\"b\",\"c\",\"d\"]");
    let set = project.brik(["tags", "api", "--format", "json", "--set", "tags=type=raw,value=a\nb,c"]).succeeds();
    assert_eq!(tags(&set), "a b c");
}

#[test]
fn what_is_wrong_with_a_line_is_said_at_its_bytes() {
    let project = monorepo();
    let toml = fs::read_to_string(project.path("brik.toml")).unwrap();
    for (line, parts) in [
        ("type=semvr,pattern={{version}}", &["unknown type `semvr`", "did you mean `semver`?", "brik.toml:4"][..]),
        ("type=semver,pattern={{versoin}}", &["unknown expression {{versoin}}", "did you mean `version`?"]),
        ("type=raw,value=x,enable=${{ github.ref == 'x' }}", &["GitHub Actions", "--tags"]),
    ] {
        project.write("brik.toml", toml.replace("type=semver,pattern={{version}}", line));
        project.brik(["check"]).exits(2).says(parts);
        project.brik(["tags"]).exits(2).says(parts);
    }
    project.write("brik.toml", toml);
    project.brik(["tags", "--tags", "type=sha,format=shrt"]).exits(2).says(&["--tags", "unknown format `shrt`", "did you mean `short`?"]);
    project.brik(["tags", "--flavor", "latest=yes"]).exits(2).says(&["--flavor", "auto, true or false"]);
    project.brik(["tags", "--tags", "type=raw,value=-x"]).exits(2).says(&["invalid tag", "128 characters"]);
    project.brik(["tags", "--tags", "type=semver,pattern={{version}}"]).exits(2).says(&["has no tag here", "not on a git tag"]);
    project.brik(["tags", "nobody"]).exits(2).says(&["there is no service \"nobody\""]);
    project.brik(["tags", "--image", "name/app:v1"]).exits(2).says(&["name the repository only"]);
}

#[test]
fn it_is_useful_without_git_and_without_a_file_to_read() {
    let empty = Project::empty();
    empty.brik(["tags"]).exits(2).says(&["brik.toml"]);
    let project = empty.file("brik.toml", "members = [\"a\"]\ntags = [\"sha-{sha}\", \"dev\"]\n").file("a/Dockerfile", "FROM scratch\n");
    let run = project.brik(["tags"]).succeeds();
    assert_eq!(run.stdout, "a\n  tag     docker.io/library/a:dev\n  skipped sha-{sha} (no commit)\n");
    project.brik(["tags", "--github-output", "/nowhere/x"]).exits(1).says(&["cannot write outputs to /nowhere/x"]);
    project.write("brik.toml", "tags = 3\n");
    project.brik(["tags"]).exits(2).says(&["`tags` must be"]);
}

#[test]
fn a_detached_head_and_a_shallow_clone_have_tags_too() {
    let project = monorepo();
    project.git(["tag", "v1.0.0"]);
    project.git(["checkout", "--quiet", "--detach"]);
    let list = ["tags", "api", "--format", "json", "--tags", "type=semver,pattern={{version}}\ntype=ref,event=branch"];
    assert_eq!(tags(&project.brik(list).succeeds()), "1.0.0 latest");
    let clone = project.beside("shallow");
    let origin = format!("file://{}", project.path("").display());
    project.git(["clone", "--quiet", "--depth=1", "--branch=v1.0.0", &origin, clone.to_str().unwrap()]);
    let run = project.brik(["-C", clone.to_str().unwrap()]).args(list).succeeds();
    assert_eq!(tags(&run), "1.0.0 latest");
}

#[test]
fn it_needs_no_home_no_store_and_no_wide_terminal() {
    let project = monorepo();
    let run = project.brik(["tags"]).env("HOME", "/proc/none").env("XDG_CACHE_HOME", "/proc/none").succeeds();
    assert!(run.stdout.contains("tag     r.example.com/org/api:main\n"), "{}", run.stdout);
    let (code, text) = project.brik(["tags", "api", "--tags", "type=semver,pattern={{version}}"]).in_terminal(40, 40).ends();
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("not on a git tag") || text.replace(['\n', ' ', '│'], "").contains("notonagittag"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
}

#[test]
fn a_repository_without_a_commit_has_what_needs_none() {
    let project = monorepo();
    fs::remove_dir_all(project.path(".git")).unwrap();
    project.git(["init", "--quiet", "--initial-branch=main"]);
    let run = project.brik(["tags", "api", "--format", "json", "--tags", "sha-{sha}\ntype=sha\ntype=ref,event=branch"]).succeeds();
    assert_eq!((tags(&run).as_str(), report(&run)[0]["labels"].to_string().as_str()), ("main", "{}"));
}
