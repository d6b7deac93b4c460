//! Contexts that lie elsewhere: in git, behind a URL, in an OCI layout.

use std::collections::BTreeMap;

use crate::support::git_server::GitServer;
use crate::support::{Project, server};

/// A repository with `a` and `dir/b`, and a .dockerignore, which means nothing there.
fn repository() -> (GitServer, String) {
    let server = GitServer::start();
    let repository = server.repository("app.git");
    repository.write("a", "from git").write("dir/b", "b").write(".dockerignore", "a\n").commit(7);
    let url = server.url("app.git");
    (server, url)
}

#[test]
fn a_repository_is_copied_from_mounted_and_started_from() {
    let (_server, url) = repository();
    for (instructions, path) in [
        ("FROM scratch\nCOPY --from=src a /x", "/x"),
        ("FROM {busybox}\nRUN --mount=from=src,target=/src cp /src/a /x", "/x"),
        ("FROM src\nCOPY --from=src dir /d", "/a"),
        ("FROM {busybox} AS src\nRUN touch /never\nFROM scratch\nCOPY --from=src /a /x", "/x"),
        ("FROM debian:none\nCOPY own /own", "/a"),
    ] {
        let project = Project::dockerfile(&format!("{instructions}\n")).file("own", "own");
        let name = if instructions.contains("debian") { "debian:none" } else { "src" };
        let image = project.image(["--build-context", &format!("{name}={url}#main")]);
        assert_eq!(image.text(path), "from git", "{instructions}");
        assert!(!image.has("/.git"), "{instructions}");
    }
    let project = Project::dockerfile("FROM scratch\nCOPY --from=src / /\n");
    assert_eq!(project.image(["--build-context", &format!("src={url}#main:dir")]).paths(), ["/b"]);
}

#[test]
fn brik_toml_names_repositories_too() {
    let (_server, url) = repository();
    let project = Project::monorepo(&format!("members = [\"app\"]\ntags = [\"v1\"]\n[services.app.contexts]\nsrc = \"{url}\""));
    let project = project.file("app/Dockerfile", "FROM scratch\nCOPY --from=src a /x\n");
    let _ = project.brik(["build", "--output", &format!("oci:{}", project.out().display())]).succeeds();
    assert_eq!(project.built().text("/x"), "from git");
}

#[test]
fn what_a_url_leads_to_is_one_file_whatever_it_is() {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(2);
    archive.append_data(&mut header, "inner", &b"in"[..]).unwrap();
    let archive = archive.into_inner().unwrap();
    let host = server::serve(BTreeMap::from([("/a.tar".to_owned(), server::ok(&archive)), ("/a".to_owned(), server::ok(b"text"))]));
    for (name, content) in [("a.tar", &archive[..]), ("a", b"text")] {
        let project = Project::dockerfile("FROM scratch\nCOPY --from=src / /x/\n");
        let image = project.image(["--build-context", &format!("src=http://{host}/{name}")]);
        assert_eq!(image.text("/x/context").as_bytes(), content, "{name}");
        assert_eq!((image.entry("/x/context").mode, image.paths().len()), (0o600, 2), "{name}: {:?}", image.paths());
    }
}

#[test]
fn a_layout_is_an_image() {
    let base = Project::dockerfile("FROM {busybox}\nRUN echo one > /one\nENV LEVEL=1\n");
    let _ = base.build(["--tags", "v1"]).succeeds();
    let layout = base.out().display().to_string();
    for source in [format!("oci-layout://{layout}:v1"), format!("oci-layout://{layout}")] {
        let project = Project::dockerfile(
            "FROM base\nRUN test $LEVEL = 1 && cp /one /two\nFROM scratch\nCOPY --from=base /one /x\nCOPY --from=0 /two /y\n",
        );
        let image = project.image(["--build-context", &format!("base={source}")]);
        assert_eq!((image.text("/x").trim(), image.text("/y").trim()), ("one", "one"), "{source}");
    }
    let project = Project::dockerfile("FROM base\n");
    let image = project.image(["--build-context", &format!("base=oci-layout://{layout}")]);
    assert_eq!((image.text("/one").as_str(), image.layers()), ("one\n", base.built().layers()));
    let digest = format!("sha256:{}", "0".repeat(64));
    for (name, said) in [(":v2", "has no image \"v2\"; there is v1".to_owned()), (&format!("@{digest}"), digest.clone())] {
        project.build(["--build-context", &format!("base=oci-layout://{layout}{name}")]).exits(1).says(&[&said]);
    }
}

