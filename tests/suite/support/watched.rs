//! Runs that could go on for ever or take all memory, and must not.

use std::fs;
use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use super::{Brik, Run};

/// Far more than any of them takes, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(300);

impl Brik {
    /// Runs it, and ends it with a panic where it does not end by itself. With the most memory (bytes, VmHWM of proc(5)) that it, or a
    /// process that it has started, was seen to have.
    #[track_caller]
    pub fn watched(self) -> (Run, u64) {
        let mut child = self.start();
        fn reader(mut from: impl Read + Send + 'static) -> thread::JoinHandle<String> {
            thread::spawn(move || {
                let mut bytes = Vec::new();
                from.read_to_end(&mut bytes).expect("a pipe can be read");
                String::from_utf8(bytes).expect("brik writes UTF-8")
            })
        }
        let out = reader(child.stdout.take().expect("a pipe"));
        let err = reader(child.stderr.take().expect("a pipe"));
        let (began, mut most) = (Instant::now(), 0);
        let status = loop {
            most = most.max(peak(child.id()));
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                break status;
            }
            if began.elapsed() > PATIENCE {
                let _ = child.kill();
                panic!("brik did not end");
            }
            thread::sleep(Duration::from_millis(5));
        };
        let text = |reader: thread::JoinHandle<String>| reader.join().expect("a reader ends");
        let run = Run { code: status.code(), stdout: text(out), stderr: text(err) };
        assert!(!run.stderr.contains("panicked"), "brik panicked:\n{}", run.stderr);
        (run, most)
    }
}

/// Of a process and all below it.
fn peak(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<u64>().ok());
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let children = threads.map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default()).collect::<String>();
    let below = children.split_whitespace().filter_map(|id| id.parse().ok()).map(peak);
    below.chain([kib.unwrap_or(0) * 1024]).max().unwrap_or(0)
}
