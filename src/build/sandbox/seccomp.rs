//! The system calls that a RUN may make: Docker's default profile, resolved for Docker's default capabilities.
//!
//! `seccomp.json` is `profiles/seccomp/default.json` of Docker Engine 20.10.24 (moby), as Debian ships it: Copyright Docker, Inc.,
//! Apache License 2.0, unchanged. What has been refused since is below: io_uring and families of sockets. Calls that are newer than the
//! profile, which today's allows in part, answer ENOSYS as in an older kernel.
//! The profile's 32-bit sub-architectures are not kept: an i386 program ends with SIGSYS.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch, sock_filter,
};
use serde::Deserialize;

use super::error::SandboxError;
use super::rung::Rung;
use super::syscall_numbers::{highest, number_of};

const PROFILE: &str = include_str!("seccomp.json");

/// Docker's default capabilities (moby `oci/caps/defaults.go`).
pub(super) const CAPABILITIES: [(&str, u32); 14] = [
    ("CAP_CHOWN", 0),
    ("CAP_DAC_OVERRIDE", 1),
    ("CAP_FOWNER", 3),
    ("CAP_FSETID", 4),
    ("CAP_KILL", 5),
    ("CAP_SETGID", 6),
    ("CAP_SETUID", 7),
    ("CAP_SETPCAP", 8),
    ("CAP_NET_BIND_SERVICE", 10),
    ("CAP_NET_RAW", 13),
    ("CAP_SYS_CHROOT", 18),
    ("CAP_MKNOD", 27),
    ("CAP_AUDIT_WRITE", 29),
    ("CAP_SETFCAP", 31),
];

/// Docker has refused io_uring since 25.0: it reaches past seccomp (moby#46762).
const WITHDRAWN: [&str; 3] = ["io_uring_setup", "io_uring_enter", "io_uring_register"];

/// The families of sockets that Docker has allowed since 29.4, first and last of each range (linux/socket.h): not among them are AF_ALG
/// (38, CVE-2026-31431), AF_VSOCK (40, which reaches the host of a virtual machine) and those that are no more.
const SOCKET_FAMILIES: [(u64, u64); 8] = [(0, 11), (13, 18), (21, 22), (24, 24), (26, 33), (35, 36), (39, 39), (41, 45)];

#[derive(Deserialize)]
struct Profile {
    syscalls: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    names: Vec<String>,
    action: String,
    #[serde(default)]
    args: Option<Vec<Argument>>,
    #[serde(default)]
    includes: Conditions,
    #[serde(default)]
    excludes: Conditions,
    #[serde(default)]
    errno_ret: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

/// What an entry depends on. A minimum kernel (4.8) is not looked at: brik's overlays need 5.11.
#[derive(Default, Deserialize)]
struct Conditions {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
}

impl Entry {
    fn applies(&self, architecture: &str) -> bool {
        let granted = |cap: &String| CAPABILITIES.iter().any(|(name, _)| name == cap);
        let here = |arch: &String| arch == architecture;
        self.includes.caps.iter().all(granted)
            && (self.includes.arches.is_empty() || self.includes.arches.iter().any(here))
            && !self.excludes.caps.iter().any(granted)
            && !self.excludes.arches.iter().any(here)
    }
}

/// The filters to install for a rung, in this order: where several refuse a call, the kernel takes the errno of the last. Compiled once
/// a process (about a millisecond).
pub(super) fn filters(rung: Rung) -> Result<Vec<&'static [sock_filter]>, SandboxError> {
    static COMPILED: OnceLock<Result<[BpfProgram; 2], String>> = OnceLock::new();
    let target = TargetArch::try_from(std::env::consts::ARCH).map_err(|_| SandboxError::Architecture(std::env::consts::ARCH))?;
    let compile = || Ok([docker_default(target)?, pretend(target)?]);
    match COMPILED.get_or_init(compile) {
        Ok(_) if rung == Rung::Chroot && !may_be_installed() => Ok(Vec::new()),
        Ok([profile, _]) if rung != Rung::SingleUid => Ok(vec![profile]),
        Ok([profile, pretence]) => Ok(vec![profile, pretence]),
        Err(message) => Err(SandboxError::Filter(message.clone())),
    }
}

