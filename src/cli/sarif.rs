//! Findings as SARIF 2.1.0 (OASIS), which code scanning services read.

use serde::Serialize;

use super::explain;
use super::places::Places;
use crate::config::{Finding, Severity};

#[derive(Serialize)]
struct Log<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run<'a> {
    tool: Tool,
    /// Columns count characters, as everywhere in brik.
    column_kind: &'static str,
    results: Vec<SarifResult<'a>>,
}

#[derive(Serialize)]
struct Tool {
    driver: Driver,
}

#[derive(Serialize)]
struct Driver {
    name: &'static str,
    version: &'static str,
    /// The codes of the results, each once.
    rules: Vec<Rule>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    id: &'static str,
    short_description: Text,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<Help>,
}

#[derive(Serialize)]
struct Text {
    text: String,
}

/// A page of `brik explain`.
#[derive(Serialize)]
struct Help {
    text: String,
    markdown: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifResult<'a> {
    rule_id: &'a str,
    rule_index: usize,
    level: &'static str,
    message: Text,
    locations: Vec<Place>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Place {
    physical_location: PhysicalLocation,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PhysicalLocation {
    artifact_location: ArtifactLocation,
    region: Region,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ArtifactLocation {
    /// From the top of the repository.
    uri: String,
    uri_base_id: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: usize,
    start_column: usize,
    end_line: usize,
    end_column: usize,
}

/// A log with one run.
pub fn sarif(findings: &[Finding], places: &Places) -> serde_json::Result<String> {
    let mut codes: Vec<&'static str> = Vec::new();
    for finding in findings {
        if !codes.contains(&finding.code) {
            codes.push(finding.code);
        }
    }
    let results = findings.iter().map(|finding| SarifResult {
        rule_id: finding.code,
        rule_index: codes.iter().position(|code| *code == finding.code).unwrap_or_default(),
        level: level(finding.severity),
        message: Text { text: message(finding) },
        locations: place(finding, places).into_iter().collect(),
    });
    let results = results.collect();
    let driver = Driver { name: "brik", version: env!("CARGO_PKG_VERSION"), rules: codes.iter().map(|code| rule(code)).collect() };
    let run = Run { tool: Tool { driver }, column_kind: "unicodeCodePoints", results };
    let log = Log { schema: "https://json.schemastore.org/sarif-2.1.0.json", version: "2.1.0", runs: [run] };
    serde_json::to_string_pretty(&log).map(|text| text + "\n")
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Advice => "note",
    }
}

fn message(finding: &Finding) -> String {
    match &finding.help {
        Some(help) => format!("{}\nhelp: {help}", finding.message),
        None => finding.message.clone(),
    }
}

fn rule(code: &'static str) -> Rule {
    let page = explain::page(code);
    Rule {
        id: code,
        short_description: Text { text: page.as_ref().map_or_else(|| code.to_owned(), |page| page.summary.to_owned()) },
        help: page.map(|page| Help { text: page.text.clone(), markdown: page.text }),
    }
}

fn place(finding: &Finding, places: &Places) -> Option<Place> {
    let location = finding.location.as_ref()?;
    let path = places.path_of(&location.source)?;
    let (start_line, start_column) = location.source.position(location.span.start);
    let (end_line, end_column) = location.source.position(location.span.end);
    Some(Place {
        physical_location: PhysicalLocation {
            artifact_location: ArtifactLocation { uri: escaped(&path), uri_base_id: "%SRCROOT%" },
            region: Region { start_line, start_column, end_line, end_column },
        },
    })
}

/// A path as a relative URI reference (RFC 3986, section 4.2): a colon in its first segment would look like a scheme.
fn escaped(path: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    path.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_uris() {
        assert_eq!(escaped("a b/Dockerfile"), "a%20b/Dockerfile");
        assert_eq!(escaped("c:ü"), "c%3A%C3%BC");
    }
}
