//! How a command fails: what is said on stderr, and the exit code.

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use miette::{GraphicalReportHandler, GraphicalTheme};

use super::annotations::annotations;
use super::args::{Global, Progress};
use super::excerpt::Excerpt;
use super::lint::one_line;
use super::places::{Places, place};
use super::print;
use crate::config::{Finding, Severity};
use crate::report::{Event, Forge, Mode, Redactor, Reporter, color_on_stderr};
use crate::source::mask_credentials;

/// 1 build or push failed, 2 usage or configuration, 3 findings, 130 interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    Failed = 1,
    Usage = 2,
    Findings = 3,
    Interrupted = 130,
}

/// What went wrong, and the exit code that goes with it. Told by a [`Voice`], redacted.
#[derive(Debug)]
pub struct Failure {
    code: Code,
    what: What,
}

enum What {
    /// Without a place in a file.
    Message(String),
    Findings(Vec<Finding>, Option<Redactor>),
}

/// A redactor is not shown.
impl fmt::Debug for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(message) => f.write_str(message),
            Self::Findings(findings, _) => findings.fmt(f),
        }
    }
}

/// How the failures of a command are told on stderr.
#[derive(Debug, Clone)]
pub struct Voice {
    /// As events of `--progress json`.
    json: bool,
    /// The directory that brik runs in, and the brik.toml that is named: what paths of findings are relative to.
    cwd: PathBuf,
    config: Option<PathBuf>,
}

impl Voice {
    /// Of a command that tells no progress.
    pub fn of(global: &Global) -> Self {
        Self { json: false, cwd: global.cwd().unwrap_or_default(), config: global.config.clone() }
    }

    /// Of a build.
    pub fn of_build(global: &Global) -> Self {
        Self { json: global.progress == Progress::Json, ..Self::of(global) }
    }

    /// Whether every line of stderr is an event.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// For code forges, which take files from the top of the repository.
    pub fn places(&self) -> Places {
        Places::new(self.cwd.clone(), self.config.as_deref())
    }

    pub fn tell(&self, failure: Failure) -> ExitCode {
        let code = failure.exit_code();
        match (self.json, Forge::here()) {
            (true, _) => self.tell_as_run(&failure),
            (false, Some(forge @ Forge::GitHub)) => print::err(&(forge.verbatim(&failure.text()) + &failure.annotations(&self.places()))),
            (false, Some(Forge::GitLab) | None) => print::err(&failure.text()),
        }
        code
    }

    /// Of a run that has told nothing yet.
    fn tell_as_run(&self, failure: &Failure) {
        let reporter = Reporter::new(Mode::Json, 0, Redactor::new(), Box::new(std::io::stderr()), None);
        match reporter {
            Ok(reporter) => {
                self.tell_to(&reporter, failure);
                reporter.finish();
            }
            Err(error) => print::err(&format!("error: {error}\n")),
        }
    }

    /// Among the events of a run.
    pub fn tell_to(&self, reporter: &Reporter, failure: &Failure) {
        let places = Forge::here().map(|_| self.places());
        failure.events(places.as_ref()).into_iter().for_each(|event| reporter.emit(event));
    }
}

impl Failure {
    pub fn findings(code: Code, findings: &[Finding], redactor: Option<&Redactor>) -> Self {
        Self { code, what: What::Findings(findings.to_vec(), redactor.cloned()) }
    }

    /// A failure with a code of its own and no place in a file.
    pub fn diagnosed(code: Code, name: &'static str, message: &str, redactor: Option<&Redactor>) -> Self {
        Self::findings(code, &[Finding::error(name, message)], redactor)
    }

    /// `kept`: what the next run need not do again.
    pub fn interrupted(kept: &str) -> Self {
        Self::plain(Code::Interrupted, &format!("interrupted: {kept}"))
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::plain(Code::Usage, &message.into())
    }

    pub fn failed(message: impl Into<String>) -> Self {
        Self::plain(Code::Failed, &message.into())
    }

    /// Credentials of URLs are masked.
    fn plain(code: Code, message: &str) -> Self {
        Self { code, what: What::Message(mask_credentials(message)) }
    }

    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code as u8)
    }

    fn text(&self) -> String {
        match &self.what {
            What::Message(message) if self.code == Code::Interrupted => format!("{message}\n"),
            What::Message(message) => format!("error: {message}\n"),
            What::Findings(findings, redactor) => {
                let mut text = String::new();
                render_all(&mut text, findings);
                redacted(redactor.as_ref(), text)
            }
        }
    }

    /// For GitHub Actions, which shows them beside the lines that they are about.
    fn annotations(&self, places: &Places) -> String {
        match &self.what {
            What::Message(_) => String::new(),
            What::Findings(findings, redactor) => redacted(redactor.as_ref(), annotations(findings, places)),
        }
    }

    /// `places`: for who takes files from the top of the repository.
    fn events(&self, places: Option<&Places>) -> Vec<Event> {
        match &self.what {
            What::Message(message) => {
                vec![Event::Error { code: None, message: message.clone(), help: None, file: None, line: None }]
            }
            What::Findings(findings, redactor) => {
                let redacted = |text: &str| redacted(redactor.as_ref(), text.to_owned());
                let event = |finding: &Finding| {
                    let (file, line) = place(finding, places);
                    let (code, message) = (Some(finding.code.to_owned()), redacted(&finding.message));
                    match finding.severity {
                        Severity::Error => Event::Error { code, message, help: finding.help.as_deref().map(redacted), file, line },
                        Severity::Warning | Severity::Advice => Event::Warning { message: redacted(&one_line(finding)), file, line },
                    }
                };
                findings.iter().map(event).collect()
            }
        }
    }
}

fn redacted(redactor: Option<&Redactor>, text: String) -> String {
    match redactor {
        Some(redactor) => redactor.redact(&text).into_owned(),
        None => text,
    }
}

/// How many findings are drawn. Formats for machines have all.
const MOST: usize = 500;

/// Findings as text, errors first where there are too many.
pub fn render_all(out: &mut String, findings: &[Finding]) {
    let mut shown: Vec<&Finding> = findings.iter().collect();
    let more = shown.len().saturating_sub(MOST);
    if more > 0 {
        shown.sort_by_key(|finding| finding.severity);
        shown.truncate(MOST);
    }
    shown.into_iter().for_each(|finding| render(out, finding));
    if more > 0 {
        out.push_str(&format!("and {more} more; `brik check --format json` has all of them\n"));
    }
}

/// One diagnostic as text: code, message, the bytes it is about, help.
fn render(out: &mut String, finding: &Finding) {
    let theme = if color_on_stderr() { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let width = rustix::termios::tcgetwinsize(std::io::stderr()).ok().map_or(100, |size| usize::from(size.ws_col)).clamp(40, 140);
    let handler = GraphicalReportHandler::new_themed(theme).with_width(width).with_links(false);
    let rendered = match Excerpt::of(finding) {
        Some(excerpt) => handler.render_report(out, &excerpt),
        None => handler.render_report(out, finding),
    };
    if rendered.is_err() {
        out.push_str(&format!("error: {finding}\n"));
    }
}
