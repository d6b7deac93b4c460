//! The GitHub Action, the reusable workflow, the GitLab template and the pre-commit hooks: each is linted, and what is a script is run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Map, Value};

use crate::support::{PASSWORD, Project, Registry, USER, repository, tools};

const ACTION: &str = ".github/actions/brik/action.yml";
const WORKFLOW: &str = ".github/workflows/brik-build.yml";
const GITLAB: &str = ".gitlab/brik.gitlab-ci.yml";
const HOOKS: &str = ".pre-commit-hooks.yaml";

/// The documents of a file.
fn documents(path: &str) -> Vec<Value> {
    let text = fs::read_to_string(repository().join(path)).expect(path);
    text.split("\n---\n").map(|part| serde_saphyr::from_str(part).unwrap_or_else(|error| panic!("{path}: {error}"))).collect()
}

fn document(path: &str) -> Value {
    documents(path).remove(0)
}

fn table(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("not a table: {value}"))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What follows `prefix` in all expressions of a file, as `image_name` of `${{ inputs.image_name }}`.
fn named(path: &str, open: &str, prefix: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(repository().join(path)).unwrap();
    let expressions = text.split(open).skip(1).filter_map(|rest| rest.split(['}', ']']).next()).map(str::trim).map(str::to_owned);
    expressions.filter_map(|expression| expression.strip_prefix(prefix).map(str::to_owned)).collect()
}

fn keys(value: &Value) -> BTreeSet<String> {
    table(value).keys().cloned().collect()
}

/// The program as tests run it.
fn brik() -> std::ffi::OsString {
    std::env::var_os("BRIK_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_brik").into())
}

/// Expects a shell to take a script, and `brik build` to have every flag that a script gives it.
#[track_caller]
fn lint_script(shell: &str, script: &str) {
    let mut check = Command::new(shell).arg("-n").stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut check.stdin.take().unwrap(), script.as_bytes()).unwrap();
    assert!(check.wait().unwrap().success(), "{shell} -n:\n{script}");
    assert!(!script.contains("${{") && !script.contains("$[["), "what a user gives is a variable, never part of a script:\n{script}");
    let help = tools::output(brik().to_str().unwrap(), &["build", "--help"]);
    let known: BTreeSet<&str> =
        help.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').filter(|word| word.starts_with("--")).collect();
    for line in script.lines().filter(|line| line.contains("arguments") || line.contains("set -- ")) {
        let words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        for flag in words.filter(|word| word.len() > 2 && word.starts_with("--")) {
            assert!(known.contains(flag), "brik build has no {flag}");
        }
    }
}

#[test]
fn the_action_declares_what_it_uses_and_uses_what_it_declares() {
    let action = document(ACTION);
    assert_eq!(keys(&action), ["description", "inputs", "name", "outputs", "runs"].map(str::to_owned).into());
    assert_eq!(action["runs"]["using"], "composite");
    assert_eq!(named(ACTION, "${{", "inputs."), keys(&action["inputs"]));
    for (name, input) in table(&action["inputs"]) {
        assert_eq!(keys(input), ["default", "description"].map(str::to_owned).into(), "{name}");
    }
    let steps = action["runs"]["steps"].as_array().unwrap();
    for step in steps {
        let (name, script) = (&step["name"], step["run"].as_str().expect("a script"));
        assert_eq!(step["shell"], "bash", "{name}");
        lint_script("bash", script);
        for variable in step.get("env").map(keys).unwrap_or_default() {
            // These are brik's own to read.
            let read_by_brik = ["REGISTRY_USERNAME", "REGISTRY_TOKEN", "GITHUB_TOKEN"].contains(&variable.as_str());
            assert!(
                read_by_brik || script.contains(&format!("${variable}")) || script.contains(&format!("${{{variable}")),
                "{name}: {variable}"
            );
            assert!(!variable.starts_with("BRIK_"), "{variable} would be a key of brik.toml");
        }
    }
    for output in named(ACTION, "${{", "steps.") {
        let [step, "outputs", name] = output.split('.').collect::<Vec<_>>()[..] else { panic!("{output}") };
        let script = steps.iter().find(|other| other["id"] == step).expect(step)["run"].as_str().unwrap();
        assert!(script.contains(&format!("{name}=")) || script.contains(&format!("{name}<<")), "{output} is never written");
    }
    assert!(repository().join(ACTION).parent().unwrap().join("../../../Cargo.toml").is_file(), "where it is installed from");
}

