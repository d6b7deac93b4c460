//! What can be wrong with a Dockerfile. Messages follow BuildKit's wording, in lower case.

use super::Span;
use super::duration::DurationError;
use super::heredoc::HeredocError;
use super::mount::MountError;
use super::request::NAMES;
use super::usage::usage;

/// One fault of a Dockerfile and the bytes that it is about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct SyntaxError {
    pub kind: SyntaxErrorKind,
    pub span: Span,
}

impl SyntaxError {
    pub(super) fn new(kind: SyntaxErrorKind, span: Span) -> Self {
        Self { kind, span }
    }

    /// What was expected, or what to do about it, where that can be said.
    pub fn help(&self) -> Option<String> {
        use SyntaxErrorKind as Kind;
        let text = match &self.kind {
            Kind::UnknownInstruction { suggestion: Some(name), .. } | Kind::UnknownFlag { suggestion: Some(name), .. } => {
                format!("did you mean {name}?")
            }
            Kind::UnknownInstruction { .. } => format!("a line begins with one of {}", NAMES.join(", ")),
            Kind::UnknownFlag { known, .. } if known.is_empty() => "this instruction takes no flags".into(),
            Kind::UnknownFlag { known, .. } => format!("this instruction takes --{}", known.join(", --")),
            Kind::FlagWithoutValue { name } => format!("write --{name}=value"),
            Kind::FlagNotBoolean { .. } => "write true or false".into(),
            Kind::InstructionBeforeFrom { .. } => "only ARG may stand before the first FROM".into(),
            Kind::EmptyFile | Kind::NoInstructions | Kind::NoStages => format!("begin a stage with {}", usage("FROM")),
            Kind::NotUtf8 => "save the file as UTF-8".into(),
            Kind::UnterminatedHeredoc { name } => format!("end it with a line that holds nothing but {name:?}"),
            Kind::FromArguments => format!("write {}", usage("FROM")),
            Kind::InvalidStageName { .. } => "begin it with a letter, and go on with letters, digits, `-`, `_` and `.`".into(),
            Kind::FromVariable => "define a stage with `FROM $NAME AS alias` and copy from the alias".into(),
            Kind::AtLeastOneArgument { instruction }
            | Kind::ExactlyOneArgument { instruction }
            | Kind::NoDestination { instruction }
            | Kind::TwoArguments { instruction }
            | Kind::BlankName { instruction }
            | Kind::NotJson { instruction } => format!("write {}", usage(instruction)),
            Kind::NoEqualsSign { .. } => "put a value with spaces in quotes, as in name=\"two words\"".into(),
            Kind::NotStringArray => "put every element in double quotes".into(),
            Kind::HealthcheckNoneArguments | Kind::HealthcheckWithoutCommand | Kind::HealthcheckType { .. } => {
                format!("write {}", usage("HEALTHCHECK"))
            }
            Kind::Duration { .. } | Kind::IntervalTooShort { .. } => "write numbers with units, as in 30s, 1m30s or 500ms".into(),
            Kind::InvalidNetwork { .. } => "write default, none or host".into(),
            Kind::InvalidSecurity { .. } => "write sandbox or insecure".into(),
            Kind::Mount(error) => return error.help(),
            _ => return None,
        };
        Some(text)
    }
}

/// So many faults are reported of one file: nobody reads more, and a file of another kind would have one a line.
const MOST_FAULTS: usize = 100;

/// The faults found so far. One fault does not keep the rest of an instruction from being looked at.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<SyntaxError>);

impl Faults {
    pub fn add(&mut self, kind: SyntaxErrorKind, span: Span) {
        self.extend([SyntaxError::new(kind, span)]);
    }

    pub fn extend(&mut self, errors: impl IntoIterator<Item = SyntaxError>) {
        let room = MOST_FAULTS.saturating_sub(self.0.len());
        self.0.extend(errors.into_iter().take(room));
    }

