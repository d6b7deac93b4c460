//! A tiny HTTP/1.1 server whose every answer is written by the test: one request a connection. The tests of the binary put a proxy on it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

#[derive(Debug, Clone, Default)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Send only so much of the body, and hang up.
    cut: Option<usize>,
    /// Send only half of the head, and hang up.
    cut_head: bool,
    /// Hang up by a reset.
    reset: bool,
    delay: Duration,
    /// Send the body, or a head that has none, a byte at a time with such pauses.
    drip: Option<Duration>,
}

impl Answer {
    pub fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// Hang up without a word.
    pub fn hang_up() -> Self {
        Self::default()
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub fn cut(mut self, at: usize) -> Self {
        self.cut = Some(at);
        self
    }

    pub fn cut_head(mut self) -> Self {
        self.cut_head = true;
        self
    }

    pub fn reset(mut self) -> Self {
        self.reset = true;
        self
    }

    pub fn drip(mut self, pause: Duration) -> Self {
        self.drip = Some(pause);
        self
    }

    /// Send nothing for so long.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// The distribution spec's form of a refusal.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        Self::new(status).body(format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#))
    }

    fn send(&self, stream: &mut TcpStream, head: bool) -> std::io::Result<()> {
        thread::sleep(self.delay);
        let sent = if self.status == 0 { Ok(()) } else { self.send_bytes(stream, head) };
        if self.reset {
            rustix::net::sockopt::set_socket_linger(&*stream, Some(Duration::ZERO))?;
        }
        sent
    }

    fn send_bytes(&self, stream: &mut TcpStream, head: bool) -> std::io::Result<()> {
        let mut text = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", self.status);
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("Content-Length")) {
            text += &format!("Content-Length: {}\r\n", self.body.len());
        }
        self.headers.iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
        text += "\r\n";
        let body = if head { &[] } else { &self.body[..self.cut.unwrap_or(self.body.len())] };
        if self.cut_head {
            return stream.write_all(&text.as_bytes()[..text.len() / 2]);
        }
        let Some(pause) = self.drip else { return stream.write_all(&[text.as_bytes(), body].concat()) };
        let (at_once, dripping) = if body.is_empty() { (&[][..], text.as_bytes()) } else { (text.as_bytes(), body) };
        stream.write_all(at_once)?;
        dripping.iter().try_for_each(|byte| {
            thread::sleep(pause);
            stream.write_all(&[*byte])
        })
    }
}

#[must_use]
pub struct Server {
    /// `127.0.0.1:port`
    pub host: String,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
}

impl Server {
    /// `answer` hears the number of the request (from 0) and the request.
    pub fn start(answer: impl Fn(usize, &Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::reading(|_| usize::MAX, answer)
    }

    /// The same, but of a body only so many bytes are read as `patience` has for a request, whose body is empty yet. If it is longer, the
    /// connection is reset in its midst.
    pub fn reading(
        patience: impl Fn(&Request) -> usize + Send + Sync + 'static,
        answer: impl Fn(usize, &Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (requests, stop): (Arc<Mutex<Vec<Request>>>, Arc<AtomicBool>) = Default::default();
        let (script, log, stopped) = (Arc::new((patience, answer)), requests.clone(), stop.clone());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (script, log) = (script.clone(), log.clone());
                thread::spawn(move || serve(stream, &log, &script.0, &script.1));
            }
        });
        Self { host, requests, stop }
    }

    /// Those so far were none.
    pub fn forget(&self) {
        self.requests.lock().unwrap().clear();
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The lines of all requests, for one glance at a conversation.
    pub fn lines(&self) -> Vec<String> {
        self.requests().iter().map(Request::line).collect()
    }

    pub fn count(&self, method: &str) -> usize {
        self.requests().iter().filter(|request| request.method == method).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(&self.host);
    }
}

fn serve(
    mut stream: TcpStream,
    log: &Mutex<Vec<Request>>,
    patience: &dyn Fn(&Request) -> usize,
    answer: &dyn Fn(usize, &Request) -> Answer,
) {
    let Some((request, whole)) = read(&stream, patience) else { return };
    let number = {
        let mut log = log.lock().unwrap();
        log.push(request.clone());
        log.len() - 1
    };
    // What is closed with bytes unread is reset.
    if !whole {
        return;
    }
    // The client may have left already: that is its own test's matter.
    let _ = answer(number, &request).send(&mut stream, request.method == "HEAD");
}

/// A request, and whether its body is whole.
fn read(stream: &TcpStream, patience: &dyn Fn(&Request) -> usize) -> Option<(Request, bool)> {
    let mut reader = BufReader::new(stream);
    let mut line = || {
        let mut text = String::new();
        reader.read_line(&mut text).ok().filter(|read| *read > 0).map(|_| text.trim_end().to_owned())
    };
    let first = line()?;
    let mut headers = BTreeMap::new();
    while let Some((name, value)) = line()?.split_once(':') {
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let size = headers.get("content-length").and_then(|size: &String| size.parse().ok()).unwrap_or(0);
    let mut words = first.split(' ');
    let mut request = Request { method: words.next()?.to_owned(), target: words.next()?.to_owned(), headers, body: Vec::new() };
    request.body = vec![0; size.min(patience(&request))];
    reader.read_exact(&mut request.body).ok()?;
    let whole = request.body.len() == size;
    Some((request, whole))
}

/// As `answer`, for tokens: the first that is given out is good for everything but a PUT.
pub fn with_a_dying_token(answer: fn(&Request) -> Answer) -> impl Fn(usize, &Request) -> Answer + Send + Sync {
    let tokens = AtomicUsize::new(0);
    move |_, request| {
        if request.target.starts_with("/token") {
            let n = tokens.fetch_add(1, Ordering::SeqCst);
            return Answer::new(200).body(format!(r#"{{"token":"t{n}"}}"#));
        }
        let wanted = if request.method == "PUT" { "Bearer t1" } else { "Bearer t" };
        if !request.header("authorization").starts_with(wanted) {
            let challenge = format!(r#"Bearer realm="http://{}/token""#, request.header("host"));
            return Answer::new(401).header("WWW-Authenticate", challenge);
        }
        answer(request)
    }
}
