//! `check` options: `skip=all|RULE,…;error=BOOL;experimental=all|RULE,…`.

use super::super::ast::{Comment, Dockerfile};
use super::super::directives;
use super::Rule;

/// The build argument that stands in for the `# check=` directive of every file.
pub const BUILD_ARG: &str = "BUILDKIT_DOCKERFILE_CHECK";

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    #[error("invalid check option {0:?}: expected skip=, error= or experimental=")]
    Unknown(String),
    #[error("failed to parse check option {0:?}: expected true or false")]
    NotBoolean(String),
}

/// What runs, and whether warnings fail the build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckOptions {
    /// Whether a warning makes the build fail.
    pub error: bool,
    skip: Selection,
    experimental: Selection,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Selection {
    all: bool,
    rules: Vec<String>,
}

impl Selection {
    /// `all` counts in lower case only, and rules under their exact names; names of no rule are no fault (BuildKit).
    fn read(&mut self, value: &str) {
        match value {
            "all" => self.all = true,
            _ => self.rules = value.split(',').map(|rule| rule.trim().to_owned()).collect(),
        }
    }

    fn has(&self, rule: &Rule) -> bool {
        self.all || self.rules.iter().any(|name| name == rule.name)
    }
}

impl CheckOptions {
    /// Reads options as BuildKit does: up to three, in any order, of which the last of a kind counts.
    pub fn parse(text: &str) -> Result<Self, OptionsError> {
        let mut options = Self::default();
        let text = text.trim();
        if text.is_empty() {
            return Ok(options);
        }
        for option in text.splitn(3, ';') {
            let (key, value) = option.split_once('=').ok_or_else(|| OptionsError::Unknown(option.to_owned()))?;
            let value = value.trim();
            match key.trim() {
                "skip" => options.skip.read(value),
                "experimental" => options.experimental.read(value),
                "error" => options.error = boolean(value).ok_or_else(|| OptionsError::NotBoolean(option.to_owned()))?,
                key => return Err(OptionsError::Unknown(key.to_owned())),
            }
        }
        Ok(options)
    }

    /// The options of a file: those of [`BUILD_ARG`] where it is given, else those of the directive up to the first space.
    pub fn of(file: &Dockerfile, build_arg: Option<&str>) -> Result<Self, OptionsError> {
        let directive = file.directives.check.as_ref().map(|word| up_to_space(&word.text));
        build_arg.or(directive).map_or_else(|| Ok(Self::default()), Self::parse)
    }

    /// Whether a rule may warn. `comments` are those above the instruction that it looks at: the first `# check=` among them can skip
    /// more rules and enable more experimental ones, there only. One that cannot be read says nothing.
    pub(super) fn lets_run(&self, rule: &Rule, comments: &[Comment]) -> bool {
        let here = comments.iter().find_map(|comment| directives::check_of_comment(&comment.text));
        let here = here.and_then(|text| Self::parse(up_to_space(text)).ok());
        let says = |select: fn(&Self) -> &Selection| select(self).has(rule) || here.as_ref().is_some_and(|here| select(here).has(rule));
        if rule.experimental { says(|options| &options.experimental) } else { !says(|options| &options.skip) }
    }
}

fn up_to_space(value: &str) -> &str {
    value.split(' ').next().unwrap_or(value)
}

