//! What a RUN reaches: the host's network, one of its own, or none, as `network` in `[build]`, `--network` and the RUN itself say.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::aftermath::process_tree;
use crate::support::{Project, tools};

/// Tells what interfaces it has.
const LOOKS: &str = "FROM {busybox}\nRUN ls /sys/class/net | tr '\\n' ' ' > /out\n";

fn service(toml: &str, dockerfile: &str) -> Project {
    Project::monorepo(&format!("members = [\"app\"]\ntags = [\"v1\"]\n{toml}")).file("app/Dockerfile", dockerfile)
}

#[test]
fn no_network_can_be_the_rule_for_every_run() {
    let project = Project::dockerfile(LOOKS);
    assert_eq!(project.image(["--network", "none"]).text("/out").trim(), "lo");
    let by_file = service("[build]\nnetwork = \"none\"\n", "FROM {busybox}\nRUN test \"$(ls /sys/class/net)\" = lo\n");
    let _ = by_file.brik(["build"]).succeeds();
    // Docker's name for what it does without the flag.
    by_file.brik(["build", "--network", "default"]).exits(1).says(&["RUN test"]);
}

#[test]
fn a_run_does_not_take_the_hosts_network_where_the_rule_is_another() {
    for network in ["none", "private"] {
        let project = service(&format!("[build]\nnetwork = \"{network}\"\n"), "FROM {busybox}\nRUN --network=host true\n");
        for run in [project.brik(["build"]).exits(1), project.brik(["check"]).exits(3)] {
            run.says(&["RUN --network=host is refused", "app/Dockerfile", "`network` in [build]", network]);
        }
        let _ = project.brik(["build", "--network", "host"]).succeeds();
    }
}

#[test]
fn variables_hold_for_one_image_without_a_brik_toml_too() {
    let project = Project::dockerfile(LOOKS);
    let build = |name: &str, value: &str| project.build([""; 0]).env(name, value);
    let _ = build("BRIK_BUILD__NETWORK", "none").succeeds();
    assert_eq!(project.built().text("/out").trim(), "lo");
    build("BRIK_BUILD__NETWORK", "nowhere").exits(2).says(&["$BRIK_BUILD__NETWORK", "nowhere"]);
    // What is about services is none's here.
    let _ = build("BRIK_SERVICES__API__TARGET", "x").succeeds();
}

#[test]
fn another_network_is_a_reason_to_run_again() {
    let project = service("", "FROM {busybox}\nRUN true\n");
    let _ = project.brik(["build"]).succeeds();
    let run = project.brik(["why", "app", "--set", "build.network=none"]).succeeds();
    assert!(run.stdout.contains("network") && run.stdout.contains("host") && run.stdout.contains("none"), "{run:?}");
}

#[test]
fn a_private_network_without_its_program_is_an_error_with_the_package() {
    let project = service("[build]\nnetwork = \"private\"\n", "FROM {busybox}\nRUN true\n");
    let run = project.brik(["build"]).env("PATH", "/nowhere").exits(1);
    run.says(&["slirp4netns", "install the package `slirp4netns`"]);
    let run = project.brik(["doctor"]).env("PATH", "/nowhere").exits(3);
    assert!(run.stdout.contains("apt-get install slirp4netns"), "{run:?}");
}

/// The address that this machine has on its network, if it has one.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: it is the route that is asked for.
    socket.connect("198.51.100.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

/// Says hello to everybody, on any address of this machine.
fn greeter() -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || listener.incoming().flatten().for_each(|mut stream| drop(stream.write_all(b"hello\n"))));
    port
}

#[test]
fn a_private_network_leads_out_but_neither_to_the_hosts_loopback_nor_to_link_local_addresses() {
    if !tools::have_slirp() {
        return;
    }
    let port = greeter();
    let mut script = format!("for host in 127.0.0.1 10.0.2.2 10.0.2.3 169.254.169.254; do nc -w 3 $host {port} < /dev/null 2>&1; done;");
    script += "cat /etc/resolv.conf; ls /sys/class/net | tr '\\n' ' ';";
    let own = own_address();
    script += &own.map(|own| format!(" nc -w 9 {own} {port} < /dev/null")).unwrap_or_default();
    let project = Project::dockerfile(&format!("FROM {{busybox}}\nRUN ({script}) > /out; true\n"));
    let said = project.image(["--network", "private"]).text("/out");
    for part in ["169.254.169.254): No route to host", "nameserver 10.0.2.3\n", "lo tap0"] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(said.matches("hello").count(), usize::from(own.is_some()), "{said}");
    // The same places by the host's network.
    let project = Project::dockerfile(&format!("FROM {{busybox}}\nRUN nc -w 9 127.0.0.1 {port} < /dev/null > /out\n"));
    assert_eq!(project.image::<&str>([]).text("/out"), "hello\n");
}

#[test]
fn a_private_network_ends_with_brik_even_by_sigkill() {
    if !tools::have_slirp() {
        return;
    }
    let project = Project::dockerfile("FROM {busybox}\nRUN echo begun; sleep 1000\n");
    let build = project.brik(["build", "--image", "localhost/app", "--progress", "plain", "--network", "private"]);
    let mut child = build.start();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().contains("│ begun")));
    let slirp: Vec<u32> = process_tree(child.id()).into_iter().filter(|pid| name(*pid).is_some_and(|name| name == "slirp4netns")).collect();
    assert_eq!(slirp.len(), 1);
    kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    child.wait().unwrap();
    let start = Instant::now();
    while slirp.iter().any(|pid| name(*pid).is_some()) {
        assert!(start.elapsed() < Duration::from_secs(60), "slirp4netns outlives brik");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Of a process that is alive.
fn name(pid: u32) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    field("State:").filter(|state| !state.starts_with('Z')).and_then(|_| field("Name:")).map(str::to_owned)
}
