//! What brik.toml says of a build and of a service, as it is found in the image.

use serde_json::json;

use brik::oci::Platform;

use crate::support::{Image, Project};

/// The image of the service `app` with this brik.toml and Dockerfile.
#[track_caller]
fn image(toml: &str, project: impl FnOnce(Project) -> Project) -> Image {
    let project = project(Project::monorepo(&format!("members = [\"app\"]\ntags = [\"v1\"]\n{toml}")));
    let _ = project.brik(["build", "app", "--output", &format!("oci:{}", project.out().display())]).env("TOKEN", "a-token").succeeds();
    project.built()
}

fn dockerfile(text: &str) -> impl FnOnce(Project) -> Project {
    move |project| project.file("app/Dockerfile", text)
}

#[test]
fn arguments_and_labels_of_all_and_of_one_service_are_laid_over_each_other() {
    let toml = "[args]\nA = \"all\"\nB = \"all\"\n[labels]\nl = \"all\"\nm = \"all\"\n[services.app]\nargs = { B = \"own\" }\nlabels = { m = \"own\" }";
    let config = image(toml, dockerfile("FROM scratch\nARG A\nARG B\nENV BOTH=$A-$B\n")).config["config"].clone();
    assert!(config["Env"].as_array().unwrap().contains(&json!("BOTH=all-own")), "{config}");
    assert_eq!((&config["Labels"]["l"], &config["Labels"]["m"]), (&"all".into(), &"own".into()));
}

#[test]
fn an_argument_that_nothing_reads_is_told_with_its_name() {
    let project = Project::dockerfile("ARG BEFORE\nFROM scratch\nARG inside\nONBUILD ARG LATER\n");
    let given = |names: &[&str]| project.build(names.iter().map(|name| format!("--build-arg={name}=v"))).succeeds();
    assert!(!given(&["BEFORE", "inside", "LATER", "TARGETARCH", "HTTP_PROXY"]).stderr.contains("--build-arg"));
    let run = given(&["BEFORE", "Inside", "MORE"]);
    assert!(run.stderr.contains("--build-arg Inside, MORE are not used"), "{run:?}");
}

#[test]
fn a_target_and_another_dockerfile_are_chosen() {
    let toml = "[services.app]\ndockerfile = \"Other.Dockerfile\"\ntarget = \"first\"";
    let files = |project: Project| {
        project
            .file("app/Dockerfile", "FROM scratch\n")
            .file("app/Other.Dockerfile", "FROM scratch AS first\nENV A=first\nFROM first\nENV A=last\n")
    };
    assert!(image(toml, files).config["config"]["Env"].as_array().unwrap().contains(&json!("A=first")));
}

#[test]
fn a_dockerfile_in_lower_case_is_found_where_there_is_no_other() {
    let project = Project::dockerfile("FROM scratch\nCOPY a /upper\n").file("dockerfile", "FROM scratch\nCOPY a /lower\n").file("a", "a");
    assert_eq!(project.image::<&str>([]).paths(), ["/upper"]);
    std::fs::remove_file(project.path("Dockerfile")).unwrap();
    std::fs::remove_dir_all(project.out()).unwrap();
    assert_eq!(project.image::<&str>([]).paths(), ["/lower"]);
}

#[test]
fn a_named_context_is_a_directory_of_the_repository() {
    let toml = "[services.app.contexts]\nshared = \"libs/shared\"";
    let files = |project: Project| {
        project.file("app/Dockerfile", "FROM scratch\nCOPY --from=shared lib.txt /\n").file("libs/shared/lib.txt", "shared")
    };
    assert_eq!(image(toml, files).text("/lib.txt"), "shared");
}

#[test]
fn a_secret_comes_from_the_variable_of_its_name_in_capitals() {
    let text = "FROM {busybox}\nRUN --mount=type=secret,id=token wc -c < /run/secrets/token > /out\n";
    assert_eq!(image("[services.app]\nsecrets = [\"token\"]", dockerfile(text)).text("/out").trim(), "7");
}

#[test]
fn the_ignore_file_of_a_dockerfile_wins_over_that_of_the_context() {
    let files = |project: Project| {
        let project = project.file("app/Dockerfile", "FROM scratch\nCOPY . /\n").file("app/.dockerignore", "a\n");
        project.file("app/Dockerfile.dockerignore", "b\n").file("app/a", "a").file("app/b", "b")
    };
    let image = image("", files);
    assert!(image.has("/a") && !image.has("/b"), "{:?}", image.paths());
}

