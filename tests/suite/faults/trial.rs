//! One push with one fault, the same once more without it, and what the registry has after either.

use std::collections::BTreeMap;
use std::fmt;

use super::kept;
use super::kind::{Kind, MOST, MOST_MORE, is_optional};
use super::monorepo::{Flow, Monorepo};
use crate::support::scripted::Request;
use crate::support::{Ask, Fault, PASSWORD, Proxy, Registry, proxy};

/// The `number`th request (from 1) that asks for something at a place, in the order of an undisturbed push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub method: String,
    pub ask: Ask,
    /// As [`proxy::place`] has it, with `NS` for the namespace.
    pub place: String,
    pub number: usize,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {} #{}", self.method, self.ask, self.place, self.number)
    }
}

impl Target {
    /// The requests that a proxy has seen, in their order.
    pub fn list(proxy: &Proxy, namespace: &str) -> Vec<Self> {
        let mut seen: BTreeMap<(Ask, String), usize> = BTreeMap::new();
        let target = |request: &Request| {
            let (ask, place) = (Ask::of(request), proxy::place(request).replace(&format!("{namespace}/"), "NS/"));
            let number = seen.entry((ask, place.clone())).or_default();
            *number += 1;
            Self { method: request.method.clone(), ask, place, number: *number }
        };
        proxy.requests().iter().map(target).collect()
    }
}

#[derive(Debug, Clone)]
pub struct Trial {
    pub flow: Flow,
    pub target: Target,
    pub kind: Kind,
    /// Every such request from the target on, or that one alone.
    pub for_good: bool,
}

/// What there is without a fault.
pub struct Undisturbed {
    pub flow: Flow,
    /// stdout without the host and the namespace; the second with the base that the tag may have moved to.
    pub stdout: Vec<String>,
    pub targets: Vec<Target>,
}

/// What came of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The request was never made: order and number of requests depend a little on the threads.
    Unmet,
    Succeeded,
    Failed,
}

#[derive(Debug, Clone, Copy)]
pub struct Figures {
    pub outcome: Outcome,
    /// How often the fault was dealt, at most, to one and the same request.
    pub most: usize,
    /// Requests beyond those of an undisturbed push.
    pub more: usize,
}

impl Trial {
    /// What comes of it, or what is wrong.
    pub fn run(&self, registry: &Registry, namespace: &str, undisturbed: &Undisturbed) -> Result<Figures, String> {
        let proxy = Proxy::ghcr(registry);
        let mut monorepo = Monorepo::new(registry, &proxy, namespace);
        let old = ["a", "b"].map(|service| kept::tag(registry, &format!("{namespace}/{service}"), "v1"));
        monorepo.prepare(self.flow);
        let before = ["a", "b"].map(|service| kept::tag(registry, &format!("{namespace}/{service}"), "v1"));
        proxy.forget();
        let Target { ask, place, number, .. } = &self.target;
        let when = ask.at(place.replace("NS/", &format!("{namespace}/")));
        let when = if self.for_good { when.since(*number) } else { when.nth(*number) };
        proxy.fault(when.clone(), self.kind.fault.clone());
        let mut push = monorepo.push();
        if matches!(self.kind.fault, Fault::Drip(_)) {
            push = push.env("BRIK_BUILD__REGISTRY_TIMEOUT", "2");
        }
        let run = push.run();
        let (dealt, lines) = (proxy.dealt(), proxy.lines());
        let report = |what: &str| format!("{what}\nexit code {:?}\n{}\n{}\n{lines:#?}", run.code, run.stdout, run.stderr);
        let wrong = |what: &str| Err(report(what));
        let strip = |stdout: &str| stdout.replace(proxy.host(), "HOST").replace(&format!("{namespace}/"), "NS/");

        let is_same = |stdout: &str| {
            let moved = self.kind.fault == Fault::Moved;
            undisturbed.stdout.iter().take(if moved { 2 } else { 1 }).any(|same| *same == strip(stdout))
        };
        if [&run.stdout, &run.stderr].iter().any(|text| text.contains(PASSWORD) || text.contains("panicked")) {
            return wrong("it panicked, or told a secret");
        }
        match run.code {
            Some(0) if is_same(&run.stdout) => {}
            Some(0) => return wrong("other images came of it"),
            Some(1) if self.has_to_succeed() && dealt > 0 => return wrong("it has to succeed"),
            Some(1) => {
                if let Some(why) = unclear(&run.stderr) {
                    return wrong(&why);
                }
            }
            _ => return wrong("another exit code"),
        }
        let state = self.check(registry, namespace, &[&old, &before], &strip(&run.stdout), run.code == Some(0));
        state.map_err(|what| report(&what))?;

        proxy.heal();
        let again = monorepo.push().run();
        if again.code != Some(0) || strip(&again.stdout) != undisturbed.stdout[0] {
            return wrong(&format!("without the fault it does not end well: {:?}\n{}\n{}", again.code, again.stdout, again.stderr));
        }
        self.check(registry, namespace, &[], &undisturbed.stdout[0], true).map_err(|what| report(&format!("at last: {what}")))?;

        let outcome = match (dealt, run.code) {
            (0, _) => Outcome::Unmet,
            (_, Some(0)) => Outcome::Succeeded,
            _ => Outcome::Failed,
        };
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        proxy.asked(when).into_iter().for_each(|line| *times.entry(line).or_default() += 1);
        let most = times.into_values().max().unwrap_or_default();
        let more = lines.len().saturating_sub(undisturbed.targets.len());
        if most > MOST || more > MOST_MORE {
            return wrong(&format!("{more} requests more, up to {most} times the same"));
        }
        Ok(Figures { outcome, most, more })
    }

