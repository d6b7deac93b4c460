//! `--report FILE.json|FILE.md`: what the cache was worth to each service, as far as the run came.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use super::failure::Failure;
use super::output::write_whole;
use super::planning::Setup;
use super::session::{Results, Session};
use super::workspace::Loaded;
use crate::build::Lookup;
use crate::cache::StepRecord;
use crate::plan::{Plan, Root, Step, StepId};
use crate::report::{CacheUse, Dashboard, Outcome, Row, ServiceReport, Summary, Tally, Transfer};
use crate::store::RecordKind;

/// A file that the dashboard is written to, in the form that its extension says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportFile {
    Json(PathBuf),
    Markdown(PathBuf),
}

impl ReportFile {
    pub fn parse(text: &str) -> Result<Self, String> {
        let path = PathBuf::from(text);
        let is = |extension: &str| path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension));
        match (is("json"), is("md")) {
            (true, _) => Ok(Self::Json(path)),
            (_, true) => Ok(Self::Markdown(path)),
            _ => Err("the extension says the form: FILE.json or FILE.md".to_owned()),
        }
    }

    pub fn path(&self) -> &Path {
        match self {
            Self::Json(path) | Self::Markdown(path) => path,
        }
    }
}

/// The Steps of a service, of all its stages and platforms.
fn steps_of<'p>(plan: &'p Plan, service: &str) -> impl Iterator<Item = (StepId, &'p Step)> {
    plan.steps.iter().enumerate().filter(move |(_, step)| step.services.iter().any(|name| name == service))
}

/// How many Steps of a service that is done did not run, and how many did.
pub fn hits_and_misses(plan: &Plan, tally: &Tally, service: &str) -> (u64, u64) {
    let (ran, not): (Vec<StepId>, Vec<StepId>) =
        steps_of(plan, service).map(|(id, _)| id).partition(|&id| tally.step(id as u64) == Some(Outcome::Built));
    (not.len() as u64, ran.len() as u64)
}

/// Writes every `--report` of a build that could not begin, so that none of an earlier one is taken for it.
pub fn report_nothing(setup: &Setup, files: &[ReportFile]) {
    let counts = setup.client.counters();
    let dashboard = Dashboard {
        success: false,
        seconds: setup.started.elapsed().as_secs_f64(),
        saved_seconds: 0.0,
        requests: counts.requests,
        bytes_up: counts.bytes_up,
        bytes_down: counts.bytes_down,
        mounted: counts.mounted,
        services: Vec::new(),
    };
    for file in files {
        let text = match file {
            ReportFile::Json(_) => dashboard.json().unwrap_or_default(),
            ReportFile::Markdown(_) => dashboard.markdown(),
        };
        // The build has failed, which is what there is to say.
        let _ = write_whole(&setup.request.cwd.join(file.path()), |to| to.write_all(text.as_bytes()));
    }
}

