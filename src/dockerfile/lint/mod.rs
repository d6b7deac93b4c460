//! BuildKit's build checks, under BuildKit's names, with its messages and its conditions; and brik's own.
//!
//! | file | holds |
//! |---|---|
//! | `mod` (here) | the table of the rules, and the door: [`lint`] |
//! | `options` | `# check=` of the file, of one instruction, and of the build argument that overrules the former |
//! | `surroundings` | what a Dockerfile does not say itself, given as values |
//! | `reading`, `scope` | the file as the rules see it: each word expanded with the variables in force where it stands |
//! | `warning` | what rules say, and what the options let through |
//! | one file for each rule | when it warns, and what it says; `doc/<Rule>.md` explains it to people |
//!
//! BuildKit locates a warning by the line where its instruction begins. Here it is the bytes that it is about, which matters where an
//! instruction has several lines.

mod commit_arg_before_run;
mod consistent_instruction_casing;
mod copy_ignored_file;
mod duplicate_stage_name;
mod expose_invalid_format;
mod expose_proto_casing;
mod from_as_casing;
mod from_platform_flag_const_disallowed;
mod invalid_base_image_platform;
mod invalid_default_arg_in_from;
mod invalid_definition_description;
mod json_args_recommended;
mod legacy_key_value_format;
mod maintainer_deprecated;
mod multiple_instructions_disallowed;
mod no_empty_continuation;
mod options;
mod reading;
mod redundant_target_platform;
mod reserved_stage_name;
mod scope;
mod secrets_used_in_arg_or_env;
mod stage_name_casing;
mod surroundings;
#[cfg(test)]
mod testing;
mod undefined_arg_in_from;
mod undefined_var;
mod warning;
mod workdir_relative_path;

pub use options::{BUILD_ARG, CheckOptions, OptionsError};
pub use secrets_used_in_arg_or_env::is_secret;
pub use surroundings::Surroundings;
pub use warning::Warning;

use super::Dockerfile;
use reading::Reading;
use warning::Warnings;

/// A build check.
pub struct Rule {
    /// BuildKit's name, if it is one of its rules, as `# check=skip=` takes it.
    pub name: &'static str,
    /// `brik::lint::<name>`.
    pub code: &'static str,
    /// One line.
    pub description: &'static str,
    /// Whether it is off unless `# check=experimental=` names it.
    pub experimental: bool,
    /// What it is about, for people, in Markdown.
    pub page: &'static str,
    /// The last part of the address of BuildKit's page; `None` for a rule of brik's own.
    slug: Option<&'static str>,
    check: fn(&Reading, &mut Warnings),
}

impl Rule {
    /// BuildKit's page about the rule.
    pub fn url(&self) -> Option<String> {
        self.slug.map(|slug| format!("https://docs.docker.com/go/dockerfile/rule/{slug}/"))
    }

    /// The rule of a name, case aside.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        RULES.iter().find(|rule| rule.name.eq_ignore_ascii_case(name))
    }
}

macro_rules! rule {
    (@slug none) => { None };
    (@slug $slug:literal) => { Some($slug) };
    ($name:ident, $module:ident, $slug:tt, $description:literal) => {
        rule!($name, $module, $slug, $description, experimental: false)
    };
    ($name:ident, $module:ident, $slug:tt, $description:literal, experimental: $experimental:literal) => {
        Rule {
            name: stringify!($name),
            code: concat!("brik::lint::", stringify!($name)),
            description: $description,
            experimental: $experimental,
            page: include_str!(concat!("doc/", stringify!($name), ".md")),
            slug: rule!(@slug $slug),
            check: $module::check,
        }
    };
}

