//! CI services whose logs fold, and the words that they listen to. What a RUN says must not be one of them.

use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where a run of brik is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forge {
    /// GitHub Actions: workflow commands, `::group::name`.
    /// <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands>
    GitHub,
    /// GitLab CI: `section_start:…` in escape sequences. <https://docs.gitlab.com/ci/jobs/job_logs/#custom-collapsible-sections>
    GitLab,
}

impl Forge {
    /// By `GITHUB_ACTIONS` and `GITLAB_CI`, which the services set to `true`.
    pub fn of(env: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let is = |name| env(name).as_deref() == Some("true");
        if is("GITHUB_ACTIONS") { Some(Self::GitHub) } else { is("GITLAB_CI").then_some(Self::GitLab) }
    }

    /// By the environment of this process.
    pub fn here() -> Option<Self> {
        Self::of(|name| std::env::var(name).ok())
    }

    /// `lines` that fold under `title`. They took `seconds` until now.
    pub(super) fn group(self, title: &str, lines: &str, seconds: f64) -> String {
        match self {
            Self::GitHub => format!("{}{}::endgroup::\n", command("group", &[], title), self.verbatim(lines)),
            Self::GitLab => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
                let (from, to) = ((now - seconds).max(0.0) as u64, now as u64);
                let name = format!("brik_{:016x}", token());
                format!(
                    "\x1b[0Ksection_start:{from}:{name}[collapsed=true]\r\x1b[0K{title}\n{lines}\x1b[0Ksection_end:{to}:{name}\r\x1b[0K\n"
                )
            }
        }
    }

    /// Lines of which none is a command, as they are: commands are off until a token is said that nobody can guess.
    pub fn verbatim(self, lines: &str) -> String {
        match self {
            Self::GitHub if !lines.is_empty() => {
                let token = format!("brik-{:016x}{:016x}", token(), token());
                let end = if lines.ends_with('\n') { "" } else { "\n" };
                format!("::stop-commands::{token}\n{lines}{end}::{token}::\n")
            }
            Self::GitHub | Self::GitLab => lines.to_owned(),
        }
    }

    /// One line of which nothing is a command, also without [`verbatim`](Self::verbatim): the runner looks for `::` where a line begins and
    /// for `##[` anywhere in it.
    pub(super) fn inert(self, line: &str) -> String {
        match self {
            Self::GitHub => {
                let line = line.replace("##[", "# #[");
                if line.trim_start().starts_with("::") { line.replacen("::", ": :", 1) } else { line }
            }
            Self::GitLab => line.to_owned(),
        }
    }

    /// A line that is also shown beside the job: `[CACHE] HIT api`.
    pub(super) fn notice(self, line: &str) -> String {
        match self {
            Self::GitHub => command("notice", &[], line),
            Self::GitLab => format!("{line}\n"),
        }
    }

    /// A warning, beside the line of the file that it is about where that is known.
    pub(super) fn warning(self, message: &str, file: Option<&str>, line: Option<usize>) -> String {
        match self {
            Self::GitHub => {
                let line = line.map(|line| line.to_string());
                command("warning", &[("file", file), ("line", line.as_deref())], message)
            }
            Self::GitLab => format!("warning: {message}\n"),
        }
    }
}

/// A workflow command of GitHub Actions, with its line feed; properties without a value are left out.
pub fn command(name: &str, properties: &[(&str, Option<&str>)], data: &str) -> String {
    let escape = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| escape(text).replace(':', "%3A").replace(',', "%2C");
    let mut command = format!("::{name}");
    let mut before = ' ';
    for (key, value) in properties.iter().filter_map(|(key, value)| Some((key, value.as_ref()?))) {
        let _ = write!(command, "{before}{key}={}", property(value));
        before = ',';
    }
    // The runner knows `::notice ::`, too, which is how logs are searched for it.
    let space = if before == ' ' && name == "notice" { " " } else { "" };
    format!("{command}{space}::{}\n", escape(data))
}

/// Keyed by the randomness of the system, other than any before.
fn token() -> u64 {
    RandomState::new().hash_one(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forge_is_known_by_its_variable() {
        let of = |set: &str, value: &str| Forge::of(|name| (name == set).then(|| value.to_owned()));
        assert_eq!(of("GITHUB_ACTIONS", "true"), Some(Forge::GitHub));
        assert_eq!(of("GITLAB_CI", "true"), Some(Forge::GitLab));
        assert_eq!(of("GITHUB_ACTIONS", "false"), None);
        assert_eq!(of("CI", "true"), None);
    }

    #[test]
    fn what_is_said_in_a_command_cannot_end_it() {
        let text = command("error", &[("file", Some("a:b,c.txt")), ("line", None), ("title", Some("50%"))], "one\ntwo\r::set-env::");
        assert_eq!(text, "::error file=a%3Ab%2Cc.txt,title=50%25::one%0Atwo%0D::set-env::\n");
        assert_eq!(Forge::GitHub.notice("[CACHE] HIT api"), "::notice ::[CACHE] HIT api\n");
        assert_eq!(Forge::GitHub.warning("w", Some("Dockerfile"), Some(3)), "::warning file=Dockerfile,line=3::w\n");
    }

    #[test]
    fn no_line_is_a_command_that_was_not_meant_to_be() {
        for (line, shown) in [
            ("::set-output name=a::b", ": :set-output name=a::b"),
            ("  ::error::x", "  : :error::x"),
            ("a ##[add-mask]b", "a # #[add-mask]b"),
            ("a::b ## c", "a::b ## c"),
        ] {
            assert_eq!(Forge::GitHub.inert(line), shown);
        }
        let (one, other) = (Forge::GitHub.verbatim("::error::x\n"), Forge::GitHub.verbatim("::error::x"));
        let token = one.lines().next().unwrap().strip_prefix("::stop-commands::").unwrap();
        assert_eq!(one, format!("::stop-commands::{token}\n::error::x\n::{token}::\n"));
        assert!(other.ends_with("::\n") && !other.contains(token), "each is used once");
    }

    #[test]
    fn a_section_of_gitlab_begins_and_ends_with_the_same_name() {
        let text = Forge::GitLab.group("[api 1/2] RUN npm ci", "line\n", 2.0);
        let (start, rest) = text.split_once("[collapsed=true]\r\x1b[0K[api 1/2] RUN npm ci\nline\n\x1b[0Ksection_end:").unwrap();
        let (from, name) = start.strip_prefix("\x1b[0Ksection_start:").unwrap().split_once(':').unwrap();
        let (to, end) = rest.split_once(':').unwrap();
        assert_eq!(end, format!("{name}\r\x1b[0K\n"));
        assert!((2..=3).contains(&(to.parse::<u64>().unwrap() - from.parse::<u64>().unwrap())));
    }
}
