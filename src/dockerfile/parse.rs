//! From text to stages.

use std::borrow::Cow;

use super::arguments::Fragment;
use super::ast::{Dockerfile, Heredoc, Instruction, InstructionKind, MetaArg, Stage, Statement};
use super::heredoc::announcements;
use super::lines::{Lines, LogicalLine};
use super::request::{Parts, Request};
use super::stage::parse_from;
use super::{Span, SyntaxError, SyntaxErrorKind};
use super::{copy, healthcheck, onbuild, run, settings};

/// The largest Dockerfile that is read, in bytes.
const MAX_FILE: usize = 16 << 20;

/// Reads a Dockerfile. All faults that can be told apart are reported, in the order of the file.
pub fn parse(text: &[u8]) -> Result<Dockerfile, Vec<SyntaxError>> {
    let (text, not_utf8) = decode(text)?;
    let mut reader = Reader::new(&text, not_utf8);
    let mut meta_args = Vec::new();
    let mut stages: Vec<Stage> = Vec::new();
    let (mut any, mut from_seen, mut stray_seen) = (false, false, false);
    while let Some(item) = reader.next_item() {
        any = true;
        match item {
            Ok(Item::From(stage)) => {
                from_seen = true;
                stages.push(*stage);
            }
            Ok(Item::Instruction(instruction)) => match (stages.last_mut(), *instruction) {
                (Some(stage), instruction) => {
                    stage.span.end = instruction.statement.span.end;
                    stage.instructions.push(instruction);
                }
                // The stage's FROM is at fault, and reported.
                (None, _) if from_seen => {}
                (None, Instruction { kind: InstructionKind::Arg(args), statement }) => meta_args.push(MetaArg { args, statement }),
                (None, Instruction { kind, statement }) => {
                    if !stray_seen {
                        let kind = SyntaxErrorKind::InstructionBeforeFrom { instruction: kind.name() };
                        reader.lines.errors.push(SyntaxError::new(kind, statement.keyword.span));
                    }
                    stray_seen = true;
                }
            },
            Err(Fault { error, in_from }) => {
                from_seen |= in_from;
                reader.lines.errors.push(error);
            }
        }
    }
    let Lines { mut errors, directives, .. } = reader.lines;
    if errors.is_empty() && stages.is_empty() {
        let kind = match (text.is_empty(), any) {
            (true, _) => SyntaxErrorKind::EmptyFile,
            (false, false) => SyntaxErrorKind::NoInstructions,
            (false, true) => SyntaxErrorKind::NoStages,
        };
        errors.push(SyntaxError::new(kind, Span::new(text.len(), text.len())));
    }
    if errors.is_empty() {
        return Ok(Dockerfile { directives, meta_args, stages });
    }
    errors.sort_by_key(|error| error.span);
    Err(errors)
}

/// Reads the text of an ONBUILD trigger, of a Dockerfile or of a base image. Spans are of `text`.
pub fn parse_trigger(text: &str) -> Result<Instruction, Vec<SyntaxError>> {
    let (text, not_utf8) = decode(text.as_bytes())?;
    let mut reader = Reader::new(&text, not_utf8);
    let single = || SyntaxError::new(SyntaxErrorKind::TriggerNotSingle, Span::new(0, text.len()));
    let found = match reader.next_item() {
        Some(Ok(Item::Instruction(instruction))) => Ok(*instruction),
        Some(Ok(Item::From(stage))) => {
            let kind = SyntaxErrorKind::OnbuildTrigger { instruction: "FROM".into() };
            Err(SyntaxError::new(kind, stage.statement.keyword.span))
        }
        Some(Err(fault)) => Err(fault.error),
        None => Err(single()),
    };
    let found = found.and_then(|instruction| if reader.next_item().is_some() { Err(single()) } else { Ok(instruction) });
    let mut errors = reader.lines.errors;
    match found {
        Ok(instruction) if errors.is_empty() => return Ok(instruction),
        Ok(_) => {}
        Err(error) => errors.push(error),
    }
    errors.sort_by_key(|error| error.span);
    Err(errors)
}

