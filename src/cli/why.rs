//! `brik why`: from the first cause to what runs because of it.

use std::process::ExitCode;

use serde::Serialize;

use super::args::{Format, Global, WhyArgs};
use super::failure::Failure;
use super::planning::{Planned, Setup, learn};
use super::print;
use super::reasons::{Reasons, learn_secrets};
use super::since;
use crate::build::last_trail;
use crate::oci::{Digest, Platform};
use crate::plan::{Explanation, ImagePlan, MissReason, Trail};
use crate::report::{Redactor, sanitise};

/// What is told of one image.
#[derive(Serialize)]
struct Answer {
    service: String,
    platform: String,
    /// Nothing has to run, and the image is there.
    up_to_date: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<Digest>,
    /// Why the image is made anew, besides its Steps.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<MissReason>,
    /// Those that run, and what else is the cause of that.
    steps: Vec<AnswerStep>,
}

#[derive(Serialize)]
struct AnswerStep {
    /// As in `build 2/5`.
    position: String,
    text: String,
    /// Not only changed: cached from another time.
    runs: bool,
    reasons: Vec<MissReason>,
}

pub fn run(global: &Global, args: &WhyArgs) -> Result<ExitCode, Failure> {
    let setup = Setup::new(global, &args.what)?;
    let answers = match args.last {
        true => last(&setup)?,
        false => now(&setup, args)?,
    };
    print::out(&match args.format {
        Format::Json => format!("{}\n", serde_json::json!({ "services": answers })),
        Format::Human => answers.iter().map(|answer| answer.human(args.last)).collect(),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What a build would run.
fn now(setup: &Setup, args: &WhyArgs) -> Result<Vec<Answer>, Failure> {
    let mut planned = setup.plan(&args.what, false)?;
    since::narrow(setup, &args.what, &mut planned)?;
    learn(&setup.redactor, &setup.client)?;
    let shared = setup.shared(&args.what.cache, true, &planned.workspace)?;
    let lookup = setup.look_up_aloud(&planned.plan, &shared);
    let reasons = Reasons::preview(setup, &planned, &lookup, &shared);
    let Planned { plan, .. } = &planned;
    let services = &setup.request.services;
    let asked = |service: &String| services.is_empty() || services.contains(service);
    let images = plan.images.iter().enumerate().filter(|(_, image)| asked(&image.service));
    let answer = |(index, image): (usize, &ImagePlan)| {
        let digest = lookup.images.get(&index).map(|record| record.manifest.digest);
        let explained = reasons.of_image(index);
        let step = |explanation: &Explanation| {
            let step = &plan.steps[explanation.step];
            AnswerStep {
                position: step.position.clone(),
                text: reasons.text(step),
                runs: explanation.runs,
                reasons: explanation.reasons.clone(),
            }
        };
        Answer {
            service: image.service.clone(),
            platform: image.platform.to_string(),
            up_to_date: digest.is_some(),
            image: digest,
            reasons: explained.map(|explained| explained.image.clone()).unwrap_or_default(),
            steps: explained.iter().flat_map(|explained| &explained.steps).map(step).collect(),
        }
    };
    Ok(images.map(answer).collect())
}

/// What the last build ran, as it was explained then.
fn last(setup: &Setup) -> Result<Vec<Answer>, Failure> {
    let services = &setup.request.services;
    learn_secrets(setup, setup.request.config.services.values());
    let mut answers = Vec::new();
    for (name, service) in &setup.request.config.services {
        if !services.is_empty() && !services.contains(name) {
            continue;
        }
        for platform in &service.platforms {
            match last_trail(&setup.store, &service.image, platform) {
                Some(trail) => answers.push(Answer::of_trail(name, platform, trail, &setup.redactor)),
                None if services.is_empty() => {}
                None => {
                    return Err(Failure::failed(format!("{name} was not built for {platform} with this store; `brik build {name}` does")));
                }
            }
        }
    }
    Ok(answers)
}

impl Answer {
    fn of_trail(service: &str, platform: &Platform, trail: Trail, redactor: &Redactor) -> Self {
        let up_to_date = !trail.has_reasons();
        let ran = trail.steps.into_iter().filter(|step| !step.reasons.is_empty());
        let text = |text: &str| redactor.redact(text).into_owned();
        let steps = ran.map(|step| AnswerStep {
            position: step.position,
            text: text(&step.text),
            runs: true,
            reasons: step.reasons.into_iter().map(|reason| reason.map_texts(&text)).collect(),
        });
        Self {
            service: service.to_owned(),
            platform: platform.to_string(),
            up_to_date,
            image: None,
            reasons: trail.reasons.into_iter().map(|reason| reason.map_texts(&text)).collect(),
            steps: steps.collect(),
        }
    }

    /// `past`: of a build that has been.
    fn human(&self, past: bool) -> String {
        let Self { service, platform, .. } = self;
        let runs = self.steps.iter().filter(|step| step.runs).count();
        let number = format!("{runs} step{}", if runs == 1 { "" } else { "s" });
        let head = match (&self.image, runs) {
            (Some(image), _) => format!("up to date (image {image})"),
            (None, 0) if self.up_to_date => "everything was cached".to_owned(),
            (None, 0) => "no step changed, but the image did".to_owned(),
            (None, _) if past => format!("{number} ran"),
            (None, _) => format!("{number} to run"),
        };
        let mut text = format!("{service} ({platform}): {head}");
        if !self.steps.is_empty() && self.steps.iter().all(|step| step.reasons == [MissReason::New]) {
            return text + &format!(", {}\n", MissReason::New);
        }
        text.push('\n');
        for reason in &self.reasons {
            text += &format!("  {}\n", told(reason));
        }
        let is_consequence = |step: &&AnswerStep| step.reasons.iter().all(MissReason::is_consequence);
        let (follow, causes): (Vec<&AnswerStep>, Vec<&AnswerStep>) = self.steps.iter().partition(is_consequence);
        for cause in causes {
            text += &format!("  {}\n", cause.line());
            for reason in cause.reasons.iter().filter(|reason| !reason.is_consequence()) {
                text += &format!("    {}\n", told(reason));
            }
            for step in follow.iter().filter(|step| step.is_after(cause)) {
                text += &format!("    then {}\n", step.line());
            }
        }
        text
    }
}

impl AnswerStep {
    fn line(&self) -> String {
        let note = if self.runs { "" } else { " (cached from another build)" };
        sanitise(format!("[{}] {}{note}", self.position, self.text).as_bytes())
    }

    /// Whether `cause` is the first Step that this one runs because of.
    fn is_after(&self, cause: &Self) -> bool {
        let first = self.reasons.first();
        matches!(first, Some(MissReason::After { position, text }) if (position, text) == (&cause.position, &cause.text))
    }
}

fn told(reason: &MissReason) -> String {
    sanitise(format!("{reason:#}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_dockerfile_writes_to_the_terminal() {
        let text = "RUN true # \u{1b}]0;pwn\u{7}\u{202e}x".to_owned();
        let step = |reasons| AnswerStep { position: "1/1".to_owned(), text: text.clone(), runs: true, reasons };
        let removed = || MissReason::Removed { text: "\u{202e}y".to_owned() };
        let after = MissReason::After { position: "1/1".to_owned(), text: text.clone() };
        let answer = Answer {
            service: "a".to_owned(),
            platform: "linux/amd64".to_owned(),
            up_to_date: false,
            image: None,
            reasons: vec![removed()],
            steps: vec![step(vec![removed()]), step(vec![after])],
        };
        let expected =
            "a (linux/amd64): 2 steps to run\n  y was removed\n  [1/1] RUN true # x\n    y was removed\n    then [1/1] RUN true # x\n";
        assert_eq!(answer.human(false), expected);
    }
}
