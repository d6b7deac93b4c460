//! All services of a run, in the order of their needs, into one [`Plan`] in which identical Steps stand once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::contexts::NamedContexts;
use super::epoch;
use super::error::{Error, ErrorKind};
use super::graph::{EdgeReason, ServiceNames};
use super::key::{CacheKey, KeyInputs};
use super::labels::{OF_A_COMMIT, SourceFacts, rfc3339};
use super::stage::StagePlanner;
use super::state::StageState;
use super::step::{BaseId, ContextId, Root, Step, StepId};
use super::survey::{OutsideName, Survey};
use super::{BaseImage, ImagePlan, Plan, Remote, Selection};
use crate::config::{ImageFormat, NamedContext, Network, did_you_mean};
use crate::dockerfile::Span;
use crate::oci::{ImageConfig, Platform, Reference};
use crate::source::{
    ContentHash, Disk, Files, GitRef, IgnoreFile, PatternList, SelectOptions, StatCache, is_http, scheme_of, shown_source,
};

/// What holds for all services.
pub struct Options<'a> {
    pub build_platform: Platform,
    pub format: ImageFormat,
    pub no_cache: bool,
    pub hosts: Vec<(String, IpAddr)>,
    pub shm_size: Option<u64>,
    /// Of RUNs that do not name one.
    pub network: Network,
    pub names: &'a ServiceNames,
    /// Where contexts and ignore files are read.
    pub files: &'a dyn Files,
    pub stat_cache: Arc<StatCache>,
    pub remote: &'a dyn Remote,
}

/// One service as the planner needs it.
#[derive(Debug)]
pub struct Target {
    pub service: String,
    pub context: PathBuf,
    /// Where `context` was fetched from.
    pub fetched: Option<Fetched>,
    pub dockerfile: Arc<super::Dockerfile>,
    pub target: Option<String>,
    pub args: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    /// What git tells of it.
    pub source_facts: SourceFacts,
    /// Every commit gets its own image: what git tells is part of its key.
    pub exact_labels: bool,
    /// Seconds since 1970 that files are dated with where no SOURCE_DATE_EPOCH says otherwise; `None` keeps their times in any case.
    pub epoch: Option<i64>,
    /// Seconds since 1970 that the configuration and its history are dated with, whatever the Dockerfile says.
    pub created: Option<i64>,
    pub contexts: NamedContexts,
    /// The secrets that it is given, by id, and where their values come from: never these.
    pub secrets: BTreeMap<String, String>,
    /// The ids of the ssh agents that it is given.
    pub agents: BTreeSet<String>,
    pub platforms: Vec<Platform>,
    /// Nobody asked for a platform: `platforms` is this machine's.
    pub implicit_platform: bool,
}

/// A build context that is no directory of the user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetched {
    /// Seconds since 1970 that its source is dated with, if that is known.
    pub time: Option<i64>,
}

/// Plans `targets`, which stand in the order of their needs.
pub fn plan(targets: &[Target], options: &Options) -> Result<Plan, Error> {
    let mut planner = Planner::new(options);
    targets.iter().try_for_each(|target| planner.service_of(target))?;
    Ok(planner.plan)
}

/// Plans those of `targets` that can be planned, and tells by service why the others cannot be, among them those that build on such.
pub fn plan_each(targets: &[Target], options: &Options) -> (Plan, BTreeMap<String, Error>) {
    let mut planner = Planner::new(options);
    let planned = targets.iter().map(|target| (target.service.clone(), planner.service_of(target)));
    let refused = planned.filter_map(|(service, result)| Some((service, result.err()?))).collect();
    (planner.plan, refused)
}

pub(super) struct Planner<'a> {
    pub options: &'a Options<'a>,
    pub plan: Plan,
    steps: HashMap<(CacheKey, Root), StepId>,
    contexts: HashMap<(PathBuf, Option<PathBuf>), ContextId>,
    selections: HashMap<(ContextId, Selector), (Selection, ContentHash)>,
    finished: BTreeMap<(String, Platform), StageState>,
}

/// How a source of a context is read, as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Selector {
    pub source: String,
    pub wildcards: bool,
    pub parents: bool,
    pub exclude: Vec<String>,
}

