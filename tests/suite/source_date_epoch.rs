//! SOURCE_DATE_EPOCH by a number, `context`, or the name of a source.

use std::collections::BTreeMap;

use crate::support::git_server::GitServer;
use crate::support::{Image, Project, server};

/// An archive with a file of 1700000402, and an older one.
fn archive() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, time) in [("old", 1_600_000_000), ("new", 1_700_000_402)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(2);
        header.set_mtime(time);
        archive.append_data(&mut header, name, &b"in"[..]).unwrap();
    }
    archive.into_inner().unwrap()
}

/// `/src.tar`, and `/dated.tar` with a Last-Modified of 1485455953.
fn host() -> String {
    let plain = server::ok(&archive());
    let dated = [b"HTTP/1.1 200 OK\r\nLast-Modified: Thu, 26 Jan 2017 18:39:13 GMT".as_slice(), &plain[15..]].concat();
    server::serve(BTreeMap::from([("/src.tar".to_owned(), plain), ("/dated.tar".to_owned(), dated)]))
}

fn dates(image: &Image, path: &str) -> (u64, String) {
    (image.entry(path).mtime, image.config["created"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_stage_dates_the_image_by_its_one_source() {
    let host = host();
    let git = GitServer::start();
    git.repository("app.git").write("a", "a").commit(5);
    for (source, seconds) in [
        (format!("http://{host}/src.tar"), 1_700_000_402),
        (format!("http://{host}/dated.tar"), 1_485_455_953),
        (git.url("app.git"), 1_000_000_005),
    ] {
        let text = format!(
            "ARG SOURCE_DATE_EPOCH=source\nFROM scratch AS Source\nARG WHERE={source}\nADD $WHERE /\nFROM {{busybox}}\nARG SOURCE_DATE_EPOCH\nRUN echo -n $SOURCE_DATE_EPOCH > /epoch\n"
        );
        let image = Project::dockerfile(&text).image::<&str>([]);
        assert_eq!(image.text("/epoch"), seconds.to_string(), "{source}");
        let created = jiff::Timestamp::from_second(seconds).unwrap().to_string();
        assert_eq!(dates(&image, "/epoch"), (u64::try_from(seconds).unwrap(), created), "{source}");
    }
}

#[test]
fn a_number_in_the_dockerfile_is_overridden_by_the_build_argument() {
    let project = Project::dockerfile("ARG SOURCE_DATE_EPOCH=1700000001\nFROM scratch\nCOPY a /a\n").file("a", "a");
    assert_eq!(dates(&project.image::<&str>([]), "/a"), (1_700_000_001, "2023-11-14T22:13:21Z".to_owned()));
    let image = project.image(["--build-arg", "SOURCE_DATE_EPOCH=1700000002"]);
    assert_eq!(dates(&image, "/a"), (1_700_000_002, "2023-11-14T22:13:22Z".to_owned()));
}

#[test]
fn a_named_context_dates_the_image() {
    let host = host();
    let project = Project::dockerfile("ARG SOURCE_DATE_EPOCH=src\nFROM scratch\nCOPY a /a\n").file("a", "a");
    for (name, seconds) in [("dated.tar", 1_485_455_953), ("src.tar", 1_700_000_402)] {
        let image = project.image(["--build-context", &format!("src=http://{host}/{name}")]);
        assert_eq!(image.entry("/a").mtime, seconds, "{name}");
    }
}

#[test]
fn a_local_context_has_no_date() {
    let project = Project::dockerfile("FROM {busybox}\nARG SOURCE_DATE_EPOCH=x\nRUN echo \"[$SOURCE_DATE_EPOCH]\" > /a\n");
    let unset = project.image::<&str>([]).entry("/a").mtime;
    let image = project.image(["--build-arg", "SOURCE_DATE_EPOCH=context"]);
    assert_eq!((image.text("/a").as_str(), image.entry("/a").mtime), ("[]\n", unset));
}

#[test]
fn times_that_no_date_can_be_written_for_are_refused_wherever_they_come_from() {
    let project = Project::dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    for value in ["-1", "253402300800", "99999999999999999999"] {
        let said = format!("invalid SOURCE_DATE_EPOCH: {value}; expected seconds since 1970, at most 253402207200");
        project.build(["--build-arg", &format!("SOURCE_DATE_EPOCH={value}")]).exits(1).says(&[&said]);
        project.build::<&str>([]).env("SOURCE_DATE_EPOCH", value).exits(2).says(&[&said]);
        let global = Project::dockerfile(&format!("ARG SOURCE_DATE_EPOCH={value}\nFROM scratch\nCOPY Dockerfile /\n"));
        global.build::<&str>([]).exits(1).says(&[&said]);
    }
    let image = project.image(["--build-arg", "SOURCE_DATE_EPOCH=253402207200"]);
    assert_eq!(image.config["created"], "9999-12-30T22:00:00Z");
}

#[test]
fn a_name_that_says_no_date_is_told() {
    for (text, said) in [
        ("ARG SOURCE_DATE_EPOCH=not-a-timestamp\nFROM scratch\n", "invalid SOURCE_DATE_EPOCH: not-a-timestamp"),
        (
            "ARG SOURCE_DATE_EPOCH=s\nFROM scratch AS s\nCOPY Dockerfile /\nFROM scratch\n",
            "SOURCE_DATE_EPOCH stage does not meet source-only requirements: unsupported COPY instruction",
        ),
        ("ARG SOURCE_DATE_EPOCH=s\nFROM {busybox} AS s\nFROM scratch\n", "SOURCE_DATE_EPOCH stage must use FROM scratch"),
        ("ARG SOURCE_DATE_EPOCH=s\nFROM scratch AS s\nFROM scratch\n", "SOURCE_DATE_EPOCH stage must contain exactly one remote ADD"),
        ("ARG SOURCE_DATE_EPOCH=s\nFROM scratch AS s\nADD Dockerfile /\nFROM scratch\n", "must be a single HTTP(S) or Git ADD"),
    ] {
        Project::dockerfile(text).build::<&str>([]).exits(1).says(&[said]);
    }
}
