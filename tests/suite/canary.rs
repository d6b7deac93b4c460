//! Secrets: canaries are given to brik in every way there is, and all that it writes is searched for them, in every spelling; whatever the
//! login, the kind of output and the end of the run. `BRIK_TRIALS=504` (252 without root) tries all combinations.

mod forms;
mod gate;
mod processes;
mod sinks;
mod world;

use std::collections::BTreeMap;
use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Brik, Project, random, tools, trials};
use gate::Opens;
use processes::Process;
use sinks::Sinks;
use world::{LOGINS, Login, World};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Pushed,
    RunFails,
    Interrupted,
    PushDenied,
    LoginRefused,
    Killed,
}

const ENDS: [End; 6] = [End::Pushed, End::RunFails, End::Interrupted, End::PushDenied, End::Killed, End::LoginRefused];
const STYLES: [&str; 6] = ["plain", "json", "quiet", "github", "gitlab", "tty"];

/// A command that sleeps for a time that no other test sleeps for.
fn sleep(trial: usize) -> String {
    format!("sleep {}", 313_000 + trial)
}

#[test]
fn no_secret_is_in_anything_that_brik_leaves() {
    let mut random = random();
    let rungs = if tools::is_root() { 2 } else { 1 };
    let all = LOGINS.len() * STYLES.len() * ENDS.len() * rungs;
    let runs = trials(6).min(all);
    let (mut kinds, mut bytes, mut canaries, mut forms, mut found) = (BTreeMap::<&str, usize>::new(), 0, 0, 0, Vec::new());
    for trial in 0..runs {
        let (login, style, end, contained) = match runs == all {
            true => (LOGINS[trial % 7], STYLES[trial / 7 % 6], ENDS[trial / 42 % 6], trial / 252 == 1),
            // Every value of every dimension comes early.
            false => (LOGINS[trial % 7], STYLES[trial % 6], ENDS[(trial + trial / 6) % 6], rungs == 2 && trial % 3 == 1),
        };
        let world = world(&mut random, login, end, trial);
        let sinks = Sinks::new(&world.canaries);
        run(&world, &sinks, style, end, contained, trial);
        world.search(&sinks);
        if trial < 2 {
            ask(&world, &sinks);
        }
        let (searched, size) = sinks.searched();
        searched.into_iter().for_each(|(kind, count)| *kinds.entry(kind).or_default() += count);
        (bytes, canaries, forms) = (bytes + size, world.canaries.count(), world.canaries.forms());
        found.extend(sinks.found().into_iter().map(|what| format!("{login:?}, {style}, {end:?}, contained {contained}: {what}")));
    }
    println!(
        "canary: {runs} of {all} runs ({} logins, {} outputs, {} ends, {rungs} rungs), {canaries} canaries in {forms} spellings, \
         searched {} kB in {kinds:?}: {} found",
        LOGINS.len(),
        STYLES.len(),
        ENDS.len(),
        bytes / 1000,
        found.len()
    );
    found.sort();
    found.dedup();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn world(random: &mut fastrand::Rng, login: Login, end: End, trial: usize) -> World {
    let opens = match end {
        End::PushDenied => Opens::ForReads,
        End::LoginRefused => Opens::ToNobody,
        _ => Opens::ToAll,
    };
    let last = match end {
        End::RunFails => "exit 3".to_owned(),
        End::Interrupted | End::Killed => sleep(trial),
        _ => "true".to_owned(),
    };
    World::new(random, login, opens, &last)
}

/// Runs it to its end, and looks at all that it says.
fn run(world: &World, sinks: &Sinks, style: &str, end: End, contained: bool, trial: usize) {
    let (style, contained) = match (style, end) {
        // Who is killed leaves a terminal as it is.
        ("tty", End::Killed) => ("plain", contained),
        // There, another program stands between the terminal and brik.
        ("tty", _) => ("tty", false),
        _ => (style, contained),
    };
    let results = |name: &str| world.project.beside("results").join(name);
    let brik = match style {
        "github" => {
            let brik = world.build().env("GITHUB_ACTIONS", "true").env("GITHUB_OUTPUT", results("output"));
            brik.env("GITHUB_STEP_SUMMARY", results("summary"))
        }
        "gitlab" => world.build().env("GITLAB_CI", "true"),
        style => world.build().args(["--progress", style]),
    };
    let brik = if contained { brik.in_container() } else { brik };
    let (code, stdout, stderr) = match style {
        "tty" => on_screen(brik, end),
        _ => piped(brik, sinks, end, trial),
    };
    let expected = match end {
        End::Pushed => Some(0),
        End::RunFails | End::PushDenied | End::LoginRefused => Some(1),
        End::Interrupted => Some(130),
        End::Killed => None,
    };
    assert_eq!(code, expected, "{style} {end:?}\n{stdout}\n{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    if end == End::Killed {
        // The guard of rung 3 removes what lay on the disk, then nothing is waited for.
        let begun = Instant::now();
        while contained && begun.elapsed() < Duration::from_secs(20) && secret_files(world) {
            thread::sleep(Duration::from_millis(50));
        }
    }
    // The ways in are ways in.
    let used = world.used();
    assert!(used["basic"] + used["bearer"] + used["identity"] > 0, "nobody was asked for a password: {stderr}");
    let told = matches!(style, "plain" | "gitlab") && matches!(end, End::Pushed | End::RunFails);
    assert!(!told || stderr.contains("***"), "nothing was told:\n{stderr}");
    assert!(!told || stderr.contains("mode 400 of 0"), "{stderr}");
    assert!(!told || contained || stderr.contains("ramfs") || stderr.contains("tmpfs"), "{stderr}");
    sinks.text("stdout", stdout);
    sinks.text("stderr", stderr);
}

fn secret_files(world: &World) -> bool {
    !tools::output("find", &[&world.project.store().join("tmp").display().to_string(), "-path", "*/run/secrets/*", "-size", "+0"])
        .is_empty()
}

fn on_screen(brik: Brik, end: End) -> (Option<i32>, String, String) {
    let screen = brik.in_terminal(100, 30);
    if end == End::Interrupted {
        // The last line of either stream, whichever was read last.
        screen.until("the RUN", |text| text.contains("ramfs") || text.contains("no such thing"));
        screen.press(b"\x03");
    }
    let (code, bytes) = screen.written();
    (code, String::new(), bytes)
}

fn piped(brik: Brik, sinks: &Sinks, end: End, trial: usize) -> (Option<i32>, String, String) {
    let mut child = brik.start();
    let read = |mut pipe: Box<dyn Read + Send>| {
        thread::spawn(move || {
            let mut text = Vec::new();
            pipe.read_to_end(&mut text).map(|_| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
        })
    };
    let stdout = read(Box::new(child.stdout.take().unwrap()));
    let stderr = read(Box::new(child.stderr.take().unwrap()));
    if let End::Interrupted | End::Killed = end {
        for process in processes::wait_for(child.id(), &sleep(trial)) {
            look(sinks, &process);
        }
        let signal = if end == End::Killed { Signal::KILL } else { Signal::INT };
        kill_process(Pid::from_child(&child), signal).unwrap();
    }
    let code = child.wait().unwrap().code();
    (code, stdout.join().unwrap(), stderr.join().unwrap())
}

/// What everybody can see of a process while it runs.
fn look(sinks: &Sinks, process: &Process) {
    sinks.text("arguments of processes", &process.arguments);
    // brik itself has the user's environment, and so has the guard of a RUN, whom no other user and no RUN can look into.
    if !["brik", "exe"].contains(&process.name.as_str()) {
        let allowed = ["secret variable", "build argument"];
        sinks.but("environment of processes", &allowed, &process.environment);
    }
    let limits: Vec<u64> = process.core.split(' ').map(|limit| limit.parse().unwrap_or(u64::MAX)).collect();
    if limits.iter().any(|limit| *limit > 1) {
        sinks.wrong(format!("{} may leave a core dump: {}", process.name, process.core));
    }
}

/// What other commands say of it afterwards.
fn ask(world: &World, sinks: &Sinks) {
    let secrets = world.secrets();
    let planned: [&[&str]; 4] = [&["plan", "--push"], &["why"], &["build", "--push", "--dry-run"], &["matrix", "--push"]];
    for words in planned {
        let brik = world.brik(words);
        let brik = if words[0] == "matrix" { brik } else { brik.args(&secrets).args(["--build-arg", "NPM_TOKEN"]) };
        // Another value than the one that was built with: both are told of, and neither is told.
        let other = world.canaries.get("build argument of another time");
        hear(sinks, words, if words[0] == "why" { brik.env("NPM_TOKEN", other) } else { brik });
    }
    let others: [&[&str]; 12] = [
        &["why", "--last"],
        &["check"],
        &["check", "--format", "json"],
        &["check", "--format", "sarif"],
        &["check", "--format", "github"],
        &["list", "--format", "json"],
        &["graph", "--format", "json"],
        &["tags", "--format", "json"],
        &["inspect", "app", "--format", "json"],
        &["inspect", "app", "--files"],
        &["cache", "ls"],
        &["login", "--status"],
    ];
    others.into_iter().for_each(|words| hear(sinks, words, world.brik(words)));
    world.search(sinks);
}

fn hear(sinks: &Sinks, words: &[&str], brik: Brik) {
    let run = brik.run();
    assert!(run.code != Some(2) && !run.stderr.contains("panicked"), "{words:?}: {run:?}");
    sinks.text("other commands", run.stdout + &run.stderr);
}

/// Images hold set-uid programs, contexts the sources of others.
#[test]
fn other_users_of_the_machine_get_nothing_of_the_store() {
    use std::os::unix::fs::PermissionsExt;
    let project =
        Project::dockerfile("FROM {busybox}\nRUN cp /bin/busybox /su && chmod 4755 /su\nUSER guest\nRUN test -x /su && echo x > /tmp/x\n");
    let modes = || {
        let entries = std::fs::read_dir(project.store()).unwrap().flatten().filter(|entry| entry.path().is_dir());
        entries.map(|entry| entry.metadata().unwrap().permissions().mode() & 0o7777).collect::<Vec<_>>()
    };
    let _ = project.build::<&str>([]).succeeds();
    assert!(modes().len() >= 7 && modes().iter().all(|mode| *mode == 0o700), "{:?}", modes());
    // One that an earlier brik has made.
    for entry in std::fs::read_dir(project.store()).unwrap().flatten().filter(|entry| entry.path().is_dir()) {
        std::fs::set_permissions(entry.path(), PermissionsExt::from_mode(0o755)).unwrap();
    }
    let _ = project.build::<&str>([]).succeeds();
    assert!(modes().iter().all(|mode| *mode == 0o700), "{:?}", modes());
}
