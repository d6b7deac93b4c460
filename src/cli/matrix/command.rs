//! What a job says to `brik build`: what was said to `brik matrix`, the bases, and the services.

use super::MatrixArgs;
use crate::cli::args::Global;
use crate::cli::image_args::ImageArgs;
use crate::oci::{Digest, Reference};

pub fn arguments(global: &Global, args: &MatrixArgs, pins: Vec<&(Reference, Digest)>, services: &[String]) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut flag = |name: &str, values: &[String]| values.iter().for_each(|value| words.push(format!("--{name}={value}")));
    let path = |path: &Option<std::path::PathBuf>| path.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
    let optional = |text: &Option<String>| text.iter().cloned().collect::<Vec<_>>();
    flag("directory", &path(&global.directory));
    flag("config", &path(&global.config));
    flag("env", &optional(&global.environment));
    flag("set", &global.set);
    let ImageArgs { build_arg, secret, ssh, label, add_host, shm_size, network, .. } = &args.what.image;
    flag("build-arg", build_arg);
    flag("secret", secret);
    flag("ssh", ssh);
    flag("label", label);
    flag("add-host", add_host);
    flag("shm-size", &optional(shm_size));
    flag("network", &optional(&network.map(|network| network.name().to_owned())));
    flag("tags", &optional(&args.what.tagging.tags));
    flag("flavor", &optional(&args.what.tagging.flavor));
    let cache = &args.what.cache;
    flag("cache-from", &cache.cache_from);
    flag("cache-to", &optional(&cache.cache_to));
    flag("pin", &pins.into_iter().map(|(name, digest)| name.with_digest(*digest).to_string()).collect::<Vec<_>>());
    let switches = [
        ("--push", args.push),
        ("--no-cache", args.what.no_cache),
        ("--no-remote-cache", cache.no_remote_cache),
        ("--locked", args.what.locked),
    ];
    let switches = switches.into_iter().filter(|(_, on)| *on).map(|(name, _)| name.to_owned());
    switches.chain(words).chain(services.iter().cloned()).collect()
}

/// As a POSIX shell takes them apart again.
pub fn quoted(words: &[String]) -> String {
    let plain = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./:@%+=,".contains(&b));
    let quote = |word: &String| if plain(word) { word.clone() } else { format!("'{}'", word.replace('\'', r"'\''")) };
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_takes_the_words_apart_as_they_were() {
        let words = ["--set=a=b", "x y", "it's", "$HOME `id`", "", "a\nb", "--tags=v1,v2"].map(str::to_owned);
        let script = format!("printf '%s\\0' {}", quoted(&words));
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let read: Vec<String> = String::from_utf8(output.stdout).unwrap().split_terminator('\0').map(str::to_owned).collect();
        assert_eq!(read, words);
    }
}
