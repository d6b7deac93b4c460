//! Expressions with the defaults of variables in place of them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use hcl::Expression;
use hcl::eval::Context;
use serde_json::Value;

use super::bounded::evaluate;
use super::definition::Definition;
use crate::import::left::{Fate, Leftovers};
use crate::import::marks::{mark, names, names_in_tag};
use crate::import::values;

/// The variables of a file.
pub(super) struct Variables {
    defaults: Context<'static>,
    /// Each string variable is a mark of itself: what it is used in can be told by the result.
    marked: Context<'static>,
    values: BTreeMap<String, Value>,
    /// Those that something was made of.
    used: RefCell<BTreeSet<String>>,
}

impl Variables {
    /// Defaults may be made of other variables. One that cannot be had is told, and so is whatever needs it.
    pub fn new(definition: &Definition, left: &mut Leftovers) -> Self {
        let (mut defaults, mut marked, mut values) = (Context::new(), Context::new(), BTreeMap::new());
        let empty = Expression::String(String::new());
        let mut pending: Vec<(&String, &Expression)> =
            definition.variables.iter().map(|(name, default)| (name, default.as_ref().unwrap_or(&empty))).collect();
        loop {
            let before = pending.len();
            pending.retain(|(name, expression)| {
                let (Ok(value), Ok(identifier)) = (evaluate(expression, &defaults), hcl::Identifier::new(name.as_str())) else {
                    return true;
                };
                let mark = match &value {
                    hcl::Value::String(_) => hcl::Value::String(mark(name)),
                    other => other.clone(),
                };
                marked.declare_var(identifier.clone(), mark);
                values.insert((*name).clone(), serde_json::to_value(&value).unwrap_or_default());
                defaults.declare_var(identifier, value);
                false
            });
            if pending.is_empty() || pending.len() == before {
                break;
            }
        }
        for (name, expression) in pending {
            let problem = evaluate(expression, &defaults).err().map_or_else(|| "its name is none".to_owned(), |error| problem(&error));
            left.of_file(format!("variable {name:?}"), Fate::Lost, problem);
        }
        Self { defaults, marked, values, used: RefCell::default() }
    }

    /// # Errors
    /// Why an expression has no value without bake.
    pub fn value(&self, expression: &Expression) -> Result<Value, String> {
        self.use_all(self.marked_strings(expression).iter().flat_map(|text| names(text)));
        self.evaluated(expression)
    }

    /// The strings of a list, and for each the variables that its tag is made of.
    pub fn tags(&self, expression: &Expression) -> Result<Vec<(String, Vec<String>)>, String> {
        let texts = values::list(&self.evaluated(expression)?).ok_or("it is no list of strings")?;
        let marked = self.marked_strings(expression);
        let of = |(index, text): (usize, String)| {
            let in_tag = marked.get(index).map(|text| names_in_tag(text)).unwrap_or_default();
            self.use_all(marked.get(index).into_iter().flat_map(|text| names(text)).filter(|name| !in_tag.contains(name)));
            (text, in_tag)
        };
        Ok(texts.into_iter().enumerate().map(of).filter(|(text, _)| !text.is_empty()).collect())
    }

    fn evaluated(&self, expression: &Expression) -> Result<Value, String> {
        let value = evaluate(expression, &self.defaults).map_err(|error| problem(&error))?;
        serde_json::to_value(&value).map_err(|error| error.to_string())
    }

    fn use_all(&self, names: impl Iterator<Item = String>) {
        self.used.borrow_mut().extend(names);
    }

    /// The strings that an expression gives with marks for variables; nothing where it gives others.
    fn marked_strings(&self, expression: &Expression) -> Vec<String> {
        let value = evaluate(expression, &self.marked).ok().and_then(|value| serde_json::to_value(&value).ok());
        let mut texts = Vec::new();
        value.iter().for_each(|value| strings(value, &mut texts));
        texts
    }

    /// Says which defaults have gone into brik.toml.
    pub fn tell(&self, left: &mut Leftovers) {
        for name in self.used.borrow().iter() {
            let value = self.values.get(name).map(Value::to_string).unwrap_or_default();
            let why = format!("its default {value} was taken; `--build-arg`, `--tags` and `--set` give others");
            left.of_file(format!("variable {name:?}"), Fate::Otherwise, why);
        }
    }
}

fn strings(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| strings(item, into)),
        Value::Object(entries) => entries.values().for_each(|item| strings(item, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn problem(reason: &str) -> String {
    format!("it has no value without bake: {reason}")
}
