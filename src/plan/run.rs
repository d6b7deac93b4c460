//! RUN: command, environment and mounts, and what of them is in the key.

use super::copy::shown;
use super::environment::proxy_env;
use super::error::{Error, ErrorKind};
use super::key::KeyInputs;
use super::planner::{Outside, Selector};
use super::stage::{Current, StagePlanner, from_working_dir};
use super::state::normalize;
use super::step::{MountSource, Network, Op, RunMount, RunMountKind, RunOp};
use crate::dockerfile::ast::{self, RunCommand, Script, Security};
use crate::dockerfile::lint::is_secret;
use crate::dockerfile::{Instruction, Mount, MountType, Sharing, Span, Word};
use crate::oci::Digest;

/// Of at most NAME_MAX bytes, without a way to another directory.
fn is_file_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0']) && name.len() <= 255
}

/// In a key: a secret or an agent that a RUN would use, and goes without.
const NOT_GIVEN: &str = "not given";

impl StagePlanner<'_, '_> {
    pub fn run_command(&mut self, current: &mut Current, instruction: &Instruction, run: &RunCommand) -> Result<(), Error> {
        let span = current.trigger_at.unwrap_or(instruction.statement.span);
        let unsupported = |what: &str, instead| self.dockerfile.error(span, ErrorKind::Unsupported { what: what.to_owned(), instead });
        if run.security == Security::Insecure {
            return Err(unsupported("RUN --security=insecure", "leave the flag out: brik runs every RUN in its sandbox"));
        }
        if !run.devices.is_empty() {
            return Err(unsupported("RUN --device", "run what needs the device after the build"));
        }
        let (args, script) = match run.script() {
            Script::Exec(words) => (words, None),
            Script::Shell(line) => (current.state.with_shell(&line), None),
            Script::File { name, content } => {
                if !is_file_name(&name) {
                    let text = format!("a here-document that is a script is run as a file of its name, and {name:?} is no file name");
                    return Err(self.dockerfile.error(span, ErrorKind::Instruction(text)));
                }
                (current.state.with_shell(&format!("/dev/pipes/{name}")), Some((name, content)))
            }
        };
        let options = self.planner.options;
        let network = match run.network {
            ast::Network::None => Network::None,
            ast::Network::Default => options.network,
            ast::Network::Host if options.network == Network::Host => Network::Host,
            ast::Network::Host => return Err(self.dockerfile.error(span, ErrorKind::HostNetwork { network: options.network })),
        };
        let mut inputs = KeyInputs::new("run");
        args.iter().for_each(|arg| inputs.add("argument", arg));
        if let Some((name, content)) = &script {
            inputs.add(format!("script {name}"), content);
        }
        let mut env: Vec<(String, String)> = current.state.env.iter().cloned().collect();
        let mut sorted = env.clone();
        sorted.sort();
        // Records and those who ask why hear of the value of what is named like a secret that it is another.
        let keyed = |name: &str, value: &String| if is_secret(name) { Digest::of(value.as_bytes()).to_string() } else { value.clone() };
        sorted.iter().for_each(|(name, value)| inputs.add(format!("env {name}"), keyed(name, value)));
        inputs.add("user", current.state.user());
        inputs.add("working directory", current.state.working_dir());
        inputs.add("network", network.name());
        inputs.add("platform", current.state.platform.to_string());
        options.hosts.iter().for_each(|(host, address)| inputs.add(format!("host {host}"), address.to_string()));
        if let Some(size) = options.shm_size {
            inputs.add("shm size", size.to_string());
        }
        let hostname = self.target.args.get("BUILDKIT_SANDBOX_HOSTNAME").cloned();
        hostname.iter().for_each(|hostname| inputs.add("hostname", hostname));

        let mut mounts: Vec<RunMount> = Vec::new();
        let mut agents = Vec::new();
        for word in &run.mounts {
            let mount = self.mount(current, word, agents.len(), &mut inputs)?;
            agents.extend(matches!(mount.kind, RunMountKind::Ssh { .. }).then(|| mount.target.clone()));
            mounts.push(mount);
        }
        // Whether an agent is given or not; and one's own value stays.
        if let Some(socket) = agents.first().filter(|_| !env.iter().any(|(name, _)| name == "SSH_AUTH_SOCK")) {
            env.push(("SSH_AUTH_SOCK".to_owned(), socket.clone()));
        }
        let op = RunOp {
            args: args.clone(),
            script,
            env,
            declared: current.state.declared_only(),
            proxy_env: proxy_env(&self.target.args),
            cwd: current.state.working_dir(),
            user: current.state.user().to_owned(),
            network,
            mounts,
            hosts: options.hosts.clone(),
            shm_size: options.shm_size,
            hostname,
        };
        let history = current.state.run_history(&args);
        self.step(current, instruction, shown(&instruction.statement.text), inputs, false, Op::Run(op));
        current.state.history(history, true);
        Ok(())
    }

