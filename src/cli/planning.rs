//! From the command line to a plan: what `brik build` runs, and what other commands look at. Nothing is told here and nothing runs.

use std::sync::Arc;
use std::time::Instant;

use super::args::{Global, PlanArgs};
use super::bases::{bases, pins_of, read_lock, unlocked};
use super::failure::{Code, Failure};
use super::handover::Handover;
use super::lint::{Bases, Reach, lint_all};
use super::request::{Request, created, epoch};
use super::secrets::{self, Shown};
use super::session::no_space;
use super::source_facts::source_facts;
use super::unused_args::unused_args;
use super::workspace::{Loaded, Workspace, plan_finding};
use crate::build::RemoteSources;
use crate::build::sandbox::{self, Rung};
use crate::config::{Config, Finding, Findings, Severity};
use crate::oci::{Digest, Pins, Platform, Reference};
use crate::plan::{self, Options, Plan, Remote, Target};
use crate::registry::{Client, ClientOptions, Counts, Credentials, RegistryOptions, RetryPolicy};
use crate::report::Redactor;
use crate::source::{Disk, Files, GitFacts, StatCache};
use crate::store::Store;

/// What a command works with.
pub struct Setup {
    /// The rung of the sandbox, where this process is inside of it already.
    pub inside: Option<Rung>,
    pub handover: Handover,
    pub request: Request,
    pub redactor: Redactor,
    pub store: Store,
    pub client: Client,
    pub started: Instant,
}

/// What stands before anything runs.
pub struct Planned<'s> {
    pub git: GitFacts,
    /// What is known of the files of the contexts.
    pub stat_cache: Arc<StatCache>,
    pub workspace: Workspace<'s>,
    pub targets: Vec<Target>,
    pub plan: Plan,
    /// Warnings about brik.toml.
    pub findings: Vec<Finding>,
    /// Warnings of the build checks.
    pub lints: Vec<Finding>,
}

impl Setup {
    pub fn new(global: &Global, args: &PlanArgs) -> Result<Self, Failure> {
        let inside = sandbox::inside();
        let handover = Handover::received();
        let started = handover.started();
        let request = Request::new(global, args, &handover.answers)?;
        let redactor = secrets::redactor(&request.env)?;
        let store = Store::open(&global.store_path(&request.env)?).map_err(|error| Failure::failed(error.to_string()))?;
        let client = client(&request, &redactor, handover.counts)?;
        Ok(Self { inside, handover, request, redactor, store, client, started })
    }

