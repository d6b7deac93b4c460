//! The power goes while brik builds, simulated on a real store: whatever the store has not synced is lost, torn or there. The next build
//! makes the same image, with no repair. (The unit tests of the store try every moment of what is done to it.)

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::support::{Project, random, trials};

const DOCKERFILE: &str = "FROM {busybox} AS parts\nCOPY sources /src\nRUN cat /src/* > /all && mkdir /made && seq 1000 > /made/list\n\
    FROM {busybox}\nCOPY --from=parts /made /made\nCOPY sources/one /one\nRUN cp -r /made /again && ln -s /made /link\n";

/// What a crash may do to a file that was not synced, as `store::tests::crash` has it.
fn tear(random: &mut fastrand::Rng, path: &Path) {
    let permissions = fs::metadata(path).unwrap().permissions();
    let Ok(bytes) = fs::read(path) else { return };
    let half = bytes.len() / 2;
    let torn = match random.u8(..6) {
        0 => Vec::new(),
        1 => bytes[..half].to_owned(),
        2 => vec![0; bytes.len()],
        3 => [&bytes[..half], &vec![0; bytes.len() - half]].concat(),
        _ => return,
    };
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    fs::write(path, torn).unwrap();
    fs::set_permissions(path, permissions).unwrap();
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let files = entries.flat_map(|entry| if entry.file_type().unwrap().is_dir() { files_below(&entry.path()) } else { vec![entry.path()] });
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    files
}

/// Loses whatever the store does not promise to keep: names anywhere, content of what nobody syncs.
fn lose(random: &mut fastrand::Rng, store: &Path, share: f64) -> usize {
    let mut lost = 0;
    for path in files_below(store) {
        let is = |part: &str| path.starts_with(store.join(part));
        if is("snapshots") || !path.exists() {
            continue;
        }
        if is("blobs") {
            match fs::metadata(&path).unwrap().permissions().mode() & 0o777 {
                // Pulled, and never synced.
                0o444 => tear(random, &path),
                // Found when it was not durable yet.
                _ if random.f64() < share => {
                    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
                    tear(random, &path);
                }
                _ => {}
            }
        }
        if is("stat") {
            tear(random, &path);
        }
        if random.f64() < share {
            let name = path.file_name().unwrap();
            match random.bool() {
                true => fs::remove_file(&path).unwrap(),
                // Its last name is lost, and an earlier one is not; whose it is, too.
                false => fs::rename(&path, store.join("tmp").join(format!("1-0.{}", name.to_string_lossy()))).unwrap(),
            }
            lost += 1;
        }
    }
    lost + snapshots_of_an_earlier_boot(random, store)
}

/// Snapshots are not synced at all.
fn snapshots_of_an_earlier_boot(random: &mut fastrand::Rng, store: &Path) -> usize {
    let (own, mut torn) = (fs::metadata(store).unwrap().uid(), 0);
    for ids in fs::read_dir(store.join("snapshots")).into_iter().flatten().flatten() {
        for place in fs::read_dir(ids.path()).unwrap().flatten() {
            for boot in fs::read_dir(place.path()).unwrap().flatten() {
                // In a user namespace some may be somebody else's.
                let own = |file: &PathBuf| fs::symlink_metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.uid() == own);
                for file in files_below(&boot.path()).into_iter().filter(own) {
                    tear(random, &file);
                    torn += 1;
                }
                fs::rename(boot.path(), place.path().join("boot-earlier")).unwrap();
            }
        }
    }
    torn
}

#[test]
fn after_the_power_was_gone_the_next_build_makes_the_same_image() {
    let mut random = random();
    let project = Project::dockerfile(DOCKERFILE).file("sources/one", "1".repeat(5000)).file("sources/two", "2".repeat(50_000));
    let first = project.build::<&str>([]).succeeds();
    let trials = trials(8);
    let (mut lost, mut steps) = (0, 0);
    for trial in 0..trials {
        lost += lose(&mut random, &project.store(), [0.0, 0.05, 0.3, 0.9][trial % 4]);
        let run = project.build::<&str>([]).succeeds();
        assert_eq!(run.digests(), first.digests());
        assert_eq!(project.built().text("/one").len(), 5000);
        let left = fs::read_dir(project.store().join("tmp")).unwrap().flatten().map(|entry| entry.file_name()).collect::<Vec<_>>();
        assert_eq!(left, [""; 0]);
        steps += run.steps_run().len();
    }
    println!("{trials} times the power was gone: {lost} files lost or torn, {steps} Steps run again, the same digest each time");
}
