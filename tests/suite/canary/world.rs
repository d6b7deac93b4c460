//! A service that is given every kind of secret by every way there is, and builds with all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::forms::{Canaries, Letters};
use super::gate::{self, Opens, Pass};
use super::sinks::Sinks;
use crate::support::git_server::GitServer;
use crate::support::scripted::Server;
use crate::support::server::{self, ok};
use crate::support::{Brik, Project, Registry};

/// From where brik knows who it is at the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    DockerAuth,
    DockerPassword,
    IdentityToken,
    Helper,
    RegistryToken,
    RegistryPat,
    PodmanAuth,
}

pub const LOGINS: [Login; 7] = [
    Login::DockerAuth,
    Login::IdentityToken,
    Login::Helper,
    Login::RegistryToken,
    Login::PodmanAuth,
    Login::RegistryPat,
    Login::DockerPassword,
];

/// What brik is given, and what it is made of.
const KINDS: [(&str, Letters); 15] = [
    ("registry password", Letters::Hard),
    ("identity token", Letters::Token),
    ("bearer token", Letters::Token),
    ("secret file", Letters::Hard),
    ("secret of lines", Letters::Lines),
    ("secret variable", Letters::Hard),
    ("password of a URL", Letters::Token),
    ("token in a query", Letters::Token),
    ("password of a git URL", Letters::Token),
    ("GIT_AUTH_TOKEN", Letters::Token),
    ("password of a proxy", Letters::Token),
    ("build argument", Letters::Hard),
    ("build argument of another time", Letters::Hard),
    ("GITHUB_TOKEN", Letters::Token),
    ("variable that is none of brik's business", Letters::Hard),
];

/// Spells all that it was given, in the ways that brik knows; and says whether a secret is what it should be.
const TELL: &str = "set -e; for s in file lines; do cat /run/secrets/$s; base64 /run/secrets/$s; od -An -v -tx1 /run/secrets/$s | tr -d ' \\n'; echo; done; \
    echo \"$VARIABLE\"; printf %s \"$VARIABLE\" | base64; printf 'user:%s' \"$VARIABLE\" | base64; echo \"no such thing: '$VARIABLE'\" >&2; \
    stat -c 'mode %a of %u' /run/secrets/file; grep ' /run/secrets/file ' /proc/mounts | cut -d' ' -f3";

pub struct World {
    pub project: Project,
    pub canaries: Canaries,
    registry: Registry,
    gate: Server,
    _servers: (GitServer, GitServer),
    login: Login,
}

impl World {
    /// `end`: what the RUN with secrets does when it has told them.
    pub fn new(random: &mut fastrand::Rng, login: Login, opens: Opens, end: &str) -> Self {
        let canaries = Canaries::new(random, &KINDS);
        let registry = Registry::start();
        let of = |what: &str| canaries.get(what).to_owned();
        let pass = Pass {
            user: "pusher".to_owned(),
            password: of("registry password"),
            identity: of("identity token"),
            bearer: of("bearer token"),
        };
        let tokens = !matches!(login, Login::DockerPassword | Login::RegistryPat);
        let gate = gate::start(registry.host(), pass, tokens, opens);
        let project = Project::empty();
        project.write("brik.toml", brik_toml(&gate.host));

        let (query, password) = (canaries.get("token in a query"), canaries.get("password of a URL"));
        let target = format!("/thing?token={query}&v=1");
        let files = server::serve([(target.clone(), ok(b"thing"))].into());
        let git = |user: &str, what: &str| {
            let login = STANDARD.encode(format!("{user}:{}", canaries.get(what)));
            let server = GitServer::with_authorization(&format!("Basic {login}"));
            server.repository("app.git").write("file", "one").commit(1);
            server
        };
        let servers = (git("me", "password of a git URL"), git("x-access-token", "GIT_AUTH_TOKEN"));
        let (one, two) = (servers.0.host(), servers.1.url("app.git"));
        let dockerfile = format!(
            "FROM {{busybox}}\n\
             ADD http://me:{password}@{files}{target} /thing\n\
             ADD http://me:{}@{one}/app.git#main /one\n\
             ADD --keep-git-dir=true {two} /two\n\
             ADD http://canary.invalid/tool /tool\n\
             RUN env > /seen; cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ >> /seen 2>/dev/null; test -s /seen\n\
             ARG NPM_TOKEN\n\
             RUN --mount=type=secret,id=file --mount=type=secret,id=lines --mount=type=secret,id=variable,env=VARIABLE {TELL}; {end}\n",
            canaries.get("password of a git URL"),
        );
        project.write("Dockerfile", dockerfile);
        for (name, what) in [("file", "secret file"), ("lines", "secret of lines")] {
            project.write(&format!("../secrets/{name}"), canaries.get(what));
        }
        for directory in ["results", "tmp", "dumps"] {
            fs::create_dir(project.beside(directory)).unwrap();
        }
        let world = Self { project, canaries, registry, gate, _servers: servers, login };
        world.write_credentials();
        world.write_programs();
        world
    }

