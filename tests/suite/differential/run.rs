//! Random RUN instructions: what shells do to files, layer after layer.

use fastrand::Rng;

use super::context::choose;
use super::stage::{Stage, What};

/// `links`: hard links may be made and changed in any RUN, which needs a builder that makes a layer of every instruction.
pub fn generate(rng: &mut Rng, stage: &mut Stage, links: bool) -> String {
    if !stage.root {
        let (n, umask) = (stage.fresh(), choose(rng, &["022", "077", "002"]));
        return format!("RUN id -u > /tmp/u{n}; id -g >> /tmp/u{n}; umask {umask}; mkdir /tmp/m{n}; touch /tmp/t{n}; rm -rf /etc || true");
    }
    let mut commands = Vec::new();
    if stage.slots.len() < 4 {
        commands.push("mkdir -p /s".to_owned());
        commands.extend((0..rng.usize(3..6)).map(|_| make(rng, stage)));
    }
    commands.extend((0..rng.usize(1..5)).map(|_| command(rng, stage, links)));
    let separator = if rng.u8(..) < 40 { "; \\\n    " } else { "; " };
    format!("RUN {} || true", commands.join(separator))
}

/// Something new.
fn make(rng: &mut Rng, stage: &mut Stage) -> String {
    let n = stage.fresh();
    match rng.u8(0..7) {
        0 | 1 => {
            stage.set(&format!("/s/f{n}"), What::File);
            format!("echo {n} > /s/f{n}")
        }
        2 | 3 => {
            stage.set(&format!("/s/d{n}"), What::Directory);
            format!("mkdir -p /s/d{n}/x; echo {n} > /s/d{n}/x/f; echo {n} > /s/d{n}/f0")
        }
        4 => {
            let (target, what) = match (stage.any(rng, &[What::Directory]), stage.any(rng, &[What::File])) {
                (Some(directory), _) if rng.bool() => (directory, What::LinkToDirectory),
                (_, Some(file)) => (file, What::LinkToFile),
                _ => ("missing".to_owned(), What::Dangling),
            };
            // Absolute, relative, and a way that leads out of the root and back.
            let relative = target.trim_start_matches("/s/").to_owned();
            let target = choose(rng, &[target.clone(), relative, format!("../../..{target}")]);
            stage.set(&format!("/s/l{n}"), what);
            format!("ln -s {target} /s/l{n}")
        }
        5 => {
            stage.set(&format!("/s/e{n}"), What::Directory);
            format!("mkdir -m {} /s/e{n}", choose(rng, &["700", "1777", "2755", "555"]))
        }
        // Hard links that are made and changed in one RUN, and left alone afterwards.
        _ => format!("mkdir -p /h; echo {n} > /h/a{n}; ln /h/a{n} /h/b{n}; echo more >> /h/b{n}; chmod 600 /h/a{n}; mkfifo /h/p{n}"),
    }
}

fn command(rng: &mut Rng, stage: &mut Stage, links: bool) -> String {
    let (Some(file), Some(directory)) = (stage.any(rng, &[What::File]), stage.any(rng, &[What::Directory])) else {
        return make(rng, stage);
    };
    let n = stage.fresh();
    match rng.u8(0..24) {
        0..4 => make(rng, stage),
        4 => format!("echo {n} >> {file}"),
        5 => format!(": > {file}; chmod {} {file}", choose(rng, &["4755", "0600", "u+x", "a-w"])),
        6 => format!("chmod {} {directory}", choose(rng, &["0700", "g+s", "1777", "o-rx"])),
        7 => format!("chown {} {}", owner(rng), choose(rng, &[file, directory])),
        8 => format!("chown -R {} {directory}", owner(rng)),
        9 => {
            stage.take(&file);
            format!("rm {file}")
        }
        10 => {
            stage.take(&directory);
            format!("rm -rf {directory}")
        }
        // A file becomes a directory, and the other way round.
        11 => {
            stage.take(&file);
            stage.set(&file, What::Directory);
            format!("rm {file}; mkdir {file}; echo {n} > {file}/f0")
        }
        12 => {
            stage.take(&directory);
            stage.set(&directory, What::File);
            format!("rm -rf {directory}; echo {n} > {directory}")
        }
        // Removed and back: an opaque directory, and a file over its own whiteout.
        13 => format!("rm -rf {directory}; mkdir {directory}; echo {n} > {directory}/back"),
        14 => format!("rm {file}; echo back > {file}"),
        15 => format!("rm -rf {directory}/x {directory}/e; mkdir {directory}/x; touch {directory}/x/.wh {directory}/x/n{n}"),
        // A directory of a lower layer cannot be renamed in an overlay: mv copies.
        16 => {
            let what = stage.take(&directory).unwrap_or(What::Directory);
            stage.set(&format!("/s/m{n}"), what);
            format!("mv {directory} /s/m{n}")
        }
        17 => {
            stage.take(&file);
            stage.set(&format!("/s/m{n}"), What::File);
            format!("mv {file} /s/m{n}")
        }
        18 => {
            stage.set(&format!("/s/c{n}"), What::Directory);
            format!("cp -a {directory} /s/c{n}")
        }
        19 if links && rng.bool() => format!("ln {directory}/f0 {directory}/k{n}; echo {n} >> {directory}/k{n}"),
        19 if links => {
            stage.set(&format!("/s/k{n}"), What::File);
            format!("ln {file} /s/k{n}")
        }
        // A directory becomes a link to another one, and what is written through it lands there.
        20 => {
            let other = stage.any(rng, &[What::Directory]).filter(|other| *other != directory).unwrap_or_else(|| "/tmp".to_owned());
            stage.take(&directory);
            stage.set(&directory, What::LinkToDirectory);
            format!("rm -rf {directory}; ln -s {other} {directory}; echo {n} > {directory}/through")
        }
        // What the base image brought.
        21 => format!("rm -rf /usr/sbin; mkdir /usr/sbin; mv /root /s/root{n}; mkdir -m 700 /root; rm /bin/ed; ln -s vi /bin/ed"),
        22 => format!("rm -rf /usr/sbin/add*; chmod 700 /root; ls -lnR /s | awk '{{ print $1, $3, $4, $9, $10, $11 }}' > /ls{n}"),
        _ => {
            let variables: Vec<String> = stage.variables.iter().map(|name| format!("[${name}]")).collect();
            format!("echo \"{}\" > /v{n}; pwd > /w{n}; id > /id{n}", variables.concat())
        }
    }
}

fn owner(rng: &mut Rng) -> &'static str {
    choose(rng, &["1:2", "1000", "guest:staff", ":50", "65534:65534"])
}
