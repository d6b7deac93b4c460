//! What a run achieved: a table for people, JSON for scripts, references for pipes.

use serde::Serialize;

use super::event::Outcome;
use super::text::{self, pad, shorten_middle, width};
use crate::oci::{Digest, Platform, Reference};

/// The results of a run. `elapsed` is in seconds, the others count requests and bytes of all registries together.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Summary {
    pub rows: Vec<Row>,
    pub requests: u64,
    pub bytes_up: u64,
    pub bytes_down: u64,
    /// Blobs that a cross-repository mount saved from being sent.
    pub mounted: u64,
    pub elapsed: f64,
}

/// One Service on one platform.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    pub service: String,
    pub platform: Platform,
    /// The image, with its first tag where it has one.
    pub reference: Reference,
    pub tags: Vec<String>,
    /// Of the image's manifest, or of its index; none if the build failed.
    pub digest: Option<Digest>,
    /// Steps of all its stages, as far as it needs them.
    pub steps_run: u64,
    pub steps_cached: u64,
    pub layers_pushed: u64,
    pub layers_mounted: u64,
    /// Layers that the registry had already.
    pub layers_skipped: u64,
    pub seconds: f64,
    pub outcome: Outcome,
}

const COLUMNS: [&str; 6] = ["service", "reference", "ran+cached", "push+mount+skip", "time", "digest"];
/// Columns that may be shortened, in the middle, down to this width.
const SHRINKABLE: [(usize, usize); 2] = [(1, 12), (0, 8)];

impl Summary {
    /// A table of at most `columns` (from 80 on): Steps that ran and were cached; Layers that were pushed, mounted, and there already.
    /// Then a line of totals.
    pub fn table(&self, columns: usize) -> String {
        let mut lines: Vec<[String; 6]> = vec![COLUMNS.map(str::to_owned)];
        lines.extend(self.rows.iter().map(Row::cells));
        let mut widths: [usize; 6] = std::array::from_fn(|i| lines.iter().map(|cells| width(&cells[i])).max().unwrap_or(0));
        for (column, least) in SHRINKABLE {
            let excess = (widths.iter().sum::<usize>() + 2 * (widths.len() - 1)).saturating_sub(columns);
            widths[column] -= excess.min(widths[column].saturating_sub(least));
        }
        let mut out = String::new();
        for cells in &lines {
            let padded: Vec<String> = cells.iter().zip(widths).map(|(cell, width)| pad(&shorten_middle(cell, width), width)).collect();
            out.push_str(padded.join("  ").trim_end());
            out.push('\n');
        }
        out.push_str(&format!(
            "{} in {}: {}, {} up, {} down, {} mounted\n",
            text::count(self.services(), "service"),
            text::seconds(self.elapsed),
            text::count(self.requests, "request"),
            text::bytes(self.bytes_up),
            text::bytes(self.bytes_down),
            self.mounted
        ));
        out
    }

    /// One `reference@digest` a line for each image that exists now; an image of several platforms is named once. There is no tag in it:
    /// a digest needs none, and not every tool takes both.
    pub fn results(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        for row in &self.rows {
            if let Some(digest) = row.digest {
                let line = format!("{}@{digest}\n", row.reference.name());
                if !lines.contains(&line) {
                    lines.push(line);
                }
            }
        }
        lines.concat()
    }

    /// As JSON, indented.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    fn services(&self) -> u64 {
        let mut names: Vec<&str> = self.rows.iter().map(|row| row.service.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names.len() as u64
    }
}

impl Row {
    fn cells(&self) -> [String; 6] {
        [
            self.service.clone(),
            self.reference.to_string(),
            format!("{}+{}", self.steps_run, self.steps_cached),
            format!("{}+{}+{}", self.layers_pushed, self.layers_mounted, self.layers_skipped),
            text::seconds(self.seconds),
            self.digest.map_or_else(|| "-".to_owned(), |digest| digest.short()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(service: &str, platform: &str, outcome: Outcome) -> Row {
        Row {
            service: service.to_owned(),
            platform: platform.parse().unwrap(),
            reference: format!("ghcr.io/brikbyte-studios/{service}:sha-0123456").parse().unwrap(),
            tags: vec!["sha-0123456".to_owned()],
            digest: (outcome != Outcome::Failed).then(|| Digest::of(service.as_bytes())),
            steps_run: 3,
            steps_cached: 9,
            layers_pushed: 2,
            layers_mounted: 1,
            layers_skipped: 4,
            seconds: 12.34,
            outcome,
        }
    }

    fn summary() -> Summary {
        let rows = vec![
            row("api", "linux/amd64", Outcome::Built),
            row("api", "linux/arm64", Outcome::Built),
            row("worker", "linux/amd64", Outcome::Failed),
        ];
        Summary { rows, requests: 41, bytes_up: 12_345_678, bytes_down: 0, mounted: 3, elapsed: 72.3 }
    }

    #[test]
    fn a_table_has_one_line_a_service_and_platform() {
        let digest = Digest::of(b"api").short();
        assert_eq!(
            summary().table(80),
            format!(
                "service  reference              ran+cached  push+mount+skip  time   digest\n\
                 api      ghcr.io/br..a-0123456  3+9         2+1+4            12.3s  {digest}\n\
                 api      ghcr.io/br..a-0123456  3+9         2+1+4            12.3s  {digest}\n\
                 worker   ghcr.io/br..a-0123456  3+9         2+1+4            12.3s  -\n\
                 2 services in 1m12s: 41 requests, 12.3 MB up, 0 B down, 3 mounted\n"
            )
        );
    }

    #[test]
    fn a_table_fits_by_shortening_names_in_the_middle() {
        let rows = vec![row("a-service-with-a-rather-long-name-java", "linux/arm/v7", Outcome::Cancelled)];
        let table = Summary { rows, ..summary() }.table(80);
        assert!(table.lines().all(|line| width(line) <= 80), "{table}");
        assert!(table.contains("ghcr...23456"), "{table}");
    }

    #[test]
    fn results_are_pullable_references_of_what_was_built() {
        let expected = format!("ghcr.io/brikbyte-studios/api@{}\n", Digest::of(b"api"));
        assert_eq!(summary().results(), expected);
    }

    #[test]
    fn json_holds_every_row_in_the_terms_of_the_field() {
        let json: serde_json::Value = serde_json::from_str(&summary().json().unwrap()).unwrap();
        assert_eq!(json["rows"][0]["digest"], Digest::of(b"api").to_string());
        assert_eq!(json["rows"][2]["outcome"], "failed");
        assert_eq!(json["rows"][2]["digest"], serde_json::Value::Null);
        assert_eq!((&json["requests"], &json["bytes_up"]), (&41.into(), &12_345_678.into()));
    }
}
