//! Stages of one Dockerfile for one platform: instructions become Steps and image configuration.

use std::collections::BTreeMap;

use super::budget::Budget;
use super::copy::check_owner;
use super::epoch::{SOURCE_DATE_EPOCH, SourceDate};
use super::error::{Error, ErrorKind};
use super::key::KeyInputs;
use super::labels::is_volatile;
use super::planner::{Outside, Planner, Selector, Target};
use super::signal::check_signal;
use super::state::{StageState, history_value, normalize};
use super::step::{ContextId, CopyOp, CopySource, Location, Mark, Op, Root, Step, WorkdirOp};
use super::survey::{BaseName, Dockerfile, Survey};
use crate::dockerfile::ast::{CommandLine, KeyValue};
use crate::dockerfile::{Instruction, InstructionKind, Span, Word, parse_ports, parse_trigger};
use crate::oci::{ImageConfig, Platform};

pub(super) struct StagePlanner<'p, 'a> {
    pub planner: &'p mut Planner<'a>,
    pub target: &'p Target,
    pub platform: &'p Platform,
    pub survey: &'p Survey,
    pub dockerfile: &'p Dockerfile,
    /// What SOURCE_DATE_EPOCH means, where it is set.
    pub source_date: Option<SourceDate>,
    /// Stages that have been read.
    pub done: BTreeMap<usize, StageState>,
    /// What the survey has left of it.
    budget: Budget,
}

/// The stage that is being read.
pub(super) struct Current {
    pub index: usize,
    pub label: String,
    pub state: StageState,
    /// Steps so far and in all, for display.
    pub position: (usize, usize),
    /// Where a trigger is reported: the FROM that fired it.
    pub trigger_at: Option<Span>,
}

impl<'p, 'a> StagePlanner<'p, 'a> {
    pub fn new(
        planner: &'p mut Planner<'a>,
        target: &'p Target,
        platform: &'p Platform,
        survey: &'p Survey,
        source_date: Option<SourceDate>,
    ) -> Self {
        Self {
            planner,
            target,
            platform,
            survey,
            dockerfile: &target.dockerfile,
            source_date,
            done: BTreeMap::new(),
            budget: survey.budget,
        }
    }

    /// Seconds since 1970 that files are dated with; `None` keeps their times.
    pub fn file_epoch(&self) -> Option<i64> {
        self.target.epoch.map(|default| self.source_date.and_then(|date| date.0).unwrap_or(default))
    }

    /// What git tells of an ARG that nobody gives a value.
    fn filled(&self, name: &str) -> Option<String> {
        self.target.source_facts.arg(name).filter(|_| !self.target.args.contains_key(name))
    }

    /// What a build argument or a global ARG gives to an ARG of a stage.
    fn given(&self, name: &str) -> Option<String> {
        match self.source_date.filter(|_| name == SOURCE_DATE_EPOCH) {
            Some(date) => Some(date.to_string()),
            None => self.target.args.get(name).cloned(),
        }
    }

    /// Reads the target stage and those it needs: the state that the image is made of.
    pub fn run(mut self) -> Result<StageState, Error> {
        for index in self.survey.needed.clone() {
            self.read(index)?;
        }
        match self.done.remove(&self.survey.target) {
            Some(state) => Ok(state),
            None => Err(self.dockerfile.error(Span::default(), ErrorKind::StageIndex(self.survey.target.to_string()))),
        }
    }

    fn read(&mut self, index: usize) -> Result<(), Error> {
        if !self.done.contains_key(&index) {
            let state = self.stage(index)?;
            self.done.insert(index, state);
        }
        Ok(())
    }