    /// Plans what `args` ask for; `push`: to be pushed, which not every service can be.
    pub fn plan(&self, args: &PlanArgs, push: bool) -> Result<Planned<'_>, Failure> {
        let Self { request, redactor, store, .. } = self;
        let git = GitFacts::read(&request.config.root, &request.env);
        let (workspace, mut findings) = Workspace::load(&request.config, &Disk, &request.services, &request.tagging(&git));
        if Findings(findings.clone()).has_errors() {
            return Err(Failure::findings(Code::Usage, &findings, Some(redactor)));
        }
        let (pins, unlocked) = self.pins(args, &workspace)?;
        findings.extend(unlocked);
        if push {
            workspace.services.iter().try_for_each(|loaded| pushable(request, args, loaded))?;
        }
        let stat_cache = store.stat_cache(&Digest::of(request.config.root.as_os_str().as_encoded_bytes()).hex());
        let stat_cache = Arc::new(StatCache::load(&stat_cache));
        let remote = self.remote(&workspace).pinned(pins, args.locked);
        let targets = self.targets(&workspace, &git)?;
        remote.prefetch(&workspace.references());
        let planned = plan::plan(&targets, &self.options(args, &workspace, &Disk, &stat_cache, &remote));
        let lints = lint(&workspace, &remote, planned.as_ref().ok());
        let base = |reference: &Reference, platform: &Platform| remote.base(reference, platform).ok().map(|base| base.config.clone());
        findings.extend(unused_args(request.given_args(), &workspace, base));
        let plan = planned.map_err(|error| plan_failure(&workspace, &targets, &error, &lints, self))?;
        if Findings(lints.clone()).has_errors() {
            return Err(Failure::findings(Code::Findings, &lints, Some(redactor)));
        }
        // A stat cache that cannot be written costs only time.
        let _ = store.temp_path().map(|temporary| stat_cache.save(&temporary));
        Ok(Planned { git, stat_cache, workspace, targets, plan, findings, lints })
    }

    /// What servers tell, each asked once in a run whoever plans.
    pub fn remote<'s>(&'s self, workspace: &Workspace<'s>) -> RemoteSources<'s> {
        let shown = workspace.services.iter().map(|loaded| (loaded.service.name.as_str(), Shown::from(loaded.service))).collect();
        RemoteSources::new(&self.client, &self.store, secrets::access(shown, &self.request.env, &self.redactor), &self.handover.answers)
    }

    pub fn options<'o>(
        &self,
        args: &PlanArgs,
        workspace: &'o Workspace,
        files: &'o dyn Files,
        stat_cache: &Arc<StatCache>,
        remote: &'o dyn Remote,
    ) -> Options<'o> {
        Options {
            build_platform: Platform::host(),
            format: workspace.config.build.format,
            no_cache: args.no_cache,
            hosts: self.request.hosts.clone(),
            shm_size: self.request.shm_size,
            network: workspace.config.build.network,
            names: &workspace.names,
            files,
            stat_cache: Arc::clone(stat_cache),
            remote,
        }
    }

    pub fn targets(&self, workspace: &Workspace, git: &GitFacts) -> Result<Vec<Target>, Failure> {
        let request = &self.request;
        let target = |loaded: &Loaded| {
            Ok(Target {
                service: loaded.service.name.clone(),
                context: loaded.service.context.clone(),
                fetched: request.fetched,
                dockerfile: loaded.dockerfile.clone(),
                target: loaded.service.target.clone(),
                args: loaded.service.args.clone(),
                labels: loaded.service.labels.clone(),
                contexts: loaded.contexts.clone(),
                secrets: loaded.service.secrets.iter().map(|secret| (secret.id.clone(), secret.origin.clone())).collect(),
                agents: loaded.service.ssh.iter().map(|agent| agent.id.clone()).collect(),
                platforms: loaded.service.platforms.clone(),
                implicit_platform: loaded.service.implicit_platform,
                epoch: epoch(workspace.config),
                created: created(&request.env)?,
                source_facts: source_facts(git, &request.env, &workspace.config.root, &loaded.service.context, loaded.released.clone())?,
                exact_labels: workspace.config.build.exact_labels,
            })
        };
        workspace.services.iter().map(target).collect()
    }

    /// What brik.lock and `--pin` hold tags to, and warnings about bases that it does not hold. One image without a brik.toml has no lock.
    fn pins(&self, args: &PlanArgs, workspace: &Workspace) -> Result<(Pins, Vec<Finding>), Failure> {
        let given = pins_of(args);
        if args.image.is_given() {
            return Ok((given, Vec::new()));
        }
        let lock = read_lock(workspace.config)?;
        let mut open = bases(workspace);
        open.retain(|name, _| !given.contains_key(name));
        let unlocked = unlocked(workspace.config, &open, lock.as_ref(), args.locked);
        if Findings(unlocked.clone()).has_errors() {
            return Err(Failure::findings(Code::Findings, &unlocked, Some(&self.redactor)));
        }
        let mut pins = lock.map(|lock| lock.pins()).unwrap_or_default();
        pins.extend(given);
        Ok((pins, unlocked))
    }

    /// Whether what runs here runs with a single id: asked of the kernel only where it matters.
    pub fn single_uid(&self) -> bool {
        let rung = self.inside.or_else(|| sandbox::probe().ok());
        rung == Some(Rung::SingleUid)
    }
}

