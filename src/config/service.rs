//! One service: its table, over what its directory and the whole file say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::finding::{Finding, Location};
use super::format::begins_with_host;
use super::metadata_action::Flavor;
use super::model::{Cache, CacheTable, SecretEntry, SecretTable, ServiceTable, SshEntry, SshTable, Text};
use super::resolve::{Scope, platforms};
use super::suggest::did_you_mean;
use super::types::{NamedContext, Secret, SecretSource, Service, SshAgent};
use crate::oci::Reference;

/// The service, or None where what it cannot do without is wrong; that is among the findings then.
pub(super) fn resolve(scope: &Scope, name: &str, table: &ServiceTable, findings: &mut Vec<Finding>) -> Option<Service> {
    let mut resolver = Resolver { scope, name, table, findings };
    let context = resolver.context();
    let dockerfile = context.as_deref().and_then(|context| resolver.dockerfile(context));
    let image = resolver.image();
    let cache = image.as_ref().and_then(|image| resolver.cache(image));
    let secrets = resolver.secrets();
    let ssh = resolver.ssh();
    let contexts = resolver.contexts();
    let asked = table.platforms.as_ref().unwrap_or(&scope.file.platforms);
    // Lines that are wrong are among the findings.
    let flavor = table.flavor.as_ref().or(Some(&scope.file.flavor)).filter(|lines| !lines.is_empty());
    let templates = table.tags.as_ref().unwrap_or(&scope.file.tags);
    Some(Service {
        name: name.to_owned(),
        location: resolver.location(),
        tags_location: resolver.tags_location(),
        image: image?,
        context: context?,
        dockerfile: dockerfile?,
        target: table.target.clone(),
        args: over(&scope.file.args, &table.args),
        tags: templates.iter().filter_map(|template| template.0.parse().ok()).collect(),
        flavor: flavor.map(|lines| Flavor::parse(lines.iter().map(|line| line.0.as_str())).unwrap_or_default()),
        labels: over(&scope.file.labels, &table.labels),
        cache,
        secrets,
        ssh,
        contexts,
        needs: table.needs.iter().map(|needed| needed.0.clone()).collect(),
        platforms: platforms(asked),
        implicit_platform: asked.is_empty(),
    })
}

fn over(global: &BTreeMap<String, Text>, own: &BTreeMap<String, Text>) -> BTreeMap<String, String> {
    global.iter().chain(own).map(|(key, value)| (key.clone(), value.to_string())).collect()
}

struct Resolver<'a> {
    scope: &'a Scope<'a>,
    name: &'a str,
    table: &'a ServiceTable,
    findings: &'a mut Vec<Finding>,
}

