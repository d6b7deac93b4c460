//! The content of `--report`: what the cache was worth to each Service of a run, as JSON for scripts and as Markdown for people.

use serde::Serialize;

use super::event::{CacheUse, Outcome};
use super::text;
use crate::oci::Digest;

/// Version of the JSON. A field more keeps it.
const VERSION: u32 = 1;

/// A run, finished or failed. Times are in seconds; requests and bytes are those of all registries together, exactly.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Dashboard {
    pub success: bool,
    pub seconds: f64,
    /// What the Steps that did not run took when they last ran, each counted once.
    pub saved_seconds: f64,
    pub requests: u64,
    pub bytes_up: u64,
    pub bytes_down: u64,
    /// Blobs that a cross-repository mount saved from being sent.
    pub mounted: u64,
    pub services: Vec<ServiceReport>,
}

/// One Service on all its platforms.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServiceReport {
    pub service: String,
    /// Failed or cancelled: what follows is what was known then.
    pub outcome: Outcome,
    /// None if the Service is not finished.
    pub cache: Option<CacheUse>,
    /// Steps, of all its stages, that did not run.
    pub hits: u64,
    /// Steps that ran.
    pub misses: u64,
    /// From the start of the run until the Service was done.
    pub seconds: Option<f64>,
    /// What its Steps that did not run took when they last ran: shared ones count for each of their Services.
    pub saved_seconds: f64,
    /// Of Layers and configs. What several Services share is moved once, and stands with one of them.
    pub bytes_up: u64,
    pub bytes_down: u64,
    /// Layers that were mounted from another repository.
    pub mounted: u64,
    pub digest: Option<Digest>,
    pub tags: Vec<String>,
}

impl Dashboard {
    pub fn json(&self) -> Result<String, serde_json::Error> {
        #[derive(Serialize)]
        struct Versioned<'d> {
            version: u32,
            #[serde(flatten)]
            dashboard: &'d Dashboard,
        }
        serde_json::to_string_pretty(&Versioned { version: VERSION, dashboard: self }).map(|text| text + "\n")
    }

    /// A heading, a table, the totals.
    pub fn markdown(&self) -> String {
        let services = text::count(self.services.len() as u64, "service");
        let failed = if self.success { "" } else { ", failed" };
        let mut out = format!("## brik build: {services} in {}{failed}\n\n", text::seconds(self.seconds));
        out.push_str("| service | cache | hits | misses | time | saved | up | down | mounted | digest | tags |\n");
        out.push_str("|---|---|--:|--:|--:|--:|--:|--:|--:|---|---|\n");
        for service in &self.services {
            out.push_str(&format!("| {} |\n", service.cells().join(" | ")));
        }
        out.push_str(&format!(
            "\n{}, {} up, {} down, {} mounted; the cache saved {} of work.\n\n",
            text::count(self.requests, "request"),
            text::bytes(self.bytes_up),
            text::bytes(self.bytes_down),
            self.mounted,
            text::seconds(self.saved_seconds)
        ));
        out.push_str(
            "<sub>hits, misses: Steps of all stages that did not run, and that ran. time: until the service was done. \
             saved: what the hits took when they last ran.</sub>\n",
        );
        out
    }
}

impl ServiceReport {
    fn cells(&self) -> [String; 11] {
        let tags: Vec<String> = self.tags.iter().map(|tag| code(tag)).collect();
        [
            cell(&self.service),
            self.cache.map_or(self.outcome.as_str(), CacheUse::as_str).to_owned(),
            self.hits.to_string(),
            self.misses.to_string(),
            self.seconds.map_or_else(|| "-".to_owned(), text::seconds),
            text::seconds(self.saved_seconds),
            text::bytes(self.bytes_up),
            text::bytes(self.bytes_down),
            self.mounted.to_string(),
            self.digest.map_or_else(|| "-".to_owned(), |digest| code(&digest.short())),
            tags.join(" "),
        ]
    }
}

/// Text that ends no cell and is no HTML.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace(['\n', '\r'], " ")
}

fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|").replace(['`', '\n', '\r'], " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, (hits, misses): (u64, u64)) -> ServiceReport {
        ServiceReport {
            service: name.to_owned(),
            outcome: if misses == 0 { Outcome::Cached } else { Outcome::Built },
            cache: Some(CacheUse::of(hits, misses)),
            hits,
            misses,
            seconds: Some(9.1),
            saved_seconds: 33.04,
            bytes_up: 1_234_567,
            bytes_down: 0,
            mounted: 3,
            digest: Some(Digest::of(name.as_bytes())),
            tags: vec!["sha-0123456".to_owned(), "v1".to_owned()],
        }
    }

    fn dashboard() -> Dashboard {
        let unfinished = ServiceReport {
            outcome: Outcome::Failed,
            cache: None,
            seconds: None,
            digest: None,
            tags: Vec::new(),
            ..service("odd|<name>", (1, 2))
        };
        Dashboard {
            success: false,
            seconds: 72.0,
            saved_seconds: 200.0,
            requests: 41,
            bytes_up: 12_345_678,
            bytes_down: 0,
            mounted: 3,
            services: vec![service("api", (5, 2)), service("web", (7, 0)), service("worker", (0, 4)), unfinished],
        }
    }

    #[test]
    fn markdown_is_a_table_that_no_name_breaks() {
        let [api, web, worker] = ["api", "web", "worker"].map(|name| Digest::of(name.as_bytes()).short());
        let expected = format!(
            "## brik build: 4 services in 1m12s, failed\n\n\
             | service | cache | hits | misses | time | saved | up | down | mounted | digest | tags |\n\
             |---|---|--:|--:|--:|--:|--:|--:|--:|---|---|\n\
             | api | PARTIAL | 5 | 2 | 9.1s | 33.0s | 1.2 MB | 0 B | 3 | `{api}` | `sha-0123456` `v1` |\n\
             | web | HIT | 7 | 0 | 9.1s | 33.0s | 1.2 MB | 0 B | 3 | `{web}` | `sha-0123456` `v1` |\n\
             | worker | MISS | 0 | 4 | 9.1s | 33.0s | 1.2 MB | 0 B | 3 | `{worker}` | `sha-0123456` `v1` |\n\
             | odd\\|&lt;name> | failed | 1 | 2 | - | 33.0s | 1.2 MB | 0 B | 3 | - |  |\n\
             \n41 requests, 12.3 MB up, 0 B down, 3 mounted; the cache saved 3m20s of work.\n\n"
        );
        assert_eq!(dashboard().markdown().split("<sub>").next(), Some(expected.as_str()));
    }

    #[test]
    fn json_is_what_scripts_read() {
        let value: serde_json::Value = serde_json::from_str(&dashboard().json().unwrap()).unwrap();
        let expected = serde_json::json!({
            "service": "api", "outcome": "built", "cache": "PARTIAL", "hits": 5, "misses": 2, "seconds": 9.1, "saved_seconds": 33.04,
            "bytes_up": 1_234_567, "bytes_down": 0, "mounted": 3, "digest": Digest::of(b"api").to_string(), "tags": ["sha-0123456", "v1"],
        });
        assert_eq!(value["services"][0], expected);
        assert_eq!((&value["version"], &value["success"], &value["requests"]), (&1.into(), &false.into(), &41.into()));
        assert_eq!((&value["services"][3]["cache"], &value["services"][3]["outcome"]), (&serde_json::Value::Null, &"failed".into()));
    }
}
