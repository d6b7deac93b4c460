//! Random instructions that set the configuration of an image, with words to expand.

use fastrand::Rng;

use super::context::choose;
use super::stage::Stage;

pub fn generate(rng: &mut Rng, stage: &mut Stage) -> String {
    match rng.u8(0..20) {
        0..4 => environment(rng, stage),
        4..6 => argument(rng, stage),
        6..8 if stage.shell => working_directory(rng),
        8 => {
            let user = choose(rng, &["guest", "1000:50", "7", "0", "root", "guest:staff"]);
            // Names are looked up in the image's /etc/passwd.
            let user = if stage.shell { user } else { "3:4" };
            stage.root = ["0", "root"].contains(&user);
            format!("USER {user}")
        }
        9..11 => format!("LABEL {}={} {}", name(rng, "label."), word(rng, stage), choose(rng, &["a=b", "\"c d\"=e", "x.y=\"${ENV1}\""])),
        11 => "VOLUME ".to_owned() + choose(rng, &["/vol", "[\"/vol1\", \"/vol2\"]", "/vol /vol3", "/vol-$ENV1"]),
        // No `8000-8002`, no `443/TCP`: BuildKit writes single ports and small letters, buildah what it reads.
        12 => "EXPOSE ".to_owned() + choose(rng, &["80", "53/udp 80/tcp", "${PORT:-99}", "443/tcp 443"]),
        13 => format!("CMD {}", command(rng)),
        // buildah's ENTRYPOINT does not ask SHELL.
        14 if stage.own_shell => "ENTRYPOINT [\"a\", \"b c\"]".to_owned(),
        14 => format!("ENTRYPOINT {}", command(rng)),
        15 => {
            "HEALTHCHECK ".to_owned()
                + choose(
                    rng,
                    &["NONE", "CMD true", "--interval=90s --timeout=1m CMD [\"a\", \"b\"]", "--retries=2 --start-period=5s CMD a $b"],
                )
        }
        16 => "ONBUILD ".to_owned() + choose(rng, &["RUN echo triggered > /onbuild", "ENV TRIGGERED=1", "LABEL triggered=$ENV1"]),
        17 if stage.shell && stage.may_set_shell => {
            stage.own_shell = true;
            "SHELL ".to_owned() + choose(rng, &["[\"/bin/sh\", \"-xc\"]", "[\"/bin/busybox\", \"sh\", \"-c\"]"])
        }
        18 => "STOPSIGNAL ".to_owned() + choose(rng, &["SIGTERM", "9", "SIGRTMIN+3", "${SIGNAL:-SIGINT}"]),
        _ => environment(rng, stage),
    }
}

/// The RUN is for buildah, which makes the directory only when it is used.
fn working_directory(rng: &mut Rng) -> String {
    format!("WORKDIR {}\nRUN true", choose(rng, &["/w", "sub", "/w/deep/er", "../up", "/$ENV1/x", "/s", "with\\ space"]))
}

fn environment(rng: &mut Rng, stage: &mut Stage) -> String {
    let (one, two) = (name(rng, "ENV"), name(rng, "ENV"));
    let line = match rng.u8(0..4) {
        0 => format!("ENV {one} {}", choose(rng, &["a  b", "\"quoted\" $ENV2", "it''s", "$ENV1 \\$x"])),
        1 => format!("ENV {one}={} {two}=${one}", word(rng, stage)),
        _ => format!("ENV {one}={}", word(rng, stage)),
    };
    stage.variables.push(one);
    line
}

/// ARG; `ARG2` gets its value from the command line.
fn argument(rng: &mut Rng, stage: &mut Stage) -> String {
    let name = name(rng, "ARG");
    let line = match rng.bool() {
        true => format!("ARG {name}"),
        false => format!("ARG {name}={}", word(rng, stage)),
    };
    stage.variables.push(name);
    line
}

fn name(rng: &mut Rng, prefix: &str) -> String {
    format!("{prefix}{}", rng.u8(1..5))
}

fn command(rng: &mut Rng) -> &'static str {
    choose(rng, &["[\"a\", \"b c\"]", "shell $form && more", "[]", "[\"$ENV1\"]", "exec   two  spaces", "[ not json"])
}

/// A word of the shell-like language of ENV, ARG and LABEL.
fn word(rng: &mut Rng, stage: &Stage) -> String {
    let variable = match stage.variables.is_empty() {
        true => "ENV1".to_owned(),
        false => choose(rng, &stage.variables),
    };
    match rng.u8(0..13) {
        0..3 => "plain".to_owned(),
        3 => "\"two words\"".to_owned(),
        4 => "'single $NOT'".to_owned(),
        5 => "a\\ b".to_owned(),
        6 => format!("${variable}"),
        7 => format!("pre${{{variable}}}post"),
        8 => format!("${{{variable}:-default}}"),
        9 => format!("\"${{{variable}:+instead}}\""),
        10 => format!("\\${variable}"),
        11 => format!("\"q \\\" ${variable}\"'s'"),
        _ => "\"\"".to_owned(),
    }
}
