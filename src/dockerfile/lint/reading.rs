//! A Dockerfile as rules see it: what each FROM and each instruction becomes with the variables in force there.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use super::super::ast::{Arg, Instruction, InstructionKind, Stage, Statement, Transfer, Word};
use super::super::{Dockerfile, Expander, Mount, Span, parse_trigger};
use super::Surroundings;
use super::scope::{Budget, Expanded, Scope};
use crate::oci::{ImageConfig, Platform};

pub(super) struct Reading<'a> {
    pub file: &'a Dockerfile,
    pub surroundings: &'a Surroundings<'a>,
    /// One for each stage of the file.
    pub froms: Vec<From>,
    /// The stages that are looked at.
    pub stages: Vec<Vec<Step<'a>>>,
    /// TARGETPLATFORM as FROM sees it.
    pub target_platform: Option<String>,
}

/// What a FROM becomes; nothing, where its words cannot be expanded.
pub(super) struct From {
    pub image: Option<Expanded>,
    pub platform: Option<Expanded>,
    /// The image where no build argument is given.
    pub default_image: Option<String>,
}

/// An instruction of a stage, or a trigger that its base fires.
pub(super) struct Step<'a> {
    pub instruction: Cow<'a, Instruction>,
    /// The FROM that fires the trigger: bytes of a trigger are none of the file's.
    fired_by: Option<Span>,
    /// The words that are expanded.
    pub words: Vec<ReadWord>,
    /// Whether the image has a SHELL of its own.
    pub shell: bool,
    /// Whether a WORKDIR of this file was in force before.
    pub workdir: bool,
}

pub(super) struct ReadWord {
    pub role: Role,
    pub span: Span,
    pub expanded: Expanded,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Of COPY or ADD.
    Source,
    /// Of ENV or LABEL.
    Key,
    /// Of WORKDIR.
    Path,
    /// One of the ports of EXPOSE, whose undefined variables BuildKit does not mind.
    Port,
    Other,
}

impl Step<'_> {
    pub fn statement(&self) -> &Statement {
        &self.instruction.statement
    }

    /// Where something is shown that stands at `span` of the instruction.
    pub fn place(&self, span: Span) -> Span {
        self.fired_by.unwrap_or(span)
    }

    /// The words of a role whose text is certain.
    pub fn certain(&self, role: Role) -> impl Iterator<Item = &ReadWord> {
        self.words.iter().filter(move |word| word.role == role && word.expanded.certain)
    }
}

impl<'a> Reading<'a> {
    /// Reads a file, as far as its [`Budget`] goes.
    pub fn new(file: &'a Dockerfile, surroundings: &'a Surroundings<'a>) -> Self {
        let expander = Expander { escape: file.directives.escape_char() };
        let budget = Budget::default();
        let defaults = global(file, surroundings, expander, &BTreeMap::new(), &budget);
        let global = global(file, surroundings, expander, surroundings.args, &budget);
        let from = |scope: &Scope, word| if budget.is_spent() { None } else { scope.word(expander, word).ok() };
        let froms = file.stages.iter().map(|stage| From {
            image: from(&global, &stage.from),
            platform: stage.platform.as_ref().and_then(|word| from(&global, word)),
            default_image: from(&defaults, &stage.from).map(|expanded| expanded.text),
        });
        let froms: Vec<From> = froms.collect();
        let target_platform = global.get("TARGETPLATFORM").map(str::to_owned);
        let frame = Frame { file, surroundings, expander, global, budget };
        Self { file, surroundings, stages: frame.stages(&froms), froms, target_platform }
    }
}

/// What the reading of each stage needs.
struct Frame<'a> {
    file: &'a Dockerfile,
    surroundings: &'a Surroundings<'a>,
    expander: Expander,
    global: Scope,
    budget: Budget,
}