    fn stage(&mut self, index: usize) -> Result<StageState, Error> {
        let stage = &self.dockerfile.syntax.stages[index];
        let surveyed = &self.survey.stages[index];
        let platform = surveyed.platform.as_ref().unwrap_or(self.platform).clone();
        let at = |kind| self.dockerfile.error(stage.from.span, kind);
        let mut triggers = Vec::new();
        let state = match &surveyed.base {
            // An empty root has no platform of its own: `--platform` says nothing there.
            BaseName::Scratch => StageState::on(Root::Scratch, ImageConfig::scratch(self.platform), self.platform.clone()),
            BaseName::Stage(base) => {
                let base_stage = &self.dockerfile.syntax.stages[*base];
                triggers.extend(base_stage.instructions.iter().filter_map(|instruction| match &instruction.kind {
                    InstructionKind::Onbuild(onbuild) => Some(onbuild.trigger.clone()),
                    _ => None,
                }));
                let from = || ErrorKind::StageLater { from: self.dockerfile.stage_label(*base), stage: self.dockerfile.stage_label(index) };
                self.done.get(base).ok_or_else(|| at(from()))?.continued()
            }
            BaseName::Outside(name) => match self.planner.outside(self.target, name, &platform).map_err(at)? {
                Outside::State(state) => {
                    triggers.clone_from(&state.image.config.on_build);
                    state.continued()
                }
                Outside::Files(context) => self.files_as_base(context, &platform, index)?,
            },
        };
        self.spend(state.size, stage.from.span)?;
        if self.dockerfile.is_replaced(index, &self.target.contexts) {
            return Ok(state);
        }
        let triggers = triggers
            .iter()
            .map(|text| parse_trigger(text).map_err(|errors| at(ErrorKind::Trigger { trigger: text.clone(), errors })))
            .collect::<Result<Vec<_>, _>>()?;
        let total = triggers.iter().chain(&stage.instructions).filter(|i| makes_step(i)).count();
        let mut current = Current {
            index,
            label: self.dockerfile.stage_label(index),
            state,
            position: (0, total),
            trigger_at: Some(stage.statement.span),
        };
        for trigger in &triggers {
            // Bytes of a trigger are none of the Dockerfile's.
            self.instruction(&mut current, trigger).map_err(|error| Error { span: stage.from.span.range(), ..error })?;
        }
        current.trigger_at = None;
        for instruction in &stage.instructions {
            self.instruction(&mut current, instruction)?;
        }
        Ok(current.state)
    }

    fn spend(&mut self, bytes: usize, span: Span) -> Result<(), Error> {
        self.budget.spend(bytes).map_err(|kind| self.dockerfile.error(span, kind))
    }

    fn instruction(&mut self, current: &mut Current, instruction: &Instruction) -> Result<(), Error> {
        let before = current.state.size;
        self.apply(current, instruction)?;
        let copied = if makes_step(instruction) { current.state.size } else { 0 };
        self.spend(current.state.size - before + copied, current.trigger_at.unwrap_or(instruction.statement.span))
    }

