//! `brik help`: the commands, as they describe themselves, and pages about what several of them have in common. Man pages and shell
//! completions come from the same descriptions.

mod completions;
mod man;
mod topics;

use std::process::ExitCode;

use clap::builder::Resettable;
use clap::{Arg, CommandFactory, FromArgMatches};

pub use completions::run as completions;
pub use man::run as man;

use super::args::Cli;
use super::failure::Failure;
use super::{foreign_flags, print, set_instead};
use crate::config::did_you_mean;
use topics::{TOPICS, Topic};

const EXIT_CODES: &str = "Exit codes: 0 ok, 1 build or push failed, 2 usage or configuration, 3 findings, 130 interrupted.";

/// The command line of this process, or what clap has to say instead.
pub fn parse() -> Result<Cli, clap::Error> {
    let mut cli = Cli::from_arg_matches(&without_empty_variables(command()).try_get_matches()?)?;
    cli.command.settle();
    Ok(cli)
}

/// What to write instead of what clap refuses, where that is known.
pub fn hint(error: &clap::Error) -> Option<String> {
    let given = || command().ignore_errors(true).try_get_matches().ok();
    foreign_flags::hint(error).map(str::to_owned).or_else(|| set_instead::hint(error, &given()?))
}

/// A variable that CI sets to nothing counts as unset.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |arg: &Arg| arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
    let command = command.mut_args(|arg| if is_empty(&arg) { arg.env(Resettable::Reset) } else { arg });
    command.mut_subcommands(without_empty_variables)
}

/// The whole command line, with the topics under the commands.
fn command() -> clap::Command {
    let width = TOPICS.iter().map(|topic| topic.name.len()).max().unwrap_or_default();
    let topics: String = TOPICS.iter().map(|topic| format!("\n  {:width$}  {}", topic.name, topic.about)).collect();
    Cli::command().after_help(format!("Topics, for brik help TOPIC:{topics}\n\n{EXIT_CODES}"))
}

/// `words` are a command with its subcommands, or a topic; what is both, as `cache`, is told as both.
pub fn run(words: &[String]) -> Result<ExitCode, Failure> {
    let topic = if let [name] = words { Topic::named(name) } else { None };
    let text = match (topic, describe(words)) {
        (Some(topic), Some(help)) => format!("{}\n{help}", topic.text),
        (Some(topic), None) => topic.text.to_owned(),
        (None, Some(help)) => help,
        (None, None) => return Err(unknown(words)),
    };
    print::out(&text).map(|()| ExitCode::SUCCESS)
}

/// What a command says to `--help`.
fn describe(words: &[String]) -> Option<String> {
    let all = command();
    words.iter().try_fold(&all, |command, word| command.find_subcommand(word))?;
    let line = ["brik"].into_iter().chain(words.iter().map(String::as_str)).chain(["--help"]);
    Some(command().try_get_matches_from(line).err()?.render().to_string())
}

fn unknown(words: &[String]) -> Failure {
    let all = command();
    let names: Vec<&str> = all.get_subcommands().map(clap::Command::get_name).chain(TOPICS.iter().map(|topic| topic.name)).collect();
    let hint = words.first().and_then(|word| did_you_mean(word, names.iter().copied()));
    let hint = hint.unwrap_or_else(|| "`brik help` lists commands and topics".to_owned());
    Failure::usage(format!("there is no command and no topic {:?}; {hint}", words.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every command that does something, with the words that lead to it.
    fn leaves(command: &clap::Command, words: &[String]) -> Vec<(Vec<String>, clap::Command)> {
        if !command.has_subcommands() {
            return vec![(words.to_vec(), command.clone())];
        }
        let below = |sub: &clap::Command| leaves(sub, &[words, &[sub.get_name().to_owned()]].concat());
        command.get_subcommands().flat_map(below).collect()
    }

    /// Command lines in a text: what begins with `  brik `, up to where two spaces begin what it is about. Quotes are the shell's.
    fn command_lines(text: &str) -> Vec<Vec<String>> {
        let line = |line: &str| {
            let line = line.strip_prefix("  ")?;
            let line = line.split("  ").next().unwrap_or_default().split([';', '|', '>']).next().unwrap_or_default().trim_end();
            line.starts_with("brik ").then(|| shell_words(line))
        };
        text.lines().filter_map(line).collect()
    }

    fn shell_words(line: &str) -> Vec<String> {
        let (mut words, mut quote) = (vec![String::new()], None);
        for c in line.chars() {
            match (c, quote) {
                ('\'' | '"', None) => quote = Some(c),
                (c, Some(open)) if c == open => quote = None,
                (' ', None) => words.push(String::new()),
                (c, _) => words.last_mut().unwrap().push(c),
            }
        }
        words
    }

    #[test]
    fn every_command_shows_an_example_of_itself_and_every_example_is_understood() {
        let mut wrong = Vec::new();
        for (words, command) in leaves(&Cli::command(), &[]) {
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples = after.split_once("Examples:\n").map(|(_, examples)| command_lines(examples)).unwrap_or_default();
            let own = [&["brik".to_owned()], &words[..]].concat();
            if !examples.iter().any(|example| example.starts_with(&own)) {
                wrong.push(format!("brik {}: no example under \"Examples:\" in its after_help", words.join(" ")));
            }
            wrong.extend(refused(&examples));
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn the_command_lines_of_topics_are_understood() {
        let lines: Vec<_> = TOPICS.iter().flat_map(|topic| command_lines(topic.text)).collect();
        assert!(lines.len() >= 10, "{lines:?}");
        assert_eq!(refused(&lines), [""; 0]);
    }

    fn refused(lines: &[Vec<String>]) -> Vec<String> {
        let refuse = |line: &Vec<String>| Some(format!("{line:?}: {}", Cli::command().try_get_matches_from(line).err()?));
        lines.iter().filter_map(refuse).collect()
    }

    #[test]
    fn a_topic_fits_80_columns_and_a_command_its_description() {
        for topic in TOPICS {
            let long = topic.text.lines().find(|line| line.chars().count() > 80);
            assert_eq!((topic.name, long), (topic.name, None));
            assert!(topic.text.ends_with('\n') && topic.text.is_ascii());
        }
    }
}
