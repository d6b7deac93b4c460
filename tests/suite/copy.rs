//! COPY and ADD.

use std::collections::BTreeMap;

use crate::support::git_server::GitServer;
use crate::support::{Image, Kind, Project, server};

/// The image of `FROM scratch` and these instructions over a small context.
#[track_caller]
fn image(instructions: &str) -> Image {
    let project = Project::dockerfile(&format!("FROM scratch\n{instructions}\n"));
    let project = project.file("a.txt", "a").file("dir/b.txt", "b").file("dir/sub/c.md", "c").file("dir/sub/d.txt", "d");
    std::os::unix::fs::symlink("b.txt", project.path("dir/link")).unwrap();
    project.image::<&str>([])
}

#[track_caller]
fn files(instructions: &str) -> Vec<String> {
    let image = image(instructions);
    let files = image.files.iter().filter(|(_, entry)| entry.kind != Kind::Directory);
    files.map(|(path, _)| path.clone()).collect()
}

#[test]
fn sources_and_destinations_mean_what_they_mean_to_docker() {
    let table: [(&str, &[&str]); 8] = [
        ("COPY a.txt /x", &["/x"]),
        ("COPY a.txt /x/", &["/x/a.txt"]),
        ("COPY dir/sub /x", &["/x/c.md", "/x/d.txt"]),
        ("COPY *.txt /x/", &["/x/a.txt"]),
        ("COPY dir/*/*.md /x/", &["/x/c.md"]),
        ("COPY [\"a.txt\", \"dir/b.txt\", \"/x/\"]", &["/x/a.txt", "/x/b.txt"]),
        ("WORKDIR /w\nCOPY a.txt .", &["/w/a.txt"]),
        ("COPY ../a.txt /x", &["/x"]),
    ];
    for (instructions, expected) in table {
        assert_eq!(files(instructions), expected, "{instructions}");
    }
}

#[test]
fn links_are_copied_as_links() {
    assert_eq!(image("COPY dir /x").entry("/x/link").kind, Kind::Symlink("b.txt".to_owned()));
}

#[test]
fn hard_links_are_kept_within_a_directory_and_not_between_the_matches_of_a_pattern() {
    let project = Project::dockerfile("FROM scratch\nCOPY d /whole/\nCOPY d/* /each/\n").file("d/one", "x");
    std::fs::hard_link(project.path("d/one"), project.path("d/two")).unwrap();
    let image = project.image::<&str>([]);
    let linked = |directory: &str| image.entry(&format!("{directory}/one")).inode == image.entry(&format!("{directory}/two")).inode;
    assert!(linked("/whole") && !linked("/each"));
}

#[test]
fn copied_files_belong_to_root() {
    assert_eq!(image("COPY a.txt /x").entry("/x").owner, (0, 0));
}

#[test]
fn chown_takes_numbers() {
    let image = image("COPY --chown=12:34 dir /x");
    assert!(["/x", "/x/b.txt", "/x/sub/d.txt"].iter().all(|path| image.entry(path).owner == (12, 34)), "{:?}", image.files);
}

#[test]
fn chown_looks_names_up_in_the_image() {
    let image = Project::dockerfile("FROM {busybox}\nCOPY --chown=guest:staff a /x\n").file("a", "a").image::<&str>([]);
    assert_eq!(image.entry("/x").owner, (1000, 50));
}

#[test]
fn chmod_takes_octal_and_symbolic_modes() {
    for (mode, expected) in [("640", 0o640), ("0755", 0o755), ("u=rwx,go=rx", 0o755)] {
        assert_eq!(image(&format!("COPY --chmod={mode} a.txt /x")).entry("/x").mode, expected, "{mode}");
    }
}

#[test]
fn link_makes_a_layer_of_its_own() {
    assert_eq!(files("COPY --link a.txt /x/a\nCOPY --link dir/b.txt /x/b"), ["/x/a", "/x/b"]);
}

#[test]
fn parents_keeps_the_path() {
    assert_eq!(files("COPY --parents dir/sub/c.md a.txt /x/"), ["/x/a.txt", "/x/dir/sub/c.md"]);
    assert_eq!(files("COPY --parents ./dir/./sub/*.md /x/"), ["/x/sub/c.md"]);
}

#[test]
fn exclude_leaves_files_out() {
    assert_eq!(files("COPY --exclude=*.md --exclude=link dir /x/"), ["/x/b.txt", "/x/sub/c.md", "/x/sub/d.txt"]);
    assert_eq!(files("COPY --exclude=**/*.md --exclude=link dir /x/"), ["/x/b.txt", "/x/sub/d.txt"]);
}

