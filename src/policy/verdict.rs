//! All rules over all services.

use jiff::civil::Date;

use super::found::{Certainty, Found};
use super::{RULES, Subject};
use crate::config::{Finding, Policy, PolicyRule, Service, Severity, Source, Waiver};

/// What a policy says of a run.
pub struct Verdict<'a> {
    pub policy: &'a Policy,
    /// Services that rules have looked at, and their tags.
    pub judged: Vec<(&'a Service, &'a [String])>,
    /// Services whose Dockerfiles cannot be read, so that no rule could look at them.
    pub unread: Vec<&'a str>,
    pub violations: Vec<Violation<'a>>,
    /// Waivers that hold no more, each a finding.
    pub expired: Vec<Finding>,
}

/// What is against a rule, or may be.
pub struct Violation<'a> {
    pub rule: PolicyRule,
    pub service: &'a str,
    pub finding: Finding,
    /// What accepts it.
    pub waived: Option<&'a Waiver>,
}

/// Holds services against a policy on a day.
pub fn judge<'a>(policy: &'a Policy, subjects: &[Subject<'a>], unread: Vec<&'a str>, today: Date) -> Verdict<'a> {
    let mut violations = Vec::new();
    for subject in subjects {
        for rule in RULES.iter().filter(|rule| (rule.applies)(policy)) {
            let mut found = Found::default();
            (rule.check)(policy, subject, &mut found);
            let service = subject.service.name.as_str();
            let waived = policy.waivers.iter().find(|waiver| waiver.until >= today && waiver.covers(rule.rule, service));
            violations.extend(found.all.into_iter().map(|(finding, certainty)| {
                let severity = if certainty == Certainty::Doubt { Severity::Warning } else { severity(policy, rule.rule) };
                Violation { rule: rule.rule, service, finding: Finding { code: rule.code, severity, ..finding }, waived }
            }));
        }
    }
    let expired = policy.waivers.iter().filter(|waiver| waiver.until < today).map(|waiver| expired(policy, waiver));
    Verdict {
        policy,
        judged: subjects.iter().map(|subject| (subject.service, subject.tags)).collect(),
        unread,
        violations,
        expired: expired.collect(),
    }
}

/// Of the violations of a rule.
pub(super) fn severity(policy: &Policy, rule: PolicyRule) -> Severity {
    if policy.enforce && !policy.warn.contains(&rule) { Severity::Error } else { Severity::Warning }
}

fn expired(policy: &Policy, waiver: &Waiver) -> Finding {
    let severity = if policy.enforce { Severity::Error } else { Severity::Warning };
    let message = format!("the waiver of {} has expired: {}", waiver.rule.name(), waiver.reason);
    Finding::new("brik::policy::expired-waiver", severity, message)
        .help("mend what it waived and take it out, or decide on another day")
        .at(waiver.location.clone())
}

impl Waiver {
    fn covers(&self, rule: PolicyRule, service: &str) -> bool {
        self.rule == rule && (self.services.is_empty() || self.services.iter().any(|name| name == service))
    }
}

impl Verdict<'_> {
    /// What is to be told: all that is not waived, each once.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.expired.clone();
        for violation in self.violations.iter().filter(|violation| violation.waived.is_none()) {
            if !findings.contains(&violation.finding) {
                findings.push(violation.finding.clone());
            }
        }
        findings
    }

    /// Gives the texts that findings point into other names, where `name` has one.
    pub fn rename(&mut self, name: &dyn Fn(&Source) -> Option<String>) {
        let findings = self.violations.iter_mut().map(|violation| &mut violation.finding).chain(&mut self.expired);
        for location in findings.filter_map(|finding| finding.location.as_mut()) {
            location.source.name = name(&location.source).map_or_else(|| location.source.name.clone(), Into::into);
        }
    }

    /// Whether there is nothing that forbids a push.
    pub fn passes(&self) -> bool {
        self.unread.is_empty() && self.findings().iter().all(|finding| finding.severity != Severity::Error)
    }

    /// Of one service.
    pub(super) fn service_passes(&self, service: &str) -> bool {
        let mut own = self.violations.iter().filter(|violation| violation.service == service);
        own.all(|violation| violation.waived.is_some() || violation.finding.severity != Severity::Error)
    }
}
