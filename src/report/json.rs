//! One JSON object a line, for scripts. The first says the version of the format; consumers ignore types that they do not know.

use std::time::Duration;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;

use super::event::{Event, VERSION};
use super::reporter::Render;

pub(super) struct Json;

/// A line of `brik build --progress json`: the start first, then what happens. More types and fields may come in the same version.
#[derive(JsonSchema)]
#[serde(untagged)]
#[schemars(title = "brik build --progress json")]
#[expect(dead_code, reason = "says what a line may be; lines are written from what is in it")]
enum Line {
    First(First),
    Event(Event),
}

/// The first line.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
enum First {
    Start {
        /// Of this format: raised where something is renamed or removed.
        version: u32,
        /// The version of brik.
        brik: &'static str,
    },
}

/// The JSON Schema (draft 2020-12) of a line, as `schema/progress.schema.json` holds it.
pub fn progress_schema() -> String {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Line>();
    format!("{:#}\n", schema.to_value())
}

impl Render for Json {
    fn start(&mut self, out: &mut Vec<u8>) {
        push_line(&First::Start { version: VERSION, brik: env!("CARGO_PKG_VERSION") }, out);
    }

    fn event(&mut self, event: &Event, _now: Duration, out: &mut Vec<u8>) {
        push_line(event, out);
    }
}

fn push_line(line: &impl Serialize, out: &mut Vec<u8>) {
    // A line holds no map with keys that are not strings, the only thing that JSON refuses.
    if let Ok(line) = serde_json::to_vec(line) {
        out.extend_from_slice(&line);
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_file_is_what_the_types_say() {
        const FILE: &str = "schema/progress.schema.json";
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(FILE, progress_schema()).unwrap();
        }
        let file = std::fs::read_to_string(FILE).unwrap_or_default();
        assert!(file == progress_schema(), "{FILE} is stale: run the tests with BLESS=1");
    }
}
