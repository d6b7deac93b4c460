//! Random Dockerfiles, as syntax trees that can be written down, and random ignore patterns.

use brik::dockerfile::ast::*;
use brik::dockerfile::{Dockerfile, Instruction, InstructionKind, Span, Word, parse_trigger};
use brik::oci::Healthcheck;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use crate::properties::print::Layout;

type Kind = BoxedStrategy<InstructionKind>;

pub fn layout() -> impl Strategy<Value = Layout> {
    (any::<bool>(), any::<bool>(), any::<u64>()).prop_map(|(crlf, lower_case, breaks)| Layout { crlf, lower_case, breaks })
}

pub fn file() -> impl Strategy<Value = Dockerfile> {
    let directive = |values: &'static [&'static str]| of(select(values).prop_map(word));
    let directives = (directive(&["docker/dockerfile:1", "x y=z"]), directive(&["`", "\\"]), directive(&["skip=all;error=true"]));
    directives.prop_flat_map(|(syntax, escape, check)| {
        let directives = Directives { syntax, escape, check };
        let meta = (vec(arg(directives.escape_char()), 1..3), statement("ARG")).prop_map(|(args, statement)| MetaArg { args, statement });
        (vec(meta, 0..3), vec(stage(directives.escape_char()), 1..4)).prop_map(move |(meta_args, stages)| Dockerfile {
            directives: directives.clone(),
            meta_args,
            names: StageNames::of(&stages),
            stages,
        })
    })
}

fn stage(escape: char) -> impl Strategy<Value = Stage> {
    let from = prop_oneof![plain(), Just(word("$BASE")), Just(word("a:${V:-1}"))];
    let name = of("[a-zA-Z][a-z0-9_.-]{0,6}".prop_map(word));
    let platform = of(select(&["linux/amd64", "$BUILDPLATFORM"][..]).prop_map(word));
    (from, name, platform, statement("FROM"), vec(instruction(escape), 0..6)).prop_map(|(from, name, platform, statement, instructions)| {
        let as_keyword = name.as_ref().map(|_| word("AS"));
        Stage { from, name, as_keyword, platform, instructions, statement, span: Span::default() }
    })
}

fn instruction(escape: char) -> impl Strategy<Value = Instruction> {
    (kind(escape), comments()).prop_map(|(kind, comments)| {
        let statement = Statement { comments, ..blank(kind.name()) };
        Instruction { kind, statement }
    })
}

fn kind(escape: char) -> Kind {
    use InstructionKind as K;
    prop_oneof![
        (transfer(), of(plain()), of(any::<bool>()), of(any::<bool>()))
            .prop_map(|(transfer, checksum, keep_git_dir, unpack)| K::Add(AddFiles { transfer, checksum, keep_git_dir, unpack })),
        (transfer(), of(plain()), any::<bool>()).prop_map(|(transfer, from, parents)| K::Copy(CopyFiles { transfer, from, parents })),
        vec(arg(escape), 1..4).prop_map(K::Arg),
        command_line().prop_map(K::Cmd),
        command_line().prop_map(K::Entrypoint),
        pairs(escape).prop_map(K::Env),
        pairs(escape).prop_map(K::Label),
        vec(plain(), 1..4).prop_map(|mut ports| {
            ports.sort_by(|left, right| left.text.cmp(&right.text));
            K::Expose(ports)
        }),
        healthcheck().prop_map(K::Healthcheck),
        line().prop_map(K::Maintainer),
        onbuild().prop_map(K::Onbuild),
        run().prop_map(K::Run),
        vec(any_text(), 1..4).prop_map(K::Shell),
        line().prop_map(K::Stopsignal),
        line().prop_map(K::User),
        vec(any_text().prop_map(|text| word(text.text.trim())).prop_filter("not empty", |text| !text.text.is_empty()), 1..4)
            .prop_map(K::Volume),
        line().prop_map(K::Workdir),
    ]
    .boxed()
}