/// By brik itself, as on rung 3: a filter takes CAP_SYS_ADMIN, or `no_new_privs`, which set-uid programs do not survive. Where the container
/// has that already (Kubernetes: `allowPrivilegeEscalation: false`), nothing is lost.
fn may_be_installed() -> bool {
    let administers = |sets: rustix::thread::CapabilitySets| sets.effective.contains(rustix::thread::CapabilitySet::SYS_ADMIN);
    rustix::thread::no_new_privs().unwrap_or(false) || rustix::thread::capabilities(None).is_ok_and(administers)
}

fn docker_default(target: TargetArch) -> Result<BpfProgram, String> {
    let architecture = if matches!(target, TargetArch::x86_64) { "amd64" } else { "arm64" };
    let profile: Profile = serde_json::from_str(PROFILE).map_err(|error| error.to_string())?;
    let mut conditional: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let mut allowed = BTreeSet::new();
    let mut missing_on_purpose = Vec::new();
    conditional.insert(libc::SYS_socket, SOCKET_FAMILIES.into_iter().map(family).collect::<Result<_, _>>()?);
    for entry in profile.syscalls.iter().filter(|entry| entry.applies(architecture)) {
        let numbers = entry.names.iter().filter(|name| !WITHDRAWN.contains(&name.as_str())).filter_map(|name| number_of(name));
        match (entry.action.as_str(), entry.args.as_deref().unwrap_or_default(), entry.errno_ret) {
            ("SCMP_ACT_ALLOW", [], _) => allowed.extend(numbers.filter(|number| *number != libc::SYS_socket)),
            ("SCMP_ACT_ALLOW", args, _) => {
                for number in numbers {
                    conditional.entry(number).or_default().push(rule(args)?);
                }
            }
            ("SCMP_ACT_ERRNO", [], Some(errno)) if errno == libc::ENOSYS.unsigned_abs() => missing_on_purpose.extend(numbers),
            (action, _, errno) => return Err(format!("unknown action {action} {errno:?}")),
        }
    }
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let mut program = compile(conditional, refuse, SeccompAction::Allow, target)?;
    decide_by_number(&mut program, &missing_on_purpose, &allowed)?;
    Ok(program)
}

/// Puts before the conditions what the number alone decides.
///
/// A call that is newer than the profile does not exist (ENOSYS), so that programs fall back to the older one, instead of being
/// forbidden (EPERM): runc's amendment to every profile. So does clone3, whose flags a filter cannot see. The calls that are always
/// allowed are compared in ranges: the kernel tries every number when it installs a filter, which with seccompiler's one comparison a
/// number takes 2 ms a RUN.
fn decide_by_number(program: &mut BpfProgram, missing: &[i64], allowed: &BTreeSet<i64>) -> Result<(), String> {
    // seccompiler's programs begin with the check of the architecture (3 instructions) and the load of the call's number; jumps only
    // go forward, and none but that check's own crosses this point.
    const AFTER_LOAD: usize = 4;
    if !program.get(AFTER_LOAD - 1).is_some_and(|load| load.code == BPF_LD_W_ABS && load.k == 0) {
        return Err("the compiled program does not begin as expected".to_owned());
    }
    let instruction = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let number = |number: i64| u32::try_from(number).map_err(|error| error.to_string());
    let enosys = || instruction(BPF_RET_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs());

    let mut first = vec![instruction(BPF_JMP_JGT_K, 0, 1, number(highest())?), enosys()];
    for call in missing {
        first.extend([instruction(BPF_JMP_JEQ_K, 0, 1, number(*call)?), enosys()]);
    }
    let mut rest = allowed.iter().filter(|call| !missing.contains(call)).copied().peekable();
    while let Some(low) = rest.next() {
        let mut high = low;
        while let Some(next) = rest.next_if_eq(&(high + 1)) {
            high = next;
        }
        first.extend([
            instruction(BPF_JMP_JGT_K, 2, 0, number(high)?),
            instruction(BPF_JMP_JGE_K, 0, 1, number(low)?),
            instruction(BPF_RET_K, 0, 0, libc::SECCOMP_RET_ALLOW),
        ]);
    }
    program.splice(AFTER_LOAD..AFTER_LOAD, first);
    Ok(())
}

