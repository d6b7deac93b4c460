//! One call of something that builds an image, as a [`Found`].

use std::collections::BTreeMap;
use std::path::Path;

use super::counterpart;
use super::found::{Cache, Found, ImageName, Secret, SecretSource, agent, image_name, paths};
use super::inputs::{Input, Inputs};
use super::left::{Fate, Leftovers};
use super::marks::unknown;
use crate::config::TagEntry;

pub(super) struct Call<'a> {
    pub root: &'a Path,
    pub file: &'a str,
    pub job: &'a str,
    /// The directory that it is called in.
    pub directory: &'a str,
    /// What an expression for tags stands for, where docker/metadata-action makes them.
    pub metadata: &'a dyn Fn(&str) -> Option<Metadata>,
}

/// What docker/metadata-action is given; brik.toml takes its lines as they are.
pub(super) struct Metadata {
    pub images: String,
    pub tags: String,
    pub has_flavor: bool,
}

/// The image of a call as far as it is known.
#[derive(Default)]
struct Names {
    image: Option<ImageName>,
    tags: Vec<String>,
}

impl Call<'_> {
    /// `None` where it cannot be one of brik.toml's, which is told.
    pub fn found(&self, inputs: &Inputs, left: &mut Leftovers) -> Option<Found> {
        let (context, dockerfile) =
            self.place(inputs).map_err(|problem| left.of_file(format!("job {:?}", self.job), Fate::Lost, problem)).ok()?;
        let names = self.names(inputs, left);
        let name = match &names.image {
            Some(ImageName::Bare(name)) => name.clone(),
            Some(ImageName::Full(reference)) => reference.repository.rsplit('/').next().unwrap_or_default().to_owned(),
            None => self.job.to_owned(),
        };
        counterpart::tell(inputs.unknown.iter().map(String::as_str), &name, true, left);
        let mut reader = Entries { inputs, service: &name, left };
        Some(Found {
            file: self.file.to_owned(),
            context,
            dockerfile,
            image: names.image,
            tags: names.tags,
            target: inputs.get(Input::Target).filter(|target| unknown(target).is_none()).map(str::to_owned),
            args: reader.pairs(Input::BuildArgs, "build arg"),
            labels: reader.pairs(Input::Labels, "label"),
            platforms: inputs
                .get(Input::Platforms)
                .into_iter()
                .flat_map(|list| list.split(','))
                .map(|p| p.trim().to_owned())
                .filter(|p| unknown(p).is_none())
                .collect(),
            secrets: secrets(inputs),
            ssh: inputs.lines(Input::Ssh).filter(|line| unknown(line).is_none()).map(agent).collect(),
            contexts: reader.pairs(Input::BuildContexts, "build context"),
            cache: reader.cache(),
            groups: Vec::new(),
            name,
        })
    }

    fn place(&self, inputs: &Inputs) -> Result<(String, String), String> {
        // The repository itself, as docker's action calls it.
        let context = inputs.get(Input::Context).unwrap_or(".");
        let context = context.strip_prefix("{{defaultContext}}").map_or(context, |below| below.trim_start_matches(':'));
        let context = if context.is_empty() { "." } else { context };
        let dockerfile = inputs.get(Input::Dockerfile).unwrap_or("Dockerfile");
        if let Some(expression) = unknown(context).or_else(|| unknown(dockerfile)).or_else(|| unknown(self.directory)) {
            return Err(format!("where it is built depends on {expression}"));
        }
        paths(self.root, self.directory, context, dockerfile, inputs.get(Input::Dockerfile).is_some())
            .map_err(|problem| problem.to_string())
    }

    fn names(&self, inputs: &Inputs, left: &mut Leftovers) -> Names {
        let mut names = Names::default();
        if let Some(image) = inputs.get(Input::Image) {
            let registry =
                inputs.get(Input::Registry).filter(|_| !image.split_once('/').is_some_and(|(host, _)| host.contains(['.', ':'])));
            let image = registry.map_or_else(|| image.to_owned(), |registry| format!("{}/{image}", registry.trim_end_matches('/')));
            names.add(self.job, &image, left);
        }
        let of = |input| entries(inputs.get(input).unwrap_or_default()).map(move |entry| (entry, input == Input::Destinations));
        for (tag, is_image) in of(Input::Destinations).chain(of(Input::Tags)) {
            if let Some(metadata) = unknown(tag).and_then(|expression| (self.metadata)(&expression)) {
                self.add_metadata(&metadata, &mut names, left);
            } else if is_image || tag.contains('/') && !tag.starts_with("type=") {
                names.add(self.job, tag, left);
            } else {
                names.add_tag(self.job, tag, left);
            }
        }
        names
    }

    fn add_metadata(&self, metadata: &Metadata, names: &mut Names, left: &mut Leftovers) {
        let mut images = metadata.images.split([',', '\n']).map(|line| line.trim().trim_start_matches("name="));
        if let Some(image) = images.find(|line| !line.is_empty()) {
            names.add(self.job, image, left);
        }
        entries(&metadata.tags).for_each(|tag| names.add_tag(self.job, tag, left));
        if metadata.has_flavor {
            left.of_service("flavor", self.job, Fate::Otherwise, "`brik build --flavor` has it");
        }
    }
}

