//! `brik plan`: what is cached where, what would run and why, and what would be pushed. Nothing runs.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::args::{Format, Global, PlanArgs, PreviewArgs};
use super::failure::{Code, Failure};
use super::planning::{Planned, Setup, learn};
use super::policy;
use super::print;
use super::reasons::Reasons;
use super::since;
use crate::build::{Lookup, fan_out};
use crate::oci::{Digest, Reference};
use crate::plan::{ImagePlan, MissReason, StepId};
use crate::registry::Client;
use crate::report::sanitise;

#[derive(Serialize)]
struct Preview {
    /// What `--since` has found, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    since: Vec<String>,
    /// In the order of their needs.
    images: Vec<PreviewImage>,
    tags: Vec<PreviewTag>,
    /// Steps that are needed and cached, and those that would run. Those behind a finished image are not looked at.
    cached: usize,
    run: usize,
}

/// The image of a service for one platform.
#[derive(Serialize)]
struct PreviewImage {
    service: String,
    platform: String,
    /// Where the finished image is.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<Place>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    /// Why it is made anew, besides its Steps.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<MissReason>,
    /// Empty where the image is finished.
    steps: Vec<PreviewStep>,
    /// Services further up that some of its Steps are shown with.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    shares_with: BTreeSet<String>,
}

#[derive(Serialize)]
struct PreviewStep {
    /// As in `build 2/5`.
    position: String,
    text: String,
    /// All whose Dockerfiles have it.
    services: Vec<String>,
    /// None for one that would run.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<Place>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<MissReason>,
}

/// Where a result is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Place {
    Store,
    /// A cache repository.
    Cache,
}

#[derive(Serialize)]
struct PreviewTag {
    service: String,
    reference: Reference,
    /// What it points to now, if that was asked and there is something.
    #[serde(skip_serializing_if = "Option::is_none")]
    now: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<TagState>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum TagState {
    /// It is not there.
    New,
    /// It is there and points to something else, or to what is not known before the build.
    Moves,
    /// It points to the image.
    Unchanged,
}

pub fn run(global: &Global, args: &PreviewArgs) -> Result<ExitCode, Failure> {
    tell(&Setup::new(global, &args.what)?, &args.what, args.push, args.format)
}

/// Of `brik plan` and `brik build --dry-run`. `push`: registries are asked for the tags, too.
pub fn tell(setup: &Setup, args: &PlanArgs, push: bool, format: Format) -> Result<ExitCode, Failure> {
    let mut planned = setup.plan(args, push)?;
    let since = since::narrow(setup, args, &mut planned)?;
    if push {
        for finding in policy::before_push(setup, &planned, false)? {
            print::err(&setup.redactor.redact(&format!("warning: {}\n", finding.one_line())));
        }
    }
    learn(&setup.redactor, &setup.client)?;
    let shared = setup.shared(&args.cache, push, &planned.workspace)?;
    let lookup = setup.look_up_aloud(&planned.plan, &shared);
    let reasons = Reasons::preview(setup, &planned, &lookup, &shared);
    let mut preview = Preview::of(&planned, &lookup, &reasons, since);
    if push {
        preview
            .ask_for_tags(&setup.client)
            .map_err(|message| Failure::diagnosed(Code::Failed, "brik::plan::registry", &message, Some(&setup.redactor)))?;
    }
    print::out(&match format {
        Format::Json => format!("{}\n", serde_json::to_string(&preview).unwrap_or_default()),
        Format::Human => preview.human(),
    })?;
    Ok(ExitCode::SUCCESS)
}

impl Preview {
    fn of(planned: &Planned, lookup: &Lookup, reasons: &Reasons, since: Vec<String>) -> Self {
        let mut shown = BTreeMap::new();
        let images = planned.plan.images.iter().enumerate();
        let images = images.map(|(index, image)| PreviewImage::of(planned, lookup, reasons, (index, image), &mut shown)).collect();
        let shown_here = |service: &str| planned.plan.images.iter().any(|image| image.service == service);
        let tags = planned.workspace.services.iter().filter(|loaded| shown_here(&loaded.service.name)).flat_map(|loaded| {
            let tag = |tag: &String| PreviewTag {
                service: loaded.service.name.clone(),
                reference: loaded.service.image.with_tag(tag),
                now: None,
                state: None,
            };
            loaded.tags.iter().map(tag)
        });
        Self { since, images, tags: tags.collect(), cached: lookup.steps.len(), run: lookup.run.len() }
    }

