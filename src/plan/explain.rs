//! Why the Steps of an image run: each is compared with its counterpart in what was built last.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::Path;

use super::align::align;
use super::image_change::image_changes;
use super::key::{CacheKey, KeyInputs};
use super::miss::MissReason;
use super::step::{Op, Root, Step, StepId};
use super::trail::{Trail, TrailStep};
use super::{ImagePlan, Plan};
use crate::source::{FileChange, FileLists};

/// What is known of Steps that were built before, by their keys.
pub trait Past {
    fn inputs(&self, key: &CacheKey) -> Option<KeyInputs>;
    /// The files that it took from contexts.
    fn files(&self, key: &CacheKey) -> Option<FileLists>;
}

/// Why an image is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Explained {
    /// What of the image changed besides its Steps.
    pub image: Vec<MissReason>,
    /// Steps that run, and those that do not but differ from the last build; in the order of the plan.
    pub steps: Vec<Explanation>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    pub step: StepId,
    /// It has to run: it is not one that is cached from another time.
    pub runs: bool,
    /// The causes of its own first; never empty.
    pub reasons: Vec<MissReason>,
}

impl Explained {
    pub fn step(&self, id: StepId) -> Option<&Explanation> {
        self.steps.binary_search_by_key(&id, |explanation| explanation.step).ok().map(|index| &self.steps[index])
    }

    /// What of it turned out so: `ran` says which Steps have run.
    pub fn of_run(mut self, ran: impl Fn(StepId) -> bool) -> Self {
        self.steps.iter_mut().for_each(|step| step.runs &= ran(step.step));
        self
    }

    /// With every text replaced that could hold something that nobody should read.
    pub fn map_texts(self, map: &dyn Fn(&str) -> String) -> Self {
        let all = |reasons: Vec<MissReason>| reasons.into_iter().map(|reason| reason.map_texts(map)).collect();
        let steps = self.steps.into_iter().map(|step| Explanation { reasons: all(step.reasons), ..step });
        Self { image: all(self.image), steps: steps.collect() }
    }
}

/// What to explain, and from what.
pub struct Question<'a> {
    pub plan: &'a Plan,
    /// Steps that have to run.
    pub run: &'a BTreeSet<StepId>,
    pub past: &'a dyn Past,
    /// Paths of contexts are told as seen from here.
    pub root: &'a Path,
}

/// Explains an image that is not finished. `previous`: what was built for the same service and platform last.
pub fn explain(question: &Question, image: &ImagePlan, previous: Option<&Trail>) -> Explained {
    let steps = question.plan.behind(image.root).0;
    let Some(previous) = previous else {
        let runs = steps.into_iter().filter(|id| question.run.contains(id));
        let reason = |id: StepId| if question.plan.steps[id].no_cache { MissReason::NoCache } else { MissReason::New };
        let steps: Vec<Explanation> = runs.map(|step| Explanation { step, runs: true, reasons: vec![reason(step)] }).collect();
        let image = if steps.is_empty() { vec![MissReason::New] } else { Vec::new() };
        return Explained { image, steps };
    };
    let ids: Vec<StepId> = steps.into_iter().collect();
    let before: Vec<(&str, &str)> = previous.steps.iter().map(|step| (step.stage(), &*step.text)).collect();
    let now: Vec<(&str, &str)> = ids.iter().map(|id| &question.plan.steps[*id]).map(|step| (step.stage(), &*step.text)).collect();
    let found = align(&before, &now);
    let counterparts = ids.iter().zip(found).filter_map(|(id, before)| Some((*id, before?))).collect();
    let mut explainer = Explainer { question, previous, counterparts, causes: BTreeMap::new() };
    let mut explained = Explained::default();
    for id in ids {
        let runs = question.run.contains(&id);
        let reasons = explainer.reasons(id, runs, &explained);
        if !reasons.is_empty() {
            explained.steps.push(Explanation { step: id, runs, reasons });
        }
    }
    explained.image = match (image.key == previous.image, explained.steps.iter().any(|step| step.runs)) {
        (true, true) => Vec::new(),
        (true, false) => vec![MissReason::Evicted],
        (false, _) => explainer.image_reasons(image, image_changes(&previous.inputs, &image.inputs)),
    };
    let told: BTreeSet<String> = explained.steps.iter().flat_map(|step| &step.reasons).map(ToString::to_string).collect();
    explained.image.retain(|reason| !told.contains(&reason.to_string()));
    explained
}

