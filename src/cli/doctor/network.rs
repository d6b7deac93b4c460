//! What `network = "private"` in `[build]` needs: slirp4netns, and the device that it works with.

use super::check::Check;

const NAME: &str = "private network";
const PROGRAM: &str = "slirp4netns";
const DEVICE: &str = "/dev/net/tun";

/// `path` is `$PATH`.
pub fn check(path: &str) -> Check {
    let Some(program) = std::env::split_paths(path).map(|directory| directory.join(PROGRAM)).find(|file| file.is_file()) else {
        let found = format!("{PROGRAM} is not installed, and `network = \"private\"` in [build] needs it");
        return Check::failed(NAME, found).fix(format!("sudo apt-get install {PROGRAM}"));
    };
    match std::fs::OpenOptions::new().read(true).write(true).open(DEVICE) {
        Ok(_) => Check::ok(NAME, format!("{}, and {DEVICE} can be opened", program.display())),
        Err(error) => {
            let fix = match error.kind() {
                std::io::ErrorKind::PermissionDenied => format!("sudo chmod 666 {DEVICE}"),
                _ => format!("sudo modprobe tun; in a container, start it with `--device={DEVICE}`"),
            };
            Check::failed(NAME, format!("{PROGRAM} needs {DEVICE}: {error}")).fix(fix)
        }
    }
}
