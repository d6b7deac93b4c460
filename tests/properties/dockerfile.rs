//! What holds of every Dockerfile.

use brik::dockerfile::ast::{CommandLine, Heredoc, Statement, Transfer};
use brik::dockerfile::{
    Dockerfile, Expander, Instruction, InstructionKind, Mount, Span, SyntaxError, Word, parse, parse_ports, parse_trigger,
};

use super::words::environment;
use super::{meaning, print, words};

/// Longer files are not printed again: what is printed may need lines that are longer than those that were read.
const PRINTABLE: usize = 8 << 10;

/// Parses `bytes` and checks whatever comes of it.
pub fn check(bytes: &[u8]) {
    let places = Places { bytes, utf8: std::str::from_utf8(bytes).is_ok() };
    match parse(bytes) {
        Ok(file) => {
            places.file(&file);
            later(&file);
            if bytes.len() <= PRINTABLE {
                printed(&file);
            }
        }
        Err(errors) => places.errors(&errors),
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        match parse_trigger(text) {
            Ok(instruction) => places.instruction(&instruction),
            Err(errors) => places.errors(&errors),
        }
    }
}

/// Printing and parsing again gives the same Dockerfile.
fn printed(file: &Dockerfile) {
    let Some(text) = print::dockerfile(file) else { return };
    match parse(text.as_bytes()) {
        Ok(again) => assert_eq!(meaning::of(again), meaning::of(file.clone()), "printed:\n{text}"),
        Err(errors) => panic!("{errors:?}\nprinted:\n{text}"),
    }
}

/// What the planner reads later on can fail, but not otherwise than with an error.
fn later(file: &Dockerfile) {
    let expander = Expander { escape: file.directives.escape_char() };
    let expand = |word: &str| expander.word(word, &environment).map(|found| found.text);
    for instruction in file.stages.iter().flat_map(|stage| &stage.instructions) {
        visit(instruction, &mut |word| words::check(&word.text));
        match &instruction.kind {
            InstructionKind::Expose(ports) => {
                for port in ports.iter().flat_map(|word| expander.words(&word.text, &environment)).flatten() {
                    assert!(parse_ports(&port).is_ok_and(|mut ports| ports.next().is_some()) || parse_ports(&port).is_err());
                }
            }
            InstructionKind::Run(run) => {
                for mount in &run.mounts {
                    drop(Mount::parse(&mount.text, &mut |value| expand(value)));
                }
                drop(run.script());
            }
            InstructionKind::Onbuild(onbuild) => drop(parse_trigger(&onbuild.trigger)),
            _ => {}
        }
    }
}

/// Every word of an instruction.
fn visit(instruction: &Instruction, see: &mut dyn FnMut(&Word)) {
    see(&instruction.statement.keyword);
    match &instruction.kind {
        InstructionKind::Add(add) => {
            transfer(&add.transfer, see);
            add.checksum.iter().for_each(see);
        }
        InstructionKind::Copy(copy) => {
            transfer(&copy.transfer, see);
            copy.from.iter().for_each(see);
        }
        InstructionKind::Arg(args) => args.iter().flat_map(|arg| [&arg.name].into_iter().chain(&arg.default)).for_each(see),
        InstructionKind::Cmd(line) | InstructionKind::Entrypoint(line) => command_line(line, see),
        InstructionKind::Env(pairs) | InstructionKind::Label(pairs) => pairs.iter().flat_map(|pair| [&pair.key, &pair.value]).for_each(see),
        InstructionKind::Expose(list) | InstructionKind::Shell(list) | InstructionKind::Volume(list) => list.iter().for_each(see),
        InstructionKind::Healthcheck(_) => {}
        InstructionKind::Maintainer(word)
        | InstructionKind::Stopsignal(word)
        | InstructionKind::User(word)
        | InstructionKind::Workdir(word) => {
            see(word);
        }
        InstructionKind::Onbuild(onbuild) => onbuild.instruction.iter().for_each(|inner| visit(inner, see)),
        InstructionKind::Run(run) => {
            command_line(&run.command, see);
            run.mounts.iter().chain(&run.devices).for_each(see);
        }
    }
}

