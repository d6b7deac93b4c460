//! The ladder of rights that a build can run with (design §6). Its first rung is that of root and of users with subordinate ids.

use std::fmt;

/// How this process came by its namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// Real root: a mount namespace is enough.
    Root,
    /// A user namespace with the user's subordinate ids: files have all their owners.
    UserNamespace,
    /// A user namespace with one id: every file belongs to root, and changes of owner are accepted without effect.
    SingleUid,
    /// Root without the right to make namespaces or mounts, as in an unprivileged container: chroot(2), and layers found by comparison.
    Chroot,
}

impl Rung {
    /// What the user loses on this rung, and how to climb.
    pub const fn notice(self) -> Option<&'static str> {
        match self {
            Self::Root | Self::UserNamespace => None,
            Self::SingleUid => Some(
                "no subordinate ids: file owners are not kept and USER is ignored; install `uidmap` (newuidmap) and run \
                 `sudo usermod --add-subuids 200000-265535 --add-subgids 200000-265535 $USER`",
            ),
            Self::Chroot => Some(
                "no namespaces in this container: a RUN is kept apart by its root directory alone, which root can leave. It sees the container's processes and \
                 network, /proc has a few files and /sys none, read-only mounts can be written to, a secret is a file on the store's disk while its RUN \
                 lasts, and there is no --network=none. Build only what you trust, or start the container with `--security-opt \
                 seccomp=unconfined --security-opt apparmor=unconfined` (Kubernetes: `seccompProfile: {type: Unconfined}`)",
            ),
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::UserNamespace => "user-namespace",
            Self::SingleUid => "single-uid",
            Self::Chroot => "chroot",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::Root, Self::UserNamespace, Self::SingleUid].into_iter().find(|rung| rung.name() == name)
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root with own namespaces and overlayfs",
            Self::UserNamespace => "rootless: user namespace with subordinate ids and overlayfs",
            Self::SingleUid => "rootless: user namespace with a single id and overlayfs",
            Self::Chroot => "root without namespaces: chroot and comparison",
        })
    }
}