#[test]
fn the_reusable_workflow_has_the_inputs_and_secrets_of_kanikos() {
    let workflow = document(WORKFLOW);
    let call = &workflow["on"]["workflow_call"];
    let inputs = keys(&call["inputs"]);
    for name in ["image_name", "context", "dockerfile", "tags", "build_args", "registry", "cache_enabled", "cache_repo"] {
        assert!(inputs.contains(name), "{name}");
    }
    assert_eq!(keys(&call["secrets"]), ["REGISTRY_TOKEN", "REGISTRY_USERNAME"].map(str::to_owned).into());
    assert_eq!(named(WORKFLOW, "${{", "inputs."), inputs);
    assert_eq!(named(WORKFLOW, "${{", "secrets."), keys(&call["secrets"]));
    for (name, input) in table(&call["inputs"]) {
        assert!(["string", "boolean", "number"].contains(&input["type"].as_str().unwrap_or_default()), "{name} has no type");
        assert!(input.get("default").is_some() != (input["required"] == true), "{name} is required or has a default");
    }
    let action = document(ACTION);
    for (name, job) in table(&workflow["jobs"]) {
        assert!(job.get("runs-on").is_some(), "{name}");
        for step in job["steps"].as_array().unwrap() {
            if text(&step["uses"]).ends_with(".github/actions/brik") {
                assert!(keys(&step["with"]).is_subset(&keys(&action["inputs"])), "{:?}", keys(&step["with"]));
            }
        }
        for output in table(&job["outputs"]).values() {
            let output = text(output);
            let name = output.trim_end_matches(" }}").rsplit('.').next().unwrap();
            assert!(action["outputs"].get(name).is_some(), "{output}");
        }
    }
    if tools::installed(&["actionlint"]) {
        tools::output("actionlint", &[repository().join(WORKFLOW).to_str().unwrap()]);
    }
}

#[test]
fn the_gitlab_template_declares_what_it_uses_and_uses_what_it_declares() {
    let [spec, jobs] = &documents(GITLAB)[..] else { panic!("a header and jobs") };
    assert_eq!(named(GITLAB, "$[[", "inputs."), keys(&spec["spec"]["inputs"]));
    for job in table(jobs).values() {
        for script in job["script"].as_array().unwrap() {
            let script = script.as_str().unwrap();
            lint_script("sh", script);
            for variable in keys(&job["variables"]) {
                assert!(script.contains(&format!("${variable}")) || script.contains(&format!("${{{variable}")), "{variable}");
            }
        }
    }
}

#[test]
fn pre_commit_hooks_run_a_command_that_there_is() {
    let hooks = document(HOOKS);
    let project = Project::empty().file("brik.toml", "members = [\"a\"]\n").file("a/Dockerfile", "FROM scratch\n");
    for hook in hooks.as_array().unwrap() {
        for key in ["id", "name", "description", "entry", "language", "files"] {
            assert!(hook[key].is_string(), "{key} of {hook}");
        }
        let words: Vec<&str> = hook["entry"].as_str().unwrap().split(' ').collect();
        assert_eq!((words[0], &hook["pass_filenames"]), ("brik", &Value::Bool(false)));
        let _ = project.brik(&words[1..]).succeeds();
        let files = regex_lite::Regex::new(hook["files"].as_str().unwrap()).unwrap();
        for (path, wanted) in
            [("brik.toml", true), ("a/Dockerfile.dev", true), ("x/.dockerignore", true), ("brik.lock", true), ("src/main.rs", false)]
        {
            assert_eq!(files.is_match(path), wanted, "{path}");
        }
    }
}