// linux/bpf_common.h
const BPF_LD_W_ABS: u16 = 0x20;
const BPF_JMP_JEQ_K: u16 = 0x15;
const BPF_JMP_JGT_K: u16 = 0x25;
const BPF_JMP_JGE_K: u16 = 0x35;
const BPF_RET_K: u16 = 0x06;

/// For a single mapped id: what would fail for lack of other ids "succeeds" without effect, as in Charliecloud, since package managers
/// take such failures as fatal.
fn pretend(target: TargetArch) -> Result<BpfProgram, String> {
    const ALWAYS: [&str; 13] = [
        "chown",
        "fchown",
        "lchown",
        "fchownat",
        "setuid",
        "setgid",
        "setreuid",
        "setregid",
        "setresuid",
        "setresgid",
        "setfsuid",
        "setfsgid",
        "setgroups",
    ];
    let mut pretended: BTreeMap<i64, Vec<SeccompRule>> =
        ALWAYS.iter().filter_map(|name| number_of(name)).map(|number| (number, Vec::new())).collect();
    for (name, mode_argument) in [("mknod", 1), ("mknodat", 2)] {
        let Some(number) = number_of(name) else { continue };
        let device = |kind: u32| {
            let mask = SeccompCmpOp::MaskedEq(u64::from(libc::S_IFMT));
            let is_kind = SeccompCondition::new(mode_argument, SeccompCmpArgLen::Dword, mask, u64::from(kind));
            is_kind.and_then(|condition| SeccompRule::new(vec![condition])).map_err(|error| error.to_string())
        };
        pretended.insert(number, vec![device(libc::S_IFCHR)?, device(libc::S_IFBLK)?]);
    }
    compile(pretended, SeccompAction::Allow, SeccompAction::Errno(0), target)
}

fn compile(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matched: SeccompAction,
    target: TargetArch,
) -> Result<BpfProgram, String> {
    SeccompFilter::new(rules, otherwise, matched, target).and_then(BpfProgram::try_from).map_err(|error| error.to_string())
}

/// Every argument that the profile looks at is one of 32 bits for the kernel, whatever else the register holds.
fn rule(args: &[Argument]) -> Result<SeccompRule, String> {
    let condition = |argument: &Argument| {
        let (operator, value) = match argument.op.as_str() {
            "SCMP_CMP_EQ" => (SeccompCmpOp::Eq, argument.value),
            "SCMP_CMP_NE" => (SeccompCmpOp::Ne, argument.value),
            "SCMP_CMP_MASKED_EQ" => (SeccompCmpOp::MaskedEq(argument.value), argument.value_two),
            other => return Err(format!("unknown comparison {other}")),
        };
        SeccompCondition::new(argument.index, SeccompCmpArgLen::Dword, operator, value).map_err(|error| error.to_string())
    };
    let conditions = args.iter().map(condition).collect::<Result<_, _>>()?;
    SeccompRule::new(conditions).map_err(|error| error.to_string())
}