impl<'a> Planner<'a> {
    fn new(options: &'a Options<'a>) -> Self {
        Self {
            options,
            plan: Plan::default(),
            steps: HashMap::new(),
            contexts: HashMap::new(),
            selections: HashMap::new(),
            finished: BTreeMap::new(),
        }
    }

    /// A service for all its platforms.
    fn service_of(&mut self, target: &Target) -> Result<(), Error> {
        target.platforms.iter().try_for_each(|platform| self.target(target, platform))
    }

    fn target(&mut self, target: &Target, platform: &Platform) -> Result<(), Error> {
        let dockerfile = &target.dockerfile;
        let survey = dockerfile.survey(&target.args, target.target.as_deref(), platform, &self.options.build_platform, &target.contexts)?;
        let source_date = epoch::resolve(self, target, &survey)?;
        let mut state = StagePlanner::new(self, target, platform, &survey, source_date).run()?;
        let created = target.created.or(source_date.and_then(|date| date.0));
        state.complete_labels(target.source_facts.stable(&target.service), false);
        state.complete_labels(target.source_facts.volatile(created), !target.exact_labels);
        let is_free = |name: &&str| !target.exact_labels && !state.has_own_label(name) && !target.labels.contains_key(*name);
        let of_a_commit = OF_A_COMMIT.into_iter().filter(is_free).collect();
        state.image.config.labels.extend(target.labels.clone());
        state.volatile.retain(|name, _| !target.labels.contains_key(name));
        if let Some(epoch) = created.or(target.epoch) {
            let created = rfc3339(epoch);
            state.image.created = Some(created.clone());
            state.image.history.iter_mut().filter(|entry| entry.created.is_none()).for_each(|entry| entry.created = Some(created.clone()));
        }
        // Where FROM --platform chose another platform, the image says so only if none was asked for (BuildKit).
        let said = if target.implicit_platform { state.image.platform() } else { platform.clone() };
        state.image.set_platform(&said);
        state.image.rootfs = Default::default();
        let inputs = self.image_inputs(&state);
        self.plan.images.push(ImagePlan {
            service: target.service.clone(),
            platform: platform.clone(),
            root: state.root,
            config: state.image.clone(),
            volatile: state.volatile.clone(),
            of_a_commit,
            key: inputs.key(),
            inputs,
        });
        self.finished.insert((target.service.clone(), platform.clone()), state);
        Ok(())
    }

    fn image_inputs(&self, state: &StageState) -> KeyInputs {
        let mut inputs = KeyInputs::new("image");
        inputs.add("root", self.plan.root_key(state.root));
        // The same layers may stand in a repository under other digests: recompressed, or in another format.
        if let Some(base) = self.plan.chain(state.root).0 {
            self.plan.bases[base].manifest.layers.iter().for_each(|layer| inputs.add("base layer", layer.digest.to_string()));
        }
        inputs.add(
            "format",
            match self.options.format {
                ImageFormat::Oci => "oci",
                ImageFormat::Docker => "docker",
            },
        );
        inputs.add("config", serde_json::to_string(&state.image).unwrap_or_default());
        inputs
    }

    /// Adds a Step, or finds the one that is the same: same key on the same parent.
    pub fn add_step(&mut self, service: &str, step: Step) -> StepId {
        let place = (step.key, step.parent);
        if let Some(&known) = self.steps.get(&place) {
            let same = &mut self.plan.steps[known];
            if !same.services.iter().any(|s| s == service) {
                same.services.push(service.to_owned());
            }
            // What is made for several platforms is named after none of them.
            if let (Some(mark), Some(other)) = (&mut same.marked, step.marked) {
                mark.target = mark.target.take().filter(|target| other.target.as_ref() == Some(target));
            }
            return known;
        }
        self.plan.steps.push(step);
        self.steps.insert(place, self.plan.steps.len() - 1);
        self.plan.steps.len() - 1
    }

    /// The context in a directory under the ignore file that rules it, walked on first use. `dockerfile` is the one that it is the
    /// context of, `None` for a named context.
    pub fn context(&mut self, path: &Path, dockerfile: Option<&Path>) -> Result<ContextId, ErrorKind> {
        let place = (path.to_owned(), IgnoreFile::locate(self.options.files, dockerfile, path));
        if let Some(&known) = self.contexts.get(&place) {
            return Ok(known);
        }
        let ignore = IgnoreFile::load(self.options.files, dockerfile, path)?;
        self.walk(place, &ignore, self.options.files)
    }

