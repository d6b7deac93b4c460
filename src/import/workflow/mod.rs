//! A GitHub workflow that builds images with Kaniko or with docker/build-push-action -> what it builds.
//!
//! - `matrix`: the jobs that a matrix makes of one; `expression`: `${{ … }}` in texts
//! - `inputs`: what an action or a reusable workflow is given, under one name each; `call`: one call as a [`Found`]

mod call;
mod expression;
mod inputs;
mod matrix;
#[cfg(test)]
mod tests;

use std::path::Path;

use serde_json::{Map, Value};

use super::found::Found;
use super::left::{Fate, Left, Leftovers};
use super::remote::Remote;
use super::yaml;
use expression::Scope;

/// What the jobs of a workflow build, and what was left; nothing of a workflow that builds no images.
pub(super) fn read(root: &Path, file: &str, source: &str, remote: Option<&Remote>) -> (Vec<Found>, Vec<Left>) {
    let mut left = Leftovers::of(file);
    if !source.to_ascii_lowercase().contains("kaniko") && !source.contains(BUILD_PUSH) {
        return (Vec::new(), left.into_vec());
    }
    let document = match yaml::parse(source) {
        Ok(document) => document,
        Err(problem) => {
            left.broken(source, problem);
            return (Vec::new(), left.into_vec());
        }
    };
    let none = Map::new();
    let jobs = document.get("jobs").and_then(Value::as_object).unwrap_or(&none);
    let mut found: Vec<Found> = Vec::new();
    for (name, job) in jobs {
        let steps = job.get("steps").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let calls: Vec<&Value> = std::iter::once(job).chain(steps).filter(|caller| builds(caller)).collect();
        if calls.is_empty() {
            continue;
        }
        let instances = matrix::instances(job).unwrap_or_else(|problem| {
            left.of_file(format!("job {name:?}"), Fate::Lost, problem);
            Vec::new()
        });
        for values in instances {
            for call in &calls {
                let scope = Scope { document: &document, job, step: call, matrix: &values, remote };
                let call = call::Call { root, file, job: name, steps, scope };
                // Instances may differ in what is nothing of the image, as in the runner.
                if let Some(image) = call.found(&mut left).filter(|image| !found.contains(image)) {
                    found.push(image);
                }
            }
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
