//! RUNs on a busybox image, on whatever rung this machine gives.

use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use super::harness::{Room, in_sandbox, say, stdout};
use super::*;

/// Declares tests that get a fresh [`Room`] inside the sandbox.
macro_rules! sandbox_tests {
    ($($(#[$attribute:meta])* fn $name:ident($room:ident) $body:block)*) => {$(
        #[test]
        $(#[$attribute])*
        fn $name() {
            in_sandbox(concat!("build::sandbox::tests::", stringify!($name)), |rung| {
                if let Some($room) = Room::new(rung) $body
            });
        }
    )*};
}

sandbox_tests! {
    fn exit_codes_and_signals_are_those_of_a_shell(room) {
        for (script, code, signal) in [("true", 0, None), ("exit 7", 7, None), ("sh -c 'kill -TERM $$'; exit $?", 143, None)] {
            let outcome = say(&room.shell(script)).unwrap().outcome;
            assert_eq!((outcome.code, outcome.signal), (code, signal), "{script}");
        }
        let outcome = say(&room.spec(&["sh", "-c", "setsid sh -c 'kill -9 -1'; sleep 5"])).unwrap().outcome;
        assert_eq!(outcome.signal, None, "the first process of a namespace is out of its own reach");
    }

    fn megabytes_of_both_streams_arrive_whole_and_labelled(room) {
        let said = say(&room.shell("yes out | head -c 3000000 & yes errr | head -c 4000000 >&2; wait")).unwrap();
        assert_eq!((said.stdout.len(), said.stderr.len()), (2_999_999, 3_999_999));
        assert!(said.stdout.lines().all(|line| line == "out") && said.stderr.lines().all(|line| line == "errr"));
    }

    fn the_environment_is_the_given_one_and_home(room) {
        let mut spec = room.spec(&["env"]);
        spec.env = vec![(b"PATH".to_vec(), b"/bin".to_vec()), (b"A".to_vec(), b"b c".to_vec())];
        assert_eq!(stdout(&spec), "PATH=/bin\nA=b c\nHOME=/root");
        spec.env.push((b"HOME".to_vec(), b"/x".to_vec()));
        assert_eq!(stdout(&spec), "PATH=/bin\nA=b c\nHOME=/x");
    }

    fn a_user_has_its_ids_groups_and_no_capabilities(room) {
        let mut spec = room.shell("id -u; id -g; id -G; grep -E 'Cap(Prm|Eff|Amb)' /proc/self/status | tr -d '\\t' | tr '\\n' ' '; echo out > /dev/stdout");
        spec.user = resolve_user(&spec.root, "app").unwrap();
        let said = stdout(&spec);
        let expected = "1000\n1001\n1001 44\nCapPrm:0000000000000000 CapEff:0000000000000000 CapAmb:0000000000000000 out";
        if room.rung == Rung::SingleUid {
            assert!(said.starts_with("0\n0\n"), "{said}");
        } else {
            assert!(said.starts_with(expected), "{said}");
        }
    }

    fn root_has_dockers_capabilities_and_filter(room) {
        let script = "grep -E '^(Cap|Seccomp:|NoNewPrivs)' /proc/self/status | tr -d '\\t'";
        // All but CAP_NET_RAW, which would reach into the network of the host.
        for (network, sets) in [(Network::Host, "a80405fb"), (Network::None, "a80425fb")] {
            let mut spec = room.shell(script);
            spec.network = network;
            let expected = format!(
                "CapInh:0000000000000000\nCapPrm:00000000{sets}\nCapEff:00000000{sets}\nCapBnd:00000000{sets}\n\
                 CapAmb:0000000000000000\nNoNewPrivs:0\nSeccomp:2"
            );
            assert_eq!(stdout(&spec), expected);
        }
    }

    fn namespaces_and_mounts_are_refused(room) {
        for script in ["unshare -U true", "unshare -m true", "mount -t tmpfs none /tmp"] {
            let said = say(&room.shell(script)).unwrap();
            assert_ne!(said.outcome.code, 0, "{script}: {said:?}");
            assert!(said.stderr.contains("not permitted") || said.stderr.contains("denied"), "{script}: {said:?}");
        }
    }

    fn the_working_directory_must_exist(room) {
        let mut spec = room.spec(&["pwd"]);
        spec.cwd = "/home/app".into();
        assert_eq!(stdout(&spec), "/home/app");
        spec.cwd = "/nowhere".into();
        assert!(matches!(say(&spec), Err(SandboxError::WorkingDirectory { path, .. }) if path == Path::new("/nowhere")));
    }

    fn neither_working_directory_nor_program_is_a_descriptor_of_brik(room) {
        let host = fs::File::open("/bin").unwrap();
        let link = format!("/proc/self/fd/{}", host.as_raw_fd());
        symlink(&link, room.overlay.path().join("tmp/link")).unwrap();
        for directory in [link.as_str(), "/tmp/link"] {
            let mut spec = room.spec(&["pwd"]);
            spec.cwd = directory.into();
            assert!(matches!(say(&spec), Err(SandboxError::WorkingDirectory { .. })), "{directory}");
            let error = say(&room.spec(&[&format!("{directory}/sh"), "-c", "true"])).unwrap_err();
            assert!(matches!(error, SandboxError::Exec { .. }), "{directory}: {error}");
        }
    }

    fn standard_input_is_not_the_host_s_null_device(room) {
        let changed = || fs::metadata("/dev/null").map(|metadata| (metadata.ctime(), metadata.ctime_nsec())).unwrap();
        let before = changed();
        say(&room.shell("chmod 666 /dev/stdin")).unwrap();
        assert_eq!(changed(), before);
    }

    fn a_run_that_forks_without_end_ends(room) {
        let mut spec = room.shell("i=0; while [ $i -lt 20000 ]; do sleep 60 & i=$((i + 1)); done");
        spec.processes = 64;
        if !limits::Limits::of(spec.rung, spec.processes).count_processes() {
            return println!("skipped: this kernel counts no processes on this rung");
        }
        let said = say(&spec).unwrap();
        assert!(said.outcome.code == 2 && said.stderr.contains("can't fork: Resource temporarily unavailable"), "{said:?}");
        assert!(said.outcome.no_process && said.outcome.exhausted.is_none(), "{said:?}");
        assert_eq!(stdout(&room.shell("echo next")), "next");
    }

    fn a_run_that_takes_all_memory_ends_at_its_limit(room) {
        let mut spec = room.shell("head -c 300000000 /dev/zero | tail -c 300000000 | wc -c; echo survived");
        spec.memory = Some(64 << 20);
        let said = say(&spec).unwrap();
        if said.outcome.memory_unlimited {
            return println!("skipped: no right to make control groups");
        }
        assert!(said.outcome.exhausted == Some(Limit::Memory) && !said.stdout.contains("300000000"), "{said:?}");
        assert_eq!(stdout(&room.shell("echo next")), "next");
    }

    fn the_kernel_that_needs_memory_takes_a_run_before_brik(room) {
        let own: i32 = fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim().parse().unwrap();
        let score: i32 = stdout(&room.shell("cat /proc/self/oom_score_adj")).parse().unwrap();
        assert!(score > own || own == 1000, "{score} in the RUN, {own} outside");
    }

    fn a_command_that_cannot_start_says_why(room) {
        fs::write(room.overlay.path().join("tmp/text"), "no program").unwrap();
        fs::write(room.overlay.path().join("tmp/script"), "#!/no/such/interpreter\n").unwrap();
        fs::set_permissions(room.overlay.path().join("tmp/script"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        for (argv, text) in [
            ("foo", "exec: \"foo\": executable file not found in $PATH"),
            ("/bin/foo", "exec \"/bin/foo\": No such file or directory (os error 2)"),
            ("/tmp/text", "exec \"/tmp/text\": Permission denied (os error 13)"),
            ("/tmp/script", "exec \"/tmp/script\": No such file or directory (os error 2) (the file exists: its interpreter does not)"),
        ] {
            assert_eq!(say(&room.spec(&[argv])).unwrap_err().to_string(), text);
        }
    }

    fn every_kind_of_mount_is_there_and_leaves_nothing_behind(room) {
        let host = room.directory.path().join("host");
        fs::create_dir_all(host.join("cache")).unwrap();
        fs::write(host.join("file"), "bound").unwrap();
        let access = Access { mode: 0o440, uid: if room.rung == Rung::SingleUid { 0 } else { 1000 }, gid: 0 };
        let mut spec = room.shell(
            "set -e; cat /mnt/file /run/secrets/key; stat -c %a:%u /run/secrets/key; touch /var/cache/x/made; echo t > /scratch/t
             stat -c %a /scratch; ! touch /mnt/file 2>/dev/null; cat /var/cache/x/inner/secret; echo done",
        );
        spec.mounts = vec![
            SandboxMount::Bind { source: host.join("file"), target: "/mnt/file".into(), read_only: true },
            SandboxMount::Bind { source: host.join("cache"), target: "/var/cache/x".into(), read_only: false },
            SandboxMount::Tmpfs { target: "/scratch".into(), size: Some(1 << 20), mode: Some(0o700) },
            SandboxMount::Secret { bytes: b"s3cret\n".to_vec(), target: "/run/secrets/key".into(), access },
            SandboxMount::Secret { bytes: b"nested\n".to_vec(), target: "/var/cache/x/inner/secret".into(), access: Access::SECRET },
        ];
        let text = stdout(&spec);
        assert_eq!(text, format!("bounds3cret\n440:{}\n700\nnested\ndone", access.uid));
        assert!(host.join("cache/made").exists());
        assert!(room.left_behind().is_empty(), "{:?}", room.left_behind());
        let upper = room.directory.path().join("upper");
        for stub in ["mnt", "run", "var", "scratch", "proc", "sys", "dev", "etc/hosts"] {
            assert!(!upper.join(stub).exists(), "{stub}");
        }
        assert!(!format!("{:?}", spec.mounts).contains("115"), "the secret's bytes in a log");
    }

    fn an_agents_socket_has_the_access_that_was_asked_for(room) {
        let agent = room.directory.path().join("agent.sock");
        let _listening = UnixListener::bind(&agent).unwrap();
        let mut spec = room.shell("stat -c %F:%a:%u /run/agent");
        let uid = if room.rung == Rung::SingleUid { 0 } else { 1000 };
        spec.mounts = vec![SandboxMount::SshAgent { agent, target: "/run/agent".into(), access: Access { mode: 0o640, uid, gid: 0 } }];
        assert_eq!(stdout(&spec), format!("socket:640:{uid}"));
        assert!(room.left_behind().is_empty(), "{:?}", room.left_behind());
    }

    fn certificates_of_the_host_cover_the_images_only_during_the_run(room) {
        let bundle = room.directory.path().join("ca.pem");
        fs::write(&bundle, "corporate").unwrap();
        let mut spec = room.shell("cat /etc/ssl/certs/ca-certificates.crt");
        spec.ca_certs = Some(bundle);
        assert_eq!(stdout(&spec), "corporate");
        assert!(!room.directory.path().join("upper/etc/ssl").exists());
    }

    fn host_name_and_hosts_are_the_sandboxs_own(room) {
        let mut spec = room.shell("hostname; cat /etc/hosts; touch /etc/hosts 2>/dev/null || echo read-only");
        spec.extra_hosts = vec![("db.local".into(), Ipv4Addr::new(10, 1, 2, 3).into())];
        let expected = "buildkitsandbox\n127.0.0.1\tlocalhost buildkitsandbox\n::1\tlocalhost ip6-localhost ip6-loopback\n10.1.2.3\tdb.local\nread-only";
        assert_eq!(stdout(&spec), expected);
    }

    fn without_network_only_loopback_is_there_and_up(room) {
        let mut spec = room.shell("ls /sys/class/net 2>/dev/null; ip -o link | wc -l; ifconfig lo | grep -c UP");
        spec.network = Network::None;
        assert_eq!(stdout(&spec).lines().collect::<Vec<_>>()[..], ["lo", "1", "1"]);
    }

    fn the_command_is_process_one_and_sees_nobody_else(room) {
        let outcome = say(&room.shell("echo $$; ls /proc | grep -c '^[0-9]*$'")).unwrap();
        if outcome.outcome.shared_proc {
            return println!("skipped: /proc is shared here");
        }
        let numbers: Vec<&str> = outcome.stdout.lines().collect();
        assert_eq!(numbers[0], "1");
        assert!(numbers[1].parse::<u32>().unwrap() <= 3, "{outcome:?}");
    }

    fn a_background_process_does_not_outlive_its_run(room) {
        let shared = room.directory.path().join("shared");
        fs::create_dir(&shared).unwrap();
        let mut spec = room.shell("setsid sh -c 'while true; do echo x >> /shared/beat; sleep 0.05; done' & sleep 0.3; exit 3");
        spec.mounts = vec![SandboxMount::Bind { source: shared.clone(), target: "/shared".into(), read_only: false }];
        let start = Instant::now();
        assert_eq!(say(&spec).unwrap().outcome.code, 3);
        assert!(start.elapsed() < Duration::from_secs(20), "waited for the orphan");
        let size = || fs::metadata(shared.join("beat")).unwrap().len();
        let before = size();
        std::thread::sleep(Duration::from_millis(300));
        assert!(before > 0 && size() == before);
    }

    fn raising_the_flag_ends_the_whole_tree_at_once(room) {
        let flag = CancelFlag::new().unwrap();
        let spec = room.shell("echo ready; setsid sleep 100 & sleep 100");
        let mut raised = None;
        let mut cancel_when_ready = |_, _: &[u8]| {
            raised = Some(Instant::now());
            flag.cancel();
        };
        let error = run(&spec, &mut cancel_when_ready, &flag).unwrap_err();
        assert!(matches!(error, SandboxError::Cancelled), "{error}");
        assert!(raised.unwrap().elapsed() < Duration::from_secs(30));
        assert!(matches!(run(&spec, &mut |_, _| {}, &flag), Err(SandboxError::Cancelled)), "the next one does not start");
    }

    fn brik_leaks_no_descriptor_and_standard_input_is_empty_or_given(room) {
        let _open = fs::File::open("/etc/passwd").unwrap();
        // The listing itself is the fourth.
        assert_eq!(stdout(&room.shell("ls /proc/self/fd | tr '\\n' ' '; cat")), "0 1 2 3");
        let mut spec = room.shell("cat; echo x >&0 2>/dev/null || echo closed");
        spec.stdin = Some(b"given\n".to_vec());
        assert!(stdout(&spec).starts_with("given"));
    }

    fn dangerous_paths_are_covered_and_devices_work(room) {
        let script = "cat /proc/timer_list | wc -c; ls /sys/firmware | wc -l; ls /proc/acpi 2>/dev/null | wc -l; echo x 2>/dev/null > /proc/sys/kernel/hostname \
                      || echo refused; mkdir /sys/x 2>/dev/null || echo refused; echo gone > /dev/null; head -c 4 /dev/zero | wc -c; \
                      test -c /dev/ptmx && test -d /dev/mqueue && readlink /dev/stdout; df -k /dev/shm | tail -1 | awk '{print $2}'";
        assert_eq!(stdout(&room.shell(script)), "0\n0\n0\nrefused\nrefused\n4\n/proc/self/fd/1\n65536");
    }

    fn the_hosts_files_and_environment_are_out_of_sight(room) {
        assert_eq!(stdout(&room.shell("ls / | tr '\\n' ' '")), "bin dev etc home proc sys tmp");
        // Of the processes that can be read at all, none has more than the command's environment.
        let environments = say(&room.shell("exec env -i cat /proc/[0-9]*/environ 2>/dev/null")).unwrap().stdout ;
        assert_eq!(environments, "");
        let host = room.directory.path().to_string_lossy().into_owned();
        let mounts = stdout(&room.shell("awk '{print $5}' /proc/self/mountinfo"));
        assert!(!mounts.contains(&host), "{mounts}");
    }

    fn owners_are_kept_or_pretended(room) {
        let said = say(&room.shell("touch /tmp/f && chown 33:33 /tmp/f && stat -c %u /tmp/f")).unwrap();
        let expected = if room.rung == Rung::SingleUid { "0" } else { "33" };
        assert_eq!(said.stdout, expected, "{said:?}");
    }

    fn a_tmpfs_reads_as_under_buildkit(room) {
        let mut spec = room.shell("grep -E '/scratch|/dev/shm' /proc/mounts");
        spec.mounts = vec![SandboxMount::Tmpfs { target: "/scratch".into(), size: Some(128 << 20), mode: None }];
        let said = stdout(&spec);
        // Below a user namespace the kernel adds whose it is.
        assert!(said.contains("tmpfs /scratch tmpfs rw,nosuid,relatime,size=131072k"), "{said}");
        assert!(said.contains("shm /dev/shm tmpfs rw,nosuid,nodev,noexec,relatime,size=65536k"), "{said}");
        spec.mounts = vec![SandboxMount::Tmpfs { target: "/dev/shm".into(), size: Some(128 << 20), mode: None }];
        let said = stdout(&spec);
        assert!(said.starts_with("tmpfs /dev/shm tmpfs rw,nosuid,relatime,size=131072k") && said.lines().count() == 1, "{said}");
    }

    fn device_files_that_a_run_makes_open_nothing(room) {
        let mut spec = room.shell("for d in /tmp /dev /scratch; do mknod $d/made c 1 3; head -c 1 $d/made; done; true");
        spec.mounts = vec![SandboxMount::Tmpfs { target: "/scratch".into(), size: None, mode: None }];
        let said = say(&spec).unwrap();
        if room.rung == Rung::Root {
            assert_eq!(said.stderr.matches("made: Permission denied").count(), 3, "{said:?}");
        } else {
            assert!(said.stderr.contains("mknod: /tmp/made: Operation not permitted") || room.rung == Rung::SingleUid, "{said:?}");
        }
    }

    fn an_image_whose_proc_is_a_link_is_refused(room) {
        symlink("tmp", room.overlay.path().join("proc")).unwrap();
        assert!(matches!(say(&room.spec(&["true"])), Err(SandboxError::Mount { action: "mount on", .. })));
    }

    fn a_mount_point_restores_the_times_of_its_parent(room) {
        let times = |path: &str| {
            let metadata = fs::metadata(room.overlay.path().join(path)).unwrap();
            (metadata.mtime(), metadata.mtime_nsec())
        };
        let before = (times("etc"), times(""));
        stdout(&room.spec(&["true"]));
        assert_eq!((times("etc"), times("")), before);
    }

    fn runs_go_on_side_by_side(room) {
        let rooms: Vec<Room> = (0..6).map(|_| Room::new(room.rung).unwrap()).collect();
        std::thread::scope(|scope| {
            let run = |room: &Room| (0..5).for_each(|_| assert_eq!(stdout(&room.shell("echo $$; sleep 0.02")), "1"));
            let running: Vec<_> = rooms.iter().map(|room| scope.spawn(move || run(room))).collect();
            for run in running {
                run.join().unwrap();
            }
        });
    }
}
