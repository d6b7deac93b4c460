//! Calls of Kaniko's executor in scripts: what its flags say of an image.

use serde_json::Value;

use super::inputs::Inputs;
use super::marks::mark;
use super::shell::{self, Values};

/// Bytes; what is longer is no script of a job.
const LONGEST: usize = 64 << 10;

/// Said of a job that names the executor where nothing is read of it.
pub(super) const NOT_UNDERSTOOD: &str = "it calls Kaniko in a way that is not understood";

/// Flags that say how Kaniko works and nothing of the image, or that it is pushed.
const ASIDE: [&str; 36] = [
    "cache-copy-layers",
    "cache-dir",
    "cache-run-layers",
    "cache-ttl",
    "cleanup",
    "compressed-caching",
    "compression",
    "compression-level",
    "credential-helpers",
    "digest-file",
    "force",
    "force-build-metadata",
    "ignore-path",
    "ignore-var-run",
    "image-download-retry",
    "image-fs-extract-retry",
    "image-name-tag-with-digest-file",
    "image-name-with-digest-file",
    "kaniko-dir",
    "log-format",
    "log-timestamp",
    "no-push",
    "no-push-cache",
    "push-ignore-immutable-tag-errors",
    "push-retry",
    "reproducible",
    "single-snapshot",
    "skip-default-registry-fallback",
    "skip-push-permission-check",
    "skip-unused-stages",
    "snapshot-mode",
    "snapshotMode",
    "use-new-run",
    "v",
    "verbosity",
    "whitelist-var-run",
];

/// One call of the executor.
pub(super) struct Execution {
    pub inputs: Inputs,
    /// The directory that it is called in; a mark where the script went elsewhere.
    pub directory: String,
}

/// Where a container sees a directory of the repository, and that directory.
type Mount = (String, String);

/// Whether the executor is named anywhere in a job.
pub(super) fn is_named(job: &Value) -> bool {
    match job {
        Value::String(text) => text.contains("kaniko/executor") || text.contains("kaniko-project/executor"),
        Value::Array(items) => items.iter().any(is_named),
        Value::Object(entries) => entries.values().any(is_named),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The calls in a script: of `/kaniko/executor`, or of its image with `docker run`.
pub(super) fn executions(script: &str, values: Values) -> Vec<Execution> {
    let mut directory = ".".to_owned();
    let mut executions = Vec::new();
    if script.len() > LONGEST || !script.contains("kaniko") {
        return executions;
    }
    for words in shell::commands(script, values) {
        if words[0] == "cd" {
            directory = mark(&words.join(" "));
        }
        let Some(at) = words.iter().position(|word| is_executor(word)) else { continue };
        let (mounts, flags) = (mounts(&words[..at]), &words[at + 1..]);
        if flags.iter().any(|flag| flag.starts_with('-')) {
            executions.push(Execution { inputs: inputs(flags, &mounts), directory: directory.clone() });
        }
    }
    executions
}

/// What the executor's image is given by GitHub as its arguments.
pub(super) fn arguments(text: &str, values: Values) -> Inputs {
    let words: Vec<String> = shell::commands(text, values).into_iter().flatten().collect();
    inputs(&words, &[("/github/workspace".to_owned(), ".".to_owned())])
}

/// `/kaniko/executor`, or an image `…kaniko…/executor:TAG`.
fn is_executor(word: &str) -> bool {
    let name = word.rsplit('/').next().unwrap_or_default();
    let name = name.split([':', '@']).next().unwrap_or_default();
    name == "executor" && word.contains("kaniko") && !word.starts_with('-') && !word.contains(char::is_whitespace)
}

/// What `-v` and `--mount` before the image show of the repository.
fn mounts(words: &[String]) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let (flag, value) = word.split_once('=').unwrap_or((word, words.get(at + 1).map_or("", String::as_str)));
        let pair = match flag {
            "-v" | "--volume" => value.split_once(':').map(|(outside, inside)| (inside.split(':').next().unwrap_or(inside), outside)),
            "--mount" => {
                let field = |names: [&str; 3]| {
                    let mut fields = value.split(',').filter_map(|field| field.split_once('='));
                    fields.find(|(name, _)| names.contains(name)).map(|(_, value)| value)
                };
                field(["target", "dst", "destination"]).zip(field(["source", "src", "source"]))
            }
            _ => None,
        };
        mounts.extend(pair.map(|(inside, outside)| (inside.trim_end_matches('/').to_owned(), outside.trim_end_matches('/').to_owned())));
    }
    mounts
}

