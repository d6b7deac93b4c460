//! A Dockerfile without its layout: where its words stand, how they were joined and spelled does not count.

use brik::dockerfile::ast::{
    AddFiles, Arg, CommandLine, CopyFiles, Directives, Heredoc, KeyValue, Onbuild, RunCommand, Statement, Transfer,
};
use brik::dockerfile::{Dockerfile, Instruction, InstructionKind, Span, Word};

/// The Dockerfile with everything blank that depends on its layout.
pub fn of(mut file: Dockerfile) -> Dockerfile {
    let Directives { syntax, escape, check } = &mut file.directives;
    words([syntax, escape, check].into_iter().flatten());
    for meta in &mut file.meta_args {
        statement(&mut meta.statement);
        meta.args.iter_mut().for_each(arg);
    }
    for stage in &mut file.stages {
        statement(&mut stage.statement);
        stage.span = Span::default();
        stage.as_keyword.iter_mut().for_each(|keyword| keyword.text.make_ascii_uppercase());
        words([&mut stage.from].into_iter().chain(&mut stage.name).chain(&mut stage.as_keyword).chain(&mut stage.platform));
        stage.instructions.iter_mut().for_each(instruction);
    }
    file
}

fn words<'a>(words: impl IntoIterator<Item = &'a mut Word>) {
    words.into_iter().for_each(|word| word.span = Span::default());
}

/// Its text is that of the instruction's parts.
fn statement(statement: &mut Statement) {
    statement.keyword.text.make_ascii_uppercase();
    words([&mut statement.keyword]);
    statement.text.clear();
    statement.span = Span::default();
    statement.lines = (0, 0);
    statement.last_line = Span::default();
    statement.comments.iter_mut().for_each(|comment| comment.span = Span::default());
    statement.empty_continuations.clear();
}

fn instruction(instruction: &mut Instruction) {
    statement(&mut instruction.statement);
    match &mut instruction.kind {
        InstructionKind::Add(AddFiles { transfer: files, checksum, keep_git_dir: _, unpack: _ }) => {
            transfer(files);
            words(checksum);
        }
        InstructionKind::Copy(CopyFiles { transfer: files, from, parents: _ }) => {
            transfer(files);
            words(from);
        }
        InstructionKind::Arg(args) => args.iter_mut().for_each(arg),
        InstructionKind::Cmd(line) | InstructionKind::Entrypoint(line) => command_line(line),
        InstructionKind::Env(pairs) | InstructionKind::Label(pairs) => {
            words(pairs.iter_mut().flat_map(|KeyValue { key, value, legacy: _ }| [key, value]));
        }
        InstructionKind::Expose(list) | InstructionKind::Shell(list) | InstructionKind::Volume(list) => words(list),
        InstructionKind::Healthcheck(_) => {}
        InstructionKind::Maintainer(word)
        | InstructionKind::Stopsignal(word)
        | InstructionKind::User(word)
        | InstructionKind::Workdir(word) => {
            words([word]);
        }
        InstructionKind::Onbuild(Onbuild { trigger: _, instruction: inner }) => match inner {
            Ok(inner) => self::instruction(inner),
            Err(error) => error.span = Span::default(),
        },
        InstructionKind::Run(RunCommand { command, heredocs: bodies, mounts, network: _, security: _, devices }) => {
            command_line(command);
            heredocs(bodies);
            words(mounts.iter_mut().chain(devices));
        }
    }
}

fn arg(Arg { name, default }: &mut Arg) {
    words([name].into_iter().chain(default));
}

fn command_line(line: &mut CommandLine) {
    match line {
        CommandLine::Shell(word) => words([word]),
        CommandLine::Exec(list) => words(list),
    }
}

fn transfer(transfer: &mut Transfer) {
    let Transfer { sources, heredocs: bodies, destination, chown, chmod, exclude, link: _ } = transfer;
    words(sources.iter_mut().chain([destination]).chain(chown).chain(chmod).chain(exclude));
    heredocs(bodies);
}

fn heredocs(heredocs: &mut [Heredoc]) {
    heredocs.iter_mut().for_each(|heredoc| heredoc.span = Span::default());
}
