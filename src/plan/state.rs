//! The state of a stage while its instructions are read: file system, image configuration, variables and history.
//! Semantics and history texts follow BuildKit's `dockerfile2llb/convert.go`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::environment::{DEFAULT_PATH, Environment, NO_VARIABLES};
use super::step::Root;
use crate::dockerfile::lint::is_secret;
use crate::oci::{Empty, Healthcheck, HistoryEntry, ImageConfig, Platform};

const WINDOWS: &str = "windows";
const HISTORY_COMMENT: &str = "buildkit.dockerfile.v0";

#[derive(Debug, Clone)]
pub struct StageState {
    pub root: Root,
    pub image: ImageConfig,
    pub platform: Platform,
    /// ENV and ARG values in force.
    pub env: Environment,
    /// Declared ARGs in order, for the history of RUN.
    pub declared: Vec<(String, Option<String>)>,
    /// Labels with their values where another commit changes these: not those of `image`, which its key is made of.
    pub volatile: BTreeMap<String, String>,
    /// Labels that the Dockerfile itself sets.
    own_labels: BTreeSet<String>,
    /// ARGs that have their values of git.
    pub filled: BTreeSet<String>,
    /// About the bytes of variables and history: what a copy of the state takes.
    pub size: usize,
    /// Where the configuration has each of its variables.
    env_places: HashMap<String, usize>,
    cmd_set: bool,
}

