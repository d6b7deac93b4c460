//! The state of a run as the live view shows it: what each Service, each pull and each export is busy with. Its lines are drawn by `frame`.

use std::collections::HashMap;
use std::time::Duration;

use super::event::{Event, Outcome, Transfer};
use super::label::Label;
use super::text::{left_out, width};
use super::transcript::Transcript;
use super::transfers::Transfers;
use crate::oci::Digest;

#[derive(Default)]
pub(super) struct Live {
    /// As planned: the order of the lines, whatever begins first.
    pub services: Vec<String>,
    pub services_done: usize,
    pub steps: u64,
    pub steps_cached: u64,
    pub steps_built: u64,
    pub rows: Vec<Row>,
    pub transfers: Transfers,
    /// Destinations, and since when.
    pub exports: Vec<(String, Duration)>,
    moved: HashMap<(Transfer, Digest), u64>,
    /// Columns of the longest name that a row has had: what is aligned stays where it is.
    pub name_width: usize,
}

/// A Service that something is done for.
pub(super) struct Row {
    pub service: String,
    /// In the order of their beginning.
    pub running: Vec<Running>,
    /// When something was done last.
    pub last: Duration,
}

pub(super) struct Running {
    pub id: u64,
    pub name: String,
    pub reason: Option<String>,
    pub since: Duration,
    pub output: Transcript,
}

/// How long the line of a Service stays that waits between two Steps: a line that goes and comes again makes others jump.
const LINGER: Duration = Duration::from_secs(1);

impl Live {
    /// Takes in what changes the view. Returns the Step that ended, if one did.
    pub fn update(&mut self, event: &Event, now: Duration) -> Option<Running> {
        match event {
            Event::Planned { services, steps } => (self.services, self.steps) = (services.clone(), *steps),
            Event::StepStarted { id, name, reason, .. } => {
                let step = Running { id: *id, name: name.clone(), reason: reason.clone(), since: now, output: Transcript::default() };
                self.row(Label::of(name).service).running.push(step);
            }
            Event::StepOutput { id, bytes, .. } => self.output(*id, &String::from_utf8_lossy(bytes)),
            Event::OutputClipped { id, bytes } => self.output(*id, &left_out(*bytes)),
            Event::StepFinished { id, outcome, .. } => {
                match outcome {
                    Outcome::Cached => self.steps_cached += 1,
                    Outcome::Built => self.steps_built += 1,
                    Outcome::Failed | Outcome::Cancelled => {}
                }
                for row in &mut self.rows {
                    if let Some(at) = row.running.iter().position(|step| step.id == *id) {
                        row.last = now;
                        return Some(row.running.remove(at));
                    }
                }
            }
            Event::LayerProgress { service, transfer, digest, bytes, total, mirror } => {
                self.moved.insert((*transfer, *digest), *bytes);
                self.transfers.note(service, *transfer, *digest, (*bytes, *total), now);
                self.transfers.note_mirror(service, mirror.as_deref());
                match transfer {
                    Transfer::Push => self.row(service).last = now,
                    Transfer::Pull => self.align("pull"),
                }
            }
            Event::ServiceFinished { service, .. } => {
                self.services_done += 1;
                self.rows.retain(|row| row.service != *service || !row.running.is_empty());
            }
            Event::ExportStarted { destination } => {
                self.align("export");
                self.exports.push((destination.clone(), now));
            }
            Event::ExportFinished { destination, .. } => self.exports.retain(|(other, _)| other != destination),
            Event::Notice { .. }
            | Event::Warning { .. }
            | Event::Error { .. }
            | Event::Sandbox { .. }
            | Event::PushFinished { .. }
            | Event::Finished { .. } => {}
        }
        None
    }

    /// Lets go of what has been idle for a moment.
    pub fn tidy(&mut self, now: Duration) {
        let pushing = |service: &str| self.transfers.groups().iter().any(|group| group.name == service);
        self.rows.retain(|row| !row.running.is_empty() || pushing(&row.service) || now.saturating_sub(row.last) < LINGER);
    }

    /// Bytes that were moved by now.
    pub fn moved(&self, which: Transfer) -> u64 {
        self.moved.iter().filter(|((transfer, _), _)| *transfer == which).map(|(_, bytes)| bytes).sum()
    }

    fn output(&mut self, id: u64, line: &str) {
        let mut running = self.rows.iter_mut().flat_map(|row| &mut row.running);
        running.find(|step| step.id == id).into_iter().for_each(|step| step.output.push(line));
    }

    /// The row of a Service, put where its place is.
    fn row(&mut self, service: &str) -> &mut Row {
        let at = self.rows.iter().position(|row| row.service == service).unwrap_or_else(|| {
            let place = |name: &str| self.services.iter().position(|planned| planned == name).unwrap_or(usize::MAX);
            let at = self.rows.partition_point(|row| place(&row.service) <= place(service));
            self.rows.insert(at, Row { service: service.to_owned(), running: Vec::new(), last: Duration::ZERO });
            self.align(service);
            at
        });
        &mut self.rows[at]
    }

    fn align(&mut self, name: &str) {
        self.name_width = self.name_width.max(width(name));
    }
}
