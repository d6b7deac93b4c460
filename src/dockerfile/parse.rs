//! From text to stages.

use super::ast::{Dockerfile, Instruction, InstructionKind, MetaArg, Stage, StageNames};
use super::reader::{Item, Reader, decode};
use super::{Span, SyntaxError, SyntaxErrorKind};

/// Reads a Dockerfile. All faults that can be told apart are reported, in the order of the file.
pub fn parse(text: &[u8]) -> Result<Dockerfile, Vec<SyntaxError>> {
    let (text, not_utf8) = decode(text)?;
    let mut reader = Reader::new(&text, not_utf8);
    let mut meta_args = Vec::new();
    let mut stages: Vec<Stage> = Vec::new();
    let (mut any, mut from_seen, mut stray_seen) = (false, false, false);
    while let Some(item) = reader.next_item() {
        any = true;
        let instruction = match item {
            Item::From(stage) => {
                from_seen = true;
                stages.push(*stage);
                continue;
            }
            Item::Unreadable { in_from } => {
                from_seen |= in_from;
                continue;
            }
            Item::Instruction(instruction) => *instruction,
        };
        match (stages.last_mut(), instruction) {
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
                    reader.faults().add(kind, statement.keyword.span);
                }
                stray_seen = true;
            }
        }
    }
    let (directives, mut faults) = reader.finish();
    if faults.is_empty() && stages.is_empty() {
        let kind = match (text.is_empty(), any) {
            (true, _) => SyntaxErrorKind::EmptyFile,
            (false, false) => SyntaxErrorKind::NoInstructions,
            (false, true) => SyntaxErrorKind::NoStages,
        };
        faults.add(kind, Span::new(text.len(), text.len()));
    }
    if !faults.is_empty() {
        return Err(faults.into_sorted());
    }
    let names = StageNames::of(&stages);
    Ok(Dockerfile { directives, meta_args, stages, names })
}