    fn apply(&mut self, current: &mut Current, instruction: &Instruction) -> Result<(), Error> {
        let span = current.trigger_at.unwrap_or(instruction.statement.span);
        let refuse = |text: String| self.dockerfile.error(span, ErrorKind::Instruction(text));
        match &instruction.kind {
            InstructionKind::Add(add) => self.add(current, instruction, add)?,
            InstructionKind::Copy(copy) => self.copy(current, instruction, copy)?,
            InstructionKind::Run(run) => self.run_command(current, instruction, run)?,
            InstructionKind::Workdir(path) => self.workdir(current, instruction, path)?,
            InstructionKind::Arg(args) => {
                let mut text = "ARG".to_owned();
                for arg in args {
                    let name = &arg.name.text;
                    let filled = self.filled(name);
                    if filled.is_some() && is_volatile(name) && !self.target.exact_labels {
                        // The history is part of the key.
                        current.state.filled.insert(name.clone());
                        current.state.declare(name, filled.as_deref());
                        text += &format!(" {name}");
                        continue;
                    }
                    let value = match (self.given(name).or(filled), &arg.default) {
                        (Some(given), _) => Some(given),
                        (None, Some(default)) => Some(self.dockerfile.expand(default, &current.state.env)?),
                        (None, None) => self.survey.global.get(name).map(str::to_owned),
                    };
                    // Later defaults of the same instruction see earlier values.
                    current.state.declare(name, value.as_deref());
                    text += &value.map_or_else(|| format!(" {name}"), |value| format!(" {name}={}", history_value(name, &value)));
                }
                current.state.history(text, false);
            }
            InstructionKind::Env(pairs) => {
                let pairs = self.pairs(current, pairs)?;
                current.state.set_env(&pairs);
            }
            InstructionKind::Label(pairs) => {
                let labels = self.labels(current, pairs)?;
                current.state.set_labels(&labels);
            }
            InstructionKind::Cmd(command) => {
                let words = command_words(&current.state, command);
                current.state.set_cmd(words);
            }
            InstructionKind::Entrypoint(command) => {
                let words = command_words(&current.state, command);
                current.state.set_entrypoint(words);
            }
            InstructionKind::Expose(words) => {
                let mut ports = Vec::new();
                for word in words {
                    let env = |name: &str| current.state.env.get(name).map(str::to_owned);
                    for port in self.dockerfile.expander().words(&word.text, &env).map_err(|e| self.dockerfile.error(word.span, e))? {
                        ports.extend(parse_ports(&port).map_err(|error| self.dockerfile.error(word.span, error))?);
                    }
                }
                current.state.expose(&ports);
            }
            InstructionKind::Healthcheck(check) => current.state.set_healthcheck(check.clone()),
            InstructionKind::Maintainer(word) => current.state.set_maintainer(&word.text),
            InstructionKind::Onbuild(onbuild) => current.state.add_trigger(&onbuild.trigger),
            InstructionKind::Shell(words) => current.state.set_shell(words.iter().map(|word| word.text.clone()).collect()),
            InstructionKind::Stopsignal(word) => {
                let signal = self.dockerfile.expand(word, &current.state.env)?;
                check_signal(&signal).map_err(|error| self.dockerfile.error(word.span, error))?;
                current.state.set_stop_signal(&signal);
            }
            InstructionKind::User(word) => {
                let user = self.dockerfile.expand(word, &current.state.env)?;
                current.state.set_user(&user);
            }
            InstructionKind::Volume(words) => {
                let volumes = words.iter().map(|word| self.dockerfile.expand(word, &current.state.env)).collect::<Result<Vec<_>, _>>()?;
                if volumes.iter().any(String::is_empty) {
                    return Err(refuse("VOLUME specified can not be an empty string".to_owned()));
                }
                current.state.set_volumes(&volumes);
            }
        }
        Ok(())
    }

    fn pairs(&self, current: &Current, pairs: &[KeyValue]) -> Result<Vec<(String, String)>, Error> {
        let expand = |word: &Word| self.dockerfile.expand(word, &current.state.env);
        pairs.iter().map(|pair| Ok((expand(&pair.key)?, expand(&pair.value)?))).collect()
    }

    /// Labels with two values: in that for the key, ARGs that git fills stand as they are written.
    fn labels(&self, current: &Current, pairs: &[KeyValue]) -> Result<Vec<(String, String, String)>, Error> {
        let values = self.pairs(current, pairs)?;
        let mut env = current.state.env.clone();
        current.state.filled.iter().for_each(|name| env.set(name, &format!("${name}")));
        let with_keyed = |((name, value), pair): ((String, String), &KeyValue)| {
            let keyed = if current.state.filled.is_empty() { value.clone() } else { self.dockerfile.expand(&pair.value, &env)? };
            Ok((name, keyed, value))
        };
        values.into_iter().zip(pairs).map(with_keyed).collect()
    }

    fn workdir(&mut self, current: &mut Current, instruction: &Instruction, path: &Word) -> Result<(), Error> {
        let expanded = self.dockerfile.expand(path, &current.state.env)?;
        current.state.set_working_dir(&expanded);
        let text = format!("WORKDIR {}", current.state.image.config.working_dir);
        let made = text != "WORKDIR /";
        if made {
            let user = current.state.user().to_owned();
            if current.state.root == Root::Scratch && !user.is_empty() {
                check_owner(&user, "an empty root").map_err(|kind| self.dockerfile.error(path.span, kind))?;
            }
            let directory = current.state.working_dir();
            let mut inputs = KeyInputs::new("workdir");
            inputs.add("path", &directory);
            inputs.add("user", &user);
            self.step(current, instruction, text.clone(), inputs, false, Op::Workdir(WorkdirOp { path: directory, user }));
        }
        current.state.history(text, made);
        Ok(())
    }

