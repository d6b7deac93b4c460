//! What `--fix` does. Nothing that a user would want to be asked about: no package is installed, no kernel setting is changed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::check::Remedy;
use crate::build::sandbox::{APPARMOR_FILE, apparmor_profile};
use crate::store::Store;

/// What was done, or why it could not be.
pub fn apply(remedy: &Remedy) -> Result<String, String> {
    match remedy {
        Remedy::MakeStore(path) => Store::open(path).map(|_| format!("made {}", path.display())).map_err(|error| error.to_string()),
        Remedy::GiveSubordinateIds(_) | Remedy::AllowNamespaces(_) if !rustix::process::geteuid().is_root() => {
            Err("only root may do this: sudo brik doctor --fix".to_owned())
        }
        Remedy::GiveSubordinateIds(user) => give_ids(user),
        Remedy::AllowNamespaces(program) => allow_namespaces(program),
    }
}

/// What every distribution gives to a new user.
const COUNT: u64 = 65_536;

fn give_ids(user: &str) -> Result<String, String> {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let first = free_range(&[read("/etc/subuid"), read("/etc/subgid")]).ok_or("no range of 65536 ids is free in /etc/subuid")?;
    let range = format!("{first}-{}", first + COUNT - 1);
    run(Command::new("usermod").args(["--add-subuids", &range, "--add-subgids", &range, user]))?;
    Ok(format!("gave {range} to {user}"))
}

/// The first id behind all ranges that were given to anybody.
fn free_range(files: &[String]) -> Option<u64> {
    let end = |line: &str| {
        let [_, start, count] = line.trim().split(':').collect::<Vec<_>>().try_into().ok()?;
        start.parse::<u64>().ok()?.checked_add(count.parse().ok()?)
    };
    let last = files.iter().flat_map(|text| text.lines()).filter_map(end).max().unwrap_or(0).max(100_000);
    // The highest id means «unchanged» to chown(2).
    (last + COUNT < u64::from(u32::MAX)).then_some(last)
}

fn allow_namespaces(program: &Path) -> Result<String, String> {
    let text = program.to_str().filter(|text| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+".contains(&b)));
    if text.is_none() {
        return Err(format!("no profile can name {}: put brik where its path has letters, digits and ._-+ only", program.display()));
    }
    // Whoever could replace the program would have the right that it is given.
    let metadata = fs::metadata(program).map_err(|error| format!("{}: {error}", program.display()))?;
    if metadata.permissions().mode() & 0o022 != 0 {
        return Err(format!("others may write to {}: sudo chmod go-w {0}", program.display()));
    }
    let written = fs::write(APPARMOR_FILE, apparmor_profile(program));
    written.map_err(|error| format!("cannot write {APPARMOR_FILE}: {error}"))?;
    run(Command::new("apparmor_parser").args(["--replace", APPARMOR_FILE]))?;
    Ok(format!("wrote and loaded {APPARMOR_FILE}"))
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{name}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_range_lies_behind_all_others() {
        for (files, expected) in [
            (["", ""], Some(100_000)),
            (["ann:100000:65536\nbob:165536:65536\n", "ann:100000:65536\n"], Some(231_072)),
            (["ann:500:10\n# broken\nx:y:z\n", "bob:300000:65536"], Some(365_536)),
            (["ann:4294900000:60000\n", ""], None),
        ] {
            assert_eq!(free_range(&files.map(str::to_owned)), expected, "{files:?}");
        }
    }

    #[test]
    fn a_store_is_made() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/store");
        assert_eq!(apply(&Remedy::MakeStore(path.clone())), Ok(format!("made {}", path.display())));
        assert!(path.join("version").is_file());
    }
}
