//! A canary in every place where secrets come in; then everything that brik wrote is searched for it.

use std::fs;
use std::path::Path;

use base64::Engine;

use crate::support::{PASSWORD, Project, Registry, USER};

const CANARY: &str = "c4n4ry/+secret value?";

/// The forms in which a secret may not appear anywhere.
fn forms(secret: &str) -> Vec<String> {
    let encoded = base64::engine::general_purpose::STANDARD.encode(secret);
    vec![
        secret.to_owned(),
        encoded.trim_end_matches('=').to_owned(),
        secret.replace('/', "%2F").replace('+', "%2B").replace(' ', "%20").replace('?', "%3F"),
    ]
}

#[track_caller]
fn absent(text: &[u8], secret: &str, place: &str) {
    for form in forms(secret) {
        assert!(!text.windows(form.len()).any(|window| window == form.as_bytes()), "{form:?} is in {place}");
    }
}

/// Searches the files below a directory, unpacked where they are compressed.
#[track_caller]
fn absent_below(directory: &Path, secret: &str) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        absent(path.as_os_str().as_encoded_bytes(), secret, "a name");
        if kind.is_dir() {
            absent_below(&path, secret);
        } else if kind.is_file() {
            let bytes = fs::read(&path).unwrap_or_default();
            // Base images are large, and hold nothing that these tests have put there.
            if bytes.len() < 200_000 {
                absent(&bytes, secret, &path.display().to_string());
                let mut plain = Vec::new();
                let _ = std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(&bytes[..]), &mut plain);
                absent(&plain, secret, &format!("{} (unpacked)", path.display()));
            }
        }
    }
}

/// Builds and pushes with canaries in a secret file, a secret variable and the registry's password; searches everything.
#[track_caller]
fn search(run: &str, progress: &str, code: i32) {
    let registry = Registry::with_password();
    let project = Project::dockerfile(&format!(
        "FROM {{busybox}}\nRUN --mount=type=secret,id=file --mount=type=secret,id=variable,env=VARIABLE {run}\n"
    ));
    let project = project.file("../secret", format!("{CANARY}\n"));
    let image = format!("{}/team/app", registry.host());
    let run = project
        .brik(["build", "--push", "--image", &image, "-vv", "--progress", progress, "--metadata-file", "meta.json", "--format", "json"])
        .args(["--secret", "id=file,src=../secret", "--secret", "id=variable,env=MY_SECRET"])
        .env("MY_SECRET", CANARY)
        .env("REGISTRY_TOKEN", PASSWORD)
        .env("REGISTRY_USERNAME", USER)
        .exits(code);
    for secret in [CANARY, PASSWORD] {
        absent(run.stdout.as_bytes(), secret, "stdout");
        absent(run.stderr.as_bytes(), secret, &format!("stderr: {}", run.stderr));
        absent_below(&project.store(), secret);
        absent_below(&registry.data(), secret);
        absent(&fs::read(project.path("meta.json")).unwrap_or_default(), secret, "the metadata file");
    }
    assert!(run.stderr.contains("was here"), "the RUN has not run: {}", run.stderr);
}

const TELL: &str =
    "echo was here; cat /run/secrets/file; echo $VARIABLE; base64 < /run/secrets/file; echo -n $VARIABLE | base64; set -x; : $VARIABLE";

#[test]
fn a_run_that_prints_its_secrets_is_redacted_in_plain_progress() {
    search(TELL, "plain", 0);
}

#[test]
fn a_run_that_prints_its_secrets_is_redacted_in_events() {
    search(TELL, "json", 0);
}

#[test]
fn a_run_that_fails_with_its_secrets_is_redacted() {
    search(&format!("{TELL}; exit 3"), "plain", 1);
}

#[test]
fn a_run_that_fails_quietly_with_its_secrets_is_redacted() {
    search(&format!("{TELL}; exit 3"), "quiet", 1);
}

#[test]
fn a_secret_s_value_is_no_part_of_the_key() {
    let project = Project::dockerfile("FROM {busybox}\nRUN --mount=type=secret,id=s wc -c < /run/secrets/s\n");
    let build = |value: &str| project.build(["--secret", "id=s,env=S"]).env("S", value).succeeds();
    let first = build("one-secret-value");
    let second = build("another-secret-value");
    assert!(second.steps_run().is_empty() && first.digests() == second.digests());
}

#[test]
fn a_secret_is_in_no_argument_of_a_process_that_brik_starts() {
    let project = Project::dockerfile("FROM {busybox}\nRUN --mount=type=secret,id=s cat /proc/[0-9]*/cmdline > /out\n");
    let _ = project.build(["--secret", "id=s,env=S"]).env("S", CANARY).succeeds();
    absent(project.built().text("/out").as_bytes(), CANARY, "the arguments of a process");
}