/// The executor's flags, each under the name that the inputs of actions have.
fn inputs(flags: &[String], mounts: &[Mount]) -> Inputs {
    let mut inputs = Inputs::default();
    let (mut context, mut below) = (None, None);
    let mut words = flags.iter().peekable();
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else { continue };
        let (flag, value) = match flag.split_once('=') {
            Some((flag, value)) => (flag, value.to_owned()),
            None if flag == "cache" => (flag, "true".to_owned()),
            // It takes no arguments but flags.
            None => (flag, words.next_if(|next| !next.starts_with('-')).cloned().unwrap_or_else(|| "true".to_owned())),
        };
        match flag {
            "context" | "c" => context = Some(value),
            "context-sub-path" => below = Some(value),
            "dockerfile" | "f" => inputs.add("dockerfile", &place(&value, mounts)),
            "destination" | "d" => inputs.add("destination", &value),
            "build-arg" => inputs.add("build-arg", &value),
            "label" => inputs.add("labels", &value),
            "custom-platform" | "customPlatform" => inputs.add("platform", &value),
            "target" | "cache" | "cache-repo" => inputs.add(flag, &value),
            flag if ASIDE.contains(&flag) => {}
            flag => inputs.unknown.push(flag.to_owned()),
        }
    }
    // It is this where nothing else is said; without a container, the directory itself is meant.
    let context = context.or_else(|| (!mounts.is_empty()).then(|| "/workspace".to_owned()));
    let context = context.map(|context| place(&context, mounts)).unwrap_or_else(|| ".".to_owned());
    inputs.add("context", &below.map_or(context.clone(), |below| format!("{context}/{below}")));
    inputs
}

/// A path as the repository has it.
fn place(path: &str, mounts: &[Mount]) -> String {
    let path = path.strip_prefix("dir://").unwrap_or(path);
    let within = mounts.iter().find_map(|(inside, outside)| {
        let rest = path.strip_prefix(inside.as_str()).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
        Some(format!("{outside}{rest}"))
    });
    within.unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(script: &str) -> Vec<String> {
        let value = |name: &str| (name == "PWD").then(|| ".".to_owned());
        let one = |execution: &Execution| format!("{} {:?} {:?}", execution.directory, execution.inputs.texts, execution.inputs.unknown);
        executions(script, &value)
            .iter()
            .map(one)
            .map(|line| line.replace("\\u{f0f0}", "%").replace("\\u{f0f1}", "%").replace(['\u{f0f0}', '\u{f0f1}'], "%"))
            .collect()
    }

    #[test]
    fn flags_are_inputs_however_they_are_written() {
        let script = "mkdir -p /kaniko/.docker\n/kaniko/executor --context services/web -f=x/Dockerfile \\\n  --destination=ghcr.io/acme/web:v1 \
                      -d ghcr.io/acme/web:v2 --build-arg A=1 --build-arg=B='2 3' --target run --cache --cleanup --verbosity debug --odd=1 \
                      && echo done";
        insta::assert_snapshot!(told(script).join("\n"), @r#". {BuildArgs: "A=1\nB=2 3", Cache: "true", Context: "services/web", Destinations: "ghcr.io/acme/web:v1\nghcr.io/acme/web:v2", Dockerfile: "x/Dockerfile", Target: "run"} ["odd"]"#);
    }

    #[test]
    fn a_container_sees_the_repository_where_it_is_mounted() {
        for mount in ["-v $(pwd):/repo:ro", "--volume=\"$PWD\":/repo/", "--mount type=bind,src=$PWD,dst=/repo"] {
            let script = format!("docker run --rm {mount} gcr.io/kaniko-project/executor:v1 --context dir:///repo/a --dockerfile=/repo/D");
            assert_eq!(told(&script), [r#". {Context: "./a", Dockerfile: "./D"} []"#], "{mount}");
        }
        assert_eq!(told("docker run -v $PWD:/workspace gcr.io/kaniko-project/executor --no-push"), [r#". {Context: "."} []"#]);
    }

    #[test]
    fn what_only_names_it_is_no_call() {
        assert_eq!(told("test -x /kaniko/executor\ndocker pull gcr.io/kaniko-project/executor\necho 'see /kaniko/executor'\n"), [""; 0]);
        assert_eq!(told("cd a\n/kaniko/executor -c $X"), [r#"%cd a% {Context: "%X%"} []"#]);
    }
}
