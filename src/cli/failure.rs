//! How a command fails: what is said on stderr, and the exit code.

use std::process::ExitCode;

use miette::{GraphicalReportHandler, GraphicalTheme};

use super::annotations::annotations;
use super::excerpt::Excerpt;
use super::places::Places;
use super::print;
use crate::config::Finding;
use crate::report::{Forge, Redactor, color_on_stderr};
use crate::source::mask_credentials;

/// 1 build or push failed, 2 usage or configuration, 3 findings, 130 interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    Failed = 1,
    Usage = 2,
    Findings = 3,
    Interrupted = 130,
}

/// Diagnostics, rendered and redacted, and the exit code that goes with them.
#[derive(Debug)]
pub struct Failure {
    code: Code,
    text: String,
    /// For GitHub Actions, which shows them beside the lines that they are about.
    annotations: String,
}

impl Failure {
    pub fn findings(code: Code, findings: &[Finding], redactor: Option<&Redactor>) -> Self {
        let mut text = String::new();
        render_all(&mut text, findings);
        let annotations = match Forge::here() {
            Some(Forge::GitHub) => annotations(findings, &Places::new(std::env::current_dir().unwrap_or_default(), None)),
            Some(Forge::GitLab) | None => String::new(),
        };
        let redacted = |text: String| redactor.map_or(text.clone(), |redactor| redactor.redact(&text).into_owned());
        Self { code, text: redacted(text), annotations: redacted(annotations) }
    }

    /// A failure with a code of its own and no place in a file.
    pub fn diagnosed(code: Code, name: &'static str, message: &str, redactor: Option<&Redactor>) -> Self {
        Self::findings(code, &[Finding::error(name, message)], redactor)
    }

    /// `kept`: what the next run need not do again.
    pub fn interrupted(kept: &str) -> Self {
        Self::plain(Code::Interrupted, format!("interrupted: {kept}\n"))
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::plain(Code::Usage, format!("error: {}\n", message.into()))
    }

    pub fn failed(message: impl Into<String>) -> Self {
        Self::plain(Code::Failed, format!("error: {}\n", message.into()))
    }

    /// Credentials of URLs are masked.
    fn plain(code: Code, text: String) -> Self {
        Self { code, text: mask_credentials(&text), annotations: String::new() }
    }

    pub fn tell(self) -> ExitCode {
        match Forge::here() {
            Some(forge @ Forge::GitHub) => print::err(&(forge.verbatim(&self.text) + &self.annotations)),
            Some(Forge::GitLab) | None => print::err(&self.text),
        }
        ExitCode::from(self.code as u8)
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
