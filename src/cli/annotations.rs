//! Findings as GitHub's workflow commands, which a job shows on the lines that they are about.

use super::places::Places;
use crate::config::{Finding, Location, Severity};

/// One command a line.
pub fn annotations(findings: &[Finding], places: &Places) -> String {
    findings.iter().map(|finding| annotation(finding, places)).collect()
}

fn annotation(finding: &Finding, places: &Places) -> String {
    let command = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Advice => "notice",
    };
    let file = finding.location.as_ref().and_then(|location| Some((places.path_of(&location.source)?, location)));
    let mut properties = match file {
        Some((path, Location { source, span })) => {
            let ((line, column), (end_line, end_column)) = (source.position(span.start), source.position(span.end));
            // GitHub drops columns of what spans lines.
            let columns = if line == end_line { format!(",col={column},endColumn={end_column}") } else { String::new() };
            format!("file={},line={line}{columns},endLine={end_line},", property(&path))
        }
        None => String::new(),
    };
    properties += &format!("title={}", property(finding.code));
    let help = finding.help.as_ref().map(|help| format!("\nhelp: {help}")).unwrap_or_default();
    format!("::{command} {properties}::{}\n", data(&format!("{}{help}", finding.message)))
}

/// As the toolkit of GitHub's actions escapes it.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
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
