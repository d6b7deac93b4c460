//! One service as rules see it.

use super::user::FinalUser;
use crate::config::{Location, Service, Source};
use crate::dockerfile::{Instruction, Span};
use crate::oci::Reference;
use crate::plan::{BaseName, Dockerfile, NamedContexts, Survey};

pub struct Subject<'a> {
    pub service: &'a Service,
    pub dockerfile: &'a Dockerfile,
    /// The Dockerfile as findings quote it.
    pub source: Source,
    /// For the first of its platforms.
    pub survey: &'a Survey,
    pub contexts: &'a NamedContexts,
    /// Those that a push would give; empty where there is nothing to tag yet, which is told by others.
    pub tags: &'a [String],
    /// Where they come from: a list of brik.toml, or a flag.
    pub tags_location: Location,
    /// Git tags of the commit.
    pub git_tags: &'a [String],
    /// The images that the Dockerfile takes from registries.
    pub bases: Vec<Base>,
    pub user: FinalUser,
    /// Names of the labels that git gives it.
    pub standard_labels: Vec<String>,
    /// Services whose directories its context holds.
    pub holds: Vec<String>,
}

/// An image that a Dockerfile names.
pub struct Base {
    pub reference: Reference,
    pub span: Span,
    /// brik.lock holds its tag.
    pub locked: bool,
}

impl Subject<'_> {
    pub(super) fn at(&self, span: Span) -> Location {
        let length = self.source.text.len();
        self.source.at(span.start.min(length)..span.end.min(length))
    }

    /// The base of the final stage, where it is named.
    pub(super) fn final_from(&self) -> Span {
        self.dockerfile.syntax.stages[self.survey.target].from.span
    }

    /// The tags in brackets, for messages.
    pub(super) fn tag_list(&self) -> String {
        self.tags.join(", ")
    }

    /// Where a tag is written: the item of the list that says it, else the list.
    pub(super) fn tag_at(&self, tag: &str) -> Location {
        let Location { source, span } = &self.tags_location;
        let list = source.text.get(span.clone()).unwrap_or_default();
        let quoted = ['"', '\''].into_iter().find_map(|quote| {
            let item = format!("{quote}{tag}{quote}");
            list.find(&item).map(|at| (at, item.len()))
        });
        match quoted {
            Some((at, length)) => source.at(span.start + at..span.start + at + length),
            None => self.tags_location.clone(),
        }
    }

    /// The instructions that make the final image, in their order.
    pub(super) fn final_instructions(&self) -> impl Iterator<Item = &Instruction> {
        final_stages(self.dockerfile, self.survey, self.contexts)
            .0
            .into_iter()
            .flat_map(|stage| &self.dockerfile.syntax.stages[stage].instructions)
    }
}

/// The stages that the final image is made of, the lowest first, and what they start from. A stage that a named context stands in for
/// is not read.
pub(super) fn final_stages<'s>(dockerfile: &Dockerfile, survey: &'s Survey, contexts: &NamedContexts) -> (Vec<usize>, &'s BaseName) {
    let (mut stages, mut at) = (Vec::new(), survey.target);
    loop {
        if !dockerfile.is_replaced(at, contexts) {
            stages.push(at);
        }
        match &survey.stages[at].base {
            BaseName::Stage(base) => at = *base,
            base => {
                stages.reverse();
                return (stages, base);
            }
        }
    }
}
