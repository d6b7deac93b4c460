//! Platforms (OCI image spec, "Image Index: platform"; normalised as containerd does).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    pub os: String,
    pub architecture: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid platform {0:?}: expected os/architecture[/variant], as in linux/amd64 or linux/arm/v7")]
pub struct PlatformError(pub String);

/// Go's names (`go tool dist list`): the words that mean a system or an architecture alone.
const OSES: [&str; 15] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "illumos",
    "ios",
    "js",
    "linux",
    "macos",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
];
pub const ARCHITECTURES: [&str; 13] =
    ["386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64", "s390x"];

impl Platform {
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let (architecture, implied) = match architecture.to_ascii_lowercase().as_str() {
            "x86_64" | "x86-64" => ("amd64".to_owned(), None),
            "aarch64" => ("arm64".to_owned(), None),
            "armhf" => ("arm".to_owned(), Some("v7")),
            "armel" => ("arm".to_owned(), Some("v6")),
            "i386" | "i686" => ("386".to_owned(), None),
            other => (other.to_owned(), None),
        };
        // Some write that there is none as an empty one.
        let variant = variant.filter(|variant| !variant.is_empty()).or(implied).map(str::to_ascii_lowercase);
        let variant = match (architecture.as_str(), variant.as_deref()) {
            ("arm64", Some("v8" | "8")) | ("amd64", Some("v1")) => None,
            ("arm", None) => Some("v7".to_owned()),
            ("arm", Some(v)) if !v.starts_with('v') => Some(format!("v{v}")),
            _ => variant,
        };
        let os = match os.to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        Self { os, architecture, variant }
    }

    /// The platform that brik itself runs on.
    pub fn host() -> Self {
        Self::new("linux", std::env::consts::ARCH, None)
    }

    /// A platform as a command line or a `FROM --platform` writes it: a system or an architecture may stand alone, and the host's
    /// other half completes it, as containerd does.
    pub fn from_flag(text: &str) -> Result<Self, PlatformError> {
        let (name, host) = (text.to_ascii_lowercase(), Self::host());
        let alone = Self::new(&host.os, &name, None);
        if OSES.contains(&name.as_str()) {
            Ok(Self::new(&name, &host.architecture, host.variant.as_deref()))
        } else if ARCHITECTURES.contains(&alone.architecture.as_str()) {
            Ok(alone)
        } else {
            text.parse()
        }
    }

    /// Whether it is an architecture that Linux runs on, as Go calls it; a wrong name makes an image that no machine takes for its own.
    pub fn has_known_architecture(&self) -> bool {
        ARCHITECTURES.contains(&self.architecture.as_str())
    }

    /// Whether an image of platform `image` may stand where this platform is asked for.
    pub fn accepts(&self, image: &Platform) -> bool {
        let image = Self::new(&image.os, &image.architecture, image.variant.as_deref());
        *self == image
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let parts: Vec<&str> = text.split('/').collect();
        let well_formed = parts.iter().all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b)));
        match parts[..] {
            [os, architecture] if well_formed => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] if well_formed => Ok(Self::new(os, architecture, Some(variant))),
            _ => Err(PlatformError(text.chars().take(100).collect())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_are_normalised_as_containerd_does() {
        for (text, normal) in [
            ("linux/x86_64", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("Linux/AMD64", "linux/amd64"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), normal, "{text}");
        }
        let host = Platform::host();
        assert_eq!(Platform::from_flag("linux"), Ok(Platform { os: "linux".to_owned(), ..host.clone() }));
        assert_eq!(Platform::from_flag("aarch64"), Ok(Platform::new(&host.os, "arm64", None)));
        assert_eq!(Platform::from_flag("linux/arm64"), Ok(Platform::new("linux", "arm64", None)));
        for bad in ["", "minix", "linux/", "/amd64", "a/b/c/d", "linux/am d64"] {
            assert!(bad.parse::<Platform>().is_err() && Platform::from_flag(bad).is_err(), "{bad}");
        }
        assert!("linux".parse::<Platform>().is_err());
    }
}
