//! One image as a service of brik.toml: what differs from the defaults, and is right there. What is not right is left.

use std::collections::BTreeMap;
use std::path::Path;

use super::is_member;
use super::merge::Merged;
use crate::config::TagEntry;
use crate::import::found::{Agent, Cache, DEFAULT_TAG, Found, ImageName, Secret, SecretSource, base_name, normal, parent};
use crate::import::left::{Fate, Left};
use crate::oci::{Platform, Reference};

/// A service; what is empty or `None` is not written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Service {
    pub name: String,
    /// The files that told of it.
    pub files: Vec<String>,
    /// Its context.
    pub directory: String,
    /// `members` finds it.
    pub is_member: bool,
    pub image: Option<String>,
    pub context: Option<String>,
    pub dockerfile: Option<String>,
    pub target: Option<String>,
    pub args: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub tags: Vec<String>,
    pub platforms: Vec<String>,
    pub secrets: Vec<Secret>,
    pub ssh: Vec<Agent>,
    pub contexts: BTreeMap<String, String>,
    pub cache: Option<Cached>,
}

/// `cache` of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cached {
    Off,
    Repository(String),
}

/// All images with their names, and where they are.
pub(super) struct Named<'a> {
    pub root: &'a Path,
    pub registry: Option<&'a str>,
    pub merged: &'a [Merged],
    pub names: &'a [String],
}

impl Named<'_> {
    pub fn service(&self, index: usize, left: &mut Vec<Left>) -> Service {
        let Merged { image, files } = &self.merged[index];
        let name = &self.names[index];
        let mut check = Check { file: &files[0], service: name, left };
        let is_member = is_member(image, name);
        let (context, dockerfile) = if is_member { (None, None) } else { place(image) };
        let mut tags = check.keep("tags", image.tags.clone(), |tag| tag.parse::<TagEntry>().map(drop).map_err(|e| e.to_string()));
        if tags == [DEFAULT_TAG] {
            tags.clear();
        }
        Service {
            name: name.clone(),
            files: files.clone(),
            directory: image.context.clone(),
            is_member,
            image: self.image(image, name),
            context,
            dockerfile,
            target: image.target.clone().filter(|target| !target.is_empty() && check.of_text("target", target)),
            args: check.keep_entries("args", &image.args, |name, _| variable(name)),
            labels: check.keep_entries(
                "labels",
                &image.labels,
                |name, _| if name.is_empty() { Err("it has no name".to_owned()) } else { Ok(()) },
            ),
            tags,
            platforms: check.keep("platforms", image.platforms.clone(), platform),
            secrets: check.secrets(&image.secrets),
            ssh: check.agents(&image.ssh),
            contexts: self.contexts(image, &mut check),
            cache: self.cache(image, name),
        }
    }

    /// As brik.toml names something in a registry.
    fn relative(&self, reference: &Reference) -> String {
        let name = reference.name();
        let below = self.registry.and_then(|registry| name.strip_prefix(registry)?.strip_prefix('/'));
        // A component with a dot in front would be read as a host.
        below
            .filter(|rest| !rest.split_once('/').is_some_and(|(first, _)| first.contains(['.', ':']) || first == "localhost"))
            .map_or(name.clone(), str::to_owned)
    }

    fn image(&self, image: &Found, name: &str) -> Option<String> {
        let text = match image.image.as_ref()? {
            ImageName::Bare(bare) => bare.clone(),
            ImageName::Full(reference) => self.relative(reference),
        };
        (text != name).then_some(text)
    }

    fn cache(&self, image: &Found, name: &str) -> Option<Cached> {
        let repository = match image.cache.as_ref()? {
            Cache::Off => return Some(Cached::Off),
            Cache::Repository(repository) => self.relative(repository),
        };
        let own = self.image(image, name).unwrap_or_else(|| name.to_owned());
        (repository != format!("{own}-cache")).then_some(Cached::Repository(repository))
    }

    fn contexts(&self, image: &Found, check: &mut Check) -> BTreeMap<String, String> {
        let mut contexts = BTreeMap::new();
        for (name, source) in &image.contexts {
            match self.context(image, source).and_then(|source| plain(&source).map(|()| source)) {
                // A service is known by its name without that.
                Ok(known) if known == format!("service:{name}") => {}
                Ok(source) => drop(contexts.insert(name.clone(), source)),
                Err(problem) => check.leave(&format!("context {name}"), problem),
            }
        }
        contexts
    }

    fn context(&self, image: &Found, source: &str) -> Result<String, String> {
        if let Some(called) = source.strip_prefix("service:") {
            let mut others =
                self.merged.iter().zip(self.names).filter(|(other, _)| other.image.name == called && other.image.file == image.file);
            return match others.next() {
                Some((other, _)) if std::ptr::eq(&other.image, image) => Err("a service cannot need itself".to_owned()),
                Some((_, name)) => Ok(format!("service:{name}")),
                None => Err(format!("{called} is no service")),
            };
        }
        if let Some(reference) = source.strip_prefix("docker-image://") {
            let known = reference == "scratch" || reference.parse::<Reference>().is_ok();
            return if known { Ok(source.to_owned()) } else { Err(format!("{reference} is no image")) };
        }
        let (scheme, path) = source.strip_prefix("oci-layout://").map_or(("", source), |path| ("oci-layout://", path));
        if scheme.is_empty() && (source.contains("://") || source.starts_with("git@")) {
            return Ok(source.to_owned());
        }
        let directory = if scheme.is_empty() { path } else { path.split([':', '@']).next().unwrap_or(path) };
        match normal(directory).filter(|directory| !path.starts_with('/') && self.root.join(directory).is_dir()) {
            Some(normal) => Ok(format!("{scheme}{normal}{}", &path[directory.len()..])),
            None => Err(format!("{directory} is not a directory here")),
        }
    }
}

