//! What is done to a request.

use std::time::Duration;

use super::super::scripted::{Answer, Request};
use super::tokens;
use super::upstream::Reply;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Answers, but late.
    Slow(Duration),
    /// 429 with this `Retry-After`: seconds, or a date.
    TooMany(&'static str),
    /// 429 as GHCR words it: milliseconds, and in the message.
    TooManyForMs(u32),
    /// 403 that means 429: GitHub's secondary rate limit.
    SecondaryLimit,
    /// 403: the package is there and is not open to this workflow.
    WritePackage,
    /// 405
    Unsupported,
    /// 416 as GHCR words it.
    RangeTooLarge,
    /// 404
    Missing,
    /// 303 to a web page.
    WebPage,
    /// 200 with a web page.
    Html,
    /// 200 with JSON that says nothing.
    Garbage,
    /// An answer with this status that says nothing.
    Status(u16),
    /// 401 with a challenge, whatever the token.
    Challenge,
    /// A POST that wants a mount opens an upload instead (202).
    NoMount,
    /// Hangs up without an answer; the registry never hears of the request.
    HangUp,
    /// The registry does it, and the answer is lost.
    Lost,
    /// The connection is reset in the midst of the request's body. Requests without one pass.
    Reset,
    /// Hangs up in the midst of the answer's body.
    Cut,
    /// Half of the body, in good form: of the request's where it has one, else of the answer's.
    Truncated,
    /// One bit flipped in the body: in the request's where it has one, else in the answer's.
    Flipped,
    /// The body and some more, in good form: of the request's where it has one, else of the answer's.
    Longer,
    /// The answer's head lies about digest and, of a HEAD, length.
    Misnamed,
    /// The connection is reset before a word of the answer.
    ResetBefore,
    /// The connection is reset in the midst of the answer: of its body, or of its head where it has none.
    ResetAmid,
    /// All tokens so far are void.
    Expired,
    /// The answer comes a byte at a time, with such pauses.
    Drip(Duration),
    /// 307 to this host, same path.
    Elsewhere(String),
    /// The tag that is read is another's by now: that of `moved`, in the same repository.
    Moved,
}

impl Fault {
    /// `pass` asks the registry.
    pub(super) fn answer(&self, request: &Request, pass: impl Fn(&Request) -> Reply) -> Answer {
        match self {
            Self::Slow(delay) => Answer::from(pass(request)).delay(*delay),
            Self::TooMany(wait) => Reply::error(429, "TOOMANYREQUESTS", "too many requests").header("Retry-After", *wait).into(),
            Self::TooManyForMs(ms) => {
                Reply::error(429, "TOOMANYREQUESTS", &format!("retry-after: {ms}.889377ms, allowed: 2000/minute")).into()
            }
            Self::SecondaryLimit => {
                let words = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
                Reply::error(403, "DENIED", words).header("Retry-After", "1").into()
            }
            Self::WritePackage => Reply::error(403, "DENIED", "permission_denied: write_package").into(),
            Self::Unsupported => Reply::error(405, "UNSUPPORTED", "The operation is unsupported.").into(),
            Self::RangeTooLarge => Reply::error(
                416,
                "REQUESTED_RANGE_NOT_SATISFIABLE",
                "the request body is too large and exceeds the maximum permissible limit of 4.00MiB",
            )
            .into(),
            Self::Missing => Reply::error(404, "NOT_FOUND", "not found").into(),
            Self::WebPage => Reply::new(303).header("Location", format!("http://{}/login", request.header("host"))).into(),
            Self::Html => page().into(),
            Self::Garbage => Reply::new(200).body("application/json", r#"{"yes":true}"#).into(),
            Self::Status(status) => Answer::new(*status),
            Self::Challenge => tokens::challenge(request).into(),
            Self::NoMount => pass(&without_mount(request)).into(),
            Self::HangUp | Self::Reset => Answer::hang_up(),
            Self::Lost => {
                pass(request);
                Answer::hang_up()
            }
            Self::Cut => {
                let reply = pass(request);
                let half = reply.body.len() / 2;
                Answer::from(reply).cut(half)
            }
            Self::Truncated => changed(request, pass, |body| body.truncate(body.len() / 2)),
            Self::Flipped => changed(request, pass, |body| {
                let middle = body.len() / 2;
                body.get_mut(middle).into_iter().for_each(|byte| *byte ^= 1);
            }),
            Self::Longer => changed(request, pass, |body| body.extend_from_slice(b" and some more")),
            Self::Misnamed => misnamed(request, pass(request)).into(),
            Self::ResetBefore => Answer::hang_up().reset(),
            Self::ResetAmid => {
                let reply = pass(request);
                let half = reply.body.len() / 2;
                let has_body = half > 0 && request.method != "HEAD";
                let answer = Answer::from(reply).reset();
                if has_body { answer.cut(half) } else { answer.cut_head() }
            }
            // Void they are by now.
            Self::Expired => pass(request).into(),
            Self::Drip(pause) => Answer::from(pass(request)).drip(*pause),
            Self::Elsewhere(host) => Reply::new(307).header("Location", format!("http://{host}{}", request.target)).into(),
            Self::Moved => pass(&moved(request)).into(),
        }
    }
}

fn changed(request: &Request, pass: impl Fn(&Request) -> Reply, change: impl Fn(&mut Vec<u8>)) -> Answer {
    if !request.body.is_empty() {
        let mut request = request.clone();
        change(&mut request.body);
        return pass(&request).into();
    }
    let mut reply = pass(request);
    if request.method != "HEAD" {
        reply.headers.retain(|(name, _)| name != "Content-Length");
        change(&mut reply.body);
    }
    reply.into()
}

fn misnamed(request: &Request, mut reply: Reply) -> Reply {
    for (name, value) in &mut reply.headers {
        match name.as_str() {
            "Docker-Content-Digest" => *value = format!("sha256:{}", "0123456789abcdef".repeat(4)),
            "Content-Length" if request.method == "HEAD" => *value += "0",
            _ => {}
        }
    }
    reply
}

/// The same, of the tag `moved`; what is named by its digest does not move.
fn moved(request: &Request) -> Request {
    match request.target.rsplit_once("/manifests/") {
        Some((repository, name)) if !name.starts_with("sha256:") => {
            Request { target: format!("{repository}/manifests/moved"), ..request.clone() }
        }
        _ => request.clone(),
    }
}

/// What GitHub shows to browsers.
pub(super) fn page() -> Reply {
    Reply::new(200).body("text/html; charset=utf-8", "<!DOCTYPE html><html><title>Sign in</title></html>")
}

/// The same POST, which opens an upload.
pub(super) fn without_mount(request: &Request) -> Request {
    let path = request.target.split('?').next().unwrap_or_default();
    Request { target: path.to_owned(), ..request.clone() }
}
