//! The license of a repository, as far as the beginning of its license file tells it beyond doubt.

use std::fs::File;
use std::io::Read;
use std::path::Path;

const FILES: [&str; 5] = ["LICENSE", "LICENSE.md", "LICENSE.txt", "LICENCE", "COPYING"];
const MOST_BYTES: u64 = 4096;

/// Words that a license's text begins with, and its SPDX identifier. The GNU licenses are not among them: whether later versions may be
/// chosen, too, is not said in their text.
const KNOWN: [(&str, &str); 9] = [
    ("mit license", "MIT"),
    ("the mit license", "MIT"),
    ("apache license version 2.0", "Apache-2.0"),
    ("mozilla public license version 2.0", "MPL-2.0"),
    ("isc license", "ISC"),
    ("bsd 2-clause license", "BSD-2-Clause"),
    ("bsd 3-clause license", "BSD-3-Clause"),
    ("bsd zero clause license", "0BSD"),
    ("this is free and unencumbered software released into the public domain", "Unlicense"),
];

/// The SPDX identifier of what lies in `directory`.
pub fn license(directory: &Path) -> Option<String> {
    let path = FILES.iter().map(|name| directory.join(name)).find(|path| path.is_file())?;
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MOST_BYTES).read_to_end(&mut bytes).ok()?;
    identify(&String::from_utf8_lossy(&bytes))
}

fn identify(text: &str) -> Option<String> {
    let tagged = text.lines().find_map(|line| line.split_once("SPDX-License-Identifier:")).map(|(_, name)| name.trim());
    if let Some(name) = tagged {
        let word = |c: char| c.is_ascii_alphanumeric() || " .+-()".contains(c);
        return Some(name.to_owned()).filter(|name| !name.is_empty() && name.chars().all(word));
    }
    let words = text.split(|c: char| c.is_whitespace() || ",#*()".contains(c)).filter(|word| !word.is_empty());
    let start = words.take(16).collect::<Vec<_>>().join(" ").to_lowercase();
    KNOWN.iter().find(|(begin, _)| start.starts_with(begin)).map(|(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_license_is_known_by_how_it_begins() {
        for (text, expected) in [
            ("MIT License\n\nCopyright (c) 2026 x", Some("MIT")),
            ("# The MIT License (MIT)\n", Some("MIT")),
            (
                "\n                                 Apache License\n                           Version 2.0, January 2004\n",
                Some("Apache-2.0"),
            ),
            ("Mozilla Public License Version 2.0\n====", Some("MPL-2.0")),
            ("BSD 3-Clause License\n", Some("BSD-3-Clause")),
            ("SPDX-License-Identifier: MIT OR Apache-2.0\n", Some("MIT OR Apache-2.0")),
            ("SPDX-License-Identifier: \u{1b}[2J\n", None),
            ("GNU GENERAL PUBLIC LICENSE\nVersion 3", None),
            ("All rights reserved. MIT License", None),
            ("", None),
        ] {
            assert_eq!(identify(text).as_deref(), expected, "{text}");
        }
        assert_eq!(license(Path::new("/nowhere")), None);
    }
}
