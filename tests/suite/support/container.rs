//! The rights of root in an unprivileged container: Docker's capabilities, and a filter that refuses namespaces and mounts.
//!
//! The launcher is this test program itself, which runs one "test", as [`launch`], in the container's place and becomes brik there.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::thread::{CapabilitySet, CapabilitySets};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

/// Program and arguments, as JSON, for the launcher.
const COMMAND: &str = "BRIK_TEST_CONTAINER";

/// What the test harness says on stdout before the launcher becomes another program.
pub const PREAMBLE: &str = "\nrunning 1 test\n";

/// The same command, run with fewer rights.
pub fn contained(command: &Command) -> Command {
    launched(command, "launch")
}

/// The same command, run as on a kernel that has no Landlock.
pub fn without_landlock(command: &Command) -> Command {
    launched(command, "launch_without_landlock")
}

/// The same command, run as on a kernel whose Landlock has no scopes yet (before Linux 6.12).
pub fn with_old_landlock(command: &Command) -> Command {
    launched(command, "launch_with_old_landlock")
}

fn launched(command: &Command, launch: &str) -> Command {
    let text = |word: &std::ffi::OsStr| word.to_str().expect("UTF-8").to_owned();
    // A launcher in its turn takes its words from the environment.
    let launched = command.get_envs().find_map(|(name, value)| Some(format!("{COMMAND}={}", text(value.filter(|_| name == COMMAND)?))));
    let environment = launched.into_iter().flat_map(|words| ["/usr/bin/env".to_owned(), words]);
    let words = environment.chain(std::iter::once(command.get_program()).chain(command.get_args()).map(text));
    let words: Vec<String> = words.collect();
    let mut launcher = Command::new(std::env::current_exe().expect("a test program"));
    launcher.args([&format!("support::container::{launch}"), "--exact", "--ignored", "--nocapture", "--test-threads=1"]).env_clear();
    launcher.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    launcher.env(COMMAND, serde_json::to_string(&words).expect("JSON"));
    if let Some(directory) = command.get_current_dir() {
        launcher.current_dir(directory);
    }
    launcher
}

#[test]
#[ignore = "a program for the other tests"]
fn launch() {
    let Ok(words) = std::env::var(COMMAND) else { return };
    for filter in [refusing(), without_clone3()] {
        apply_filter(&filter).expect("a filter");
    }
    let kept = CapabilitySet::from_bits_retain(0xa804_25fb);
    for number in 0..=63 {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if !kept.contains(capability) && rustix::thread::remove_capability_from_bounding_set(capability).is_err() {
            break;
        }
    }
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).expect("fewer capabilities");
    become_another(&words);
}

#[test]
#[ignore = "a program for the other tests"]
fn launch_without_landlock() {
    let Ok(words) = std::env::var(COMMAND) else { return };
    let without = compile(BTreeMap::from([(libc::SYS_landlock_create_ruleset, Vec::new())]), libc::ENOSYS);
    apply_filter(&without).expect("a filter");
    become_another(&words);
}

#[test]
#[ignore = "a program for the other tests"]
fn launch_with_old_landlock() {
    let Ok(words) = std::env::var(COMMAND) else { return };
    // landlock_create_ruleset(attr, size, flags): nobody asks for the version, and knows more than a handled_access_fs.
    let is = |argument: u8, value: u64| {
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, value).expect("a condition");
        SeccompRule::new(vec![condition]).expect("a rule")
    };
    let newer = BTreeMap::from([(libc::SYS_landlock_create_ruleset, vec![is(1, 24), is(2, 1)])]);
    apply_filter(&compile(newer, libc::E2BIG)).expect("a filter");
    become_another(&words);
}

fn become_another(words: &str) {
    let words: Vec<String> = serde_json::from_str(words).expect("JSON");
    let error = Command::new(&words[0]).args(&words[1..]).env_remove(COMMAND).exec();
    panic!("{}: {error}", words[0]);
}

/// EPERM for what Docker's profile allows with CAP_SYS_ADMIN only.
fn refusing() -> BpfProgram {
    let flags = [libc::CLONE_NEWNS, libc::CLONE_NEWUSER, libc::CLONE_NEWPID, libc::CLONE_NEWNET, libc::CLONE_NEWIPC, libc::CLONE_NEWUTS];
    let namespace = |flag: libc::c_int| {
        let bit = flag as u64;
        let condition = SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(bit), bit).expect("a condition");
        SeccompRule::new(vec![condition]).expect("a rule")
    };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::from([(libc::SYS_clone, flags.map(namespace).to_vec())]);
    let calls = [
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_open_tree,
        libc::SYS_move_mount,
        libc::SYS_fsopen,
        libc::SYS_mount_setattr,
    ];
    rules.extend(calls.map(|call| (call, Vec::new())));
    compile(rules, libc::EPERM)
}

/// ENOSYS, on which the C library takes clone.
fn without_clone3() -> BpfProgram {
    compile(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), libc::ENOSYS)
}

fn compile(rules: BTreeMap<i64, Vec<SeccompRule>>, errno: i32) -> BpfProgram {
    let architecture = TargetArch::try_from(std::env::consts::ARCH).expect("a known architecture");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno.unsigned_abs()), architecture);
    filter.and_then(TryInto::try_into).expect("a filter")
}