impl<'a> Frame<'a> {
    fn stages(&self, froms: &[From]) -> Vec<Vec<Step<'a>>> {
        let mut stages = Vec::new();
        // What is in force at the end of the stages that have been read, and the latest stage of each name.
        let (mut ends, mut names) = (HashMap::new(), HashMap::new());
        for (index, (stage, from)) in self.file.stages.iter().zip(froms).enumerate() {
            if self.surroundings.stages.contains(&index) && !self.budget.is_spent() {
                let name = from.image.as_ref().map_or("", |image| image.text.as_str());
                let base: Option<usize> = names.get(&name.to_ascii_lowercase()).copied();
                let (mut scope, triggers) = self.start(index, name, base.map(|base| (base, ends.get(&base))));
                stages.push(self.steps(stage, &mut scope, &triggers));
                ends.insert(index, scope);
            }
            if let Some(name) = &stage.name {
                names.insert(name.text.to_ascii_lowercase(), index);
            }
        }
        stages
    }

    /// What a stage starts with, and the triggers that its base fires. `base` is the stage of that name, and what is in force at its
    /// end, if it has been read.
    fn start(&self, index: usize, name: &str, base: Option<(usize, Option<&Scope>)>) -> (Scope, Vec<String>) {
        match base {
            Some((base, Some(end))) => {
                let triggers = self.file.stages[base].instructions.iter().filter_map(|instruction| match &instruction.kind {
                    InstructionKind::Onbuild(onbuild) if self.budget.spend(onbuild.trigger.len()) => Some(onbuild.trigger.clone()),
                    _ => None,
                });
                (end.continued(), triggers.collect())
            }
            None if name == "scratch" => (Scope::of_image(Some(&ImageConfig::scratch(&Platform::host())), &self.budget), Vec::new()),
            _ => {
                let image = (self.surroundings.base)(index);
                let triggers = image.as_ref().map(|image| image.config.on_build.clone()).unwrap_or_default();
                (Scope::of_image(image.as_deref(), &self.budget), triggers)
            }
        }
    }

    fn steps(&self, stage: &'a Stage, scope: &mut Scope, triggers: &[String]) -> Vec<Step<'a>> {
        let mut reader = StageReader { expander: self.expander, global: &self.global, args: self.surroundings.args, scope };
        // One that cannot be read fails the build, which says so.
        let triggers = triggers.iter().filter_map(|text| parse_trigger(text).ok());
        let fired = triggers.map(|trigger| (Cow::Owned(trigger), Some(stage.from.span)));
        let own = stage.instructions.iter().map(|instruction| (Cow::Borrowed(instruction), None));
        let all = fired.chain(own).take_while(|_| !self.budget.is_spent());
        all.map(|(instruction, fired_by)| reader.step(instruction, fired_by)).collect()
    }
}

/// The variables that FROM sees. An ARG whose default cannot be expanded counts as declared only: the build says what is wrong.
fn global(file: &Dockerfile, surroundings: &Surroundings, expander: Expander, args: &BTreeMap<String, String>, budget: &Budget) -> Scope {
    let mut scope = Scope::empty(budget);
    for (name, value) in &surroundings.predefined {
        scope.declare(name, Some((value, true)));
    }
    for arg in file.meta_args.iter().flat_map(|meta| &meta.args) {
        let value = match (args.get(&arg.name.text), &arg.default) {
            (Some(given), _) => Some(given.clone()),
            (None, Some(default)) if !budget.is_spent() => scope.word(expander, default).ok().map(|expanded| expanded.text),
            (None, _) => None,
        };
        scope.declare(&arg.name.text, value.as_deref().map(|value| (value, true)));
        if value.is_none() {
            scope.hint(&arg.name.text);
        }
    }
    scope
}

/// Reads the instructions of one stage in their order.
struct StageReader<'s> {
    expander: Expander,
    global: &'s Scope,
    args: &'s BTreeMap<String, String>,
    scope: &'s mut Scope,
}

