//! Other people's tools read and run what brik wrote.

use crate::support::{Project, tools};

fn server() -> Project {
    let project = Project::dockerfile(
        "FROM {busybox}\nCOPY --chmod=755 serve /bin/serve\nENV GREETING=hello\nUSER guest\nWORKDIR /tmp\nENTRYPOINT [\"/bin/serve\"]\nCMD [\"world\"]\n",
    );
    project.file("serve", "#!/bin/sh\necho $GREETING $1 from $(id -u) in $(pwd)\n")
}

#[test]
fn podman_and_crun_run_an_oci_layout() {
    if !tools::installed(&["podman", "crun", "unshare"]) {
        return;
    }
    let project = server();
    let _ = project.build::<&str>([]).succeeds();
    assert_eq!(tools::podman_run(&project.beside(""), "oci:out", &[]), "hello world from 1000 in /tmp\n");
    assert_eq!(tools::podman_run(&project.beside(""), "oci:out", &["you"]), "hello you from 1000 in /tmp\n");
}

#[test]
fn podman_and_crun_run_a_docker_archive() {
    if !tools::installed(&["podman", "crun", "unshare"]) {
        return;
    }
    let project = server();
    let archive = project.beside("image.tar");
    let _ = project.build(["--output", &format!("docker:{}", archive.display())]).succeeds();
    assert_eq!(tools::podman_run(&project.beside(""), "docker-archive:image.tar", &[]), "hello world from 1000 in /tmp\n");
}

#[test]
fn skopeo_finds_every_blob_of_an_oci_layout_as_its_digest_says() {
    if !tools::installed(&["skopeo"]) {
        return;
    }
    let project = server();
    let digest = project.build::<&str>([]).succeeds().digests().remove(0);
    let (from, to) = (format!("oci:{}", project.out().display()), format!("oci:{}", project.beside("copy").display()));
    let _ = tools::output("skopeo", &["copy", "--quiet", &from, &to]);
    assert_eq!(tools::output("skopeo", &["inspect", "--format", "{{.Digest}}", &to]).trim(), digest);
}