fn command_line(line: &CommandLine, see: &mut dyn FnMut(&Word)) {
    match line {
        CommandLine::Shell(word) => see(word),
        CommandLine::Exec(list) => list.iter().for_each(see),
    }
}

fn transfer(transfer: &Transfer, see: &mut dyn FnMut(&Word)) {
    let optional = transfer.chown.iter().chain(&transfer.chmod);
    transfer.sources.iter().chain([&transfer.destination]).chain(optional).chain(&transfer.exclude).for_each(see);
}

/// The file that spans point into.
struct Places<'a> {
    bytes: &'a [u8],
    utf8: bool,
}

impl Places<'_> {
    fn file(&self, file: &Dockerfile) {
        let directives = [&file.directives.syntax, &file.directives.escape, &file.directives.check];
        directives.into_iter().flatten().for_each(|word| self.verbatim(word));
        file.meta_args.iter().for_each(|meta| self.statement(&meta.statement));
        assert!(!file.stages.is_empty());
        let mut end = 0;
        for stage in &file.stages {
            assert!(stage.span.start >= end, "stages overlap: {:?}", stage.span);
            self.statement(&stage.statement);
            [&stage.from].into_iter().chain(&stage.name).for_each(|word| self.verbatim(word));
            end = stage.statement.span.end;
            for instruction in &stage.instructions {
                let span = instruction.statement.span;
                assert!(span.start >= end && span.end <= stage.span.end, "{span:?} is out of order in {:?}", stage.span);
                end = span.end;
                self.instruction(instruction);
            }
            assert_eq!(stage.span.end, end);
        }
    }

    fn instruction(&self, instruction: &Instruction) {
        self.statement(&instruction.statement);
        assert!(instruction.kind.name().eq_ignore_ascii_case(&instruction.statement.keyword.text));
        visit(instruction, &mut |word| self.span(word.span));
        let heredocs: &[Heredoc] = match &instruction.kind {
            InstructionKind::Add(add) => &add.transfer.heredocs,
            InstructionKind::Copy(copy) => &copy.transfer.heredocs,
            InstructionKind::Run(run) => &run.heredocs,
            _ => &[],
        };
        for heredoc in heredocs {
            self.span(heredoc.span);
            // In JSON form there is no body, and the span is the word's.
            assert!(heredoc.content.is_empty() || heredoc.content.as_bytes() == &self.bytes[heredoc.span.range()]);
        }
    }

    fn statement(&self, statement: &Statement) {
        self.span(statement.span);
        self.span(statement.last_line);
        self.verbatim(&statement.keyword);
        assert_eq!(statement.span.start, statement.keyword.span.start);
        let line = |at: usize| 1 + self.bytes[..at].iter().filter(|byte| **byte == b'\n').count();
        let (first, last) = statement.lines;
        // A line may be continued before its keyword.
        assert!(1 <= first && first <= line(statement.span.start), "the first line of {:?}", statement.keyword);
        assert!(first <= last && line(statement.span.end) <= last, "the last line of {:?}", statement.text);
        statement.comments.iter().for_each(|comment| self.span(comment.span));
        statement.empty_continuations.iter().for_each(|span| self.span(*span));
    }

    /// A word that is neither in JSON form nor a flag says what stands there, unless it goes over a line's end.
    fn verbatim(&self, word: &Word) {
        self.span(word.span);
        let written = &self.bytes[word.span.range()];
        if self.utf8 && !written.contains(&b'\n') {
            assert_eq!(word.text.as_bytes(), written);
        }
    }

    fn errors(&self, errors: &[SyntaxError]) {
        assert!(!errors.is_empty());
        assert!(errors.is_sorted_by_key(|error| error.span.start), "errors are out of order");
        for error in errors {
            self.span(error.span);
            assert!(!error.to_string().is_empty());
            assert!(error.help().is_none_or(|help| !help.is_empty()));
        }
    }

    fn span(&self, span: Span) {
        assert!(span.start <= span.end && span.end <= self.bytes.len(), "{span:?} of {} bytes", self.bytes.len());
        let boundary = |at: usize| self.bytes.get(at).is_none_or(|byte| !self.utf8 || byte & 0xc0 != 0x80);
        assert!(boundary(span.start) && boundary(span.end), "{span:?} cuts a character");
    }
}