    /// `agents`: how many SSH agents the RUN has got before.
    fn mount(&mut self, current: &mut Current, word: &Word, agents: usize, inputs: &mut KeyInputs) -> Result<RunMount, Error> {
        let dockerfile = self.dockerfile;
        let refuse = |text: String| dockerfile.error(word.span, ErrorKind::Instruction(text));
        let env = current.state.env.clone();
        let mut expand = |value: &str| dockerfile.expander().word(value, &|name| env.get(name).map(str::to_owned)).map(|e| e.text);
        let mount = Mount::parse(&word.text, &mut expand).map_err(|error| dockerfile.error(word.span, error))?;
        let written = mount.target.as_deref();
        let target = |default: String| written.map_or(default, |path| from_working_dir(&current.state, path));
        // Without a target, BuildKit mounts on the working directory.
        let working_dir = || current.state.working_dir().to_owned();
        let (uid, gid) = (mount.uid.unwrap_or(0), mount.gid.unwrap_or(0));
        // What the definition says; the content of caches and the values of secrets are no part of the key.
        inputs.add("mount", definition(&mount));
        let (target, kind) = match mount.kind {
            MountType::Bind => {
                let target = target(working_dir());
                let (from, _) = self.mount_source(current, &mount, word.span, inputs)?;
                (target, RunMountKind::Bind { from, read_only: mount.read_only })
            }
            MountType::Cache => {
                // A relative target names the same cache in every working directory.
                let name = mount.id.clone().unwrap_or_else(|| written.map(cache_name).unwrap_or_default());
                let target = target(working_dir());
                let namespace = self.target.args.get("BUILDKIT_CACHE_MOUNT_NS").map_or("", String::as_str);
                let source = mount.from.as_ref().map(|_| self.mount_source(current, &mount, word.span, inputs)).transpose()?;
                let (seed, started_from) = source.map_or((None, String::new()), |(seed, key)| (Some(seed), key));
                // As in BuildKit, an owner or a mode means an empty directory, unless a path says what to start from.
                let fresh = mount.mode.is_some() || mount.uid.is_some() || mount.gid.is_some();
                let whole = normalize("/", mount.source.as_deref().unwrap_or("/")) == "/";
                let seed = seed.filter(|_| !whole || !fresh);
                let id = Digest::of(format!("{namespace}\0{name}\0{uid}\0{gid}\0{:?}\0{started_from}", mount.mode).as_bytes());
                let sharing = match mount.sharing {
                    Some(Sharing::Locked) => super::step::Sharing::Locked,
                    Some(Sharing::Private) => super::step::Sharing::Private,
                    Some(Sharing::Shared) | None => super::step::Sharing::Shared,
                };
                let mode = mount.mode.unwrap_or(0o755);
                (target, RunMountKind::Cache { id, sharing, seed, mode, uid, gid, read_only: mount.read_only })
            }
            MountType::Tmpfs => (
                target(working_dir()),
                RunMountKind::Tmpfs { size: mount.size.and_then(|size| u64::try_from(size).ok()).filter(|size| *size > 0) },
            ),
            MountType::Secret => {
                let base = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
                let id = mount.source.clone().or_else(|| mount.id.clone()).or_else(|| written.map(base)).unwrap_or_default();
                // Without it, or with another's, the same command makes something else.
                inputs.add(format!("secret {id}"), self.target.secrets.get(&id).map_or(NOT_GIVEN, String::as_str));
                let env = mount.env.clone().map(|name| if name.is_empty() { id.clone() } else { name });
                let file = env.is_none() || written.is_some();
                let path = target(format!("/run/secrets/{}", base(&id)));
                let mode = mount.mode.unwrap_or(0o400);
                (path, RunMountKind::Secret { id, env, file, required: mount.required, mode, uid, gid })
            }
            MountType::Ssh => {
                if mount.source.is_some() {
                    return Err(refuse("ssh does not support source".to_owned()));
                }
                let id = mount.id.clone().unwrap_or_else(|| "default".to_owned());
                inputs.add(format!("ssh {id}"), if self.target.agents.contains(&id) { "given" } else { NOT_GIVEN });
                let path = target(format!("/run/buildkit/ssh_agent.{agents}"));
                (path, RunMountKind::Ssh { id, required: mount.required, mode: mount.mode.unwrap_or(0o600), uid, gid })
            }
        };
        if target == "/proc" || target.starts_with("/proc/") {
            return Err(refuse(format!("invalid mount target {target:?}: nothing can be mounted in /proc")));
        }
        if target == "/" {
            return Err(refuse(format!("invalid mount target {:?}", written.unwrap_or("/"))));
        }
        Ok(RunMount { target, kind })
    }

