//! Flags that people bring along from `docker build`, buildx, Kaniko and buildah, and what brik has in their place.

use clap::error::{ContextKind, ContextValue, ErrorKind};

const FLAGS: [(&str, &str); 43] = [
    ("--annotation", "brik writes labels, with --label"),
    ("--attest", NO_ATTESTATIONS),
    ("--cache", "brik caches always; --no-cache runs every step again"),
    ("--cache-copy-layers", "COPY is always cached"),
    ("--cache-dir", "everything that is remembered is in one place, see --store"),
    ("--cache-run-layers", "RUN is always cached"),
    ("--cache-ttl", "results do not expire; brik cache prune removes old ones"),
    ("--cleanup", "brik leaves nothing behind but its store"),
    ("--compressed-caching", "the cache holds the layers of the images themselves"),
    ("--custom-platform", "give it as --platform"),
    ("--force", "brik needs no container of its own"),
    ("--force-rm", "there are no intermediate containers"),
    ("--iidfile", "--digest-file writes the digest of the image"),
    ("--image-name-tag-with-digest-file", NAME_AT_DIGEST),
    ("--image-name-with-digest-file", NAME_AT_DIGEST),
    ("--insecure", PLAIN_HTTP),
    ("--insecure-pull", PLAIN_HTTP),
    ("--insecure-registry", PLAIN_HTTP),
    ("--isolation", "the sandbox is the best that the machine allows, see brik help sandbox"),
    ("--layers", "every step is cached"),
    ("--load", "--output docker:FILE writes what docker load and podman load read"),
    ("--metadata", "give it as --metadata-file"),
    ("--no-push", "brik pushes with --push only"),
    ("--oci-layout-path", "--output oci:DIR writes a layout"),
    ("--provenance", NO_ATTESTATIONS),
    ("--pull", "tags of bases are looked up in every build, unless brik.lock pins them"),
    ("--push-retry", "what may be tried again is tried again by itself"),
    ("--quiet", "give it as --progress quiet"),
    ("--registry-mirror", "[registries.\"docker.io\"] of brik.toml has mirror; one image knows it with --config brik.toml"),
    ("--reproducible", "layers are the same for the same input, always"),
    ("--rm", "there are no intermediate containers"),
    ("--sbom", NO_ATTESTATIONS),
    ("--single-snapshot", "every step that changes files is a layer, so that it is cached"),
    ("--skip-tls-verify", PLAIN_HTTP),
    ("--skip-tls-verify-pull", PLAIN_HTTP),
    ("--snapshot-mode", "changes are found exactly, there is nothing to choose"),
    ("--squash", "every step that changes files is a layer, so that it is cached"),
    ("--tar-path", "--output docker:FILE writes an archive"),
    ("--tarPath", "--output docker:FILE writes an archive"),
    ("--ulimit", "processes and memory in [build] of brik.toml limit a RUN"),
    ("--use-new-run", "changes are found exactly, there is nothing to choose"),
    ("--verbosity", "-v tells more, and --progress plain all of it"),
    ("-q", "give it as --progress quiet"),
];

const NAME_AT_DIGEST: &str = "stdout is name@digest, one image a line";
const NO_ATTESTATIONS: &str = "there are no attestations yet";
const PLAIN_HTTP: &str = "loopback needs no flag; for other hosts, [registries.\"HOST\"] of brik.toml has insecure and ca; one image knows it with --config brik.toml";

/// What brik has in place of a flag that it does not know.
pub fn hint(error: &clap::Error) -> Option<&'static str> {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg).filter(|_| error.kind() == ErrorKind::UnknownArgument) else {
        return None;
    };
    FLAGS.iter().find(|(known, _)| known == flag).map(|(_, hint)| *hint)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::cli::args::Cli;

    #[test]
    fn a_flag_of_others_is_none_of_briks_and_has_a_hint() {
        for (flag, _) in FLAGS {
            let error = Cli::try_parse_from(["brik", "build", flag]).unwrap_err();
            assert!(hint(&error).is_some(), "{flag}: {error}");
        }
    }

    #[test]
    fn hints_name_flags_that_brik_has() {
        let command = Cli::command();
        let of = |command: &clap::Command| command.get_arguments().filter_map(|arg| arg.get_long().map(str::to_owned)).collect::<Vec<_>>();
        let known: Vec<String> = command.find_subcommand("build").map(of).unwrap_or_default().into_iter().chain(of(&command)).collect();
        for (flag, hint) in FLAGS {
            let named = hint.split(|c: char| c.is_whitespace() || ";,".contains(c)).filter_map(|word| word.strip_prefix("--"));
            for name in named {
                assert!(known.iter().any(|known| known == name), "{flag}: {hint}");
            }
        }
    }
}
