//! Nothing but failures: the output of a Step that failed.

use std::collections::HashMap;
use std::time::Duration;

use super::event::{Event, Outcome, PushOutcome};
use super::reporter::Render;
use super::text;
use super::transcript::Transcript;

#[derive(Default)]
pub(super) struct Quiet {
    running: HashMap<u64, (String, Transcript)>,
}

impl Render for Quiet {
    fn event(&mut self, event: &Event, _now: Duration, out: &mut Vec<u8>) {
        match event {
            Event::StepStarted { id, name, .. } => {
                self.running.insert(*id, (name.clone(), Transcript::default()));
            }
            Event::StepOutput { id, bytes, .. } => {
                if let Some((_, output)) = self.running.get_mut(id) {
                    output.push(&String::from_utf8_lossy(bytes));
                }
            }
            Event::OutputClipped { id, bytes } => {
                if let Some((_, output)) = self.running.get_mut(id) {
                    output.push(&text::left_out(*bytes));
                }
            }
            Event::StepFinished { id, outcome, .. } => {
                if let Some((name, output)) = self.running.remove(id)
                    && *outcome == Outcome::Failed
                {
                    output.render(&name, "|", out);
                }
            }
            Event::PushFinished { service, reference, outcome: PushOutcome::Failed } => {
                out.extend_from_slice(format!("{service}: push failed: {reference}\n").as_bytes());
            }
            Event::Error { message, .. } => out.extend_from_slice(format!("error: {message}\n").as_bytes()),
            Event::Planned { .. }
            | Event::Notice { .. }
            | Event::Warning { .. }
            | Event::Sandbox { .. }
            | Event::LayerProgress { .. }
            | Event::PushFinished { .. }
            | Event::ServiceFinished { .. }
            | Event::ExportStarted { .. }
            | Event::ExportFinished { .. }
            | Event::Finished { .. } => {}
        }
    }
}