#[test]
fn services_have_secrets_of_their_own() {
    let dockerfile =
        "FROM {busybox}\nRUN --mount=type=secret,id=t,required=false echo $0 SERVICE $(wc -c < /run/secrets/t 2>/dev/null || echo none)\n";
    let project = Project::monorepo(
        "members = ['services/*']\ntags = ['x']\n[services.a]\nsecrets = [{ id = 't', env = 'A' }]\n[services.b]\nsecrets = [{ id = 't', env = 'B' }]\n",
    );
    let project = ["a", "b", "c"]
        .into_iter()
        .fold(project, |project, name| project.file(&format!("services/{name}/Dockerfile"), dockerfile.replace("SERVICE", name)));
    let run = project.brik(["build", "--progress", "plain"]).env("A", "four").env("B", "seven77").succeeds();
    run.says(&["a 4", "b 7", "c none"]);
}

#[test]
fn what_is_made_without_a_secret_is_not_taken_for_what_is_made_with_it() {
    let registry = Registry::start();
    let toml = format!("registry = \"{}/team\"\nmembers = [\"*\"]\ntags = [\"v1\"]\n", registry.host());
    let dockerfile =
        "FROM {busybox}\nRUN --mount=type=secret,id=tok cat /run/secrets/tok > /got 2>/dev/null || echo none > /got\nRUN cat /got\n";
    let project = Project::empty().file("brik.toml", &toml).file("a/Dockerfile", dockerfile).file("b/Dockerfile", dockerfile);
    let push = |store: &str| {
        project.brik(["build", "--push", "--progress", "plain"]).store(&project.beside(store)).env("A", "of-a").env("B", "of-b")
    };
    push("one").succeeds().says(&["none"]);
    let secret = |service: &str, env: &str| format!("[services.{service}]\nsecrets = [{{ id = \"tok\", env = \"{env}\" }}]\n");
    // Now one of them is given it, then the other another one: neither gets what was made without it, nor with the other's.
    project.write("brik.toml", toml.clone() + &secret("a", "A"));
    for store in ["one", "two"] {
        let run = push(store).succeeds();
        let digests = run.digests();
        assert_ne!(digests[0], digests[1], "{run:?}");
    }
    project.write("brik.toml", toml.clone() + &secret("a", "A") + &secret("b", "B"));
    let without = push("three").succeeds();
    let digests = without.digests();
    assert_ne!(digests[0], digests[1], "{without:?}");
}

#[test]
fn a_run_that_fails_names_the_secrets_that_it_was_not_given() {
    let mounts = "--mount=type=secret,id=given --mount=type=secret,id=npm_tokn --mount=type=secret,id=other,env=OTHER";
    let project = Project::dockerfile(&format!("FROM {{busybox}}\nRUN {mounts} cat /run/secrets/npm_token\n"));
    let run = project.build(["--secret", "id=given,env=S"]).env("S", "value").exits(1);
    run.says(&["it mounts secret \"npm_tokn\", \"other\"", "pass --secret id=npm_tokn,src=FILE"]);
    assert!(!run.stderr.contains("\"given\""), "{}", run.stderr);
}

#[test]
fn a_device_is_no_secret() {
    let project = Project::dockerfile("FROM {busybox}\nRUN --mount=type=secret,id=t true\n");
    project.build(["--secret", "id=t,src=/dev/zero"]).exits(2).says(&["/dev/zero", "device"]);
}

/// A service with a RUN that takes what it can get, one that copies from that, and one that has nothing to do with it.
fn with_a_token(registry: &Registry) -> Project {
    let toml =
        format!("registry = \"{}/team\"\nmembers = [\"*\"]\ntags = [\"v1\"]\n[services.app]\nsecrets = [\"token\"]\n", registry.host());
    let take = "RUN --mount=type=secret,id=token cat /run/secrets/token > /got 2>/dev/null || echo public > /got";
    Project::empty()
        .file("brik.toml", toml)
        .file(
            "app/Dockerfile",
            format!("FROM {{busybox}} AS make\n{take}\nFROM {{busybox}}\nCOPY --from=make /got /got\nRUN echo >> /got\n"),
        )
        .file("other/Dockerfile", "FROM {busybox}\nRUN echo other > /other\n")
}

