//! A registry behind a gate: it wants a password or a token, gives out tokens, and, where it refuses, repeats what it was sent.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::support::proxy;
use crate::support::scripted::{Answer, Request, Server};

/// Who may pass.
#[derive(Clone)]
pub struct Pass {
    pub user: String,
    pub password: String,
    /// `docker login` keeps it in place of a password.
    pub identity: String,
    /// What the token server gives to who has one of these.
    pub bearer: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Opens {
    ToAll,
    /// Nobody may write.
    ForReads,
    ToNobody,
}

/// `Basic` where `tokens` is off. `registry` is the host behind it.
pub fn start(registry: &str, pass: Pass, tokens: bool, opens: Opens) -> Server {
    let registry = registry.to_owned();
    Server::start(move |_, request| answer(&registry, &pass, tokens, opens, request))
}

fn answer(registry: &str, pass: &Pass, tokens: bool, opens: Opens, request: &Request) -> Answer {
    let sent = request.header("authorization").to_owned();
    let basic = format!("Basic {}", STANDARD.encode(format!("{}:{}", pass.user, pass.password)));
    let repeating = |status: u16| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let told = serde_json::json!({"errors": [{"code": "DENIED", "message": format!("you said {sent} and {body}")}]});
        Answer::new(status).body(told.to_string())
    };
    if request.target.starts_with("/token") {
        let identified = String::from_utf8_lossy(&request.body).contains(&format!("refresh_token={}", pass.identity));
        return match opens != Opens::ToNobody && (sent == basic || identified) {
            true => Answer::new(200).body(serde_json::json!({"token": pass.bearer}).to_string()),
            false => repeating(401),
        };
    }
    let wanted = if tokens { format!("Bearer {}", pass.bearer) } else { basic };
    let is_upload = request.method != "GET" && request.method != "HEAD";
    if sent == wanted && opens == Opens::ForReads && is_upload {
        return repeating(403);
    }
    if sent != wanted || opens == Opens::ToNobody {
        let host = request.header("host");
        let challenge =
            if tokens { format!("Bearer realm=\"http://{host}/token\",service=\"gate\"") } else { "Basic realm=\"gate\"".to_owned() };
        return repeating(401).header("WWW-Authenticate", challenge);
    }
    proxy::forward(registry, request).into()
}
