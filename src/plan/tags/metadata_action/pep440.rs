//! Versions of Python packages: PEP 440, as its appendix B reads them.

use std::sync::LazyLock;

use regex_lite::Regex;

/// A version in its normal form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    pub normal: String,
    release: Vec<String>,
    /// Neither a pre-, post- nor development release.
    pub is_final: bool,
}

static GRAMMAR: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let text = r"(?ix) ^\s* v? (?: (?P<epoch>[0-9]+) ! )? (?P<release>[0-9]+(?:\.[0-9]+)*)
        (?P<pre> [-_.]? (?P<pre_l>alpha|a|beta|b|preview|pre|c|rc) [-_.]? (?P<pre_n>[0-9]+)? )?
        (?P<post> - (?P<post_n1>[0-9]+) | [-_.]? (?:post|rev|r) [-_.]? (?P<post_n2>[0-9]+)? )?
        (?P<dev> [-_.]? dev [-_.]? (?P<dev_n>[0-9]+)? )?
        (?: \+ (?P<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*) )? \s*$";
    Regex::new(text).ok()
});

impl Version {
    pub fn parse(text: &str) -> Option<Self> {
        let found = GRAMMAR.as_ref()?.captures(text)?;
        let part = |name: &str| found.name(name).map(|part| part.as_str());
        let number = |name: &str| part(name).map_or("0", plain);
        let release: Vec<String> = part("release")?.split('.').map(|part| plain(part).to_owned()).collect();
        let mut normal = match number("epoch") {
            "0" => String::new(),
            epoch => format!("{epoch}!"),
        };
        normal += &release.join(".");
        if let Some(letters) = part("pre_l").map(str::to_lowercase) {
            let short = match letters.as_str() {
                "alpha" => "a",
                "beta" => "b",
                "c" | "pre" | "preview" => "rc",
                short => short,
            };
            normal += &format!("{short}{}", number("pre_n"));
        }
        if part("post").is_some() {
            normal += &format!(".post{}", part("post_n1").map_or_else(|| number("post_n2"), plain));
        }
        if part("dev").is_some() {
            normal += &format!(".dev{}", number("dev_n"));
        }
        if let Some(local) = part("local") {
            let parts: Vec<String> = local.split(['-', '_', '.']).map(|part| plain(part).to_lowercase()).collect();
            normal += &format!("+{}", parts.join("."));
        }
        let is_final = ["pre", "post", "dev"].into_iter().all(|name| part(name).is_none());
        Some(Self { normal, release, is_final })
    }

    /// Major, minor or patch; 0 where there is none.
    pub fn number(&self, index: usize) -> &str {
        self.release.get(index).map_or("0", String::as_str)
    }
}

/// A number without leading zeros; what is no number stays.
fn plain(text: &str) -> &str {
    let rest = text.trim_start_matches('0');
    match text.bytes().all(|b| b.is_ascii_digit()) {
        true if rest.is_empty() => "0",
        true => rest,
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_normalised() {
        for (text, normal, is_final) in [
            ("1.2.3", "1.2.3", true),
            (" V01.2 ", "1.2", true),
            ("1.2.3rc2", "1.2.3rc2", false),
            ("1.2.3post1", "1.2.3.post1", false),
            ("1.2.3beta2", "1.2.3b2", false),
            ("1.0dev4", "1.0.dev4", false),
            ("1.0-ALPHA.1", "1.0a1", false),
            ("1.0c", "1.0rc0", false),
            ("1.0-1", "1.0.post1", false),
            ("1.0.rev_3.dev", "1.0.post3.dev0", false),
            ("2!1.0+Ubuntu-01", "2!1.0+ubuntu.1", true),
        ] {
            let version = Version::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((version.normal.as_str(), version.is_final), (normal, is_final), "{text}");
        }
        for text in ["", "v", "1.2.x", "1.2.3-beta.67x", "release1", "1.0+", "sometag"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
        assert_eq!(
            Version::parse("1.2").map(|version| [0, 1, 2].map(|i| version.number(i).to_owned()).join("-")).as_deref(),
            Some("1-2-0")
        );
    }
}
