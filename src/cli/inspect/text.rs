//! The same for people: a tree of instructions and layers, the configuration, and what has changed.

use super::compare::Comparison;
use super::report::{Config, File, Inspected, Layer, Report, Step};
use crate::cli::columns::columns;
use crate::cli::size::bytes;

/// Without `--files`, more changes than this are counted only.
const MOST: usize = 40;

/// `columns`: where lines are cut, if the terminal tells.
pub fn text(report: &Report, width: Option<usize>, files: bool) -> String {
    let mut text = head(&report.image);
    text += &tree(&report.image.history);
    text += &config(&report.image.config);
    if let Some(comparison) = &report.since {
        text += &compared(comparison, files);
    }
    match width {
        Some(width) => text.lines().map(|line| cut(line, width) + "\n").collect(),
        None => text,
    }
}

fn cut(line: &str, width: usize) -> String {
    if line.chars().count() <= width { line.to_owned() } else { line.chars().take(width.saturating_sub(1)).chain(['…']).collect() }
}

fn head(image: &Inspected) -> String {
    let layers = image.history.iter().filter(|step| step.layer.is_some()).count();
    let unpacked = image.unpacked.map(|unpacked| format!(", {} unpacked", bytes(unpacked))).unwrap_or_default();
    let others = match image.platforms.len() {
        0 | 1 => String::new(),
        _ => format!(" (of {})", image.platforms.join(", ")),
    };
    let mut rows = vec![
        ["digest".to_owned(), image.digest.to_string()],
        ["platform".to_owned(), format!("{}{others}", image.platform)],
        ["size".to_owned(), format!("{layers} layer{}, {}{unpacked}", if layers == 1 { "" } else { "s" }, bytes(image.size))],
    ];
    rows.extend(image.index.map(|index| ["index".to_owned(), index.to_string()]));
    rows.extend(image.created.clone().map(|created| ["created".to_owned(), created]));
    format!("{} ({})\n{}", image.name, image.place, columns(&rows))
}

fn tree(steps: &[Step]) -> String {
    let size = |layer: &Layer| {
        let unpacked = layer.unpacked.map(|unpacked| format!(" -> {}", bytes(unpacked))).unwrap_or_default();
        format!("{:>10}{unpacked}", bytes(layer.size))
    };
    let widest = steps.iter().filter_map(|step| step.layer.as_ref()).map(|layer| size(layer).len()).max().unwrap_or_default();
    let mut text = String::from("\n");
    for (at, step) in steps.iter().enumerate() {
        let (branch, below) = if at + 1 == steps.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        // Continued lines of a Dockerfile are indented.
        let instruction = step.instruction.as_deref().unwrap_or("(the history does not say)");
        let instruction = instruction.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        let (name, size) = step.layer.as_ref().map(|layer| (layer.digest.short(), size(layer))).unwrap_or_default();
        text += &format!("{branch}{name:12}  {size:widest$}  {instruction}\n");
        for file in step.layer.iter().flat_map(|layer| &layer.files).flatten() {
            text += &format!("{below}  {}\n", line(file));
        }
    }
    if steps.is_empty() { "\nno layers\n".to_owned() } else { text }
}

fn line(file: &File) -> String {
    let File { path, kind, uid, gid, size, link, .. } = file;
    match (*kind, link) {
        ("whiteout", _) => format!("removed {path}"),
        ("opaque", _) => format!("emptied {path}"),
        (_, link) => {
            let link = link.as_ref().map(|link| format!(" -> {link}")).unwrap_or_default();
            format!("{} {:>9} {:>10} {path}{link}", file.permissions(), format!("{uid}:{gid}"), bytes(*size))
        }
    }
}

fn config(config: &Config) -> String {
    let words =
        |words: &Option<Vec<String>>| words.as_ref().map(|words| serde_json::to_string(words).unwrap_or_default()).unwrap_or_default();
    let labels = config.labels.iter().map(|(name, value)| ["label".to_owned(), format!("{name} = {value}")]);
    let user = if config.user.is_empty() { "root (none is set)".to_owned() } else { config.user.clone() };
    let fields = [
        ("user", user),
        ("working dir", config.working_dir.clone()),
        ("entrypoint", words(&config.entrypoint)),
        ("cmd", words(&config.cmd)),
        ("env", config.env.join(", ")),
        ("ports", config.exposed_ports.join(", ")),
        ("volumes", config.volumes.join(", ")),
        ("stop signal", config.stop_signal.clone()),
        ("healthcheck", words(&config.healthcheck)),
        ("shell", words(&config.shell)),
        ("on build", config.on_build.join("; ")),
    ];
    let fields = fields.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| [name.to_owned(), value]);
    format!("\n{}", columns(&fields.chain(labels).collect::<Vec<_>>()))
}

fn compared(other: &Comparison, all: bool) -> String {
    let mut text = format!("\nsince {} ({}, {})\n", other.name, other.place, other.digest.short());
    let count = |change: &str| other.files.iter().filter(|file| file.change == change).count();
    text += &columns(&[
        ["layers".to_owned(), format!("{} shared, {} added, {} removed", other.layers.shared, other.layers.added, other.layers.removed)],
        [
            "files".to_owned(),
            format!(
                "{} added, {} changed, {} removed, {} as before",
                count("added"),
                count("changed"),
                count("removed"),
                other.files_unchanged
            ),
        ],
    ]);
    for change in &other.config {
        let values = match (&change.before, &change.after) {
            (Some(before), Some(after)) => format!(": {before} -> {after}"),
            (None, Some(value)) | (Some(value), None) => format!(": {value}"),
            (None, None) => String::new(),
        };
        text += &format!("  {} {}{values}\n", sign(change.change), change.field);
    }
    let shown = if all { usize::MAX } else { MOST };
    for file in other.files.iter().take(shown) {
        let size = match (file.size_before, file.size_after) {
            (Some(before), Some(after)) if before != after => format!("{} -> {}", bytes(before), bytes(after)),
            (_, Some(size)) | (Some(size), None) => bytes(size),
            (None, None) => String::new(),
        };
        let notes: Vec<String> =
            file.respects.iter().map(|respect| (*respect).to_owned()).chain([size]).filter(|note| !note.is_empty()).collect();
        let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) };
        text += &format!("  {} {}{notes}\n", sign(file.change), file.path);
    }
    match other.files.len().saturating_sub(shown) {
        0 => text,
        more => text + &format!("  and {more} more: --files tells all\n"),
    }
}

fn sign(change: &str) -> char {
    match change {
        "added" => '+',
        "removed" => '-',
        _ => '~',
    }
}
