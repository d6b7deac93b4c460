//! What `docker login` and `docker logout` do to docker's `config.json`, or to the credential helper that it names.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::FlockOperation;
use serde::Serialize;
use serde_json::ser::PrettyFormatter;
use serde_json::{Map, Value};

use super::credentials::{Secret, docker_file};
use super::docker_config::{normal_key, place_of, read_text, server_key};
use super::{Error, helper};

/// docker's configuration, to be changed. What is not about the login in question stays as it is, in its order.
pub struct LoginFile {
    path: PathBuf,
    /// For messages.
    name: String,
    /// For helpers.
    env: BTreeMap<String, String>,
}

/// Where a credential is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// In the configuration itself, where whoever reads the file reads it.
    File(String),
    /// By this program.
    Helper(String),
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(name) | Self::Helper(name) => f.write_str(name),
        }
    }
}

/// Fields of an entry that hold or name a login.
const LOGIN: [&str; 5] = ["auth", "username", "password", "identitytoken", "registrytoken"];

impl LoginFile {
    /// The file in `$DOCKER_CONFIG`, else in `~/.docker`; it need not be there yet.
    pub fn of(env: &BTreeMap<String, String>) -> Result<Self, Error> {
        let (path, name) = docker_file(env).ok_or(Error::NoLoginFile)?;
        Ok(Self { path, name, env: env.clone() })
    }

    /// Keeps a password for a registry, in place of what was kept for it.
    pub fn put(&self, registry: &str, user: &str, password: &Secret) -> Result<Kept, Error> {
        let _lock = self.lock();
        let mut document = self.read()?;
        match document.helper(registry) {
            Some(helper) => {
                let stored = helper::store(&helper, server_key(registry), user, password, &self.env);
                stored.map_err(|reason| self.helper_failed(&helper, reason))?;
                // What the file has for it would be found before the helper is asked.
                if document.forget(registry) {
                    self.write(&document)?;
                }
                Ok(Kept::Helper(helper::program(&helper)))
            }
            None => {
                document.put(registry, user, password);
                self.write(&document)?;
                Ok(Kept::File(self.name.clone()))
            }
        }
    }

    /// Forgets a registry: where it was kept.
    pub fn remove(&self, registry: &str) -> Result<Vec<Kept>, Error> {
        let _lock = self.lock();
        let mut document = self.read()?;
        let mut removed = Vec::new();
        if document.forget(registry) {
            self.write(&document)?;
            removed.push(Kept::File(self.name.clone()));
        }
        if let Some(helper) = document.helper(registry)
            && helper::erase(&helper, server_key(registry), &self.env).map_err(|reason| self.helper_failed(&helper, reason))?
        {
            removed.push(Kept::Helper(helper::program(&helper)));
        }
        Ok(removed)
    }

    fn helper_failed(&self, helper: &str, reason: String) -> Error {
        Error::Helper { program: helper::program(helper), file: self.name.clone(), reason }
    }

    /// Keeps other briks from changing it at the same time; nobody else takes locks, and some file systems have none.
    fn lock(&self) -> Option<File> {
        let directory = File::open(self.path.parent()?).ok()?;
        rustix::fs::flock(&directory, FlockOperation::LockExclusive).ok()?;
        Some(directory)
    }

    fn read(&self) -> Result<Document, Error> {
        let damaged = |reason| Error::DamagedLoginFile { file: self.name.clone(), reason };
        let text = read_text(&self.path).map_err(damaged)?.unwrap_or_default();
        Document::parse(&text).map_err(damaged)
    }

    /// Replaces the file, for its owner's eyes only. A link stays one.
    fn write(&self, document: &Document) -> Result<(), Error> {
        let written = document.to_bytes().and_then(|bytes| replace(&self.path, &bytes));
        written.map_err(|source| Error::LoginFile { file: self.name.clone(), source })
    }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = target.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let part = directory.join(format!(".config.json.brik-{}", std::process::id()));
    // One of this name is left by a process that was killed.
    let _ = fs::remove_file(&part);
    let written = File::options().write(true).create_new(true).mode(0o600).open(&part).and_then(|mut file| {
        // Of somebody whose home root works in (sudo).
        if let Ok(before) = fs::metadata(&target) {
            let _ = std::os::unix::fs::fchown(&file, Some(before.uid()), Some(before.gid()));
        }
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&part, &target)
    });
    written.inspect_err(|_| drop(fs::remove_file(&part)))
}

