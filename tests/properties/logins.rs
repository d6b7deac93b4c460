//! docker's `config.json`: credentials read from it, and logins written to it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use brik::registry::{Credentials, Kept, Login, LoginFile, Place, Secret};
use serde_json::value::RawValue;

use super::scratch::Scratch;

const REGISTRY: &str = "registry.example";
const REPOSITORY: &str = "property/of-logins";

/// `text` is the file.
pub fn check(text: &[u8]) {
    let scratch = Scratch::new();
    scratch.write("config.json", text);
    let shown = scratch.path().display().to_string();
    // Helpers are searched where none is, and nothing of the machine's own is read.
    let names = ["DOCKER_CONFIG", "HOME", "PATH", "XDG_RUNTIME_DIR"];
    let env: BTreeMap<String, String> = names.into_iter().map(|name| (name.to_owned(), shown.clone())).collect();
    let known = Credentials::discover(env.clone(), Some(REGISTRY));
    let places = known.places(|_| true, "docker.io");
    for (registry, repository) in [("docker.io", "library/busybox"), ("ghcr.io", "org/app"), (REGISTRY, REPOSITORY)] {
        if let Some(found) = known.find(registry, repository) {
            assert!(known.secrets().iter().any(|secret| secret == secret_of(&found.login)), "what is found is known to be a secret");
            assert!(places.iter().any(|place| place.source == found.source), "{places:?}");
        }
    }
    let met = known.take_unusable();
    for unusable in met.iter().chain(places.iter().filter_map(|place| place.unusable.as_ref())) {
        let told = format!("{unusable} {}", unusable.fix());
        let is_named = |place: &Place| place.source.contains("hunter2") || place.registry.contains("hunter2");
        assert!(!told.contains("hunter2") || places.iter().any(is_named), "{told}");
    }
    login(&env, &scratch.path().join("config.json"));
}

fn secret_of(login: &Login) -> &str {
    match login {
        Login::Password { password, .. } => password.expose(),
        Login::IdentityToken(token) => token.expose(),
    }
}

/// A login is found again, and goes again; nothing else of the file is another then.
fn login(env: &BTreeMap<String, String>, path: &Path) {
    let file = LoginFile::of(env).expect("there is a home");
    let before = fs::read(path).unwrap();
    let password = "p:a ss\u{e9}\"\\";
    match file.put(REGISTRY, "me", &Secret::new(password)) {
        Ok(Kept::File(_)) => {}
        Ok(Kept::Helper(helper)) => panic!("{helper} is not installed"),
        Err(_) => return assert_eq!(fs::read(path).unwrap(), before, "what cannot be written is left as it is"),
    }
    let found = Credentials::discover(env.clone(), None).find(REGISTRY, REPOSITORY);
    let is_it = |login: &Login| *login == Login::Password { user: "me".to_owned(), password: Secret::new(password) };
    // Somebody may have one for a part of the registry.
    assert!(found.is_some_and(|found| is_it(&found.login)) || String::from_utf8_lossy(&before).contains("property"));
    let with = fs::read(path).unwrap();
    untouched(&before, &with);
    let removed = file.remove(REGISTRY).unwrap();
    assert!(matches!(removed[..], [Kept::File(_)]), "{removed:?}");
    assert_eq!(file.remove(REGISTRY).unwrap(), [], "it is gone");
    untouched(&with, &fs::read(path).unwrap());
}

/// Every other key, and every other registry, is written as it was.
fn untouched(before: &[u8], after: &[u8]) {
    let fields = |text: &[u8]| -> BTreeMap<String, Box<RawValue>> { serde_json::from_slice(text).unwrap_or_default() };
    let (mut before, mut after) = (fields(before), fields(after));
    let entries = |fields: &mut BTreeMap<String, Box<RawValue>>| {
        let entries = fields.remove("auths").and_then(|auths| serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(auths.get()).ok());
        let mut entries = entries.unwrap_or_default();
        entries.retain(|registry, _| !registry.contains(REGISTRY));
        texts(entries)
    };
    assert_eq!(entries(&mut before), entries(&mut after));
    // An empty one of these is as none.
    before.retain(|name, value| name != "credHelpers" || value.get() != "null");
    assert_eq!(texts(before), texts(after));
}

fn texts(fields: BTreeMap<String, Box<RawValue>>) -> BTreeMap<String, String> {
    fields.into_iter().map(|(name, value)| (name, value.get().to_owned())).collect()
}
