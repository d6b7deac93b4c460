//! What one Dockerfile refers to, known from its text alone: global ARGs, the bases of its stages, the target, the stages that the
//! target needs, and the names from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use petgraph::graphmap::DiGraphMap;

use super::budget::Budget;
use super::contexts::NamedContexts;
use super::environment::{Environment, platform_args};
use super::error::{Error, ErrorKind};
use super::graph::{EdgeReason, cycle};
use crate::dockerfile::{self, Expander, Instruction, InstructionKind, Mount, MountType, Span, SyntaxError, Word};
use crate::oci::{Platform, Reference};

/// The base that is an empty root, and no image.
const SCRATCH: &str = "scratch";

/// A Dockerfile that parses.
#[derive(Debug)]
pub struct Dockerfile {
    pub path: PathBuf,
    pub text: Arc<str>,
    pub syntax: dockerfile::Dockerfile,
}

/// What a stage starts from, variables expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseName {
    Scratch,
    Stage(usize),
    /// A named context, a service or an image.
    Outside(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurveyedStage {
    pub base: BaseName,
    /// `FROM --platform`.
    pub platform: Option<Platform>,
}

/// A name that is not a stage of the Dockerfile, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutsideName {
    pub name: String,
    pub platform: Option<Platform>,
    pub reason: EdgeReason,
    pub span: Span,
}

#[derive(Debug)]
pub struct Survey {
    /// ARGs that FROM sees.
    pub global: Environment,
    pub stages: Vec<SurveyedStage>,
    pub target: usize,
    /// Stages that the target needs, itself included.
    pub needed: BTreeSet<usize>,
    pub outside: Vec<OutsideName>,
    /// What the global ARGs and the names of bases take, which the stages share with them.
    pub(super) budget: Budget,
}

