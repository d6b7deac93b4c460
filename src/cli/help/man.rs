//! `brik man DIR`: a page a command, and one a topic, where `man` looks for them in DIR.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::super::{args::Global, failure::Failure, print};
use super::command;
use super::topics::{TOPICS, Topic};

/// Writes `man1/brik-build.1` and its like, and `man7/brik-tags.7` and its like.
pub fn run(global: &Global, directory: &Path) -> Result<ExitCode, Failure> {
    let directory = global.cwd()?.join(directory);
    let refused = |error: io::Error| Failure::failed(format!("cannot write man pages into {}: {error}", directory.display()));
    let mut all = command();
    all.build();
    let mut pages = pages(&all, "brik").map_err(refused)?;
    pages.extend(TOPICS.iter().map(|topic| (format!("man7/brik-{}.7", topic.name), page_of(topic).into_bytes())));
    for section in ["man1", "man7"] {
        fs::create_dir_all(directory.join(section)).map_err(refused)?;
    }
    pages.iter().try_for_each(|(name, page)| fs::write(directory.join(name), page)).map_err(refused)?;
    print::err(&format!("{} pages in {}\n", pages.len(), directory.display()));
    Ok(ExitCode::SUCCESS)
}

/// The pages of a command and of its subcommands, by their files.
fn pages(command: &clap::Command, name: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut page = Vec::new();
    Man::new(command.clone()).title(name.to_owned()).render(&mut page)?;
    let mut all = vec![(format!("man1/{name}.1"), page)];
    for sub in command.get_subcommands() {
        all.extend(pages(sub, &format!("{name}-{}", sub.get_name()))?);
    }
    Ok(all)
}

fn page_of(topic: &Topic) -> String {
    let mut page = Roff::new();
    page.control("TH", [&format!("brik-{}", topic.name), "7"]);
    page.control("SH", ["NAME"]);
    page.text([roman(format!("brik-{} - {}", topic.name, topic.about))]);
    page.control("SH", ["DESCRIPTION"]);
    page.control("nf", []);
    for line in topic.text.lines() {
        page.text([roman(line)]);
    }
    page.control("fi", []);
    page.render()
}
