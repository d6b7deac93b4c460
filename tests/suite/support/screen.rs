//! A terminal with brik in it: a pseudoterminal, and what a person would see there.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::ioctl_fionread;
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// How long a test waits for what it expects to see.
const PATIENCE: Duration = Duration::from_secs(30);

/// How brik ends what it draws at once: the end of a synchronized update.
const END_OF_FRAME: &str = "\x1b[?2026l";

#[must_use]
pub struct Screen {
    child: Child,
    keyboard: File,
    shown: Arc<Mutex<Shown>>,
    reader: Option<JoinHandle<()>>,
}

struct Shown {
    terminal: avt::Terminal,
    bytes: String,
}

impl Screen {
    /// `setsid` gives it the terminal as its own: Ctrl-C and changes of size are signals then, as from a shell.
    pub(super) fn start(command: &Command, columns: u16, rows: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a pseudoterminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("it is ours");
        tcsetwinsize(&master, size(columns, rows)).expect("a terminal has a size");
        let name = ptsname(&master, Vec::new()).expect("it has a name");
        let slave = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).expect("its other end");
        let slave = || slave.try_clone().expect("a file descriptor");
        let mut inside = Command::new("setsid");
        inside.arg("--ctty").arg(command.get_program()).args(command.get_args()).env_clear();
        inside.env("TERM", "xterm-256color").env("LANG", "C.UTF-8");
        inside.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(directory) = command.get_current_dir() {
            inside.current_dir(directory);
        }
        inside.stdin(slave()).stdout(slave()).stderr(slave());
        let child = inside.spawn().expect("setsid is installed");
        drop(inside);
        let terminal = avt::Terminal::with_scrollback(columns.into(), rows.into(), None).expect("it has a size");
        let shown = Arc::new(Mutex::new(Shown { terminal, bytes: String::new() }));
        let (mut output, keyboard) = (File::from(master.try_clone().unwrap()), File::from(master));
        let reader = std::thread::spawn({
            let shown = shown.clone();
            move || {
                let (mut buffer, mut rest) = (vec![0; 4096], Vec::new());
                loop {
                    // Read with the lock held: what is not in the terminal any more is shown.
                    poll(&mut [PollFd::new(&output, PollFlags::IN)], None).expect("a terminal");
                    let mut shown = shown.lock().unwrap();
                    // The end is EIO: nobody has the other end any more.
                    let Ok(n @ 1..) = output.read(&mut buffer) else { break };
                    rest.extend_from_slice(&buffer[..n]);
                    let whole = rest.utf8_chunks().next().map_or("", |chunk| chunk.valid()).to_owned();
                    rest.drain(..whole.len());
                    shown.bytes.push_str(&whole);
                    shown.terminal.feed(whole.as_str());
                }
            }
        });
        Self { child, keyboard, shown, reader: Some(reader) }
    }

    /// Makes the window another size, as a person does who drags its corner; while brik is stopped and all that it drew is shown, so that
    /// nothing is on its way to a window of the size before.
    pub fn resize(&self, columns: u16, rows: u16) {
        let group = Pid::from_child(&self.child);
        let begun = Instant::now();
        let mut done = false;
        while !done {
            assert!(begun.elapsed() < PATIENCE, "no frame comes to its end");
            kill_process_group(group, Signal::STOP).expect("it leads a group of its own");
            std::thread::sleep(Duration::from_millis(50));
            let mut shown = self.shown.lock().unwrap();
            if shown.bytes.ends_with(END_OF_FRAME) && ioctl_fionread(&self.keyboard).expect("a terminal") == 0 {
                shown.terminal.resize(columns.into(), rows.into());
                tcsetwinsize(&self.keyboard, size(columns, rows)).expect("a terminal has a size");
                done = true;
            }
            drop(shown);
            kill_process_group(group, Signal::CONT).expect("it is there");
        }
    }

    pub fn press(&self, keys: &[u8]) {
        (&self.keyboard).write_all(keys).expect("a terminal takes keys");
    }

    /// What is visible now: lines without the spaces at their end, and no empty ones at the end.
    pub fn text(&self) -> String {
        self.shown.lock().unwrap().text()
    }

    /// What is visible now, below what has scrolled away.
    pub fn history(&self) -> String {
        let shown = self.shown.lock().unwrap();
        shown.terminal.screen().all_lines().map(|line| line.text().trim_end().to_owned() + "\n").collect()
    }

    /// All that was written, with every escape sequence.
    pub fn bytes(&self) -> String {
        self.shown.lock().unwrap().bytes.clone()
    }

    /// Waits for the screen to be as `expected`, and returns it.
    #[track_caller]
    pub fn until(&self, what: &str, expected: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let text = self.text();
            if expected(&text) {
                return text;
            }
            assert!(begun.elapsed() < PATIENCE, "{what}: not on\n{text}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for the end: the exit code, and all that was written.
    pub fn written(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().expect("brik ends").code();
        self.reader.take().unwrap().join().unwrap();
        (code, self.bytes())
    }

    /// Waits for the end: the exit code, and what is left on the screen. The cursor has to be there, in the first column of a line of its own.
    #[track_caller]
    pub fn ends(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().expect("brik ends").code();
        self.reader.take().unwrap().join().unwrap();
        let shown = self.shown.lock().unwrap();
        let (cursor, text) = (shown.terminal.cursor(), shown.text());
        assert!(cursor.visible, "the cursor is hidden:\n{text}");
        assert_eq!((cursor.col, cursor.row), (0, text.lines().count()), "the cursor is elsewhere:\n{text}");
        (code, text)
    }
}

impl Shown {
    fn text(&self) -> String {
        let lines: Vec<String> = self.terminal.screen().visible_lines().map(|line| line.text().trim_end().to_owned()).collect();
        lines.join("\n").trim_end().to_owned()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 }
}
