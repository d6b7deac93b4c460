//! A Step's second key. The first names the states that it works on by what made them, and is known before anything runs; this one names
//! them by what they hold, once they are there: where a changed source leads to the same result, what comes after it need not run.

use super::engine::{Engine, base_layers};
use super::error::Error;
use crate::plan::step::{CopyOp, CopySource};
use crate::plan::{CacheKey, KeyInputs, Op, Root, Step};
use crate::source::{hash_matches, select};
use crate::store::TempDir;

impl Engine<'_> {
    /// `None` where no other Step made what this one works on, or where files keep their own times.
    pub(super) fn content_key(&self, step: &Step, work: &TempDir) -> Result<Option<CacheKey>, Error> {
        let made = |state: &(usize, Root)| matches!(state.1, Root::Step(_));
        if step.epoch.is_none() || !step.inputs.states().iter().any(made) {
            return Ok(None);
        }
        let copy = if let Op::Copy(copy) = &step.op { Some(copy) } else { None };
        let mut patterns = copy.into_iter().flat_map(|copy| &copy.sources).filter_map(|source| match source {
            CopySource::Root { pattern, .. } => Some(pattern),
            _ => None,
        });
        let mut inputs = KeyInputs::new("content");
        for (at, (name, value)) in step.inputs.parts().iter().enumerate() {
            let Some((_, root)) = step.inputs.states().iter().find(|state| state.0 == at) else {
                inputs.add(name, value);
                continue;
            };
            let pattern = if name == KeyInputs::PARENT { None } else { patterns.next() };
            let content = match (copy, pattern, root) {
                // What is copied decides, not all that lies around it.
                (Some(copy), Some(pattern), Root::Step(_)) => Some(self.copied(copy, *root, pattern, work, at)?),
                _ => self.contents(*root),
            };
            // A cache mount may name a state that it does not start from.
            let Some(content) = content else { return Ok(None) };
            inputs.add(name, content);
        }
        Ok(Some(inputs.key()))
    }

    /// Identifies a state by its layers, if they are known.
    fn contents(&self, root: Root) -> Option<String> {
        let (base, steps) = self.plan.chain(root);
        let mut inputs = KeyInputs::new("layers");
        for layer in base.map(|base| base_layers(&self.plan.bases[base])).unwrap_or_default() {
            inputs.add("layer", layer.diff_id.to_string());
        }
        for step in steps {
            inputs.add("layer", self.layer(step)?.diff_id.to_string());
        }
        Some(inputs.key().0.to_string())
    }

    /// The hash of what a COPY selects in a state.
    fn copied(&self, copy: &CopyOp, root: Root, pattern: &str, work: &TempDir, n: usize) -> Result<String, Error> {
        let source = self.source(root, work, &format!("compared-{n}"))?;
        let matches = select(source.tree(), pattern.as_bytes(), &copy.select_options()?)?;
        Ok(hash_matches(source.tree(), &matches)?.to_string())
    }
}
