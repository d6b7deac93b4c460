//! `brik explain`: what a diagnostic, a build check or a rule of the policy is about.
//!
//! The pages of build checks lie beside their rules, all others in the Markdown files here, one for each room that speaks: a page begins
//! with its code as a heading, and its first line is its summary.

use std::process::ExitCode;

use clap::Args;

use super::failure::Failure;
use super::print;
use crate::config::did_you_mean;
use crate::dockerfile::lint;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  brik explain brik::policy::non-root
  brik explain UndefinedVar            a build check by its name
  brik explain                         list all codes")]
pub struct ExplainArgs {
    /// As it stands above a diagnostic, or its last part; case does not matter
    #[arg(value_name = "CODE")]
    pub code: Option<String>,
}

const TEXTS: [&str; 8] = [
    include_str!("config.md"),
    include_str!("dockerfile.md"),
    include_str!("init.md"),
    include_str!("lock.md"),
    include_str!("policy.md"),
    include_str!("build.md"),
    include_str!("commands.md"),
    include_str!("registry.md"),
];

/// What is said about a code.
#[derive(Debug, Clone)]
pub struct Page {
    pub code: &'static str,
    /// One line.
    pub summary: &'static str,
    /// In Markdown, the heading included.
    pub text: String,
}

/// Every page, in the order in which they are listed.
pub fn pages() -> Vec<Page> {
    let written = TEXTS.iter().flat_map(|text| parts(text)).map(|text| {
        let (heading, body) = text.split_once('\n').unwrap_or((text, ""));
        let summary = body.trim_start().lines().next().unwrap_or_default();
        Page { code: heading.trim_start_matches("# "), summary, text: format!("{}\n", text.trim_end()) }
    });
    let checks = lint::RULES.iter().map(|rule| {
        let text = rule.page.to_owned() + &rule.url().map(|url| format!("\nBuildKit's page: {url}\n")).unwrap_or_default();
        Page { code: rule.code, summary: rule.description, text }
    });
    written.chain(checks).collect()
}

/// The pages of one file, each from its heading.
fn parts(text: &'static str) -> Vec<&'static str> {
    const HEADING: &str = "# brik::";
    let starts: Vec<usize> = text.match_indices(HEADING).map(|(at, _)| at).filter(|at| *at == 0 || text[..*at].ends_with('\n')).collect();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts.iter().zip(ends).map(|(start, end)| &text[*start..end]).collect()
}

/// The page of a code as diagnostics have it.
pub fn page(code: &str) -> Option<Page> {
    pages().into_iter().find(|page| page.code == code)
}

/// Prints the page of a code; without one, all codes.
pub fn run(args: &ExplainArgs) -> Result<ExitCode, Failure> {
    let pages = pages();
    let Some(asked) = &args.code else { return print::out(&list(&pages)).map(|()| ExitCode::SUCCESS) };
    let last = |page: &Page| page.code.rsplit("::").next().unwrap_or_default().to_owned();
    let whole = pages.iter().filter(|page| page.code.eq_ignore_ascii_case(asked));
    let by_last = pages.iter().filter(|page| last(page).eq_ignore_ascii_case(asked));
    let found: Vec<&Page> = if asked.contains("::") { whole.collect() } else { by_last.collect() };
    match found[..] {
        [page] => print::out(&page.text).map(|()| ExitCode::SUCCESS),
        [] => {
            let parts: Vec<String> = pages.iter().map(last).collect();
            let known = pages.iter().map(|page| page.code).chain(parts.iter().map(String::as_str));
            let hint = did_you_mean(asked, known).unwrap_or_else(|| "`brik explain` lists all codes".to_owned());
            Err(Failure::usage(format!("there is no code {asked:?}; {hint}")))
        }
        _ => {
            let codes: Vec<&str> = found.iter().map(|page| page.code).collect();
            Err(Failure::usage(format!("{asked:?} may be {}", codes.join(" or "))))
        }
    }
}

fn list(pages: &[Page]) -> String {
    let width = pages.iter().map(|page| page.code.len()).max().unwrap_or_default();
    pages.iter().map(|page| format!("{:width$}  {}\n", page.code, page.summary)).collect()
}
