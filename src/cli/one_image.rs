//! One image without a brik.toml: what `docker build` and Kaniko take on the command line, as a [`Config`] with one service.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::args::PlanArgs;
use super::cache_places::repository;
use super::failure::Failure;
use super::image_args::ImageArgs;
use super::remote_context::{RemoteContext, dockerfile_in};
use crate::config::{BuildOptions, CacheOptions, Config, NamedContext, Secret, SecretSource, Service, Source, SshAgent, TagEntry};
use crate::oci::{Platform, Reference};
use crate::source::{Disk, GitRef, leads_out};

/// Where a Dockerfile is looked for that no flag names, as BuildKit does.
const DEFAULT_NAMES: [&str; 2] = ["Dockerfile", "dockerfile"];

/// The configuration, and the tags where nothing else says some.
pub fn config(
    args: &PlanArgs,
    cwd: &Path,
    env: &BTreeMap<String, String>,
    remote: Option<&RemoteContext>,
) -> Result<(Config, Vec<TagEntry>), Failure> {
    let Named { flag, name, image, tags } = Named::new(&args.image)?;
    let options = &args.image;
    let context = match remote {
        Some(remote) => remote.path.clone(),
        None => directory(cwd, options.context.as_deref().unwrap_or(Path::new(".")), "--context")?,
    };
    let dockerfile = match (remote, &options.dockerfile) {
        (Some(RemoteContext { dockerfile: Some(only), .. }), _) => Some(only.clone()),
        (Some(_), Some(name)) => dockerfile_in(&context, name),
        (Some(_), None) => DEFAULT_NAMES.iter().find_map(|name| dockerfile_in(&context, Path::new(name))),
        (None, Some(path)) => [cwd.join(path), context.join(path)].into_iter().find(|path| path.is_file()),
        (None, None) => DEFAULT_NAMES.iter().map(|name| context.join(name)).find(|path| path.is_file()),
    };
    let dockerfile = dockerfile.ok_or_else(|| {
        let wanted = options.dockerfile.clone().unwrap_or_else(|| context.join("Dockerfile"));
        Failure::usage(format!("there is no Dockerfile at {}; name it with --dockerfile", wanted.display()))
    })?;
    if remote.is_none() && leads_out(&Disk, &dockerfile, &[&context, cwd]) {
        let text = format!("{} is a link that leads out of the context and the repository; name what it leads to", dockerfile.display());
        return Err(Failure::usage(text));
    }
    let platforms = match options.platform.is_empty() {
        true => vec![Platform::host()],
        false => options
            .platform
            .iter()
            .map(|p| Platform::from_flag(p))
            .collect::<Result<_, _>>()
            .map_err(|e| Failure::usage(format!("--platform: {e}")))?,
    };
    let location = Source::new(flag, name.as_str()).at(0..name.len());
    let service = Service {
        name: image.repository.rsplit('/').next().unwrap_or(&image.repository).to_owned(),
        image: image.clone(),
        context,
        dockerfile,
        target: options.target.clone(),
        args: build_args(options, env)?,
        tags: Vec::new(),
        flavor: None,
        labels: labels(options)?,
        cache: match &args.cache.cache_repo {
            Some(text) => Some(repository("--cache-repo", text)?),
            None => format!("{}-cache", image.name()).parse().ok(),
        },
        secrets: secrets(options, cwd)?,
        ssh: agents(options, cwd),
        contexts: contexts(options, cwd)?,
        needs: Vec::new(),
        platforms: platforms.clone(),
        implicit_platform: options.platform.is_empty(),
        tags_location: location.clone(),
        location,
    };
    let config = Config {
        root: cwd.to_owned(),
        file: cwd.join("brik.toml"),
        repository: cwd.to_owned(),
        registry: Some(image.registry.clone()),
        platforms,
        registries: BTreeMap::new(),
        policy: None,
        build: BuildOptions::default(),
        cache: CacheOptions::default(),
        services: BTreeMap::from([(service.name.clone(), service)]),
        groups: BTreeMap::new(),
        warnings: Vec::new(),
    };
    Ok((config, tags))
}

/// The image that flags name.
struct Named {
    flag: &'static str,
    /// As it was written.
    name: String,
    /// Without a tag.
    image: Reference,
    tags: Vec<TagEntry>,
}

impl Named {
    fn new(options: &ImageArgs) -> Result<Self, Failure> {
        let (flag, names) = match &options.image {
            Some(name) => ("--image", std::slice::from_ref(name)),
            None => ("--tag", options.tag.as_slice()),
        };
        let references =
            names.iter().map(|name| Self::reference(flag, name, options.registry.as_deref())).collect::<Result<Vec<_>, _>>()?;
        let (Some(name), Some(first)) = (names.first(), references.first()) else { return Err(Failure::usage("no image is named")) };
        if let Some(other) = references.iter().find(|other| !other.same_repository(first)) {
            let (one, other) = (first.name(), other.name());
            return Err(Failure::usage(format!(
                "{flag}: {one} and {other} are two images; name them in two builds, the second finds all of it cached"
            )));
        }
        let tags = references.iter().map(|reference| TagEntry::literal(reference.tag_or_latest().unwrap_or("latest"))).collect();
        Ok(Self { flag, name: name.clone(), image: Reference { tag: None, ..first.clone() }, tags })
    }