impl StageState {
    /// A stage that starts on `root` with the configuration of its base image or base stage.
    pub fn on(root: Root, mut image: ImageConfig, platform: Platform) -> Self {
        image.created = None;
        let config = &mut image.config;
        // On Windows it is the system that has a PATH.
        if image.os != WINDOWS && config.env_var("PATH").is_none() {
            config.set_env("PATH", DEFAULT_PATH);
        }
        if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
            config.working_dir = normalize("/", &config.working_dir);
        }
        let (mut env, mut env_places) = (Environment::default(), HashMap::new());
        for (place, entry) in config.env.iter().enumerate() {
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            env.set(name, value);
            env_places.entry(name.to_owned()).or_insert(place);
        }
        Self {
            root,
            image,
            platform,
            env,
            declared: Vec::new(),
            volatile: BTreeMap::new(),
            own_labels: BTreeSet::new(),
            filled: BTreeSet::new(),
            size: 0,
            env_places,
            cmd_set: false,
        }
    }

    /// A stage that continues this one. ONBUILD triggers have been taken out by the caller.
    pub fn continued(&self) -> Self {
        let mut next = self.clone();
        next.image.config.on_build.clear();
        // ARGs of the base stage stay in force, below the ENV of its configuration (BuildKit copies the state, then adds ENV).
        for entry in &next.image.config.env {
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            next.env.set(name, value);
        }
        next.cmd_set = false;
        next
    }

    /// The working directory in force: an absolute, clean path.
    pub fn working_dir(&self) -> String {
        normalize("/", &self.image.config.working_dir)
    }

    pub fn user(&self) -> &str {
        &self.image.config.user
    }

    pub fn history(&mut self, created_by: String, layer: bool) {
        self.size += created_by.len() + size_of::<HistoryEntry>();
        self.image.history.push(HistoryEntry {
            created_by,
            comment: HISTORY_COMMENT.to_owned(),
            empty_layer: !layer,
            ..Default::default()
        });
    }

    pub fn set_env(&mut self, pairs: &[(String, String)]) {
        let mut text = "ENV".to_owned();
        for (name, value) in pairs {
            text += &format!(" {name}={value}");
            self.env.set(name, value);
            self.filled.remove(name);
            let (entry, end) = (format!("{name}={value}"), self.image.config.env.len());
            match *self.env_places.entry(name.clone()).or_insert(end) {
                place if place < end => self.image.config.env[place] = entry,
                _ => self.image.config.env.push(entry),
            }
        }
        self.history(text, false);
    }

    /// Names, values as the key has them, and the values themselves.
    pub fn set_labels(&mut self, labels: &[(String, String, String)]) {
        let mut text = "LABEL".to_owned();
        for (name, keyed, value) in labels {
            text += &format!(" {name}={keyed}");
            self.image.config.labels.insert(name.clone(), keyed.clone());
            self.own_labels.insert(name.clone());
            if keyed == value {
                self.volatile.remove(name);
            } else {
                self.volatile.insert(name.clone(), value.clone());
            }
        }
        self.history(text, false);
    }

    /// Whether the Dockerfile sets a label itself.
    pub fn has_own_label(&self, name: &str) -> bool {
        self.own_labels.contains(name)
    }

    /// Sets labels that the Dockerfile does not set itself. `volatile`: their values are no part of the image's key.
    pub fn complete_labels(&mut self, labels: BTreeMap<String, String>, volatile: bool) {
        let to = if volatile { &mut self.volatile } else { &mut self.image.config.labels };
        to.extend(labels.into_iter().filter(|(name, _)| !self.own_labels.contains(name)));
    }

    /// Declares an ARG with the value that it has, or none.
    pub fn declare(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value.filter(|_| !NO_VARIABLES.contains(&name)) {
            self.env.set(name, value);
        }
        self.declared.push((name.to_owned(), value.map(str::to_owned)));
    }

    /// The variables that come from ARG and from nothing else.
    pub fn declared_only(&self) -> Vec<String> {
        let declared = self.declared.iter().map(|(name, _)| name);
        declared.filter(|name| !self.env_places.contains_key(*name)).cloned().collect()
    }

    /// The words of a shell-form command with the SHELL in force before them.
    pub fn with_shell(&self, command: &str) -> Vec<String> {
        let default: &[&str] = if self.image.os == WINDOWS { &["cmd", "/S", "/C"] } else { &["/bin/sh", "-c"] };
        let shell = self.image.config.shell.clone().filter(|shell| !shell.is_empty());
        let mut words = shell.unwrap_or_else(|| default.iter().map(|&word| word.to_owned()).collect());
        words.push(command.to_owned());
        words
    }

    pub fn set_cmd(&mut self, words: Vec<String>) {
        self.history(format!("CMD {}", quoted_list(&words)), false);
        self.image.config.cmd = Some(words).filter(|words| !words.is_empty());
        self.image.config.args_escaped = true;
        self.cmd_set = true;
    }

    pub fn set_entrypoint(&mut self, words: Vec<String>) {
        self.history(format!("ENTRYPOINT {}", quoted_list(&words)), false);
        self.image.config.entrypoint = Some(words).filter(|words| !words.is_empty());
        if !self.cmd_set {
            self.image.config.cmd = None;
        }
    }

    pub fn set_user(&mut self, user: &str) {
        user.clone_into(&mut self.image.config.user);
        self.history(format!("USER {user}"), false);
    }

    pub fn set_volumes(&mut self, volumes: &[String]) {
        self.image.config.volumes.extend(volumes.iter().map(|volume| (volume.clone(), Empty {})));
        self.history(format!("VOLUME [{}]", volumes.join(" ")), false);
    }

    /// `ports` are normalised: `80/tcp`.
    pub fn expose(&mut self, ports: &[String]) {
        self.image.config.exposed_ports.extend(ports.iter().map(|port| (port.clone(), Empty {})));
        self.history(format!("EXPOSE [{}]", ports.join(" ")), false);
    }

    pub fn set_stop_signal(&mut self, signal: &str) {
        signal.clone_into(&mut self.image.config.stop_signal);
        self.history(format!("STOPSIGNAL {signal}"), false);
    }

    pub fn set_shell(&mut self, shell: Vec<String>) {
        self.history(format!("SHELL [{}]", shell.join(" ")), false);
        self.image.config.shell = Some(shell);
    }

    pub fn set_maintainer(&mut self, maintainer: &str) {
        self.image.author = Some(maintainer.to_owned());
        self.history(format!("MAINTAINER {maintainer}"), false);
    }

    pub fn set_healthcheck(&mut self, check: Healthcheck) {
        // Go's `%+v` of the structure.
        let text = format!(
            "HEALTHCHECK {{Test:[{}] Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{}}}",
            check.test.join(" "),
            go_duration(check.interval),
            go_duration(check.timeout),
            go_duration(check.start_period),
            go_duration(check.start_interval),
            check.retries
        );
        self.history(text, false);
        self.image.config.healthcheck = Some(check);
    }

    pub fn add_trigger(&mut self, instruction: &str) {
        self.size += instruction.len();
        self.image.config.on_build.push(instruction.to_owned());
    }

    /// Sets the working directory. The configuration has an absolute path as it is written (BuildKit), a relative one joined.
    pub fn set_working_dir(&mut self, path: &str) {
        let whole = if path.starts_with('/') { path.to_owned() } else { normalize(&self.working_dir(), path) };
        self.image.config.working_dir = whole;
    }

    /// `RUN |2 A=1 B=2 /bin/sh -c …`, as BuildKit's `runCommandString`, but for values of what is named like a secret.
    pub fn run_history(&self, words: &[String]) -> String {
        // Of several declarations the first says where, the last what.
        let last: HashMap<&str, Option<&str>> = self.declared.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        let mut told = HashSet::new();
        let declared = self.declared.iter().map(|(name, _)| name.as_str()).filter(|name| told.insert(*name));
        let args: Vec<(&str, &str)> =
            declared.map(|name| (name, self.env.get(name).or(last.get(name).copied().flatten()).unwrap_or_default())).collect();
        let mut parts = Vec::new();
        if !args.is_empty() {
            parts.push(format!("|{}", args.len()));
        }
        parts.extend(args.into_iter().map(|(name, value)| format!("{name}={}", history_value(name, value))));
        parts.extend(words.iter().cloned());
        format!("RUN {} # buildkit", parts.join(" "))
    }
}