/// The whole file, known or not.
struct Document {
    fields: Map<String, Value>,
    /// One level of its indentation.
    indent: String,
}

impl Document {
    /// The error is the reason, without any content.
    fn parse(text: &[u8]) -> Result<Self, String> {
        let blank = text.iter().all(u8::is_ascii_whitespace);
        let mut fields: Map<String, Value> = if blank { Map::new() } else { serde_json::from_slice(text).map_err(|e| place_of(&e))? };
        for name in ["auths", "credHelpers"] {
            match fields.get(name) {
                None | Some(Value::Object(_)) => {}
                Some(Value::Null) => drop(fields.shift_remove(name)),
                Some(_) => return Err(format!("{name} is no object")),
            }
        }
        let text = String::from_utf8_lossy(text);
        let second = text.lines().nth(1).unwrap_or_default();
        let indent = &second[..second.len() - second.trim_start_matches([' ', '\t']).len()];
        Ok(Self { fields, indent: if indent.is_empty() { "\t".to_owned() } else { indent.to_owned() } })
    }

    fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let formatter = PrettyFormatter::with_indent(self.indent.as_bytes());
        self.fields.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// The helper for a registry: its own, else that of all.
    fn helper(&self, registry: &str) -> Option<String> {
        let own = self.fields.get("credHelpers").and_then(Value::as_object);
        let own = own.and_then(|own| own.iter().find(|(key, _)| normal_key(key) == registry)).map(|(_, helper)| helper);
        let named = own.or_else(|| self.fields.get("credsStore"))?.as_str()?;
        (!named.is_empty()).then(|| named.to_owned())
    }

    fn put(&mut self, registry: &str, user: &str, password: &Secret) {
        let keys = self.keys(registry);
        let auths = self.fields.entry("auths").or_insert_with(|| Value::Object(Map::new()));
        let Value::Object(auths) = auths else { return };
        let (key, others) = keys.split_first().map_or((server_key(registry).to_owned(), &[][..]), |(first, rest)| (first.clone(), rest));
        others.iter().for_each(|other| drop(auths.shift_remove(other)));
        let mut entry = auths.get(&key).and_then(Value::as_object).cloned().unwrap_or_default();
        LOGIN.iter().for_each(|field| drop(entry.shift_remove(*field)));
        entry.insert("auth".to_owned(), STANDARD.encode(format!("{user}:{}", password.expose())).into());
        auths.insert(key, Value::Object(entry));
    }

    /// Drops what is kept for a registry, by whichever of its names; whether there was anything.
    fn forget(&mut self, registry: &str) -> bool {
        let keys = self.keys(registry);
        if let Some(auths) = self.fields.get_mut("auths").and_then(Value::as_object_mut) {
            keys.iter().for_each(|key| drop(auths.shift_remove(key)));
        }
        !keys.is_empty()
    }