impl StageReader<'_> {
    fn step<'a>(&mut self, instruction: Cow<'a, Instruction>, fired_by: Option<Span>) -> Step<'a> {
        let (shell, workdir) = (self.scope.shell, self.scope.workdir);
        let words = self.words(&instruction.kind);
        Step { instruction, fired_by, words, shell, workdir }
    }

    /// Expands the words of an instruction, and takes in what it sets.
    fn words(&mut self, kind: &InstructionKind) -> Vec<ReadWord> {
        match kind {
            InstructionKind::Arg(args) => args.iter().filter_map(|arg| self.arg(arg)).collect(),
            InstructionKind::Env(pairs) => {
                let pairs: Vec<_> =
                    pairs.iter().filter_map(|pair| Some((self.word(Role::Key, &pair.key)?, self.word(Role::Other, &pair.value)))).collect();
                for (key, value) in &pairs {
                    // A value that cannot be expanded sets the variable all the same: the build says what is wrong.
                    let (text, certain) = value.as_ref().map_or(("", false), |value| (&value.expanded.text, value.expanded.certain));
                    self.scope.set_env(&key.expanded.text, text, certain && key.expanded.certain);
                }
                pairs.into_iter().flat_map(|(key, value)| [Some(key), value]).flatten().collect()
            }
            InstructionKind::Label(pairs) => {
                pairs.iter().flat_map(|pair| [self.word(Role::Key, &pair.key), self.word(Role::Other, &pair.value)]).flatten().collect()
            }
            InstructionKind::Workdir(path) => {
                self.scope.workdir = true;
                self.word(Role::Path, path).into_iter().collect()
            }
            InstructionKind::Shell(_) => {
                self.scope.shell = true;
                Vec::new()
            }
            InstructionKind::Copy(copy) => self.transfer(&copy.transfer, None),
            InstructionKind::Add(add) => self.transfer(&add.transfer, add.checksum.as_ref()),
            InstructionKind::Run(run) => run.mounts.iter().flat_map(|mount| self.mount(mount)).collect(),
            InstructionKind::Expose(words) => words.iter().flat_map(|word| self.ports(word)).collect(),
            InstructionKind::User(word) | InstructionKind::Stopsignal(word) => self.word(Role::Other, word).into_iter().collect(),
            InstructionKind::Volume(words) => words.iter().filter_map(|word| self.word(Role::Other, word)).collect(),
            InstructionKind::Cmd(_)
            | InstructionKind::Entrypoint(_)
            | InstructionKind::Healthcheck(_)
            | InstructionKind::Maintainer(_)
            | InstructionKind::Onbuild(_) => Vec::new(),
        }
    }

    fn word(&self, role: Role, word: &Word) -> Option<ReadWord> {
        self.scope.word(self.expander, word).ok().map(|expanded| ReadWord { role, span: word.span, expanded })
    }

    /// A default is expanded only where it counts.
    fn arg(&mut self, arg: &Arg) -> Option<ReadWord> {
        let name = &arg.name.text;
        let default = arg.default.as_ref().filter(|_| !self.args.contains_key(name)).and_then(|word| self.word(Role::Other, word));
        let value = match (self.args.get(name), &default) {
            (Some(given), _) => Some((given.as_str(), true)),
            (None, Some(default)) => Some((default.expanded.text.as_str(), default.expanded.certain)),
            (None, None) if arg.default.is_none() => self.global.get(name).map(|value| (value, true)),
            (None, None) => None,
        };
        self.scope.declare(name, value);
        default
    }

    fn transfer(&self, transfer: &Transfer, checksum: Option<&Word>) -> Vec<ReadWord> {
        let others = [&transfer.chown, &transfer.chmod].into_iter().flatten().chain(checksum).chain([&transfer.destination]);
        let mut words: Vec<ReadWord> = others.filter_map(|word| self.word(Role::Other, word)).collect();
        words.extend(transfer.sources.iter().filter_map(|word| self.word(Role::Source, word)));
        for heredoc in transfer.heredocs.iter().filter(|heredoc| heredoc.expand) {
            let body = Word { text: heredoc.content.clone(), span: heredoc.span };
            let expanded = self.scope.expand(&body, |env| self.expander.heredoc_body(&heredoc.body(), env));
            words.extend(expanded.ok().map(|expanded| ReadWord { role: Role::Other, span: heredoc.span, expanded }));
        }
        words
    }

    fn mount(&self, mount: &Word) -> Vec<ReadWord> {
        let mut words = Vec::new();
        // What is wrong with a mount fails the build.
        let _ = Mount::parse(&mount.text, &mut |value| {
            let expanded = self.scope.expand(mount, |env| self.expander.word(value, env))?;
            let text = expanded.text.clone();
            words.push(ReadWord { role: Role::Other, span: mount.span, expanded });
            Ok(text)
        });
        words
    }

    fn ports(&self, word: &Word) -> Vec<ReadWord> {
        let Some(whole) = self.word(Role::Port, word) else { return Vec::new() };
        let ports = self.expander.words(&word.text, &|name| self.scope.get(name).map(str::to_owned)).unwrap_or_default();
        let port =
            |text: String| Expanded { text, matched: Vec::new(), unmatched: false, undefined: Vec::new(), certain: whole.expanded.certain };
        ports.into_iter().map(|text| ReadWord { role: Role::Port, span: word.span, expanded: port(text) }).collect()
    }
}