/// The value of an ARG in the history of an image, which everybody can read who can pull it: none of what is named like a secret.
pub fn history_value<'v>(name: &str, value: &'v str) -> &'v str {
    if is_secret(name) { "***" } else { value }
}

/// An absolute, clean path: `path` as seen from `dir` (Go's `path.Join` with an absolute path replacing `dir`).
pub fn normalize(dir: &str, path: &str) -> String {
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{dir}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Like [`normalize`], but a trailing slash, `/.` or an empty path keeps a slash at the end: it says "into this directory".
pub fn normalize_destination(dir: &str, path: &str) -> String {
    let path = if path.is_empty() || path == "." { "./" } else { path };
    let into = path.ends_with('/') || path.ends_with("/.");
    let clean = normalize(dir, path);
    if into && clean != "/" { clean + "/" } else { clean }
}

/// Go's `%q` of a list of strings: `["sh" "-c"]`.
fn quoted_list(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| go_quote(word)).collect();
    format!("[{}]", quoted.join(" "))
}

/// Go's `strconv.Quote`.
fn go_quote(text: &str) -> String {
    let escaped: String = text.chars().map(go_escape).collect();
    format!("\"{escaped}\"")
}

fn go_escape(c: char) -> String {
    match c {
        '\\' => "\\\\".to_owned(),
        '\n' => "\\n".to_owned(),
        '\t' => "\\t".to_owned(),
        '\r' => "\\r".to_owned(),
        '\x07' => "\\a".to_owned(),
        '\x08' => "\\b".to_owned(),
        '\x0b' => "\\v".to_owned(),
        '\x0c' => "\\f".to_owned(),
        '"' => "\\\"".to_owned(),
        c if c < ' ' || c == '\x7f' => format!("\\x{:02x}", c as u32),
        c => c.to_string(),
    }
}

