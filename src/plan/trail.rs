//! Trails: what an image was built from last, kept so that the next build can say what has changed since.

use serde::{Deserialize, Serialize};

use super::explain::Explained;
use super::key::{CacheKey, KeyInputs};
use super::miss::MissReason;
use super::step::{BaseId, Root, StepId, stage_of};
use super::{ImagePlan, Plan};
use crate::oci::Digest;

/// One image, for one platform. What went into its Steps is in their records, under the same keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trail {
    pub image: CacheKey,
    /// Of the image's key.
    pub inputs: KeyInputs,
    pub bases: Vec<TrailBase>,
    /// All that the image needs, those of a stage in order.
    pub steps: Vec<TrailStep>,
    /// Why the image was made, where that was not because of a Step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<MissReason>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrailBase {
    /// As it was named; none for an OCI layout.
    pub name: Option<String>,
    pub digest: Digest,
    /// How it stands in keys.
    pub root: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrailStep {
    /// As that of a [`Step`](super::Step).
    pub position: String,
    pub text: String,
    pub key: CacheKey,
    /// Why it ran; empty where it did not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<MissReason>,
}

impl TrailStep {
    /// Name or index of the stage.
    pub fn stage(&self) -> &str {
        stage_of(&self.position)
    }
}

impl Trail {
    /// What `image` is made of, and what was explained of it if it had to be made.
    pub fn of(plan: &Plan, image: &ImagePlan, explained: Option<&Explained>) -> Self {
        let (steps, bases) = plan.behind(image.root);
        let base = |id: BaseId| {
            let base = &plan.bases[id];
            let name = base.reference.as_ref().map(ToString::to_string);
            TrailBase { name, digest: base.digest, root: plan.root_key(Root::Base(id)) }
        };
        let reasons = |id: StepId| {
            let of_step = explained.and_then(|explained| explained.step(id)).filter(|explanation| explanation.runs);
            of_step.map(|explanation| explanation.reasons.clone()).unwrap_or_default()
        };
        let step = |id: StepId| {
            let step = &plan.steps[id];
            TrailStep { position: step.position.clone(), text: step.text.clone(), key: step.key, reasons: reasons(id) }
        };
        Self {
            image: image.key,
            inputs: image.inputs.clone(),
            bases: bases.into_iter().map(base).collect(),
            steps: steps.into_iter().map(step).collect(),
            reasons: explained.map(|explained| explained.image.clone()).unwrap_or_default(),
        }
    }

    /// Whether its build ran or made anything.
    pub fn has_reasons(&self) -> bool {
        !self.reasons.is_empty() || self.steps.iter().any(|step| !step.reasons.is_empty())
    }
}