/// What is to be said of where an image is built.
fn place(image: &Found) -> (Option<String>, Option<String>) {
    let dockerfile = match parent(&image.dockerfile) == image.context {
        true => Some(base_name(&image.dockerfile)).filter(|name| *name != "Dockerfile"),
        false => Some(image.dockerfile.as_str()),
    };
    (Some(image.context.clone()), dockerfile.map(str::to_owned))
}

fn platform(text: &str) -> Result<(), String> {
    let platform: Platform = text.parse().map_err(|error: crate::oci::PlatformError| error.to_string())?;
    if platform.os == "linux" { Ok(()) } else { Err("brik builds for linux only".to_owned()) }
}

/// The variable that an id stands for by itself need not be named.
fn shortest(secret: Secret) -> Secret {
    let of_id: String = secret.id.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    match &secret.source {
        Some(SecretSource::Variable(name)) if *name == of_id => Secret { source: None, ..secret },
        _ => secret,
    }
}

/// What brik.toml would refuse is left.
struct Check<'a> {
    file: &'a str,
    service: &'a str,
    left: &'a mut Vec<Left>,
}

impl Check<'_> {
    fn leave(&mut self, what: &str, why: String) {
        self.left.push(Left {
            file: self.file.to_owned(),
            what: what.to_owned(),
            of: vec![self.service.to_owned()],
            why,
            fate: Fate::Lost,
            at: None,
        });
    }

    fn keep(&mut self, what: &str, mut texts: Vec<String>, right: impl Fn(&str) -> Result<(), String>) -> Vec<String> {
        texts.retain(|text| right(text).map_err(|why| self.leave(what, why)).is_ok());
        texts
    }

    fn keep_entries(
        &mut self,
        what: &str,
        entries: &BTreeMap<String, String>,
        right: impl Fn(&str, &str) -> Result<(), String>,
    ) -> BTreeMap<String, String> {
        let kept = entries.iter().filter(|(name, value)| right(name, value).map_err(|why| self.leave(what, why)).is_ok());
        kept.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Each id once, from where a value can be had.
    fn secrets(&mut self, found: &[Secret]) -> Vec<Secret> {
        let mut kept: Vec<Secret> = Vec::new();
        for secret in found {
            let known = kept.iter().any(|known| known.id == secret.id);
            let good = self.id("secrets", &secret.id, known)
                && match &secret.source {
                    None => true,
                    Some(SecretSource::Variable(name)) => self.is_right("secrets", variable(name)),
                    Some(SecretSource::File(path)) => self.of_text("secrets", path),
                };
            kept.extend(good.then(|| shortest(secret.clone())));
        }
        kept
    }

    fn agents(&mut self, found: &[Agent]) -> Vec<Agent> {
        let mut kept: Vec<Agent> = Vec::new();
        for agent in found {
            let known = kept.iter().any(|known| known.id == agent.id);
            let good = self.id("ssh", &agent.id, known) && agent.socket.as_ref().is_none_or(|socket| self.of_text("ssh", socket));
            kept.extend(good.then(|| agent.clone()));
        }
        kept
    }

    fn id(&mut self, what: &str, id: &str, known: bool) -> bool {
        let good = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        let right = if good { Ok(()) } else { Err(format!("{id:?} is not an id")) };
        self.is_right(what, right.and_then(|()| if known { Err(format!("{id:?} is there already")) } else { Ok(()) }))
    }

    fn of_text(&mut self, what: &str, text: &str) -> bool {
        self.is_right(what, plain(text))
    }

    fn is_right(&mut self, what: &str, right: Result<(), String>) -> bool {
        right.map_err(|why| self.leave(what, why)).is_ok()
    }
}

/// What may be a variable's name.
fn variable(name: &str) -> Result<(), String> {
    let good = name.bytes().enumerate().all(|(i, b)| b.is_ascii_alphabetic() || b == b'_' || (i > 0 && b.is_ascii_digit()));
    if good && !name.is_empty() { Ok(()) } else { Err(format!("{name:?} is not a variable's name")) }
}

/// What may be a path or a name.
fn plain(text: &str) -> Result<(), String> {
    match text {
        "" => Err("it is empty".to_owned()),
        text if text.contains('\0') => Err("it holds a NUL character".to_owned()),
        _ => Ok(()),
    }
}