    /// The name, behind the registry where it has no host.
    fn reference(flag: &str, name: &str, registry: Option<&str>) -> Result<Reference, Failure> {
        let refuse = |flag: &str, text: &str, why: String| Failure::usage(format!("{flag} {text}: {why}"));
        let parse = |text: &str| text.parse::<Reference>().map_err(|error| refuse(flag, name, error.to_string()));
        let alone = parse(name)?;
        if alone.digest.is_some() {
            return Err(refuse(flag, name, "a digest cannot be asked for, it is the result".to_owned()));
        }
        let Some(registry) = registry.map(|text| text.trim_start_matches("https://").trim_end_matches('/')) else { return Ok(alone) };
        let host = registry.split('/').next().unwrap_or(registry);
        match name.split('/').next().filter(|first| *first == alone.registry) {
            None => parse(&format!("{registry}/{name}")),
            Some(own) if own == host => Ok(alone),
            // What logs in to one registry must not be shown to another.
            Some(own) => Err(refuse("--registry", registry, format!("{flag} {name} is in another registry, {own}"))),
        }
    }
}

/// Why an image that flags name takes one word besides, its context.
pub fn too_many(words: &[String]) -> Failure {
    match words.iter().find(|word| word.starts_with("type=")) {
        Some(value) => Failure::usage(format!("{value:?} stands alone: write it behind `=`, as in --cache-from={value}")),
        None => Failure::usage(format!("one image is built from one context, not from {}; give it as --context DIR", words.join(" and "))),
    }
}

fn directory(cwd: &Path, path: &Path, flag: &str) -> Result<PathBuf, Failure> {
    let whole = cwd.join(path);
    let found = whole.canonicalize().ok().filter(|path| path.is_dir());
    found.ok_or_else(|| Failure::usage(format!("{flag} {}: not a directory", path.display())))
}

/// `NAME=VALUE`, or `NAME` for what the environment has; one that the environment lacks is left out, as docker does.
pub fn build_args(options: &ImageArgs, env: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Failure> {
    let mut args = BTreeMap::new();
    for text in &options.build_arg {
        match text.split_once('=') {
            Some(("", _)) => return Err(Failure::usage(format!("--build-arg {text:?}: expected NAME=VALUE"))),
            Some((name, value)) => drop(args.insert(name.to_owned(), value.to_owned())),
            None => args.extend(env.get(text).map(|value| (text.clone(), value.clone()))),
        }
    }
    Ok(args)
}

pub fn labels(options: &ImageArgs) -> Result<BTreeMap<String, String>, Failure> {
    let pair = |text: &String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Failure::usage(format!("--label {text:?}: expected NAME=VALUE"))),
    };
    options.label.iter().map(pair).collect()
}

/// `id=ID,src=FILE`, `id=ID,env=NAME`, or `id=ID` for the variable ID.
pub fn secrets(options: &ImageArgs, cwd: &Path) -> Result<Vec<Secret>, Failure> {
    let one = |text: &String| {
        let refuse = |why: &str| Failure::usage(format!("--secret {why}: expected id=ID[,src=FILE|,env=NAME]"));
        let (mut id, mut source) = (None, None);
        for field in text.split(',') {
            match field.split_once('=') {
                Some(("id", value)) if !value.is_empty() => id = Some(value.to_owned()),
                Some(("src" | "source", path)) if !path.is_empty() => source = Some(SecretSource::File(cwd.join(path))),
                Some(("env", name)) if !name.is_empty() => source = Some(SecretSource::Variable(name.to_owned())),
                Some(("type", "file" | "env")) => {}
                Some(("id", _)) => return Err(refuse("has an empty id")),
                _ => return Err(refuse(&format!("has an unknown field {field:?}"))),
            }
        }
        let id = id.ok_or_else(|| refuse("has no id"))?;
        let location = Source::new("--secret", text.as_str()).at(0..text.len());
        let source = source.unwrap_or_else(|| SecretSource::Variable(id.clone()));
        Ok(Secret { id, source, origin: "the command line".to_owned(), location })
    };
    options.secret.iter().map(one).collect()
}

pub fn agents(options: &ImageArgs, cwd: &Path) -> Vec<SshAgent> {
    let one = |text: &String| match text.split_once('=') {
        Some((id, socket)) => SshAgent { id: id.to_owned(), socket: Some(cwd.join(socket)) },
        None => SshAgent { id: text.clone(), socket: None },
    };
    options.ssh.iter().map(one).collect()
}

fn contexts(options: &ImageArgs, cwd: &Path) -> Result<BTreeMap<String, NamedContext>, Failure> {
    let mut contexts = BTreeMap::new();
    for text in &options.build_context {
        let Some((name, source)) = text.split_once('=').filter(|(name, source)| !name.is_empty() && !source.is_empty()) else {
            return Err(Failure::usage(format!("--build-context {text:?}: expected NAME=SOURCE")));
        };
        let refuse = |why: String| Failure::usage(format!("--build-context {text}: {why}"));
        let context = match source.split_once("://") {
            Some(("docker-image", image)) => NamedContext::image(image).map_err(|error| refuse(error.to_string()))?,
            Some(("oci-layout", layout)) => {
                let (path, reference) = NamedContext::split_layout(layout);
                NamedContext::OciLayout {
                    path: directory(cwd, Path::new(path), "--build-context")?,
                    reference: reference.map(str::to_owned),
                }
            }
            Some(_) => NamedContext::Url(source.to_owned()),
            None if GitRef::parse(source, false).is_some() => NamedContext::Url(source.to_owned()),
            None => NamedContext::Directory(directory(cwd, Path::new(source), "--build-context")?),
        };
        contexts.insert(name.to_ascii_lowercase(), context);
    }
    Ok(contexts)
}
