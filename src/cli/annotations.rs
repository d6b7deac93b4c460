//! Findings as GitHub's workflow commands, which a job shows on the lines that they are about.

use super::places::Places;
use crate::config::{Finding, Location, Severity};
use crate::report::command;

/// One command a line.
pub fn annotations(findings: &[Finding], places: &Places) -> String {
    findings.iter().map(|finding| annotation(finding, places)).collect()
}

fn annotation(finding: &Finding, places: &Places) -> String {
    let name = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Advice => "notice",
    };
    let help = finding.help.as_ref().map(|help| format!("\nhelp: {help}")).unwrap_or_default();
    let message = format!("{}{help}", finding.message);
    let title = ("title", Some(finding.code));
    let file = finding.location.as_ref().and_then(|location| Some((places.path_of(&location.source)?, location)));
    let Some((path, Location { source, span })) = file else { return command(name, &[title], &message) };
    let (first, last) = (source.position(span.start), source.position(span.end));
    let numbers = [first.0, first.1, last.1, last.0].map(|number| number.to_string());
    let [line, column, end_column, end_line] = numbers.each_ref().map(|number| Some(number.as_str()));
    // GitHub drops columns of what spans lines.
    let within = |column| if first.0 == last.0 { column } else { None };
    let place = [("file", Some(&*path)), ("line", line), ("col", within(column)), ("endColumn", within(end_column)), ("endLine", end_line)];
    command(name, &[&place[..], &[title]].concat(), &message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;

    #[test]
    fn what_would_end_a_command_or_a_property_is_escaped() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a,b:c"), "").unwrap();
        let places = Places::new(directory.path().to_owned(), None);
        let source = Source::new("a,b:c", "one\ntwo\n");
        let finding = Finding::error("brik::x::y", "100% wrong\r\n::error::not a command").help("mend it");
        let escaped = "100%25 wrong%0D%0A::error::not a command%0Ahelp: mend it";
        assert_eq!(annotation(&finding, &places), format!("::error title=brik%3A%3Ax%3A%3Ay::{escaped}\n"));
        let at = finding.at(source.at(1..3));
        let place = "file=a%2Cb%3Ac,line=1,col=2,endColumn=4,endLine=1";
        assert_eq!(annotation(&at, &places), format!("::error {place},title=brik%3A%3Ax%3A%3Ay::{escaped}\n"));
        let lines = Finding::warning("c", "m").at(source.at(1..6));
        assert_eq!(annotations(&[lines], &places), "::warning file=a%2Cb%3Ac,line=1,endLine=2,title=c::m\n");
    }
}
