//! Semantic Versioning 2.0.0.

use std::cmp::Ordering;

/// A version as it stands after the `v`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version<'a> {
    pub text: &'a str,
    /// Major, minor, patch.
    pub numbers: [&'a str; 3],
    pub pre_release: Option<&'a str>,
}

impl<'a> Version<'a> {
    /// Strictly: three numbers without leading zeros, then a pre-release, then build metadata.
    pub fn parse(text: &'a str) -> Option<Self> {
        let word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let number = |part: &str| part.bytes().all(|b| b.is_ascii_digit()) && !part.is_empty() && (part == "0" || !part.starts_with('0'));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        let (rest, metadata) = text.split_once('+').map_or((text, None), |(rest, metadata)| (rest, Some(metadata)));
        let (core, pre_release) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
        let numbers: Vec<&str> = core.split('.').collect();
        let numbers: [&str; 3] = numbers.try_into().ok()?;
        let good = numbers.iter().all(|part| number(part))
            && metadata.is_none_or(|metadata| metadata.split('.').all(word))
            && pre_release.is_none_or(|pre| pre.split('.').all(|part| word(part) && (!digits(part) || number(part))));
        good.then_some(Self { text, numbers, pre_release })
    }

    /// Without build metadata, which does not tell versions apart.
    pub fn precise(&self) -> &'a str {
        self.text.split('+').next().unwrap_or_default()
    }

    /// SemVer 2.0.0, section 11.
    pub fn precedence(&self, other: &Self) -> Ordering {
        // Numbers without leading zeros compare by length, then by digits, however long they are.
        let numeric = |a: &str, b: &str| a.len().cmp(&b.len()).then_with(|| a.cmp(b));
        let is_number = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        let identifiers = |a: &str, b: &str| match (is_number(a), is_number(b)) {
            (true, true) => numeric(a, b),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => a.cmp(b),
        };
        let core = self.numbers.iter().zip(other.numbers).map(|(a, b)| numeric(a, b)).find(|order| order.is_ne());
        core.unwrap_or_else(|| match (self.pre_release, other.pre_release) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(a), Some(b)) => {
                let pairs = a.split('.').zip(b.split('.')).map(|(a, b)| identifiers(a, b)).find(|order| order.is_ne());
                pairs.unwrap_or_else(|| a.split('.').count().cmp(&b.split('.').count()))
            }
        })
    }
}
