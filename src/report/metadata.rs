//! The content of `--metadata-file`, with the keys that `docker buildx build` and `docker buildx bake` write and that CI reads.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::oci::{Descriptor, Digest, Reference};

/// One built image.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageMetadata {
    pub service: String,
    /// Every reference under which the image was pushed or written.
    pub names: Vec<Reference>,
    /// Of the manifest, or of the index where there are several platforms.
    pub descriptor: Descriptor,
    /// Of the image config (docker's image id); none for an index.
    pub config: Option<Digest>,
}

/// One object for one image, as `docker buildx build` writes it.
pub fn metadata_flat(image: &ImageMetadata) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(&Keys::of(image)).map(|text| text + "\n")
}

/// An object for each Service, as `docker buildx bake` writes it for each target, even for a single one.
pub fn metadata_by_service(images: &[ImageMetadata]) -> Result<String, serde_json::Error> {
    let images: BTreeMap<&str, Keys> = images.iter().map(|image| (image.service.as_str(), Keys::of(image))).collect();
    serde_json::to_string_pretty(&images).map(|text| text + "\n")
}

#[derive(Serialize)]
struct Keys<'i> {
    #[serde(rename = "containerimage.config.digest", skip_serializing_if = "Option::is_none")]
    config: Option<Digest>,
    #[serde(rename = "containerimage.descriptor")]
    descriptor: &'i Descriptor,
    #[serde(rename = "containerimage.digest")]
    digest: Digest,
    #[serde(rename = "image.name", serialize_with = "joined", skip_serializing_if = "<[_]>::is_empty")]
    names: &'i [Reference],
}

impl<'i> Keys<'i> {
    fn of(image: &'i ImageMetadata) -> Self {
        Self { config: image.config, descriptor: &image.descriptor, digest: image.descriptor.digest, names: &image.names }
    }
}

fn joined<S: Serializer>(names: &[Reference], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&names.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::oci::media_type;

    fn image(service: &str) -> ImageMetadata {
        let name = |tag: &str| format!("ghcr.io/org/{service}:{tag}").parse().unwrap();
        ImageMetadata {
            service: service.to_owned(),
            names: vec![name("sha-1"), name("v1.2.3")],
            descriptor: Descriptor::new(media_type::OCI_MANIFEST, Digest::of(b"manifest"), 1234),
            config: Some(Digest::of(b"config")),
        }
    }

    fn expected(service: &str) -> Value {
        json!({
            "containerimage.config.digest": Digest::of(b"config").to_string(),
            "containerimage.descriptor": { "mediaType": media_type::OCI_MANIFEST, "digest": Digest::of(b"manifest").to_string(), "size": 1234 },
            "containerimage.digest": Digest::of(b"manifest").to_string(),
            "image.name": format!("ghcr.io/org/{service}:sha-1,ghcr.io/org/{service}:v1.2.3"),
        })
    }

    #[test]
    fn one_image_is_flat_as_build_writes_it() {
        let value: Value = serde_json::from_str(&metadata_flat(&image("api")).unwrap()).unwrap();
        assert_eq!(value, expected("api"));
    }

    #[test]
    fn services_are_keyed_as_bake_writes_targets() {
        let value: Value = serde_json::from_str(&metadata_by_service(&[image("web"), image("api")]).unwrap()).unwrap();
        assert_eq!(value, json!({ "api": expected("api"), "web": expected("web") }));
    }

    #[test]
    fn an_index_has_no_config_and_an_unnamed_image_no_name() {
        let image = ImageMetadata { names: vec![], config: None, ..image("api") };
        let value: Value = serde_json::from_str(&metadata_flat(&image).unwrap()).unwrap();
        assert!(value.get("containerimage.config.digest").is_none() && value.get("image.name").is_none());
    }
}
