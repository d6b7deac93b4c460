//! Against Debian's docker-registry (distribution 2.8). Skipped, with a word, where it is not installed.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::*;
use crate::registry::{Error, Pushed};

/// `user` with the password `password` (bcrypt, cost 5).
const HTPASSWD: &str = "user:$2b$05$abcdefghijklmnopqrstuuWG29KuyeAicPCJODk1zjyGvyQUU2awu\n";

#[must_use]
struct Registry {
    host: String,
    process: Child,
    _data: tempfile::TempDir,
}

/// How a registry is entered.
enum Door {
    Open,
    Password,
    /// A directory with `server.pem` and `server.key`.
    Tls(PathBuf),
}

impl Registry {
    fn start(door: &Door) -> Option<Self> {
        let data = tempfile::tempdir().unwrap();
        let path = data.path();
        let host = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        std::fs::write(path.join("htpasswd"), HTPASSWD).unwrap();
        let extra = match door {
            Door::Open => format!("http: {{addr: \"{host}\"}}\n"),
            Door::Password => {
                let htpasswd = path.join("htpasswd");
                format!("http: {{addr: \"{host}\"}}\nauth: {{htpasswd: {{realm: test, path: {}}}}}\n", htpasswd.display())
            }
            Door::Tls(keys) => {
                let (pem, key) = (keys.join("server.pem"), keys.join("server.key"));
                format!("http: {{addr: \"{host}\", tls: {{certificate: {}, key: {}}}}}\n", pem.display(), key.display())
            }
        };
        let blobs = path.join("blobs");
        let config =
            format!("version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n{extra}", blobs.display());
        std::fs::write(path.join("config.yml"), config).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(path.join("config.yml")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = match command.spawn() {
            Ok(process) => process,
            Err(error) => {
                eprintln!("skipped: docker-registry does not start ({error})");
                return None;
            }
        };
        let registry = Self { host, process, _data: data };
        let start = Instant::now();
        while TcpStream::connect(&registry.host).is_err() {
            assert!(start.elapsed() < Duration::from_secs(30), "docker-registry does not listen at {}", registry.host);
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(registry)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// Pushes an image of one layer, and reads it back.
fn round_trip(client: &Client, host: &str, bytes: &[u8]) {
    let target = reference(host, "org/app:v1");
    client.preflight(&target).unwrap();
    let config = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    for (blob, content) in [(layer(bytes), bytes), (layer(config), config)] {
        assert_eq!(push_blob(client, &target, &blob, file(content).path(), &[], &|_| {}).unwrap(), Pushed::Uploaded);
        assert!(client.blob_exists(&target, &blob.digest).unwrap());
    }
    let config = Descriptor { media_type: media_type::OCI_CONFIG.to_owned(), ..layer(config) };
    let manifest = serde_json::to_vec(&crate::oci::Manifest::oci(config.clone(), vec![layer(bytes)])).unwrap();
    assert_eq!(client.head_manifest(&target).unwrap(), None);
    let digest = client.put_manifest(&target, &manifest, media_type::OCI_MANIFEST).unwrap();
    let head = client.head_manifest(&target).unwrap().unwrap();
    assert_eq!(head, Descriptor::new(media_type::OCI_MANIFEST, digest, manifest.len() as u64));

    let resolved = client.resolve(&target, &"linux/amd64".parse().unwrap()).unwrap();
    assert_eq!((resolved.digest, resolved.manifest_bytes), (digest, manifest));
    assert!(client.read_blob(&target, &config, 1000).unwrap().starts_with(b"{"));
    let mut out = Vec::new();
    client.pull_blob(&target, &resolved.manifest.layers[0], &mut out).unwrap();
    assert!(out == bytes);
}

#[test]
fn what_is_pushed_can_be_pulled() {
    let Some(registry) = Registry::start(&Door::Open) else { return };
    let client = client();
    let bytes: Vec<u8> = (0..1_000_000u32).flat_map(u32::to_le_bytes).collect();
    round_trip(&client, &registry.host, &bytes);
    assert_eq!(client.counters().retries, 0);

    // A second repository takes the layer over, a second client finds it there.
    let other = reference(&registry.host, "org/other");
    let from = [reference(&registry.host, "org/app")];
    assert_eq!(push_blob(&client, &other, &layer(&bytes), Path::new("/nonexistent"), &from, &|_| {}).unwrap(), Pushed::Mounted);
    let second = super::client();
    assert_eq!(push_blob(&second, &other, &layer(&bytes), Path::new("/nonexistent"), &[], &|_| {}).unwrap(), Pushed::Existed);
    assert_eq!(second.counters().requests, 1);
    let missing = second.get_manifest(&reference(&registry.host, "no/such:1")).unwrap();
    assert_eq!(missing, None);
}

#[test]
fn a_blob_is_copied_between_two_registries() {
    let (Some(source), Some(target)) = (Registry::start(&Door::Open), Registry::start(&Door::Password)) else { return };
    let bytes: Vec<u8> = (0..2_000_000u32).flat_map(u32::to_le_bytes).collect();
    let blob = layer(&bytes);
    let client = client_as(&target.host, "user", "password");
    let (from, to) = (reference(&source.host, "org/app"), reference(&target.host, "org/copy"));
    push_blob(&client, &from, &blob, file(&bytes).path(), &[], &|_| {}).unwrap();
    let Offer::Wants(upload) = client.offer_blob(&to, &blob.digest, std::slice::from_ref(&from)).unwrap() else { panic!("it is there") };
    client.copy_blob(&from, &to, &blob, upload, &|_| {}, &|| false).unwrap();
    let mut out = Vec::new();
    client.pull_blob(&to, &blob, &mut out).unwrap();
    assert!(out == bytes);
    assert_eq!(client.counters().retries, 0);
}

#[test]
fn a_password_opens_the_registry_and_a_wrong_one_does_not() {
    let Some(registry) = Registry::start(&Door::Password) else { return };
    round_trip(&client_as(&registry.host, "user", "password"), &registry.host, b"layer");
    for stranger in [client_as(&registry.host, "user", "wrong"), client()] {
        assert!(matches!(stranger.preflight(&reference(&registry.host, "org/app")), Err(Error::Unauthorized { status: 401, .. })));
    }
}

/// A certificate authority (`ca.pem`) and a certificate of its for 127.0.0.1.
fn make_keys(directory: &Path) -> Option<()> {
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        command.args(arguments.split(' ')).current_dir(directory).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    let made = openssl(&format!("{new} -keyout ca.key -out ca.pem -subj /CN=ca"))
        && openssl(&format!(
            "{new} -CA ca.pem -CAkey ca.key -keyout server.key -out server.pem -subj /CN=server \
             -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=IP:127.0.0.1"
        ));
    if !made {
        eprintln!("skipped: no openssl 3 to make certificates with");
    }
    made.then_some(())
}

#[test]
fn tls_is_spoken_with_a_certificate_authority_of_ones_own() {
    let keys = tempfile::tempdir().unwrap();
    let Some(()) = make_keys(keys.path()) else { return };
    let Some(registry) = Registry::start(&Door::Tls(keys.path().to_owned())) else { return };
    let client = |ca: &Path| {
        let registries = BTreeMap::from([(registry.host.clone(), trusting(ca))]);
        Client::new(ClientOptions { registries, ..options() }).unwrap()
    };
    round_trip(&client(&keys.path().join("ca.pem")), &registry.host, &vec![1; 3 << 20]);
    let stranger = keys.path().join("stranger.pem");
    std::fs::write(&stranger, include_bytes!("ca.pem")).unwrap();
    let error = client(&stranger).head_manifest(&reference(&registry.host, "a:1")).unwrap_err();
    assert!(matches!(&error, Error::Tls { reason, .. } if reason.contains("UnknownIssuer")), "{error:?}");
}