struct Explainer<'a> {
    question: &'a Question<'a>,
    previous: &'a Trail,
    /// Steps and their places in the trail.
    counterparts: HashMap<StepId, usize>,
    /// Of each Step that differs from its counterpart the first one that it does so because of: itself, or one before it.
    causes: BTreeMap<StepId, StepId>,
}

/// Inputs that the text of an instruction says, so that nothing more is to be told where the text has changed.
const IN_THE_TEXT: [&str; 12] =
    ["operation", "argument", "destination", "chown", "chmod", "parents", "exclude", "unpack", "network", "mount", "path", "link"];

impl Explainer<'_> {
    /// Empty for a Step that is as it was and need not run. `explained`: the Steps before it.
    fn reasons(&mut self, id: StepId, runs: bool, explained: &Explained) -> Vec<MissReason> {
        let step = &self.question.plan.steps[id];
        let before = self.counterparts.get(&id).map(|index| &self.previous.steps[*index]);
        let unchanged = before.is_some_and(|before| before.key == step.key);
        if runs && step.no_cache {
            if !unchanged {
                self.causes.insert(id, id);
            }
            return vec![MissReason::NoCache];
        }
        let Some(before) = before else {
            self.causes.insert(id, id);
            return vec![MissReason::Inserted];
        };
        if unchanged {
            return if runs { vec![MissReason::Evicted] } else { Vec::new() };
        }
        let (mut reasons, cause) = self.differences(step, before);
        if reasons.is_empty() {
            reasons.push(MissReason::Forgotten);
        }
        // What the cause was told of needs not be told again: a variable reaches every RUN.
        if let Some(told) = cause.and_then(|cause| explained.step(cause)) {
            reasons.retain(|reason| reason.is_consequence() || !told.reasons.contains(reason));
        }
        reasons.sort_by_key(MissReason::is_consequence);
        let own = !reasons[0].is_consequence();
        self.causes.insert(id, cause.filter(|_| !own).unwrap_or(id));
        reasons
    }

    /// And the Step that is the cause, if one is.
    fn differences(&self, step: &Step, before: &TrailStep) -> (Vec<MissReason>, Option<StepId>) {
        let mut found = Found { reasons: Vec::new(), cause: None };
        let rewritten = before.text != step.text;
        if rewritten {
            found.add(MissReason::Instruction { old: before.text.clone(), new: step.text.clone() });
        }
        let Some(inputs) = self.question.past.inputs(&before.key) else {
            let upstream = [step.parent].into_iter().chain(step.sources()).find_map(|root| self.cause_of(root));
            found.after(self.question.plan, upstream);
            return (found.reasons, found.cause);
        };
        let command = |inputs: &KeyInputs| {
            let arguments = inputs.parts().iter().filter(|(name, _)| name == "argument");
            arguments.map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(" ")
        };
        let (old_command, new_command) = (command(&inputs), command(&step.inputs));
        if !rewritten && old_command != new_command {
            found.add(MissReason::Setting { name: "command".to_owned(), old: Some(old_command), new: Some(new_command) });
        }
        for (name, old, new) in differing(&inputs, &step.inputs) {
            if name == "version" {
                return (vec![MissReason::Version], None);
            }
            let (kind, rest) = name.split_once(' ').unwrap_or((name, ""));
            match (kind, name) {
                (_, "argument") => {}
                (_, "parent") => self.upstream(step.parent, old, &mut found),
                ("from", _) | (_, "mount from") => {
                    let root = step.sources().into_iter().find(|root| new.is_some_and(|new| self.question.plan.root_key(*root) == new));
                    match root {
                        Some(root) if old.is_some() => self.upstream(root, old, &mut found),
                        _ => found.add_unless(rewritten, MissReason::Source { name: name.to_owned() }),
                    }
                }
                ("files", _) | (_, "mount files") => match (old, new) {
                    (Some(old), Some(new)) => {
                        let source = if kind == "files" { rest } else { "a mount" };
                        found.reasons.extend(self.files(step, before, source, (old, new)));
                    }
                    _ => found.add_unless(rewritten, setting("source", old.map(|_| rest), new.map(|_| rest))),
                },
                ("env", _) => {
                    let arg = matches!(&step.op, Op::Run(run) if run.declared.iter().any(|declared| declared == rest));
                    let [old, new] = [old, new].map(|value| value.map(str::to_owned));
                    found.add(MissReason::Variable { arg, name: rest.to_owned(), old, new });
                }
                ("heredoc" | "script" | "url" | "name", _) => {
                    found.add_unless(rewritten && (old.is_none() || new.is_none()), setting(name, old, new));
                }
                _ => found.add_unless(rewritten && IN_THE_TEXT.contains(&name), setting(name, old, new)),
            }
        }
        (found.reasons, found.cause)
    }

    /// The first Step that made a state differ from what it was.
    fn cause_of(&self, root: Root) -> Option<StepId> {
        let mut at = root;
        while let Root::Step(id) = at {
            let step = &self.question.plan.steps[id];
            if let Some(cause) = self.causes.get(&id) {
                return Some(*cause);
            }
            if !step.independent {
                return None;
            }
            at = step.parent;
        }
        None
    }

    /// Why a state that a Step works on or takes files from is another one. `old`: how the one before stood in the key.
    fn upstream(&self, root: Root, old: Option<&str>, found: &mut Found) {
        if let Some(cause) = self.cause_of(root) {
            return found.after(self.question.plan, Some(cause));
        }
        let removed = self.previous.steps.iter().enumerate().find(|(_, step)| old == Some(&*step.key.0.to_string()));
        if let Some((_, step)) = removed.filter(|(index, _)| !self.counterparts.values().any(|taken| taken == index)) {
            return found.add(MissReason::Removed { text: step.text.clone() });
        }
        found.add(self.base_moved(root, old).unwrap_or_else(|| MissReason::Source { name: self.name_of(root) }));
    }

    fn base_moved(&self, root: Root, old: Option<&str>) -> Option<MissReason> {
        let base = &self.question.plan.bases[self.question.plan.chain(root).0?];
        let before = self.previous.bases.iter().find(|base| old == Some(&*base.root));
        // Below layers that do not depend on it, the state has another name.
        let name = base.reference.as_ref().map(ToString::to_string);
        let before = before.or_else(|| self.previous.bases.iter().find(|before| before.name == name));
        // The only base was another one.
        let before = before.or_else(|| self.previous.bases.first().filter(|_| self.previous.bases.len() == 1))?;
        Some(MissReason::Base { old_name: before.name.clone(), name, old: before.digest, new: base.digest })
    }

    fn name_of(&self, root: Root) -> String {
        match root {
            Root::Scratch => "scratch".to_owned(),
            Root::Base(base) => {
                self.question.plan.bases[base].reference.as_ref().map_or_else(|| "an OCI layout".to_owned(), ToString::to_string)
            }
            Root::Step(step) => self.question.plan.steps[step].stage().to_owned(),
        }
    }

    /// Which files of a source differ, by the hashes of what was selected then and is now.
    fn files(&self, step: &Step, before: &TrailStep, source: &str, (old, new): (&str, &str)) -> Vec<MissReason> {
        let named = || {
            let (context, selection) =
                step.selections().into_iter().find(|(_, selection)| selection.known_hash().is_some_and(|hash| hash.to_string() == new))?;
            let context = &self.question.plan.contexts[context];
            let lists = self.question.past.files(&before.key)?;
            let now = context.file_list(selection)?;
            let changes = lists.of(old)?.changes(&now);
            let directory = context.path().strip_prefix(self.question.root).unwrap_or(Path::new(""));
            let shown = |path: &[u8]| directory.join(&*String::from_utf8_lossy(path)).display().to_string();
            let mut reasons: Vec<MissReason> = changes.iter().take(MOST_NAMED).map(|change| reason(change, &shown)).collect();
            if changes.len() > reasons.len() {
                reasons.push(MissReason::MoreFiles { count: changes.len() - reasons.len() });
            }
            Some(reasons)
        };
        // Hard links are in the hash, not in the list.
        named().filter(|reasons| !reasons.is_empty()).unwrap_or_else(|| vec![MissReason::Files { source: source.to_owned() }])
    }

    /// Why an image is another one: `changed` of its configuration, and where no Step differs, what else there is.
    fn image_reasons(&self, image: &ImagePlan, mut changed: Vec<MissReason>) -> Vec<MissReason> {
        if !self.causes.is_empty() {
            return changed;
        }
        let matched: BTreeSet<usize> = self.counterparts.values().copied().collect();
        let removed = self.previous.steps.iter().enumerate().filter(|(index, _)| !matched.contains(index));
        changed.extend(removed.map(|(_, step)| MissReason::Removed { text: step.text.clone() }));
        let same = |reason: &MissReason| matches!(reason, MissReason::Base { old, new, .. } if old == new);
        changed.extend(self.base_moved(image.root, None).filter(|reason| !same(reason)));
        if changed.is_empty() {
            changed.push(MissReason::Config { name: "history".to_owned(), old: None, new: None });
        }
        changed
    }
}