/// Go's `time.Duration.String` of nanoseconds.
fn go_duration(nanoseconds: i64) -> String {
    if nanoseconds == 0 {
        return "0s".to_owned();
    }
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let n = nanoseconds.unsigned_abs();
    let decimal = |value: u64, unit: u64| {
        let text = format!("{}.{:0width$}", value / unit, value % unit, width = unit.ilog10() as usize);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    let text = match n {
        0..1_000 => format!("{n}ns"),
        1_000..1_000_000 => format!("{}µs", decimal(n, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", decimal(n, 1_000_000)),
        _ => {
            let (hours, minutes) = (n / 3_600_000_000_000, n / 60_000_000_000 % 60);
            let seconds = format!("{}s", decimal(n % 60_000_000_000, 1_000_000_000));
            match (hours, minutes) {
                (0, 0) => seconds,
                (0, m) => format!("{m}m{seconds}"),
                (h, m) => format!("{h}h{m}m{seconds}"),
            }
        }
    };
    format!("{sign}{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_print_as_go_prints_them() {
        for (n, text) in [
            (0, "0s"),
            (1_500_000_000, "1.5s"),
            (30_000_000_000, "30s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (1_500_000, "1.5ms"),
        ] {
            assert_eq!(go_duration(n), text);
        }
    }

    #[test]
    fn destinations_keep_a_significant_slash() {
        for (dir, path, clean) in [
            ("/", "a", "/a"),
            ("/w", "a/", "/w/a/"),
            ("/w", ".", "/w/"),
            ("/w", "", "/w/"),
            ("/w", "../x", "/x"),
            ("/", "/", "/"),
            ("/", "/a/.", "/a/"),
            ("/", ".", "/"),
        ] {
            assert_eq!(normalize_destination(dir, path), clean, "{dir} {path}");
        }
    }

    #[test]
    fn an_absolute_working_directory_is_kept_as_it_is_written_and_a_relative_one_is_joined() {
        let platform: Platform = "linux/amd64".parse().unwrap();
        let mut state = StageState::on(Root::Scratch, ImageConfig::scratch(&platform), platform);
        for (path, written, in_force) in
            [("", "/", "/"), ("a/", "/a", "/a"), ("/b/../c/", "/b/../c/", "/c"), ("d", "/c/d", "/c/d"), ("//", "//", "/")]
        {
            state.set_working_dir(path);
            assert_eq!((state.image.config.working_dir.as_str(), state.working_dir().as_str()), (written, in_force), "{path}");
        }
    }

    #[test]
    fn history_texts_are_buildkits() {
        let platform: Platform = "linux/amd64".parse().unwrap();
        let mut state = StageState::on(Root::Scratch, ImageConfig::scratch(&platform), platform);
        state.declare("A", Some("1"));
        state.declare("B", None);
        state.set_cmd(vec!["a b".into(), "\"".into()]);
        state.set_volumes(&["/x".into(), "/y".into()]);
        let second = 1_000_000_000;
        let test = vec!["CMD-SHELL".into(), "true".into()];
        state.set_healthcheck(Healthcheck { test, interval: 90 * second, timeout: 3 * second, retries: 3, ..Default::default() });
        let texts: Vec<_> = state.image.history.iter().map(|h| h.created_by.as_str()).collect();
        let health = "HEALTHCHECK {Test:[CMD-SHELL true] Interval:1m30s Timeout:3s StartPeriod:0s StartInterval:0s Retries:3}";
        assert_eq!(texts, ["CMD [\"a b\" \"\\\"\"]", "VOLUME [/x /y]", health]);
        assert_eq!(state.run_history(&state.with_shell("make")), "RUN |2 A=1 B= /bin/sh -c make # buildkit");
        state.declare("NPM_TOKEN", Some("s3cret"));
        assert_eq!(state.run_history(&state.with_shell("make")), "RUN |3 A=1 B= NPM_TOKEN=*** /bin/sh -c make # buildkit");
    }
}
