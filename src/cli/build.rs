//! `brik build`: plan, look up, and only if something has to run, enter the sandbox and build.

use std::process::ExitCode;
use std::sync::Arc;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::args::{BuildArgs, Global, Progress};
use super::failure::{Code, Failure};
use super::handover::Handover;
use super::lint::{Bases, Reach, lint_all, one_line};
use super::request::Request;
use super::secrets::{self, Given, Shown};
use super::session::Session;
use super::workspace::{Loaded, Workspace, plan_finding};
use crate::build::sandbox::{self, CancelFlag, Rung};
use crate::build::{Layers, Pusher, RemoteSources, Supplies, look_up};
use crate::config::{Finding, Findings, Severity};
use crate::oci::{Digest, Platform, Reference};
use crate::plan::{self, Options, Plan, Remote, Target};
use crate::registry::{Client, ClientOptions, Counts, Credentials, RegistryOptions};
use crate::report::{Event, Mode, Redactor, Reporter, Terminal};
use crate::source::{GitFacts, StatCache};
use crate::store::Store;

/// Runs brik again inside its namespaces, unless it is where it can work already.
pub fn enter_sandbox(hand_over: &[u8]) -> Result<Entered, Failure> {
    let refused = |error: sandbox::SandboxError| Failure::diagnosed(Code::Failed, "brik::sandbox::refused", &error.to_string(), None);
    Ok(match sandbox::enter(hand_over).map_err(refused)? {
        sandbox::Entry::Ran(code) => Entered::Ran(ExitCode::from(u8::try_from(code).unwrap_or(1))),
        sandbox::Entry::Here(rung) => Entered::Here(rung),
    })
}

/// Where brik is after [`enter_sandbox`].
pub enum Entered {
    /// Everything is done, by a brik inside.
    Ran(ExitCode),
    /// This process goes on.
    Here(Rung),
}

pub fn run(global: &Global, args: &BuildArgs) -> Result<ExitCode, Failure> {
    let inside = sandbox::inside();
    let mut handover = Handover::received();
    let started = handover.started();
    let request = Request::new(global, args, &handover.answers)?;
    let redactor = Redactor::new();
    let store = Store::open(&global.store_path(&request.env)?).map_err(|error| Failure::failed(error.to_string()))?;
    let client = client(&request, &redactor, handover.counts)?;
    let git = GitFacts::read(&request.config.root, &request.env);
    let (workspace, findings) = Workspace::load(&request.config, &args.services, &git, request.tags.as_deref());
    if Findings(findings.clone()).has_errors() {
        return Err(Failure::findings(Code::Usage, &findings, Some(&redactor)));
    }
    if let Some(loaded) = workspace.services.iter().find(|loaded| args.push && args.image.image.is_none() && nowhere(&request, loaded)) {
        let (service, image) = (&loaded.service.name, loaded.service.image.name());
        return Err(Failure::usage(format!("{service} would be pushed to {image}: set `registry` in brik.toml, or `image` with a host")));
    }
    if let Some(loaded) = workspace.services.iter().find(|loaded| args.push && loaded.tags.is_empty()) {
        let service = &loaded.service.name;
        return Err(Failure::usage(format!(
            "{service} is needed by what is to be pushed and has no tag here: none of its templates has a value"
        )));
    }
    let stat_cache = Arc::new(StatCache::load(&store.stat_cache(&Digest::of(request.config.root.as_os_str().as_encoded_bytes()).hex())));
    let shown = workspace.services.iter().map(|loaded| (loaded.service.name.as_str(), Shown::from(loaded.service))).collect();
    let remote = RemoteSources::new(&client, &store, secrets::access(shown, &request.env, &redactor), &handover.answers);
    let targets = targets(&request, &workspace)?;
    remote.prefetch(&workspace.images(&targets));
    let options = Options {
        build_platform: Platform::host(),
        format: request.config.build.format,
        no_cache: args.no_cache,
        hosts: request.hosts.clone(),
        shm_size: request.shm_size,
        names: &workspace.names,
        stat_cache: stat_cache.clone(),
        remote: &remote,
    };
    let planned = plan::plan(&targets, &options);
    let lints = lint(&workspace, &remote, planned.as_ref().ok());
    let plan = planned.map_err(|error| plan_failure(&workspace, &targets, &error, &lints, &redactor))?;
    if Findings(lints.clone()).has_errors() {
        return Err(Failure::findings(Code::Findings, &lints, Some(&redactor)));
    }
    // It borrows the store, which another process is to have.
    drop(remote);
    // A stat cache that cannot be written costs only time.
    let _ = stat_cache.save();
    let single_uid = || inside.map_or_else(|| sandbox::probe().is_ok_and(|rung| rung == Rung::SingleUid), |rung| rung == Rung::SingleUid);
    let lookup = look_up(&plan, &store, &single_uid);
    handover.note(&client, started);
    // Steps need namespaces where there can be any. The outer process has planned in silence and becomes the one that waits.
    let rung = match lookup.run.is_empty() {
        true => inside.unwrap_or(Rung::Root),
        false => match enter_sandbox(&handover.to_bytes())? {
            Entered::Ran(code) => return Ok(code),
            Entered::Here(rung) => rung,
        },
    };
    let given = Given::read(workspace.services.iter().map(|loaded| loaded.service), &request.env, &redactor)?;
    learn(&redactor, &client)?;
    store.reclaim();

    let reporter = reporter(global, &redactor)?;
    for finding in findings.iter().chain(&request.config.warnings) {
        reporter.warning(finding.one_line());
    }
    lints.iter().for_each(|finding| reporter.warning(one_line(finding)));
    handover.warnings.into_iter().for_each(|warning| reporter.warning(warning));
    if !lookup.run.is_empty() {
        reporter.emit(Event::Sandbox { description: rung.to_string() });
        let ours = given.missing.iter().filter(|(service, _)| targets.iter().any(|target| target.service == *service));
        ours.for_each(|(_, missing)| reporter.warning(missing.clone()));
    }
    let noticed = if lookup.single_uid { Rung::SingleUid } else { rung };
    noticed.notice().into_iter().for_each(|notice| reporter.notice(notice));
    reporter
        .emit(Event::Planned { services: targets.iter().map(|target| target.service.clone()).collect(), steps: plan.steps.len() as u64 });
    let cancel = cancel_on_signals()?;
    let layers = Layers { store: &store, client: &client, reporter: &reporter, rung };
    let mirrors = request.config.registries.iter().filter_map(|(host, options)| Some((host.clone(), options.mirror.clone()?)));
    let session = Session {
        request: &request,
        args,
        workspace: &workspace,
        plan: &plan,
        layers,
        pusher: Pusher::new(layers, mirrors.collect()),
        redactor: &redactor,
        supplies: Supplies { secrets: given.secrets, agents: given.agents, ca_certs: request.config.build.ca_certs.clone(), cancel },
        started,
    };
    let (results, ended) = session.build(&lookup);
    let success = ended.is_ok();
    reporter.emit(Event::Finished { success, seconds: started.elapsed().as_secs_f64() });
    reporter.finish();
    session.tell(&results, success)?;
    ended.map(|()| ExitCode::SUCCESS)
}

