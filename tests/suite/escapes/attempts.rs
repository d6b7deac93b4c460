//! The attempts: those of the program, and Dockerfiles.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::builders::Builder;
use super::host::{CANARY, Host, SECRET_ROT13};
use super::{LOOPBACK, Outcome, Outcomes};

const OF_THE_CONTEXT: &[u8] = b"of the context\n";

/// Has succeeded if what the builder printed has one of `signs` in it, or if the host has changed.
struct Attempt {
    name: &'static str,
    /// One after the other. `{busybox}` is a base image.
    dockerfiles: Vec<String>,
    signs: &'static [&'static str],
}

impl Attempt {
    fn new(name: &'static str, dockerfile: String, signs: &'static [&'static str]) -> Self {
        Self { name, dockerfiles: vec![dockerfile], signs }
    }
}

/// `costly` ones take all processes that they can get.
pub fn all(builder: &Builder, host: &Host, costly: bool) -> Outcomes {
    let context = tempfile::tempdir().expect("a temporary directory");
    fill(context.path(), host);
    let dockerfile = format!("FROM {{busybox}}\nCOPY escape /escape\nRUN /escape {}\n", host.arguments());
    let said = builder.build(context.path(), &dockerfile, host);
    let mut outcomes: Outcomes = said.lines().filter_map(outcome_of_line).collect();
    assert!(outcomes.len() > 50, "{}: {said}", builder.name());
    if host.has_visitor() {
        outcomes.iter_mut().filter(|(name, _)| name == LOOPBACK).for_each(|(_, outcome)| *outcome = Outcome::Succeeded);
    }
    for attempt in dockerfiles(host, costly) {
        outcomes.push((attempt.name.to_owned(), outcome(&attempt, builder, context.path(), host)));
    }
    outcomes
}

/// A context with links that lead out of it.
fn fill(context: &Path, host: &Host) {
    fs::copy(host.program(), context.join("escape")).expect("a copy");
    symlink("/", context.join("to-root")).expect("a link");
    symlink(host.treasury(), context.join("to-treasury")).expect("a link");
}

fn outcome_of_line(line: &str) -> Option<(String, Outcome)> {
    let mut fields = line.split_once("ESCAPE|")?.1.split('|');
    let name = fields.next()?.to_owned();
    match fields.next()? {
        "refused" => Some((name, Outcome::Refused)),
        "succeeded" => Some((name, Outcome::Succeeded)),
        _ => Some((name, Outcome::NotApplicable)),
    }
}

fn outcome(attempt: &Attempt, builder: &Builder, context: &Path, host: &Host) -> Outcome {
    // As they were, whatever the attempts before have done to them.
    host.restore();
    fs::write(context.join("file"), OF_THE_CONTEXT).expect("a file");
    let before = host.state();
    let escaped = attempt.dockerfiles.iter().any(|dockerfile| {
        let said = builder.build(context, dockerfile, host);
        // Builders repeat the command: only a line that is nothing else counts.
        let shown = said.lines().any(|line| attempt.signs.iter().any(|sign| line.trim_end().ends_with(&format!("SIGN {sign}"))));
        shown || host.state() != before || fs::read(context.join("file")).is_ok_and(|bytes| bytes != OF_THE_CONTEXT)
    });
    if escaped || host.has_orphan() { Outcome::Succeeded } else { Outcome::Refused }
}

/// A command that prints what a file of the host says, and a sign that it is the host's.
fn show(path: &str) -> String {
    format!("sed 's/^/SIGN /' {path} || true")
}

fn dockerfiles(host: &Host, costly: bool) -> Vec<Attempt> {
    let canary = host.canary().display().to_string();
    let treasury = host.treasury().display().to_string();
    let up = "../".repeat(20);
    let busybox = |rest: &str| format!("FROM {{busybox}}\n{rest}\n");
    let seen = &[CANARY][..];
    let stubs = "--mount=type=tmpfs,target=/stub/deep --mount=type=bind,source=file,target=/stub/file";
    let descriptors = |number| busybox(&format!("WORKDIR /proc/self/fd/{number}\nRUN {stubs} {}", show(&format!("{up}{canary}"))));
    let programs = |number| busybox(&format!("RUN {stubs} [\"/proc/self/fd/{number}/{up}bin/busybox\", \"echo\", \"SIGN ran\"]"));
    let mut attempts = vec![
        Attempt { name: "WORKDIR /proc/self/fd/N (CVE-2024-21626)", dockerfiles: (10..16).map(descriptors).collect(), signs: seen },
        Attempt { name: "a program of /proc/self/fd/N", dockerfiles: (10..16).map(programs).collect(), signs: &["ran"] },
        Attempt::new("the mode of the host's /dev/null through /dev/stdin", busybox("RUN chmod 666 /dev/stdin || true"), &[]),
        Attempt::new(
            "mount targets behind a link to the host (CVE-2021-30465)",
            busybox(&format!(
                "RUN ln -s {treasury} /link\nRUN --mount=type=cache,target=/link/cache --mount=type=tmpfs,target=/link/tmpfs \
                 --mount=type=bind,source=file,target=/link/file touch /link/made /link/cache/x; {}",
                show("/link/canary")
            )),
            seen,
        ),
        Attempt::new(
            "a mount point that becomes a link to the host (CVE-2024-23652)",
            busybox(&format!("RUN --mount=type=tmpfs,target=/a/canary mv /a /z && ln -s {treasury} /a")),
            &[],
        ),
        Attempt::new(
            "a link of the context as a bind mount's source (CVE-2024-1753)",
            busybox(&format!("RUN --mount=type=bind,source=to-root,target=/mnt {}", show(&format!("/mnt{canary}")))),
            seen,
        ),
        Attempt::new(
            "a link of an image as a bind mount's source (CVE-2024-23651)",
            format!(
                "FROM {{busybox}} AS from\nRUN ln -s / /link\n{}",
                busybox(&format!("RUN --mount=from=from,source=/link,target=/mnt {}", show(&format!("/mnt{canary}"))))
            ),
            seen,
        ),
        Attempt::new(
            "a cache whose id leads upwards (CVE-2024-9675)",
            busybox(&format!("RUN --mount=type=cache,id={up}{treasury},target=/mnt touch /mnt/made; {}", show("/mnt/canary"))),
            seen,
        ),
        Attempt::new(
            "a cache whose source leads upwards (CVE-2024-9407)",
            format!(
                "FROM {{busybox}} AS from\n{}",
                busybox(&format!(
                    "RUN --mount=type=cache,from=from,source={up}{treasury},target=/mnt touch /mnt/made; {}",
                    show("/mnt/canary")
                ))
            ),
            seen,
        ),
        Attempt::new(
            "COPY through a link of the context",
            busybox(&format!("COPY to-treasury/canary /copied\nRUN {}", show("/copied"))),
            seen,
        ),
        Attempt::new("a write to the context", busybox("RUN --mount=type=bind,target=/mnt,rw echo changed > /mnt/file || true"), &[]),
        Attempt::new(
            "the secret of a RUN at the same time",
            "FROM {busybox} AS a\n\
             RUN --mount=type=secret,id=token --mount=type=cache,target=/c,id=meet rm -f /c/done; touch /c/here; \
             for i in 1 2 3 4 5 6 7 8 9 10; do test -e /c/done || sleep 0.2; done; touch /a\n\
             FROM {busybox} AS b\n\
             RUN --mount=type=cache,target=/c,id=meet for i in 1 2 3 4 5 6 7 8 9 10; do test -e /c/here || sleep 0.2; done; \
             cat /proc/[0-9]*/root/run/secrets/token /proc/[0-9]*/cwd/run/secrets/token /run/secrets/token 2>/dev/null \
             | tr a-z n-za-m | sed 's/^/SIGN /'; echo; touch /c/done /b\n\
             FROM {busybox}\nCOPY --from=a /a /\nCOPY --from=b /b /\n"
                .to_owned(),
            &[SECRET_ROT13],
        ),
        Attempt::new(
            "a process that stays",
            busybox(&format!("RUN (setsid sleep {} > /dev/null 2>&1 < /dev/null &); sleep 0.2", host.orphan)),
            &[],
        ),
    ];
    if costly {
        let all = "i=0; while [ $i -lt 6000 ]; do sleep 100 & i=$((i + 1)); done; echo SIGN $i";
        attempts.push(Attempt::new("6000 processes at the same time", busybox(&format!("RUN {all}")), &["6000"]));
    }
    attempts
}
