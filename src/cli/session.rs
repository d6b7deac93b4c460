//! A planned build on its way to results: Steps, pushes, exports, and what is told of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::args::{BuildArgs, Format, Progress};
use super::dashboard::hits_and_misses;
use super::failure::{Code, Failure};
use super::interrupt::kept;
use super::output::{Destination, export, write_whole};
use super::planning::learn;
use super::print;
use super::reasons::Reasons;
use super::refused::refused_pushes;
use super::request::Request;
use super::workspace::{Workspace, source_of, within};
use crate::build::{self, Ahead, Built, Finished, Layers, Mounts, PushCounts, Pusher, RunOptions, Share, Supplies};
use crate::cache::{ImageRecord, Loss, Shared};
use crate::config::{Finding, ImageFormat};
use crate::oci::{Digest, Platform, Reference};
use crate::plan::Plan;
use crate::report::{Event, ImageMetadata, Outcome, Redactor, Row, Summary, Terminal, metadata_by_service, metadata_flat};

/// A build that has been planned.
pub struct Session<'a> {
    pub request: &'a Request,
    pub args: &'a BuildArgs,
    pub destinations: &'a [Destination],
    /// Steps at the same time.
    pub jobs: usize,
    pub workspace: &'a Workspace<'a>,
    pub plan: &'a Plan,
    pub reasons: &'a Reasons<'a>,
    pub layers: Layers<'a>,
    pub pusher: &'a Pusher<'a>,
    pub shared: &'a Shared<'a>,
    pub redactor: &'a Redactor,
    pub supplies: Supplies,
    pub started: Instant,
    /// Services that something was wrong with.
    pub failed: Mutex<BTreeSet<String>>,
    /// What is done, also by the attempts before.
    pub done: &'a Mutex<BTreeMap<String, Outcomes>>,
}

/// Why a build ended early.
pub enum Stop {
    Failed(Failure),
    /// Something that the cache promised is not to be had: all is to be looked up again.
    Lost,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What a build has brought.
pub struct Results {
    done: BTreeMap<String, Outcomes>,
    finished: BTreeMap<usize, Finished>,
}

/// A service when all its platforms are done.
#[derive(Clone)]
pub struct Outcomes {
    row: Row,
    digest: Option<Digest>,
}

impl Session<'_> {
    /// Runs what has to run; pushes and exports what is finished. What was finished is there also where the rest failed.
    pub fn build(&self, lookup: &build::Lookup) -> (Results, Result<(), Stop>) {
        let mut finished = BTreeMap::new();
        let ended = self.run(lookup).and_then(|ran| {
            finished = ran.finished;
            let mut failures = ran.failures;
            if failures.is_empty() || self.args.keep_going {
                self.complete_rest(&finished, &mut failures);
            }
            if failures.is_empty() { self.export(&finished) } else { Err(self.stop(&failures)) }
        });
        (Results { done: self.done().clone(), finished }, ended)
    }

