//! `USER` as the image's own /etc/passwd and /etc/group understand it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::error::SandboxError;
use super::rootfs;

/// More is no account file.
const MAX_BYTES: u64 = 16 << 20;

/// Whom a command runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups; `gid` is the first.
    pub groups: Vec<u32>,
    /// What `HOME` is if the environment has none.
    pub home: String,
}

/// Resolves `name`, `uid`, `name:group`, `uid:gid` or the empty string (root) against the account files inside `root`, without
/// following links out of it. The rules are those of runc and BuildKit: an unknown number is fine (its group is 0), an unknown name is
/// an error; memberships count only if no group is given.
pub fn resolve_user(root: &Path, spec: &str) -> Result<User, SandboxError> {
    let passwd = read(root, "/etc/passwd")?;
    let groups = read(root, "/etc/group")?;
    let (user, group) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (spec, None),
    };
    let user = if user.is_empty() { "0" } else { user };

    let number = id(user);
    let account = passwd.lines().filter_map(Account::parse).find(|account| account.name == user || Some(account.uid) == number);
    let uid = match (&account, number) {
        (Some(account), _) => account.uid,
        (None, Some(uid)) => uid,
        (None, None) => return Err(SandboxError::UnknownUser(user.to_owned())),
    };
    let gid = match group {
        None => account.as_ref().map_or(0, |account| account.gid),
        Some(group) => {
            let known = groups.lines().filter_map(Group::parse).find(|known| known.name == group).map(|known| known.gid);
            known.or_else(|| id(group)).ok_or_else(|| SandboxError::UnknownGroup(group.to_owned()))?
        }
    };
    let mut all = vec![gid];
    if let (Some(account), None) = (&account, group) {
        let member = |group: &Group<'_>| group.members.split(',').any(|member| member == account.name);
        for group in groups.lines().filter_map(Group::parse).filter(member) {
            if !all.contains(&group.gid) {
                all.push(group.gid);
            }
        }
    }
    let home = account.map(|account| account.home).filter(|home| !home.is_empty()).unwrap_or("/").to_owned();
    Ok(User { uid, gid, groups: all, home })
}

/// A number that names a user or group: -1 does not, it means "no change" to the kernel.
fn id(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id != u32::MAX)
}

/// A missing or unreadable file has no accounts.
fn read(root: &Path, path: &str) -> Result<String, SandboxError> {
    let path = root.join(rootfs::resolve(root, Path::new(path))?);
    let mut bytes = Vec::new();
    if std::fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
        let _ = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A line of passwd(5).
struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> Account<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let fields: Vec<_> = line.trim().split(':').collect();
        let [name, _, uid, gid, _, home, ..] = fields[..] else { return None };
        Some(Self { name, uid: id(uid)?, gid: id(gid)?, home })
    }
}

/// A line of group(5).
struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl<'a> Group<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let fields: Vec<_> = line.trim().split(':').collect();
        let [name, _, gid, members, ..] = fields[..] else { return None };
        Some(Self { name, gid: id(gid)?, members })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn users_resolve_as_in_runc() -> Result<(), Box<dyn std::error::Error>> {
        let room = tempfile::tempdir()?;
        fs::create_dir_all(room.path().join("etc"))?;
        fs::write(room.path().join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n# no\napp:x:1000:1001::/home/app:/bin/sh\nbroken:x\n")?;
        fs::write(room.path().join("etc/group"), "root:x:0:\napp:x:1001:\nvideo:x:44:app,root\nwheel:x:10:app\n")?;
        let user = |uid, gid, groups: &[u32], home: &str| User { uid, gid, groups: groups.to_vec(), home: home.to_owned() };
        for (spec, expected) in [
            ("", user(0, 0, &[0, 44], "/root")),
            ("root", user(0, 0, &[0, 44], "/root")),
            ("app", user(1000, 1001, &[1001, 44, 10], "/home/app")),
            ("1000", user(1000, 1001, &[1001, 44, 10], "/home/app")),
            ("app:video", user(1000, 44, &[44], "/home/app")),
            ("app:7", user(1000, 7, &[7], "/home/app")),
            ("4242", user(4242, 0, &[0], "/")),
            ("4242:4243", user(4242, 4243, &[4243], "/")),
            (":video", user(0, 44, &[44], "/root")),
        ] {
            assert_eq!(resolve_user(room.path(), spec)?, expected, "{spec:?}");
        }
        assert!(matches!(resolve_user(room.path(), "nobody"), Err(SandboxError::UnknownUser(name)) if name == "nobody"));
        assert!(matches!(resolve_user(room.path(), "4294967295"), Err(SandboxError::UnknownUser(_))), "would stay root");
        assert!(matches!(resolve_user(room.path(), "app:x"), Err(SandboxError::UnknownGroup(name)) if name == "x"));
        Ok(())
    }

    #[test]
    fn the_account_file_of_the_host_is_out_of_reach() -> Result<(), Box<dyn std::error::Error>> {
        let room = tempfile::tempdir()?;
        fs::create_dir_all(room.path().join("etc"))?;
        std::os::unix::fs::symlink("/../../../../../../etc/passwd", room.path().join("etc/passwd"))?;
        assert!(matches!(resolve_user(room.path(), "root"), Err(SandboxError::SymlinkLoop(_) | SandboxError::UnknownUser(_))));
        Ok(())
    }
}
