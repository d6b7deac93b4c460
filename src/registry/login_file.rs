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
use serde_json::value::{RawValue, to_raw_value};

use super::credentials::{Secret, docker_file};
use super::docker_config::{self, normal_key, place_of, read_text, server_key};
use super::json_fields::Fields;
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
                if self.forget(&mut document, registry)? {
                    self.write(&document)?;
                }
                Ok(Kept::Helper(helper::program(&helper)))
            }
            None => {
                document.put(registry, user, password).map_err(|error| self.unwritable(error.into()))?;
                // A login in a file that cannot be read as a whole would not be found.
                let readable = docker_config::parse(document.to_text().as_bytes(), &self.name);
                readable.map_err(|reason| Error::DamagedLoginFile { file: self.name.clone(), reason })?;
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
        if self.forget(&mut document, registry)? {
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
        replace(&self.path, document.to_text().as_bytes()).map_err(|source| self.unwritable(source))
    }

    fn forget(&self, document: &mut Document, registry: &str) -> Result<bool, Error> {
        document.forget(registry).map_err(|error| self.unwritable(error.into()))
    }

    fn unwritable(&self, source: io::Error) -> Error {
        Error::LoginFile { file: self.name.clone(), source }
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
    fields: Fields,
    /// One level of its indentation.
    indent: String,
}

impl Document {
    /// The error is the reason, without any content.
    fn parse(text: &[u8]) -> Result<Self, String> {
        let blank = text.iter().all(u8::is_ascii_whitespace);
        let mut fields = if blank { Fields::default() } else { serde_json::from_slice(text).map_err(|e| place_of(&e))? };
        for name in ["auths", "credHelpers"] {
            match fields.get(name).map(RawValue::get) {
                None => {}
                Some("null") => fields.remove(name),
                Some(value) => drop(serde_json::from_str::<Fields>(value).map_err(|_| format!("{name} is no object"))?),
            }
        }
        let text = String::from_utf8_lossy(text);
        let second = text.lines().nth(1).unwrap_or_default();
        let indent = &second[..second.len() - second.trim_start_matches([' ', '\t']).len()];
        Ok(Self { fields, indent: if indent.is_empty() { "\t".to_owned() } else { indent.to_owned() } })
    }

    fn to_text(&self) -> String {
        self.fields.pretty(&self.indent, 0) + "\n"
    }

    /// The helper for a registry: its own, else that of all.
    fn helper(&self, registry: &str) -> Option<String> {
        let own = self.fields.object("credHelpers");
        let own = own.iter().find(|(key, _)| normal_key(key) == registry).map(|(_, helper)| helper);
        let named: String = serde_json::from_str(own.or_else(|| self.fields.get("credsStore"))?.get()).ok()?;
        (!named.is_empty()).then_some(named)
    }

    fn put(&mut self, registry: &str, user: &str, password: &Secret) -> serde_json::Result<()> {
        let mut auths = self.fields.object("auths");
        let keys = keys(&auths, registry);
        let (key, others) = keys.split_first().map_or((server_key(registry).to_owned(), &[][..]), |(first, rest)| (first.clone(), rest));
        others.iter().for_each(|other| auths.remove(other));
        let mut entry = auths.object(&key);
        LOGIN.iter().for_each(|field| entry.remove(field));
        entry.set("auth", to_raw_value(&STANDARD.encode(format!("{user}:{}", password.expose())))?);
        auths.set(&key, RawValue::from_string(entry.pretty(&self.indent, 2))?);
        self.set_auths(&auths)
    }

    /// Drops what is kept for a registry, by whichever of its names; whether there was anything.
    fn forget(&mut self, registry: &str) -> serde_json::Result<bool> {
        let mut auths = self.fields.object("auths");
        let keys = keys(&auths, registry);
        if !keys.is_empty() {
            keys.iter().for_each(|key| auths.remove(key));
            self.set_auths(&auths)?;
        }
        Ok(!keys.is_empty())
    }

    fn set_auths(&mut self, auths: &Fields) -> serde_json::Result<()> {
        self.fields.set("auths", RawValue::from_string(auths.pretty(&self.indent, 1))?);
        Ok(())
    }
}

/// The names under which a registry is in `auths`.
fn keys(auths: &Fields, registry: &str) -> Vec<String> {
    auths.iter().map(|(key, _)| key).filter(|key| normal_key(key) == registry).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    use serde_json::Value;

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
    fn a_number_beyond_64_bits_stays_what_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let text = "{\"n\": 123456789012345678901234567890, \"f\": 1.10e999}";
        file(directory.path(), text).put("r.io", "me", &Secret::new("pass")).unwrap();
        let now = fs::read_to_string(directory.path().join("config.json")).unwrap();
        assert!(now.contains("\"n\": 123456789012345678901234567890") && now.contains("\"f\": 1.10e999"), "{now}");
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
