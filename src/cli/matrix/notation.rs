//! GitHub's and GitLab's forms of a matrix.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::{Entry, Matrix};
use crate::cli::failure::Failure;
use crate::cli::github_output::append;

/// `{"include": [{"name", "wave", "services", "args"}]}` in a line: what `fromJSON` makes a matrix of. `services` are separated by blanks.
pub fn github<'e>(entries: impl IntoIterator<Item = &'e Entry>) -> Value {
    let job = |entry: &Entry| json!({"name": entry.name, "wave": entry.wave, "services": entry.services.join(" "), "args": entry.args});
    json!({"include": entries.into_iter().map(job).collect::<Vec<_>>()})
}

/// Of the step, where `$GITHUB_OUTPUT` names a file for them.
pub fn write_outputs(env: &BTreeMap<String, String>, matrix: &Matrix) -> Result<(), Failure> {
    let Some(path) = env.get("GITHUB_OUTPUT").filter(|path| !path.is_empty()) else { return Ok(()) };
    let outputs = outputs(matrix);
    let outputs: Vec<(&str, String)> = outputs.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    append(Path::new(path), &outputs).map_err(|error| Failure::failed(format!("$GITHUB_OUTPUT cannot be written ({path}): {error}")))
}

/// All jobs, how many they and their waves are, and each wave by itself.
fn outputs(matrix: &Matrix) -> Vec<(String, String)> {
    let all = [("matrix", github(&matrix.jobs).to_string()), ("jobs", matrix.jobs.len().to_string()), ("waves", matrix.waves.to_string())];
    let of = |wave: usize| github(matrix.jobs.iter().filter(|entry| entry.wave == wave)).to_string();
    let waves = (1..=matrix.waves).map(|wave| (format!("wave_{wave}"), of(wave)));
    all.map(|(name, value)| (name.to_owned(), value)).into_iter().chain(waves).collect()
}

/// A child pipeline: a stage for each wave. GitLab refuses one without jobs, so that one is always there.
pub fn gitlab(matrix: &Matrix) -> Value {
    let stage = |wave: usize| format!("wave-{wave}");
    let stages: Vec<String> = (1..=matrix.waves.max(1)).map(stage).collect();
    // Without rules, the child of a merge request's pipeline would have no jobs.
    let mut pipeline = json!({"workflow": {"rules": [{"when": "always"}]}, "stages": stages});
    for entry in &matrix.jobs {
        pipeline[format!("brik: {}", entry.name)] = json!({"stage": stage(entry.wave), "script": [format!("brik build {}", entry.args)]});
    }
    if matrix.jobs.is_empty() {
        let script = ["echo nothing to build"];
        pipeline["brik: nothing"] = json!({"stage": stage(1), "variables": {"GIT_STRATEGY": "none"}, "script": script});
    }
    pipeline
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix() -> Matrix {
        let entry = |name: &str, wave, services: &[&str]| Entry {
            name: name.to_owned(),
            wave,
            services: services.iter().map(|&service| service.to_owned()).collect(),
            args: format!("--push {}", services.join(" ")),
            seconds: None,
        };
        Matrix { waves: 2, jobs: vec![entry("base", 1, &["base"]), entry("api, web", 2, &["api", "web"])] }
    }

    #[test]
    fn outputs_are_a_line_each_and_waves_have_their_own() {
        let base = r#"{"name":"base","wave":1,"services":"base","args":"--push base"}"#;
        let both = r#"{"name":"api, web","wave":2,"services":"api web","args":"--push api web"}"#;
        let told = outputs(&matrix());
        let told: Vec<(&str, &str)> = told.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let include = |jobs: &str| format!("{{\"include\":[{jobs}]}}");
        let (all, first, second) = (include(&format!("{base},{both}")), include(base), include(both));
        assert_eq!(told, [("matrix", &*all), ("jobs", "2"), ("waves", "2"), ("wave_1", &*first), ("wave_2", &*second)]);
        let nothing = outputs(&Matrix { waves: 0, jobs: Vec::new() });
        assert_eq!(nothing.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>(), [r#"{"include":[]}"#, "0", "0"]);
    }

    #[test]
    fn a_pipeline_has_a_stage_a_wave_and_never_no_job() {
        let pipeline = gitlab(&matrix());
        assert_eq!(pipeline["stages"], json!(["wave-1", "wave-2"]));
        assert_eq!(pipeline["brik: api, web"], json!({"stage": "wave-2", "script": ["brik build --push api web"]}));
        let empty = gitlab(&Matrix { waves: 0, jobs: Vec::new() });
        assert_eq!((&empty["stages"], &empty["brik: nothing"]["stage"]), (&json!(["wave-1"]), &json!("wave-1")));
    }
}