/// Files of a Step that are told by name.
const MOST_NAMED: usize = 20;

fn reason(change: &FileChange, shown: &dyn Fn(&[u8]) -> String) -> MissReason {
    let hash = |content: &[u8; 8]| format!("blake3:{:016x}", u64::from_be_bytes(*content));
    match change {
        FileChange::Added(path) => MissReason::FileAdded { path: shown(path) },
        FileChange::Removed(path) => MissReason::FileRemoved { path: shown(path) },
        FileChange::Content { path, old, new } => MissReason::FileChanged { path: shown(path), old: hash(old), new: hash(new) },
        FileChange::Mode { path, old, new } => {
            MissReason::ModeChanged { path: shown(path), old: format!("{old:04o}"), new: format!("{new:04o}") }
        }
    }
}

fn setting(name: &str, old: Option<&str>, new: Option<&str>) -> MissReason {
    MissReason::Setting { name: name.to_owned(), old: old.map(str::to_owned), new: new.map(str::to_owned) }
}

/// What was found to differ in a Step.
struct Found {
    reasons: Vec<MissReason>,
    /// The Step that is the cause, if one is.
    cause: Option<StepId>,
}

impl Found {
    fn add(&mut self, reason: MissReason) {
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    fn add_unless(&mut self, told: bool, reason: MissReason) {
        if !told {
            self.add(reason);
        }
    }

    fn after(&mut self, plan: &Plan, cause: Option<StepId>) {
        if let Some(cause) = cause {
            self.cause.get_or_insert(cause);
            let step = &plan.steps[cause];
            self.add(MissReason::After { position: step.position.clone(), text: step.text.clone() });
        }
    }
}

/// Inputs that are not the same, by name; of several with one name the first is compared with the first. The old ones may be abridged.
fn differing<'i>(old: &'i KeyInputs, new: &'i KeyInputs) -> Vec<(&'i str, Option<&'i str>, Option<&'i str>)> {
    let mut before: HashMap<&str, VecDeque<&str>> = HashMap::new();
    old.parts().iter().for_each(|(name, value)| before.entry(name).or_default().push_back(value));
    let mut differing = Vec::new();
    let abridged = new.abridged();
    for ((name, value), (_, short)) in new.parts().iter().zip(abridged.parts()) {
        let old = before.get_mut(name.as_str()).and_then(VecDeque::pop_front);
        if old.is_none_or(|old| old != value && old != short) {
            differing.push((name.as_str(), old, Some(value.as_str())));
        }
    }
    for (name, _) in old.parts() {
        let left = before.remove(name.as_str()).unwrap_or_default();
        differing.extend(left.into_iter().map(|value| (name.as_str(), Some(value), None)));
    }
    differing
}