/// What a name other than FROM stands for.
pub(super) fn parse_kind(request: &Request<'_>, statement: &Statement) -> Result<InstructionKind, SyntaxError> {
    let parse = match request.name {
        "ADD" => copy::parse_add,
        "ARG" => settings::parse_arg,
        "CMD" => settings::parse_cmd,
        "COPY" => copy::parse_copy,
        "ENTRYPOINT" => settings::parse_entrypoint,
        "ENV" => settings::parse_env,
        "EXPOSE" => settings::parse_expose,
        "HEALTHCHECK" => healthcheck::parse_healthcheck,
        "LABEL" => settings::parse_label,
        "MAINTAINER" => settings::parse_maintainer,
        "ONBUILD" => return onbuild::parse_onbuild(request, statement),
        "RUN" => run::parse_run,
        "SHELL" => settings::parse_shell,
        "STOPSIGNAL" => settings::parse_stopsignal,
        "USER" => settings::parse_user,
        "VOLUME" => settings::parse_volume,
        "WORKDIR" => settings::parse_workdir,
        name => return Err(request.error(SyntaxErrorKind::UnknownInstruction { name: name.to_owned(), suggestion: None })),
    };
    parse(request)
}

enum Item {
    From(Box<Stage>),
    Instruction(Box<Instruction>),
}

struct Fault {
    error: SyntaxError,
    in_from: bool,
}

struct Reader<'a> {
    lines: Lines<'a>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, not_utf8: Vec<Span>) -> Self {
        Self { lines: Lines::new(text, not_utf8) }
    }

    fn next_item(&mut self) -> Option<Result<Item, Fault>> {
        let line = self.lines.next_line()?;
        let heredocs = match self.heredocs(&line) {
            Ok(heredocs) => heredocs,
            Err(error) => return Some(Err(Fault { error, in_from: false })),
        };
        let parts = Parts::of(Fragment::whole(&line));
        let keyword = parts.keyword.word();
        let span = Span::new(keyword.span.start, self.lines.end().max(keyword.span.end));
        let statement = Statement {
            keyword,
            text: line.text.trim().to_owned(),
            span,
            lines: (line.first_line, self.lines.number()),
            comments: line.comments.clone(),
            empty_continuations: line.empty_continuations.clone(),
        };
        let in_from = parts.name().is_ok_and(|name| name == "FROM");
        let item = Request::new(parts, &heredocs, self.lines.directives.escape_char()).and_then(|request| {
            if in_from {
                parse_from(&request, statement).map(|stage| Item::From(Box::new(stage)))
            } else {
                parse_kind(&request, &statement).map(|kind| Item::Instruction(Box::new(Instruction { kind, statement })))
            }
        });
        Some(item.map_err(|error| Fault { error, in_from }))
    }

    /// The bodies that follow the line. They are read even if the instruction turns out to be wrong.
    fn heredocs(&mut self, line: &LogicalLine) -> Result<Vec<Heredoc>, SyntaxError> {
        let whole = Fragment::whole(line);
        if !line.text.contains("<<") || !Parts::of(whole).may_have_heredocs() {
            return Ok(Vec::new());
        }
        let announced = announcements(&line.text).map_err(|error| whole.error(error.into()))?;
        Ok(announced.into_iter().filter_map(|announced| self.lines.heredoc(announced, whole.span())).collect())
    }
}

