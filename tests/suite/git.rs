//! ADD of git repositories.

use crate::support::git_server::{GitServer, Repository};
use crate::support::scripted::{Answer, Server};
use crate::support::{Image, Kind, Project, Run};

/// `app.git` with a commit for each of v1 (tag), v2 (annotated tag) and the branch main; its ids.
fn served() -> (GitServer, Repository, [String; 3]) {
    let server = GitServer::start();
    let repository = server.repository("app.git");
    repository.write("file", "one").write("sub/inner", "inner").write("tool", "#!/bin/sh\n");
    repository.git(&["update-index", "--add", "--chmod=+x", "tool"]);
    make_executable(&repository, "tool");
    let one = repository.commit(1);
    repository.git(&["tag", "v1"]);
    repository.write("file", "two");
    let two = repository.commit(2);
    repository.git(&["tag", "--annotate", "--message=two", "v2"]);
    repository.write("file", "three");
    let three = repository.commit(3);
    (server, repository, [one, two, three])
}

fn make_executable(repository: &Repository, name: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(repository.path(name), std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[track_caller]
fn image(instructions: &str) -> Image {
    Project::dockerfile(&format!("FROM scratch\n{instructions}\n")).image::<&str>([])
}

#[track_caller]
fn fails(instructions: &str) -> Run {
    Project::dockerfile(&format!("FROM scratch\n{instructions}\n")).build::<&str>([]).exits(1)
}

/// What the text alone shows to be wrong.
#[track_caller]
fn is_refused(instructions: &str) -> Run {
    Project::dockerfile(&format!("FROM scratch\n{instructions}\n")).build::<&str>([]).exits(2)
}

#[test]
fn a_ref_of_every_kind_means_its_commit() {
    let (server, _repository, [one, two, _]) = served();
    for (tail, content) in [
        (String::new(), "three"),
        ("#main".to_owned(), "three"),
        ("#v1".to_owned(), "one"),
        ("#refs/tags/v2".to_owned(), "two"),
        (format!("#{one}"), "one"),
        ("?branch=main".to_owned(), "three"),
        ("?tag=v2".to_owned(), "two"),
        (format!("?commit={two}"), "two"),
        (format!("?tag=v2&commit={}", &two[..9]), "two"),
    ] {
        let image = image(&format!("ADD {}{tail} /x", server.url("app.git")));
        assert_eq!((image.text("/x/file").as_str(), image.has("/x/.git")), (content, false), "{tail}");
    }
}

#[test]
fn files_have_the_modes_that_git_knows_and_belong_to_root() {
    let (server, ..) = served();
    let image = image(&format!("ADD {} /x/", server.url("app.git")));
    for (path, mode) in [("/x/file", 0o644), ("/x/tool", 0o755), ("/x/sub", 0o755), ("/x/sub/inner", 0o644)] {
        assert_eq!((image.entry(path).mode, image.entry(path).owner), (mode, (0, 0)), "{path}");
    }
}

#[test]
fn a_subdirectory_and_exclusions_leave_the_rest_out() {
    let (server, ..) = served();
    let url = server.url("app.git");
    assert_eq!(image(&format!("ADD {url}#main:sub /x")).paths(), ["/x", "/x/inner"]);
    assert_eq!(image(&format!("ADD --exclude=sub --exclude=tool --chown=3:4 {url} /x")).paths(), ["/x", "/x/file"]);
    assert_eq!(image(&format!("ADD --chown=3:4 --chmod=700 {url}#v1 /x")).entry("/x/file").owner, (3, 4));
}

#[test]
fn a_checksum_is_the_beginning_of_the_commit() {
    let (server, _repository, [one, two, three]) = served();
    let url = server.url("app.git");
    assert_eq!(image(&format!("ADD --checksum={} {url}#v1 /x", &one[..7])).text("/x/file"), "one");
    assert_eq!(image(&format!("ADD --checksum={two} {url}#v2 /x")).text("/x/file"), "two", "of what an annotated tag leads to");
    fails(&format!("ADD --checksum={two} {url}#v1 /x")).says(&["expected checksum to match", &two, &one, "Dockerfile:2"]);
    fails(&format!("ADD {url}?commit={} /x", &two[..8])).says(&["expected checksum to match", &three]);
    is_refused(&format!("ADD --checksum=foobar {url} /x")).says(&["invalid checksum foobar", "expected hex commit hash"]);
}

#[test]
fn what_is_not_there_is_told_on_its_bytes() {
    let (server, ..) = served();
    let url = server.url("app.git");
    fails(&format!("ADD {url}#nowhere /x")).says(&["repository does not contain ref nowhere", "Dockerfile:2"]);
    fails(&format!("ADD {url}#main:nowhere /x")).says(&["failed to open subdir nowhere"]);
    is_refused(&format!("ADD {url}?tag=v1#main /x")).says(&["ref conflicts"]);
    fails(&format!("ADD {} /x", server.url("none.git"))).says(&["none.git", "not found"]);
    is_refused(&format!("COPY {url} /x")).says(&["source can't be a git ref for COPY"]);
}

#[test]
fn an_unchanged_ref_costs_one_question_and_a_commit_none() {
    let (server, repository, [one, ..]) = served();
    let url = server.url("app.git");
    let asked = |project: &Project| {
        let before = server.requests().len();
        let run = project.build::<&str>([]).succeeds();
        (run.steps_run().len(), server.requests()[before..].iter().filter(|request| request.starts_with("GET ")).count())
    };
    let branch = Project::dockerfile(&format!("FROM scratch\nADD {url} /x\n"));
    assert_eq!(asked(&branch).0, 1);
    assert_eq!(asked(&branch), (0, 1));
    repository.write("file", "four").commit(4);
    assert_eq!(asked(&branch).0, 1, "the branch has moved");
    repository.commit(5);
    assert_eq!(asked(&branch).0, 0, "a commit that changes no file runs nothing");
    let commit = Project::dockerfile(&format!("FROM scratch\nADD {url}#{one} /x\n"));
    assert_eq!(asked(&commit).0, 1);
    assert_eq!(asked(&commit), (0, 0));
}

#[test]
fn the_git_directory_is_kept_on_demand_and_is_the_same_everywhere() {
    let (server, ..) = served();
    let text = format!("FROM scratch\nADD --keep-git-dir=true {}#v2 /x\n", server.url("app.git"));
    let projects = [0, 1].map(|_| Project::dockerfile(&text));
    let [first, second] = projects.each_ref().map(|project| project.image::<&str>([]));
    assert_eq!(first.manifest, second.manifest, "two stores");
    let out = tempfile::tempdir().unwrap();
    for (path, entry) in &first.files {
        let path = out.path().join(path.trim_start_matches('/'));
        match &entry.kind {
            Kind::Directory => std::fs::create_dir_all(path).unwrap(),
            Kind::File(content) => std::fs::write(path, content).unwrap(),
            _ => {}
        }
    }
    make_executable(&Repository::at(&out.path().join("x")), "tool");
    let clone = Repository::at(&out.path().join("x"));
    assert_eq!(clone.git(&["status", "--short"]), "");
    assert_eq!(clone.git(&["describe"]), "v2");
    assert_eq!(clone.git(&["remote", "get-url", "origin"]), server.url("app.git"));
    assert_eq!(clone.git(&["rev-list", "--count", "HEAD"]), "1");
}

#[test]
fn submodules_are_fetched_unless_they_are_not_wanted() {
    let (server, repository, _) = served();
    server.repository("lib.git").write("code", "lib").commit(1);
    repository.git(&["submodule", "--quiet", "add", "--", &server.url("lib.git"), "lib"]);
    repository.commit(9);
    let url = server.url("app.git");
    let with = image(&format!("ADD {url} /x"));
    assert_eq!((with.text("/x/lib/code").as_str(), with.has("/x/lib/.git")), ("lib", false));
    assert!(!image(&format!("ADD {url}?submodules=false /x")).has("/x/lib/code"));
}

#[test]
fn a_repository_reads_no_file_of_this_machine() {
    let (server, repository, _) = served();
    let secret = tempfile::tempdir().unwrap();
    let own = Repository::at(secret.path());
    own.git(&["init", "--quiet"]);
    own.write("private", "private").commit(1);
    repository.git(&["submodule", "--quiet", "add", "--", &format!("file://{}", secret.path().display()), "leak"]);
    repository.commit(9);
    fails(&format!("ADD {} /x", server.url("app.git"))).says(&["transport 'file' not allowed"]);
    // No scheme of git's, so a path of the context.
    for url in [format!("file://{}/.git", secret.path().display()), "ext::id".to_owned()] {
        fails(&format!("ADD {url} /x")).says(&["not found"]);
    }
}

#[test]
fn a_private_repository_is_fetched_with_a_secret_that_shows_nowhere() {
    // x-access-token:s3cret-token
    let server = GitServer::with_authorization("Basic eC1hY2Nlc3MtdG9rZW46czNjcmV0LXRva2Vu");
    server.repository("app.git").write("file", "private").commit(1);
    let text = format!("FROM scratch\nADD {} /x\n", server.url("app.git"));
    Project::dockerfile(&text).build::<&str>([]).exits(1).says(&["gives it out to nobody without credentials", "GIT_AUTH_TOKEN"]);
    for id in ["GIT_AUTH_TOKEN".to_owned(), format!("GIT_AUTH_TOKEN.{}", server.host())] {
        let project = Project::dockerfile(&text);
        let run = project.build(["--secret", &format!("id={id},env=TOKEN")]).env("TOKEN", "s3cret-token").succeeds();
        assert_eq!(project.built().text("/x/file"), "private", "{id}");
        assert!(!run.stderr.contains("s3cret"), "{}", run.stderr);
        assert!(!grep(&project.store(), b"s3cret-token") && !grep(&project.store(), b"eC1hY2Nlc3Mt"), "{id}");
    }
}

#[test]
fn credentials_of_a_url_reach_the_server_and_nothing_else() {
    // me:s3cret-pass
    let server = GitServer::with_authorization("Basic bWU6czNjcmV0LXBhc3M=");
    server.repository("app.git").write("file", "private").commit(1);
    let url = format!("http://me:s3cret-pass@{}/app.git", server.host());
    let project = Project::dockerfile(&format!("FROM scratch\nADD --keep-git-dir {url} /x\n"));
    let image = project.image::<&str>([]);
    assert_eq!(image.text("/x/file"), "private");
    assert!(!image.config.to_string().contains("s3cret"), "{}", image.config);
    assert!(!image.text("/x/.git/config").contains("s3cret"));
    assert!(!grep(&project.store(), b"s3cret-pass"));
    let wrong = fails(&format!("ADD {}#nowhere /x", url.replace("pass", "word")));
    wrong.says(&["not with these"]);
    assert!(!wrong.stderr.split("ADD").next().unwrap().contains("s3cret"), "{}", wrong.stderr);
}

/// Whether a file below `directory` has these bytes in it.
fn grep(directory: &std::path::Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(directory).into_iter().flatten().flatten().any(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => grep(&entry.path(), bytes),
        Ok(kind) if kind.is_file() => std::fs::read(entry.path()).is_ok_and(|content| content.windows(bytes.len()).any(|w| w == bytes)),
        _ => false,
    })
}

#[test]
fn a_url_is_a_repository_where_the_flag_says_so() {
    let (server, ..) = served();
    std::fs::rename(server.path("app.git"), server.path("plain")).unwrap();
    let url = server.url("plain");
    assert_eq!(image(&format!("ADD --keep-git-dir=false {url}#v1 /x")).text("/x/file"), "one");
}

#[test]
fn without_git_the_error_says_what_to_install() {
    let project = Project::dockerfile("FROM scratch\nADD https://localhost/x.git /x\n");
    project.build::<&str>([]).env("PATH", "/nonexistent").exits(1).says(&["there is no program `git` in PATH"]);
}

#[test]
fn git_ends_with_brik_however_brik_ends() {
    use rustix::process::{Pid, Signal, kill_process};
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("git://{}/silent", listener.local_addr().unwrap());
        let project = Project::dockerfile(&format!("FROM scratch\nADD {url} /x\n"));
        let mut brik = project.build::<&str>([]).start();
        let (mut connection, _) = listener.accept().unwrap();
        kill_process(Pid::from_child(&brik), signal).unwrap();
        brik.wait().unwrap();
        // It lasts as long as git does.
        connection.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        std::io::copy(&mut connection, &mut std::io::sink()).unwrap_or_else(|error| panic!("git outlives {signal:?}: {error}"));
    }
}

#[test]
fn credentials_are_not_shown_to_where_a_server_redirects() {
    let elsewhere = Server::start(|_, _| Answer::new(404));
    let target = elsewhere.host.replace("127.0.0.1", "localhost");
    let server = Server::start(move |_, request| match request.header("authorization") {
        "" => Answer::new(401).header("WWW-Authenticate", "Basic realm=\"git\""),
        _ => Answer::new(301).header("Location", format!("http://{target}{}", request.target)),
    });
    let project = Project::dockerfile(&format!("FROM scratch\nADD http://{}/app.git#main /app\n", server.host));
    let run = project.build(["--secret", "id=GIT_AUTH_TOKEN,env=TOKEN"]).env("TOKEN", "t0ken-of-somebody").exits(1);
    assert!(server.requests().iter().any(|request| !request.header("authorization").is_empty()), "{run:?}");
    assert_eq!(elsewhere.lines(), [""; 0], "{run:?}");
}