#[test]
fn times_of_files_are_kept_where_asked() {
    let files = |project: Project| {
        let project = project.file("app/Dockerfile", "FROM scratch\nCOPY old /old\n").file("app/old", "old");
        let old = std::fs::File::options().append(true).open(project.path("app/old")).unwrap();
        old.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000)).unwrap();
        project
    };
    assert_eq!(image("[build]\ntimestamps = \"preserve\"", files).entry("/old").mtime, 1_000_000_000);
}

#[test]
fn the_format_of_docker_has_its_media_types() {
    let manifest = image("[build]\nformat = \"docker\"", dockerfile("FROM scratch\nENV A=1\n")).manifest;
    assert_eq!(manifest["mediaType"], "application/vnd.docker.distribution.manifest.v2+json");
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.docker.container.image.v1+json");
}

#[test]
fn certificates_are_there_during_a_run_and_not_in_the_image() {
    let files = |project: Project| {
        let text = "FROM {busybox}\nRUN cat /etc/ssl/certs/ca-certificates.crt > /seen\n";
        project.file("app/Dockerfile", text).file("ca.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    };
    let image = image("[build]\nca_certs = \"ca.pem\"", files);
    assert!(image.text("/seen").contains("AAAA"));
    assert!(!image.has("/etc/ssl/certs/ca-certificates.crt"), "{:?}", image.paths());
}

#[test]
fn certificates_are_no_file_that_a_link_of_the_repository_leads_to() {
    let project = Project::monorepo("members = [\"app\"]\ntags = [\"v1\"]\n[build]\nca_certs = \"ca.pem\"");
    let project = project.file("app/Dockerfile", "FROM {busybox}\nRUN cat /etc/ssl/certs/ca-certificates.crt > /seen\n");
    let (link, secret) = (project.path("ca.pem"), project.beside("secret"));
    std::fs::write(&secret, "of the host\n").unwrap();
    std::os::unix::fs::symlink(&secret, &link).unwrap();
    for command in ["build", "check"] {
        project.brik([command]).exits(2).says(&["the bundle ca.pem leaves the repository through a symbolic link", "brik.toml:5"]);
    }
    // brik.toml may name it.
    let absolute = format!("build.ca_certs={}", secret.display());
    let _ = project.brik(["build", "--set", &absolute, "--output", &format!("oci:{}", project.out().display())]).succeeds();
    assert_eq!(project.built().text("/seen"), "of the host\n");
    // A RUN that has no bundle to see fails where it stands.
    std::fs::remove_file(&link).unwrap();
    project.brik(["build", "--no-cache"]).exits(1).says(&["ca.pem", "No such file", "app/Dockerfile:2"]);
}

#[test]
fn a_run_has_as_many_processes_as_brik_toml_says() {
    let project = Project::monorepo("members = [\"app\"]\ntags = [\"v1\"]\n[build]\nprocesses = 30");
    let count = "i=0; while [ $i -lt 400 ]; do sleep 20 & i=$((i + 1)); done; cat /proc/sys/kernel/pid_max; ulimit -u";
    let project = project.file("app/Dockerfile", format!("FROM {{busybox}}\nRUN {count}\n"));
    let run = project.brik(["build", "--progress", "plain"]).run();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let number = |n| kernel.split('.').nth(n).and_then(|number| number.parse::<u32>().ok()).unwrap_or(0);
    if (number(0), number(1)) < (6, 14) && run.code == Some(0) {
        return crate::support::tools::skipped("before Linux 6.14 the number depends on processors and rights");
    }
    assert_eq!(run.code, Some(1), "{run:?}");
    run.says(&["can't fork: Resource temporarily unavailable", "app/Dockerfile:2"]);
}

#[test]
fn an_image_for_several_platforms_is_an_index() {
    let project = Project::monorepo("members = [\"app\"]\ntags = [\"v1\"]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]");
    let project = project.file("app/Dockerfile", "FROM scratch\nARG TARGETARCH\nENV ARCH=$TARGETARCH\nCOPY a /a\n").file("app/a", "a");
    let _ = project.brik(["build", "--push", "--output", &format!("oci:{}", project.out().display())]).succeeds();
    let json = |path: &str| serde_json::from_slice::<serde_json::Value>(&std::fs::read(project.out().join(path)).unwrap()).unwrap();
    let digest = json("index.json")["manifests"][0]["digest"].as_str().unwrap().replace(':', "/");
    let index = json(&format!("blobs/{digest}"));
    let architectures: Vec<&str> =
        index["manifests"].as_array().unwrap().iter().map(|manifest| manifest["platform"]["architecture"].as_str().unwrap()).collect();
    assert_eq!(architectures, ["amd64", "arm64"]);
}

#[test]
fn triggers_of_a_base_run_in_the_image_that_stands_on_it() {
    let project = Project::monorepo("members = [\"*\"]\ntags = [\"v1\"]");
    let project = project.file("base/Dockerfile", "FROM {busybox}\nONBUILD COPY own /own\nONBUILD RUN cat /own > /seen\n");
    let project = project.file("app/Dockerfile", "FROM base\n").file("app/own", "own");
    let push = project.brik(["build", "--push"]).succeeds();
    assert_eq!(push.digests().len(), 2);
    let app = push.stdout.lines().find(|line| line.contains("/app")).unwrap().split('@').next().unwrap().to_owned();
    let reader = Project::dockerfile(&format!("FROM scratch\nCOPY --from={app} /seen /seen\n"));
    let reader =
        if app.ends_with(":v1") { reader } else { Project::dockerfile(&format!("FROM scratch\nCOPY --from={app}:v1 /seen /seen\n")) };
    assert_eq!(reader.image::<&str>([]).text("/seen"), "own");
}

#[test]
fn what_concerns_one_image_is_refused_for_services() {
    let project = Project::monorepo("members = [\"app\"]").file("app/Dockerfile", "FROM scratch\nCOPY a /a\n").file("app/a", "a");
    for option in ["--target=none", "--platform=linux/arm64", "--context=.", "--dockerfile=none", "--build-context=a=."] {
        project.brik(["build", "app", option]).exits(2).says(&["--image"]);
    }
    project.brik(["build", "--image", "localhost/app", "a", "b"]).exits(2).says(&["--context DIR"]);
}

/// A platform that this machine is not.
const FOREIGN: &str = if cfg!(target_arch = "aarch64") { "linux/amd64" } else { "linux/arm64" };

#[test]
fn a_step_for_several_platforms_or_a_foreign_one_is_named_with_its_platform() {
    let dockerfile = "FROM --platform=$BUILDPLATFORM {busybox} AS make\nRUN true\nARG TARGETARCH\nRUN echo $TARGETARCH > /made\n\
        FROM {busybox}\nCOPY --from=make /made /\nRUN exit 3\n";
    let toml = |platforms: &str| format!("members = [\"app\"]\ntags = [\"v1\"]\nplatforms = [{platforms}]");
    let (own, foreign) = (Platform::host().to_string(), FOREIGN.split_once('/').unwrap().1);
    let both = Project::monorepo(&toml(&format!("\"{own}\", \"{FOREIGN}\""))).file("app/Dockerfile", dockerfile);
    let run = both.brik(["build", "--keep-going", "-j1", "--progress", "plain"]).exits(1);
    run.says(&[&format!("[app {own} make 1/2] RUN true"), &format!("[app {own} make 2/2] RUN echo $TARGETARCH")]);
    run.says(&[&format!("[app {own}->{foreign} make 2/2] RUN echo $TARGETARCH"), &format!("[app {FOREIGN} stage-1 1/2] COPY")]);
    run.says(&[&format!("× [app {own} stage-1 2/2] "), &format!("× [app {FOREIGN} stage-1 2/2] ")]);
    let groups = both.brik(["build", "--keep-going", "-j1"]).env("GITLAB_CI", "true").exits(1);
    groups.says(&[&format!("[app {own} stage-1 2/2] RUN exit 3"), &format!("[app {FOREIGN} stage-1 2/2] RUN exit 3")]);
    let other = Project::monorepo(&toml(&format!("\"{FOREIGN}\""))).file("app/Dockerfile", "FROM {busybox}\nRUN exit 3\n");
    other.brik(["build"]).exits(1).says(&[&format!("× [app {FOREIGN} stage-0 1/1] ")]);
    let single = Project::monorepo(&toml(&format!("\"{own}\""))).file("app/Dockerfile", "FROM {busybox}\nRUN exit 3\n");
    single.brik(["build"]).exits(1).says(&["[app stage-0 1/1] RUN exit 3", "× [app stage-0 1/1] "]);
}
