//! The schema of brik.toml, derived from the types of `model.rs`, and its compiled form, which documents are checked against.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use serde_json::Value as Json;

use super::format::Format;
use super::model::File;

/// What may stand at one place of the document: any of the alternatives that are not None.
#[derive(Debug, Default)]
pub(super) struct Shape {
    pub string: Option<Strings>,
    pub boolean: bool,
    /// Smallest and largest.
    pub integer: Option<(i64, i64)>,
    pub list: Option<Box<Shape>>,
    pub table: Option<Tables>,
}

#[derive(Debug, Default)]
pub(super) struct Strings {
    pub format: Option<Format>,
    /// Empty: any string.
    pub choices: Vec<String>,
}

#[derive(Debug, Default)]
pub(super) struct Tables {
    pub keys: BTreeMap<String, Shape>,
    pub required: Vec<String>,
    /// Keys that the user makes up: their format and their values' shape.
    pub others: Option<(Option<Format>, Box<Shape>)>,
}

static SCHEMA: LazyLock<Json> = LazyLock::new(|| {
    let settings = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(without_null));
    settings.into_generator().into_root_schema_for::<File>().to_value()
});

static SHAPE: LazyLock<Shape> = LazyLock::new(|| compile(&SCHEMA));

/// The JSON Schema of brik.toml (draft 2020-12), as `schema/brik.schema.json` holds it.
pub fn schema_json() -> String {
    format!("{:#}\n", *SCHEMA)
}

pub(super) fn shape() -> &'static Shape {
    &SHAPE
}

/// TOML has no null: an optional key is one that may be absent.
fn without_null(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(Json::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = &types[..] {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if object.get("default").is_some_and(Json::is_null) {
        object.remove("default");
    }
    if let Some(Json::Array(branches)) = object.get_mut("anyOf") {
        branches.retain(|branch| branch.get("type").is_none_or(|name| name != "null"));
        if let [Json::Object(only)] = &branches[..] {
            let only = only.clone();
            object.remove("anyOf");
            for (key, value) in only {
                object.entry(key).or_insert(value);
            }
        }
    }
}

fn compile(schema: &Json) -> Shape {
    let mut shape = Shape::default();
    add(schema, &mut shape);
    shape
}

/// Adds the alternatives of `schema` to `shape`.
fn add(schema: &Json, shape: &mut Shape) {
    if let Some(definition) = schema["$ref"].as_str().and_then(|path| SCHEMA.pointer(path.trim_start_matches('#'))) {
        add(definition, shape);
    }
    for branch in ["anyOf", "oneOf"].iter().filter_map(|key| schema[*key].as_array()).flatten() {
        add(branch, shape);
    }
    let strings = |value: &Json| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
    };
    let format = |schema: &Json| schema["format"].as_str().and_then(Format::named);
    match schema["type"].as_str() {
        Some("string") => {
            let known = shape.string.get_or_insert_default();
            known.format = known.format.or(format(schema));
            known.choices.extend(strings(&schema["enum"]));
            known.choices.extend(schema["const"].as_str().map(str::to_owned));
        }
        Some("boolean") => shape.boolean = true,
        Some("integer") => {
            let bound = |key: &str, default| schema[key].as_i64().unwrap_or(default);
            shape.integer = Some((bound("minimum", i64::MIN), bound("maximum", i64::MAX)));
        }
        Some("array") => shape.list = Some(Box::new(compile(&schema["items"]))),
        Some("object") => {
            let known = shape.table.get_or_insert_default();
            known.required = strings(&schema["required"]);
            for (key, value) in schema["properties"].as_object().into_iter().flatten() {
                known.keys.insert(key.clone(), compile(value));
            }
            if schema["additionalProperties"].is_object() {
                known.others = Some((format(&schema["propertyNames"]), Box::new(compile(&schema["additionalProperties"]))));
            }
        }
        _ => {}
    }
}

impl Shape {
    /// The shape below a key of a table.
    pub fn below(&self, key: &str) -> Option<&Shape> {
        let table = self.table.as_ref()?;
        table.keys.get(key).or(table.others.as_ref().map(|(_, shape)| &**shape))
    }

    /// `a string, a boolean or a table`.
    pub fn describe(&self) -> String {
        let list = self.list.as_ref().map(|items| if items.table.is_some() { "a list" } else { "a list of strings" });
        let all = [
            self.string.as_ref().map(|_| "a string"),
            self.boolean.then_some("true or false"),
            self.integer.map(|_| "an integer"),
            list,
            self.table.as_ref().map(|_| "a table"),
        ];
        let names: Vec<&str> = all.into_iter().flatten().collect();
        match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => names.concat(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "schema/brik.schema.json";

    #[test]
    fn the_schema_file_is_what_the_types_say() {
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(FILE, schema_json()).unwrap();
        }
        let file = std::fs::read_to_string(FILE).unwrap_or_default();
        assert!(file == schema_json(), "schema/brik.schema.json is stale: run the tests with BLESS=1");
    }

    #[test]
    fn every_format_of_the_schema_is_a_rule_or_a_known_hint() {
        fn walk(schema: &Json) {
            if let Some(format) = schema["format"].as_str() {
                assert!(Format::named(format).is_some() || matches!(format, "uint" | "uint32" | "uint64" | "int64"), "{format}");
            }
            schema.as_object().into_iter().flat_map(|object| object.values()).for_each(walk);
            schema.as_array().into_iter().flatten().for_each(walk);
        }
        walk(&SCHEMA);
    }

    #[test]
    fn no_place_of_the_schema_is_without_a_shape() {
        fn walk(shape: &Shape, path: &str) {
            assert!(!shape.describe().is_empty(), "{path}");
            shape.list.iter().for_each(|items| walk(items, &format!("{path}[]")));
            let Some(table) = &shape.table else { return };
            table.keys.iter().for_each(|(key, value)| walk(value, &format!("{path}.{key}")));
            table.others.iter().for_each(|(_, value)| walk(value, &format!("{path}.*")));
        }
        walk(shape(), "");
        let cache = shape().below("services").and_then(|s| s.below("api")).and_then(|s| s.below("cache"));
        assert_eq!(cache.map(Shape::describe).as_deref(), Some("a string, true or false or a table"));
    }
}
