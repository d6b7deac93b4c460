//! A GitHub workflow that builds images with Kaniko or with docker/build-push-action -> what it builds.
//!
//! - `matrix`: the jobs that a matrix makes of one; `expression`: `${{ … }}` in texts
//! - `metadata`: the tags that docker/metadata-action makes for a step after it

mod expression;
mod matrix;
mod metadata;
#[cfg(test)]
mod tests;

use std::path::Path;

use serde_json::{Map, Value};

use super::call::{self, Call};
use super::found::{Found, normal};
use super::inputs::Inputs;
use super::kaniko::{self, Execution};
use super::left::{Fate, Left, Leftovers};
use super::marks::unknown;
use super::remote::Remote;
use super::yaml;
use expression::Scope;
use metadata::metadata;

/// What the jobs of a workflow build, and what was left; nothing of a workflow that builds no images.
pub(super) fn read(root: &Path, file: &str, source: &str, remote: Option<&Remote>) -> (Vec<Found>, Vec<Left>) {
    let mut left = Leftovers::of(file);
    if !source.to_ascii_lowercase().contains("kaniko") && !source.contains(BUILD_PUSH) {
        return (Vec::new(), left.into_vec());
    }
    let Some(document) = left.sound(source, yaml::parse(source)) else { return (Vec::new(), left.into_vec()) };
    let none = Map::new();
    let jobs = document.get("jobs").and_then(Value::as_object).unwrap_or(&none);
    let mut found: Vec<Found> = Vec::new();
    for (name, job) in jobs {
        let steps = job.get("steps").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let callers: Vec<&Value> = std::iter::once(job).chain(steps).filter(|caller| builds(caller) || runs(caller)).collect();
        let (mut calls, told) = (0, left.count());
        let instances = matrix::instances(job).unwrap_or_else(|problem| {
            left.of_file(format!("job {name:?}"), Fate::Lost, problem);
            Vec::new()
        });
        for values in instances {
            for caller in &callers {
                let scope = Scope { document: &document, job, step: caller, matrix: &values, remote };
                for Execution { inputs, directory } in executions(caller, &scope) {
                    let metadata = |expression: &str| metadata(expression, steps, &scope);
                    let call = Call { root, file, job: name, directory: &directory, metadata: &metadata };
                    calls += 1;
                    // Instances may differ in what is nothing of the image, as in the runner.
                    if let Some(image) = call.found(&inputs, &mut left) {
                        call::add(image, &mut found);
                    }
                }
            }
        }
        if calls == 0 && left.count() == told && kaniko::is_named(job) {
            left.of_file(format!("job {name:?}"), Fate::Lost, kaniko::NOT_UNDERSTOOD);
        }
    }
    (found, left.into_vec())
}

const BUILD_PUSH: &str = "docker/build-push-action";

/// Whether a job or a step calls something that builds an image.
fn builds(caller: &Value) -> bool {
    let called = caller.get("uses").and_then(Value::as_str).unwrap_or_default();
    called.to_ascii_lowercase().contains("kaniko") || called.starts_with(BUILD_PUSH)
}

/// Whether a step has a script that names Kaniko.
fn runs(step: &Value) -> bool {
    step.get("run").and_then(Value::as_str).is_some_and(|script| script.contains("kaniko"))
}

/// What a job or a step builds, as far as it is known before a [`Call`] says what it means.
fn executions(caller: &Value, scope: &Scope) -> Vec<Execution> {
    let values = |name: &str| scope.variable(name);
    if let Some(script) = caller.get("run").and_then(Value::as_str) {
        let mut executions = kaniko::executions(&scope.expand(script), &values);
        let own = working_directory(scope);
        // A script that went elsewhere has said so.
        executions.iter_mut().filter(|execution| execution.directory == ".").for_each(|execution| execution.directory.clone_from(&own));
        return executions;
    }
    let none = Map::new();
    let with = caller.get("with").and_then(Value::as_object).unwrap_or(&none);
    let is_image = caller.get("uses").and_then(Value::as_str).is_some_and(|called| called.starts_with("docker://"));
    let inputs = match with.get("args").and_then(Value::as_str).filter(|_| is_image) {
        Some(args) => kaniko::arguments(&scope.expand(args), &values),
        None => Inputs::read(with, |text| scope.expand(text)),
    };
    vec![Execution { inputs, directory: ".".to_owned() }]
}

/// Where a script begins.
fn working_directory(scope: &Scope) -> String {
    let of_defaults = |place: &Value| place.get("defaults")?.get("run")?.get("working-directory")?.as_str().map(str::to_owned);
    let own = scope.step.get("working-directory").and_then(Value::as_str).map(str::to_owned);
    let written = own.or_else(|| of_defaults(scope.job)).or_else(|| of_defaults(scope.document));
    let expanded = scope.expand(written.as_deref().unwrap_or("."));
    // A mark in it is told by the call.
    if unknown(&expanded).is_some() { expanded } else { normal(&expanded).unwrap_or(expanded) }
}
