//! Whole Dockerfiles through the planner, with a registry that answers from a table.

mod explain;
mod stages;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::config::{ImageFormat, NamedContext, Network};
use crate::oci::{ContainerConfig, Descriptor, DiffId, Digest, HistoryEntry, Manifest, Reference, RootFs, media_type};
use crate::source::{Disk, GitRef, StatCache};

/// Every image has one layer, named after its repository. That of `onbuild` has a trigger; `recompressed` is `alpine` under another
/// layer digest.
struct Registry;

impl Remote for Registry {
    fn base(&self, reference: &Reference, platform: &Platform) -> Result<Arc<BaseImage>, String> {
        let name = reference.repository.rsplit('/').next().unwrap_or_default();
        if name == "missing" {
            return Err("no such image".to_owned());
        }
        let content = if name == "recompressed" { "alpine" } else { name };
        let layer = Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(name.as_bytes()), 1);
        let config = ImageConfig {
            config: ContainerConfig {
                env: vec!["BASE=1".to_owned()],
                cmd: Some(vec!["sh".to_owned()]),
                on_build: if name == "onbuild" { vec!["COPY a /triggered".to_owned()] } else { Vec::new() },
                ..ContainerConfig::default()
            },
            rootfs: RootFs { diff_ids: vec![DiffId(Digest::of(content.as_bytes()))], ..RootFs::default() },
            history: vec![HistoryEntry { created_by: "base".to_owned(), ..HistoryEntry::default() }],
            ..ImageConfig::scratch(platform)
        };
        let digest = Digest::of(format!("manifest of {name}").as_bytes());
        Ok(Arc::new(BaseImage { reference: Some(reference.clone()), digest, manifest: Manifest::oci(layer.clone(), vec![layer]), config }))
    }

    fn download(&self, _: &str, url: &str, _: Option<&Digest>) -> Result<Download, String> {
        Ok(Download { digest: Digest::of(url.as_bytes()), modified: url.strip_prefix("http://dated/").and_then(|date| date.parse().ok()) })
    }

    fn layout(&self, path: &Path, tag_or_digest: Option<&str>, platform: &Platform) -> Result<Arc<BaseImage>, String> {
        let name = format!("{}:{}", path.display(), tag_or_digest.unwrap_or("latest"));
        let base = self.base(&"layout".parse().unwrap(), platform)?;
        Ok(Arc::new(BaseImage { reference: None, digest: Digest::of(name.as_bytes()), ..(*base).clone() }))
    }

    fn as_directory(&self, _: &Download) -> Result<PathBuf, String> {
        Ok(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/plan"))
    }

    fn newest_member(&self, _: &Download) -> Result<Option<i64>, String> {
        Ok(Some(1234))
    }

    /// The directory of these tests is every repository; its commits are as old as their ref is long.
    fn checkout(&self, _: &str, source: &GitRef, _: bool) -> Result<Checkout, String> {
        let time = source.reference.as_ref().map_or(0, |reference| reference.len() as i64);
        Ok(Checkout { path: Path::new(env!("CARGO_MANIFEST_DIR")).join("src/plan"), time })
    }
}

/// A monorepo: each service is `<name>.Dockerfile` with the whole directory as its context.
struct Repository {
    directory: tempfile::TempDir,
    services: Vec<Target>,
    format: ImageFormat,
    hosts: Vec<(String, std::net::IpAddr)>,
    network: Network,
}

