//! A Dockerfile's text, made of what was parsed.

use brik::dockerfile::ast::{Arg, CommandLine, Comment, Heredoc, KeyValue, Network, RunCommand, Security, Transfer};
use brik::dockerfile::{Dockerfile, InstructionKind, Word};

/// What may differ in the text and must not differ in what it means.
#[derive(Debug, Clone, Copy, Default)]
pub struct Layout {
    /// Lines end in CR LF, except those of here-documents.
    pub crlf: bool,
    pub lower_case: bool,
    /// Breaks lines between words at places that this number chooses, with comments and empty lines in between; 0 breaks none.
    pub breaks: u64,
}

/// The Dockerfile on one line an instruction. `None` for the few that cannot be written so from what the syntax tree keeps.
pub fn dockerfile(file: &Dockerfile) -> Option<String> {
    with_layout(file, Layout::default())
}

pub fn with_layout(file: &Dockerfile, layout: Layout) -> Option<String> {
    let mut printer = Printer { out: String::new(), escape: file.directives.escape_char(), layout };
    let directives = &file.directives;
    for (name, value) in [("syntax", &directives.syntax), ("check", &directives.check), ("escape", &directives.escape)] {
        if let Some(value) = value {
            printer.out += &format!("# {name}={}", value.text);
            printer.end_line();
        }
    }
    // A comment after this is no directive.
    printer.end_line();
    for meta in &file.meta_args {
        printer.comments(&meta.statement.comments);
        printer.line("ARG", &[], &args(&meta.args));
    }
    for stage in &file.stages {
        printer.comments(&stage.statement.comments);
        let mut flags = Vec::new();
        text_flag(&mut flags, "platform", &stage.platform);
        let alias = stage.name.as_ref().map_or(String::new(), |name| format!(" AS {}", name.text));
        printer.line("FROM", &flags, &(stage.from.text.clone() + &alias));
        for instruction in &stage.instructions {
            printer.comments(&instruction.statement.comments);
            printer.instruction(&instruction.kind)?;
        }
    }
    Some(printer.out)
}

struct Printer {
    out: String,
    escape: char,
    layout: Layout,
}

impl Printer {
    fn end_line(&mut self) {
        self.out.push_str(if self.layout.crlf { "\r\n" } else { "\n" });
    }

    fn comments(&mut self, comments: &[Comment]) {
        for comment in comments {
            self.out += &format!("# {}", comment.text);
            self.end_line();
        }
    }

    fn line(&mut self, name: &str, flags: &[String], arguments: &str) {
        let mut line = if self.layout.lower_case { name.to_ascii_lowercase() } else { name.to_owned() };
        flags.iter().for_each(|flag| line += &format!(" {}", quoted(flag)));
        if arguments.starts_with("--") {
            line += " --";
        }
        if !arguments.is_empty() {
            line += &format!(" {arguments}");
        }
        // The escape at the end is text, not the mark of a line that goes on.
        if line.ends_with(self.escape) {
            line.push('\u{b}');
        }
        self.broken(&line);
        self.end_line();
    }

    /// The line, broken after spaces, where the parser puts it together again.
    fn broken(&mut self, line: &str) {
        let mut chars = line.chars().peekable();
        while let Some(char) = chars.next() {
            self.out.push(char);
            if self.layout.breaks == 0 || char != ' ' || !chars.peek().is_some_and(char::is_ascii_alphanumeric) {
                continue;
            }
            self.layout.breaks = self.layout.breaks.rotate_right(3) ^ 0x5851_f42d_4c95_7f2d;
            if self.layout.breaks.is_multiple_of(3) {
                self.out.push(self.escape);
                self.end_line();
                if self.layout.breaks.is_multiple_of(2) {
                    self.out += "  # in between";
                    self.end_line();
                    self.end_line();
                }
            }
        }
    }