/// Go's `strconv.ParseBool`.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::parse;
    use super::super::testing::{bare, warn_with};
    use super::*;

    /// The rules that warn about a file.
    fn rules(text: &str) -> Vec<&'static str> {
        warn_with(text, &bare(), None).into_iter().map(|warning| warning.rule.name).collect()
    }

    #[test]
    fn options_are_read_as_buildkit_reads_them() {
        let unknown = |text: &str| Err(OptionsError::Unknown(text.into()));
        let boolean = |text: &str| Err(OptionsError::NotBoolean(text.into()));
        let error = |text: &str| CheckOptions::parse(text).map(|options| options.error);
        for (text, expected) in [
            ("", Ok(false)),
            ("error=true", Ok(true)),
            (" error = 1 ", Ok(true)),
            ("skip=all;error=T", Ok(true)),
            ("error=true;error=false", Ok(false)),
            ("error=yes", boolean("error=yes")),
            ("skip=A;experimental=B;error=true;", boolean("error=true;")),
            ("skip", unknown("skip")),
            ("skip=A;", unknown("")),
            ("Skip=A", unknown("Skip")),
            ("warn=true", unknown("warn")),
        ] {
            assert_eq!(error(text), expected, "{text:?}");
        }
    }

    #[test]
    fn rules_are_skipped_by_their_exact_names() {
        // The first seven from BuildKit's testRuleCheckOption.
        let body = "FROM scratch as base\ncopy Dockerfile .\n";
        let casing = "ConsistentInstructionCasing";
        for (directive, expected) in [
            ("#check=skip=all", &[][..]),
            ("#check=skip=all;error=true", &[]),
            ("#check=skip=ConsistentInstructionCasing,FromAsCasing", &[]),
            ("#check=skip=ConsistentInstructionCasing,FromAsCasing;error=true", &[]),
            ("#check=skip=ConsistentInstructionCasing", &["FromAsCasing"]),
            ("#check=skip=ConsistentInstructionCasing;error=true", &["FromAsCasing"]),
            ("#check=error=true", &["FromAsCasing", casing]),
            ("#check=skip=ALL", &["FromAsCasing", casing]),
            ("#check=skip=fromascasing", &["FromAsCasing", casing]),
            ("#check=skip=FromAsCasing, ConsistentInstructionCasing", &[casing]),
            ("#check=skip=FromAsCasing // as we like it", &[casing]),
            ("# a comment\n#check=skip=ConsistentInstructionCasing", &["FromAsCasing", casing]),
        ] {
            assert_eq!(rules(&format!("{directive}\n{body}")), expected, "{directive}");
        }
    }

    #[test]
    fn the_build_argument_stands_in_for_the_directive() {
        let options = |directive: &str, given: Option<&str>| {
            let file = parse(format!("# check={directive}\nFROM a").as_bytes()).unwrap();
            CheckOptions::of(&file, given)
        };
        assert_eq!(options("skip=all", Some("error=true")), CheckOptions::parse("error=true"));
        assert_eq!(options("error=true", Some("")), Ok(CheckOptions::default()));
        assert_eq!(options("error=true", None), CheckOptions::parse("error=true"));
        assert_eq!(options("wrong=true", Some("skip=all")), CheckOptions::parse("skip=all"));
        assert!(options("wrong=true", None).is_err());
    }

    #[test]
    fn experimental_rules_run_where_they_are_asked_for_and_cannot_be_skipped() {
        let body = "# no description\nARG A\nFROM scratch\n";
        let rule = "InvalidDefinitionDescription";
        for (directive, expected) in [
            ("", &[][..]),
            ("# check=experimental=InvalidDefinitionDescription\n", &[rule]),
            ("# check=experimental=all;skip=all\n", &[rule]),
            ("# check=experimental=Other\n", &[]),
        ] {
            assert_eq!(rules(&format!("{directive}{body}")), expected, "{directive}");
        }
    }

    #[test]
    fn a_comment_above_an_instruction_holds_for_that_instruction() {
        // From BuildKit's testSecretsUsedInArgOrEnv.
        let env = "ENV password=bar\n";
        for (comments, warns) in [
            ("", true),
            ("# check=skip=SecretsUsedInArgOrEnv // allowed here\n", false),
            ("# check=skip=all // is local to only this instruction\n", false),
            ("# Check = skip=all\n", false),
            ("# why\n# check=skip=SecretsUsedInArgOrEnv\n", false),
            ("# check=skip=Other\n# check=skip=all\n", true),
            ("# check=wrong=1\n", true),
            ("# check=skip=all\n#\n", true),
            ("# check=skip=all\nENV a=b\n", true),
        ] {
            let found = rules(&format!("FROM scratch\n{comments}{env}"));
            assert_eq!(found, if warns { &["SecretsUsedInArgOrEnv"][..] } else { &[] }, "{comments}");
        }
    }
}
