//! The verdict as evidence: the same for the same sources on any machine, without a time. An expired waiver is all that a day changes.

use serde::Serialize;

use super::verdict::severity;
use super::{RULES, Verdict};
use crate::config::{Finding, Preset, Severity};

/// policy-summary.json.
#[derive(Serialize)]
struct Summary<'a> {
    /// Of this format: 1.
    version: u8,
    pipeline: &'static str,
    /// `pass` or `fail`: whether the policy lets the images be pushed.
    build_verdict: &'static str,
    /// null without one.
    preset: Option<Preset>,
    enforce: bool,
    services: Vec<ServiceLine<'a>>,
    /// Those that the policy asks for.
    rules: Vec<RuleLine>,
    violations: Vec<ViolationLine<'a>>,
    expired_waivers: &'a [Finding],
}

#[derive(Serialize)]
struct ServiceLine<'a> {
    service: &'a str,
    /// Without a tag; null where the Dockerfile could not be read.
    image: Option<String>,
    tags: &'a [String],
    /// `pass`, `fail` or `unread`.
    verdict: &'static str,
}

#[derive(Serialize)]
struct RuleLine {
    rule: &'static str,
    /// `deny` or `warn`.
    level: &'static str,
    violations: usize,
    /// How many of them waivers accept.
    waived: usize,
}

#[derive(Serialize)]
struct ViolationLine<'a> {
    rule: &'static str,
    service: &'a str,
    /// null where nothing accepts it.
    waived: Option<WaiverLine<'a>>,
    /// As in `brik check --format json`.
    finding: &'a Finding,
}

#[derive(Serialize)]
struct WaiverLine<'a> {
    reason: &'a str,
    until: String,
}

fn word(passes: bool) -> &'static str {
    if passes { "pass" } else { "fail" }
}

impl Verdict<'_> {
    fn summary(&self) -> Summary<'_> {
        let judged = self.judged.iter().map(|(service, tags)| ServiceLine {
            service: &service.name,
            image: Some(service.image.to_string()),
            tags,
            verdict: word(self.service_passes(&service.name)),
        });
        let unread = self.unread.iter().map(|service| ServiceLine { service, image: None, tags: &[], verdict: "unread" });
        let violations = self.violations.iter().map(|violation| ViolationLine {
            rule: violation.rule.name(),
            service: violation.service,
            waived: violation.waived.map(|waiver| WaiverLine { reason: &waiver.reason, until: waiver.until.to_string() }),
            finding: &violation.finding,
        });
        Summary {
            version: 1,
            pipeline: "PIPE-CONTAINER-BUILD",
            build_verdict: word(self.passes()),
            preset: self.policy.preset,
            enforce: self.policy.enforce,
            services: judged.chain(unread).collect(),
            rules: self.rules(),
            violations: violations.collect(),
            expired_waivers: &self.expired,
        }
    }

    fn rules(&self) -> Vec<RuleLine> {
        let line = |rule: &super::Rule| {
            let own = || self.violations.iter().filter(|violation| violation.rule == rule.rule);
            RuleLine {
                rule: rule.name(),
                level: if severity(self.policy, rule.rule) == Severity::Error { "deny" } else { "warn" },
                violations: own().count(),
                waived: own().filter(|violation| violation.waived.is_some()).count(),
            }
        };
        RULES.iter().filter(|rule| (rule.applies)(self.policy)).map(line).collect()
    }

    /// policy-summary.json.
    ///
    /// # Errors
    /// None that serde_json has for such values.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(&self.summary()).map(|text| text + "\n")
    }

    /// policy-summary.md.
    pub fn markdown(&self) -> String {
        let summary = self.summary();
        let preset = match summary.preset {
            Some(Preset::Brikbyte) => "preset `brikbyte`",
            Some(Preset::BrikbyteGovernance) => "preset `brikbyte-governance`",
            None => "no preset",
        };
        let enforced = if summary.enforce { "enforced" } else { "not enforced: violations are warnings" };
        let mut text = format!("# Policy: {}\n\n{preset}, {enforced}\n\n", summary.build_verdict);
        text += "| service | image | tags | verdict |\n|---|---|---|---|\n";
        for ServiceLine { service, image, tags, verdict } in &summary.services {
            let image = image.as_deref().unwrap_or_default();
            text += &format!("| {service} | {image} | {} | {verdict} |\n", tags.join(" "));
        }
        text += "\n| rule | level | violations | waived |\n|---|---|---|---|\n";
        for RuleLine { rule, level, violations, waived } in &summary.rules {
            text += &format!("| {rule} | {level} | {violations} | {waived} |\n");
        }
        if !summary.violations.is_empty() || !summary.expired_waivers.is_empty() {
            text += "\n";
        }
        for ViolationLine { rule, service, waived, finding } in &summary.violations {
            let level = if finding.severity == Severity::Error { "deny" } else { "warn" };
            let waived = waived.as_ref().map(|waiver| format!(" (waived until {}: {})", waiver.until, waiver.reason));
            text += &format!("- {level} {rule}, {service}: {}{}\n", finding.one_line(), waived.unwrap_or_default());
        }
        for finding in summary.expired_waivers {
            text += &format!("- {}\n", finding.one_line());
        }
        text
    }
}