    fn bodies<'a>(&mut self, heredocs: impl IntoIterator<Item = &'a Heredoc>) {
        for heredoc in heredocs {
            self.out += &heredoc.content;
            self.out += &heredoc.name;
            self.end_line();
        }
    }

    fn instruction(&mut self, kind: &InstructionKind) -> Option<()> {
        let name = kind.name();
        let mut flags = Vec::new();
        match kind {
            InstructionKind::Add(add) => {
                transfer_flags(&mut flags, &add.transfer);
                text_flag(&mut flags, "checksum", &add.checksum);
                for (name, value) in [("keep-git-dir", add.keep_git_dir), ("unpack", add.unpack)] {
                    flags.extend(value.map(|value| format!("--{name}={value}")));
                }
                self.transfer(name, &flags, &add.transfer)?;
            }
            InstructionKind::Copy(copy) => {
                transfer_flags(&mut flags, &copy.transfer);
                text_flag(&mut flags, "from", &copy.from);
                flags.extend(copy.parents.then(|| "--parents".to_owned()));
                self.transfer(name, &flags, &copy.transfer)?;
            }
            InstructionKind::Arg(list) => self.line(name, &[], &args(list)),
            InstructionKind::Cmd(line) | InstructionKind::Entrypoint(line) => self.line(name, &[], &command_line(line)),
            InstructionKind::Env(pairs) | InstructionKind::Label(pairs) => {
                let pair = |pair: &KeyValue| format!("{}{}{}", pair.key.text, if pair.legacy { " " } else { "=" }, pair.value.text);
                self.line(name, &[], &pairs.iter().map(pair).collect::<Vec<_>>().join(" "));
            }
            InstructionKind::Expose(words) => self.line(name, &[], &plain(words)?),
            InstructionKind::Healthcheck(check) => {
                let intervals = [
                    ("interval", check.interval),
                    ("timeout", check.timeout),
                    ("start-period", check.start_period),
                    ("start-interval", check.start_interval),
                ];
                flags.extend(intervals.into_iter().filter(|(_, value)| *value != 0).map(|(name, value)| format!("--{name}={value}ns")));
                flags.extend((check.retries != 0).then(|| format!("--retries={}", check.retries)));
                let arguments = match &check.test[..] {
                    [form, line] if form == "CMD-SHELL" => format!("CMD {line}"),
                    [form, words @ ..] if form == "CMD" => format!("CMD {}", json(words.iter().map(String::as_str))),
                    none => none.join(" "),
                };
                self.line(name, &flags, &arguments);
            }
            InstructionKind::Maintainer(word) => self.line(name, &[], &word.text),
            InstructionKind::Stopsignal(word) | InstructionKind::User(word) | InstructionKind::Workdir(word) => {
                self.line(name, &[], &word.text);
            }
            InstructionKind::Onbuild(onbuild) => {
                let (line, bodies) =
                    onbuild.trigger.split_once('\n').map_or((&onbuild.trigger[..], None), |(line, rest)| (line, Some(rest)));
                // A trigger keeps the white space at its end, by which `line` tells an escape from the mark of a line that goes on.
                if line.ends_with(self.escape) {
                    return None;
                }
                self.line(name, &[], line);
                if let Some(bodies) = bodies {
                    self.out += bodies;
                    self.end_line();
                }
            }
            InstructionKind::Run(run) => self.run(run)?,
            InstructionKind::Shell(words) => self.line(name, &[], &json(texts(words))),
            InstructionKind::Volume(words) => self.line(name, &[], &plain(words).unwrap_or_else(|| json(texts(words)))),
        }
        Some(())
    }

    fn run(&mut self, run: &RunCommand) -> Option<()> {
        let mut flags: Vec<String> = run.mounts.iter().map(|mount| format!("--mount={}", mount.text)).collect();
        match run.network {
            Network::Default => {}
            Network::None => flags.push("--network=none".to_owned()),
            Network::Host => flags.push("--network=host".to_owned()),
        }
        if run.security == Security::Insecure {
            flags.push("--security=insecure".to_owned());
        }
        flags.extend(run.devices.iter().map(|device| format!("--device={}", device.text)));
        let command = command_line(&run.command);
        // A word whose quoting is broken takes the next ones in, with the bodies that they announce. If it is a flag, that is mended here.
        if command.matches("<<").count() > run.heredocs.len() && flags.iter().any(|flag| quoted(flag) != *flag) {
            return None;
        }
        self.line("RUN", &flags, &command);
        self.bodies(&run.heredocs);
        Some(())
    }

    fn transfer(&mut self, name: &str, flags: &[String], transfer: &Transfer) -> Option<()> {
        let paths: Vec<Word> = transfer.sources.iter().chain([&transfer.destination]).cloned().collect();
        let announced: Vec<String> = transfer.heredocs.iter().map(announcement).collect();
        let (destination, sources) = paths.split_last()?;
        if transfer.heredocs.iter().all(|heredoc| heredoc.content.is_empty()) {
            // In JSON form here-documents have no bodies.
            let words = texts(sources).chain(announced.iter().map(String::as_str)).chain([destination.text.as_str()]);
            let arguments = if announced.is_empty() { plain(&paths).filter(|text| !text.contains("<<")) } else { None };
            self.line(name, flags, &arguments.unwrap_or_else(|| json(words)));
            return Some(());
        }
        // Which words announce a body depends on all quotes of the line: these would move.
        if paths.iter().any(|path| path.text.contains(['\'', '"', '\\', '$', '<'])) {
            return None;
        }
        plain(&paths)?;
        let words: Vec<&str> = texts(sources).chain(announced.iter().map(String::as_str)).chain([destination.text.as_str()]).collect();
        self.line(name, flags, &words.join(" "));
        self.bodies(&transfer.heredocs);
        Some(())
    }
}

