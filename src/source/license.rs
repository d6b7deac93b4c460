//! The license of a repository, where its license file tells it beyond doubt.

use std::fs::File;
use std::io::Read;
use std::path::Path;

const FILES: [&str; 5] = ["LICENSE", "LICENSE.md", "LICENSE.txt", "LICENCE", "COPYING"];
const MOST_BYTES: u64 = 64 << 10;

/// Words that a license's text begins with, words that stand in the whole of it and in no other, and its SPDX identifier. The GNU licenses
/// are not among them: whether later versions may be chosen, too, is not said in their text.
const KNOWN: [(&str, &str, &str); 9] = [
    ("mit license", MIT_GRANT, "MIT"),
    ("the mit license", MIT_GRANT, "MIT"),
    ("apache license version 2.0", "end of terms and conditions", "Apache-2.0"),
    ("mozilla public license version 2.0", "exhibit a - source code form license notice", "MPL-2.0"),
    ("isc license", "permission to use copy modify and/or distribute this software for any purpose with or without fee", "ISC"),
    ("bsd 2-clause license", "redistributions in binary form must reproduce the above copyright notice", "BSD-2-Clause"),
    ("bsd 3-clause license", "may be used to endorse or promote products derived from this software", "BSD-3-Clause"),
    (
        "bsd zero clause license",
        "permission to use copy modify and/or distribute this software for any purpose with or without fee",
        "0BSD",
    ),
    (
        "this is free and unencumbered software released into the public domain",
        "anyone is free to copy modify publish use compile",
        "Unlicense",
    ),
];
const MIT_GRANT: &str =
    "to deal in the software without restriction including without limitation the rights to use copy modify merge publish";

/// Bytes, without white space and marks, that a license has at most besides its known text: names of copyright holders.
const SHORT: usize = 2200;
/// Of Apache 2.0 and MPL 2.0.
const LONG: usize = 18_000;

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
    let words: Vec<String> =
        text.split(|c: char| c.is_whitespace() || ",#*();".contains(c)).filter(|word| !word.is_empty()).map(str::to_lowercase).collect();
    let text = words.join(" ");
    let is_it = |(begin, has, name): &&(&str, &str, &str)| {
        let most = if matches!(*name, "Apache-2.0" | "MPL-2.0") { LONG } else { SHORT };
        text.starts_with(begin) && text.contains(has) && text.len() <= most
    };
    KNOWN.iter().find(is_it).map(|(.., name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRANT: &str = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software, to deal\n\
        in the Software without restriction, including without limitation the rights\nto use, copy, modify, merge, publish, distribute";

    #[test]
    fn a_license_is_known_by_its_text() {
        let mit = format!("# The MIT License (MIT)\n\nCopyright (c) 2026 x\n\n{GRANT}");
        let more = format!("{mit}\n{}", "Except on Sundays. ".repeat(200));
        for (text, expected) in [
            (&*mit, Some("MIT")),
            (&*more, None),
            ("MIT License\n\nThis project is NOT under the MIT License. All rights reserved.", None),
            ("Apache License\nVersion 2.0, January 2004\nexcept that commercial use is forbidden", None),
            ("Apache License\n Version 2.0, January 2004\n…\n   END OF TERMS AND CONDITIONS\n", Some("Apache-2.0")),
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
