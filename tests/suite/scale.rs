//! A monorepo of many services in one run, with few open files and bounded memory.

use std::process::Command;

use crate::support::{Project, Registry, trials};

/// Of brik, in KiB, whatever the number of services: what 500 of them take, twice.
const ADDRESS_SPACE: u64 = 4 << 20;
const OPEN_FILES: u64 = 192;

#[test]
fn many_services_are_pushed_in_one_run_with_few_open_files_and_requests() {
    let services = trials(150);
    let registry = Registry::start();
    let project =
        Project::empty().file("brik.toml", format!("registry = \"{}/many\"\nmembers = [\"*\"]\ntags = [\"v1\"]\n", registry.host()));
    for number in 0..services {
        let name = format!("s{number:04}");
        let dockerfile = "FROM scratch AS shared\nCOPY assets /assets/\nFROM scratch\nCOPY --from=shared /assets /assets\nCOPY src /src\n";
        project.write(&format!("{name}/Dockerfile"), dockerfile);
        project.write(&format!("{name}/assets"), "of all\n");
        project.write(&format!("{name}/src/file"), format!("of {name}\n"));
    }
    let mut limited = Command::new("sh");
    limited.args(["-c", &format!("ulimit -n {OPEN_FILES}; ulimit -v {ADDRESS_SPACE}; exec \"$@\""), "sh"]);
    let run = project.brik(["build", "--push", "--progress", "json"]).under(limited).succeeds();
    assert_eq!(run.digests().len(), services);
    let requests = registry.requests().len();
    println!("{services} services with {OPEN_FILES} open files: {requests} requests, {:.1} a service", requests as f64 / services as f64);
    assert!(requests <= services * 36, "{requests}");
}