/// What GitHub puts in the place of an expression of the action.
fn expand(text: &str, inputs: &BTreeMap<String, String>, outputs: &BTreeMap<String, String>) -> String {
    let mut out = text.to_owned();
    while let Some((before, rest)) = out.split_once("${{") {
        let (expression, after) = rest.split_once("}}").expect("an expression ends");
        let value = match expression.trim() {
            "github.action_path" => repository().join(ACTION).parent().unwrap().display().to_string(),
            "github.token" => "none".to_owned(),
            known => match known.split_once('.').expect(known) {
                ("inputs", name) => inputs[name].clone(),
                ("steps", name) => outputs.get(name).cloned().unwrap_or_default(),
                _ => panic!("{known}"),
            },
        };
        out = format!("{before}{value}{after}");
    }
    out
}

/// The lines of `$GITHUB_OUTPUT`, `name=value` or `name<<end`.
fn outputs(file: &Path, step: &str, into: &mut BTreeMap<String, String>) {
    let text = fs::read_to_string(file).unwrap_or_default();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let (name, value) = match line.split_once("<<") {
            Some((name, end)) if !name.contains('=') => {
                (name, lines.by_ref().take_while(|line| *line != end).collect::<Vec<_>>().join("\n"))
            }
            _ => line.split_once('=').map(|(name, value)| (name, value.to_owned())).expect(line),
        };
        into.insert(format!("{step}.outputs.{name}"), value);
    }
}

fn shell(program: &str, args: &[&str], project: &Project) -> Command {
    let mut command = Command::new(program);
    command.args(args).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).stdin(Stdio::null());
    command.env("HOME", project.home()).env("XDG_CACHE_HOME", project.home().join("cache"));
    command
}

#[track_caller]
fn succeeds(mut command: Command) -> String {
    let output = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(!stdout.contains(PASSWORD) && !stderr.contains(PASSWORD), "the password is told");
    format!("{stdout}\n{stderr}")
}