/// Reads the text of an ONBUILD trigger, of a Dockerfile or of a base image. Spans are of `text`.
pub fn parse_trigger(text: &str) -> Result<Instruction, Vec<SyntaxError>> {
    let (text, not_utf8) = decode(text.as_bytes())?;
    let mut reader = Reader::new(&text, not_utf8);
    let first = reader.next_item();
    let single = first.is_some() && reader.next_item().is_none();
    let mut instruction = None;
    match first {
        Some(Item::Instruction(found)) => instruction = Some(*found),
        Some(Item::From(stage)) => {
            reader.faults().add(SyntaxErrorKind::OnbuildTrigger { instruction: "FROM".into() }, stage.statement.keyword.span);
        }
        Some(Item::Unreadable { .. }) | None => {}
    }
    let (_, mut faults) = reader.finish();
    if !single {
        faults.add(SyntaxErrorKind::TriggerNotSingle, Span::new(0, text.len()));
    }
    match instruction {
        Some(instruction) if faults.is_empty() => Ok(instruction),
        _ => Err(faults.into_sorted()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::ast::{CommandLine, Word};
    use super::super::reader::MAX_FILE;
    use super::*;

    fn messages(text: impl AsRef<[u8]>) -> Vec<String> {
        parse(text.as_ref()).err().unwrap_or_default().iter().map(ToString::to_string).collect()
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
    fn stages_are_found_by_index_and_by_name_where_only_from_minds_case() {
        let file = parse(b"FROM a AS x\nFROM b AS Y\nFROM c AS X\n").unwrap();
        assert_eq!([file.stage_by_name("x"), file.stage_by_name("y"), file.stage_by_name("z")], [Some(2), Some(1), None]);
        assert_eq!([file.stage_before("x", 2), file.stage_before("x", 0), file.stage_before("X", 2)], [Some(0), None, None]);
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
            ("FROM a\nENV a=b c", "syntax error - can't find = in \"c\". must be of the form: name=value"),
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
        let cases: &[(&str, &[(&str, &str)])] = &[
            (
                "FROM a AS 1\nRNU x\nCOPY --chmd=1 --form=b c\nCMD [1]\n",
                &[
                    ("1", "begin it with a letter, and go on with letters, digits, `-`, `_` and `.`"),
                    ("RNU", "did you mean RUN?"),
                    ("COPY", "write COPY [flags] source... destination"),
                    ("--chmd=1", "did you mean --chmod?"),
                    ("--form=b", "did you mean --from?"),
                    ("[1]", "put every element in double quotes"),
                ],
            ),
            (
                "FROM a b\nfrmo c\nENV a=1 b =2 \\\n  c\nFROM\nUSER\nLABEL x\n",
                &[
                    ("FROM", "write FROM [--platform=platform] image [AS name]"),
                    ("frmo", "did you mean from?"),
                    ("b", "put a value with spaces in quotes, as in name=\"two words\""),
                    ("=2", "write ENV name=value..."),
                    ("c", "put a value with spaces in quotes, as in name=\"two words\""),
                    ("FROM", "write FROM [--platform=platform] image [AS name]"),
                    ("USER", "write USER user[:group]"),
                    ("x", "write LABEL name=value..."),
                ],
            ),
            (
                "FROM a\nHEALTHCHECK --interval=5 --timeout=1us --retries=x --nope CMD\nRUN --network=lan --security=no --mount=from=$x b\n",
                &[
                    ("5", "write numbers with units, as in 30s, 1m30s or 500ms"),
                    ("1us", "write numbers with units, as in 30s, 1m30s or 500ms"),
                    ("x", ""),
                    ("--nope", "this instruction takes --interval, --timeout, --start-period, --start-interval, --retries"),
                    ("CMD", "write HEALTHCHECK [flags] CMD command, or HEALTHCHECK NONE"),
                    ("lan", "write default, none or host"),
                    ("no", "write sandbox or insecure"),
                    ("from=$x", "define a stage with `FROM $NAME AS alias` and mount from the alias"),
                ],
            ),
            (
                "FROM a\nWORKDIR --x /\nONBUILD COPY [1]\nVOLUME [\" \", \"\"]\nCOPY <<A <<B /d\nx\nA\n",
                &[
                    ("--x", "this instruction takes no flags"),
                    ("[1]", "put every element in double quotes"),
                    ("\" \"", ""),
                    ("\"\"", ""),
                    ("<<B", "end it with a line that holds nothing but \"B\""),
                ],
            ),
        ];
        for (text, expected) in cases {
            let errors = parse(text.as_bytes()).unwrap_err();
            let found: Vec<_> = errors.iter().map(|error| (&text[error.span.range()], error.help().unwrap_or_default())).collect();
            let found: Vec<_> = found.iter().map(|(bytes, help)| (*bytes, help.as_str())).collect();
            assert_eq!(found, *expected, "{text}");
        }
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
    fn files_of_odd_bytes_have_a_meaning_or_an_error() {
        let cases: [(&str, String, Result<usize, usize>); 12] = [
            ("CR LF", "FROM a\r\nRUN b\r\n".repeat(20_000), Ok(20_000)),
            ("lone CR", "FROM a\rRUN b\r".repeat(3_000), Err(1)),
            ("a byte order mark", "\u{feff}FROM a\n".into(), Ok(1)),
            ("a byte order mark on every line", "\u{feff}FROM a\n".repeat(3), Err(2)),
            ("NUL", format!("FROM a\nRUN {}", "\0".repeat(60_000)), Ok(1)),
            ("line separators", format!("FROM a\nRUN {}", "\u{2028}x\\\n".repeat(50_000)), Ok(1)),
            ("right to left", "FROM a\nRUN \u{202e}x\n\u{202e}RUN y".into(), Err(1)),
            ("one word across many lines", format!("FROM a\nENV a={}", "b\\\n".repeat(50_000)), Ok(1)),
            ("arguments in many lines", format!("FROM a\nENV {}", "b=c \\\n".repeat(50_000)), Ok(1)),
            ("JSON in many lines", format!("FROM a\nCMD [{}\"b\"]", "\"a\", \\\n".repeat(50_000)), Ok(1)),
            ("stages", "FROM a AS b\n".repeat(50_000), Ok(50_000)),
            ("flags", format!("FROM a\nCOPY {} a b", "--exclude=x \\\n".repeat(50_000)), Ok(1)),
        ];
        for (what, text, expected) in cases {
            let found = parse(text.as_bytes()).map(|file| file.stages.len()).map_err(|errors| errors.len());
            assert_eq!(found, expected, "{what}");
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
        assert_eq!(messages(heredocs).len(), 100);
        let faulty = "FROM a\n".to_owned() + &"RNU --x a\n".repeat(100_000);
        assert_eq!(messages(faulty).len(), 100);
    }
}