/// Every rule, in the order of BuildKit's documentation, then those of brik's own.
pub const RULES: [Rule; 23] = [
    rule!(StageNameCasing, stage_name_casing, "stage-name-casing", "Stage names should be lowercase"),
    rule!(FromAsCasing, from_as_casing, "from-as-casing", "The 'as' keyword should match the case of the 'from' keyword"),
    rule!(
        NoEmptyContinuation,
        no_empty_continuation,
        "no-empty-continuation",
        "Empty continuation lines will become errors in a future release"
    ),
    rule!(
        ConsistentInstructionCasing,
        consistent_instruction_casing,
        "consistent-instruction-casing",
        "All commands within the Dockerfile should use the same casing (either upper or lower)"
    ),
    rule!(DuplicateStageName, duplicate_stage_name, "duplicate-stage-name", "Stage names should be unique"),
    rule!(ReservedStageName, reserved_stage_name, "reserved-stage-name", "Reserved words should not be used as stage names"),
    rule!(
        JSONArgsRecommended,
        json_args_recommended,
        "json-args-recommended",
        "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals"
    ),
    rule!(
        MaintainerDeprecated,
        maintainer_deprecated,
        "maintainer-deprecated",
        "The MAINTAINER instruction is deprecated, use a label instead to define an image author"
    ),
    rule!(UndefinedArgInFrom, undefined_arg_in_from, "undefined-arg-in-from", "FROM command must use declared ARGs"),
    rule!(
        WorkdirRelativePath,
        workdir_relative_path,
        "workdir-relative-path",
        "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes"
    ),
    rule!(UndefinedVar, undefined_var, "undefined-var", "Variables should be defined before their use"),
    rule!(
        MultipleInstructionsDisallowed,
        multiple_instructions_disallowed,
        "multiple-instructions-disallowed",
        "Multiple instructions of the same type should not be used in the same stage"
    ),
    rule!(
        LegacyKeyValueFormat,
        legacy_key_value_format,
        "legacy-key-value-format",
        "Legacy key/value format with whitespace separator should not be used"
    ),
    rule!(
        InvalidBaseImagePlatform,
        invalid_base_image_platform,
        "invalid-base-image-platform",
        "Base image platform does not match expected target platform"
    ),
    rule!(
        RedundantTargetPlatform,
        redundant_target_platform,
        "redundant-target-platform",
        "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior"
    ),
    rule!(
        SecretsUsedInArgOrEnv,
        secrets_used_in_arg_or_env,
        "secrets-used-in-arg-or-env",
        "Sensitive data should not be used in the ARG or ENV commands"
    ),
    rule!(
        InvalidDefaultArgInFrom,
        invalid_default_arg_in_from,
        "invalid-default-arg-in-from",
        "Default value for global ARG results in an empty or invalid base image name"
    ),
    rule!(
        FromPlatformFlagConstDisallowed,
        from_platform_flag_const_disallowed,
        "from-platform-flag-const-disallowed",
        "FROM --platform flag should not use a constant value"
    ),
    rule!(CopyIgnoredFile, copy_ignored_file, "copy-ignored-file", "Attempting to Copy file that is excluded by .dockerignore"),
    rule!(
        InvalidDefinitionDescription,
        invalid_definition_description,
        "invalid-definition-description",
        "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not intended to be a description comment, add an empty line or comment between the instruction and the comment.",
        experimental: true
    ),
    rule!(ExposeProtoCasing, expose_proto_casing, "expose-proto-casing", "Protocol in EXPOSE instruction should be lowercase"),
    rule!(
        ExposeInvalidFormat,
        expose_invalid_format,
        "expose-invalid-format",
        "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release"
    ),
    rule!(CommitArgBeforeRun, commit_arg_before_run, none, "ARGs that git fills should stand below the last RUN"),
];

/// Runs the rules that `options` let run: their warnings in the order of the file.
pub fn lint(file: &Dockerfile, surroundings: &Surroundings, options: &CheckOptions) -> Vec<Warning> {
    let reading = Reading::new(file, surroundings);
    let mut found = Vec::new();
    for rule in &RULES {
        let mut warnings = Warnings::new(rule, options);
        (rule.check)(&reading, &mut warnings);
        found.append(&mut warnings.found);
    }
    found.sort_by_key(|warning| warning.span);
    found
}

#[cfg(test)]
mod tests {
    use super::testing::{bare, warn_with};
    use super::*;

    #[test]
    fn every_rule_has_a_page_with_its_name_examples_and_how_to_skip_it() {
        for rule in &RULES {
            let switch = if rule.experimental { "experimental" } else { "skip" };
            for part in [format!("# {}\n", rule.name), "```dockerfile\n".into(), format!("# check={switch}={}", rule.name)] {
                assert!(rule.page.contains(&part), "{} lacks {part:?}", rule.name);
            }
        }
    }

    #[test]
    fn hostile_files_are_read_soon_and_within_bounds() {
        let many = |line: &dyn Fn(usize) -> String| (0..2_000).map(line).collect::<String>();
        let files = [
            many(&|n| format!("ENV a{n}=$b{n} c=$a{n}\n")),
            many(&|n| format!("FROM s{n} AS s{}\nENV v{n}=1\nONBUILD ENV w{n}=1\n", n + 1)),
            "ENV a=xxxxxxxxxxxxxxxx\n".to_owned() + &"ENV a=$a$a\n".repeat(16) + &many(&|n| format!("ENV b{n}=$a\n")),
            "LABEL a=".to_owned() + &many(&|n| format!("$u{n}\\\n")),
            "# check=skip=None\n".repeat(2_000) + "ENV " + &many(&|n| format!("token_{n}=1 \\\n")),
            "CMD a\n".repeat(2_000),
        ];
        // Of this thread alone: other tests may keep the machine busy.
        let seconds = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime).tv_sec;
        for file in files {
            let started = seconds();
            warn_with(&("FROM scratch AS s0\n".to_owned() + &file), &bare(), None);
            assert!(seconds() - started < 10, "{} seconds {}", seconds() - started, &file[..40]);
        }
    }

    #[test]
    fn rules_are_found_by_name_whatever_the_case() {
        assert_eq!(Rule::by_name("jsonargsrecommended").map(|rule| rule.name), Some("JSONArgsRecommended"));
        assert_eq!(
            Rule::by_name("UndefinedVar").and_then(Rule::url).as_deref(),
            Some("https://docs.docker.com/go/dockerfile/rule/undefined-var/")
        );
        assert!(Rule::by_name("Undefined").is_none());
    }
}
