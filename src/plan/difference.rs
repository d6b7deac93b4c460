//! What is the first thing that makes an image of one plan another than that of an earlier plan.

use serde_json::Value;

use super::key::KeyInputs;
use super::step::{BaseId, Root, Step, StepId};
use super::{ImagePlan, Plan};

/// An input of a key, then and now; `None` where there was or is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The Step whose input it is, as it is now, else as it was: `[build 2/5] COPY . .`. `None` for what no Step made: the base image
    /// or the configuration.
    pub step: Option<String>,
    /// As [`KeyInputs`] name it.
    pub input: String,
    pub old: Option<String>,
    pub new: Option<String>,
}

/// Why an image has another key now than then: of all that differs, what comes first in the build. `None` if the keys are the same.
pub fn first_change(then: (&Plan, &ImagePlan), now: (&Plan, &ImagePlan)) -> Option<Change> {
    if then.1.key == now.1.key {
        return None;
    }
    let plans = Plans { then: then.0, now: now.0 };
    let own = || {
        let bases = (then.0.chain(then.1.root).0, now.0.chain(now.1.root).0);
        configuration(then.1, now.1).unwrap_or_else(|| plans.base(bases.0, bases.1))
    };
    Some(plans.states(then.1.root, now.1.root).unwrap_or_else(own))
}

struct Plans<'p> {
    then: &'p Plan,
    now: &'p Plan,
}

impl Plans<'_> {
    fn states(&self, then: Root, now: Root) -> Option<Change> {
        let ((base_then, steps_then), (base_now, steps_now)) = (self.then.chain(then), self.now.chain(now));
        let layers = |plan: &Plan, base: Option<BaseId>| base.map(|base| plan.bases[base].config.rootfs.diff_ids.clone());
        if layers(self.then, base_then) != layers(self.now, base_now) {
            return Some(self.base(base_then, base_now));
        }
        let both = steps_then.iter().zip(&steps_now).map(|(then, now)| (&self.then.steps[*then], &self.now.steps[*now]));
        let differing = both.clone().find(|(then, now)| then.key != now.key);
        if let Some((then, now)) = differing {
            return Some(self.step(then, now));
        }
        let rest = |plan: &Plan, steps: &[StepId], known: usize| steps.get(known).map(|step| shown(&plan.steps[*step]));
        let (removed, added) = (rest(self.then, &steps_then, steps_now.len()), rest(self.now, &steps_now, steps_then.len()));
        let step = added.clone().or(removed.clone());
        step.map(|step| Change { step: Some(step), input: "instruction".to_owned(), old: removed, new: added })
    }

    /// Two Steps with different keys in the same state.
    fn step(&self, then: &Step, now: &Step) -> Change {
        let sources = then.sources().into_iter().zip(now.sources());
        let deeper = sources.filter_map(|(then, now)| self.states(then, now)).next();
        deeper.unwrap_or_else(|| {
            let (input, old, new) = input(&then.inputs, &now.inputs);
            Change { step: Some(shown(now)), input, old, new }
        })
    }

    fn base(&self, then: Option<BaseId>, now: Option<BaseId>) -> Change {
        let named = |plan: &Plan, base: BaseId| {
            let image = &plan.bases[base];
            image.reference.as_ref().map_or_else(|| image.digest.to_string(), |reference| format!("{reference} ({})", image.digest.short()))
        };
        let (old, new) = (then.map(|base| named(self.then, base)), now.map(|base| named(self.now, base)));
        Change { step: None, input: "base image".to_owned(), old, new }
    }
}

fn shown(step: &Step) -> String {
    format!("[{}] {}", step.position, step.text)
}

/// The first part that is not the same, by name where both have the name.
fn input(then: &KeyInputs, now: &KeyInputs) -> (String, Option<String>, Option<String>) {
    let differing = then.parts().iter().zip(now.parts()).position(|(then, now)| then != now);
    let at = differing.unwrap_or(then.parts().len().min(now.parts().len()));
    let (old, new) = (then.parts().get(at), now.parts().get(at));
    let has = |inputs: &KeyInputs, name: &str| inputs.parts().iter().skip(at).any(|(other, _)| other == name);
    match (old, new) {
        (Some((name, old)), Some((other, new))) if name == other => (name.clone(), Some(old.clone()), Some(new.clone())),
        (Some((name, old)), _) if !has(now, name) => (name.clone(), Some(old.clone()), None),
        (_, Some((name, new))) => (name.clone(), None, Some(new.clone())),
        (Some((name, old)), None) => (name.clone(), Some(old.clone()), None),
        (None, None) => ("parent".to_owned(), None, None),
    }
}

fn configuration(then: &ImagePlan, now: &ImagePlan) -> Option<Change> {
    let (then, now) = [then, now].map(|image| serde_json::to_value(&image.config).unwrap_or_default()).into();
    let (path, old, new) = first_difference("config", &then, &now)?;
    let text = |value: &Value| if value.is_null() { None } else { Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned)) };
    Some(Change { step: None, input: path, old: text(old), new: text(new) })
}

fn first_difference<'v>(path: &str, then: &'v Value, now: &'v Value) -> Option<(String, &'v Value, &'v Value)> {
    let (Value::Object(old), Value::Object(new)) = (then, now) else { return (then != now).then(|| (path.to_owned(), then, now)) };
    let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
    keys.sort();
    let of = |map: &'v serde_json::Map<String, Value>, key: &str| map.get(key).unwrap_or(&Value::Null);
    keys.into_iter().find_map(|key| first_difference(&format!("{path}.{key}"), of(old, key), of(new, key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_that_came_or_went_is_told_by_its_name() {
        let inputs = |parts: &[(&str, &str)]| {
            let mut inputs = KeyInputs::new("run");
            parts.iter().for_each(|(name, value)| inputs.add(*name, *value));
            inputs
        };
        let said = |value: Option<&str>| value.map(str::to_owned);
        for (then, now, expected) in [
            (&[("env A", "1"), ("user", "")][..], &[("env A", "2"), ("user", "")][..], ("env A", Some("1"), Some("2"))),
            (&[("user", "")], &[("env A", "2"), ("user", "")], ("env A", None, Some("2"))),
            (&[("env A", "1"), ("user", "")], &[("user", "")], ("env A", Some("1"), None)),
            (&[("user", "")], &[("user", ""), ("mount", "x")], ("mount", None, Some("x"))),
            (&[("user", ""), ("mount", "x")], &[("user", "")], ("mount", Some("x"), None)),
        ] {
            let (name, old, new) = expected;
            assert_eq!(input(&inputs(then), &inputs(now)), (name.to_owned(), said(old), said(new)), "{then:?} {now:?}");
        }
    }

    #[test]
    fn the_first_field_that_differs_is_found_at_any_depth() {
        let (then, now) = (serde_json::json!({"a": 1, "b": {"c": [1], "d": "x"}}), serde_json::json!({"a": 1, "b": {"c": [1]}}));
        let (path, old, new) = first_difference("config", &then, &now).unwrap();
        assert_eq!((path.as_str(), old.as_str(), new.is_null()), ("config.b.d", Some("x"), true));
        assert!(first_difference("config", &then, &then).is_none());
    }
}