    /// Adds a Step on top of the current state.
    pub fn step(
        &mut self,
        current: &mut Current,
        instruction: &Instruction,
        text: String,
        mut inputs: KeyInputs,
        independent: bool,
        op: Op,
    ) {
        current.position.0 += 1;
        let parent = current.state.root;
        if !independent {
            inputs.add_state(KeyInputs::PARENT, self.planner.plan.root_key(parent), parent);
        }
        let epoch = self.file_epoch();
        inputs.add("timestamps", epoch.map_or_else(|| "preserved".to_owned(), |epoch| epoch.to_string()));
        let span = current.trigger_at.unwrap_or(instruction.statement.span);
        let step = Step {
            key: inputs.key(),
            inputs,
            parent,
            independent,
            op,
            platform: current.state.platform.clone(),
            marked: self.mark(&current.state.platform),
            text,
            position: format!("{} {}/{}", current.label, current.position.0, current.position.1),
            services: vec![self.target.service.clone()],
            location: Location { dockerfile: self.dockerfile.path.clone(), span: span.range() },
            epoch,
            no_cache: self.planner.options.no_cache,
        };
        current.state.root = Root::Step(self.planner.add_step(&self.target.service, step));
    }

    /// Of a Step on `platform`: where its service is built for several, or for another than this machine's.
    fn mark(&self, platform: &Platform) -> Option<Mark> {
        let alone = self.target.platforms == [self.planner.options.build_platform.clone()];
        (!alone).then(|| Mark { target: Some(self.platform.clone()).filter(|target| target != platform) })
    }

    /// A named context without a configuration, where an image was expected: its files on an empty root.
    fn files_as_base(&mut self, context: ContextId, platform: &Platform, index: usize) -> Result<StageState, Error> {
        let stage = &self.dockerfile.syntax.stages[index];
        let state = StageState::on(Root::Scratch, ImageConfig::scratch(platform), platform.clone());
        let mut current =
            Current { index, label: self.dockerfile.stage_label(index), state, position: (0, 1), trigger_at: Some(stage.statement.span) };
        let mut inputs = KeyInputs::new("copy");
        let source: CopySource =
            self.context_source(context, Selector { source: "/".to_owned(), ..Selector::default() }, &mut inputs, stage.from.span)?;
        let op = CopyOp {
            add: false,
            sources: vec![source],
            destination: "/".to_owned(),
            chown: None,
            chmod: None,
            parents: false,
            exclude: Vec::new(),
            unpack: None,
            checksum: None,
        };
        let instruction = Instruction { kind: InstructionKind::Workdir(stage.from.clone()), statement: stage.statement.clone() };
        self.step(&mut current, &instruction, format!("FROM {}", stage.from.text), inputs, false, Op::Copy(op));
        Ok(current.state)
    }

    /// The state that `--from` or `from=` means.
    pub fn source_state(&mut self, current: &Current, name: &str, span: Span) -> Result<Outside, Error> {
        if let Some(stage) = self.dockerfile.syntax.stage_by_name_or_index(name) {
            // A trigger of the base may name a stage that nothing else needs.
            if stage < current.index {
                self.read(stage)?;
            }
            let later = || ErrorKind::StageLater { from: name.to_owned(), stage: current.label.clone() };
            return self
                .done
                .get(&stage)
                .cloned()
                .map(|state| Outside::State(Box::new(state)))
                .ok_or_else(|| self.dockerfile.error(span, later()));
        }
        if name == "scratch" {
            let platform = current.state.platform.clone();
            return Ok(Outside::State(Box::new(StageState::on(Root::Scratch, ImageConfig::scratch(&platform), platform))));
        }
        let platform = self.platform.clone();
        self.planner.outside(self.target, name, &platform).map_err(|kind| self.dockerfile.error(span, kind))
    }
}

fn makes_step(instruction: &Instruction) -> bool {
    matches!(instruction.kind, InstructionKind::Run(_) | InstructionKind::Copy(_) | InstructionKind::Add(_) | InstructionKind::Workdir(_))
}

fn command_words(state: &StageState, command: &CommandLine) -> Vec<String> {
    match command {
        CommandLine::Shell(line) => state.with_shell(&line.text),
        CommandLine::Exec(words) => words.iter().map(|word| word.text.clone()).collect(),
    }
}

/// Where a relative path of an instruction points to.
pub(super) fn from_working_dir(state: &StageState, path: &str) -> String {
    normalize(&state.working_dir(), path)
}
