//! Services, contexts and Dockerfiles in; Steps with CacheKeys out. Nothing here runs, writes or prints; what has to be asked of a
//! registry or another server is asked through [`Remote`].
//!
//! ```text
//! survey    one Dockerfile for one service: global ARGs, base names, target, what it refers to
//! contexts  what stands in for stages and images
//! graph     edges between services, and their order
//! planner   all services in that order -> Plan
//!   stage       one stage: instructions -> Steps and image configuration   (state, environment)
//!   copy, run   the two kinds of instructions that make Steps; add: what ADD takes from elsewhere
//!   epoch       SOURCE_DATE_EPOCH
//!   mode, signal  what `--chmod` and STOPSIGNAL may say
//! difference    what is the first to differ between an image of this plan and of an earlier one
//! verify        what planning would refuse, all at once and without any image
//! remote        what planning asks of servers
//! key, step     what a Step is and what identifies it
//! trail, explain  what was built last, and why a Step runs that did not have to then      (align, miss, image_change)
//! labels        what git tells of an image, as labels and as ARGs
//! tags          tag templates, lines of docker/metadata-action and git facts -> tags
//! ```

mod add;
mod align;
mod budget;
mod contexts;
mod copy;
mod difference;
mod environment;
mod epoch;
mod error;
mod explain;
mod graph;
mod image_change;
pub mod key;
mod labels;
mod miss;
mod mode;
mod planner;
mod remote;
mod run;
mod signal;
mod stage;
mod state;
pub mod step;
mod survey;
pub mod tags;
#[cfg(test)]
mod tests;
mod trail;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use contexts::NamedContexts;
pub use copy::shown;
pub use difference::{Change, first_change};
pub use environment::{Environment, PROXY_ARGS, platform_args};
pub use epoch::{EpochError, epoch_seconds};
pub use error::{Error, ErrorKind};
pub use explain::{Explained, Explanation, Past, Question, explain};
pub use graph::{Edge, EdgeReason, ServiceNames, order, waves};
pub use key::{CacheKey, KeyInputs};
pub use labels::SourceFacts;
pub use miss::MissReason;
pub use mode::{ModeChange, ModeError};
pub use planner::{Fetched, NamedImage, Options, Target, images_of, plan, plan_each};
pub use remote::{BaseImage, Checkout, Download, Remote};
pub use state::normalize;
pub use step::{BaseId, ContextId, Op, Root, Step, StepId};
pub use survey::{BaseName, Dockerfile, Survey, SurveyedStage};
pub use trail::{Trail, TrailBase, TrailStep};

use crate::oci::{ImageConfig, Platform};
use crate::source::{self, Context};

/// What a source selects in a context; shared by all Steps that ask the same.
pub type Selection = Arc<source::Selection>;

/// Everything that a run may do: shared Steps stand once.
#[derive(Default)]
pub struct Plan {
    pub steps: Vec<Step>,
    pub bases: Vec<Arc<BaseImage>>,
    pub contexts: Vec<Context>,
    pub images: Vec<ImagePlan>,
}

/// The image of one service for one platform.
#[derive(Debug)]
pub struct ImagePlan {
    pub service: String,
    pub platform: Platform,
    pub root: Root,
    /// Complete but for `rootfs.diff_ids` and [`volatile`](Self::volatile).
    pub config: ImageConfig,
    /// Labels that are no part of the key: an image keeps those that it was first given.
    pub volatile: BTreeMap<String, String>,
    /// The names of those that git fills where it can.
    pub of_a_commit: Vec<&'static str>,
    /// Identifies the finished image: its root and its configuration.
    pub key: CacheKey,
    pub inputs: KeyInputs,
}

impl ImagePlan {
    /// The configuration with all labels.
    pub fn labelled(&self) -> ImageConfig {
        let mut config = self.config.clone();
        config.config.labels.extend(self.volatile.clone());
        config
    }

    /// The same with the labels that are no part of the key as another image of the key has them.
    pub fn labelled_as(&self, other: &ImageConfig) -> ImageConfig {
        let mut config = self.config.clone();
        let is_volatile = |name: &String| self.volatile.contains_key(name) || self.of_a_commit.contains(&name.as_str());
        let volatile = other.config.labels.iter().filter(|(name, _)| is_volatile(name));
        config.config.labels.extend(volatile.map(|(name, value)| (name.clone(), value.clone())));
        config
    }
}

impl Plan {
    /// The Steps whose layers make up `root`, lowest first, and the base below them.
    pub fn chain(&self, root: Root) -> (Option<BaseId>, Vec<StepId>) {
        let (mut at, mut steps) = (root, Vec::new());
        let base = loop {
            match at {
                Root::Scratch => break None,
                Root::Base(base) => break Some(base),
                Root::Step(step) => {
                    steps.push(step);
                    at = self.steps[step].parent;
                }
            }
        };
        steps.reverse();
        (base, steps)
    }

    /// The Steps that the images and each other need: all of them, unless images were taken away.
    pub fn needed_steps(&self) -> BTreeSet<StepId> {
        self.images.iter().flat_map(|image| self.behind(image.root).0).collect()
    }

    /// Identifies a file system state by what made it. It is how a state stands in a key.
    pub fn root_key(&self, root: Root) -> String {
        match root {
            Root::Scratch => "scratch".to_owned(),
            Root::Base(base) => {
                let mut inputs = KeyInputs::new("base");
                self.bases[base].config.rootfs.diff_ids.iter().for_each(|id| inputs.add("layer", id.to_string()));
                inputs.key().0.to_string()
            }
            Root::Step(step) => {
                let step = &self.steps[step];
                if !step.independent {
                    return step.key.0.to_string();
                }
                let mut inputs = KeyInputs::new("link");
                inputs.add("parent", self.root_key(step.parent));
                inputs.add("layer", step.key.0.to_string());
                inputs.key().0.to_string()
            }
        }
    }

    /// All Steps that lead to `root`, also those that others only copy from, in the order of the plan; and the bases below them.
    pub fn behind(&self, root: Root) -> (BTreeSet<StepId>, BTreeSet<BaseId>) {
        let (mut steps, mut bases, mut pending) = (BTreeSet::new(), BTreeSet::new(), vec![root]);
        while let Some(root) = pending.pop() {
            match root {
                Root::Scratch => {}
                Root::Base(base) => drop(bases.insert(base)),
                Root::Step(step) => {
                    if steps.insert(step) {
                        pending.push(self.steps[step].parent);
                        pending.extend(self.steps[step].sources());
                    }
                }
            }
        }
        (steps, bases)
    }
}
