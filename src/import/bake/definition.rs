//! A bake file as it stands: variables, groups, targets and the names of functions, nothing evaluated.

use std::collections::BTreeMap;

use hcl::expr::{ObjectKey, TemplateExpr};
use hcl::{Body, Expression, Structure};
use serde_json::Value;

use crate::import::left::Broken;

/// The attributes of a block by name.
pub(super) type Attributes = BTreeMap<String, Expression>;

#[derive(Debug, Default)]
pub(super) struct Definition {
    /// Their default, where there is one.
    pub variables: BTreeMap<String, Option<Expression>>,
    pub groups: BTreeMap<String, Attributes>,
    pub targets: BTreeMap<String, Attributes>,
    pub functions: Vec<String>,
}

/// Far beyond any bake file.
const LARGEST: usize = 1 << 20;

impl Definition {
    /// # Errors
    /// A sentence where the text is none of its kind.
    pub fn parse(file: &str, text: &str) -> Result<Self, Broken> {
        if text.len() > LARGEST {
            return Err(format!("it is larger than {LARGEST} bytes").into());
        }
        match file.ends_with(".json") {
            true => {
                let value: Value = serde_json::from_str(text)
                    .map_err(|error| Broken::at(format!("it is no JSON: {error}"), text, error.line(), error.column()))?;
                Ok(Self::of_json(&value)?)
            }
            // The parser bounds how deep expressions and blocks may stand in each other.
            false => {
                let body = hcl::parse(text).map_err(|error| {
                    let at = if let hcl::Error::Parse(error) = &error { Some(error.location().offset()) } else { None };
                    Broken { why: format!("it is no HCL: {}", said(&error)), at }
                })?;
                Ok(Self::of_hcl(body))
            }
        }
    }

    fn of_hcl(body: Body) -> Self {
        let mut definition = Self::default();
        for structure in body {
            let block = match structure {
                // What stands outside of any block is a variable with a value.
                Structure::Attribute(attribute) => {
                    definition.variables.insert(attribute.key.to_string(), Some(attribute.expr));
                    continue;
                }
                Structure::Block(block) => block,
            };
            let Some(name) = block.labels.first().map(|label| label.as_str().to_owned()) else { continue };
            let attributes: Attributes =
                block.body.into_attributes().map(|attribute| (attribute.key.to_string(), attribute.expr)).collect();
            definition.insert(block.identifier.as_str(), name, attributes);
        }
        definition
    }

    fn of_json(value: &Value) -> Result<Self, String> {
        let Value::Object(kinds) = value else { return Err("it is no JSON object".to_owned()) };
        let mut definition = Self::default();
        for (kind, blocks) in kinds {
            let Value::Object(blocks) = blocks else {
                definition.variables.insert(kind.clone(), Some(expression(blocks)));
                continue;
            };
            for (name, block) in blocks {
                // A block may be written as a list of blocks that are merged.
                let parts = block.as_array().map_or(std::slice::from_ref(block), Vec::as_slice);
                let entries = parts.iter().filter_map(Value::as_object).flatten();
                let attributes: Attributes = entries.map(|(key, value)| (key.clone(), expression(value))).collect();
                definition.insert(kind, name.clone(), attributes);
            }
        }
        Ok(definition)
    }

    /// Blocks of the same name are one.
    fn insert(&mut self, kind: &str, name: String, mut attributes: Attributes) {
        match kind {
            "variable" => drop(self.variables.insert(name, attributes.remove("default"))),
            "group" => self.groups.entry(name).or_default().extend(attributes),
            "target" => self.targets.entry(name).or_default().extend(attributes),
            "function" => self.functions.push(name),
            _ => {}
        }
    }
}

/// The strings of an attribute that is a list, as far as they are written out.
pub(super) fn literals(attributes: &Attributes, key: &str) -> Vec<String> {
    match attributes.get(key) {
        Some(Expression::Array(items)) => items.iter().filter_map(literal).collect(),
        _ => Vec::new(),
    }
}

