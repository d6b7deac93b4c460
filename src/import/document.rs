//! The text of a brik.toml, as short as a person would write it.

use std::collections::BTreeMap;

use super::draft::{Cached, Draft, Service};
use super::found::{Agent, Secret, SecretSource};
use super::left::Fate;

/// Columns; a longer list is written over several lines, a longer table with a header of its own.
const WIDTH: usize = 110;

impl Draft {
    /// brik.toml.
    pub fn document(&self) -> String {
        let mut out = match &self.registry {
            Some((registry, _)) => format!("registry = {}\n", string(registry)),
            None => "# Needed to push: an image is <registry>/<service>.\n# registry = \"ghcr.io/example-org\"\n".to_owned(),
        };
        for (key, list) in [("members", &self.members), ("tags", &self.tags), ("platforms", &self.platforms)] {
            out += &entry(key, list.iter().map(|text| string(text)).collect());
        }
        if !self.groups.is_empty() {
            out += "\n[groups]\n";
        }
        for (name, services) in &self.groups {
            out += &entry(&bare(name), services.iter().map(|service| string(service)).collect());
        }
        self.services.iter().for_each(|service| out += &table(service));
        let mut lost = self.left.iter().filter(|left| left.fate == Fate::Lost).peekable();
        if lost.peek().is_some() {
            out += "\n# Not taken over:\n";
        }
        lost.for_each(|left| out += &comment(&left.to_string()));
        out
    }
}

/// A service's table; nothing where all is as the defaults have it.
fn table(service: &Service) -> String {
    let mut lines = String::new();
    for (key, value) in
        [("context", &service.context), ("dockerfile", &service.dockerfile), ("image", &service.image), ("target", &service.target)]
    {
        value.iter().for_each(|value| lines += &format!("{key} = {}\n", string(value)));
    }
    for (key, list) in [("tags", &service.tags), ("platforms", &service.platforms)] {
        lines += &entry(key, list.iter().map(|text| string(text)).collect());
    }
    match &service.cache {
        None => {}
        Some(Cached::Off) => lines += "cache = false\n",
        Some(Cached::Repository(repository)) => lines += &format!("cache = {}\n", string(repository)),
    }
    lines += &entry("secrets", service.secrets.iter().map(secret).collect());
    lines += &entry("ssh", service.ssh.iter().map(agent).collect());
    // What has a header of its own stands last: it ends the table before it.
    let mut tables = String::new();
    for (key, entries) in [("args", &service.args), ("labels", &service.labels), ("contexts", &service.contexts)] {
        let short = format!("{key} = {{ {} }}\n", pairs(entries).join(", "));
        match (entries.is_empty(), short.len() <= WIDTH) {
            (true, _) => {}
            (false, true) => lines += &short,
            (false, false) => tables += &format!("\n[services.{}.{key}]\n{}\n", bare(&service.name), pairs(entries).join("\n")),
        }
    }
    match (lines.is_empty(), tables.is_empty()) {
        (true, true) => String::new(),
        (true, false) => tables,
        (false, _) => format!("\n[services.{}]\n{lines}{tables}", bare(&service.name)),
    }
}

fn secret(secret: &Secret) -> String {
    let id = string(&secret.id);
    match &secret.source {
        None => id,
        Some(SecretSource::Variable(name)) => format!("{{ id = {id}, env = {} }}", string(name)),
        Some(SecretSource::File(path)) => format!("{{ id = {id}, file = {} }}", string(path)),
    }
}

fn agent(agent: &Agent) -> String {
    match &agent.socket {
        None => string(&agent.id),
        Some(socket) => format!("{{ id = {}, socket = {} }}", string(&agent.id), string(socket)),
    }
}

/// A list under its key; nothing where it is empty.
fn entry(key: &str, items: Vec<String>) -> String {
    let short = format!("{key} = [{}]\n", items.join(", "));
    match items.is_empty() {
        true => String::new(),
        false if short.len() <= WIDTH => short,
        false => format!("{key} = [\n{}]\n", items.iter().map(|item| format!("    {item},\n")).collect::<String>()),
    }
}

fn pairs(entries: &BTreeMap<String, String>) -> Vec<String> {
    entries.iter().map(|(key, value)| format!("{} = {}", bare(key), string(value))).collect()
}

/// A key, in quotes where it needs them.
fn bare(key: &str) -> String {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if !key.is_empty() && key.bytes().all(good) { key.to_owned() } else { string(key) }
}

/// A basic string in one line.
fn string(text: &str) -> String {
    let escaped = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        '\n' => "\\n".to_owned(),
        '\t' => "\\t".to_owned(),
        control if control.is_control() => format!("\\u{:04X}", u32::from(control)),
        other => other.to_string(),
    };
    format!("\"{}\"", text.chars().map(escaped).collect::<String>())
}

/// An item of a list of comments, in lines of [`WIDTH`] columns.
fn comment(text: &str) -> String {
    let (mut out, mut line) = (String::new(), "# -".to_owned());
    for word in text.split_whitespace() {
        // A control character would end a comment, or hide it.
        let word: String = word.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        if line.len() + word.len() >= WIDTH && line.len() > 3 {
            out += &format!("{line}\n");
            line = "#  ".to_owned();
        }
        line += &format!(" {word}");
    }
    format!("{out}{line}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_string_is_read_back_as_it_was() {
        for text in ["", "a b", "\"quoted\"", "back\\slash", "tab\tand\nline", "\u{1}\u{7f}\u{85}", "é漢🦀", "'''", "#"] {
            let value: toml::Table = format!("{} = {}", bare(text), string(text)).parse().unwrap();
            assert_eq!(value.into_iter().next().unwrap(), (text.to_owned(), toml::Value::from(text)));
        }
    }

    #[test]
    fn comments_stay_comments_however_long_and_odd_they_are() {
        let text = format!("- file: {}\nregistry = \"evil\"\rx \u{85} y", "word ".repeat(60));
        let text = comment(&text);
        assert!(text.lines().all(|line| line.starts_with('#') && line.len() <= WIDTH), "{text}");
        assert!(text.parse::<toml::Table>().unwrap().is_empty());
    }
}
