//! Base images that others have made, with layers as brik does not write them.

use std::fs;

use tar::{EntryType, Header};

use crate::support::server::{Layer, digest, gzip, serve_base};
use crate::support::{Project, busybox, overwrite, shared_registry};

/// Path, kind, mode, owner and group, target of a link.
type Entry<'a> = (&'a str, EntryType, u32, u64, &'a str);

fn layer(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, kind, mode, owner, target) in entries {
        let mut header = Header::new_ustar();
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        header.set_uid(*owner);
        header.set_gid(*owner);
        header.set_size(0);
        header.set_path(path).unwrap();
        if !target.is_empty() {
            header.set_link_name(target).unwrap();
        }
        header.set_cksum();
        archive.append(&header, &b""[..]).unwrap();
    }
    archive.into_inner().unwrap()
}

#[test]
fn layers_that_do_not_name_directories_leave_those_below_as_they_are() {
    let (dir, file, link) = (EntryType::Directory, EntryType::Regular, EntryType::Symlink);
    let layers = [
        layer(&[("tmp", dir, 0o1777, 0, ""), ("usr", dir, 0o755, 0, ""), ("usr/bin", dir, 0o751, 0, "")]),
        layer(&[("srv", dir, 0o700, 33, ""), ("sb", link, 0o777, 0, "usr/bin")]),
        // As bazel, ko, jib and kaniko write them.
        layer(&[("srv/new", file, 0o644, 0, ""), ("tmp/new", file, 0o644, 0, ""), ("sb/tool", file, 0o755, 0, "")]),
    ];
    let blobs: Vec<Vec<u8>> = layers.iter().map(|layer| gzip(layer)).collect();
    let served = layers.iter().zip(&blobs).map(|(tar, blob)| Layer { promised: blob, diff_id: digest(tar), served: blob });
    let host = serve_base(&served.collect::<Vec<_>>());
    let look = "stat -c '%n %A %u' /srv /tmp /usr/bin /usr/bin/tool /srv/new > /out; readlink /sb >> /out";
    let project = Project::dockerfile(&format!(
        "FROM {host}/base\nCOPY --from={{busybox}} /bin/busybox /bin/busybox\nRUN [\"/bin/busybox\", \"sh\", \"-c\", \"{look}\"]\n"
    ));
    let expected =
        "/srv drwx------ 33\n/tmp drwxrwxrwt 0\n/usr/bin drwxr-x--x 0\n/usr/bin/tool -rwxr-xr-x 0\n/srv/new -rw-r--r-- 0\nusr/bin\n";
    assert_eq!(project.image::<&str>([]).text("/out"), expected);
    // What a prune takes is made again.
    let _ = project.brik(["cache", "prune"]).succeeds();
    assert_eq!(project.image::<&str>([]).text("/out"), expected);
}

#[test]
fn a_layer_that_was_damaged_on_disk_after_it_was_pulled_is_pulled_again() {
    let tar = layer(&[("file", EntryType::Regular, 0o644, 0, "")]);
    let blob = gzip(&tar);
    let host = serve_base(&[Layer { promised: &blob, diff_id: digest(&tar), served: &blob }]);
    let project = Project::dockerfile(&format!("FROM {host}/base\nWORKDIR /made\n"));
    let _ = project.build::<&str>([]).succeeds();

    // As a power cut may leave it: unpacked in no boot that counts, and with bytes that never reached the disk.
    let store = project.store();
    fs::rename(store.join("snapshots"), store.join("snapshots of an earlier boot")).unwrap();
    let stored = store.join("blobs").join(digest(&blob).replace(':', "/"));
    overwrite(&stored, &vec![0; blob.len()]);
    let _ = project.build(["--no-cache"]).succeeds();
    assert!(fs::read(&stored).unwrap() == blob, "it was not pulled again");
}

#[test]
fn a_mirror_is_named_where_a_base_came_from_it_and_where_it_lacks_one() {
    let mirror = shared_registry().host();
    let base = busybox().replace(mirror, "127.0.0.1:9");
    let project = Project::empty()
        .file("brik.toml", format!("members = [\"*\"]\n[registries.\"127.0.0.1:9\"]\nmirror = \"{mirror}\"\n"))
        .file("api/Dockerfile", format!("FROM {base}\nRUN true\n"));
    let build = || project.brik(["build", "--config", "brik.toml", "-t", "localhost/api", "api", "-v", "--progress", "plain"]);
    let run = build().succeeds();
    assert!(
        run.stderr.lines().any(|line| line.contains("127.0.0.1:9/") && line.ends_with(&format!("from the mirror {mirror}"))),
        "{run:?}"
    );
    project.write("api/Dockerfile", "FROM 127.0.0.1:9/library/busybox:nope\n");
    build().exits(1).says(&[
        "nothing listens at 127.0.0.1:9",
        &format!("its mirror was asked first: {mirror}/library/busybox: cannot read manifest nope: not found (status 404"),
        "the mirror has nothing",
    ]);
}
