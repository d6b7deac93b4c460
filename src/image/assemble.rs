//! Config and manifest of an image from its parts, as the bytes that are pushed.

use super::Error;
use crate::oci::{Descriptor, Digest, ImageConfig, Layer, Manifest, RootFs, media_type};

/// Which family of media types an image is written with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Oci,
    /// Docker image manifest, version 2, schema 2.
    Docker,
}

const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";

/// The same encodings in the two families.
const LAYER_TYPES: [(&str, &str); 3] = [
    (media_type::OCI_LAYER, DOCKER_LAYER),
    (media_type::OCI_LAYER_GZIP, media_type::DOCKER_LAYER_GZIP),
    (media_type::OCI_LAYER_ZSTD, DOCKER_LAYER_ZSTD),
];

impl Format {
    /// A layer's media type in this format; types of neither family stand as they are.
    fn layer_type(self, media_type: &str) -> &str {
        let pair = LAYER_TYPES.iter().find(|(oci, docker)| media_type == *oci || media_type == *docker);
        match (pair, self) {
            (Some((oci, _)), Self::Oci) => oci,
            (Some((_, docker)), Self::Docker) => docker,
            (None, _) => media_type,
        }
    }
}

/// An image's two documents, compact JSON, and their descriptors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assembled {
    pub config: Vec<u8>,
    pub config_descriptor: Descriptor,
    pub manifest: Vec<u8>,
    /// With the image's platform.
    pub manifest_descriptor: Descriptor,
}

/// Makes the documents of an image of `layers`, bottom first. The config's `rootfs` is replaced by the layers'. The same input gives
/// the same bytes.
pub fn assemble(config: &ImageConfig, layers: &[Layer], format: Format) -> Result<Assembled, Error> {
    let (config_type, manifest_type) = match format {
        Format::Oci => (media_type::OCI_CONFIG, media_type::OCI_MANIFEST),
        Format::Docker => (media_type::DOCKER_CONFIG, media_type::DOCKER_MANIFEST),
    };
    let rootfs = RootFs { diff_ids: layers.iter().map(|layer| layer.diff_id).collect(), ..RootFs::default() };
    let config_bytes = serde_json::to_vec(&ImageConfig { rootfs, ..config.clone() })?;
    let config_descriptor = Descriptor::new(config_type, Digest::of(&config_bytes), config_bytes.len() as u64);
    let layer = |layer: &Layer| {
        let media_type = format.layer_type(&layer.descriptor.media_type).to_owned();
        Descriptor { media_type, platform: None, ..layer.descriptor.clone() }
    };
    let manifest =
        Manifest { media_type: manifest_type.to_owned(), ..Manifest::oci(config_descriptor.clone(), layers.iter().map(layer).collect()) };
    let manifest = serde_json::to_vec(&manifest)?;
    let manifest_descriptor =
        Descriptor { platform: Some(config.platform()), ..Descriptor::new(manifest_type, Digest::of(&manifest), manifest.len() as u64) };
    Ok(Assembled { config: config_bytes, config_descriptor, manifest, manifest_descriptor })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{DiffId, Document, Platform};

    fn layer(media_type: &str) -> Layer {
        Layer { diff_id: DiffId(Digest::of(b"tar")), descriptor: Descriptor::new(media_type, Digest::of(b"blob"), 4) }
    }

    #[test]
    fn the_documents_name_one_another_and_the_layers() {
        let config = ImageConfig::scratch(&Platform::new("linux", "arm64", None));
        let image = assemble(&config, &[layer(media_type::DOCKER_LAYER_GZIP)], Format::Oci).unwrap();
        let Ok(Document::Manifest(manifest)) = Document::parse(&image.manifest) else { panic!("no manifest") };
        assert_eq!(manifest.config.digest, Digest::of(&image.config));
        assert_eq!(manifest.layers[0].media_type, media_type::OCI_LAYER_GZIP);
        assert_eq!(image.manifest_descriptor.platform.map(|p| p.to_string()).as_deref(), Some("linux/arm64"));
        let read: ImageConfig = serde_json::from_slice(&image.config).unwrap();
        assert_eq!(read.rootfs.diff_ids, [DiffId(Digest::of(b"tar"))]);
    }

    #[test]
    fn the_docker_format_has_docker_types_throughout() {
        let config = ImageConfig::scratch(&Platform::host());
        let layers = [layer(media_type::OCI_LAYER_GZIP), layer(media_type::OCI_LAYER)];
        let image = assemble(&config, &layers, Format::Docker).unwrap();
        assert!(!String::from_utf8(image.manifest).unwrap().contains("vnd.oci"));
    }

    #[test]
    fn layers_of_other_kinds_keep_their_type() {
        assert_eq!(Format::Oci.layer_type("application/x-foreign"), "application/x-foreign");
    }
}
