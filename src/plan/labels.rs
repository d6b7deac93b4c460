//! The standard labels of an image, filled from git, and the ARGs that many Dockerfiles declare for the same.
//!
//! | label | from | part of the image's key |
//! |---|---|---|
//! | title | the service's name | yes |
//! | source, url | the remote's page | yes |
//! | licenses | the repository's license file | yes |
//! | version | the version that git's tags say | no |
//! | revision | the commit | no |
//! | created | SOURCE_DATE_EPOCH, else the commit's time | no |
//!
//! What is no part of the key stays what it was when the image was first built: an unchanged image keeps its digest from commit to
//! commit. Where every commit shall have a digest of its own, it is part of the key, too.

use std::collections::BTreeMap;

/// What is known of the source of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceFacts {
    /// The page of the repository.
    pub url: Option<String>,
    pub license: Option<String>,
    pub revision: Option<String>,
    pub version: Option<String>,
    /// Seconds since 1970.
    pub created: Option<i64>,
}

const PREFIX: &str = "org.opencontainers.image.";
/// The labels of [`SourceFacts::volatile`].
pub(super) const OF_A_COMMIT: [&str; 3] = ["org.opencontainers.image.version", "org.opencontainers.image.revision", CREATED];
/// The label whose value an own SOURCE_DATE_EPOCH of the Dockerfile decides.
const CREATED: &str = "org.opencontainers.image.created";

impl SourceFacts {
    /// Labels that stay from commit to commit. Without a commit, nothing is known of an image.
    pub fn stable(&self, service: &str) -> BTreeMap<String, String> {
        let known = [
            ("title", Some(service)),
            ("source", self.url.as_deref()),
            ("url", self.url.as_deref()),
            ("licenses", self.license.as_deref()),
        ];
        labels(known.into_iter().filter(|_| self.revision.is_some()))
    }

    /// Labels that another commit changes. `created`: seconds since 1970 that say more than the commit's, where there is one.
    pub fn volatile(&self, created: Option<i64>) -> BTreeMap<String, String> {
        let created = created.or(self.created).filter(|_| self.revision.is_some()).map(rfc3339);
        labels([
            ("version", self.version.as_deref()),
            ("revision", self.revision.as_deref()),
            (&CREATED[PREFIX.len()..], created.as_deref()),
        ])
    }

    /// What an ARG has where a Dockerfile declares it and nobody gives it a value.
    pub fn arg(&self, name: &str) -> Option<String> {
        match name {
            "IMAGE_SOURCE" => self.url.clone(),
            "VCS_REF" => self.revision.clone(),
            "BUILD_DATE" => self.created.map(rfc3339),
            _ => None,
        }
    }
}

/// Whether another commit changes what [`SourceFacts::arg`] has for an ARG.
pub(super) fn is_volatile(arg: &str) -> bool {
    matches!(arg, "VCS_REF" | "BUILD_DATE")
}

fn labels<'a>(known: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> BTreeMap<String, String> {
    known.into_iter().filter_map(|(name, value)| Some((format!("{PREFIX}{name}"), value?.to_owned()))).collect()
}

/// Seconds since 1970, as in `2020-01-10T00:30:00Z`.
pub fn rfc3339(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "1970-01-01T00:00:00Z".to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_args_say_what_is_known() {
        let known = SourceFacts {
            url: Some("https://h/o/r".to_owned()),
            license: Some("MIT".to_owned()),
            revision: Some("abc".to_owned()),
            version: None,
            created: Some(1_578_616_200),
        };
        let text = |labels: BTreeMap<String, String>| {
            labels.iter().map(|(name, value)| format!("{}={value}", name.trim_start_matches(PREFIX))).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(text(known.stable("api")), "licenses=MIT source=https://h/o/r title=api url=https://h/o/r");
        assert_eq!(text(known.volatile(None)), "created=2020-01-10T00:30:00Z revision=abc");
        assert_eq!(text(known.volatile(Some(0))), "created=1970-01-01T00:00:00Z revision=abc");
        let args = ["BUILD_DATE", "IMAGE_SOURCE", "VCS_REF", "OTHER"].map(|name| known.arg(name).unwrap_or_default());
        assert_eq!(args, ["2020-01-10T00:30:00Z", "https://h/o/r", "abc", ""]);
        let nothing = SourceFacts::default();
        assert!(nothing.stable("api").is_empty() && nothing.volatile(Some(0)).is_empty() && nothing.arg("VCS_REF").is_none());
    }
}