    /// The names under which a registry is in `auths`.
    fn keys(&self, registry: &str) -> Vec<String> {
        let auths = self.fields.get("auths").and_then(Value::as_object);
        auths.into_iter().flatten().map(|(key, _)| key).filter(|key| normal_key(key) == registry).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn file(directory: &Path, text: &str) -> LoginFile {
        fs::write(directory.join("config.json"), text).unwrap();
        LoginFile::of(&BTreeMap::from([("DOCKER_CONFIG".to_owned(), directory.display().to_string())])).unwrap()
    }

    #[test]
    fn a_login_changes_its_own_entry_alone() {
        let directory = tempfile::tempdir().unwrap();
        let text = "{\n  \"zeta\": {\"b\": 1, \"a\": [null]},\n  \"auths\": {\n    \"z.io\": {\"auth\": \"eA==\"},\n    \
                    \"https://r.io/v2/\": {\"identitytoken\": \"old\", \"email\": \"e\"},\n    \"a.io\": {}\n  },\n  \"alpha\": true\n}\n";
        let file = file(directory.path(), text);
        let kept = file.put("r.io", "me", &Secret::new("pass")).unwrap();
        let path = directory.path().join("config.json");
        assert_eq!(kept, Kept::File(path.display().to_string()));
        let now: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let expected = serde_json::json!({
            "zeta": {"b": 1, "a": [null]},
            "auths": {"z.io": {"auth": "eA=="}, "https://r.io/v2/": {"email": "e", "auth": "bWU6cGFzcw=="}, "a.io": {}},
            "alpha": true
        });
        assert_eq!(now.to_string(), expected.to_string(), "also the order");
        assert!(fs::read_to_string(&path).unwrap().contains("\n  \"alpha\": true\n}\n"), "and the indentation");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(file.remove("r.io").unwrap(), [kept]);
        assert_eq!(file.remove("r.io").unwrap(), []);
        let now: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(now["auths"].to_string(), r#"{"z.io":{"auth":"eA=="},"a.io":{}}"#);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn docker_hub_goes_by_the_name_that_docker_gives_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = file(directory.path(), "");
        file.put("docker.io", "me", &Secret::new("pass")).unwrap();
        let text = fs::read_to_string(directory.path().join("config.json")).unwrap();
        assert_eq!(text, "{\n\t\"auths\": {\n\t\t\"https://index.docker.io/v1/\": {\n\t\t\t\"auth\": \"bWU6cGFzcw==\"\n\t\t}\n\t}\n}\n");
    }

    #[test]
    fn what_cannot_be_read_is_not_written() {
        let directory = tempfile::tempdir().unwrap();
        for text in ["{\"auths\": {\"hunter2\": ", "[]", "{\"auths\": 7}"] {
            let error = file(directory.path(), text).put("r.io", "me", &Secret::new("pass")).unwrap_err().to_string();
            assert!(error.contains("left as it is") && !error.contains("hunter2"), "{error}");
            assert_eq!(fs::read_to_string(directory.path().join("config.json")).unwrap(), text);
        }
    }

    #[test]
    fn a_link_stays_a_link() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("real"), "{}").unwrap();
        std::os::unix::fs::symlink("real", directory.path().join("config.json")).unwrap();
        let env = BTreeMap::from([("DOCKER_CONFIG".to_owned(), directory.path().display().to_string())]);
        LoginFile::of(&env).unwrap().put("r.io", "me", &Secret::new("pass")).unwrap();
        assert!(directory.path().join("config.json").is_symlink());
        assert!(fs::read_to_string(directory.path().join("real")).unwrap().contains("r.io"));
    }

    #[test]
    fn the_helper_of_a_registry_is_given_the_password_and_the_file_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let text = r#"{"credsStore": "none", "credHelpers": {"r.io": "x"}, "auths": {"r.io": {"auth": "eA=="}}}"#;
        let mut file = file(directory.path(), text);
        let script = format!("cat > {0}/$1; test $1 != erase || {{ echo credentials not found; exit 1; }}", directory.path().display());
        file.env = helper::tests::install(directory.path(), "x", &script);
        assert_eq!(file.put("r.io", "me", &Secret::new("pa\"ss")).unwrap(), Kept::Helper("docker-credential-x".to_owned()));
        let given: Value = serde_json::from_slice(&fs::read(directory.path().join("store")).unwrap()).unwrap();
        assert_eq!(given, serde_json::json!({"ServerURL": "r.io", "Username": "me", "Secret": "pa\"ss"}));
        assert!(!fs::read_to_string(directory.path().join("config.json")).unwrap().contains("eA=="));
        assert_eq!(file.remove("r.io").unwrap(), [], "the helper did not know it");
        let error = file.put("other.io", "me", &Secret::new("hunter2")).unwrap_err().to_string();
        assert!(error.contains("docker-credential-none") && error.contains("not installed") && !error.contains("hunter2"), "{error}");
    }
}