impl Dockerfile {
    /// Parses a Dockerfile; `path` is only remembered.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Vec<SyntaxError>> {
        let syntax = dockerfile::parse(bytes)?;
        Ok(Self { path: path.to_owned(), text: String::from_utf8_lossy(bytes).into(), syntax })
    }

    pub fn expander(&self) -> Expander {
        Expander { escape: self.syntax.directives.escape_char() }
    }

    pub fn error(&self, span: Span, kind: impl Into<ErrorKind>) -> Error {
        Error { dockerfile: self.path.clone(), span: span.range(), kind: Box::new(kind.into()) }
    }

    /// The name of a stage, or its index as BuildKit shows it.
    pub fn stage_label(&self, stage: usize) -> String {
        self.syntax.stages[stage].name.as_ref().map_or_else(|| format!("stage-{stage}"), |name| name.text.clone())
    }

    /// Reads the Dockerfile for `args`, `target` and platforms. Stages named like one of `contexts` are replaced by it.
    pub fn survey(
        &self,
        args: &BTreeMap<String, String>,
        target: Option<&str>,
        platform: &Platform,
        build_platform: &Platform,
        contexts: &NamedContexts,
    ) -> Result<Survey, Error> {
        self.check_frontend()?;
        let asked = target.filter(|name| !name.is_empty());
        let target = self.target(asked)?;
        // As it was asked for, or else as stages are known.
        let own = || self.syntax.stages[target].name.as_ref().map(|name| name.text.to_ascii_lowercase());
        let target_name = asked.map(str::to_owned).or_else(own).unwrap_or_default();
        let mut budget = Budget::default();
        let global = self.global_args(platform_args(platform, build_platform, &target_name, args), args, &mut budget)?;
        let base = |stage| self.base(stage, &global, contexts, &mut budget);
        let stages = (0..self.syntax.stages.len()).map(base).collect::<Result<Vec<_>, _>>()?;
        let mut survey = Survey { global, stages, target, needed: BTreeSet::new(), outside: Vec::new(), budget };
        self.check_sources(&survey, contexts)?;
        self.collect(&mut survey, contexts, vec![target])?;
        Ok(survey)
    }

    /// Adds what the triggers of an image need that stands behind a name from outside: they fire at the FROM at `from`.
    pub fn fire(&self, survey: &mut Survey, contexts: &NamedContexts, triggers: &[&Instruction], from: Span) -> Result<(), Error> {
        let mut stages = Vec::new();
        for (name, _, reason) in triggers.iter().flat_map(|trigger| sources(trigger)) {
            match self.source_stage(&name, from)? {
                Some(stage) => stages.push(stage),
                None => survey.add(name, reason, from),
            }
        }
        self.collect(survey, contexts, stages)
    }

    /// The triggers that a stage leaves to what starts from it, those that parse.
    pub fn triggers(&self, stage: usize) -> Vec<&Instruction> {
        let kinds = self.syntax.stages[stage].instructions.iter().map(|instruction| &instruction.kind);
        kinds
            .filter_map(|kind| match kind {
                InstructionKind::Onbuild(onbuild) => onbuild.instruction.as_deref().ok(),
                _ => None,
            })
            .collect()
    }

    /// Another frontend than Docker's own would give the file another meaning; its versions and mirrors are read alike.
    fn check_frontend(&self) -> Result<(), Error> {
        let Some(word) = &self.syntax.directives.syntax else { return Ok(()) };
        let image = word.text.split_whitespace().next().unwrap_or_default();
        let reference: Reference = image.parse().map_err(|error: crate::oci::ReferenceError| self.error(word.span, error))?;
        let name = reference.repository.rsplit('/').next().unwrap_or_default();
        if matches!(name, "dockerfile" | "dockerfile-upstream") {
            return Ok(());
        }
        let what = format!("the frontend {image}");
        Err(self.error(word.span, ErrorKind::Unsupported { what, instead: "take the syntax line out if the file is a plain Dockerfile" }))
    }

    fn target(&self, target: Option<&str>) -> Result<usize, Error> {
        let last = self.syntax.stages.len() - 1;
        let Some(name) = target else { return Ok(last) };
        self.syntax.stage_by_name_or_index(name).ok_or_else(|| {
            let stages = self.syntax.stages.iter().filter_map(|stage| stage.name.as_ref().map(|name| name.text.clone())).collect();
            self.error(self.syntax.stages[last].statement.span, ErrorKind::UnknownTarget { name: name.to_owned(), stages })
        })
    }

    fn global_args(&self, mut global: Environment, args: &BTreeMap<String, String>, budget: &mut Budget) -> Result<Environment, Error> {
        for arg in self.syntax.meta_args.iter().flat_map(|meta| &meta.args) {
            let value = match (args.get(&arg.name.text), &arg.default) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => Some(self.expand(default, &global)?),
                (None, None) => None,
            };
            if let Some(value) = value {
                budget.spend(arg.name.text.len() + value.len()).map_err(|kind| self.error(arg.name.span, kind))?;
                global.set(&arg.name.text, &value);
            }
        }
        Ok(global)
    }

    /// Expands a word against variables.
    pub fn expand(&self, word: &Word, env: &Environment) -> Result<String, Error> {
        let expanded = self.expander().word(&word.text, &|name| env.get(name).map(str::to_owned));
        expanded.map(|expansion| expansion.text).map_err(|error| self.error(word.span, error))
    }

    fn base(&self, index: usize, global: &Environment, contexts: &NamedContexts, budget: &mut Budget) -> Result<SurveyedStage, Error> {
        let stage = &self.syntax.stages[index];
        let name = self.expand(&stage.from, global)?;
        budget.spend(name.len()).map_err(|kind| self.error(stage.from.span, kind))?;
        if name.is_empty() {
            return Err(self.error(stage.from.span, ErrorKind::BlankBase(stage.from.text.clone())));
        }
        let platform = match &stage.platform {
            Some(word) => {
                let text = self.expand(word, global)?;
                if text.is_empty() {
                    return Err(self.error(word.span, ErrorKind::BlankPlatform(word.text.clone())));
                }
                Some(Platform::from_flag(&text).map_err(|error| self.error(word.span, error))?)
            }
            None => None,
        };
        let replaced = stage.name.as_ref().filter(|name| contexts.for_stage(&name.text).is_some());
        let base = match replaced {
            Some(own) => BaseName::Outside(own.text.to_ascii_lowercase()),
            None => match self.syntax.stage_before(&name, index) {
                Some(earlier) => BaseName::Stage(earlier),
                None if name == SCRATCH => BaseName::Scratch,
                None => BaseName::Outside(name),
            },
        };
        Ok(SurveyedStage { base, platform })
    }

    /// Whether a named context stands in for the stage: its instructions are then not read.
    pub fn is_replaced(&self, index: usize, contexts: &NamedContexts) -> bool {
        self.syntax.stages[index].name.as_ref().is_some_and(|name| contexts.for_stage(&name.text).is_some())
    }

    /// The stages that `wanted` needs, itself included, and the names from outside that they refer to.
    fn collect(&self, survey: &mut Survey, contexts: &NamedContexts, mut wanted: Vec<usize>) -> Result<(), Error> {
        while let Some(index) = wanted.pop() {
            if !survey.needed.insert(index) {
                continue;
            }
            let stage = &self.syntax.stages[index];
            match survey.stages[index].base.clone() {
                BaseName::Scratch => {}
                BaseName::Stage(base) => {
                    wanted.push(base);
                    self.fire(survey, contexts, &self.triggers(base), stage.from.span)?;
                }
                BaseName::Outside(name) => {
                    let platform = survey.stages[index].platform.clone();
                    survey.outside.push(OutsideName { name, platform, reason: EdgeReason::From, span: stage.from.span });
                }
            }
            if self.is_replaced(index, contexts) {
                continue;
            }
            for (name, span, reason) in stage.instructions.iter().flat_map(sources) {
                match self.source_stage(&name, span)? {
                    Some(source) => wanted.push(source),
                    None => survey.add(name, reason, span),
                }
            }
        }
        Ok(())
    }

    /// What is refused in every stage, needed or not (BuildKit): a source that is no stage and no image's name, and stages that copy
    /// from each other in a circle.
    fn check_sources(&self, survey: &Survey, contexts: &NamedContexts) -> Result<(), Error> {
        let named = |name: &str, span: Span| match name.parse::<Reference>() {
            Err(error) if name != SCRATCH && contexts.for_outside(name).is_none() => Err(self.error(span, error)),
            _ => Ok(()),
        };
        let mut needs: DiGraphMap<usize, ()> = DiGraphMap::new();
        for (index, stage) in self.syntax.stages.iter().enumerate() {
            if let BaseName::Outside(name) = &survey.stages[index].base {
                named(name, stage.from.span)?;
            }
            for (name, span, _) in stage.instructions.iter().flat_map(sources) {
                match self.source_stage(&name, span)? {
                    Some(source) => drop(needs.add_edge(source, index, ())),
                    None => named(&name, span)?,
                }
            }
        }
        let circle = cycle(&needs);
        let Some(&first) = circle.first() else { return Ok(()) };
        let names = circle.iter().map(|at| self.stage_label(*at)).collect();
        Err(self.error(self.syntax.stages[first].statement.span, ErrorKind::StageCycle(names)))
    }

    /// The stage that `--from` or `from=` means; `None` for a name from outside.
    fn source_stage(&self, name: &str, span: Span) -> Result<Option<usize>, Error> {
        match self.syntax.stage_by_name_or_index(name) {
            None if name.parse::<usize>().is_ok() => Err(self.error(span, ErrorKind::StageIndex(name.to_owned()))),
            found => Ok(found),
        }
    }
}

impl Survey {
    /// Adds a source from outside.
    fn add(&mut self, name: String, reason: EdgeReason, span: Span) {
        if name != SCRATCH {
            self.outside.push(OutsideName { name, platform: None, reason, span });
        }
    }
}

/// The `--from` of a COPY, and the `from=` of the mounts of a RUN.
pub fn sources(instruction: &Instruction) -> Vec<(String, Span, EdgeReason)> {
    match &instruction.kind {
        InstructionKind::Copy(copy) => copy.from.iter().map(|from| (from.text.clone(), from.span, EdgeReason::CopyFrom)).collect(),
        InstructionKind::Run(run) => run
            .mounts
            .iter()
            .filter_map(|word| {
                let mount = Mount::parse(&word.text, &mut |value| Ok(value.to_owned())).ok()?;
                let from = mount.from.filter(|_| matches!(mount.kind, MountType::Bind | MountType::Cache))?;
                Some((from, word.span, EdgeReason::MountFrom))
            })
            .collect(),
        _ => Vec::new(),
    }
}