/// A string that is written out.
pub(super) fn literal(expression: &Expression) -> Option<String> {
    if let Expression::String(text) = expression { Some(text.clone()) } else { None }
}

/// JSON in which every string is a template.
fn expression(value: &Value) -> Expression {
    match value {
        Value::Null => Expression::Null,
        Value::Bool(yes) => Expression::Bool(*yes),
        Value::Number(number) => number.as_f64().and_then(hcl::Number::from_f64).map_or(Expression::Null, |float| {
            number.as_i64().map_or(Expression::Number(float), |integer| Expression::Number(integer.into()))
        }),
        Value::String(text) if text.contains("${") || text.contains("%{") => Expression::from(TemplateExpr::QuotedString(text.clone())),
        Value::String(text) => Expression::String(text.clone()),
        Value::Array(items) => Expression::Array(items.iter().map(expression).collect()),
        Value::Object(entries) => Expression::Object(
            entries.iter().map(|(key, value)| (ObjectKey::from(Expression::String(key.clone())), expression(value))).collect(),
        ),
    }
}

/// What the library says, in a line: where an error of the parser stands and what was expected there. Its own words draw that line, and
/// are a panic where it is long.
pub(super) fn said(error: &hcl::Error) -> String {
    match error {
        hcl::Error::Parse(error) => {
            let place = error.location();
            format!("line {}, column {}: {}", place.line(), place.column(), error.message().trim().replace('\n', "; "))
        }
        other => other.to_string().lines().next().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::bake::bounded::evaluate;

    #[test]
    fn what_stands_deep_in_each_other_is_refused() {
        for open in ["(", "[", "{ a = ", "!", "a ? b : ", "-", "1 + ", "\"${", "f(", "a[", "[for x in y: "] {
            let text = format!("target \"a\" {{\n  x = {}1\n}}\n", open.repeat(50_000));
            assert!(Definition::parse("docker-bake.hcl", &text).unwrap_err().why.contains("no HCL"), "{open}");
        }
        assert!(Definition::parse("docker-bake.hcl", &"a {\n".repeat(50_000)).is_err());
        assert!(Definition::parse("docker-bake.json", &"[".repeat(100_000)).unwrap_err().why.contains("JSON"));
    }

    #[test]
    fn an_error_far_to_the_right_is_told_with_its_place() {
        let text = format!("a = 1\n{}]", " ".repeat(70_000));
        let error = Definition::parse("docker-bake.hcl", &text).unwrap_err();
        assert!(error.why.starts_with("it is no HCL: line 2, column 70001: "), "{error:?}");
        assert_eq!(error.at, Some(70_006));
        let template = expression(&Value::String(format!("{}${{]}}", " ".repeat(70_000))));
        assert!(evaluate(&template, &hcl::eval::Context::new()).unwrap_err().contains("line 1, column 7"));
    }

    #[test]
    fn both_notations_are_one_definition() {
        let hcl = "variable \"TAG\" { default = \"v1\" }\nvariable \"NONE\" {}\nOLD = 1\n\
                   group \"default\" { targets = [\"a\"] }\ntarget \"a\" { context = \"x\" }\ntarget \"a\" { target = \"y\" }\n\
                   function \"f\" {\nparams = []\nresult = 1\n}\n";
        let json = r#"{"variable": {"TAG": {"default": "v1"}, "NONE": {}}, "OLD": 1, "group": {"default": {"targets": ["a"]}},
                       "target": {"a": [{"context": "x"}, {"target": "y"}]}, "function": {"f": {}}}"#;
        for definition in [Definition::parse("b.hcl", hcl).unwrap(), Definition::parse("b.json", json).unwrap()] {
            assert_eq!(definition.variables.keys().collect::<Vec<_>>(), ["NONE", "OLD", "TAG"]);
            assert!(definition.variables["NONE"].is_none());
            assert_eq!(definition.targets["a"].keys().collect::<Vec<_>>(), ["context", "target"]);
            assert_eq!((definition.groups.len(), definition.functions.as_slice()), (1, ["f".to_owned()].as_slice()));
        }
    }
}
