//! What is to be said of keys that brik.toml does not have, as bake, Compose, the actions and Kaniko call them.

use super::left::{Fate, Leftovers};

const KEYS: [(&str, Fate, &str); 34] = [
    ("annotations", Fate::Lost, "there are no annotations; labels are there"),
    ("attest", Fate::Lost, "there are no attestations yet"),
    ("cache-from", Fate::Otherwise, CACHE),
    ("cache-to", Fate::Otherwise, CACHE),
    ("call", Fate::Otherwise, "`brik check` checks Dockerfiles"),
    ("entitlements", Fate::Lost, "there are none to give to a RUN"),
    ("extra-hosts", Fate::Otherwise, "`brik build --add-host` has them"),
    ("insecure", Fate::Otherwise, REGISTRIES),
    ("insecure-pull", Fate::Otherwise, REGISTRIES),
    ("insecure-registry", Fate::Otherwise, REGISTRIES),
    ("isolation", Fate::Lost, "brik builds for linux only"),
    ("load", Fate::Otherwise, "`brik build --output docker:FILE` writes what `docker load` reads"),
    ("name", Fate::Lost, "a service is called by one name"),
    ("network", Fate::Otherwise, "`network` of [build] is for all services, RUN --network=none for one RUN"),
    ("no-cache", Fate::Otherwise, "`brik build --no-cache` runs every step again"),
    ("no-cache-filter", Fate::Lost, "a step is cached by what goes into it"),
    ("no-cache-filters", Fate::Lost, "a step is cached by what goes into it"),
    ("output", Fate::Otherwise, OUTPUT),
    ("outputs", Fate::Otherwise, OUTPUT),
    ("policy", Fate::Lost, "[policy] of brik.toml has rules of its own"),
    ("privileged", Fate::Lost, "a RUN has no more rights than docker gives by default"),
    ("provenance", Fate::Lost, "there are no attestations yet"),
    ("pull", Fate::Otherwise, "tags of bases are looked up in every build, unless brik.lock pins them"),
    ("registry-certificate", Fate::Otherwise, REGISTRIES),
    ("registry-mirror", Fate::Otherwise, REGISTRIES),
    ("sbom", Fate::Lost, "there are no attestations yet"),
    ("shm-size", Fate::Otherwise, "`brik build --shm-size` has it"),
    ("skip-tls-verify", Fate::Otherwise, REGISTRIES),
    ("skip-tls-verify-pull", Fate::Otherwise, REGISTRIES),
    ("skip-tls-verify-registry", Fate::Otherwise, REGISTRIES),
    ("tar-path", Fate::Otherwise, OUTPUT),
    ("add-hosts", Fate::Otherwise, "`brik build --add-host` has them"),
    ("ulimit", Fate::Lost, "a RUN is limited by `processes` and `memory` of [build]"),
    ("ulimits", Fate::Lost, "a RUN is limited by `processes` and `memory` of [build]"),
];

const CACHE: &str = "brik shares its own cache at <image>-cache, or where `cache` of a service says";
const REGISTRIES: &str = "[registries] of brik.toml has `insecure`, `ca` and `mirror` of a registry";
const OUTPUT: &str = "`brik build --push` pushes, `--output` writes files";

/// Says of those keys that have no counterpart what is in place of them; of keys that nobody knows where `strict`.
pub(super) fn tell<'a>(keys: impl Iterator<Item = &'a str>, service: &str, strict: bool, left: &mut Leftovers) {
    for key in keys {
        let dashed = key.replace('_', "-");
        match KEYS.iter().find(|(known, ..)| *known == dashed) {
            Some((_, fate, why)) => left.of_service(key, service, *fate, *why),
            None if strict => left.of_service(key, service, Fate::Lost, "brik.toml has nothing like it"),
            None => {}
        }
    }
}