fn transfer() -> impl Strategy<Value = Transfer> {
    let flag = || of("[a-z0-9:, \"'\\\\$*=ü+-]{1,10}".prop_map(word));
    let odd = any_text().prop_filter("announces nothing", |word| !word.text.contains("<<"));
    let paths = prop_oneof![
        (vec(prop_oneof![plain(), odd], 1..4), Just(Vec::new())),
        (vec(plain(), 0..3), vec((any::<bool>(), any::<bool>(), body()), 1..3)),
    ];
    (paths, plain(), flag(), flag(), vec("[a-z*!/ ]{0,6}".prop_map(word), 0..3), any::<bool>()).prop_map(
        |((sources, bodies), destination, chown, chmod, exclude, link)| {
            let heredocs = bodies.into_iter().zip(NAMES).map(|((expand, chomp, content), name)| heredoc(name, expand, chomp, content));
            Transfer { sources, heredocs: heredocs.collect(), destination, chown, chmod, exclude, link }
        },
    )
}

const NAMES: [&str; 3] = ["EOF", "E_2", "file.txt"];

fn heredoc(name: &str, expand: bool, chomp: bool, content: String) -> Heredoc {
    Heredoc { name: name.to_owned(), expand, chomp, content, span: Span::default() }
}

/// Lines that are no terminator.
fn body() -> impl Strategy<Value = String> {
    vec("\t{0,2}[a-z# \\\\`$'\"<ü\r]{0,12}", 0..4).prop_map(|lines| lines.into_iter().map(|line| line + "\n").collect())
}

fn run() -> impl Strategy<Value = RunCommand> {
    let mounts = select(&["type=cache,target=/a b", "\"from=x,y\",target=$D", "type=secret,id='a'", "", "nonsense"][..]).prop_map(word);
    let script = vec((any::<bool>(), any::<bool>(), body()), 1..4).prop_map(|bodies| {
        let heredocs: Vec<Heredoc> =
            bodies.into_iter().zip(NAMES).map(|((expand, chomp, content), name)| heredoc(name, expand, chomp, content)).collect();
        let announce = |doc: &Heredoc| {
            let quote = if doc.expand { "" } else { "'" };
            format!("<<{}{quote}{}{quote}", if doc.chomp { "-" } else { "" }, doc.name)
        };
        (CommandLine::Shell(word(heredocs.iter().map(announce).collect::<Vec<_>>().join(" cat "))), heredocs)
    });
    let command = prop_oneof![command_line().prop_map(|line| (line, Vec::new())), script];
    let network = select(&[Network::Default, Network::None, Network::Host][..]);
    let security = select(&[Security::Sandbox, Security::Insecure][..]);
    (command, vec(mounts, 0..3), network, security, vec(plain(), 0..2)).prop_map(
        |((command, heredocs), mounts, network, security, devices)| RunCommand { command, heredocs, mounts, network, security, devices },
    )
}

fn command_line() -> impl Strategy<Value = CommandLine> {
    prop_oneof![line().prop_map(CommandLine::Shell), Just(CommandLine::Shell(word(""))), vec(any_text(), 0..4).prop_map(CommandLine::Exec)]
}

fn healthcheck() -> impl Strategy<Value = Healthcheck> {
    let interval = || prop_oneof![Just(0), 1_000_000..i64::MAX];
    let texts = |words: Vec<Word>| words.into_iter().map(|word| word.text);
    let test = prop_oneof![
        line().prop_map(|line| vec!["CMD-SHELL".to_owned(), line.text]),
        vec(any_text(), 1..3).prop_map(move |words| std::iter::once("CMD".to_owned()).chain(texts(words)).collect()),
    ];
    let checked = (test, interval(), interval(), interval(), interval(), 0..=i64::from(i32::MAX)).prop_map(
        |(test, interval, timeout, start_period, start_interval, retries)| Healthcheck {
            test,
            interval,
            timeout,
            start_period,
            start_interval,
            retries,
        },
    );
    prop_oneof![checked, Just(Healthcheck { test: vec!["NONE".to_owned()], ..Healthcheck::default() })]
}

fn onbuild() -> impl Strategy<Value = Onbuild> {
    const TRIGGERS: [&str; 6] =
        ["RUN make  all", "COPY --from=a b c", "RUN <<E cat\n# x\nE", "COPY one", "add <<A <<B /d\nx\nA\n\nB", "NOTHING x"];
    select(&TRIGGERS[..]).prop_map(|trigger| Onbuild {
        trigger: trigger.to_owned(),
        instruction: parse_trigger(trigger).map(Box::new).map_err(|mut errors| errors.swap_remove(0)),
    })
}

fn arg(escape: char) -> impl Strategy<Value = Arg> {
    (plain(), of(value(escape))).prop_map(|(name, default)| Arg { name, default })
}

