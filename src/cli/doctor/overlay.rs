//! An overlay, tried in the namespaces that builds use: what the brik that the doctor starts inside does.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::build::sandbox::{Overlay, handed_over};
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::image::is_whiteout;

/// Tries one in the directory that was handed over; what is wrong goes to stdout.
pub fn try_inside() -> Result<ExitCode, Failure> {
    match attempt(Path::new(OsStr::from_bytes(handed_over()))) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(wrong) => print::out(&wrong).map(|()| ExitCode::FAILURE),
    }
}

fn attempt(room: &Path) -> Result<(), String> {
    let places = ["low", "high", "upper", "work", "target"].map(|name| room.join(name));
    let done = stack(&places);
    // What the kernel makes in `work`, only root in here may remove.
    places.iter().for_each(|place| drop(fs::remove_dir_all(place)));
    done
}

fn stack([low, high, upper, work, target]: &[PathBuf; 5]) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("files of a trial cannot be written: {error}");
    [low, high, upper, work, target].into_iter().try_for_each(fs::create_dir).map_err(failed)?;
    fs::write(low.join("gone"), "x").and_then(|()| fs::write(high.join("kept"), "x")).map_err(failed)?;
    let lowers = [high.clone(), low.clone()];
    let overlay = Overlay::mount(&lowers, Some(upper), Some(work), target).map_err(|error| error.to_string())?;
    fs::remove_file(target.join("gone")).and_then(|()| fs::write(target.join("new"), "x")).map_err(failed)?;
    drop(overlay);
    let whiteout = rustix::fs::lstat(upper.join("gone")).is_ok_and(|stat| is_whiteout(&stat));
    if whiteout && upper.join("new").is_file() { Ok(()) } else { Err("an overlay does not keep what is changed in it".to_owned()) }
}
