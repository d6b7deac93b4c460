//! `docker-credential-NAME get|store|erase`: a server's key or a document on stdin, for `get` JSON on stdout.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde::Deserialize;

use super::credentials::{Credential, Login, Secret};

/// A helper that asks the user something has lost by then.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_ANSWER: u64 = 1 << 20;

pub(super) enum Found {
    Credential(Credential),
    /// The helper knows nothing of this server.
    Nothing,
    Missing,
    Failed(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// What a helper has come to.
enum Ended {
    /// stdout, of one that succeeded.
    Said(Vec<u8>),
    /// By the known words of those that have nothing to give or to erase.
    Nothing,
    Missing,
    Failed(String),
}

/// Asks the helper for the credential of a server.
pub(super) fn get(name: &str, server: &str, env: &BTreeMap<String, String>, timeout: Duration) -> Found {
    let text = match run(name, "get", format!("{server}\n"), env, timeout) {
        Ended::Said(text) => text,
        Ended::Nothing => return Found::Nothing,
        Ended::Missing => return Found::Missing,
        Ended::Failed(reason) => return Found::Failed(reason),
    };
    let Ok(Answer { username, secret }) = serde_json::from_slice(&text) else {
        return Found::Failed("its answer is not the JSON that the protocol asks for".to_owned());
    };
    if secret.is_empty() {
        return Found::Nothing;
    }
    let secret = Secret::new(secret);
    let login = if username == "<token>" { Login::IdentityToken(secret) } else { Login::Password { user: username, password: secret } };
    Found::Credential(Credential { login, source: program(name) })
}

/// Gives a password to the helper. The error is what went wrong, to be said after its name.
pub(super) fn store(name: &str, server: &str, user: &str, password: &Secret, env: &BTreeMap<String, String>) -> Result<(), String> {
    let document = serde_json::json!({"ServerURL": server, "Username": user, "Secret": password.expose()});
    match run(name, "store", format!("{document}\n"), env, TIMEOUT) {
        Ended::Said(_) => Ok(()),
        Ended::Nothing => Err("does not take it".to_owned()),
        other => Err(other.complaint()),
    }
}

/// Has the helper forget a server; whether it knew it.
pub(super) fn erase(name: &str, server: &str, env: &BTreeMap<String, String>) -> Result<bool, String> {
    match run(name, "erase", format!("{server}\n"), env, TIMEOUT) {
        Ended::Said(_) => Ok(true),
        Ended::Nothing => Ok(false),
        other => Err(other.complaint()),
    }
}

/// The name of a helper's program.
pub(super) fn program(name: &str) -> String {
    format!("docker-credential-{name}")
}

impl Ended {
    fn complaint(self) -> String {
        match self {
            Self::Failed(reason) => format!("failed: {reason}"),
            _ => "is not installed".to_owned(),
        }
    }
}

/// Runs the helper, with `env` as its whole environment, and kills it after `timeout`. Its own words are never repeated but for the known
/// "not found".
fn run(name: &str, verb: &str, input: String, env: &BTreeMap<String, String>, timeout: Duration) -> Ended {
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
        return Ended::Failed("its name has characters that no helper has".to_owned());
    }
    let mut command = Command::new(program(name));
    command.arg(verb).env_clear().envs(env).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = match command.spawn() {
        Ok(child) => child,
        // A directory of $PATH that may not be searched hides what is not there, too (execvp(3), EACCES).
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => return Ended::Missing,
        Err(error) => return Ended::Failed(error.to_string()),
    };
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let (sender, receiver) = mpsc::channel();
    // The pipes live in a thread of their own, so that a helper that neither reads nor writes cannot hold us. It ends with the pipes.
    std::thread::spawn(move || {
        // A helper that does not want to know has closed its stdin: that is its answer's business.
        let _ = stdin.map(|mut stdin| stdin.write_all(input.as_bytes()));
        let mut text = Vec::new();
        let read = stdout.map_or(Ok(0), |stdout| stdout.take(MAX_ANSWER).read_to_end(&mut text));
        let _ = sender.send(read.map(|_| text));
    });
    let answer = receiver.recv_timeout(timeout);
    if answer.is_err() {
        let _ = child.kill();
    }
    let status = child.wait();
    let (text, status) = match (answer, status) {
        (Ok(Ok(text)), Ok(status)) => (text, status),
        (Ok(Err(error)), _) | (_, Err(error)) => return Ended::Failed(error.to_string()),
        (Err(_), _) => return Ended::Failed(format!("no answer within {} s", timeout.as_secs())),
    };
    if status.success() {
        return Ended::Said(text);
    }
    let said = String::from_utf8_lossy(&text).to_ascii_lowercase();
    if said.contains("not found") { Ended::Nothing } else { Ended::Failed(status.to_string()) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::path::Path;

    /// Puts a helper into `directory`, and returns an environment whose PATH finds it.
    pub(in crate::registry) fn install(directory: &Path, name: &str, script: &str) -> BTreeMap<String, String> {
        let (draft, program) = (directory.join("draft"), directory.join(format!("docker-credential-{name}")));
        std::fs::write(&draft, format!("#!/bin/sh\n{script}")).unwrap();
        // By another process: a file that a forking test holds open for writing cannot be executed (ETXTBSY).
        let installed = Command::new("install").arg("-m755").arg(draft).arg(program).status().unwrap();
        assert!(installed.success());
        let home = directory.display().to_string();
        BTreeMap::from([("PATH".to_owned(), format!("{home}:/usr/bin:/bin")), ("HOME".to_owned(), home)])
    }

    #[test]
    fn every_way_in_which_a_helper_fails_is_survived() {
        let directory = tempfile::tempdir().unwrap();
        for (script, expected) in [
            ("echo credentials not found in native keychain; exit 1", "nothing"),
            ("echo hunter2; exit 3", "exit status: 3"),
            ("echo hunter2", "its answer is not the JSON that the protocol asks for"),
            ("echo '{\"Username\":\"\",\"Secret\":\"\"}'", "nothing"),
            ("exec </dev/null; echo '{\"Username\":\"<token>\",\"Secret\":\"id\"}'", "id"),
            ("exec sleep 60", "no answer within 0 s"),
        ] {
            let env = install(directory.path(), "x", script);
            let patience = Duration::from_millis(if script.contains("sleep") { 300 } else { 30_000 });
            let found = match get("x", "r.io", &env, patience) {
                Found::Credential(Credential { login: Login::IdentityToken(token), .. }) => token.expose().to_owned(),
                Found::Credential(other) => panic!("{other:?}"),
                Found::Nothing => "nothing".to_owned(),
                Found::Missing => "missing".to_owned(),
                Found::Failed(reason) => reason,
            };
            assert_eq!(found, expected, "{script}");
        }
        for bad in ["", "../x", "a b", "x;y"] {
            assert!(matches!(get(bad, "r.io", &BTreeMap::new(), Duration::ZERO), Found::Failed(_)), "{bad}");
        }
    }
}
