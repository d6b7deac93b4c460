//! From an instruction's parts to its meaning: who reads which instruction.

use super::SyntaxErrorKind;
use super::ast::{InstructionKind, Statement};
use super::error::Faults;
use super::request::Request;
use super::{copy, healthcheck, onbuild, run, settings};

/// What a name other than FROM stands for; nothing if it cannot be read for its faults.
pub(super) fn parse_kind(request: &Request<'_>, statement: &Statement, faults: &mut Faults) -> Option<InstructionKind> {
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
        "ONBUILD" => return onbuild::parse_onbuild(request, statement, faults),
        "RUN" => run::parse_run,
        "SHELL" => settings::parse_shell,
        "STOPSIGNAL" => settings::parse_stopsignal,
        "USER" => settings::parse_user,
        "VOLUME" => settings::parse_volume,
        "WORKDIR" => settings::parse_workdir,
        name => {
            faults.add(SyntaxErrorKind::UnknownInstruction { name: name.to_owned(), suggestion: None }, request.span);
            return None;
        }
    };
    parse(request, faults)
}

#[cfg(test)]
mod tests {
    use super::super::ast::{CommandLine, Script, Word};
    use super::super::{Expander, Mount, parse, parse_trigger};
    use super::*;

    fn kinds(body: &str) -> Vec<InstructionKind> {
        let text = format!("FROM a\n{body}");
        let mut file = parse(text.as_bytes()).unwrap_or_else(|errors| panic!("{body}: {errors:?}"));
        file.stages.remove(0).instructions.into_iter().map(|instruction| instruction.kind).collect()
    }

    fn kind(body: &str) -> InstructionKind {
        kinds(body).remove(0)
    }

    fn texts(words: &[Word]) -> Vec<&str> {
        words.iter().map(|word| word.text.as_str()).collect()
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
        let InstructionKind::Onbuild(spaced) = kind("ONBUILD RUN  a \\\n b  ") else { panic!("ONBUILD") };
        assert_eq!(spaced.trigger, "RUN  a  b  ");
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
}
