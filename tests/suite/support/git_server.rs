//! Repositories behind http, as forges serve them: git's own `http-backend`, run as a CGI program for each request.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

/// Serves every repository below a directory until the tests end.
#[must_use]
pub struct GitServer {
    directory: tempfile::TempDir,
    host: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl GitServer {
    pub fn start() -> Self {
        Self::serve(None)
    }

    /// Only requests with this `Authorization` header are answered.
    pub fn with_authorization(header: &str) -> Self {
        Self::serve(Some(header.to_owned()))
    }

    fn serve(header: Option<String>) -> Self {
        let directory = tempfile::Builder::new().prefix("brik-git-").tempdir().expect("a temporary directory");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let host = listener.local_addr().expect("an address").to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (root, log) = (directory.path().to_owned(), requests.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (root, log, header) = (root.clone(), log.clone(), header.clone());
                thread::spawn(move || answer(stream, &root, &log, header.as_deref()));
            }
        });
        Self { directory, host, requests }
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.host)
    }

    /// Where a repository lies on the disk.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A repository with a work tree, to be committed to.
    pub fn repository(&self, name: &str) -> Repository {
        let path = self.path(name);
        fs::create_dir_all(&path).expect("a directory");
        let repository = Repository { path };
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository.git(&["config", "http.receivepack", "false"]);
        repository
    }

    /// Requests so far, as in `GET /app.git/info/refs?service=git-upload-pack`.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

pub struct Repository {
    path: PathBuf,
}

impl Repository {
    /// The repository that lies, or is to lie, in a directory.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub fn write(&self, name: &str, content: &str) -> &Self {
        fs::create_dir_all(self.path(name).parent().expect("a parent")).expect("directories");
        fs::write(self.path(name), content).expect("a file");
        self
    }

    /// Commits everything, `seconds` after 2001-09-09T01:46:40Z: the commit's id.
    pub fn commit(&self, seconds: u32) -> String {
        self.git(&["add", "--all"]);
        let date = format!("{} +0000", 1_000_000_000 + u64::from(seconds));
        self.run(&["commit", "--quiet", "--allow-empty", "--message=x"], &date);
        self.git(&["rev-parse", "HEAD"])
    }

    #[track_caller]
    pub fn git(&self, args: &[&str]) -> String {
        self.run(args, "1000000000 +0000")
    }

    #[track_caller]
    fn run(&self, args: &[&str], date: &str) -> String {
        let mut git = Command::new("git");
        git.current_dir(&self.path).args(["-c", "protocol.file.allow=always"]).args(args).stdin(Stdio::null()).env_clear();
        git.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", "/nonexistent").env("GIT_CONFIG_NOSYSTEM", "1");
        for role in ["AUTHOR", "COMMITTER"] {
            git.env(format!("GIT_{role}_NAME"), "brik").env(format!("GIT_{role}_EMAIL"), "brik@localhost");
            git.env(format!("GIT_{role}_DATE"), date);
        }
        let output = git.output().expect("git is installed");
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

fn answer(stream: TcpStream, root: &Path, log: &Mutex<Vec<String>>, wanted: Option<&str>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut writer = stream;
    let mut request = String::new();
    reader.read_line(&mut request).ok()?;
    let mut words = request.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    for line in reader.by_ref().lines() {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let header = |name: &str| headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
    log.lock().unwrap().push(format!("{method} {target}"));
    if wanted.is_some_and(|wanted| header("authorization") != Some(wanted)) {
        let refusal = "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        return writer.write_all(refusal.as_bytes()).ok();
    }
    let mut body = vec![0; header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    if header("transfer-encoding").is_some() {
        body = chunks(&mut reader)?;
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut backend = Command::new("git");
    backend.arg("http-backend").env_clear().env("PATH", std::env::var_os("PATH")?);
    backend.env("GIT_PROJECT_ROOT", root).env("GIT_HTTP_EXPORT_ALL", "1").env("GIT_CONFIG_COUNT", "1");
    backend.env("GIT_CONFIG_KEY_0", "safe.directory").env("GIT_CONFIG_VALUE_0", "*");
    backend.env("PATH_INFO", path).env("QUERY_STRING", query).env("REQUEST_METHOD", &method).env("REMOTE_ADDR", "127.0.0.1");
    for (name, variable) in
        [("content-type", "CONTENT_TYPE"), ("git-protocol", "GIT_PROTOCOL"), ("content-encoding", "HTTP_CONTENT_ENCODING")]
    {
        backend.envs(header(name).map(|value| (variable, value)));
    }
    backend.env("CONTENT_LENGTH", body.len().to_string());
    let mut backend = backend.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let mut stdin = backend.stdin.take()?;
    thread::spawn(move || stdin.write_all(&body));
    let output = backend.wait_with_output().ok()?.stdout;
    let end = output.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let status = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK").to_owned();
    let length = output.len() - end - 4;
    let head = format!("HTTP/1.1 {status}\r\n{head}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(&output[end + 4..])).ok()
}

fn chunks(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let size = usize::from_str_radix(line.trim(), 16).ok()?;
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk).ok()?;
        body.extend_from_slice(&chunk[..size]);
        if size == 0 {
            return Some(body);
        }
    }
}