/// Whether an image got docker.io only because nothing names a registry.
fn nowhere(request: &Request, loaded: &Loaded) -> bool {
    request.config.registry.is_none()
        && loaded.service.image.registry == "docker.io"
        && loaded.service.image.repository.starts_with("library/")
}

fn client(request: &Request, redactor: &Redactor, before: Counts) -> Result<Client, Failure> {
    let host = request.config.registry.as_deref().map(|registry| registry.split('/').next().unwrap_or(registry));
    let credentials = Credentials::discover(request.env.clone(), host);
    let registries = request.config.registries.iter().map(|(host, options)| {
        (host.clone(), RegistryOptions { mirror: options.mirror.clone(), insecure: options.insecure, ca: options.ca.clone() })
    });
    let options =
        ClientOptions { registries: registries.collect(), credentials: Arc::new(credentials), before, ..ClientOptions::default() };
    let client = Client::new(options).map_err(|error| Failure::failed(error.to_string()))?;
    learn(redactor, &client)?;
    Ok(client)
}

/// Makes the credentials that are known by now unsayable. Helpers answer late, so this is done again before anything is told.
pub fn learn(redactor: &Redactor, client: &Client) -> Result<(), Failure> {
    let secrets = client.credentials().secrets();
    secrets.iter().try_for_each(|secret| redactor.add(secret.as_bytes())).map_err(|error| Failure::usage(error.to_string()))
}

fn targets(request: &Request, workspace: &Workspace) -> Result<Vec<Target>, Failure> {
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
            platforms: loaded.service.platforms.clone(),
            implicit_platform: loaded.service.implicit_platform,
            epoch: request.epoch(),
            created: request.created()?,
        })
    };
    workspace.services.iter().map(target).collect()
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
fn plan_failure(workspace: &Workspace, targets: &[Target], error: &plan::Error, lints: &[Finding], redactor: &Redactor) -> Failure {
    let dockerfile = targets.iter().map(|target| &target.dockerfile).find(|dockerfile| dockerfile.path == error.dockerfile);
    let finding = match dockerfile {
        Some(dockerfile) => plan_finding(workspace.config, dockerfile, error),
        None => Finding::error("brik::plan::invalid", error.to_string()),
    };
    let lints = lints.iter().filter(|lint| lint.severity == Severity::Warning).cloned();
    Failure::findings(Code::Failed, &lints.chain([finding]).collect::<Vec<_>>(), Some(redactor))
}

fn reporter(global: &Global, redactor: &Redactor) -> Result<Reporter, Failure> {
    let mode = match global.progress {
        Progress::Auto => Mode::Auto,
        Progress::Tty => Mode::Tty,
        Progress::Plain => Mode::Plain,
        Progress::Json => Mode::Json,
        Progress::Quiet => Mode::Quiet,
    };
    let reporter = Reporter::new(mode, global.verbose, redactor.clone(), Box::new(std::io::stderr()), Terminal::stderr());
    reporter.map_err(|error| Failure::failed(error.to_string()))
}

/// How long a cancelled run may take to end by itself.
const GRACE: std::time::Duration = std::time::Duration::from_millis(1500);

/// A SIGINT, SIGTERM or SIGHUP ends every RUN and keeps what is finished.
fn cancel_on_signals() -> Result<CancelFlag, Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("signals cannot be handled: {error}"));
    let cancel = CancelFlag::new().map_err(failed)?;
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(failed)?;
    let flag = cancel.clone();
    std::thread::spawn(move || {
        if signals.forever().next().is_none() {
            return;
        }
        flag.cancel();
        // RUNs end at once and the main thread says how it ended. Who waits for a network or a lock is not waited for: the store and the
        // registry hold nothing half-done, and the RUNs die with this process.
        std::thread::sleep(GRACE);
        Failure::interrupted().tell();
        std::process::exit(Code::Interrupted as i32);
    });
    Ok(cancel)
}
