//! `brik login`: credentials tried at the registry, and kept where docker keeps them.

use std::io::Read;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::args::{Format, Global};
use super::columns::columns;
use super::failure::{Code, Failure};
use super::planning::client_options;
use super::print;
use super::surroundings::Surroundings;
use crate::config::{Config, Finding};
use crate::oci::Reference;
use crate::registry::{
    Client, ClientOptions, Credential, Credentials, Error, Kept, Login, LoginFile, Place, RetryPolicy, Secret, Unusable,
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  printf %s \"$TOKEN\" | brik login ghcr.io --username me --password-stdin
                                      try it there, and keep it as `docker login` does
  brik login --status                 where credentials come from, and which cannot be used; no values

The password or token is read from stdin only. It goes to the credential helper that docker's config.json names for the registry,
else into that file ($DOCKER_CONFIG/config.json or ~/.docker/config.json), which nobody else may read then.")]
pub struct LoginArgs {
    /// Host of the registry [default: that of `registry` in brik.toml]
    pub registry: Option<String>,
    /// Who logs in
    #[arg(short, long, value_name = "USER")]
    pub username: Option<String>,
    /// Read the password or token from stdin
    #[arg(long)]
    pub password_stdin: bool,
    /// Only tell where credentials come from
    #[arg(long, conflicts_with_all = ["username", "password_stdin"])]
    pub status: bool,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// What stdout carries with `--format json`.
#[derive(Serialize)]
struct Report<'a> {
    registry: &'a str,
    username: &'a str,
    /// The file or the helper that keeps it.
    kept: String,
    /// Whether the registry asked for credentials, and so has seen these.
    verified: bool,
}

/// A line of `--status`.
#[derive(Serialize)]
struct Line<'a> {
    /// A host, or with a path; `*` where a helper is asked for every one.
    registry: &'a str,
    source: &'a str,
    /// Why it cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    unusable: Option<String>,
}

/// A longer password is a file that was meant for something else.
const LONGEST: u64 = 64 << 10;

pub fn run(global: &Global, args: &LoginArgs) -> Result<ExitCode, Failure> {
    let around = Surroundings::new(global)?;
    let config = around.config()?;
    if args.status {
        return status(&around, config.as_ref(), args).map(|()| ExitCode::SUCCESS);
    }
    let registry = registry(args.registry.as_deref(), config.as_ref(), "login")?;
    let (Some(user), true) = (&args.username, args.password_stdin) else {
        let user = args.username.as_deref().unwrap_or("USER");
        let finding = Finding::error("brik::login::stdin", "a user name is needed, and a password or token on stdin");
        let finding = finding.help(format!(
            "printf %s \"$TOKEN\" | brik login {registry} --username {user} --password-stdin\n(everybody on this machine can read a command \
             line, and shells remember it)"
        ));
        return Err(Failure::findings(Code::Usage, &[finding], None));
    };
    if user.contains(':') || user.chars().any(char::is_control) || user.is_empty() {
        return Err(Failure::usage("--username: a user name has no colon and no control characters, and is not empty"));
    }
    let password = read_password(std::io::stdin())?;
    for secret in [password.expose().to_owned(), format!("{user}:{}", password.expose())] {
        around.redactor.add(secret.as_bytes()).map_err(|error| Failure::usage(error.to_string()))?;
    }
    let failed = |error: Error, help: Option<String>| {
        let finding = Finding::error("brik::login::failed", error.to_string()).maybe_help(error.advice()).maybe_help(help);
        Failure::findings(Code::Failed, &[finding], Some(&around.redactor))
    };
    let login = Login::Password { user: user.clone(), password: password.clone() };
    let credential = Credential { login, source: "the password on stdin".to_owned() };
    let options = ClientOptions {
        credentials: Arc::new(Credentials::only(&registry, credential)),
        retries: RetryPolicy { silence: Duration::from_secs(15), ..RetryPolicy::hasty() },
        ..client_options(config.as_ref())
    };
    let verified = Client::new(options).and_then(|client| client.log_in(&registry)).map_err(|error| {
        let refused = matches!(error, Error::Unauthorized { .. } | Error::Denied { .. });
        failed(error, refused.then(|| "nothing was kept; check the user name, and that the password or token is current".to_owned()))
    })?;
    let kept = LoginFile::of(&around.env).and_then(|file| file.put(&registry, user, &password)).map_err(|error| failed(error, None))?;
    if !verified {
        print::err(&format!("{registry} did not ask for credentials: these were kept as they are\n"));
    }
    if let Kept::File(file) = &kept {
        print::err(&format!("{file} holds the password readably (mode 0600); a credential helper (`credsStore`) would keep it better\n"));
    }
    if let Some(other) = other_source(&around, config.as_ref(), &registry, &kept) {
        print::err(&format!("warning: {other} comes first for {registry}, and is what brik uses\n"));
    }
    let text = match args.format {
        Format::Human => {
            format!("logged in to {registry} as {user}: kept {} {kept}\n", if matches!(kept, Kept::File(_)) { "in" } else { "by" })
        }
        Format::Json => {
            let report = Report { registry: &registry, username: user, kept: kept.to_string(), verified };
            format!("{}\n", serde_json::to_string_pretty(&report).unwrap_or_default())
        }
    };
    print::out(&around.redactor.redact(&text)).map(|()| ExitCode::SUCCESS)
}