    /// Asks what the tags point to now.
    fn ask_for_tags(&mut self, client: &Client) -> Result<(), String> {
        const AT_ONCE: usize = 16;
        let references: Vec<Reference> = self.tags.iter().map(|tag| tag.reference.clone()).collect();
        let found: Mutex<BTreeMap<Reference, Digest>> = Mutex::default();
        fan_out(&references, AT_ONCE, |reference| {
            let digest = client.head_manifest(reference).map_err(|error| error.to_string())?.map(|descriptor| descriptor.digest);
            found.lock().unwrap_or_else(PoisonError::into_inner).extend(digest.map(|digest| (reference.clone(), digest)));
            Ok::<_, String>(())
        })?;
        let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        for tag in &mut self.tags {
            tag.now = found.remove(&tag.reference);
            let mut own = self.images.iter().filter(|image| image.service == tag.service);
            // What the tag of several platforms points to is an index.
            let alone = own.next().filter(|_| own.next().is_none());
            tag.state = Some(match tag.now {
                None => TagState::New,
                Some(now) if alone.is_some_and(|image| image.digest == Some(now)) => TagState::Unchanged,
                Some(_) => TagState::Moves,
            });
        }
        Ok(())
    }
}

impl PreviewImage {
    /// `shown`: the Steps so far, with the services that they were shown for.
    fn of(
        planned: &Planned,
        lookup: &Lookup,
        reasons: &Reasons,
        (index, image): (usize, &ImagePlan),
        shown: &mut BTreeMap<StepId, String>,
    ) -> Self {
        let plan = &planned.plan;
        let finished = lookup.images.get(&index);
        let explained = reasons.of_image(index);
        let (mut steps, mut shares_with) = (Vec::new(), BTreeSet::new());
        let needed = plan.behind(image.root).0.into_iter().filter(|_| finished.is_none());
        // Steps that only cached ones need are not asked for.
        for id in needed.filter(|id| lookup.run.contains(id) || lookup.steps.contains_key(id)) {
            if let Some(first) = shown.get(&id) {
                shares_with.insert(first.clone());
                continue;
            }
            shown.insert(id, image.service.clone());
            let step = &plan.steps[id];
            let runs = lookup.run.contains(&id);
            let why = explained.and_then(|explained| explained.step(id)).filter(|_| runs);
            steps.push(PreviewStep {
                position: step.position.clone(),
                text: reasons.text(step),
                services: step.services.clone(),
                place: (!runs).then(|| Place::of(lookup.shared.steps.contains(&id))),
                reasons: why.map(|why| why.reasons.clone()).unwrap_or_default(),
            });
        }
        shares_with.remove(&image.service);
        Self {
            service: image.service.clone(),
            platform: image.platform.to_string(),
            place: finished.map(|_| Place::of(lookup.shared.images.contains(&index))),
            digest: finished.map(|record| record.manifest.digest),
            reasons: explained.map(|explained| explained.image.clone()).unwrap_or_default(),
            steps,
            shares_with,
        }
    }
}

impl Place {
    fn of(shared: bool) -> Self {
        if shared { Self::Cache } else { Self::Store }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Cache => "cache",
        }
    }
}

impl Preview {
    fn human(&self) -> String {
        let mut text: String = self.since.iter().map(|line| format!("{}\n", sanitise(line.as_bytes()))).collect();
        for image in &self.images {
            text += &image.human();
            for tag in self.tags.iter().filter(|tag| tag.service == image.service) {
                let state = match tag.state {
                    None => "",
                    Some(TagState::New) => " (new)",
                    Some(TagState::Moves) => " (moves)",
                    Some(TagState::Unchanged) => " (unchanged)",
                };
                text += &format!("  {:<7} {}{state}\n", "push", tag.reference);
            }
        }
        let finished = self.images.iter().filter(|image| image.place.is_some()).count();
        let images = self.images.len();
        let images = format!("{images} image{}, {finished} finished", if images == 1 { "" } else { "s" });
        text + &format!("{images}; steps of the others: {} cached, {} to run\n", self.cached, self.run)
    }
}

impl PreviewImage {
    fn human(&self) -> String {
        let head = match (self.place, &self.digest) {
            (Some(place), Some(digest)) => format!(": up to date in the {} (image {digest})", place.name()),
            _ => String::new(),
        };
        let mut text = format!("{} ({}){head}\n", self.service, self.platform);
        for reason in &self.reasons {
            text += &format!("  {:<7} {}\n", "image", sanitise(reason.to_string().as_bytes()));
        }
        if !self.shares_with.is_empty() {
            let services: Vec<&str> = self.shares_with.iter().map(String::as_str).collect();
            text += &format!("  {:<7} some steps, shown with {}\n", "shared", services.join(", "));
        }
        for step in &self.steps {
            let what = step.place.map_or("run", Place::name);
            let why = step.reasons.first().map(|reason| format!(" ({reason})")).unwrap_or_default();
            let line = format!("[{}] {}{why}", step.position, step.text);
            text += &format!("  {what:<7} {}\n", sanitise(line.as_bytes()));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_dockerfile_writes_to_the_terminal_and_json_is_exact() {
        let step = PreviewStep {
            position: "1/1".to_owned(),
            text: "RUN true # \u{1b}]0;pwn\u{7}\u{202e}x".to_owned(),
            services: vec!["a".to_owned()],
            place: None,
            reasons: vec![MissReason::Removed { text: "\u{202e}y".to_owned() }],
        };
        let image = PreviewImage {
            service: "a".to_owned(),
            platform: "linux/amd64".to_owned(),
            place: None,
            digest: None,
            reasons: vec![MissReason::Removed { text: "\u{202e}z".to_owned() }],
            steps: vec![step],
            shares_with: BTreeSet::new(),
        };
        let preview = Preview { since: vec!["a\u{1b}[2Jb".to_owned()], images: vec![image], tags: Vec::new(), cached: 0, run: 1 };
        let expected = "ab\na (linux/amd64)\n  image   z was removed\n  run     [1/1] RUN true # x (y was removed)\n";
        let human = preview.human();
        assert!(human.starts_with(expected), "{human:?}");
        let json: serde_json::Value = serde_json::from_str(&serde_json::to_string(&preview).unwrap()).unwrap();
        assert_eq!(json["images"][0]["steps"][0]["text"], preview.images[0].steps[0].text);
    }
}