/// Adds an image; one that differs from another in its tags alone is that one, with more tags.
pub(super) fn add(image: Found, found: &mut Vec<Found>) {
    let same = |other: &&mut Found| {
        let named = image.image.is_some() || image.name == other.name;
        named && **other == Found { name: other.name.clone(), tags: other.tags.clone(), ..image.clone() }
    };
    match found.iter_mut().find(same) {
        Some(known) => known.tags.extend(image.tags.into_iter().filter(|tag| !known.tags.contains(tag)).collect::<Vec<_>>()),
        None => found.push(image),
    }
}

/// Tags between commas or on lines; a line of metadata-action has commas of its own.
fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .flat_map(|line| if line.trim_start().starts_with("type=") { vec![line] } else { line.split(',').collect() })
        .map(str::trim)
        .filter(|tag| !tag.is_empty())
}

impl Names {
    fn add(&mut self, job: &str, text: &str, left: &mut Leftovers) {
        let tag_at = text.rfind(':').filter(|at| !text[*at..].contains('/'));
        let (name, tag) = tag_at.map_or((text, None), |at| (&text[..at], Some(&text[at + 1..])));
        if let Some(expression) = unknown(name) {
            left.of_service("image", job, Fate::Lost, format!("its name depends on {expression}"));
            return;
        }
        match image_name(name) {
            Err(problem) => left.of_service("image", job, Fate::Lost, problem),
            Ok((name, _)) if *self.image.get_or_insert_with(|| name.clone()) != name => {
                left.of_service("tags", job, Fate::Lost, "a service is one image: these tags name several");
            }
            Ok(_) => tag.into_iter().for_each(|tag| self.add_tag(job, tag, left)),
        }
    }

    fn add_tag(&mut self, job: &str, tag: &str, left: &mut Leftovers) {
        match (unknown(tag), tag.parse::<TagEntry>()) {
            (Some(expression), _) => {
                let why = format!("it depends on {expression}; brik has templates and metadata-action's `type=` lines for `tags`");
                left.of_service("a tag", job, Fate::Lost, why);
            }
            (None, Err(problem)) => left.of_service(format!("the tag {tag:?}"), job, Fate::Lost, problem.to_string()),
            (None, Ok(_)) if self.tags.iter().any(|known| known == tag) => {}
            (None, Ok(_)) => self.tags.push(tag.to_owned()),
        }
    }
}

fn secrets(inputs: &Inputs) -> Vec<Secret> {
    let values =
        inputs.lines(Input::Secrets).filter_map(|line| line.split_once('=')).map(|(id, _)| Secret { id: id.to_owned(), source: None });
    let file = |(id, path): (&str, &str)| Secret { id: id.to_owned(), source: Some(SecretSource::File(path.to_owned())) };
    values.chain(inputs.lines(Input::SecretFiles).filter_map(|line| line.split_once('=')).map(file)).collect()
}

struct Entries<'a> {
    inputs: &'a Inputs,
    service: &'a str,
    left: &'a mut Leftovers,
}

impl Entries<'_> {
    /// `NAME=VALUE` a line.
    fn pairs(&mut self, input: Input, what: &str) -> BTreeMap<String, String> {
        let mut pairs = BTreeMap::new();
        for line in self.inputs.lines(input) {
            match (line.split_once('='), unknown(line)) {
                (Some((name, value)), None) => drop(pairs.insert(name.to_owned(), value.to_owned())),
                (Some((name, _)), Some(expression)) if unknown(name).is_none() => {
                    self.left.of_service(format!("{what} {name}"), self.service, Fate::Lost, format!("it depends on {expression}"));
                }
                _ => self.left.of_service(format!("{what}s"), self.service, Fate::Lost, "they are made elsewhere"),
            }
        }
        pairs
    }

    fn cache(&mut self) -> Option<Cache> {
        if self.inputs.get(Input::Cache) == Some("false") {
            return Some(Cache::Off);
        }
        let text = self.inputs.get(Input::CacheRepository)?;
        match text.parse::<crate::oci::Reference>() {
            Ok(repository) => Some(Cache::Repository(repository)),
            Err(error) => {
                let why = unknown(text).map_or_else(|| error.to_string(), |expression| format!("its repository depends on {expression}"));
                self.left.of_service("cache", self.service, Fate::Lost, why);
                None
            }
        }
    }
}