/// The host that is meant: `name` as people write it, else that of brik.toml.
pub fn registry(name: Option<&str>, config: Option<&Config>, command: &str) -> Result<String, Failure> {
    let of_config = || config.and_then(|config| config.registry.as_deref()).and_then(|registry| registry.split('/').next());
    let Some(name) = name.or_else(of_config) else {
        let why = "no registry is named, and there is no brik.toml here that has one";
        return Err(Failure::usage(format!("{why}: brik {command} ghcr.io (docker.io is Docker Hub)")));
    };
    let host = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://")).unwrap_or(name);
    let host = host.strip_suffix("/v2/").or_else(|| host.strip_suffix("/v1/")).unwrap_or(host).trim_end_matches('/');
    let host = if matches!(host, "index.docker.io" | "registry-1.docker.io") { "docker.io" } else { host };
    match format!("{host}/image").parse::<Reference>() {
        Ok(reference) if reference.registry == host => Ok(host.to_owned()),
        _ => Err(Failure::usage(format!("{name:?} is no registry: expected a host, as in ghcr.io or localhost:5000"))),
    }
}

fn read_password(stdin: impl Read) -> Result<Secret, Failure> {
    let mut bytes = Vec::new();
    let unreadable = |error: std::io::Error| Failure::usage(format!("the password cannot be read from stdin: {error}"));
    stdin.take(LONGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    let refused = |what: &str| Err(Failure::usage(format!("the password on stdin {what}")));
    if bytes.len() as u64 > LONGEST {
        return refused("is longer than 64 KiB");
    }
    let Ok(text) = String::from_utf8(bytes) else { return refused("is not UTF-8") };
    // The end of line that `echo` adds.
    let text = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if text.is_empty() {
        return refused("is empty");
    }
    if text.chars().any(char::is_control) {
        return refused("has more than one line, or control characters");
    }
    Ok(Secret::new(text))
}

/// Where the credential that a build would use comes from, if that is not where one was just kept.
fn other_source(around: &Surroundings, config: Option<&Config>, registry: &str, kept: &Kept) -> Option<String> {
    let source = discover(around, config).find(registry, "")?.source;
    (source != kept.to_string()).then_some(source)
}

/// What builds here would use.
pub fn discover(around: &Surroundings, config: Option<&Config>) -> Credentials {
    Credentials::discover(around.env.clone(), config.and_then(|config| config.registry.as_deref()))
}

fn status(around: &Surroundings, config: Option<&Config>, args: &LoginArgs) -> Result<(), Failure> {
    let credentials = discover(around, config);
    let asked = args.registry.as_deref().map(|name| registry(Some(name), config, "login --status")).transpose()?;
    let is_asked = |place: &str| asked.as_deref().is_none_or(|asked| place == "*" || place.split('/').next() == Some(asked));
    // What a build here would ask a helper of all for.
    let of_all = asked.clone().or_else(|| registry(None, config, "login --status").ok()).unwrap_or_else(|| "docker.io".to_owned());
    let places = credentials.places(is_asked, &of_all);
    for unusable in credentials.take_unusable().iter().chain(places.iter().filter_map(|place| place.unusable.as_ref())) {
        print::err(&format!("warning: {unusable}\n  help: {}\n", unusable.fix()));
    }
    if args.format == Format::Json {
        let lines = places.iter().map(|place| Line {
            registry: &place.registry,
            source: &place.source,
            unusable: place.unusable.as_ref().map(Unusable::to_string),
        });
        let lines: Vec<Line> = lines.collect();
        return print::out(&format!("{}\n", serde_json::to_string_pretty(&lines).unwrap_or_default()));
    }
    if places.is_empty() {
        print::err("no credentials are known\n");
    }
    let mark = |place: &Place| if place.unusable.is_some() { ", which cannot be used" } else { "" };
    let rows: Vec<[String; 2]> =
        places.into_iter().map(|place| [place.registry.clone(), format!("{}{}", place.source, mark(&place))]).collect();
    print::out(&columns(&rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_a_line_of_text() {
        for (text, password) in
            [("pw", Some("pw")), ("p w\r\n", Some("p w")), ("\n", None), ("a\nb\n", None), ("\u{1b}[2J", None), ("", None)]
        {
            assert_eq!(read_password(text.as_bytes()).ok().map(|secret| secret.expose().to_owned()).as_deref(), password, "{text:?}");
        }
        assert!(read_password(&[b'x'; 70_000][..]).is_err() && read_password(&b"\xff"[..]).is_err());
    }

    #[test]
    fn a_registry_is_named_as_people_do() {
        for (name, host) in [
            ("ghcr.io", Some("ghcr.io")),
            ("https://ghcr.io/v2/", Some("ghcr.io")),
            ("https://index.docker.io/v1/", Some("docker.io")),
            ("localhost:5000", Some("localhost:5000")),
            ("localhost", Some("localhost")),
            ("ghcr.io/org", None),
            ("ghcr", None),
            ("", None),
            ("user@ghcr.io", None),
        ] {
            assert_eq!(registry(Some(name), None, "login").ok().as_deref(), host, "{name}");
        }
        assert!(registry(None, None, "login").is_err());
    }
}