    fn has_to_succeed(&self) -> bool {
        // The first request of all is sent without a token, and again with one. A token that is refused at its first use is not renewed.
        let may_be_its_first_use = matches!(self.kind.fault, Fault::Expired | Fault::Challenge) && self.target.number <= 2;
        is_optional(&self.target) || self.kind.passes && !self.for_good && !may_be_its_first_use
    }

    /// Whether all that the registry holds is whole, and the tags lead to what they led to or to what was pushed.
    fn check(
        &self,
        registry: &Registry,
        namespace: &str,
        before: &[&[Option<String>; 2]],
        stdout: &str,
        pushed: bool,
    ) -> Result<(), String> {
        let broken = kept::broken(registry, namespace);
        if !broken.is_empty() {
            return Err(format!("the registry holds what is not whole: {broken:#?}"));
        }
        for (index, service) in ["a", "b"].into_iter().enumerate() {
            let leads_to = kept::tag(registry, &format!("{namespace}/{service}"), "v1");
            let is_new = leads_to.as_ref().is_some_and(|digest| stdout.contains(&format!("NS/{service}@{digest}")));
            let Some(digest) = leads_to.clone() else { return Err(format!("the tag of {service} is lost")) };
            // Which image it is now is known of those that were pushed; of one that failed, that it is whole.
            let is_old = before.iter().any(|tags| tags[index] == leads_to);
            if pushed && !is_new || !pushed && !is_old && !kept::is_image(registry, &format!("{namespace}/{service}"), &digest) {
                return Err(format!("the tag of {service} leads to {digest}"));
            }
        }
        Ok(())
    }
}

/// What is not clear about an error: it has one code, one message, and a help, which may stand in the message of a finding about a
/// Dockerfile. Steps that fail at the same time have one each.
fn unclear(stderr: &str) -> Option<String> {
    let count = |begins: &str| stderr.lines().filter(|line| line.trim_start().starts_with(begins)).count();
    let (codes, messages, helps) = (count("brik::"), count("×"), count("help:"));
    let is_clear = (1..=2).contains(&codes) && messages == codes && (helps == codes || helps == 0 && stderr.contains("; "));
    (!is_clear).then(|| format!("{codes} codes, {messages} messages and {helps} helps are not one clear error"))
}
