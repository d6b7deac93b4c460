//! The live view, as a person sees it in a terminal: at several widths, after a change of size, after a failure and after Ctrl-C.

use std::net::TcpListener;

use crate::support::{Project, Screen};

/// What a RUN waits for until the test lets it go on.
struct Gate(TcpListener);

impl Gate {
    fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// The end of a RUN that waits.
    fn wait(&self) -> String {
        format!("nc 127.0.0.1 {} < /dev/null", self.0.local_addr().unwrap().port())
    }

    fn open(self) {
        drop(self.0.accept().unwrap());
    }
}

const SERVICES: &str = "members = [\"*\"]\ntags = [\"v1\"]";
const SAID: &str = "a line that tells at some length how far this long command has come by now";

/// Two services that run at the same time; the first has a second Step.
struct Two {
    project: Project,
    api: [Gate; 2],
    web: Gate,
}

impl Two {
    fn new() -> Self {
        let (api, web) = ([Gate::new(), Gate::new()], Gate::new());
        let of_api = format!("FROM {{busybox}}\nRUN echo {SAID}; {}\nRUN echo second; {}\n", api[0].wait(), api[1].wait());
        let of_web = format!("FROM {{busybox}}\nRUN {}\n", web.wait());
        let project = Project::monorepo(SERVICES).file("api/Dockerfile", of_api).file("web/Dockerfile", of_web);
        Self { project, api, web }
    }

    fn build(&self, columns: u16) -> Screen {
        self.project.brik(["build", "-j2"]).in_terminal(columns, 24)
    }
}

/// Header and rows, if the screen ends with exactly one frame of two services, each line in the room that it has.
fn is_frame(screen: &str, columns: usize, steps: [&str; 2]) -> bool {
    let lines: Vec<&str> = screen.lines().collect();
    let [.., header, first, second] = lines[..] else { return false };
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let row = |line: &str, service: &str, step: &str| words(line).starts_with(&format!("▸ {service} {step} RUN "));
    header.starts_with("0/2 services, ")
        && row(first, "api", steps[0])
        && row(second, "web", steps[1])
        && [header, first, second].iter().all(|line| line.chars().count() < columns)
        && screen.matches("▸").count() == 2
        && screen.matches("/2 services, ").count() == 1
}

#[track_caller]
fn is_clean(text: &str) {
    for part in ["▸", "/2 services, ", "…  "] {
        assert!(!text.contains(part), "{part:?} is left on\n{text}");
    }
}

#[track_caller]
fn runs_in(columns: u16) {
    let two = Two::new();
    let screen = two.build(columns);
    let said = format!("│ {}", &SAID[..20]);
    let has_room = columns >= 80;
    screen.until("both run", |text| is_frame(text, columns.into(), ["stage-0 1/2", "stage-0 1/1"]) && text.contains(&said) == has_room);
    let Two { api: [one, other], web, project } = two;
    one.open();
    let next = screen.until("a line keeps its place", |text| is_frame(text, columns.into(), ["stage-0 2/2", "stage-0 1/1"]));
    assert!(next.contains("✓ [api stage-0 1/2]"), "{next}");
    other.open();
    web.open();
    let (code, text) = screen.ends();
    assert_eq!(code, Some(0), "{text}");
    is_clean(&text);
    assert!(text.contains("✓ [web stage-0 1/1]") && text.contains("2 services in "), "{text}");
    drop(project);
}

#[test]
fn the_view_is_right_at_40_columns() {
    runs_in(40);
}

#[test]
fn the_view_is_right_at_80_columns() {
    runs_in(80);
}

#[test]
fn the_view_is_right_at_200_columns() {
    runs_in(200);
}

#[test]
fn a_change_of_size_leaves_nothing_behind_and_takes_nothing_away() {
    let two = Two::new();
    let screen = two.build(200);
    let steps = ["stage-0 1/2", "stage-0 1/1"];
    screen.until("both run", |text| is_frame(text, 200, steps));
    for (columns, rows) in [(80, 24), (200, 24), (40, 24), (120, 24), (60, 10)] {
        screen.resize(columns, rows);
        screen.until(&format!("{columns} columns"), |text| is_frame(text, columns.into(), steps));
        let all = screen.history();
        assert!(all.contains("sandbox: ") && all.contains("pulled "), "what was said before is gone:\n{all}");
    }
    let Two { api: [one, other], web, project } = two;
    [one, other, web].into_iter().for_each(Gate::open);
    let (code, text) = screen.ends();
    assert_eq!(code, Some(0), "{text}");
    is_clean(&text);
    drop(project);
}

#[test]
fn ctrl_c_takes_the_view_away_and_says_what_is_kept() {
    let two = Two::new();
    let screen = two.build(80);
    screen.until("both run", |text| is_frame(text, 80, ["stage-0 1/2", "stage-0 1/1"]));
    screen.press(b"\x03");
    let (code, text) = screen.ends();
    assert_eq!(code, Some(130), "{text}");
    is_clean(&text);
    assert!(text.contains("interrupted: nothing was finished yet"), "{text}");
}

#[test]
fn a_failure_shows_all_that_the_step_said_and_takes_the_view_away() {
    let dockerfile = format!("FROM {{busybox}}\nRUN echo {SAID}; echo second; exit 3\n");
    let project = Project::monorepo(SERVICES).file("api/Dockerfile", dockerfile);
    let screen = project.brik(["build"]).in_terminal(80, 40);
    let (code, text) = screen.ends();
    assert_eq!(code, Some(1), "{text}");
    is_clean(&text);
    for part in ["✗ [api stage-0 1/1] RUN echo", &format!("│ {SAID}"), "│ second", "exit code 3", "api/Dockerfile:2:1"] {
        assert!(text.contains(part), "{part:?} is not on\n{text}");
    }
}

#[test]
fn the_environment_takes_colour_and_movement_away() {
    let project = Project::monorepo(SERVICES).file("api/Dockerfile", "FROM {busybox}\nRUN echo x; exit 3\n");
    let bytes = |name: &str, value: &str| {
        let screen = project.brik(["build"]).env(name, value).in_terminal(80, 40);
        screen.until("it has failed", |text| text.contains("exit code 3"));
        screen.bytes()
    };
    let colours =
        |text: &str| text.split("\x1b[").skip(1).any(|rest| rest.trim_start_matches(|c| matches!(c, '0'..='9' | ';')).starts_with('m'));
    assert!(colours(&bytes("LANG", "C.UTF-8")));
    let plain = bytes("NO_COLOR", "1");
    assert!(plain.contains("\x1b[J") && !colours(&plain), "{plain:?}");
    assert!(!bytes("TERM", "dumb").contains('\x1b'));
    assert!(bytes("LANG", "C").lines().take_while(|line| !line.contains("brik::build::failed")).all(str::is_ascii));
}

#[test]
fn without_a_terminal_a_diagnostic_has_colours_by_force_only() {
    let project = Project::empty().file("brik.toml", "wrong");
    let colours = |name: &str| project.brik(["build"]).env(name, "1").exits(2).stderr.contains("\x1b[");
    assert_eq!([colours("CLICOLOR_FORCE"), colours("NO_COLOR")], [true, false]);
}
