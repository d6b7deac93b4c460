//! One JSON object a line, for scripts. The first says the version of the format; consumers ignore types that they do not know.

use std::time::Duration;

use serde_json::json;

use super::event::{Event, VERSION};
use super::reporter::Render;

pub(super) struct Json;

impl Render for Json {
    fn start(&mut self, out: &mut Vec<u8>) {
        let start = json!({ "type": "start", "version": VERSION, "brik": env!("CARGO_PKG_VERSION") });
        out.extend_from_slice(format!("{start}\n").as_bytes());
    }

    fn event(&mut self, event: &Event, _now: Duration, out: &mut Vec<u8>) {
        // An event holds no map with keys that are not strings, the only thing that JSON refuses.
        if let Ok(line) = serde_json::to_vec(event) {
            out.extend_from_slice(&line);
            out.push(b'\n');
        }
    }
}