    /// The build context of a service.
    pub fn main_context(&mut self, target: &Target) -> Result<ContextId, ErrorKind> {
        match target.fetched {
            Some(_) => self.fetched(&target.context),
            None => self.context(&target.context, Some(&target.dockerfile.path)),
        }
    }

    /// The context in a directory that was fetched: it is as its author wants it, nothing of it is ignored (BuildKit).
    pub fn fetched(&mut self, path: &Path) -> Result<ContextId, ErrorKind> {
        let place = (path.to_owned(), None);
        match self.contexts.get(&place) {
            Some(&known) => Ok(known),
            None => self.walk(place, &IgnoreFile::default(), &Disk),
        }
    }

    fn walk(&mut self, place: (PathBuf, Option<PathBuf>), ignore: &IgnoreFile, files: &dyn Files) -> Result<ContextId, ErrorKind> {
        let context = files.context(&place.0, ignore, &self.options.stat_cache)?;
        self.plan.contexts.push(context);
        self.contexts.insert(place, self.plan.contexts.len() - 1);
        Ok(self.plan.contexts.len() - 1)
    }

    /// The files of a git repository.
    pub fn checkout(&mut self, service: &str, git: &GitRef, keep_git_dir: bool) -> Result<ContextId, ErrorKind> {
        let checkout = self.options.remote.checkout(service, git, keep_git_dir);
        let checkout = checkout.map_err(|reason| ErrorKind::Download { name: git.shown(), reason })?;
        self.fetched(&checkout.path)
    }

    /// What a source stands for in a context, and the hash of it; found out once, however many services ask.
    pub fn select(&mut self, context: ContextId, selector: Selector) -> Result<(Selection, ContentHash), ErrorKind> {
        let place = (context, selector);
        if let Some(known) = self.selections.get(&place) {
            return Ok(known.clone());
        }
        let Selector { source, wildcards, parents, exclude } = &place.1;
        let exclude = PatternList::new(exclude).map_err(crate::source::Error::from)?;
        let context = &self.plan.contexts[context];
        let selection = context.select(source.as_bytes(), &SelectOptions { wildcards: *wildcards, parents: *parents, exclude })?;
        let hash = context.hash(&selection)?;
        Ok(self.selections.entry(place).or_insert((Arc::new(selection), hash)).clone())
    }

    pub fn base(&mut self, image: Arc<BaseImage>) -> BaseId {
        let same_place = |one: &Option<Reference>, other: &Option<Reference>| match (one, other) {
            (Some(one), Some(other)) => one.same_repository(other),
            (one, other) => one == other,
        };
        let same = |base: &Arc<BaseImage>| base.digest == image.digest && same_place(&base.reference, &image.reference);
        let known = self.plan.bases.iter().position(same);
        known.unwrap_or_else(|| {
            self.plan.bases.push(image);
            self.plan.bases.len() - 1
        })
    }

    /// The state behind a name that is no stage: a named context, a service of this run, or an image.
    pub fn outside(&mut self, target: &Target, name: &str, platform: &Platform) -> Result<Outside, ErrorKind> {
        match target.contexts.for_outside(name) {
            Some(NamedContext::Directory(path)) => return self.context(path, None).map(Outside::Files),
            Some(NamedContext::Service(service)) => return self.service(service, platform, name),
            Some(NamedContext::Image(reference)) => return self.image(&reference.clone(), platform, name),
            Some(NamedContext::Scratch) => {
                let state = StageState::on(Root::Scratch, ImageConfig::scratch(platform), platform.clone());
                return Ok(Outside::State(Box::new(state)));
            }
            Some(NamedContext::OciLayout { path, reference }) => {
                let image = self.options.remote.layout(path, reference.as_deref(), platform);
                return self.on_image(image, platform, name);
            }
            Some(NamedContext::Url(url)) => return self.url_context(target, url).map(Outside::Files),
            None => {}
        }
        if let Some(service) = self.options.names.service_of(name, &target.service).map(str::to_owned) {
            return self.service(&service, platform, name);
        }
        self.image(&name.parse()?, platform, name).map_err(|error| match error {
            ErrorKind::Base { name, reason, .. } => ErrorKind::Base { near: self.near(target, &name), name, reason },
            other => other,
        })
    }