    fn done(&self) -> MutexGuard<'_, BTreeMap<String, Outcomes>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn export(&self, finished: &BTreeMap<usize, Finished>) -> Result<(), Stop> {
        for (index, image) in finished.iter().filter(|_| !self.destinations.is_empty()) {
            let here = image.record.blobs().try_for_each(|blob| self.layers.pull(blob));
            here.map_err(|error| self.stop(&[build::Failure::of_service(&self.plan.images[*index].service, error)]))?;
        }
        // Nothing is exported where nothing is affected.
        let mut exports = self.destinations.iter().zip(&self.args.output).filter(|_| !self.plan.images.is_empty());
        exports.try_for_each(|(to, name)| self.export_to(to, name, finished))?;
        Ok(())
    }

    fn export_to(&self, to: &Destination, name: &str, finished: &BTreeMap<usize, Finished>) -> Result<(), Failure> {
        let (begun, destination, reporter) = (Instant::now(), name.to_owned(), self.layers.reporter);
        reporter.emit(Event::ExportStarted { destination: destination.clone() });
        let exported = export(&self.layers, to, self.workspace, self.plan, finished);
        let (success, seconds) = (exported.is_ok(), begun.elapsed().as_secs_f64());
        reporter.emit(Event::ExportFinished { destination, success, seconds });
        exported.map_err(Failure::failed)
    }

    fn run(&self, lookup: &build::Lookup) -> Result<build::Ran, Stop> {
        if self.args.push && !lookup.run.is_empty() {
            self.preflight(lookup)?;
            learn(self.redactor, self.layers.client)?;
        }
        let format = match self.request.config.build.format {
            ImageFormat::Oci => crate::image::Format::Oci,
            ImageFormat::Docker => crate::image::Format::Docker,
        };
        let order: Vec<(&str, &str)> = self.workspace.edges.iter().map(|edge| (edge.dependency.as_str(), edge.service.as_str())).collect();
        let ahead = self.args.push.then_some(Ahead { pusher: self.pusher });
        let share = Share::new(self.shared, self.pusher, self.args.push, lookup);
        let reasons = self.reasons.lines();
        let cache = &self.request.config.cache;
        let mounts = Mounts::new(self.shared, cache.mounts_size);
        let options = RunOptions {
            jobs: self.jobs,
            keep_going: self.args.keep_going,
            format,
            order: &order,
            reasons: &reasons,
            ahead,
            shared: Some(self.shared),
            share: self.shared.is_written().then_some(&share),
            mounts: cache.mounts.then_some(&mounts),
        };
        let single = |index: usize, finished: &Finished| {
            let ran = |step| self.layers.reporter.tally().step(step as u64) == Some(Outcome::Built);
            self.reasons.remember(index, self.workspace, self.plan, self.layers.store, ran);
            // A service for several platforms is pushed when all are there.
            let image = &self.plan.images[index];
            let alone = self.plan.images.iter().filter(|other| other.service == image.service).count() == 1;
            if alone {
                self.complete(&image.service, &[(index, finished)])?;
            }
            Ok(())
        };
        Ok(build::run(self.plan, self.layers, &self.supplies, lookup, &options, single))
    }

    /// The services of several platforms, those that have them all.
    fn complete_rest(&self, finished: &BTreeMap<usize, Finished>, failures: &mut Vec<build::Failure>) {
        let mut tried = BTreeSet::new();
        for name in self.plan.images.iter().map(|image| &image.service) {
            let own = self.finished_of(name, finished);
            let platforms = self.plan.images.iter().filter(|image| image.service == *name).count();
            if !tried.insert(name) || platforms == 1 || own.len() < platforms {
                continue;
            }
            failures.extend(self.complete(name, &own).err());
            if !failures.is_empty() && !self.args.keep_going {
                return;
            }
        }
    }

    fn finished_of<'f>(&self, service: &str, finished: &'f BTreeMap<usize, Finished>) -> Vec<(usize, &'f Finished)> {
        finished.iter().filter(|(index, _)| self.plan.images[**index].service == service).map(|(index, image)| (*index, image)).collect()
    }

    fn images_of<'f>(&self, images: &[(usize, &'f Finished)]) -> Vec<Built<'f>>
    where
        Self: 'f,
    {
        let built = |&(index, finished): &(usize, &'f Finished)| {
            let image = &self.plan.images[index];
            Built { platform: &image.platform, record: &finished.record }
        };
        images.iter().map(built).collect()
    }

    /// Pushes a service if that is asked for, and tells that it is done.
    fn complete(&self, service: &str, images: &[(usize, &Finished)]) -> Result<(), build::Failure> {
        let built = self.images_of(images);
        let Some(loaded) = self.workspace.services.iter().find(|loaded| loaded.service.name == service) else {
            return Err(build::Failure::of_service(service, build::Error::Cancelled));
        };
        let counts = PushCounts::default();
        let failed = |error| build::Failure::of_service(service, error);
        let digest = build::document(&self.layers, &built).map_err(failed)?.0.digest;
        if self.done().get(service).is_some_and(|done| done.digest == Some(digest)) {
            return Ok(());
        }
        if self.args.push {
            self.pusher.push(service, &loaded.service.image, &loaded.tags, &built, &counts).map_err(failed)?;
        }
        let seconds = self.started.elapsed().as_secs_f64();
        let (hits, misses) = hits_and_misses(self.plan, self.layers.reporter.tally(), service);
        let outcome = if misses == 0 { Outcome::Cached } else { Outcome::Built };
        let service_name = service.to_owned();
        self.layers.reporter.emit(Event::ServiceFinished { service: service_name, outcome, digest: Some(digest), seconds, hits, misses });
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let row = Row {
            service: service.to_owned(),
            platform: built.first().map_or_else(Platform::host, |image| image.platform.clone()),
            reference: loaded.tags.first().map_or_else(|| loaded.service.image.clone(), |tag| loaded.service.image.with_tag(tag)),
            tags: loaded.tags.clone(),
            digest: Some(digest),
            steps_run: misses,
            steps_cached: hits,
            layers_pushed: load(&counts.pushed),
            layers_mounted: load(&counts.mounted),
            layers_skipped: load(&counts.skipped),
            seconds,
            outcome,
        };
        self.done().insert(service.to_owned(), Outcomes { row, digest: Some(digest) });
        Ok(())
    }

    /// Authentication and write permission, before anything is built for nothing.
    fn preflight(&self, lookup: &build::Lookup) -> Result<(), Failure> {
        const AT_ONCE: usize = 16;
        let unfinished = self.plan.images.iter().enumerate().filter(|(index, _)| !lookup.images.contains_key(index));
        let unfinished: BTreeSet<&str> = unfinished.map(|(_, image)| image.service.as_str()).collect();
        let built = self.workspace.services.iter().map(|loaded| &loaded.service).filter(|service| unfinished.contains(&*service.name));
        let repositories: BTreeSet<&Reference> = built.map(|service| &service.image).collect();
        let repositories: Vec<&Reference> = repositories.into_iter().collect();
        build::fan_out(&repositories, AT_ONCE, |image| self.layers.client.preflight(image))
            .map_err(|error| Finding::error("brik::push::refused", error.to_string()).maybe_help(error.advice()))
            .map_err(|finding| Failure::findings(Code::Failed, &[finding], Some(self.redactor)))
    }

    /// A cache or a store that does not hold what it promised is no failure, once for a blob.
    fn stop(&self, failures: &[build::Failure]) -> Stop {
        let known = self.shared.known;
        let gone: BTreeMap<Loss, &build::Error> =
            failures.iter().filter_map(|failure| Some((failure.error.gone()?, &*failure.error))).collect();
        let has_failed = || failures.iter().any(|failure| matches!(*failure.error, build::Error::ExitCode { .. }));
        // A RUN that fails would fail once more.
        if gone.is_empty() || (!self.args.keep_going && has_failed()) {
            return Stop::Failed(self.failure(failures));
        }
        let (old, new): (Vec<_>, Vec<_>) = gone.into_iter().partition(|(loss, _)| known.knows(loss));
        let Some((Loss { blob, .. }, error)) = new.first() else {
            // Nothing that was looked up since was better.
            let fewer = old.iter().filter(|(loss, _)| known.distrust(&loss.blob)).count();
            return if fewer > 0 { Stop::Lost } else { Stop::Failed(self.failure(failures)) };
        };
        let more = if new.len() > 1 { format!(" ({} more, too)", new.len() - 1) } else { String::new() };
        let what = match error {
            build::Error::Lost { reason, .. } => format!("{blob}{more} of the cache cannot be had, what needs it is built again: {reason}"),
            _ => format!("{blob}{more} of the store was damaged and is removed, what needs it is built again"),
        };
        known.warn(&blob.to_string(), what);
        new.into_iter().for_each(|(loss, _)| known.lose(loss));
        Stop::Lost
    }

    fn failure(&self, failures: &[build::Failure]) -> Failure {
        if failures.iter().all(|failure| matches!(*failure.error, build::Error::Cancelled)) {
            return Failure::interrupted(&kept(self.layers.reporter.tally()));
        }
        let mut real: Vec<&build::Failure> = failures.iter().filter(|failure| !matches!(*failure.error, build::Error::Cancelled)).collect();
        if real.iter().any(|failure| failure.error.gone().is_none()) {
            real.retain(|failure| failure.error.gone().is_none());
        }
        let services = |failure: &build::Failure| {
            let of_step = failure.step.into_iter().flat_map(|step| &self.plan.steps[step].services);
            of_step.chain(&failure.service).cloned().collect::<Vec<_>>()
        };
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).extend(real.iter().flat_map(|failure| services(failure)));
        let mut findings = refused_pushes(&mut real, |service| self.pusher.repository(service));
        findings.extend(real.into_iter().map(|failure| self.finding(failure)));
        Failure::findings(Code::Failed, &findings, Some(self.redactor))
    }

    fn finding(&self, failure: &build::Failure) -> Finding {
        let text = failure.error.to_string();
        let help = match failure.error.is_no_space() {
            true => Some(no_space(self.layers.store.root())),
            false => failure.error.help(),
        };
        let Some(step) = failure.step.map(|step| &self.plan.steps[step]) else {
            let service = failure.service.as_deref().unwrap_or("brik");
            return Finding::error("brik::build::failed", format!("{service}: {text}")).maybe_help(help);
        };
        let finding =
            Finding::error("brik::build::failed", format!("[{} {}] {text}", step.services.join(", "), step.place())).maybe_help(help);
        let dockerfile =
            self.workspace.services.iter().map(|loaded| &loaded.dockerfile).find(|dockerfile| dockerfile.path == step.location.dockerfile);
        match dockerfile {
            Some(dockerfile) => {
                let source = source_of(self.workspace.config, dockerfile);
                finding.at(within(&source, step.location.span.clone()))
            }
            None => finding,
        }
    }

    /// The images of services that are done.
    pub fn images_done(&self, results: Results) -> impl Iterator<Item = (usize, ImageRecord)> {
        let Results { done, finished } = results;
        let is_done = move |index: usize| done.contains_key(&self.plan.images[index].service);
        finished.into_iter().filter(move |(index, _)| is_done(*index)).map(|(index, image)| (index, image.record))
    }

    /// What was finished, and what it cost.
    pub fn summary(&self, results: &Results) -> Summary {
        let counts = self.layers.client.counters();
        let rows = self.workspace.services.iter().filter_map(|loaded| results.done.get(&loaded.service.name));
        Summary {
            rows: rows.map(|outcome| outcome.row.clone()).collect(),
            requests: counts.requests,
            bytes_up: counts.bytes_up,
            bytes_down: counts.bytes_down,
            mounted: counts.mounted,
            elapsed: self.started.elapsed().as_secs_f64(),
        }
    }

    /// stdout: results, of a run that succeeded. stderr, where the reporter has finished by now: the table of what was finished.
    pub fn tell(&self, results: &Results, success: bool) -> Result<(), Failure> {
        let Results { done, finished } = results;
        let summary = self.summary(results);
        let wanted = !matches!(self.request.progress, Progress::Quiet | Progress::Json);
        if wanted && !summary.rows.is_empty() {
            // A log has no width.
            let columns = Terminal::stderr().map_or(usize::MAX, |terminal| terminal.size().columns);
            print::err(&self.redactor.redact(&summary.table(columns)));
        }
        if !success {
            if wanted {
                print::err(&self.left_over(done));
            }
            return Ok(());
        }
        if let (Some(path), Some(digest)) = (&self.args.digest_file, done.values().find_map(|outcome| outcome.digest)) {
            self.write_file(path, &digest.to_string())?;
        }
        if let Some(path) = &self.args.metadata_file {
            self.write_metadata(path, done, finished)?;
        }
        match self.args.format {
            Format::Human => print::out(&summary.results()),
            Format::Json => print::out(&summary.json().map_err(|error| Failure::failed(error.to_string()))?),
        }
    }

    /// The services that failed, and those that were not finished because of that; a line each.
    fn left_over(&self, done: &BTreeMap<String, Outcomes>) -> String {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let images = self.plan.images.iter().map(|image| image.service.as_str());
        let (failed, others): (BTreeSet<&str>, BTreeSet<&str>) =
            images.filter(|service| !done.contains_key(*service)).partition(|service| failed.contains(*service));
        let line = |what: &str, services: BTreeSet<&str>| match services.is_empty() {
            true => String::new(),
            false => format!("{what}: {}\n", services.into_iter().collect::<Vec<_>>().join(", ")),
        };
        // Only a signal cancels what goes on after failures.
        let all_tried = self.args.keep_going && !self.supplies.cancel.is_cancelled();
        let why = if all_tried && !failed.is_empty() { "not tried, for they need what failed" } else { "not finished" };
        line("failed", failed) + &line(why, others)
    }

    fn write_metadata(&self, path: &Path, done: &BTreeMap<String, Outcomes>, finished: &BTreeMap<usize, Finished>) -> Result<(), Failure> {
        let mut images = Vec::new();
        for loaded in &self.workspace.services {
            let service = &loaded.service.name;
            let own = self.finished_of(service, finished);
            let Some(_) = done.get(service).and_then(|outcome| outcome.digest) else { continue };
            let (descriptor, _) =
                build::document(&self.layers, &self.images_of(&own)).map_err(|error| Failure::failed(error.to_string()))?;
            let config = if let [(_, only)] = own[..] { Some(only.record.config.digest) } else { None };
            images.push(ImageMetadata {
                service: service.clone(),
                names: loaded.tags.iter().map(|tag| loaded.service.image.with_tag(tag)).collect(),
                descriptor,
                config,
            });
        }
        let text = match (self.args.what.image.is_given(), &images[..]) {
            (true, [only]) => metadata_flat(only),
            _ => metadata_by_service(&images),
        };
        let text = text.map_err(|error| Failure::failed(error.to_string()))?;
        self.write_file(path, &text)
    }

    fn write_file(&self, path: &Path, text: &str) -> Result<(), Failure> {
        let path = self.request.cwd.join(path);
        write_whole(&path, |file| file.write_all(text.as_bytes()))
            .map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))
    }
}

/// What to do about a full disk.
pub(super) fn no_space(store: &Path) -> String {
    format!("free some space on the disk of {}, run `brik cache prune` or choose another store with --store", store.display())
}