    fn write_credentials(&self) {
        let (host, password) = (&self.gate.host, self.canaries.get("registry password"));
        let entry = match self.login {
            Login::DockerAuth | Login::PodmanAuth => serde_json::json!({"auth": STANDARD.encode(format!("pusher:{password}"))}),
            Login::DockerPassword => serde_json::json!({"username": "pusher", "password": password}),
            Login::IdentityToken => serde_json::json!({"identitytoken": self.canaries.get("identity token")}),
            Login::Helper | Login::RegistryToken | Login::RegistryPat => serde_json::Value::Null,
        };
        let path = if self.login == Login::PodmanAuth { "../home/auth.json" } else { "../home/.docker/config.json" };
        let document = match self.login {
            Login::Helper => serde_json::json!({"credHelpers": {host: "test"}}),
            _ if entry.is_null() => return,
            _ => serde_json::json!({"auths": {host: entry}}),
        };
        self.project.write(path, document.to_string());
    }

    /// A credential helper; and programs that brik starts, which note what they see before they are what they are.
    fn write_programs(&self) {
        let (bin, dumps) = (self.project.beside("bin"), self.project.beside("dumps"));
        let see = |name: &str| format!("#!/bin/sh\ncat /proc/$$/environ /proc/$$/cmdline > {}/{name}.$$\n", dumps.display());
        let answer =
            serde_json::json!({"ServerURL": self.gate.host, "Username": "pusher", "Secret": self.canaries.get("registry password")});
        self.project.write("../bin/answer", answer.to_string());
        let helper = format!("{}cat >/dev/null\nexec cat {}/answer\n", see("helper"), bin.display());
        let mut programs = vec![("docker-credential-test", helper)];
        for name in ["git", "newuidmap", "newgidmap"] {
            let real = std::env::split_paths(&path()).map(|directory| directory.join(name)).find(|path| path.is_file());
            programs.extend(real.map(|real| (name, format!("{}exec {} \"$@\"\n", see(name), real.display()))));
        }
        for (name, script) in programs {
            self.project.write(&format!("../bin/{name}"), script);
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    /// A brik that knows all canaries.
    pub fn brik(&self, args: &[&str]) -> Brik {
        let of = |what: &str| self.canaries.get(what);
        let beside = |name: &str| self.project.beside(name).display().to_string();
        let proxy = self.proxy();
        let path = format!("{}:{}", beside("bin"), path());
        let brik = self.project.brik(args).env("PATH", path).env("TMPDIR", beside("tmp"));
        let brik =
            brik.env("MY_SECRET", of("secret variable")).env("GIT_TOKEN", of("GIT_AUTH_TOKEN")).env("NPM_TOKEN", of("build argument"));
        let brik = brik.env("HTTP_PROXY", &proxy).env("http_proxy", &proxy).env("NO_PROXY", "127.0.0.1");
        let brik = brik.env("GITHUB_TOKEN", of("GITHUB_TOKEN"));
        let brik = brik.env("AWS_SECRET_ACCESS_KEY", of("variable that is none of brik's business"));
        let password = of("registry password");
        match self.login {
            Login::RegistryToken => brik.env("REGISTRY_TOKEN", password).env("REGISTRY_USERNAME", "pusher"),
            Login::RegistryPat => brik.env("REGISTRY_PAT", password).env("REGISTRY_USERNAME", "pusher"),
            Login::PodmanAuth => brik.env("REGISTRY_AUTH_FILE", beside("home/auth.json")),
            _ => brik,
        }
    }

    /// One that answers for the only file behind it.
    fn proxy(&self) -> String {
        static PROXY: std::sync::OnceLock<String> = std::sync::OnceLock::new();
        let host = PROXY.get_or_init(|| server::serve([("http://canary.invalid/tool".to_owned(), ok(b"tool"))].into()));
        format!("http://proxy:{}@{host}", self.canaries.get("password of a proxy"))
    }

    /// `brik build --push` with everything that it can write to.
    pub fn build(&self) -> Brik {
        let args = ["build", "--push", "-vv", "--build-arg", "NPM_TOKEN", "--metadata-file", "../results/metadata.json"];
        let results = ["--report", "../results/report.json", "--report", "../results/report.md"];
        self.brik(&args).args(results).args(self.secrets())
    }

    pub fn secrets(&self) -> [String; 6] {
        ["id=file,src=../secrets/file", "id=lines,src=../secrets/lines", "id=GIT_AUTH_TOKEN,env=GIT_TOKEN"]
            .map(|secret| ["--secret".to_owned(), secret.to_owned()])
            .concat()
            .try_into()
            .unwrap()
    }

    /// Everything that lies on a disk now.
    pub fn search(&self, sinks: &Sinks) {
        let project = &self.project;
        let inputs: BTreeSet<PathBuf> =
            [project.path("Dockerfile"), project.home().join("cache"), project.home().join(".docker"), project.home().join("auth.json")]
                .into();
        sinks.files("project", &project.path(""), &inputs);
        sinks.files("store", &project.store(), &inputs);
        sinks.files("home", &project.home(), &inputs);
        sinks.files("temporary directory", &project.beside("tmp"), &inputs);
        sinks.files("reports and metadata", &project.beside("results"), &inputs);
        sinks.files("registry", &self.registry.data(), &inputs);
        for entry in fs::read_dir(project.beside("dumps")).unwrap().flatten() {
            let allowed: &[&str] = match entry.file_name().to_str().unwrap().split('.').next().unwrap() {
                "git" => &["password of a git URL", "GIT_AUTH_TOKEN", "password of a proxy"],
                // A program of the user's, in the user's environment; but what only brik is to know is not there.
                "helper" => &[
                    "secret variable",
                    "GIT_AUTH_TOKEN",
                    "build argument",
                    "build argument of another time",
                    "GITHUB_TOKEN",
                    "password of a proxy",
                    "variable that is none of brik's business",
                ],
                _ => &[],
            };
            sinks.but("environment and arguments of programs", allowed, fs::read(entry.path()).unwrap());
        }
    }

    /// How often each way in was really used, as those at the other end saw it.
    pub fn used(&self) -> BTreeMap<&'static str, usize> {
        let requests = self.gate.requests();
        let count = |what: fn(&str) -> bool| requests.iter().filter(|request| what(request.header("authorization"))).count();
        let posts = requests.iter().filter(|request| request.method == "POST" && request.target.starts_with("/token")).count();
        [("basic", count(|sent| sent.starts_with("Basic"))), ("bearer", count(|sent| sent.starts_with("Bearer"))), ("identity", posts)]
            .into()
    }
}

fn path() -> String {
    std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin"
}

fn brik_toml(host: &str) -> String {
    format!(
        "registry = \"{host}/team\"\ntags = [\"v1\"]\n[policy]\nno_secrets = true\nwarn = [\"no-secrets\"]\n\
         [services.app]\ncontext = \".\"\nsecrets = [{{ id = \"variable\", env = \"MY_SECRET\" }}]\n"
    )
}
