//! How the program `git` is run: nothing of the user's or the system's configuration, no hooks, no prompts, no protocol that reads this
//! machine's files, no credentials in arguments, bounded output and time.
//!
//! The program and not a library, as in BuildKit: what brik links of libgit2 has no transports, which would need OpenSSL and libssh2; gix is a
//! hundred crates. git ends with brik, however brik ends.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::build::sandbox::ends_with_us;

/// What one run may take. Transfers that do not move end sooner (`http.lowSpeedTime`, ssh's keep-alives).
const LONGEST: Duration = Duration::from_secs(30 * 60);
/// Bytes of output that are looked at.
const MOST_OUTPUT: u64 = 8 << 20;

/// Variables that git's transports need and that run no program.
const INHERITED: [&str; 14] = [
    "PATH",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "TMPDIR",
];

#[derive(Debug, thiserror::Error)]
pub(super) enum GitError {
    #[error("there is no program `git` in PATH, which brik fetches repositories with; install it, or check the repository out and COPY it")]
    Missing,
    #[error("git cannot be run: {0}")]
    Run(#[from] io::Error),
    #[error("git {command} took more than {} minutes", LONGEST.as_secs() / 60)]
    Slow { command: String },
    #[error(
        "the server gives it out to nobody without credentials, or not with these ({message}); give the service the secret GIT_AUTH_TOKEN or \
         GIT_AUTH_HEADER, or an ssh agent for git@…"
    )]
    Unauthorised { message: String },
    #[error("git {command}: {message}")]
    Failed { command: String, message: String },
}

pub(super) struct Git {
    env: Vec<(String, String)>,
    config: Vec<(String, String)>,
    /// Where it runs; the repository, once there is one.
    directory: PathBuf,
    /// What must not be told: user and password of the remote, as written.
    hidden: Option<String>,
}

impl Git {
    /// `hosts` is a file that keys of hosts nobody knows yet are noted in.
    pub fn new(directory: &Path, environment: &BTreeMap<String, String>, agent: Option<&Path>, hosts: &Path) -> Self {
        let inherited = INHERITED.iter().filter_map(|name| Some(((*name).to_owned(), environment.get(*name)?.clone())));
        let mut env: Vec<(String, String)> = inherited.collect();
        let home = environment.get("HOME").map_or("/nonexistent", String::as_str);
        for (name, value) in [
            ("LC_ALL", "C"),
            ("HOME", "/nonexistent"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_ATTR_NOSYSTEM", "1"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_NO_REPLACE_OBJECTS", "1"),
            // file:// and ext:: would read this machine's files and run its programs, also for submodules.
            ("GIT_ALLOW_PROTOCOL", "http:https:ssh:git"),
        ] {
            env.push((name.to_owned(), value.to_owned()));
        }
        // A repository around the store has a configuration, too.
        let around = directory.parent().unwrap_or(directory).to_string_lossy().into_owned();
        env.push(("GIT_CEILING_DIRECTORIES".to_owned(), around));
        // The user's known hosts count; a host that nobody knows is believed, as BuildKit does, and not remembered.
        let quoted = |path: &str| path.replace('\\', "\\\\").replace('"', "\\\"");
        let ssh = format!(
            "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o ConnectTimeout=30 -o ServerAliveInterval=20 \
             -o 'UserKnownHostsFile=\"{}\" \"{}/.ssh/known_hosts\"'",
            quoted(&hosts.to_string_lossy()).replace('\'', ""),
            quoted(home).replace('\'', "")
        );
        env.push(("GIT_SSH_COMMAND".to_owned(), ssh));
        env.extend(agent.map(|socket| ("SSH_AUTH_SOCK".to_owned(), socket.to_string_lossy().into_owned())));
        let config = [
            ("core.hooksPath", "/dev/null"),
            ("core.fsmonitor", "false"),
            ("core.autocrlf", "false"),
            ("core.symlinks", "true"),
            ("core.logAllRefUpdates", "false"),
            ("credential.helper", ""),
            ("init.defaultBranch", "master"),
            ("init.templateDir", ""),
            ("advice.detachedHead", "false"),
            ("gc.auto", "0"),
            ("maintenance.auto", "false"),
            ("fetch.recurseSubmodules", "false"),
            // Packs of one content have one form, whatever the number of processors.
            ("pack.threads", "1"),
            ("http.lowSpeedLimit", "1"),
            ("http.lowSpeedTime", "60"),
            // The store's owner is whoever runs brik.
            ("safe.directory", "*"),
        ];
        let config = config.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Self { env, config, directory: directory.to_owned(), hidden: None }
    }

    /// Sends `Authorization: header` to URLs that begin with `scope`. It travels in the environment, which only this user can read.
    pub fn authorise(&mut self, scope: &str, header: &str) {
        self.config.push((format!("http.{scope}.extraHeader"), format!("Authorization: {header}")));
        // git would show the header to whoever the server redirects it to.
        self.config.push((format!("http.{scope}.followRedirects"), "false".to_owned()));
    }

