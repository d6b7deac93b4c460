//! `flavor`: what holds for all tags of a list.

use super::expression::{Expression, Vocabulary};
use super::fields::fields;
use crate::config::suggest::did_you_mean;
use crate::config::template::TemplateError;

/// Where brik differs from metadata-action: `latest` is false until it is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flavor {
    pub latest: Latest,
    /// Before every tag that says no other.
    pub prefix: Option<Affix>,
    pub suffix: Option<Affix>,
}

/// Whether the tag `latest` is added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Latest {
    #[default]
    False,
    True,
    /// Where the first entry that has a value is a released version or a git tag.
    Auto,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affix {
    pub text: Expression,
    /// As it was written: `latest` takes it so.
    pub written: String,
    /// Whether `latest` has it, too.
    pub on_latest: bool,
}

const KEYS: [&str; 4] = ["latest", "prefix", "suffix", "onlatest"];

impl Flavor {
    /// Adds a line as `latest=auto` or `suffix=-alpine,onlatest=true`.
    ///
    /// # Errors
    /// Where it is neither.
    pub fn add(&mut self, line: &str) -> Result<(), TemplateError> {
        let mut last = None;
        for field in fields(line)? {
            let key = KEYS.into_iter().find(|key| field.name.eq_ignore_ascii_case(key)).ok_or_else(|| {
                let help = did_you_mean(field.name, KEYS).unwrap_or_else(|| "write latest=auto, prefix=… or suffix=…".to_owned());
                TemplateError::new(field.name_span.clone(), format!("unknown flavor `{}`", field.name), Some(help))
            })?;
            match (key, field.value) {
                ("latest", "auto") => self.latest = Latest::Auto,
                ("latest", "true") => self.latest = Latest::True,
                ("latest", "false") => self.latest = Latest::False,
                ("latest", _) => return Err(field.wrong("`latest` is auto, true or false", None)),
                ("onlatest", on @ ("true" | "false")) => {
                    let affix = match last {
                        Some("prefix") => self.prefix.as_mut(),
                        Some(_) => self.suffix.as_mut(),
                        None => None,
                    };
                    affix.into_iter().for_each(|affix| affix.on_latest = on == "true");
                }
                ("onlatest", _) => return Err(field.wrong("`onlatest` is true or false", None)),
                (key, text) => {
                    let parsed = Expression::parse(text, Vocabulary::Global).map_err(|error| error.moved(field.value_span.start))?;
                    let affix = Affix { text: parsed, written: text.to_owned(), on_latest: false };
                    let affix = Some(affix).filter(|_| !text.is_empty());
                    if key == "prefix" {
                        self.prefix = affix
                    } else {
                        self.suffix = affix
                    }
                    last = Some(key);
                }
            }
        }
        Ok(())
    }

    /// All lines of a text.
    ///
    /// # Errors
    /// On the first that is none.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Self, TemplateError> {
        let mut flavor = Self::default();
        lines.into_iter().try_for_each(|line| flavor.add(line))?;
        Ok(flavor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_add_up() {
        let flavor = Flavor::parse(["latest=auto", "prefix=a-", "suffix=-b,onlatest=true", "prefix="]).unwrap();
        assert_eq!((flavor.latest, flavor.prefix), (Latest::Auto, None));
        assert!(flavor.suffix.is_some_and(|suffix| suffix.on_latest && suffix.written == "-b"));
        assert_eq!(Flavor::parse([]).unwrap().latest, Latest::False);
    }

    #[test]
    fn what_is_no_flavor_is_refused_at_its_bytes() {
        for (line, part) in
            [("latest=yes", "yes"), ("sufix=x", "sufix"), ("suffix=x,onlatest=1", "1"), ("latest", "latest"), ("prefix={{x}}", "x")]
        {
            let error = Flavor::parse([line]).unwrap_err();
            assert_eq!(&line[error.span], part, "{line}");
        }
    }
}
