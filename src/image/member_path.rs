//! Names of archive members as paths: bytes, without a leading slash, the root being empty.

/// A name as a path below the root: `.`, empty components and a leading slash dropped, `..` resolved by the text. `None` where it leads
/// above the root.
pub(super) fn clean(name: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in name.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

pub(super) fn join(base: &[u8], name: &[u8]) -> Vec<u8> {
    if base.is_empty() { name.to_vec() } else { [base, b"/", name].concat() }
}

/// The path above the last component, and that component.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

#[cfg(test)]
mod tests {
    use super::super::lossy;
    use super::*;

    #[test]
    fn names_are_cleaned_and_never_lead_above_the_root() {
        for (name, path) in [
            ("a/b", Some("a/b")),
            ("./a//b/", Some("a/b")),
            ("/etc/passwd", Some("etc/passwd")),
            ("a/../b", Some("b")),
            ("./", Some("")),
            ("..", None),
            ("a/../../b", None),
            ("/../b", None),
        ] {
            assert_eq!(clean(name.as_bytes()).map(|path| lossy(&path)).as_deref(), path, "{name}");
        }
    }
}
