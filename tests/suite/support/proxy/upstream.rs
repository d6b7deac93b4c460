//! The real registry, one connection a request.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use super::super::scripted::{Answer, Request};

/// `127.0.0.1:PORT`
pub struct Upstream(pub String);

/// An answer that can still be changed.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Upstream {
    /// What the registry answers; 502 where it is not there.
    pub fn ask(&self, request: &Request) -> Reply {
        self.exchange(request).unwrap_or_else(|| Reply::new(502))
    }

    fn exchange(&self, request: &Request) -> Option<Reply> {
        let mut stream = TcpStream::connect(&self.0).ok()?;
        // In HTTP/1.0 no body comes in chunks, and each ends with its connection.
        let mut head =
            format!("{} {} HTTP/1.0\r\nHost: {}\r\nContent-Length: {}\r\n", request.method, request.target, self.0, request.body.len());
        let own = ["host", "connection", "content-length", "transfer-encoding", "authorization", "expect"];
        let passed = request.headers.iter().filter(|(name, _)| !own.contains(&name.as_str()));
        passed.for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        stream.write_all((head + "\r\n").as_bytes()).ok()?;
        stream.write_all(&request.body).ok()?;
        let mut reader = BufReader::new(stream);
        let mut reply = Reply::default();
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        reply.status = line.split(' ').nth(1)?.parse().ok()?;
        loop {
            line.clear();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            let value = if name == "Location" { value.replace(&self.0, request.header("host")) } else { value.to_owned() };
            if name != "Connection" {
                reply.headers.push((name.to_owned(), value));
            }
        }
        reader.read_to_end(&mut reply.body).ok()?;
        Some(reply)
    }
}

impl Reply {
    pub fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The distribution spec's form of a refusal.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        Self::new(status).body("application/json", format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#))
    }

    pub fn body(self, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let mut reply = self.header("Content-Type", media_type);
        reply.body = body.into();
        reply
    }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        let answer = Self::new(reply.status).body(reply.body);
        reply.headers.into_iter().fold(answer, |answer, (name, value)| answer.header(&name, value))
    }
}