fn pairs(escape: char) -> impl Strategy<Value = Vec<KeyValue>> {
    let pair = (plain(), value(escape)).prop_map(|(key, value)| KeyValue { key, value, legacy: false });
    let legacy = (plain(), line()).prop_map(|(key, value)| vec![KeyValue { key, value, legacy: true }]);
    prop_oneof![vec(pair, 1..4), legacy]
}

/// One word with quotes and escapes.
fn value(escape: char) -> impl Strategy<Value = Word> {
    let piece = prop_oneof![
        "[a-z0-9/.=:$ü]{1,5}",
        "\"[a-z $']{0,5}\"",
        "'[a-z $\"]{0,5}'",
        select(&[" ", "\"", "'", "$", "x"][..]).prop_map(move |escaped| format!("{escape}{escaped}")),
    ];
    // White space at a line's end is cut off, escaped or not.
    vec(piece, 0..4).prop_map(|pieces| pieces.concat()).prop_filter("ends in a space", |text| !text.ends_with(' ')).prop_map(word)
}

fn plain() -> impl Strategy<Value = Word> {
    "[a-zA-Z0-9_./:@+ü-]{1,10}".prop_map(word)
}

/// The rest of a line, not in JSON form and without here-documents.
fn line() -> impl Strategy<Value = Word> {
    "[a-z$\"'&|;<>(){}\\\\`#=ü😀\u{2028} \t-]{0,24}[a-z\\\\`$']"
        .prop_filter("announces nothing", |text| !text.contains("<<"))
        .prop_map(|text| word(text.trim()))
}

/// Anything that JSON can say.
fn any_text() -> impl Strategy<Value = Word> {
    prop_oneof!["[a-z/]{1,8}", "\\PC{0,8}", any::<String>()].prop_map(word)
}

fn word(text: impl AsRef<str>) -> Word {
    Word { text: text.as_ref().to_owned(), span: Span::default() }
}

fn comments() -> impl Strategy<Value = Vec<Comment>> {
    let text = "[a-z=#!]{1,4}[a-z= ü]{0,8}";
    vec(text.prop_map(|text: String| Comment { text: text.trim().to_owned(), span: Span::default() }), 0..3)
}

fn statement(name: &'static str) -> impl Strategy<Value = Statement> {
    comments().prop_map(move |comments| Statement { comments, ..blank(name) })
}

fn blank(name: &str) -> Statement {
    let (text, empty_continuations) = (String::new(), Vec::new());
    Statement {
        keyword: word(name),
        text,
        span: Span::default(),
        lines: (0, 0),
        last_line: Span::default(),
        comments: Vec::new(),
        empty_continuations,
    }
}

/// Something that means something to the parser, or could.
pub fn piece() -> impl Strategy<Value = String> {
    let known = "FROM a\n|FROM |RUN |COPY |ADD |ENV |LABEL |ARG |CMD |ONBUILD |HEALTHCHECK |EXPOSE 1-9|VOLUME |SHELL |USER |--from=|--mount=type=\
                 |--chmod|--|<<|<<-|EOF|\nEOF\n|\\|\\\n|`|\n|\r\n|\r| |\t|\u{b}|[\"|\", \"|\"]|[|]|{|}|${|:-|:+|##|//|$A|=|,|'|\"|#|# escape=`\n\
                 |# check=|\u{feff}|\u{2028}|\u{a0}|\0|ü|😀";
    prop_oneof![8 => select(known.split('|').map(str::to_owned).collect::<Vec<_>>()), 1 => any::<char>().prop_map(String::from)]
}

pub fn pattern() -> impl Strategy<Value = String> {
    let atom = select(&["a", "b", "ab", "*", "**", "?", "[a-b]", "[^a]", "[]", "]", "\\*", "\\a", ".a", "ü", "{", "^"][..]);
    let component = vec(atom, 1..4).prop_map(|atoms| atoms.concat());
    (any::<bool>(), vec(component, 1..4)).prop_map(|(exception, parts)| format!("{}{}", if exception { "!" } else { "" }, parts.join("/")))
}

pub fn path() -> impl Strategy<Value = String> {
    let component = vec(select(&["a", "b", "ab", "*", ".a", "ü", "]", "{", "^"][..]), 1..3).prop_map(|atoms| atoms.concat());
    vec(component, 1..5).prop_map(|components| components.join("/"))
}
