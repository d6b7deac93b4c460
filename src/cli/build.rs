//! `brik build`: plan, look up, and only if something has to run, enter the sandbox and build.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;

use super::args::{BuildArgs, Global, Progress};
use super::dashboard::report_nothing;
use super::failure::{Code, Failure, Voice};
use super::interrupt::Interrupts;
use super::lint::one_line;
use super::output::{Destination, check_writable};
use super::places::{Places, place};
use super::planning::{Planned, Setup, learn};
use super::policy;
use super::reasons::Reasons;
use super::secrets::Given;
use super::session::{Outcomes, Results, Session, Stop};
use super::{preview, since};
use crate::build::sandbox::{self, Rung};
use crate::build::{self, Layers, Lookup, Origins, Pusher, Supplies};
use crate::cache::{ImageRecord, Message, Shared};
use crate::config::{Finding, Isolation};
use crate::report::{Event, Forge, Mode, Redactor, Reporter, Terminal};

/// The exit code of what SIGKILL has ended, as a shell has it.
const KILLED: i32 = 137;

/// Runs brik again inside its namespaces, unless it is where it can work already.
pub fn enter_sandbox(hand_over: &[u8]) -> Result<Entered, Failure> {
    let refused = |error: sandbox::SandboxError| {
        let finding = Finding::error("brik::sandbox::refused", error.to_string());
        let help = build::Error::from(error).help();
        Failure::findings(Code::Failed, &[help.into_iter().fold(finding, Finding::help)], None)
    };
    Ok(match sandbox::enter(hand_over).map_err(refused)? {
        sandbox::Entry::Ran(KILLED) => {
            let message = "brik was killed inside its sandbox (SIGKILL), often for want of memory";
            let finding = Finding::error("brik::build::failed", message).help("give it more, or let fewer work at a time with --jobs");
            return Err(Failure::findings(Code::Failed, &[finding], None));
        }
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

/// Refuses to run anything that is kept apart by less than brik.toml asks for.
fn hold_to(isolation: Isolation, rung: Rung) -> Result<(), Failure> {
    if isolation == Isolation::Any || rung != Rung::Chroot {
        return Ok(());
    }
    let reason = sandbox::probe_ladder().ok().and_then(|(_, reason)| reason).map_or(String::new(), |reason| format!(": {reason}"));
    let message = format!("`isolation = \"namespaces\"` in [build], and there are none to be had here{reason}");
    Err(Failure::diagnosed(Code::Failed, "brik::sandbox::refused", &message, None))
}

pub fn run(global: &Global, args: &BuildArgs) -> Result<ExitCode, Failure> {
    let setup = Setup::new(global, &args.what)?;
    let destinations = args.output.iter().map(|text| Destination::parse(text, &setup.request.cwd)).collect::<Result<Vec<_>, _>>()?;
    let jobs = jobs(args, &setup)?;
    if args.dry_run {
        return preview::tell(&setup, &args.what, args.push, args.format);
    }
    for (flag, path) in
        args.report.iter().map(|file| ("--report", file.path())).chain(args.metadata_file.iter().map(|path| ("--metadata-file", &**path)))
    {
        check_writable(&setup.request.cwd.join(path)).map_err(|error| Failure::failed(format!("{flag}: {error}")))?;
    }
    let voice = Voice::of_build(global);
    let interrupts = Interrupts::watch(setup.store.root(), voice.clone())?;
    let (planned, affected) = plan(&setup, args).inspect_err(|_| report_nothing(&setup, &args.report))?;
    let shared = setup.shared(&args.what.cache, args.push, &planned.workspace)?;
    let (reporter, done, images) = (Cell::new(None), Mutex::default(), RefCell::default());
    // What a cache promises may turn out not to be there: every such blob is lost once.
    loop {
        if let Some(code) = build(
            global,
            args,
            &setup,
            &planned,
            &Outputs {
                destinations: &destinations,
                jobs,
                shared: &shared,
                affected: &affected,
                voice: &voice,
                interrupts: &interrupts,
                reporter: &reporter,
                done: &done,
                images: &images,
            },
        )? {
            return Ok(code);
        }
    }
}

/// What is to be built, and what `--since` has to say.
fn plan<'s>(setup: &'s Setup, args: &BuildArgs) -> Result<(Planned<'s>, Vec<String>), Failure> {
    let mut planned = setup.plan(&args.what, args.push)?;
    let affected = since::narrow(setup, &args.what, &mut planned)?;
    if args.push {
        let warnings = policy::before_push(setup, &planned, true)?;
        planned.findings.extend(warnings);
    }
    Ok((planned, affected))
}

/// Where results go, and how.
struct Outputs<'a> {
    destinations: &'a [Destination],
    jobs: usize,
    shared: &'a Shared<'a>,
    /// What `--since` has to say.
    affected: &'a [String],
    /// Where failures are told.
    voice: &'a Voice,
    interrupts: &'a Interrupts,
    /// Of the attempt before: what has run then is counted, and what there is to say is said once.
    reporter: &'a Cell<Option<Reporter>>,
    /// Services that are done, also by the attempts before.
    done: &'a Mutex<BTreeMap<String, Outcomes>>,
    /// Their images, by index in the plan.
    images: &'a RefCell<BTreeMap<usize, ImageRecord>>,
}

/// `None` if everything is to be looked up again.
fn build(global: &Global, args: &BuildArgs, setup: &Setup, planned: &Planned, outputs: &Outputs) -> Result<Option<ExitCode>, Failure> {
    let Setup { inside, handover, request, redactor, store, client, started } = setup;
    let Planned { workspace, plan, .. } = planned;
    let &Outputs { destinations, jobs, shared, voice, interrupts, .. } = outputs;
    let mut earlier = outputs.reporter.take();
    let named = workspace.config.services.values().flat_map(|service| [&service.image].into_iter().chain(&service.cache));
    let origins = Origins::of(plan).and_of(named.chain(shared.repositories()));
    let lookup = setup.look_up(plan, shared, &origins, &outputs.images.borrow());
    // Steps need namespaces where there can be any. The outer process has planned in silence and becomes the one that waits.
    let rung = match lookup.run.is_empty() {
        true => inside.unwrap_or(Rung::Root),
        false => {
            // The one inside talks now.
            if inside.is_none() {
                earlier.take().inspect(Reporter::finish);
            }
            match enter_sandbox(&handover.to_bytes(client, *started))? {
                Entered::Ran(code) => return Ok(Some(code)),
                Entered::Here(rung) => rung,
            }
        }
    };
    hold_to(request.config.build.isolation, rung)?;
    let given = match Given::read(workspace.services.iter().map(|loaded| loaded.service), &request.env, redactor) {
        // Nobody asks for them.
        Err(_) if lookup.run.is_empty() => Given::default(),
        given => given?,
    };
    learn(redactor, client)?;
    store.reclaim();
    let reasons = Reasons::find(planned, &lookup, store, shared, redactor);

    let reporter = match earlier {
        Some(reporter) => reporter,
        None => {
            let reporter = new_reporter(global, redactor)?;
            announce(setup, planned, outputs, &reporter);
            announce_run(planned, &lookup, rung, &given, &reporter);
            reporter
        }
    };
    tell_of_cache(shared, &reporter);
    let cancel = interrupts.cancel(&reporter)?;
    let layers = Layers { store, client, reporter: &reporter, rung, origins: &origins };
    let mirrors = request.config.registries.iter().filter_map(|(host, options)| Some((host.clone(), options.mirror.clone()?)));
    let repositories = workspace.services.iter().map(|loaded| (loaded.service.name.as_str(), &loaded.service.image));
    let pusher = Pusher::new(layers, mirrors.collect(), repositories.collect());
    let session = Session {
        request,
        destinations,
        jobs,
        args,
        workspace,
        plan,
        reasons: &reasons,
        layers,
        pusher: &pusher,
        shared,
        redactor,
        supplies: Supplies {
            secrets: given.secrets,
            missing: given.missing,
            agents: given.agents,
            ca_certs: request.config.build.ca_certs.clone(),
            processes: request.config.build.processes,
            memory: request.config.build.memory,
            cancel,
        },
        started: *started,
        failed: Mutex::default(),
        done: outputs.done,
    };
    let (results, ended) = session.build(&lookup);
    tell_of_cache(shared, &reporter);
    let failed = match ended {
        Ok(()) => None,
        Err(Stop::Failed(failure)) => Some(failure),
        Err(Stop::Lost) => {
            outputs.images.borrow_mut().extend(session.images_done(results));
            outputs.reporter.set(Some(reporter));
            return Ok(None);
        }
    };
    // A refusal has told what it is about.
    if failed.is_none() {
        handover.new_warnings(client).into_iter().for_each(|warning| reporter.warning(warning));
    }
    end(&session, &results, &lookup, failed, voice).map(Some)
}

/// Tells the results, and what has failed.
fn end(session: &Session, results: &Results, lookup: &Lookup, failed: Option<Failure>, voice: &Voice) -> Result<ExitCode, Failure> {
    let (reporter, success) = (session.layers.reporter, failed.is_none());
    let finish = |success| {
        reporter.emit(Event::Finished { success, seconds: session.started.elapsed().as_secs_f64() });
        reporter.finish();
    };
    let reported = session.report(results, lookup, success);
    if !voice.is_json() {
        finish(success);
    }
    let told = session.tell(results, success);
    let mut failures: Vec<Failure> = reported.err().into_iter().chain(told.err()).chain(failed).collect();
    if voice.is_json() {
        failures.iter().for_each(|failure| voice.tell_to(reporter, failure));
        finish(failures.is_empty());
        return Ok(failures.pop().map_or(ExitCode::SUCCESS, |failure| failure.exit_code()));
    }
    let last = failures.pop();
    for failure in failures {
        let _ = voice.tell(failure);
    }
    last.map_or(Ok(ExitCode::SUCCESS), Err)
}

/// What is known of the plan.
fn announce(setup: &Setup, planned: &Planned, outputs: &Outputs, reporter: &Reporter) {
    let Setup { handover, request, client, .. } = setup;
    let waits = reporter.clone();
    client.on_long_wait(move |wait| waits.warning(wait.to_string()));
    let places = Forge::here().map(|_| outputs.voice.places());
    for finding in planned.findings.iter().chain(&request.config.warnings) {
        reporter.emit(warning(finding, finding.one_line(), places.as_ref()));
    }
    planned.lints.iter().for_each(|finding| reporter.emit(warning(finding, one_line(finding), places.as_ref())));
    handover.warnings(client).into_iter().for_each(|warning| reporter.warning(warning));
    outputs.affected.iter().for_each(|line| reporter.notice(line.clone()));
}

/// What is going to run, and where.
fn announce_run(planned: &Planned, lookup: &Lookup, rung: Rung, given: &Given, reporter: &Reporter) {
    let Planned { targets, plan, .. } = planned;
    if !lookup.run.is_empty() {
        reporter.emit(Event::Sandbox { description: rung.to_string() });
        let ours = given.missing.iter().filter(|((service, _), _)| targets.iter().any(|target| target.service == *service));
        ours.for_each(|((service, id), variable)| {
            let consequence = "what RUNs that mount it make without it is not remembered";
            reporter.warning(format!("secret {id:?} of {service}: ${variable} is not set; {consequence}"));
        });
    }
    let noticed = if lookup.single_uid { Rung::SingleUid } else { rung };
    noticed.notice().into_iter().for_each(|notice| reporter.notice(notice));
    let built = targets.iter().filter(|target| plan.images.iter().any(|image| image.service == target.service));
    reporter
        .emit(Event::Planned { services: built.map(|target| target.service.clone()).collect(), steps: plan.needed_steps().len() as u64 });
}

/// `places`: for who takes files from the top of the repository.
fn warning(finding: &Finding, message: String, places: Option<&Places>) -> Event {
    let (file, line) = place(finding, places);
    Event::Warning { message, file, line }
}

/// What cache repositories have to say, each once.
fn tell_of_cache(shared: &Shared, reporter: &Reporter) {
    for message in shared.known.take_messages() {
        match message {
            Message::Notice(text) => reporter.notice(text),
            Message::Warning(text) => reporter.warning(text),
        }
    }
}

/// Steps at the same time.
fn jobs(args: &BuildArgs, setup: &Setup) -> Result<usize, Failure> {
    match args.jobs {
        Some(0) => Err(Failure::usage("--jobs 0: at least one is needed")),
        Some(jobs) => Ok(jobs),
        None => {
            Ok(setup.request.config.build.jobs.map_or_else(|| std::thread::available_parallelism().map_or(2, usize::from), usize::from))
        }
    }
}

fn new_reporter(global: &Global, redactor: &Redactor) -> Result<Reporter, Failure> {
    let mode = match global.progress {
        Progress::Auto => Forge::here().map_or(Mode::Auto, Mode::Grouped),
        Progress::Tty => Mode::Tty,
        Progress::Plain => Mode::Plain,
        Progress::Json => Mode::Json,
        Progress::Quiet => Mode::Quiet,
    };
    let reporter = Reporter::new(mode, global.verbose, redactor.clone(), Box::new(std::io::stderr()), Terminal::stderr());
    reporter.map_err(|error| Failure::failed(error.to_string()))
}