    /// What a name that leads to no image may have been meant to be.
    fn near(&self, target: &Target, name: &str) -> Option<String> {
        let stages = target.dockerfile.syntax.stages.iter().filter_map(|stage| Some(stage.name.as_ref()?.text.as_str()));
        let others = self.options.names.names().filter(|service| *service != target.service);
        did_you_mean(name, stages.chain(others).chain(target.contexts.names()))
    }

    fn service(&self, service: &str, platform: &Platform, name: &str) -> Result<Outside, ErrorKind> {
        let Some(state) = self.finished.get(&(service.to_owned(), platform.clone())) else {
            let built = self.finished.keys().filter(|(other, _)| other == service).map(|(_, platform)| platform.clone()).collect();
            let (name, service) = (name.to_owned(), service.to_owned());
            return Err(ErrorKind::NotBuilt { name, service, missing: vec![platform.clone()], built });
        };
        let mut image = StageState::on(state.root, state.image.clone(), state.platform.clone());
        image.volatile.clone_from(&state.volatile);
        Ok(Outside::State(Box::new(image)))
    }

    fn image(&mut self, reference: &Reference, platform: &Platform, name: &str) -> Result<Outside, ErrorKind> {
        self.on_image(self.options.remote.base(reference, platform), platform, name)
    }

    fn on_image(&mut self, image: Result<Arc<BaseImage>, String>, platform: &Platform, name: &str) -> Result<Outside, ErrorKind> {
        let image = image.map_err(|reason| ErrorKind::Base { name: name.to_owned(), reason, near: None })?;
        let mut config = image.config.clone();
        // Its own layers are listed again when the image that is built on it is put together.
        config.rootfs.diff_ids.clear();
        let root = if image.config.rootfs.diff_ids.is_empty() { Root::Scratch } else { Root::Base(self.base(image)) };
        Ok(Outside::State(Box::new(StageState::on(root, config, platform.clone()))))
    }
}

impl Planner<'_> {
    /// A named context by its URL: the files of a git repository, or what was downloaded as the file `context`, archive or not
    /// (BuildKit's `NamedContext.Load`).
    fn url_context(&mut self, target: &Target, url: &str) -> Result<ContextId, ErrorKind> {
        match GitRef::parse(url, false) {
            Some(git) => {
                let git = git?;
                self.checkout(&target.service, &git, git.keep_git_dir.unwrap_or(false))
            }
            None if is_http(url) => {
                let remote = self.options.remote;
                let fetched = remote.download(&target.service, url, None).and_then(|download| remote.as_directory(&download));
                let path = fetched.map_err(|reason| ErrorKind::Download { name: shown_source(url), reason })?;
                self.fetched(&path)
            }
            None => Err(ErrorKind::ContextScheme { scheme: scheme_of(url).unwrap_or(url).to_owned() }),
        }
    }
}

/// What a name from outside means.
pub(super) enum Outside {
    State(Box<StageState>),
    /// Files without a configuration.
    Files(ContextId),
}

/// An image that a Dockerfile names and no service builds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedImage {
    pub reference: Reference,
    pub platform: Platform,
    pub reason: EdgeReason,
    /// Where the Dockerfile names it.
    pub span: Span,
}

/// The names from outside that are images, for the service `asking` on `platform`: what is known of its bases before planning.
pub fn images_of(survey: &Survey, contexts: &NamedContexts, names: &ServiceNames, asking: &str, platform: &Platform) -> Vec<NamedImage> {
    let image = |outside: &OutsideName| {
        let reference = match contexts.for_outside(&outside.name) {
            Some(NamedContext::Image(reference)) => reference.clone(),
            Some(_) => return None,
            None if names.service_of(&outside.name, asking).is_some() => return None,
            None => outside.name.parse().ok()?,
        };
        let platform = outside.platform.as_ref().unwrap_or(platform).clone();
        Some(NamedImage { reference, platform, reason: outside.reason.clone(), span: outside.span })
    };
    survey.outside.iter().filter_map(image).collect()
}
