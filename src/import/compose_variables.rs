//! `$NAME` and `${NAME:-default}` in the strings of a Compose file. The environment and `.env` are not looked at: brik.toml is for all.

use super::marks::mark;

/// Defaults within defaults.
const DEEPEST: usize = 8;

/// Bytes; a longer text stays as it is, for looking for closing braces takes the square of it.
const LONGEST: usize = 8192;

/// With defaults in place of variables, and a mark where there is none.
pub(super) fn with_defaults(text: &str) -> String {
    expand(text, &|name, default| default.map_or_else(|| mark(name), str::to_owned), DEEPEST)
}

/// With a mark in place of every variable.
pub(super) fn with_marks(text: &str) -> String {
    expand(text, &|name, _| mark(name), DEEPEST)
}

fn expand(text: &str, value: &dyn Fn(&str, Option<&str>) -> String, deepest: usize) -> String {
    let mut out = String::new();
    let mut rest = text;
    if text.len() > LONGEST {
        return text.to_owned();
    }
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(inside) = after.strip_prefix('{').and_then(|after| after.get(..closing(after)?)) {
            rest = &after[inside.len() + 2..];
            let (name, operator) = inside.split_at(name_length(inside));
            let default = operator.strip_prefix(":-").or(operator.strip_prefix('-')).filter(|_| deepest > 0);
            let default = default.map(|default| expand(default, value, deepest - 1));
            out.push_str(&value(name, default.as_deref()));
        } else {
            let (name, after) = after.split_at(name_length(after));
            out.push_str(&if name.is_empty() { "$".to_owned() } else { value(name, None) });
            rest = after;
        }
    }
    out + rest
}

/// Where the brace closes that a text stands behind.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    text.char_indices().find_map(|(at, c)| match c {
        '{' => {
            depth += 1;
            None
        }
        '}' if depth == 0 => Some(at),
        '}' => {
            depth -= 1;
            None
        }
        _ => None,
    })
}

fn name_length(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_have_defaults_or_leave_marks() {
        let a = mark("A");
        let table = [
            ("x", "x".to_owned(), "x".to_owned()),
            ("$$A", "$A".into(), "$A".into()),
            ("$A-x", format!("{a}-x"), format!("{a}-x")),
            ("${A}", a.clone(), a.clone()),
            ("r/${A:-v1}/z", "r/v1/z".into(), format!("r/{a}/z")),
            ("${A-}", String::new(), a.clone()),
            ("${A:-${B:-in}}", "in".into(), a.clone()),
            ("${A:?must}", a.clone(), a.clone()),
            ("${A", "${A".into(), "${A".into()),
            ("$", "$".into(), "$".into()),
            ("5$ é", "5$ é".into(), "5$ é".into()),
        ];
        for (text, defaults, marks) in table {
            assert_eq!((with_defaults(text), with_marks(text)), (defaults, marks), "{text}");
        }
        let deep = "${A:-".repeat(1000) + &"}".repeat(1000);
        assert_eq!(with_marks(&deep), a);
        assert!(with_defaults(&deep).len() < 100);
        let long = "${".repeat(500_000);
        assert_eq!(with_marks(&long), long);
    }
}