/// The text, with `?` for each byte that is no UTF-8, so that offsets stay; and where those bytes are.
fn decode(bytes: &[u8]) -> Result<(Cow<'_, str>, Vec<Span>), Vec<SyntaxError>> {
    if bytes.len() > MAX_FILE {
        let kind = SyntaxErrorKind::FileTooLarge { size: bytes.len(), limit: MAX_FILE };
        return Err(vec![SyntaxError::new(kind, Span::new(MAX_FILE, bytes.len()))]);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Ok((Cow::Borrowed(text), Vec::new()));
    }
    let mut text = String::with_capacity(bytes.len());
    let mut not_utf8 = Vec::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        let bad = chunk.invalid();
        if !bad.is_empty() {
            not_utf8.push(Span::new(text.len(), text.len() + bad.len()));
            text.extend(std::iter::repeat_n('?', bad.len()));
        }
    }
    Ok((Cow::Owned(text), not_utf8))
}

#[cfg(test)]
mod tests {
    use super::super::ast::{CommandLine, Script, Word};
    use super::super::{Expander, Mount};
    use super::*;

    fn kinds(body: &str) -> Vec<InstructionKind> {
        let text = format!("FROM a\n{body}");
        let mut file = parse(text.as_bytes()).unwrap_or_else(|errors| panic!("{body}: {errors:?}"));
        file.stages.remove(0).instructions.into_iter().map(|instruction| instruction.kind).collect()
    }

    fn kind(body: &str) -> InstructionKind {
        kinds(body).remove(0)
    }

