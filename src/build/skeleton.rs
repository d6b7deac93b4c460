//! What a COPY or WORKDIR works on where the layers of its parent are not here: which directories and links they have is all that matters
//! to it, and tables of contents tell that.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::copy::is_number;
use super::copy_step::may_unpack;
use super::engine::{Engine, make_dir};
use super::error::Error;
use super::lookup::Lookup;
use super::toc::StateLayer;
use crate::cache::Claims;
use crate::image::{unpack_tocs, without_hidden};
use crate::plan::{Op, Plan, Root, Step};
use crate::store::TempDir;

/// What a Step that reads no file of its parent looks at there.
struct Look<'a> {
    path: &'a str,
    /// Names of users or groups, too.
    names: bool,
}

fn looks_at(step: &Step) -> Option<Look<'_>> {
    match &step.op {
        Op::Run(_) => None,
        Op::Copy(copy) => {
            let names = copy.chown.as_deref().is_some_and(|owner| !is_number(owner));
            (!may_unpack(copy)).then_some(Look { path: &copy.destination, names })
        }
        Op::Workdir(workdir) => Some(Look { path: &workdir.path, names: !is_number(&workdir.user) }),
    }
}

/// The states whose files Steps that have to run read.
pub(super) fn states_read(plan: &Plan, lookup: &Lookup) -> BTreeSet<Root> {
    let read = |step: &Step| {
        let parent = (!step.independent && looks_at(step).is_none()).then_some(step.parent);
        parent.into_iter().chain(step.sources()).collect::<Vec<_>>()
    };
    let with_below = |root: Root| {
        let (base, steps) = plan.chain(root);
        base.map(Root::Base).into_iter().chain(steps.into_iter().map(Root::Step))
    };
    lookup.run.iter().flat_map(|&id| read(&plan.steps[id])).flat_map(with_below).collect()
}

impl Engine<'_> {
    /// Directories that take the place of the parent's snapshots, uppermost first, and on whose word they look like these. `None` where the
    /// Step needs these, or nothing is saved.
    pub(super) fn skeleton(&self, step: &Step, work: &TempDir) -> Option<(Vec<PathBuf>, Claims)> {
        let look = looks_at(step).filter(|_| !self.single_uid() && !self.reads(step.parent))?;
        let made = self.make_skeleton(step, &look, work);
        made.unwrap_or_else(|error| {
            let text = format!("{} works on whole layers, their tables of contents are of no use: {error}", step.text);
            self.reporter().warning(text);
            None
        })
    }

    fn make_skeleton(&self, step: &Step, look: &Look, work: &TempDir) -> Result<Option<(Vec<PathBuf>, Claims)>, Error> {
        let layers = self.state_layers(step.parent)?;
        if layers.iter().all(|layer| self.layers.has(layer)) {
            return Ok(None);
        }
        let (_, made) = self.plan.chain(step.parent);
        let of_base = layers.len() - made.len();
        let makers = std::iter::repeat_n(None, of_base).chain(made.iter().map(|id| Some(self.plan.steps[*id].key)));
        let layers: Vec<StateLayer> = layers.into_iter().zip(makers).map(|(layer, step)| StateLayer { layer, step }).collect();
        let Some((tocs, claims)) = self.tocs(&layers, step)? else { return Ok(None) };
        let into = work.path().join("skeleton");
        make_dir(&into)?;
        let made = unpack_tocs(&tocs, look.path.as_bytes(), look.names, &into, self.single_uid())?;
        let made = made.map(without_hidden).transpose().map_err(|source| Error::Io { action: "read", path: into, source })?;
        Ok(made.map(|made| (made, claims)))
    }
}
