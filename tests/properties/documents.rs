//! Documents that registries give: manifests, indexes, image configurations; and layouts that hold them.

use std::fmt::Debug;

use brik::image::OciLayout;
use brik::oci::{Document, ImageConfig, Index, Manifest, Platform};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::scratch::Scratch;

/// Reads `bytes` as each of them.
pub fn check(bytes: &[u8]) {
    same_again::<Manifest>(bytes);
    if let Some(index) = same_again::<Index>(bytes) {
        let platforms = index.platforms();
        assert!(platforms.is_sorted() && platforms.windows(2).all(|pair| pair[0] != pair[1]), "{platforms:?}");
        let found =
            |platform: &Platform| index.manifests.iter().filter_map(|entry| entry.platform.as_ref()).any(|own| platform.accepts(own));
        assert!(platforms.iter().all(found), "{platforms:?}");
        layout(bytes);
    }
    match Document::parse(bytes) {
        Ok(Document::Manifest(read)) => assert_eq!(serde_json::from_slice(bytes).ok(), Some(read)),
        Ok(Document::Index(read)) => assert_eq!(serde_json::from_slice(bytes).ok(), Some(read)),
        Err(_) => {}
    }
    if let Some(config) = same_again::<ImageConfig>(bytes) {
        self::config(config);
    }
}

/// What is written of it reads as the same.
fn same_again<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let read: T = serde_json::from_slice(bytes).ok()?;
    let written = serde_json::to_vec(&read).unwrap();
    let again: T = serde_json::from_slice(&written).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&written)));
    assert_eq!(again, read);
    assert_eq!(serde_json::to_vec(&again).unwrap(), written);
    Some(read)
}

fn config(mut config: ImageConfig) {
    let names: Vec<String> = config.config.env.iter().filter_map(|entry| Some(entry.split_once('=')?.0.to_owned())).collect();
    for name in names.iter().map(String::as_str).chain(["PATH"]) {
        let count = config.config.env.len();
        config.config.set_env(name, "new=value");
        assert_eq!(config.config.env_var(name), Some("new=value"), "{name:?}");
        assert!(config.config.env.len() - count <= 1);
    }
    assert!(names.is_empty() || names.iter().all(|name| config.config.env_var(name).is_some()));
    for platform in [Platform::new("linux", "arm64", None), Platform::new("linux", "arm", Some("v6"))] {
        config.set_platform(&platform);
        assert_eq!((config.platform().os, config.platform().architecture), (platform.os, platform.architecture));
    }
}

/// An image layout with this index, whose blobs are missing.
fn layout(index: &[u8]) {
    let scratch = Scratch::new();
    scratch.write("index.json", index);
    if let Ok(layout) = OciLayout::open(scratch.path()) {
        for name in [None, Some("latest"), Some("v1")] {
            assert!(layout.resolve(name, &Platform::host()).is_err_and(|error| !error.to_string().is_empty()));
        }
    }
}
