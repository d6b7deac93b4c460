//! A web server with fixed answers.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use sha2::Digest;

/// Path (with its slash) to the whole answer, head and body. Other paths are 404.
pub type Answers = BTreeMap<String, Vec<u8>>;

/// Serves until the tests end. `127.0.0.1:PORT`.
pub fn serve(answers: Answers) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let host = listener.local_addr().expect("an address").to_string();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answers = answers.clone();
            thread::spawn(move || answer(stream, &answers));
        }
    });
    host
}

fn answer(mut stream: TcpStream, answers: &Answers) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut request = String::new();
    reader.read_line(&mut request).ok()?;
    for line in reader.lines() {
        if line.ok()?.is_empty() {
            break;
        }
    }
    let path = request.split(' ').nth(1)?;
    let missing = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec();
    stream.write_all(answers.get(path).unwrap_or(&missing)).ok()
}

/// A 200 with this body.
pub fn ok(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A layer as its image's documents have it, and the blob that is served for it.
pub struct Layer<'a> {
    pub promised: &'a [u8],
    pub diff_id: String,
    pub served: &'a [u8],
}

/// A registry with one image, `base`, for this machine. `127.0.0.1:PORT`.
pub fn serve_base(layers: &[Layer<'_>]) -> String {
    serve_base_for(if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }, layers)
}

/// The same for an architecture.
pub fn serve_base_for(architecture: &str, layers: &[Layer<'_>]) -> String {
    let descriptor =
        |kind: &str, blob: &[u8]| serde_json::json!({"mediaType": format!("{OCI}.{kind}"), "digest": digest(blob), "size": blob.len()});
    let config = serde_json::json!({
        "architecture": architecture, "os": "linux", "config": {}, "history": [],
        "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|layer| layer.diff_id.as_str()).collect::<Vec<_>>()},
    });
    let config = config.to_string().into_bytes();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": format!("{OCI}.manifest.v1+json"), "config": descriptor("config.v1+json", &config),
        "layers": layers.iter().map(|layer| descriptor("layer.v1.tar+gzip", layer.promised)).collect::<Vec<_>>(),
    });
    let manifest = manifest.to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {OCI}.manifest.v1+json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        manifest.len()
    );
    let answer = [head.as_bytes(), manifest.as_bytes()].concat();
    let mut answers = Answers::from([
        ("/v2/".to_owned(), ok(b"{}")),
        ("/v2/base/manifests/latest".to_owned(), answer.clone()),
        (format!("/v2/base/manifests/{}", digest(manifest.as_bytes())), answer),
        (format!("/v2/base/blobs/{}", digest(&config)), ok(&config)),
    ]);
    answers.extend(layers.iter().map(|layer| (format!("/v2/base/blobs/{}", digest(layer.promised)), ok(layer.served))));
    serve(answers)
}

const OCI: &str = "application/vnd.oci.image";

pub fn digest(bytes: &[u8]) -> String {
    let hex: String = sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).expect("memory takes it");
    gzip.finish().expect("memory takes it")
}