#[test]
fn what_is_made_without_a_secret_that_is_missing_here_is_nobody_elses() {
    let registry = Registry::start();
    let project = with_a_token(&registry);
    let push = |store: &str| project.brik(["build", "--push", "--progress", "json"]).store(&project.beside(store));
    let without = push("a").succeeds();
    assert!(without.stderr.contains("$TOKEN is not set; what RUNs that mount it make without it is not remembered"), "{}", without.stderr);
    assert_eq!(without.steps_run().len(), 4);
    // Neither by this store nor by another.
    let secret = "t0ken-of-somebody";
    let elsewhere = push("b").env("TOKEN", secret).succeeds();
    let here = push("a").env("TOKEN", secret).succeeds();
    assert_eq!(elsewhere.steps_run().len(), 3, "what has nothing to do with it is known: {:?}", elsewhere.steps_run());
    assert_eq!(here.digests(), elsewhere.digests());
    assert_ne!(here.digests()[0], without.digests()[0]);
    // What is made with it is for all, as its value is no part of the key.
    let forked = push("c").succeeds();
    assert_eq!((forked.steps_run().len(), forked.digests()), (0, here.digests()));
}

#[test]
fn what_is_made_of_the_same_content_is_known_whatever_its_secret() {
    let registry = Registry::start();
    let project = with_a_token(&registry);
    let build = || project.brik(["build", "--no-remote-cache", "--progress", "json"]);
    let made = build().env("TOKEN", "public\n").succeeds();
    assert_eq!(made.steps_run().len(), 4);
    project.write("app/Dockerfile", fs::read_to_string(project.path("app/Dockerfile")).unwrap().replace("2>/dev/null", "2> /dev/null"));
    for _ in 0..2 {
        let without = build().succeeds();
        assert_eq!(without.steps_run().len(), 1, "the RUN alone, each time: {:?}", without.steps_run());
    }
}

#[test]
fn a_secrets_file_cannot_be_written_to() {
    let run = "RUN --mount=type=secret,id=s,mode=0666 ! echo more >> /run/secrets/s";
    let project = Project::dockerfile(&format!("FROM {{busybox}}\n{run}\n")).file("../secret", "a secret");
    let secret = format!("id=s,src={}", project.path("../secret").display());
    let _ = project.brik(["build", "--image", "localhost/app", "--secret", &secret]).succeeds();
}

#[test]
fn a_secret_that_is_listed_and_not_there_is_told_with_its_variable() {
    let toml = "members = ['app']\ntags = ['x']\n[services.app]\nsecrets = ['npm_token', { id = 'other', env = 'OTHER' }]\n";
    let project = Project::monorepo(toml);
    let build = |mounts: &str, rest: &str| {
        project.write("app/Dockerfile", format!("FROM {{busybox}}\nRUN {mounts} {rest}\n"));
        project.brik(["build", "--progress", "quiet"]).exits(1)
    };
    let required = build("--mount=type=secret,id=npm_token,required=true", "true");
    required.says(&["secret \"npm_token\" is required here and was not given", "variable NPM_TOKEN, which it is taken from, is not set"]);
    assert!(!required.has_said("list it in"), "{}", required.stderr);
    let failed = build("--mount=type=secret,id=other --mount=type=secret,id=unheard", "exit 3");
    failed.says(&["it mounts secret \"other\", not given in this build: the variable OTHER, which it is taken from, is not set"]);
    failed.says(&["and secret \"unheard\", not given in this build: pass --secret id=unheard,src=FILE or list it in `secrets`"]);
}

#[test]
fn a_secrets_file_that_is_not_there_matters_where_something_runs() {
    let toml = "members = [\"app\"]\ntags = [\"v1\"]\n[services.app]\nsecrets = [{ id = \"netrc\", file = \"netrc\" }]\n";
    let dockerfile = "FROM {busybox}\nRUN --mount=type=secret,id=netrc test -s /run/secrets/netrc\n";
    let project = Project::monorepo(toml).file("app/Dockerfile", dockerfile).file("netrc", "machine x\n");
    let first = project.brik(["build"]).succeeds();
    fs::remove_file(project.path("netrc")).unwrap();
    assert_eq!(project.brik(["build"]).succeeds().digests(), first.digests());
    project.brik(["build", "--no-cache"]).exits(2).says(&["service app: secret \"netrc\": cannot read", "netrc"]);
}

#[test]
fn check_tells_ids_of_secrets_that_are_probably_wrong() {
    let toml = "members = ['app']\ntags = ['x']\n[services.app]\nsecrets = ['npm_token']\n";
    let mounts = ["id=npm_tokn", "id=npm_token", "id=optional", "id=${anything}", "id=key,required=true"]
        .map(|m| format!("--mount=type=secret,{m}"));
    let project = Project::monorepo(toml).file("app/Dockerfile", format!("FROM scratch\nARG anything=x\nRUN {} true\n", mounts.join(" ")));
    let run = project.brik(["check"]).succeeds();
    run.says(&["app is given no secret \"npm_tokn\"", "did you mean `npm_token`?", "app/Dockerfile:3"]);
    run.says(&["app is given no secret \"key\"", "list it in [services.app], or give it with `--secret id=key`"]);
    assert_eq!(run.stderr.matches("is given no secret").count(), 2, "{}", run.stderr);
}