impl Repository {
    fn new(services: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (path, content) in [("a", "one"), ("b", "two"), ("unrelated", "three"), ("other/a", "four")] {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let services = services.iter().map(|(name, text)| target(directory.path(), name, text)).collect();
        Self { directory, services, format: ImageFormat::Oci, hosts: Vec::new(), network: Network::Host }
    }

    fn one(text: &str) -> Self {
        Self::new(&[("app", text)])
    }

    fn app(&mut self) -> &mut Target {
        self.services.last_mut().unwrap()
    }

    fn rewrite(&mut self, text: &str) {
        let app = target(self.directory.path(), "app", text);
        *self.app() = app;
    }

    fn write(&self, path: &str, content: &str) {
        fs::write(self.directory.path().join(path), content).unwrap();
    }

    fn plan(&self) -> Result<Plan, Error> {
        let mut names = ServiceNames::default();
        self.services.iter().for_each(|target| {
            names.insert(&target.service, &format!("ghcr.io/org/{}", target.service).parse().unwrap(), vec!["v1".to_owned()])
        });
        let options = Options {
            build_platform: "linux/amd64".parse().unwrap(),
            format: self.format,
            no_cache: false,
            hosts: self.hosts.clone(),
            shm_size: None,
            network: self.network,
            names: &names,
            files: &Disk,
            stat_cache: Arc::new(StatCache::in_memory()),
            remote: &Registry,
        };
        plan(&self.services, &options)
    }

    /// Keys of the last Step and of the image.
    fn keys(&self) -> (CacheKey, CacheKey) {
        let plan = self.plan().unwrap();
        (plan.steps.last().unwrap().key, plan.images.last().unwrap().key)
    }
}

fn target(directory: &Path, name: &str, text: &str) -> Target {
    let dockerfile = Dockerfile::parse(&directory.join(format!("{name}.Dockerfile")), text.as_bytes()).unwrap();
    Target {
        service: name.to_owned(),
        context: directory.to_owned(),
        fetched: None,
        dockerfile: Arc::new(dockerfile),
        target: None,
        args: BTreeMap::new(),
        labels: BTreeMap::new(),
        source_facts: Default::default(),
        exact_labels: false,
        epoch: Some(0),
        created: None,
        contexts: NamedContexts::default(),
        secrets: BTreeMap::new(),
        agents: Default::default(),
        platforms: vec!["linux/amd64".parse().unwrap()],
        implicit_platform: false,
    }
}

const APP: &str = "FROM alpine\nARG VERSION=1\nENV A=b\nWORKDIR /src\nCOPY a b ./\nRUN --mount=type=secret,id=token make\nCMD x\n";

#[test]
fn a_key_changes_with_what_changes_the_layer_and_with_nothing_else() {
    type Change = (&'static str, fn(&mut Repository), (bool, bool));
    const NEITHER: (bool, bool) = (false, false);
    const IMAGE: (bool, bool) = (false, true);
    const BOTH: (bool, bool) = (true, true);
    let changes: &[Change] = &[
        ("nothing", |_| {}, NEITHER),
        ("a file that no COPY selects", |r| r.write("unrelated", "x"), NEITHER),
        (
            "another service, image and Dockerfile name",
            |r| {
                let renamed = target(r.directory.path(), "renamed", APP);
                *r.app() = renamed;
            },
            NEITHER,
        ),
        ("a comment and blanks", |r| r.rewrite(&format!("# hello\n\n{APP}")), NEITHER),
        ("a name for the stage", |r| r.rewrite(&APP.replace("FROM alpine", "FROM alpine AS s")), NEITHER),
        ("a tag of the same base", |r| r.rewrite(&APP.replace("FROM alpine", "FROM alpine:3")), NEITHER),
        ("an ARG that nobody declares", |r| drop(r.app().args.insert("OTHER".into(), "x".into())), NEITHER),
        ("a proxy that nobody declares", |r| drop(r.app().args.insert("HTTP_PROXY".into(), "http://p".into())), NEITHER),
        ("a label", |r| drop(r.app().labels.insert("x".into(), "y".into())), IMAGE),
        ("CMD", |r| r.rewrite(&APP.replace("CMD x", "CMD y")), IMAGE),
        ("the format", |r| r.format = ImageFormat::Docker, IMAGE),
        ("the compression of the base", |r| r.rewrite(&APP.replace("alpine", "recompressed")), IMAGE),
        ("a selected file", |r| r.write("b", "x"), BOTH),
        ("another base", |r| r.rewrite(&APP.replace("alpine", "debian")), BOTH),
        ("the value of an ARG", |r| drop(r.app().args.insert("VERSION".into(), "2".into())), BOTH),
        ("ENV", |r| r.rewrite(&APP.replace("A=b", "A=c")), BOTH),
        ("WORKDIR", |r| r.rewrite(&APP.replace("WORKDIR /src", "WORKDIR /s")), BOTH),
        ("USER", |r| r.rewrite(&APP.replace("RUN", "USER 1\nRUN")), BOTH),
        ("SHELL", |r| r.rewrite(&APP.replace("RUN", "SHELL [\"/bin/bash\", \"-c\"]\nRUN")), BOTH),
        ("the command", |r| r.rewrite(&APP.replace("make", "make all")), BOTH),
        ("the secret's id", |r| r.rewrite(&APP.replace("id=token", "id=other")), BOTH),
        ("the network", |r| r.rewrite(&APP.replace("RUN", "RUN --network=none")), BOTH),
        ("the network of all", |r| r.network = Network::Private, BOTH),
        ("the order of sources", |r| r.rewrite(&APP.replace("a b ./", "b a ./")), BOTH),
        ("a host", |r| r.hosts.push(("h".into(), [10, 0, 0, 1].into())), BOTH),
        ("the platform", |r| r.app().platforms = vec!["linux/arm64".parse().unwrap()], BOTH),
        ("the epoch", |r| r.app().epoch = Some(1), BOTH),
        ("kept times", |r| r.app().epoch = None, BOTH),
    ];
    for (what, change, expected) in changes {
        let mut repository = Repository::one(APP);
        let before = repository.keys();
        change(&mut repository);
        let after = repository.keys();
        assert_eq!((before.0 != after.0, before.1 != after.1), *expected, "{what}");
    }
    assert_eq!(Repository::one(APP).keys(), Repository::one(APP).keys(), "two places on the disk");
}

#[test]
fn identical_steps_of_two_services_stand_once() {
    let second = APP.replace("CMD x", "RUN more");
    let plan = Repository::new(&[("one", APP), ("two", &second)]).plan().unwrap();
    let services: Vec<_> = plan.steps.iter().map(|step| step.services.join(" ")).collect();
    assert_eq!(services, ["one two", "one two", "one two", "two"]);
    assert_eq!(plan.contexts.len(), 1);
}

#[test]
fn one_source_of_one_context_is_selected_once_for_all_that_ask() {
    let plan = Repository::new(&[("one", "FROM scratch\nCOPY a /x\n"), ("two", "FROM scratch\nCOPY a /y\n")]).plan().unwrap();
    let selection = |id: StepId| match &plan.steps[id].op {
        Op::Copy(copy) => match &copy.sources[0] {
            step::CopySource::Context { selection, .. } => selection,
            _ => panic!("not from the context"),
        },
        _ => panic!("no COPY"),
    };
    assert!(Arc::ptr_eq(selection(0), selection(1)));
}

#[test]
fn a_service_that_starts_from_another_stands_on_its_steps_and_its_configuration() {
    let base = "FROM alpine\nENV LEVEL=1\nRUN base\n";
    for from in ["base", "ghcr.io/org/base", "ghcr.io/org/base:v1"] {
        let plan = Repository::new(&[("base", base), ("app", &format!("FROM {from}\nRUN echo $LEVEL\n"))]).plan().unwrap();
        assert_eq!(plan.steps[1].parent, Root::Step(0), "{from}");
        let image = &plan.images[1];
        assert_eq!(image.config.config.env_var("LEVEL"), Some("1"));
        let texts: Vec<_> = image.config.history.iter().map(|entry| entry.created_by.as_str()).collect();
        let run = |command| format!("RUN /bin/sh -c {command} # buildkit");
        assert_eq!(texts, ["base", "ENV LEVEL=1", &run("base"), &run("echo $LEVEL")]);
    }
    let pulled = Repository::new(&[("base", base), ("app", "FROM ghcr.io/org/base:v0\nRUN x\n")]).plan().unwrap();
    assert!(matches!(pulled.steps[1].parent, Root::Base(_)), "a released tag is pulled");
}

#[test]
fn args_of_a_service_do_not_reach_those_that_start_from_it() {
    let plan = Repository::new(&[("base", "FROM alpine\nARG A=1\nRUN x\n"), ("app", "FROM base\nRUN y\n")]).plan().unwrap();
    let Op::Run(run) = &plan.steps[1].op else { panic!("no RUN") };
    assert!(run.env.iter().all(|(name, _)| name != "A"));
    let stages = Repository::one("FROM alpine AS base\nARG A=1\nRUN x\nFROM base\nRUN y\n").plan().unwrap();
    let Op::Run(run) = &stages.steps[1].op else { panic!("no RUN") };
    assert!(run.env.iter().any(|(name, value)| (name.as_str(), value.as_str()) == ("A", "1")), "those of a stage do");
}

#[test]
fn a_named_context_replaces_a_stage_or_an_image_and_has_an_ignore_file_of_its_own() {
    let text = "FROM alpine AS files\nRUN never\nFROM busybox\nCOPY --from=files a /\n";
    for name in ["files", "busybox", "docker.io/library/busybox:latest"] {
        let mut repository = Repository::one(text);
        let other = repository.directory.path().join("other");
        repository.app().contexts = [(name.to_owned(), NamedContext::Directory(other.clone()))].into_iter().collect();
        // Rules the service's context, not this one.
        repository.write("app.Dockerfile.dockerignore", "a");
        let plan = repository.plan().unwrap();
        assert!(plan.contexts.iter().any(|context| context.path() == other), "{name}");
        assert_eq!(plan.steps.iter().any(|step| step.text == "RUN never"), name != "files", "{name}");
    }
}

#[test]
fn a_linked_copy_is_keyed_without_its_parent_but_what_stands_on_it_is_not() {
    let text = "FROM alpine\nCOPY --link a /\nRUN x\n";
    let keys = |text: &str| Repository::one(text).plan().unwrap().steps.iter().map(|step| step.key).collect::<Vec<_>>();
    let (on_alpine, on_debian) = (keys(text), keys(&text.replace("alpine", "debian")));
    assert_eq!(on_alpine[0], on_debian[0]);
    assert_ne!(on_alpine[1], on_debian[1]);
    let named = text.replace("--link", "--link --chown=root:1");
    assert_eq!(keys(&named)[0], keys(&named.replace("alpine", "debian"))[0], "root is 0 without being looked up");
}

#[test]
fn a_cache_mount_is_another_one_where_it_starts_from_something_else() {
    let id = |mount: &str| {
        let plan = Repository::one(&format!("FROM alpine AS seed\nFROM alpine\nRUN --mount=type=cache,{mount} x\n")).plan().unwrap();
        let Op::Run(run) = &plan.steps[0].op else { panic!("no RUN") };
        let step::RunMountKind::Cache { id, .. } = &run.mounts[0].kind else { panic!("no cache") };
        *id
    };
    assert_eq!(id("target=/c"), id("id=/c,target=/elsewhere"));
    assert_eq!(id("target=/c"), id("target=/c,sharing=locked"));
    for other in ["target=/d", "target=/c,uid=1", "target=/c,mode=0700", "target=/c,from=seed", "target=/c,from=debian"] {
        assert_ne!(id("target=/c"), id(other), "{other}");
    }
    assert_ne!(id("target=/c,from=seed"), id("target=/c,from=debian"));
}

#[test]
fn an_entrypoint_forgets_the_command_of_the_base_unless_the_stage_sets_one() {
    for (text, cmd) in [
        ("FROM alpine\n", Some("sh")),
        ("FROM alpine\nCMD []\n", None),
        ("FROM alpine\nENTRYPOINT [\"x\"]\n", None),
        ("FROM alpine\nCMD [\"y\"]\nENTRYPOINT [\"x\"]\n", Some("y")),
        ("FROM alpine AS s\nCMD [\"y\"]\nFROM s\nENTRYPOINT [\"x\"]\n", None),
    ] {
        let plan = Repository::one(text).plan().unwrap();
        let found = plan.images[0].config.config.cmd.as_ref().map(|words| words.join(" "));
        assert_eq!(found.as_deref(), cmd, "{text}");
    }
}

#[test]
fn a_fault_is_told_on_its_bytes() {
    for (text, at, message) in [
        ("FROM missing\n", "missing", "missing: no such image"),
        ("FROM alpine\nCOPY nothing /\n", "nothing", ""),
        ("FROM alpine\nCOPY --from=1 a /\n", "1", "invalid stage index 1"),
        ("FROM $NONE\n", "$NONE", "base name ($NONE) should not be blank"),
        ("FROM --platform=$BULIDPLATFORM alpine\n", "$BULIDPLATFORM", "empty platform value from expression $BULIDPLATFORM"),
        ("FROM alpine AS Base\nFROM Base\n", "Base", "Base"),
        ("# syntax=example/frontend\nFROM alpine\n", "example/frontend", "the frontend example/frontend is not supported"),
        ("FROM alpine\nCOPY --link --chown=1:app a /\n", "1:app", "cannot look up \"1:app\": a linked layer has no /etc/passwd"),
        ("FROM scratch\nCOPY --chown=app a /\n", "app", "an empty root has no /etc/passwd"),
        ("FROM scratch\nUSER app\nWORKDIR /a\n", "/a", "an empty root has no /etc/passwd"),
        // In stages that nobody needs.
        ("FROM alpine:$NONE AS x\nFROM alpine\n", "alpine:$NONE", "invalid tag \"\""),
        ("FROM alpine AS x\nCOPY --from=7 a /\nFROM alpine\n", "7", "invalid stage index 7"),
        ("FROM alpine AS x\nCOPY --from=A a /\nFROM alpine\n", "A", "A"),
        ("FROM alpine AS x\nCOPY --from=x a /\nFROM alpine\n", "FROM alpine AS x", "stages need each other: x -> x"),
    ] {
        let error = Repository::one(text).plan().err().unwrap_or_else(|| panic!("{text}"));
        assert_eq!(&text[error.span.clone()], at, "{text}");
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[test]
fn a_name_that_leads_nowhere_and_is_almost_that_of_a_stage_or_service_is_told_so() {
    for (service, text, help) in [
        ("api", "FROM alpine AS mising\nFROM missing\n", Some("did you mean `mising`?")),
        ("missin", "FROM missing\n", Some("did you mean `missin`?")),
        ("api", "FROM missing\n", None),
    ] {
        let error = Repository::new(&[(service, "FROM alpine\n"), ("app", text)]).plan().err().expect("no such image");
        assert_eq!(error.help().as_deref(), help, "{text}");
    }
}

#[test]
fn contexts_from_elsewhere_stand_in_for_images_and_stages() {
    let layout = NamedContext::OciLayout { path: "/layout".into(), reference: None };
    let url = |url: &str| NamedContext::Url(url.to_owned());
    for (context, is_base) in [(layout, true), (url("https://h/x.git#v1"), false), (url("http://h/file"), false)] {
        let mut repository = Repository::one("FROM src\nRUN x\n");
        repository.app().contexts = [("src".to_owned(), context.clone())].into_iter().collect();
        let plan = repository.plan().unwrap();
        assert_eq!((plan.bases.len(), plan.contexts.len()), (usize::from(is_base), usize::from(!is_base)), "{context:?}");
        assert!(plan.bases.iter().all(|base| base.reference.is_none()), "no registry is asked for its layers");
    }
}

#[test]
fn what_add_takes_from_elsewhere_is_in_the_key_and_its_credentials_are_not() {
    let inputs = |add: &str| {
        let plan = Repository::one(&format!("FROM scratch\nADD {add} /x\n")).plan().unwrap();
        format!("{:?} {:?}", plan.steps[0].inputs, plan.images[0].config.history)
    };
    for add in ["http://me:secret@h/f", "https://me:secret@h/x.git#main"] {
        let inputs = inputs(add);
        assert!(!inputs.contains("secret") && inputs.contains("://h/"), "{inputs}");
    }
    let key = |add: &str| Repository::one(&format!("FROM scratch\nADD {add} /x\n")).keys().0;
    assert_ne!(key("http://h/a"), key("http://h/b"));
    assert_eq!(key("https://h/x.git#one"), key("https://h/x.git#two"), "two commits with the same files");
    assert_ne!(key("https://h/x.git"), key("--exclude=*.rs https://h/x.git"));
}

#[test]
fn a_source_date_is_a_number_or_that_of_a_source() {
    for (text, expected) in [
        ("ARG SOURCE_DATE_EPOCH=7\nFROM scratch\nCOPY a /\n", Some(7)),
        ("ARG SOURCE_DATE_EPOCH=\nFROM scratch\nCOPY a /\n", Some(0)),
        ("ARG SOURCE_DATE_EPOCH=context\nFROM scratch\nCOPY a /\n", Some(0)),
        ("ARG SOURCE_DATE_EPOCH=s\nFROM scratch AS s\nADD http://dated/99 /\nFROM scratch\nCOPY a /\n", Some(99)),
        ("ARG SOURCE_DATE_EPOCH=s\nFROM scratch AS s\nADD http://undated/99 /\nFROM scratch\nCOPY a /\n", Some(1234)),
        ("ARG SOURCE_DATE_EPOCH=S\nFROM scratch AS s\nADD https://h/x.git#four4 /\nFROM scratch\nCOPY a /\n", Some(5)),
        ("FROM scratch\nARG SOURCE_DATE_EPOCH=7\nCOPY a /\n", Some(0)),
    ] {
        let plan = Repository::one(text).plan().unwrap();
        assert_eq!(plan.steps.last().unwrap().epoch, expected, "{text}");
    }
}