    /// What a mount shows, or starts from, and the key of that.
    fn mount_source(
        &mut self,
        current: &Current,
        mount: &Mount,
        span: Span,
        inputs: &mut KeyInputs,
    ) -> Result<(MountSource, String), Error> {
        let path = normalize("/", mount.source.as_deref().unwrap_or("/"));
        let dockerfile = self.dockerfile;
        let at = |kind: ErrorKind| dockerfile.error(span, kind);
        let context = match &mount.from {
            Some(from) => match self.source_state(current, from, span)? {
                Outside::State(state) => {
                    let root = self.planner.plan.root_key(state.root);
                    let key = format!("{root}\0{path}");
                    inputs.add_state("mount from", root, state.root);
                    return Ok((MountSource::Root { root: state.root, path }, key));
                }
                Outside::Files(context) => context,
            },
            None => self.planner.main_context(self.target).map_err(at)?,
        };
        let (selection, hash) = self.planner.select(context, Selector { source: path, ..Selector::default() }).map_err(at)?;
        inputs.add("mount files", hash.to_string());
        Ok((MountSource::Context { context, selection }, hash.to_string()))
    }
}

/// The id of a cache that has only a target: as written, but clean.
fn cache_name(target: &str) -> String {
    let absolute = normalize("/", target);
    if target.starts_with('/') { absolute } else { absolute.trim_start_matches('/').to_owned() }
}

/// A mount's options, defaults left out.
fn definition(mount: &Mount) -> String {
    let mut parts = vec![format!("type={}", mount.kind.name())];
    let texts = [("source", &mount.source), ("target", &mount.target), ("id", &mount.id), ("env", &mount.env)];
    parts.extend(texts.into_iter().filter_map(|(name, value)| value.as_ref().map(|value| format!("{name}={value}"))));
    let octal = mount.mode.map(|mode| format!("mode={mode:o}"));
    let numbers = [
        mount.uid.map(|uid| format!("uid={uid}")),
        mount.gid.map(|gid| format!("gid={gid}")),
        mount.size.map(|size| format!("size={size}")),
    ];
    parts.extend(octal.into_iter().chain(numbers.into_iter().flatten()));
    parts.push(if mount.read_only { "ro".to_owned() } else { "rw".to_owned() });
    parts.join(",")
}