    fn messages(text: impl AsRef<[u8]>) -> Vec<String> {
        parse(text.as_ref()).err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    fn texts(words: &[Word]) -> Vec<&str> {
        words.iter().map(|word| word.text.as_str()).collect()
    }

    #[test]
    fn stages_hold_their_instructions() {
        let text = "# syntax=docker/dockerfile:1\nARG V=1\n# base is the base\nFROM --platform=$BUILDPLATFORM alpine:$V As Base\nRUN x\n\nFROM base\nUSER u\n";
        let file = parse(text.as_bytes()).unwrap();
        assert_eq!(file.directives.syntax.as_ref().unwrap().text, "docker/dockerfile:1");
        assert_eq!(file.meta_args[0].args[0].default.as_ref().unwrap().text, "1");
        let [base, last] = &file.stages[..] else { panic!("two stages") };
        assert_eq!((base.from.text.as_str(), base.name.as_ref().unwrap().text.as_str()), ("alpine:$V", "Base"));
        assert_eq!(base.platform.as_ref().unwrap().text, "$BUILDPLATFORM");
        assert_eq!(base.statement.comments[0].text, "base is the base");
        assert_eq!(&text[base.span.range()], "FROM --platform=$BUILDPLATFORM alpine:$V As Base\nRUN x");
        assert_eq!((last.from.text.as_str(), last.name.is_none(), last.statement.lines), ("base", true, (7, 7)));
    }

    #[test]
    fn stages_are_found_by_name_without_case_and_by_index() {
        let file = parse(b"FROM a AS x\nFROM b AS Y\nFROM c AS X\n").unwrap();
        assert_eq!([file.stage_by_name("x"), file.stage_by_name("y"), file.stage_by_name("z")], [Some(2), Some(1), None]);
        assert_eq!([file.stage_before("X", 2), file.stage_before("x", 0)], [Some(0), None]);
        assert_eq!([file.stage_by_name_or_index("1"), file.stage_by_name_or_index("3")], [Some(1), None]);
    }

    #[test]
    fn word_spans_point_at_the_words() {
        let text = "FROM a\nCOPY --chown=u:g \\\n  --from=b x \\\n  \"y\" /z/\nENV A=1 \\\n  B='2 3'\nCMD [\"p\", \"q\"]\n";
        let file = parse(text.as_bytes()).unwrap();
        let at = |word: &Word| &text[word.span.range()];
        let [copy, env, cmd] = &file.stages[0].instructions[..] else { panic!("three instructions") };
        let InstructionKind::Copy(files) = &copy.kind else { panic!("COPY") };
        assert_eq!(files.transfer.chown.as_ref().map(at), Some("u:g"));
        assert_eq!(files.from.as_ref().map(at), Some("b"));
        assert_eq!(files.transfer.sources.iter().map(at).collect::<Vec<_>>(), ["x", "\"y\""]);
        assert_eq!(at(&files.transfer.destination), "/z/");
        let InstructionKind::Env(pairs) = &env.kind else { panic!("ENV") };
        assert_eq!((at(&pairs[1].key), at(&pairs[1].value)), ("B", "'2 3'"));
        let InstructionKind::Cmd(CommandLine::Exec(words)) = &cmd.kind else { panic!("CMD") };
        assert_eq!(words.iter().map(at).collect::<Vec<_>>(), ["\"p\"", "\"q\""]);
        assert_eq!((copy.statement.lines, at(&copy.statement.keyword)), ((2, 4), "COPY"));
        assert_eq!(copy.statement.text, "COPY --chown=u:g   --from=b x   \"y\" /z/");
    }

    #[test]
    fn env_and_label_take_pairs_or_the_old_form() {
        let pairs = |body| match kind(body) {
            InstructionKind::Env(pairs) | InstructionKind::Label(pairs) => {
                pairs.into_iter().map(|pair| (pair.key.text, pair.value.text, pair.legacy)).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        };
        let pair = |key: &str, value: &str, legacy| (key.to_owned(), value.to_owned(), legacy);
        assert_eq!(pairs("ENV a=b c=\"d e\" f=g\\ h"), [pair("a", "b", false), pair("c", "\"d e\"", false), pair("f", "g\\ h", false)]);
        assert_eq!(pairs("ENV a  b c = d "), [pair("a", "b c = d", true)]);
        assert_eq!(pairs("label a= \"b c\"=d=e"), [pair("a", "", false), pair("\"b c\"", "d=e", false)]);
    }

    #[test]
    fn args_have_names_and_perhaps_defaults() {
        let InstructionKind::Arg(args) = kind("ARG a b=1 c=") else { panic!("ARG") };
        let found: Vec<_> = args.iter().map(|arg| (arg.name.text.as_str(), arg.default.as_ref().map(|word| word.text.as_str()))).collect();
        assert_eq!(found, [("a", None), ("b", Some("1")), ("c", Some(""))]);
    }

    #[test]
    fn command_lines_are_json_or_for_the_shell() {
        let shell = |body| match kind(body) {
            InstructionKind::Cmd(CommandLine::Shell(line)) | InstructionKind::Entrypoint(CommandLine::Shell(line)) => line.text,
            other => panic!("{other:?}"),
        };
        assert_eq!(shell("CMD ['a', 'b']"), "['a', 'b']");
        assert_eq!(shell("CMD [\"a\"] # c"), "[\"a\"] # c");
        assert_eq!(shell("ENTRYPOINT echo  $X \\\n  y"), "echo  $X   y");
        assert_eq!(shell("CMD"), "");
        let InstructionKind::Entrypoint(CommandLine::Exec(words)) = kind("ENTRYPOINT []") else { panic!("exec") };
        assert!(words.is_empty());
    }

    #[test]
    fn copy_and_add_read_their_flags() {
        let InstructionKind::Copy(copy) = kind("COPY --link --parents=FALSE --exclude=*.a --exclude=b --chmod=u+x [\"a b\", \"/c\"]")
        else {
            panic!("COPY")
        };
        assert_eq!((copy.transfer.link, copy.parents, texts(&copy.transfer.exclude)), (true, false, vec!["*.a", "b"]));
        assert_eq!((texts(&copy.transfer.sources), copy.transfer.destination.text.as_str()), (vec!["a b"], "/c"));
        let InstructionKind::Add(add) = kind("ADD --checksum=sha256:x --keep-git-dir --unpack=false u /v") else { panic!("ADD") };
        assert_eq!((add.checksum.unwrap().text.as_str(), add.keep_git_dir, add.unpack), ("sha256:x", Some(true), Some(false)));
    }

    #[test]
    fn copy_takes_heredocs_as_sources() {
        let InstructionKind::Copy(copy) = kind("COPY <<X <<-'Y' z /dest\n$a\nX\n\t\tb\n\tY\nUSER u") else { panic!("COPY") };
        let found: Vec<_> = copy.transfer.heredocs.iter().map(|doc| (doc.name.as_str(), doc.body(), doc.expand)).collect();
        assert_eq!(found, [("X", "$a\n".to_owned(), true), ("Y", "b\n".to_owned(), false)]);
        assert_eq!(texts(&copy.transfer.sources), ["z"]);
    }

    #[test]
    fn run_gives_the_script_that_buildkit_runs() {
        let cases = [
            ("RUN echo  a", Script::Shell("echo  a".into())),
            ("RUN [\"a\", \"b\"]", Script::Exec(vec!["a".into(), "b".into()])),
            ("RUN <<EOF\n# c\n\necho \\\nEOF", Script::Shell("# c\n\necho \\\n".into())),
            ("RUN <<-EOF\n\ta\n\tEOF", Script::Shell("a\n".into())),
            ("RUN <<E\n#!/bin/x\ny\nE", Script::File { name: "E".into(), content: "#!/bin/x\ny\n".into() }),
            ("RUN <<A python3 && cat <<B\na\nA\nb\nB", Script::Shell("<<A python3 && cat <<B\na\nA\nb\nB".into())),
            ("RUN <<E\r\na\r\nE\r\n", Script::Shell("a\r\n".into())),
            ("RUN --mount=target=/x <<E\na\nE", Script::Shell("a\n".into())),
        ];
        for (body, expected) in cases {
            let InstructionKind::Run(run) = kind(body) else { panic!("{body}") };
            assert_eq!(run.script(), expected, "{body}");
        }
    }

    #[test]
    fn run_mounts_stay_unexpanded() {
        let InstructionKind::Run(run) =
            kind("RUN --mount=type=cache,target=$D --mount='type=tmpfs,target=/t' --network=none --security=insecure --device=x y")
        else {
            panic!("RUN")
        };
        assert_eq!(texts(&run.mounts), ["type=cache,target=$D", "type=tmpfs,target=/t"]);
        let env = |_: &str| Some("/d".to_owned());
        let mount = Mount::parse(&run.mounts[0].text, &mut |value| Expander::default().word(value, &env).map(|found| found.text));
        assert_eq!(mount.unwrap().target.as_deref(), Some("/d"));
        assert_eq!((format!("{:?} {:?}", run.network, run.security), texts(&run.devices)), ("None Insecure".into(), vec!["x"]));
    }

    #[test]
    fn healthchecks_become_the_image_configs() {
        let check = |body| match kind(body) {
            InstructionKind::Healthcheck(check) => (check.test.join("|"), check.interval, check.retries),
            other => panic!("{other:?}"),
        };
        assert_eq!(check("HEALTHCHECK --interval=5m --retries=3 CMD a  b"), ("CMD-SHELL|a  b".into(), 300_000_000_000, 3));
        assert_eq!(check("healthcheck cmd [\"a\", \"b\"]"), ("CMD|a|b".into(), 0, 0));
        assert_eq!(check("HEALTHCHECK none"), ("NONE".into(), 0, 0));
    }

    #[test]
    fn onbuild_keeps_the_text_and_the_instruction() {
        let InstructionKind::Onbuild(onbuild) = kind("OnBuild  RUN <<E\na\nE\n") else { panic!("ONBUILD") };
        assert_eq!(onbuild.trigger, "RUN <<E\na\nE");
        let fired = parse_trigger(&onbuild.trigger).unwrap();
        let InstructionKind::Run(run) = fired.kind else { panic!("RUN") };
        assert_eq!(run.script(), Script::Shell("a\n".into()));
        assert_eq!(onbuild.instruction.unwrap().kind.name(), "RUN");
        // BuildKit minds only when the trigger fires.
        let InstructionKind::Onbuild(broken) = kind("ONBUILD COPY x") else { panic!("ONBUILD") };
        assert!(broken.instruction.is_err());
        for text in ["", "RUN a\nRUN b", "FROM x", "COPY a"] {
            assert!(parse_trigger(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_rest_take_words_or_text() {
        let InstructionKind::Expose(ports) = kind("EXPOSE 90 80/udp  $P") else { panic!("EXPOSE") };
        assert_eq!(texts(&ports), ["$P", "80/udp", "90"]);
        let InstructionKind::Volume(volumes) = kind("VOLUME [\" /a \", \"b c\"]") else { panic!("VOLUME") };
        assert_eq!(texts(&volumes), ["/a", "b c"]);
        let InstructionKind::Workdir(path) = kind("WORKDIR  /a b ") else { panic!("WORKDIR") };
        assert_eq!(path.text, "/a b");
        let InstructionKind::Shell(shell) = kind("SHELL [\"/bin/bash\", \"-c\"]") else { panic!("SHELL") };
        assert_eq!(texts(&shell), ["/bin/bash", "-c"]);
        assert_eq!(
            kinds("USER u\nSTOPSIGNAL 9\nMAINTAINER a b <c>").iter().map(InstructionKind::name).collect::<Vec<_>>(),
            ["USER", "STOPSIGNAL", "MAINTAINER"]
        );
    }

    #[test]
    fn the_escape_directive_holds_for_continuations_and_words() {
        let file = parse(b"# escape=`\nFROM a\nENV a=b` c d=\\\nRUN x `\n y\n").unwrap();
        let [env, run] = &file.stages[0].instructions[..] else { panic!("two instructions") };
        let InstructionKind::Env(pairs) = &env.kind else { panic!("ENV") };
        assert_eq!((pairs[0].value.text.as_str(), pairs[1].value.text.as_str()), ("b` c", "\\"));
        assert_eq!(run.statement.text, "RUN x  y");
    }

    #[test]
    fn faults_are_named_as_buildkit_names_them() {
        let cases = [
            ("", "the dockerfile cannot be empty"),
            ("# only\n\n", "file with no instructions"),
            ("ARG a", "dockerfile contains no stages to build"),
            ("RUN a\nFROM b", "no build stage in current context: RUN before the first FROM"),
            ("FROM a\nFNTRYPOINT b", "unknown instruction: FNTRYPOINT"),
            ("FROM a b", "FROM requires either one or three arguments"),
            ("FROM", "FROM requires either one or three arguments"),
            ("FROM a AS 1b", "invalid name for build stage: \"1b\", name can't start with a number or contain symbols"),
            ("FROM --plat=x a", "unknown flag: --plat"),
            ("FROM a\nCOPY b", "COPY requires at least two arguments, but only one was provided: destination could not be determined"),
            ("FROM a\nCOPY --link --link a b", "duplicate flag specified: --link"),
            ("FROM a\nCOPY --link=maybe a b", "expecting boolean value for flag --link, not: maybe"),
            ("FROM a\nCOPY --link= a b", "missing a value on flag: --link"),
            ("FROM a\nCOPY --chown a b", "missing a value on flag: --chown"),
            ("FROM a\nCOPY --from=$x a b", "variable expansion is not supported for --from"),
            ("FROM a\nCOPY a <<E\nE", "COPY cannot accept a heredoc as a destination"),
            ("FROM a\nRUN <<E\nx", "unterminated heredoc \"E\""),
            ("FROM a\nRUN --mount=from=$x,target=/a y", "'from' doesn't support variable expansion, define alias stage instead"),
            ("FROM a\nRUN --network=x y", "invalid network mode \"x\""),
            ("FROM a\nRUN --security=x y", "security \"x\" is not valid"),
            ("FROM a\nCMD [1]", "when using JSON array syntax, arrays must be comprised of strings only"),
            ("FROM a\nSHELL sh -c", "SHELL requires the arguments to be in JSON form"),
            ("FROM a\nSHELL []", "SHELL requires at least one argument"),
            ("FROM a\nENV", "ENV requires at least one argument"),
            ("FROM a\nENV a", "ENV must have two arguments"),
            ("FROM a\nENV a=b c", "can't find = in \"c\": must be of the form name=value"),
            ("FROM a\nLABEL =b", "LABEL names can not be blank"),
            ("FROM a\nARG =b", "ARG names can not be blank"),
            ("FROM a\nUSER", "USER requires exactly one argument"),
            ("FROM a\nVOLUME [\" \"]", "VOLUME specified can not be an empty string"),
            ("FROM a\nONBUILD", "ONBUILD requires at least one argument"),
            ("FROM a\nONBUILD ONBUILD RUN b", "chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
            ("FROM a\nONBUILD from b", "FROM isn't allowed as an ONBUILD trigger"),
            ("FROM a\nONBUILD ENV b", "ENV must have two arguments"),
            ("FROM a\nHEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
            ("FROM a\nHEALTHCHECK CMD", "missing command after HEALTHCHECK CMD"),
            ("FROM a\nHEALTHCHECK x y", "unknown type \"X\" in HEALTHCHECK (try CMD)"),
            ("FROM a\nHEALTHCHECK --interval=1us CMD y", "interval \"interval\" cannot be less than 1ms"),
            ("FROM a\nHEALTHCHECK --timeout=5 CMD y", "--timeout: missing unit in duration \"5\""),
            ("FROM a\nHEALTHCHECK --retries=-1 CMD y", "--retries cannot be negative (-1)"),
            ("# escape=x\nFROM a", "invalid escape token 'x' does not match ` or \\"),
            ("FROM a\n\\", "unknown instruction: "),
        ];
        for (text, message) in cases {
            assert_eq!(messages(text), [message], "{text}");
        }
    }

    #[test]
    fn every_fault_of_a_file_is_reported_at_its_place() {
        let text = "FROM a AS 1\nRUM x\nCOPY --chmd=1 a b\nCMD [1]\n";
        let errors = parse(text.as_bytes()).unwrap_err();
        let found: Vec<_> = errors.iter().map(|error| (&text[error.span.range()], error.help())).collect();
        let help = |text: &str| Some(text.to_owned());
        assert_eq!(found, [("1", None), ("RUM", help("did you mean RUN?")), ("--chmd=1", help("did you mean --chmod?")), ("[1]", None)]);
    }

    #[test]
    fn bytes_that_are_no_utf8_matter_outside_of_comments_only() {
        assert!(parse(b"# \xff\nFROM a\nRUN b \\\n# \xfe\n c\n").is_ok());
        for text in [&b"FROM a\nRUN \xff\n"[..], b"FROM a\nRUN <<E\n\xff\nE\n", b"FROM a\nRUN b \\\n \xff\n"] {
            let errors = parse(text).unwrap_err();
            assert_eq!(errors.iter().map(|error| &text[error.span.range()]).collect::<Vec<_>>(), [b"\xff"], "{text:?}");
        }
    }

    #[test]
    fn hostile_files_end_in_errors_and_soon() {
        assert_eq!(messages(vec![b'#'; MAX_FILE + 1]).len(), 1);
        assert_eq!(messages("FROM a\nRUN ".to_owned() + &"x".repeat(70_000)), ["dockerfile line greater than max allowed size of 65535"]);
        let continued = "FROM a\nRUN x".to_owned() + &" \\\n y".repeat(200_000);
        assert!(parse(continued.as_bytes()).is_ok());
        let onbuilds = "FROM a\n".to_owned() + &"ONBUILD \\\n".repeat(100_000);
        assert_eq!(messages(onbuilds).len(), 1);
        let heredocs = "FROM a\nRUN".to_owned() + &" <<E\\\n".repeat(50_000) + "\n";
        assert_eq!(messages(heredocs).len(), 50_000);
    }
}
