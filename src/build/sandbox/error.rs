//! What can go wrong between "run this" and the command's own exit code.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use super::refusal::Refusal;

#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Rung 4: no namespaces for this process; the message names the missing right and the fix.
    #[error("cannot create the sandbox's namespaces: {0}")]
    Refused(Refusal),
    #[error("cannot start brik again inside its sandbox: {action}: {source}")]
    Respawn { action: &'static str, source: io::Error },
    #[error("cannot {action} {path:?}: {source}")]
    Mount { action: &'static str, path: PathBuf, source: io::Error },
    #[error(
        "cannot make the device files of a RUN: {0} (without namespaces they have to be made: start brik's container with \
         `--cap-add=MKNOD`, and put the store on a file system without `nodev`)"
    )]
    Devices(Errno),
    #[error(
        "`RUN --network=none` needs a network namespace, which the container that brik runs in refuses: run this build where namespaces are \
         allowed, or remove the option"
    )]
    NetworkNone,
    #[error(
        "`network = \"private\"` needs a network namespace, which the container that brik runs in refuses: run this build where namespaces \
         are allowed, or with `network = \"host\"`"
    )]
    NetworkPrivate,
    #[error(
        "`network = \"private\"` is not to be had here: a RUN sees the processes of this container in /proc, a part of which is covered, and \
         before Linux 6.12 slirp4netns would be open to it: build with `network = \"host\"`, or start the container with `--security-opt \
         systempaths=unconfined` (Podman: `--security-opt unmask=ALL`)"
    )]
    NetworkSeen,
    #[error(
        "`network = \"private\"` needs slirp4netns, which cannot be started: {0} (install the package `slirp4netns`, or build with `network = \"host\"`)"
    )]
    Slirp(io::Error),
    #[error(
        "slirp4netns cannot give a RUN its network: {0} (/dev/net/tun must be there and open to who runs brik, as with `modprobe tun` and \
         mode 0666; in a container `--device=/dev/net/tun`)"
    )]
    Uplink(String),
    #[error("mount target {} is a {is} in the image, and the mount needs a {needs}", target.display())]
    MountTarget { target: PathBuf, is: &'static str, needs: &'static str },
    #[error("mount target {} leads to the root directory, on which nothing can be mounted", .0.display())]
    MountRoot(PathBuf),
    #[error("mount target {} is in /proc, which is the sandbox's own", .0.display())]
    MountInProc(PathBuf),
    #[error(
        "mount target {} leads to {}, which the image does not have, through a link that is mounted before: name the place itself",
        target.display(), place.display()
    )]
    MountElsewhere { target: PathBuf, place: PathBuf },
    #[error("cannot mount an overlay of {lowers} layers on {target:?}: {source}{hint}")]
    Overlay { target: PathBuf, lowers: usize, source: io::Error, hint: &'static str },
    #[error("{0} layers are too many for an overlay: at most 500")]
    TooManyLayers(usize),
    #[error(
        "another process still holds a file of the root of this RUN open, which has ended: a RUN must not hand an open file of its root to \
         another RUN, as through a socket in a cache mount"
    )]
    StillWritten,
    #[error("cannot {action} for the sandbox: {source}")]
    Setup { action: &'static str, source: io::Error },
    #[error("cannot {step} inside the sandbox: {source}")]
    Child { step: &'static str, source: Errno },
    #[error("working directory {path:?}: {source}")]
    WorkingDirectory { path: PathBuf, source: Errno },
    /// The texts are runc's, which people search for.
    #[error("exec: {0:?}: executable file not found in $PATH")]
    ExecutableNotFound(String),
    #[error("exec {program:?}: {source}{hint}")]
    Exec { program: String, source: Errno, hint: &'static str },
    #[error("the {0} of the command contains a NUL byte")]
    NulByte(&'static str),
    #[error("the command is empty")]
    EmptyCommand,
    #[error("unable to find user {0:?}: no matching entry in the image's /etc/passwd")]
    UnknownUser(String),
    #[error("unable to find group {0:?}: no matching entry in the image's /etc/group")]
    UnknownGroup(String),
    #[error("too many levels of symbolic links in {0:?}")]
    SymlinkLoop(PathBuf),
    #[error("no system call filter for the architecture {0:?}: brik's sandbox knows x86_64 and aarch64")]
    Architecture(&'static str),
    #[error("the embedded system call filter is broken: {0}")]
    Filter(String),
    #[error("cancelled")]
    Cancelled,
}