fn family((first, last): (u64, u64)) -> Result<SeccompRule, String> {
    let limit = |operator, value| SeccompCondition::new(0, SeccompCmpArgLen::Dword, operator, value);
    let within = limit(SeccompCmpOp::Ge, first).and_then(|first| Ok(vec![first, limit(SeccompCmpOp::Le, last)?]));
    within.and_then(SeccompRule::new).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a filter answers to a call on this architecture with the given arguments: a tiny interpreter of the instructions that
    /// seccompiler emits.
    fn answer(program: &[sock_filter], call: i64, args: [u64; 3]) -> u32 {
        let audit = match std::env::consts::ARCH {
            "x86_64" => 0xc000_003e,
            _ => 0xc000_00b7,
        };
        let word = |offset: u32| match offset {
            0 => u32::try_from(call).unwrap(),
            4 => audit,
            offset => {
                let argument = args[(offset as usize - 16) / 8];
                if offset % 8 == 0 { argument as u32 } else { (argument >> 32) as u32 }
            }
        };
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let instruction = &program[at];
            at += 1;
            let jump = |taken| usize::from(if taken { instruction.jt } else { instruction.jf });
            match instruction.code {
                0x20 => accumulator = word(instruction.k),
                0x54 => accumulator &= instruction.k,
                0x05 => at += instruction.k as usize,
                0x15 => at += jump(accumulator == instruction.k),
                0x25 => at += jump(accumulator > instruction.k),
                0x35 => at += jump(accumulator >= instruction.k),
                0x06 => return instruction.k,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs();
    const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
    const SUCCESS: u32 = libc::SECCOMP_RET_ERRNO;

    #[test]
    fn the_profile_answers_as_dockers_does() {
        let filters = filters(Rung::Root).unwrap();
        let namespace = u64::from(libc::CLONE_NEWUSER.unsigned_abs());
        for (call, args, expected) in [
            (libc::SYS_read, [0; 3], ALLOW),
            (libc::SYS_ptrace, [0; 3], ALLOW),
            (libc::SYS_chroot, [0; 3], ALLOW),
            (libc::SYS_unshare, [0; 3], EPERM),
            (libc::SYS_mount, [0; 3], EPERM),
            (libc::SYS_keyctl, [0; 3], EPERM),
            (libc::SYS_bpf, [0; 3], EPERM),
            (libc::SYS_io_uring_setup, [0; 3], EPERM),
            (libc::SYS_socket, [1, 1, 0], ALLOW),
            (libc::SYS_socket, [17, 3, 0], ALLOW),
            (libc::SYS_socket, [38, 5, 0], EPERM),
            (libc::SYS_socket, [40, 1, 0], EPERM),
            (libc::SYS_socket, [46, 1, 0], EPERM),
            (libc::SYS_clone, [17, 0, 0], ALLOW),
            (libc::SYS_clone, [namespace | 17, 0, 0], EPERM),
            (libc::SYS_clone3, [0; 3], ENOSYS),
            (libc::SYS_personality, [8, 0, 0], ALLOW),
            (libc::SYS_personality, [0xffff_ffff, 0, 0], ALLOW),
            (libc::SYS_personality, [0x40_0000, 0, 0], EPERM),
            (highest() + 1, [0; 3], ENOSYS),
            (0x4000_0000 | libc::SYS_read, [0; 3], ENOSYS),
        ] {
            assert_eq!(answer(filters[0], call, args), expected, "call {call} {args:x?}");
        }
        assert_eq!(filters.len(), 1);
    }

    #[test]
    fn every_number_that_the_profile_allows_is_allowed_and_no_other() {
        let program = filters(Rung::Root).unwrap()[0];
        let profile: Profile = serde_json::from_str(PROFILE).unwrap();
        let architecture = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
        let always = |entry: &&Entry| {
            entry.action == "SCMP_ACT_ALLOW" && entry.args.as_ref().is_none_or(Vec::is_empty) && entry.applies(architecture)
        };
        let names = profile.syscalls.iter().filter(always).flat_map(|entry| &entry.names);
        let expected: BTreeSet<i64> =
            names.filter(|name| !WITHDRAWN.contains(&name.as_str()) && *name != "socket").filter_map(|name| number_of(name)).collect();
        // With every bit of the arguments set, no conditional call but `personality(0xffffffff)` passes.
        let passes = |call: &i64| answer(program, *call, [u64::MAX; 3]) == ALLOW && *call != libc::SYS_personality;
        let allowed: BTreeSet<i64> = (0..=highest() + 50).filter(passes).collect();
        assert_eq!(allowed, expected);
        assert!(expected.len() > 200);
    }

    #[test]
    fn a_single_id_pretends_only_what_needs_other_ids() {
        let filters = filters(Rung::SingleUid).unwrap();
        for (call, args, expected) in [
            (libc::SYS_fchownat, [0, 0, 33], SUCCESS),
            (libc::SYS_setgroups, [0; 3], SUCCESS),
            (libc::SYS_mknodat, [0, 0, u64::from(libc::S_IFCHR | 0o600)], SUCCESS),
            (libc::SYS_mknodat, [0, 0, u64::from(libc::S_IFIFO | 0o600)], ALLOW),
            (libc::SYS_openat, [0; 3], ALLOW),
        ] {
            assert_eq!(answer(filters[1], call, args), expected, "call {call} {args:x?}");
        }
    }
}