#[test]
fn a_heredoc_is_a_file() {
    let image = image("ARG WHO=you\nCOPY <<one <<\"two\" /x/\nhello $WHO\none\nhello $WHO\ntwo");
    assert_eq!((image.text("/x/one"), image.text("/x/two")), ("hello you\n".to_owned(), "hello $WHO\n".to_owned()));
}

#[test]
fn an_archive_is_unpacked_by_add_and_not_by_copy() {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(2);
    header.set_mode(0o640);
    header.set_uid(7);
    archive.append_data(&mut header, "inner/file", &b"in"[..]).unwrap();
    let plain = archive.into_inner().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &plain).unwrap();
    let zstd = zstd::encode_all(&plain[..], 1).unwrap();
    for (name, bytes) in [("a.tar", plain.clone()), ("a.tgz", gzip.finish().unwrap()), ("a.tar.zst", zstd)] {
        let project = Project::dockerfile(&format!("FROM scratch\nADD {name} /added/\nCOPY {name} /copied/\n")).file(name, bytes);
        let image = project.image::<&str>([]);
        assert_eq!(image.text("/added/inner/file"), "in", "{name}");
        assert_eq!((image.entry("/added/inner/file").mode, image.entry("/added/inner/file").owner.0), (0o640, 7), "{name}");
        assert!(image.has(&format!("/copied/{name}")) && !image.has(&format!("/added/{name}")), "{name}");
    }
}

#[test]
fn add_downloads_and_names_the_file_after_the_url() {
    let host = server::serve(BTreeMap::from([("/dir/tool.txt".to_owned(), server::ok(b"downloaded"))]));
    let image = Project::dockerfile(&format!("FROM scratch\nADD http://{host}/dir/tool.txt /x/\n")).image::<&str>([]);
    assert_eq!((image.text("/x/tool.txt").as_str(), image.entry("/x/tool.txt").mode), ("downloaded", 0o600));
}

#[test]
fn a_checksum_holds_or_ends_the_build() {
    let host = server::serve(BTreeMap::from([("/tool".to_owned(), server::ok(b"downloaded"))]));

    let right = digest_of(b"downloaded");
    let build = |sum: &str| Project::dockerfile(&format!("FROM scratch\nADD --checksum={sum} http://{host}/tool /x\n"));
    assert_eq!(build(&right).image::<&str>([]).text("/x"), "downloaded");
    let wrong = format!("sha256:{}", "0".repeat(64));
    build(&wrong).brik(["build", "--image", "localhost/app"]).exits(1).says(&[&wrong, &right]);
}

fn digest_of(bytes: &[u8]) -> String {
    use sha2::Digest;
    let hex = sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("sha256:{hex}")
}

#[test]
fn files_of_another_image_are_copied_without_a_stage() {
    let image = Project::dockerfile("FROM scratch\nCOPY --from={busybox} /etc/passwd /x\n").image::<&str>([]);
    assert!(image.text("/x").starts_with("root:"));
}

#[test]
fn files_of_a_named_context_are_copied() {
    let project = Project::dockerfile("FROM scratch\nCOPY --from=other f /x\n").file("../elsewhere/f", "f");
    assert_eq!(project.image(["--build-context", "other=../elsewhere"]).text("/x"), "f");
}

#[test]
fn a_copy_over_a_link_of_the_image_stays_inside_it() {
    let project = Project::dockerfile(
        "FROM {busybox}\nRUN ln -s /target /link && mkdir /target && ln -s ../../../../etc /escape\nCOPY a /link/a\nCOPY a /escape/brik-was-here\n",
    );
    let image = project.file("a", "a").image::<&str>([]);
    assert!(image.has("/target/a") && image.has("/etc/brik-was-here"));
    assert!(!std::path::Path::new("/etc/brik-was-here").exists());
}

#[test]
fn a_name_that_would_remove_a_file_is_refused() {
    let project = Project::dockerfile("FROM {busybox}\nCOPY .wh.passwd /etc/\n").file(".wh.passwd", "");
    project.build::<&str>([]).exits(1).says(&[".wh.passwd", "Dockerfile:2"]);
}

