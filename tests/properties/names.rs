//! Names: of images, tags, platforms, digests; and sizes.

use brik::config::{NamedContext, parse_bytes};
use brik::oci::{DiffId, Digest, Platform, Reference, validate_tag};

/// Reads `text` as everything that it may be.
pub fn check(text: &str) {
    if let Ok(reference) = text.parse::<Reference>() {
        self::reference(&reference);
        let same = |context: &NamedContext| matches!(context, NamedContext::Image(image) if *image == reference);
        assert!(NamedContext::image(text).is_ok_and(|context| same(&context) || text == "scratch"));
    }
    let tagged = format!("a.example/b:{text}").parse::<Reference>();
    assert_eq!(validate_tag(text).is_ok(), tagged.is_ok_and(|read| read.tag.as_deref() == Some(text)), "{text:?} as a tag");
    for platform in [text.parse::<Platform>(), Platform::from_flag(text)].into_iter().flatten() {
        assert_eq!(platform.to_string().parse().as_ref(), Ok(&platform), "{text:?}");
        assert!(platform.accepts(&platform), "{platform}");
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
        assert_eq!(DiffId(digest).to_string(), text);
    }
    let (path, reference) = NamedContext::split_layout(text);
    assert_eq!(path.len() + reference.map_or(0, |reference| reference.len() + 1), text.len());
    if let Some(size) = parse_bytes(text) {
        assert!(text.chars().any(|c| c.is_ascii_digit()), "{text:?} is {size}");
    }
}

fn reference(reference: &Reference) {
    let text = reference.to_string();
    assert_eq!(text.parse().as_ref(), Ok(reference), "what {text:?} is written as");
    assert!(reference.name().len() <= 255 && !reference.repository.is_empty() && !reference.registry.is_empty());
    assert!(!reference.name().contains(['@', ' ', '\\', '"']) && !text.contains(char::is_control));
    let json = serde_json::to_string(reference).unwrap();
    assert_eq!(serde_json::from_str::<Reference>(&json).ok().as_ref(), Some(reference));
    assert_eq!(reference.tagged().is_some(), reference.digest.is_none());
    if let Some(tagged) = reference.tagged() {
        assert_eq!(tagged.tagged().as_ref(), Some(&tagged), "written out once");
        assert!(tagged.same_repository(reference) && validate_tag(tagged.tag.as_deref().unwrap()).is_ok());
    }
    let other = reference.with_digest(Digest::of(b"")).with_tag("x");
    assert_eq!((other.tag.as_deref(), other.digest, other.name()), (Some("x"), None, reference.name()));
}