impl Session<'_> {
    /// Writes every `--report`, and in GitHub Actions the job's summary, which fails nothing.
    pub fn report(&self, results: &Results, lookup: &Lookup, success: bool) -> Result<(), Failure> {
        if self.args.report.is_empty() && step_summary(&self.request.env).is_none() {
            return Ok(());
        }
        let dashboard = self.dashboard(&self.summary(results), lookup, success);
        let markdown = self.redactor.redact(&dashboard.markdown()).into_owned();
        if let Some(path) = step_summary(&self.request.env) {
            let appended = File::options().append(true).create(true).open(path).and_then(|mut file| file.write_all(markdown.as_bytes()));
            if let Err(error) = appended {
                self.layers.reporter.warning(format!("$GITHUB_STEP_SUMMARY cannot be written: {error}"));
            }
        }
        for file in &self.args.report {
            let text = match file {
                ReportFile::Json(_) => dashboard.json().map_err(|error| Failure::failed(error.to_string()))?,
                ReportFile::Markdown(_) => markdown.clone(),
            };
            let path = self.request.cwd.join(file.path());
            write_whole(&path, |file| file.write_all(text.as_bytes()))
                .map_err(|error| Failure::failed(format!("--report: cannot write {}: {error}", path.display())))?;
        }
        Ok(())
    }

    fn dashboard(&self, summary: &Summary, lookup: &Lookup, success: bool) -> Dashboard {
        let rows: BTreeMap<&str, &Row> = summary.rows.iter().map(|row| (row.service.as_str(), row)).collect();
        // Without those that --since has found unaffected.
        let is_planned = |name: &&str| self.plan.images.iter().any(|image| image.service == *name);
        let names: Vec<&str> = self.workspace.services.iter().map(|loaded| loaded.service.name.as_str()).filter(is_planned).collect();
        let pulled_for = pulled_for(self.plan, &self.workspace.services);
        let mut took: BTreeMap<StepId, f64> = BTreeMap::new();
        let services = names.iter().map(|&name| {
            let row = rows.get(name).copied();
            let (hits, misses) = self.known_steps(name, lookup, row.is_some());
            for &step in &hits {
                took.entry(step).or_insert_with(|| self.once_took(step, lookup));
            }
            let places = pulled_for.iter().filter(|(_, service)| *service == name).map(|(place, _)| place.as_str());
            let tally = self.layers.reporter.tally();
            ServiceReport {
                service: name.to_owned(),
                outcome: row.map_or_else(|| self.unfinished(name), |row| row.outcome),
                cache: row.map(|_| CacheUse::of(hits.len() as u64, misses)),
                hits: hits.len() as u64,
                misses,
                seconds: row.map(|row| row.seconds),
                saved_seconds: sum(hits.iter().map(|step| took[step])),
                bytes_up: tally.moved(name, Transfer::Push),
                bytes_down: places.map(|place| tally.moved(place, Transfer::Pull)).sum(),
                mounted: row.map_or(0, |row| row.layers_mounted),
                digest: row.and_then(|row| row.digest),
                tags: row.map(|row| row.tags.clone()).unwrap_or_default(),
            }
        });
        let services = services.collect();
        Dashboard {
            success,
            seconds: summary.elapsed,
            saved_seconds: sum(took.values().copied()),
            requests: summary.requests,
            bytes_up: summary.bytes_up,
            bytes_down: summary.bytes_down,
            mounted: summary.mounted,
            services,
        }
    }

    /// The Steps of a service that did not run, and how many did. Of a service that is not finished, those that were never begun are neither.
    fn known_steps(&self, service: &str, lookup: &Lookup, finished: bool) -> (BTreeSet<StepId>, u64) {
        let (mut hits, mut misses) = (BTreeSet::new(), 0);
        for (id, _) in steps_of(self.plan, service) {
            match self.layers.reporter.tally().step(id as u64) {
                Some(Outcome::Built | Outcome::Failed | Outcome::Cancelled) => misses += 1,
                Some(Outcome::Cached) => drop(hits.insert(id)),
                None if finished || !lookup.run.contains(&id) => drop(hits.insert(id)),
                None => {}
            }
        }
        (hits, misses)
    }

    fn unfinished(&self, service: &str) -> Outcome {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.contains(service) { Outcome::Failed } else { Outcome::Cancelled }
    }

    /// Seconds that a Step took when it last ran; none where that is not known.
    fn once_took(&self, step: StepId, lookup: &Lookup) -> f64 {
        let key = &self.plan.steps[step].key;
        let of_images = || lookup.images.values().find_map(|image| image.took.get(key).copied());
        let remembered = || Some(self.layers.store.record::<StepRecord>(RecordKind::Step, &key.0)?.took);
        let took = lookup.steps.get(&step).map(|record| record.took).or_else(of_images).or_else(remembered);
        took.map_or(0.0, |milliseconds| milliseconds as f64 / 1000.0)
    }
}

/// A sum that is 0 and not -0 where there is nothing.
fn sum(seconds: impl Iterator<Item = f64>) -> f64 {
    seconds.fold(0.0, |sum, next| sum + next)
}

/// Where layers are pulled from (base images, cache repositories, the services' own), and the first service of each: with it stand the bytes.
fn pulled_for(plan: &Plan, services: &[Loaded]) -> BTreeMap<String, String> {
    let mut places = BTreeMap::new();
    for loaded in services {
        let service = &loaded.service;
        let images = plan.images.iter().filter(|image| image.service == service.name).map(|image| image.root);
        let roots = images.chain(steps_of(plan, &service.name).map(|(id, _)| Root::Step(id)));
        let bases = roots.filter_map(|root| plan.bases[plan.chain(root).0?].reference.as_ref());
        for place in bases.chain([&service.image]).chain(&service.cache) {
            places.entry(place.to_string()).or_insert_with(|| service.name.clone());
        }
    }
    places
}

/// The file that GitHub Actions shows as the job's summary.
fn step_summary(env: &BTreeMap<String, String>) -> Option<&Path> {
    let in_actions = env.get("GITHUB_ACTIONS").is_some_and(|value| value == "true");
    env.get("GITHUB_STEP_SUMMARY").filter(|path| in_actions && !path.is_empty()).map(Path::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_says_the_form() {
        for (text, expected) in [
            ("out/report.json", Some(ReportFile::Json("out/report.json".into()))),
            ("REPORT.MD", Some(ReportFile::Markdown("REPORT.MD".into()))),
            ("report.txt", None),
            ("report", None),
            ("json", None),
            ("", None),
        ] {
            assert_eq!(ReportFile::parse(text).ok(), expected, "{text}");
        }
    }
}
