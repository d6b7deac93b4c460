//! A registry with bad habits: a proxy on loopback before a real [`Registry`], which does as it is told to some of the requests.
//!
//! ```ignore
//! let registry = Registry::start();
//! let proxy = Proxy::ghcr(&registry); // GHCR's standing habits
//! proxy.fault(Ask::Upload.nth(2), Fault::HangUp);
//! proxy.fault(Ask::Open.of_path("team/app-cache"), Fault::WritePackage);
//! // … brik builds and pushes to proxy.host() …
//! assert_eq!(proxy.dealt(), 2);
//! ```
//!
//! | file | does |
//! |---|---|
//! | `ask` | what a request asks for, and which of those requests are meant |
//! | `fault` | what is done to a request |
//! | `tokens` | the token server, and who may do what |
//! | `upstream` | the real registry |

mod ask;
mod fault;
mod tokens;
mod upstream;

use std::sync::{Arc, Mutex};

pub use ask::{Ask, When, place};
pub use fault::Fault;

use super::Registry;
use super::scripted::{Answer, Request, Server};
use tokens::Tokens;
pub use upstream::Reply;
use upstream::Upstream;

/// Ends when it goes out of scope. `Location` headers keep a client on it.
#[must_use]
pub struct Proxy {
    server: Server,
    script: Arc<Script>,
}

struct Script {
    upstream: Upstream,
    /// Whether a token is needed.
    guarded: bool,
    tokens: Tokens,
    rules: Mutex<Vec<Rule>>,
}

struct Rule {
    when: When,
    fault: Fault,
    /// Requests that asked for what is meant so far, and those of them that were dealt the fault.
    asked: usize,
    dealt: usize,
    /// Of the registry that is imitated, and not of the test.
    habit: bool,
}

impl Proxy {
    /// Passes everything on, until it is told otherwise.
    pub fn plain(registry: &Registry) -> Self {
        Self::start(registry, false)
    }

    /// GHCR as it behaves on good days: tokens with exact scopes (pushes need [`super::USER`] with [`super::PASSWORD`]), no ranged PATCH of
    /// more than 4 MiB, no DELETE, and no referrers, but a web page.
    pub fn ghcr(registry: &Registry) -> Self {
        let proxy = Self::start(registry, true);
        proxy.habit(Ask::RangedPatch, Fault::RangeTooLarge);
        proxy.habit(Ask::Delete, Fault::Unsupported);
        proxy.habit(Ask::Referrers, Fault::WebPage);
        proxy
    }

    fn start(registry: &Registry, guarded: bool) -> Self {
        let script = Arc::new(Script {
            upstream: Upstream(registry.host().to_owned()),
            guarded,
            tokens: Tokens::default(),
            rules: Mutex::default(),
        });
        let (reading, answering) = (script.clone(), script.clone());
        let server = Server::reading(move |request| reading.patience(request), move |_, request| answering.answer(request));
        Self { server, script }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.server.host
    }

    /// From now on does `fault` to the requests that `when` means. The last fault that was told and applies is the one.
    pub fn fault(&self, when: impl Into<When>, fault: Fault) {
        self.rule(when.into(), fault, false);
    }

    fn habit(&self, when: impl Into<When>, fault: Fault) {
        self.rule(when.into(), fault, true);
    }

    fn rule(&self, when: When, fault: Fault, habit: bool) {
        self.script.rules.lock().unwrap().push(Rule { when, fault, asked: 0, dealt: 0, habit });
    }

    /// No faults any more; habits stay.
    pub fn heal(&self) {
        self.script.rules.lock().unwrap().retain(|rule| rule.habit);
    }

    /// How many requests were dealt one of [`Proxy::fault`]'s so far.
    pub fn dealt(&self) -> usize {
        self.script.rules.lock().unwrap().iter().filter(|rule| !rule.habit).map(|rule| rule.dealt).sum()
    }

    /// Starts to count anew: what was asked so far has not been asked.
    pub fn forget(&self) {
        self.server.forget();
    }

    /// All requests so far, also those that the registry has not seen.
    pub fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }

    /// The lines of the requests that `when` means, as in `PUT /v2/app/manifests/v1`.
    pub fn asked(&self, when: impl Into<When>) -> Vec<String> {
        let (when, mut number) = (when.into(), 0);
        let mut meant = |request: &Request| {
            number += usize::from(when.concerns(request));
            when.concerns(request) && when.means(number)
        };
        self.requests().iter().filter(|request| meant(request)).map(Request::line).collect()
    }

    /// The lines of all requests, for a failing test to show.
    pub fn lines(&self) -> Vec<String> {
        self.server.lines()
    }

    /// The scopes that tokens were asked for, each set once, sorted.
    pub fn scopes(&self) -> Vec<String> {
        let mut scopes: Vec<String> = self.requests().iter().filter(|request| Ask::of(request) == Ask::Token).map(tokens::scopes).collect();
        scopes.sort();
        scopes.dedup();
        scopes
    }
}

/// What a server answers to a request without a body. Who asks the real registry hears of no fault.
pub fn ask(host: &str, method: &str, target: &str) -> Reply {
    let accept = ("accept".to_owned(), "application/vnd.oci.image.manifest.v1+json, */*".to_owned());
    let request = Request { method: method.to_owned(), target: target.to_owned(), headers: [accept].into(), body: Vec::new() };
    Upstream(host.to_owned()).ask(&request)
}

/// What a server answers to a request of somebody else's.
pub fn forward(host: &str, request: &Request) -> Reply {
    Upstream(host.to_owned()).ask(request)
}

impl Script {
    /// How much of a request's body is read.
    fn patience(&self, request: &Request) -> usize {
        let size: usize = request.header("content-length").parse().unwrap_or_default();
        if size > 0 && self.deal(request, |fault| *fault == Fault::Reset).is_some() { size / 2 } else { usize::MAX }
    }

    fn answer(&self, request: &Request) -> Answer {
        let fault = self.deal(request, |fault| *fault != Fault::Reset);
        if fault == Some(Fault::Expired) {
            self.tokens.expire();
        }
        match fault {
            Some(fault) => fault.answer(request, |request| self.pass(request)),
            None => self.pass(request).into(),
        }
    }

    /// The fault for a request among those of `kind`, which is dealt by that.
    fn deal(&self, request: &Request, kind: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let mut rules = self.rules.lock().unwrap();
        let mut dealt = None;
        for rule in rules.iter_mut().filter(|rule| kind(&rule.fault) && rule.when.concerns(request)) {
            rule.asked += 1;
            if rule.when.means(rule.asked) {
                dealt = Some(rule);
            }
        }
        let rule = dealt?;
        rule.dealt += 1;
        Some(rule.fault.clone())
    }

    /// What a good registry answers.
    fn pass(&self, request: &Request) -> Reply {
        match Ask::of(request) {
            Ask::Token => self.tokens.issue(request),
            Ask::Page => fault::page(),
            _ if self.guarded && !self.tokens.allow(request) => tokens::challenge(request),
            // A token that may not read the source mounts nothing.
            Ask::Mount if self.guarded && !self.tokens.allow_mount(request) => self.upstream.ask(&fault::without_mount(request)),
            _ => self.upstream.ask(request),
        }
    }
}