impl Resolver<'_> {
    fn report(&mut self, code: &'static str, message: impl Into<String>, at: Location) {
        self.findings.push(Finding::error(code, message).at(at));
    }

    /// The table's name, else the member pattern.
    fn location(&self) -> Location {
        let member = self.scope.members.get(self.name);
        match member.filter(|_| !self.scope.layers.has(&["services", self.name])) {
            Some(member) => self.scope.layers.item(&["members"], |item| item.as_str() == Some(&member.pattern)),
            None => self.scope.layers.key(&["services", self.name]),
        }
    }

    fn tags_location(&self) -> Location {
        let layers = self.scope.layers;
        let paths: [&[&str]; 2] = [&["services", self.name, "tags"], &["tags"]];
        paths.into_iter().find(|path| layers.is_written(path)).map_or_else(|| self.location(), |path| layers.value(path))
    }

    fn at(&self, key: &str) -> Location {
        self.scope.layers.value(&["services", self.name, key])
    }

    fn context(&mut self) -> Option<PathBuf> {
        let place = self.scope.place;
        let Some(text) = &self.table.context else {
            if let Some(member) = self.scope.members.get(self.name) {
                return Some(member.directory.clone());
            }
            if self.scope.complete {
                let help = did_you_mean(self.name, self.scope.members.keys().map(String::as_str));
                let help = help.unwrap_or_else(|| "add `context = \"…\"`".to_owned());
                let message = format!("no member directory is named {}, and the service has no context", self.name);
                self.findings.push(Finding::error("brik::config::no-context", message).help(help).at(self.location()));
            }
            return None;
        };
        match place.confine(&place.root, text) {
            Ok(path) if place.files.is_dir(&path) => return Some(path),
            Ok(_) => self.report("brik::config::path", format!("the context {text} is not a directory"), self.at("context")),
            Err(problem) => self.report("brik::config::path", format!("the context {problem}"), self.at("context")),
        };
        None
    }

    /// As written from brik.toml, else from the context.
    fn dockerfile(&mut self, context: &Path) -> Option<PathBuf> {
        let place = self.scope.place;
        let Some(text) = &self.table.dockerfile else {
            let shown = place.shown(&context.join("Dockerfile"));
            match place.confine(context, "Dockerfile") {
                Ok(path) if place.files.is_file(&path) => return Some(path),
                Err(problem @ super::place::PathProblem::LeavesByLink { .. }) => {
                    self.report("brik::config::path", format!("the {problem}"), self.location());
                }
                _ if self.scope.complete => {
                    let at = if self.table.context.is_some() { self.at("context") } else { self.location() };
                    let finding = Finding::error("brik::config::no-dockerfile", format!("there is no file {shown}"));
                    self.findings.push(finding.help("write it, or name another with `dockerfile = \"…\"`").at(at));
                }
                _ => {}
            }
            return None;
        };
        let from_root = place.confine(&place.root, text);
        let problem = match (from_root, place.confine(context, text)) {
            (Ok(path), _) | (_, Ok(path)) if place.files.is_file(&path) => return Some(path),
            (Err(problem), _) => format!("the dockerfile {problem}"),
            (Ok(_), _) => format!("the dockerfile {text} is not a file"),
        };
        self.report("brik::config::path", problem, self.at("dockerfile"));
        None
    }

    fn qualified(&self, text: &str) -> Result<Reference, crate::oci::ReferenceError> {
        match &self.scope.file.registry {
            Some(registry) if !begins_with_host(text) => format!("{registry}/{text}").parse(),
            _ => text.parse(),
        }
    }

    fn image(&mut self) -> Option<Reference> {
        let text = self.table.image.as_deref().unwrap_or(self.name);
        let image = self.qualified(text);
        image.map_err(|error| self.report("brik::config::invalid-reference", error.to_string(), self.at("image"))).ok()
    }

    fn cache(&mut self, image: &Reference) -> Option<Reference> {
        // An image without a registry lives on this machine only.
        let local = || self.scope.file.registry.is_none() && !self.table.image.as_deref().is_some_and(begins_with_host);
        let named = match &self.table.cache {
            Some(Cache::Enabled(false) | Cache::Table(CacheTable { enabled: Some(false), .. })) => return None,
            Some(Cache::Repository(repository) | Cache::Table(CacheTable { repo: Some(repository), .. })) => self.qualified(repository),
            None | Some(Cache::Enabled(true) | Cache::Table(CacheTable { repo: None, .. })) => {
                if local() {
                    return None;
                }
                format!("{}-cache", image.name()).parse()
            }
        };
        named.map_err(|error| self.report("brik::config::invalid-reference", error.to_string(), self.at("cache"))).ok()
    }

    fn secrets(&mut self) -> Vec<Secret> {
        let mut secrets: Vec<Secret> = Vec::new();
        for entry in &self.table.secrets {
            let (id, env, file) = match entry {
                SecretEntry::Id(id) => (id, &None, &None),
                SecretEntry::Table(SecretTable { id, env, file }) => (id, env, file),
            };
            let variable = |name: String| (format!("variable {name}"), SecretSource::Variable(name));
            let (origin, source) = match (env, file) {
                (None, None) => variable(variable_of(id)),
                (Some(env), None) => variable(env.clone()),
                (None, Some(file)) => (format!("file {file}"), SecretSource::File(self.scope.anywhere(file))),
                (Some(_), Some(_)) => {
                    let at = self.entry("secrets", id);
                    self.report("brik::config::secret", format!("the secret {id} has both `env` and `file`"), at);
                    continue;
                }
            };
            if secrets.iter().any(|secret| secret.id == *id) {
                self.report("brik::config::duplicate-id", format!("two secrets have the id {id}"), self.entry("secrets", id));
            }
            secrets.push(Secret { id: id.clone(), source, origin, location: self.entry("secrets", id) });
        }
        secrets
    }

    fn ssh(&mut self) -> Vec<SshAgent> {
        let mut agents: Vec<SshAgent> = Vec::new();
        for entry in &self.table.ssh {
            let (id, socket) = match entry {
                SshEntry::Id(id) => (id, None),
                SshEntry::Table(SshTable { id, socket }) => (id, socket.as_deref()),
            };
            if agents.iter().any(|agent| agent.id == *id) {
                self.report("brik::config::duplicate-id", format!("two ssh agents have the id {id}"), self.entry("ssh", id));
            }
            agents.push(SshAgent { id: id.clone(), socket: socket.map(|path| self.scope.anywhere(path)) });
        }
        agents
    }

    /// The item of a list that is the id or a table with it.
    fn entry(&self, key: &str, id: &str) -> Location {
        let id_of =
            |item: &super::document::Node| item.as_str() == Some(id) || item.get("id").is_some_and(|entry| entry.node.as_str() == Some(id));
        self.scope.layers.item(&["services", self.name, key], id_of)
    }

    fn contexts(&mut self) -> BTreeMap<String, NamedContext> {
        let mut contexts = BTreeMap::new();
        for (name, text) in &self.table.contexts {
            match self.named_context(&text.0) {
                Ok(context) => drop(contexts.insert(name.clone(), context)),
                Err(problem) => {
                    let at = self.scope.layers.value(&["services", self.name, "contexts", name]);
                    self.report("brik::config::path", format!("the context {problem}"), at);
                }
            }
        }
        contexts
    }

    fn named_context(&self, text: &str) -> Result<NamedContext, String> {
        let place = self.scope.place;
        let directory = |text: &str| match place.confine(&place.root, text) {
            Ok(path) if place.files.is_dir(&path) => Ok(path),
            Ok(_) => Err(format!("{text} is not a directory")),
            Err(problem) => Err(problem.to_string()),
        };
        if let Some(image) = text.strip_prefix("docker-image://") {
            return NamedContext::image(image).map_err(|error| error.to_string());
        }
        if let Some(service) = text.strip_prefix("service:").or(text.strip_prefix("target:")) {
            return Ok(NamedContext::Service(service.to_owned()));
        }
        if let Some(layout) = text.strip_prefix("oci-layout://") {
            let (path, reference) = NamedContext::split_layout(layout);
            return Ok(NamedContext::OciLayout { path: directory(path)?, reference: reference.map(str::to_owned) });
        }
        if text.contains("://") || text.starts_with("git@") {
            return Ok(NamedContext::Url(text.to_owned()));
        }
        directory(text).map(NamedContext::Directory)
    }
}

/// `npm-token` is in `$NPM_TOKEN`.
fn variable_of(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}