#[test]
fn downloads_of_several_urls_are_named_and_dated_by_their_servers() {
    let dated = |body: &str| {
        let head = "HTTP/1.1 200 OK\r\nlast-modified: Thu, 26 Jan 2017 18:39:13 GMT\r\nconnection: close";
        format!("{head}\r\ncontent-disposition: attachment; filename=other\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    };
    let host = server::serve(BTreeMap::from([("/a%20b?x=/y".to_owned(), dated("one")), ("/d/c".to_owned(), dated("two"))]));
    let toml = "members = [\"app\"]\ntags = [\"v1\"]\n[build]\ntimestamps = \"preserve\"";
    let project =
        Project::monorepo(toml).file("app/Dockerfile", format!("FROM scratch\nADD http://{host}/a%20b?x=/y http://{host}/d/c /x/\n"));
    let _ = project.brik(["build", "--output", &format!("oci:{}", project.out().display())]).succeeds();
    let image = project.built();
    assert_eq!((image.text("/x/a b").as_str(), image.text("/x/c").as_str()), ("one", "two"));
    assert_eq!((image.entry("/x/c").mtime, image.entry("/x/c").mode), (1_485_455_953, 0o600));
}

#[test]
fn a_download_is_unpacked_where_asked() {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(2);
    archive.append_data(&mut header, "inner", &b"in"[..]).unwrap();
    let archive = archive.into_inner().unwrap();
    let host = server::serve(BTreeMap::from([("/a.tar".to_owned(), server::ok(&archive)), ("/b".to_owned(), server::ok(b"text"))]));
    let image = image(&format!("ADD --unpack=true http://{host}/a.tar http://{host}/b /x/\nADD http://{host}/a.tar /y/"));
    assert_eq!((image.text("/x/inner").as_str(), image.text("/x/b").as_str()), ("in", "text"));
    assert!(image.has("/y/a.tar") && !image.has("/y/inner"));
}

#[test]
fn a_private_download_is_fetched_with_a_secret_or_with_the_credentials_of_its_url() {
    let fetched = |header: &str, credentials: &str, args: &[&str]| {
        let server = GitServer::with_authorization(header);
        server.repository("app.git").commit(1);
        let url = format!("http://{credentials}{}/app.git/.git/HEAD", server.host());
        let project = Project::dockerfile(&format!("FROM scratch\nADD {url} /x\n"));
        let _ = project.build(args).env("TOKEN", "s3cret").succeeds();
        let image = project.built();
        assert!(!image.config.to_string().contains("s3cret"), "{}", image.config);
        image.text("/x")
    };
    for (header, credentials, args) in [
        ("Bearer s3cret", "", &["--secret", "id=HTTP_AUTH_TOKEN_127.0.0.1,env=TOKEN"][..]),
        ("s3cret", "", &["--secret", "id=HTTP_AUTH_HEADER_127.0.0.1,env=TOKEN"]),
        ("Basic bWU6czNjcmV0", "me:s3cret@", &[]),
    ] {
        assert_eq!(fetched(header, credentials, args), "ref: refs/heads/main\n", "{header}");
    }
}

#[test]
fn a_download_that_fails_is_told_without_the_credentials_of_its_url() {
    let host = server::serve(BTreeMap::new());
    let project = Project::dockerfile("FROM scratch\nARG URL\nADD $URL /x\n");
    let run = project.build(["--build-arg", &format!("URL=http://me:s3cret@{host}/none")]).exits(1);
    run.says(&[&format!("http://{host}/none"), "404", "Dockerfile:3"]);
    assert!(!run.stderr.contains("s3cret"), "{}", run.stderr);
    let sum = format!("sha512:{}", "0".repeat(128));
    let other = Project::dockerfile(&format!("FROM scratch\nADD --checksum={sum} http://{host}/none /x\n"));
    other.build::<&str>([]).exits(2).says(&["--checksum of a URL is sha256"]);
}

#[test]
fn a_damaged_archive_is_named_by_its_url() {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(5000);
    archive.append_data(&mut header, "file", &[0u8; 5000][..]).unwrap();
    let cut = &archive.into_inner().unwrap()[..2000];
    let host = server::serve(BTreeMap::from([("/cut.tar".to_owned(), server::ok(cut))]));
    let project = Project::dockerfile(&format!("FROM scratch\nADD --unpack http://me:hunter2@{host}/cut.tar /\n"));
    project.build::<&str>([]).exits(1).says(&[&format!("cannot unpack http://{host}/cut.tar: ")]);
}

#[test]
fn credentials_of_a_url_are_in_no_title_and_no_snippet() {
    let host = server::serve(BTreeMap::from([("/file".to_owned(), server::ok(b"content"))]));
    let url = format!("http://me:hunter2@{host}");
    for (instructions, code) in [("ADD $URL/file /x", 0), ("ADD {url}/file /x", 0), ("ADD {url}/missing /x", 1), ("ADD {url}/file", 2)] {
        let project = Project::dockerfile(&format!("FROM scratch\nARG URL={url}\n{}\n", instructions.replace("{url}", &url)));
        let run = project.brik(["build", "--image", "localhost/app", "--progress", "plain"]).exits(code);
        assert!(run.stderr.contains("ADD ") && !run.stderr.contains("hunter2"), "{}", run.stderr);
    }
}
