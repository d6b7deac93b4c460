//! A control group for one RUN, where brik may make one: nobody is asked for it (cgroups(7), "delegation").
//!
//! Of the unified hierarchy it is one directory below or beside brik's own, where the controllers are switched on already; of the older
//! ones it is one directory a controller. brik leaves none behind; what a killed one has left is removed when the next is made.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::spec::Limit;

/// Where the kernel's hierarchies are mounted, by convention.
const MOUNTED: &str = "/sys/fs/cgroup";

/// The name begins like this, goes on with brik's process id, and ends with a number.
const PREFIX: &str = "brik-run-";

/// What is limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub processes: Option<u32>,
    /// In bytes.
    pub memory: Option<u64>,
}

/// Removed on drop.
#[derive(Debug)]
pub(super) struct ControlGroup {
    places: Vec<PathBuf>,
}

impl ControlGroup {
    /// `None` where nothing is wanted or brik has no right to it.
    pub fn make(wanted: Wanted) -> Option<Self> {
        let limits: Vec<(&str, u64)> = [("pids", wanted.processes.map(u64::from)), ("memory", wanted.memory)]
            .into_iter()
            .filter_map(|(controller, limit)| Some((controller, limit?)))
            .collect();
        if limits.is_empty() {
            return None;
        }
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        candidates(Path::new(MOUNTED), &own, &limits).iter().find_map(|bases| Self::below(bases, &limits).ok())
    }

    fn below(bases: &[PathBuf], limits: &[(&str, u64)]) -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{PREFIX}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut group = Self { places: Vec::new() };
        for base in bases {
            remove_abandoned(base);
            let place = base.join(&name);
            fs::create_dir(&place)?;
            group.places.push(place);
        }
        for (controller, limit) in limits {
            let files = limit_files(controller);
            let file = group.places.iter().flat_map(|place| files.iter().map(|file| place.join(file))).find(|file| file.exists());
            fs::write(file.ok_or(io::ErrorKind::NotFound)?, limit.to_string())?;
        }
        group.doors()?;
        Ok(group)
    }

    /// A process that writes `0` to all of them is in the group, with all that it starts from then on.
    pub fn doors(&self) -> io::Result<Vec<File>> {
        self.places.iter().map(|place| OpenOptions::new().write(true).open(place.join("cgroup.procs"))).collect()
    }

    /// The limit for which the kernel has killed a process here, or has not started one.
    pub fn exhausted(&self) -> Option<Limit> {
        let memory = self.has_counted(&["memory.events", "memory.oom_control"], "oom_kill").then_some(Limit::Memory);
        memory.or_else(|| self.has_counted(&["pids.events"], "max").then_some(Limit::Processes))
    }

    fn has_counted(&self, files: &[&str], name: &str) -> bool {
        let texts = self.places.iter().flat_map(|place| files.iter().filter_map(|file| fs::read_to_string(place.join(file)).ok()));
        let counts = |text: &String| text.lines().filter_map(|line| line.split_once(' ')).any(|(key, count)| key == name && count != "0");
        texts.collect::<Vec<_>>().iter().any(counts)
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        for place in &self.places {
            // A process that has ended may be in it for a moment.
            for _ in 0..200 {
                match fs::remove_dir(place) {
                    Err(error) if error.kind() == io::ErrorKind::ResourceBusy => std::thread::sleep(Duration::from_millis(1)),
                    _ => break,
                }
            }
        }
    }
}

/// In the unified hierarchy and in the older one.
fn limit_files(controller: &str) -> &'static [&'static str] {
    match controller {
        "pids" => &["pids.max"],
        _ => &["memory.max", "memory.limit_in_bytes"],
    }
}

/// The directories below which a group can be made, the best ones first. `own` is /proc/self/cgroup.
fn candidates(mounted: &Path, own: &str, limits: &[(&str, u64)]) -> Vec<Vec<PathBuf>> {
    // hierarchy-ID:controller-list:cgroup-path
    let lines = || own.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let below = |hierarchy: &Path, path: &str| hierarchy.join(path.trim_start_matches('/'));
    let older: Option<Vec<PathBuf>> = limits
        .iter()
        .map(|(controller, _)| {
            let (list, path) = lines().find(|(list, _)| list.split(',').any(|name| name == *controller))?;
            Some(below(&mounted.join(list), path))
        })
        .collect();
    if let Some(mut older) = older {
        older.dedup();
        return vec![older];
    }
    let Some(unified) = lines().find(|(list, _)| list.is_empty()).map(|(_, path)| below(mounted, path)) else { return Vec::new() };
    let beside = unified.parent().filter(|parent| parent.starts_with(mounted)).map(Path::to_owned);
    let switched_on = |base: &PathBuf| {
        let on = fs::read_to_string(base.join("cgroup.subtree_control")).unwrap_or_default();
        limits.iter().all(|(controller, _)| on.split_ascii_whitespace().any(|name| name == *controller))
    };
    [Some(unified), beside].into_iter().flatten().filter(switched_on).map(|base| vec![base]).collect()
}

/// Groups of briks that are no more; one that is in use cannot be removed.
fn remove_abandoned(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let maker = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse::<u32>().ok());
        if maker.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_made_where_the_controllers_are_and_nowhere_else() {
        let room = tempfile::tempdir().unwrap();
        let at = |path: &str| room.path().join(path);
        for (path, on) in [("user/app", "memory pids"), ("user/app/brik", ""), ("alone", "pids")] {
            fs::create_dir_all(at(path)).unwrap();
            fs::write(at(path).join("cgroup.subtree_control"), on).unwrap();
        }
        let (pids, both) = ([("pids", 1)], [("pids", 1), ("memory", 1)]);
        for (own, limits, expected) in [
            ("0::/user/app/brik\n", &both[..], vec![vec!["user/app"]]),
            ("0::/alone\n", &pids, vec![vec!["alone"]]),
            ("0::/alone\n", &both, vec![]),
            ("0::/\n", &pids, vec![]),
            ("9:pids:/a\n4:memory:/b\n0::/\n", &both, vec![vec!["pids/a", "memory/b"]]),
            ("9:cpu,memory,pids:/a\n", &both, vec![vec!["cpu,memory,pids/a"]]),
            ("odd", &pids, vec![]),
        ] {
            let expected: Vec<Vec<PathBuf>> = expected.into_iter().map(|bases| bases.into_iter().map(at).collect()).collect();
            assert_eq!(candidates(room.path(), own, limits), expected, "{own:?} {limits:?}");
        }
    }

    #[test]
    fn a_group_counts_what_it_refused_and_leaves_nothing() {
        let Some(group) = ControlGroup::make(Wanted { processes: Some(1), memory: Some(64 << 20) }) else {
            return println!("skipped: no right to make control groups");
        };
        assert_eq!(group.exhausted(), None);
        let places = group.places.clone();
        let door = places[0].join("cgroup.procs");
        let said = std::process::Command::new("sh").args(["-c", "echo 0 > \"$0\"; true & wait"]).arg(&door).output().unwrap();
        assert!(!said.status.success() && group.exhausted() == Some(Limit::Processes), "{said:?}");
        drop(group);
        assert!(places.iter().all(|place| !place.exists()));
    }
}