    /// The value, or nothing and a fault more.
    pub fn keep<T>(&mut self, result: Result<T, SyntaxError>) -> Option<T> {
        result.map_err(|error| self.extend([error])).ok()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn are_too_many(&self) -> bool {
        self.0.len() >= MOST_FAULTS
    }

    /// In the order of the file.
    pub fn into_sorted(mut self) -> Vec<SyntaxError> {
        self.0.sort_by_key(|error| error.span);
        self.0
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxErrorKind {
    #[error("the dockerfile is {size} bytes long, the limit is {limit}")]
    FileTooLarge { size: usize, limit: usize },
    #[error("dockerfile line greater than max allowed size of {limit}")]
    LineTooLong { limit: usize },
    #[error("text is not valid UTF-8")]
    NotUtf8,
    #[error("the dockerfile cannot be empty")]
    EmptyFile,
    #[error("file with no instructions")]
    NoInstructions,
    #[error("dockerfile contains no stages to build")]
    NoStages,
    #[error("no build stage in current context: {instruction} before the first FROM")]
    InstructionBeforeFrom { instruction: &'static str },
    #[error("only one {name} parser directive can be used")]
    DuplicateDirective { name: &'static str },
    #[error("invalid escape token '{token}' does not match ` or \\")]
    InvalidEscape { token: String },
    #[error("unknown instruction: {name}")]
    UnknownInstruction { name: String, suggestion: Option<String> },
    #[error("unknown flag: --{name}")]
    UnknownFlag { name: String, suggestion: Option<String>, known: Vec<&'static str> },
    #[error("duplicate flag specified: --{name}")]
    DuplicateFlag { name: String },
    #[error("missing a value on flag: --{name}")]
    FlagWithoutValue { name: String },
    #[error("expecting boolean value for flag --{name}, not: {value}")]
    FlagNotBoolean { name: String, value: String },
    #[error("{instruction} requires at least one argument")]
    AtLeastOneArgument { instruction: &'static str },
    #[error("{instruction} requires exactly one argument")]
    ExactlyOneArgument { instruction: &'static str },
    #[error("{instruction} requires at least two arguments, but only one was provided: destination could not be determined")]
    NoDestination { instruction: &'static str },
    #[error("{instruction} must have two arguments")]
    TwoArguments { instruction: &'static str },
    #[error("syntax error - can't find = in {word:?}. must be of the form: name=value")]
    NoEqualsSign { word: String },
    #[error("{instruction} names can not be blank")]
    BlankName { instruction: &'static str },
    #[error("when using JSON array syntax, arrays must be comprised of strings only")]
    NotStringArray,
    #[error("{instruction} requires the arguments to be in JSON form")]
    NotJson { instruction: &'static str },
    #[error("FROM requires either one or three arguments")]
    FromArguments,
    #[error("invalid name for build stage: {name:?}, name can't start with a number or contain symbols")]
    InvalidStageName { name: String },
    #[error("variable expansion is not supported for --from")]
    FromVariable,
    #[error("{instruction} cannot accept a heredoc as a destination")]
    HeredocDestination { instruction: &'static str },
    #[error("unterminated heredoc {name:?}")]
    UnterminatedHeredoc { name: String },
    #[error(transparent)]
    Heredoc(#[from] HeredocError),
    #[error("chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")]
    OnbuildChain,
    #[error("{instruction} isn't allowed as an ONBUILD trigger")]
    OnbuildTrigger { instruction: String },
    #[error("an onbuild trigger should be a single instruction")]
    TriggerNotSingle,
    #[error("HEALTHCHECK NONE takes no arguments")]
    HealthcheckNoneArguments,
    #[error("missing command after HEALTHCHECK CMD")]
    HealthcheckWithoutCommand,
    #[error("unknown type {name:?} in HEALTHCHECK (try CMD)")]
    HealthcheckType { name: String },
    #[error("--{flag}: {error}")]
    Duration { flag: &'static str, error: DurationError },
    #[error("interval {flag:?} cannot be less than 1ms")]
    IntervalTooShort { flag: &'static str },
    #[error("--retries: {value:?} is not a number")]
    RetriesNotNumber { value: String },
    #[error("--retries cannot be negative ({value})")]
    RetriesNegative { value: i32 },
    #[error("VOLUME specified can not be an empty string")]
    EmptyVolume,
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error("invalid network mode {value:?}")]
    InvalidNetwork { value: String },
    #[error("security {value:?} is not valid")]
    InvalidSecurity { value: String },
}