    /// From now on, no message has this in it.
    pub fn hide(&mut self, text: &str) {
        self.hidden = Some(text.to_owned());
    }

    pub fn in_directory(&mut self, directory: &Path) {
        self.directory = directory.to_owned();
    }

    /// Runs a command and returns what it writes to stdout.
    pub fn run(&self, args: &[&str]) -> Result<String, GitError> {
        let name = args.iter().find(|arg| !arg.starts_with('-')).copied().unwrap_or_default().to_owned();
        let mut command = Command::new("git");
        command.args(args).current_dir(&self.directory).env_clear().envs(self.env.iter().map(|(name, value)| (name, value)));
        command.env("GIT_CONFIG_COUNT", self.config.len().to_string());
        for (index, (key, value)) in self.config.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{index}"), key).env(format!("GIT_CONFIG_VALUE_{index}"), value);
        }
        let child = ends_with_us(&mut command).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => GitError::Missing,
            _ => GitError::Run(error),
        })?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (status, stdout, stderr) = std::thread::scope(|scope| {
            let stdout = scope.spawn(move || stdout.map(text_of).unwrap_or_default());
            let stderr = scope.spawn(move || stderr.map(text_of).unwrap_or_default());
            let status = wait(&mut child);
            (status, stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default())
        });
        match status? {
            None => Err(GitError::Slow { command: name }),
            Some(true) => Ok(stdout),
            Some(false) => {
                let message = self.told(&stderr);
                let refused =
                    ["could not read Username", "could not read Password", "Authentication failed", "Permission denied (publickey"];
                match refused.iter().any(|part| message.contains(part)) {
                    true => Err(GitError::Unauthorised { message }),
                    false => Err(GitError::Failed { command: name, message }),
                }
            }
        }
    }

    /// What git says of a failure, on one line.
    fn told(&self, stderr: &str) -> String {
        let lines = stderr.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("hint:"));
        let text = lines.collect::<Vec<_>>().join("; ");
        let text = self.hidden.as_ref().map_or(text.clone(), |hidden| text.replace(hidden.as_str(), "***"));
        match text.char_indices().nth(2000) {
            Some((at, _)) => format!("{}…", &text[..at]),
            None => text,
        }
    }
}

/// Whether it succeeded; `None` where it took too long and was ended.
fn wait(child: &mut Child) -> io::Result<Option<bool>> {
    let deadline = Instant::now() + LONGEST;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.success()));
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// The first part of what a pipe brings; the rest is read and forgotten, so that nobody has to wait.
fn text_of(mut pipe: impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = pipe.by_ref().take(MOST_OUTPUT).read_to_end(&mut bytes);
    let _ = io::copy(&mut pipe, &mut io::sink());
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(env: &[(&str, &str)]) -> (tempfile::TempDir, Git) {
        let directory = tempfile::tempdir().unwrap();
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let git = Git::new(directory.path(), &env, None, &directory.path().join("hosts"));
        (directory, git)
    }

    fn path() -> String {
        std::env::var("PATH").unwrap_or_default()
    }

    #[test]
    fn files_of_this_machine_are_no_repositories() {
        let (directory, git) = git(&[("PATH", &path())]);
        git.run(&["init", "--quiet", "--", "other"]).unwrap();
        let other = directory.path().join("other");
        for url in [format!("file://{}", other.display()), other.display().to_string(), "ext::touch% ran".to_owned()] {
            let error = git.run(&["ls-remote", "--", &url]).unwrap_err().to_string();
            assert!(error.contains("not allowed"), "{url}: {error}");
        }
        assert!(!directory.path().join("ran").exists());
    }

    #[test]
    fn a_machine_without_git_is_told_so() {
        let (_directory, git) = git(&[("PATH", "/nonexistent")]);
        assert!(matches!(git.run(&["version"]), Err(GitError::Missing)), "{:?}", git.run(&["version"]));
    }

    #[test]
    fn configuration_comes_from_nowhere_else_and_headers_are_in_no_argument() {
        let (_directory, mut git) = git(&[("PATH", &path()), ("HOME", "/root"), ("GIT_CONFIG_PARAMETERS", "'a.b'='c'")]);
        git.authorise("https://h/", "Basic c2VjcmV0");
        let listed = git.run(&["config", "--list"]).unwrap();
        assert!(listed.contains("http.https://h/.extraheader=Authorization: Basic c2VjcmV0"), "{listed}");
        assert!(!listed.contains("a.b=c") && !listed.contains("user.name"), "{listed}");
    }

    #[test]
    fn what_is_hidden_is_in_no_message() {
        let (_directory, mut git) = git(&[]);
        git.hide("me:secret");
        assert_eq!(
            git.told("hint: try\nfatal: unable to access 'https://me:secret@h/x':\n  no\n"),
            "fatal: unable to access 'https://***@h/x':; no"
        );
    }
}