/// Refuses to push what has no registry or no tag.
fn pushable(request: &Request, args: &PlanArgs, loaded: &Loaded) -> Result<(), Failure> {
    let (service, image) = (&loaded.service.name, &loaded.service.image);
    // docker.io only because nothing names a registry.
    let nowhere = request.config.registry.is_none() && image.registry == "docker.io" && image.repository.starts_with("library/");
    if !args.image.is_given() && nowhere {
        let image = image.name();
        return Err(Failure::usage(format!("{service} would be pushed to {image}: set `registry` in brik.toml, or `image` with a host")));
    }
    if loaded.tags.is_empty() {
        return Err(Failure::usage(format!(
            "{service} is needed by what is to be pushed and has no tag here: none of its templates has a value"
        )));
    }
    Ok(())
}

fn client(request: &Request, redactor: &Redactor, before: Counts) -> Result<Client, Failure> {
    let credentials = Credentials::discover(request.env.clone(), request.config.registry.as_deref());
    let options = ClientOptions { credentials: Arc::new(credentials), before, ..client_options(Some(&request.config)) };
    let client = Client::new(options).map_err(|error| Failure::failed(error.to_string()))?;
    learn(redactor, &client)?;
    Ok(client)
}

/// How registries are spoken to, as brik.toml has it; as nobody.
pub fn client_options(config: Option<&Config>) -> ClientOptions {
    let registries = config.into_iter().flat_map(|config| &config.registries).map(|(host, options)| {
        (host.clone(), RegistryOptions { mirror: options.mirror.clone(), insecure: options.insecure, ca: options.ca.clone() })
    });
    let silence = config.and_then(|config| config.build.registry_timeout);
    let retries = silence.map_or_else(RetryPolicy::default, |silence| RetryPolicy { silence, ..RetryPolicy::default() });
    ClientOptions { registries: registries.collect(), retries, ..ClientOptions::default() }
}

/// Makes the credentials that are known by now unsayable. Helpers answer late, so this is done again before anything is told.
pub fn learn(redactor: &Redactor, client: &Client) -> Result<(), Failure> {
    let secrets = client.credentials().secrets();
    secrets.iter().try_for_each(|secret| redactor.add(secret.as_bytes())).map_err(|error| Failure::usage(error.to_string()))
}

/// BuildKit's build checks of the stages that are built.
fn lint(workspace: &Workspace, remote: &RemoteSources, plan: Option<&Plan>) -> Vec<Finding> {
    let image = |reference: &Reference, platform: &Platform| remote.base(reference, platform).ok().map(|base| base.config.clone());
    let service = |name: &str, platform: &Platform| {
        let image = plan?.images.iter().find(|image| image.service == name && image.platform == *platform)?;
        Some(image.config.clone())
    };
    lint_all(workspace, Reach::Needed, &Bases { image: &image, service: &service })
}

/// What is wrong, after the warnings that may say why.
fn plan_failure(workspace: &Workspace, targets: &[Target], error: &plan::Error, lints: &[Finding], setup: &Setup) -> Failure {
    let dockerfile = targets.iter().map(|target| &target.dockerfile).find(|dockerfile| dockerfile.path == error.dockerfile);
    let mut finding = match dockerfile {
        Some(dockerfile) => plan_finding(workspace.config, dockerfile, error),
        None => Finding::error("brik::plan::invalid", error.to_string()),
    };
    // What servers send goes to the store.
    if is_no_space(&finding.message) {
        finding = finding.help(no_space(setup.store.root()));
    }
    let lints = lints.iter().filter(|lint| lint.severity == Severity::Warning).cloned();
    Failure::findings(Code::Failed, &lints.chain([finding]).collect::<Vec<_>>(), Some(&setup.redactor))
}

/// Whether a reason is a full disk: planning has it in words only, also in those of git.
fn is_no_space(reason: &str) -> bool {
    ["No space left on device", "Disk quota exceeded"].iter().any(|words| reason.contains(words))
}
