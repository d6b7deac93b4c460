//! The id maps of a new user namespace: the user's subordinate ranges by newuidmap(1), or a single id without them.

use std::fs;
use std::io;
use std::process::{Command, Stdio};

use rustix::process::{Pid, getgid, getuid};

use super::rung::Rung;

/// A range of subordinate ids (subuid(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    start: u32,
    count: u32,
}

/// Gives the user namespace of `child` its ids. Without ranges, or where newuidmap cannot be run, it gets the caller's own id only.
pub(super) fn write_maps(child: Pid) -> io::Result<Rung> {
    let uid = getuid().as_raw();
    let user = user_name(uid);
    let ranges = |file: &str| fs::read_to_string(file).map(|text| parse_ranges(&text, &user, uid)).unwrap_or_default();
    let (uids, gids) = (ranges("/etc/subuid"), ranges("/etc/subgid"));
    if !uids.is_empty() && !gids.is_empty() {
        // Group ids first: a namespace whose newgidmap fails still has an unwritten uid_map, so that the single map is possible.
        let mapped = run_helper("newgidmap", child, getgid().as_raw(), &gids) && run_helper("newuidmap", child, uid, &uids);
        if mapped {
            return Ok(Rung::UserNamespace);
        }
    }
    write_single_map(child)?;
    Ok(Rung::SingleUid)
}

/// How many subordinate ids /etc/subuid and /etc/subgid give to a user.
pub fn subordinate_ids(uid: u32, user: &str) -> (u64, u64) {
    let count = |file: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        parse_ranges(&text, &Some(user.to_owned()), uid).iter().map(|range| u64::from(range.count)).sum()
    };
    (count("/etc/subuid"), count("/etc/subgid"))
}

/// The rung of a process that is root already, maybe in somebody else's user namespace, which may have a single id, too.
pub(super) fn rung_of_root() -> Rung {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let ids: u64 = map.lines().filter_map(|line| line.split_ascii_whitespace().nth(2)?.parse::<u64>().ok()).sum();
    if ids == 1 { Rung::SingleUid } else { Rung::Root }
}

/// user_namespaces(7): an unprivileged writer must deny setgroups(2) before it may map its group.
fn write_single_map(child: Pid) -> io::Result<()> {
    let directory = format!("/proc/{}", child.as_raw_nonzero());
    let gid_map = format!("{directory}/gid_map");
    if fs::read_to_string(&gid_map)?.trim().is_empty() {
        fs::write(format!("{directory}/setgroups"), "deny")?;
        fs::write(gid_map, format!("0 {} 1", getgid().as_raw()))?;
    }
    fs::write(format!("{directory}/uid_map"), format!("0 {} 1", getuid().as_raw()))
}

fn run_helper(helper: &str, child: Pid, own: u32, ranges: &[Range]) -> bool {
    // It is set-user-id, and what brik's environment holds is none of its business.
    let mut command = Command::new(helper);
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.arg(child.as_raw_nonzero().to_string()).args(["0", &own.to_string(), "1"]);
    let mut inside = 1u32;
    for range in ranges {
        command.args([inside, range.start, range.count].map(|number| number.to_string()));
        inside = inside.saturating_add(range.count);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Login name and number of the user that this process belongs to.
pub fn own_user() -> (Option<String>, u32) {
    let uid = getuid().as_raw();
    (user_name(uid), uid)
}

/// The login name that subuid(5) lines go by; users that live outside /etc/passwd (LDAP) are found by `$USER`.
fn user_name(uid: u32) -> Option<String> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let line = passwd.lines().find(|line| line.split(':').nth(2).and_then(|field| field.parse().ok()) == Some(uid));
    line.and_then(|line| line.split(':').next()).map(str::to_owned).or_else(|| std::env::var("USER").ok())
}

fn parse_ranges(text: &str, user: &Option<String>, uid: u32) -> Vec<Range> {
    let uid = uid.to_string();
    text.lines()
        .filter_map(|line| {
            let [owner, start, count] = line.trim().split(':').collect::<Vec<_>>().try_into().ok()?;
            let range = Range { start: start.parse().ok()?, count: count.parse().ok()? };
            let ours = owner == uid || user.as_deref() == Some(owner);
            (ours && range.count > 0).then_some(range)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_and_by_uid_and_broken_lines_are_skipped() {
        let text = "# comment\nann:100000:65536\nbob:200000:65536\n1000:300000:10\nann:x:1\nann:1\nann:400000:0\n";
        let ann = [Range { start: 100_000, count: 65_536 }, Range { start: 300_000, count: 10 }];
        assert_eq!(parse_ranges(text, &Some("ann".into()), 1000), ann);
        assert_eq!(parse_ranges(text, &Some("carl".into()), 7), []);
        assert_eq!(parse_ranges(text, &None, 1000), [Range { start: 300_000, count: 10 }]);
    }
}