/// Runs the steps of the action as GitHub does, with a brik that is there already.
fn act(project: &Project, given: &[(&str, &str)]) -> BTreeMap<String, String> {
    let action = document(ACTION);
    let mut inputs: BTreeMap<String, String> =
        table(&action["inputs"]).iter().map(|(name, input)| (name.clone(), text(&input["default"]))).collect();
    inputs.insert("brik".to_owned(), brik().into_string().unwrap());
    inputs.extend(given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let mut known = BTreeMap::new();
    for step in action["runs"]["steps"].as_array().unwrap() {
        let (script, output) = (project.beside("script.sh"), project.beside("output"));
        fs::write(&script, step["run"].as_str().unwrap()).unwrap();
        fs::write(&output, "").unwrap();
        let directory = step.get("working-directory").map_or_else(|| ".".to_owned(), |directory| expand(&text(directory), &inputs, &known));
        let mut bash = shell("bash", &["--noprofile", "--norc", "-eo", "pipefail", script.to_str().unwrap()], project);
        bash.current_dir(project.path(&directory)).env("RUNNER_TEMP", project.beside("")).env("GITHUB_OUTPUT", &output);
        for (name, value) in step.get("env").map(table).into_iter().flatten() {
            bash.env(name, expand(&text(value), &inputs, &known));
        }
        succeeds(bash);
        outputs(&output, step.get("id").and_then(Value::as_str).unwrap_or_default(), &mut known);
    }
    known
}

fn project() -> Project {
    let dockerfile = "FROM scratch\nARG A\nARG B\nLABEL a=$A b=$B\nCOPY a /a\n";
    Project::empty().file("services/api/Dockerfile", dockerfile).file("services/api/a", "a").commit()
}

#[test]
fn the_action_pushes_an_image() {
    let registry = Registry::with_password();
    let project = project();
    let image = format!("{}/org/api", registry.host());
    let cache = format!("{}/org/cache", registry.host());
    let mut inputs = vec![
        ("image_name", image.as_str()),
        ("context", "services/api"),
        ("dockerfile", "services/api/Dockerfile"),
        ("tags", "v1,v1.2\nsha-0123456\n"),
        ("build_args", "A=one two\r\nB=$(touch oops)\n\n"),
        ("registry", registry.host()),
        ("registry_username", USER),
        ("registry_token", PASSWORD),
        ("cache_repo", cache.as_str()),
    ];
    let outputs = act(&project, &inputs);
    assert_eq!(registry.tags("org/api"), ["sha-0123456", "v1", "v1.2"]);
    assert!(!registry.tags("org/cache").is_empty(), "the cache is given");
    let digest = &outputs["build.outputs.digest"];
    assert!(digest.starts_with("sha256:") && outputs["build.outputs.images"].ends_with(&format!("@{digest}")), "{outputs:?}");
    let metadata: Value = serde_json::from_str(&outputs["build.outputs.metadata"]).unwrap();
    assert_eq!(metadata["containerimage.digest"], digest.as_str());
    assert!(!project.path("oops").exists());

    inputs.extend([("cache_enabled", "false"), ("tags", "plain"), ("image_name", "org/uncached"), ("cache_repo", "")]);
    act(&project, &inputs);
    assert_eq!((registry.tags("org/uncached"), registry.tags("org/uncached-cache")), (vec!["plain".to_owned()], vec![]));
}

#[test]
fn the_action_pushes_the_services_of_brik_toml() {
    let registry = Registry::with_password();
    let project = project().file("brik.toml", "registry = \"127.0.0.1:1/org\"\nmembers = [\"services/*\"]\n");
    let outputs = act(
        &project,
        &[("services", "api"), ("registry", registry.host()), ("registry_username", USER), ("registry_token", PASSWORD), ("tags", "v1")],
    );
    assert_eq!(registry.tags("org/api"), ["v1"]);
    assert!(outputs["build.outputs.images"].contains("/org/api") && !outputs.contains_key("build.outputs.digest"), "{outputs:?}");
}

#[test]
fn the_gitlab_job_pushes_an_image() {
    let registry = Registry::with_password();
    let project = project();
    let [spec, jobs] = &documents(GITLAB)[..] else { panic!("a header and jobs") };
    let job = table(jobs).values().next().unwrap();
    let given = [("image_name", "org/api"), ("context", "services/api"), ("tags", "v1,v2"), ("build_args", "A=one two\nB=2")];
    let bin = project.beside("bin");
    fs::create_dir_all(&bin).unwrap();
    std::os::unix::fs::symlink(brik(), bin.join("brik")).unwrap();
    for script in job["script"].as_array().unwrap() {
        let mut sh = shell("sh", &["-c", script.as_str().unwrap()], &project);
        let path =
            std::env::join_paths(std::iter::once(bin.clone()).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap()))).unwrap();
        sh.current_dir(project.path("")).env("PATH", path);
        for (name, value) in table(&job["variables"]) {
            let value = text(value);
            let input = value.trim_start_matches("$[[ inputs.").trim_end_matches(" ]]").to_owned();
            let default = || text(&spec["spec"]["inputs"][input.as_str()]["default"]);
            sh.env(name, given.iter().find(|(name, _)| *name == input).map_or_else(default, |(_, value)| (*value).to_owned()));
        }
        sh.env("CI_REGISTRY", registry.host()).env("CI_REGISTRY_USER", USER).env("CI_REGISTRY_PASSWORD", PASSWORD);
        succeeds(sh);
    }
    assert_eq!(registry.tags("org/api"), ["v1", "v2"]);
    assert!(project.path("brik-metadata.json").is_file());
}