#[test]
fn a_layout_beside_brik_toml_is_pushed_with_what_stands_on_it() {
    let base = Project::dockerfile("FROM scratch\nCOPY one /one\n").file("one", "one");
    let _ = base.build::<&str>([]).succeeds();
    let project = Project::monorepo("members = [\"app\"]\ntags = [\"v1\"]\n[services.app.contexts]\nbase = \"oci-layout://base\"");
    let project = project.file("app/Dockerfile", "FROM base\nCOPY two /two\n").file("app/two", "two");
    copy(&base.out(), &project.path("base"));
    let _ = project.brik(["build", "--push"]).succeeds();
    let reader = Project::dockerfile(&format!("FROM scratch\nCOPY --from={}/app:v1 / /\n", project.prefix()));
    let image = reader.image::<&str>([]);
    assert_eq!((image.text("/one").as_str(), image.text("/two").as_str()), ("one", "two"));
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() { copy(&source, &target) } else { assert!(std::fs::copy(source, target).is_ok()) }
    }
}

#[test]
fn a_context_of_no_known_kind_is_told() {
    let project = Project::dockerfile("FROM src\n");
    project.build(["--build-context", "src=ftp://localhost/x"]).exits(1).says(&["unsupported context source ftp", "oci-layout://"]);
}

#[test]
fn one_image_is_built_from_a_repository() {
    let server = GitServer::start();
    let repository = server.repository("app.git");
    repository.write("Dockerfile", "FROM scratch\nCOPY . /\n").write(".dockerignore", "a\n").write("a", "a").commit(1);
    repository.write("sub/Other", "FROM scratch\nCOPY b /b\n").write("sub/b", "b").commit(2);
    let project = Project::empty();
    let url = server.url("app.git");
    let image = project.image(["--context", &url, "--build-arg", "SOURCE_DATE_EPOCH=context"]);
    assert_eq!(image.paths(), ["/.dockerignore", "/Dockerfile", "/a", "/sub", "/sub/Other", "/sub/b"], "nothing is ignored");
    assert_eq!(image.entry("/a").mtime, 1_000_000_002);
    assert!(project.image(["--context", &url, "--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1"]).has("/.git/HEAD"));
    let sub = Project::empty();
    assert_eq!(sub.image(["--context", &format!("{url}#main:sub"), "--dockerfile", "Other"]).paths(), ["/b"]);
    project.build(["--context", &format!("{url}#nowhere")]).exits(1).says(&["repository does not contain ref nowhere"]);
    std::os::unix::fs::symlink("/etc/passwd", repository.path("Leak")).unwrap();
    repository.commit(3);
    project.build(["--context", &url, "--dockerfile", "Leak"]).exits(2).says(&["there is no Dockerfile at Leak"]);
}

#[test]
fn one_image_is_built_from_an_archive_or_a_dockerfile_behind_a_url() {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in [("Dockerfile", &b"FROM scratch\nCOPY a /a\n"[..]), ("a", b"a")] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o640);
        header.set_uid(7);
        header.set_mtime(1_700_000_302);
        archive.append_data(&mut header, name, content).unwrap();
    }
    let answers = [("/a.tar", archive.into_inner().unwrap()), ("/file", b"FROM scratch\nCOPY context /x\n".to_vec())];
    let host = server::serve(answers.into_iter().map(|(path, body)| (path.to_owned(), server::ok(&body))).collect());
    let project = Project::empty();
    let image = project.image(["--context", &format!("http://{host}/a.tar"), "--build-arg", "SOURCE_DATE_EPOCH=context"]);
    assert_eq!((image.entry("/a").mode, image.entry("/a").mtime), (0o640, 1_700_000_302));
    let other = Project::empty();
    assert!(other.image(["--context", &format!("http://{host}/file")]).text("/x").starts_with("FROM scratch"));
}

#[test]
fn scratch_stands_in_for_an_image() {
    let project = Project::dockerfile("FROM nowhere/base AS build\nENV FOO=bar\nCOPY <<EOF /out\nhello\nEOF\n");
    let image = project.image(["--build-context", "nowhere/base=docker-image://scratch"]);
    assert_eq!((image.paths(), image.text("/out").as_str()), (vec!["/out"], "hello\n"));
}