fn texts(words: &[Word]) -> impl Iterator<Item = &str> {
    words.iter().map(|word| word.text.as_str())
}

/// Words between spaces, if they are read as the same words.
fn plain(words: &[Word]) -> Option<String> {
    let text = texts(words).collect::<Vec<_>>().join(" ");
    let splits = |word: &Word| word.text.is_empty() || word.text.contains(['\t', '\n', '\u{b}', '\u{c}', '\r', ' ']);
    (!words.iter().any(splits) && text.trim() == text && !text.starts_with('[')).then_some(text)
}

fn json<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let escape = |char: char| match char {
        '"' | '\\' => format!("\\{char}"),
        '\0'..' ' => format!("\\u{:04x}", char as u32),
        char => char.to_string(),
    };
    let quote = |word: &str| format!("\"{}\"", word.chars().map(escape).collect::<String>());
    format!("[{}]", words.map(quote).collect::<Vec<_>>().join(", "))
}

fn command_line(line: &CommandLine) -> String {
    match line {
        CommandLine::Shell(line) => line.text.clone(),
        CommandLine::Exec(words) => json(texts(words)),
    }
}

fn args(args: &[Arg]) -> String {
    let arg = |arg: &Arg| arg.name.text.clone() + &arg.default.as_ref().map_or(String::new(), |default| format!("={}", default.text));
    args.iter().map(arg).collect::<Vec<_>>().join(" ")
}

/// `<<NAME`, where no character of the name means anything but itself.
fn announcement(heredoc: &Heredoc) -> String {
    let escape = |char: char| if char.is_ascii_alphanumeric() { char.to_string() } else { format!("\\{char}") };
    let name: String = heredoc.name.chars().map(escape).collect();
    format!("<<{}{}{name}", if heredoc.chomp { "-" } else { "" }, if heredoc.expand { "" } else { "''" })
}

fn transfer_flags(flags: &mut Vec<String>, transfer: &Transfer) {
    text_flag(flags, "chown", &transfer.chown);
    text_flag(flags, "chmod", &transfer.chmod);
    flags.extend(transfer.exclude.iter().map(|pattern| format!("--exclude={}", pattern.text)));
    flags.extend(transfer.link.then(|| "--link".to_owned()));
}

fn text_flag(flags: &mut Vec<String>, name: &str, value: &Option<Word>) {
    flags.extend(value.as_ref().map(|value| format!("--{name}={}", value.text)));
}

/// A flag that is read as one word, whatever its value.
fn quoted(flag: &str) -> String {
    let tame = |char: char| char.is_ascii_alphanumeric() || "-_=,./:*@+".contains(char);
    if flag.chars().all(tame) {
        return flag.to_owned();
    }
    let escape = |char: char| if matches!(char, '"' | '\\' | '$') { format!("\\{char}") } else { char.to_string() };
    let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
    format!("{name}=\"{}\"", value.chars().map(escape).collect::<String>())
}
