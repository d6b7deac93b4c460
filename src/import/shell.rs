//! A shell's script, as far as it is written out: commands of words, with marks for what only the shell knows.

use std::collections::BTreeSet;

use super::marks::{length, mark};

/// Bytes that the values of variables may add to a script.
const LARGEST: usize = 64 << 10;

/// What a variable is worth from outside of a script.
pub(super) type Values<'v> = &'v dyn Fn(&str) -> Option<String>;

/// The commands of a script, whatever stands between them. A variable that the script sets itself is known to the shell alone.
pub(super) fn commands(text: &str, values: Values) -> Vec<Vec<String>> {
    let mut reader = Reader { rest: text, values, own: BTreeSet::new(), spent: 0, words: Vec::new(), word: None };
    let mut commands = Vec::new();
    while let Some(c) = reader.rest.chars().next() {
        if reader.ends_command(c) {
            commands.push(reader.command());
        }
    }
    commands.push(reader.command());
    commands.retain(|words| !words.is_empty());
    commands
}

/// A text with its variables.
pub(super) fn expand(text: &str, values: Values) -> String {
    let mut reader = Reader { rest: text, values, own: BTreeSet::new(), spent: 0, words: Vec::new(), word: None };
    let mut out = String::new();
    while let Some((before, after)) = reader.rest.split_once('$') {
        out.push_str(before);
        reader.rest = after;
        out += &reader.dollar();
    }
    out + reader.rest
}

struct Reader<'a> {
    rest: &'a str,
    values: Values<'a>,
    /// Variables that the script has set so far.
    own: BTreeSet<String>,
    spent: usize,
    words: Vec<String>,
    word: Option<String>,
}

impl<'a> Reader<'a> {
    /// Reads what begins with `c`, the next character: a part of a word, or what ends one. Whether it ends the command, too.
    fn ends_command(&mut self, c: char) -> bool {
        if let Some(length) = length(self.rest) {
            let mark = self.take(length);
            self.part(mark);
            return false;
        }
        let _ = self.take(c.len_utf8());
        match c {
            '\n' | ';' | '&' | '|' | '(' | ')' => return true,
            '#' if self.word.is_none() => drop(self.until('\n')),
            '<' | '>' => self.end_word(),
            c if c.is_whitespace() => self.end_word(),
            '\'' => {
                let text = self.until('\'');
                self.part(text);
                let _ = self.take(1.min(self.rest.len()));
            }
            '"' => self.quoted(),
            '\\' => self.escaped(),
            '$' => self.unquoted_value(),
            '`' => {
                let inside = self.until('`');
                let _ = self.take(1.min(self.rest.len()));
                self.part(&mark(&format!("`{inside}`")));
            }
            c => self.part(c.encode_utf8(&mut [0; 4])),
        }
        false
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        taken
    }

    /// What stands before the next such character, or all that is left.
    fn until(&mut self, c: char) -> &'a str {
        self.take(self.rest.find(c).unwrap_or(self.rest.len()))
    }

    fn part(&mut self, text: &str) {
        self.word.get_or_insert_default().push_str(text);
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else { return };
        let name = word.split('=').next().filter(|name| name.len() < word.len() && is_name(name));
        let read = self.words.last().is_some_and(|before| matches!(before.as_str(), "for" | "read"));
        self.own.extend(name.or(Some(word.as_str()).filter(|_| read)).map(str::to_owned));
        self.words.push(word);
    }

    fn command(&mut self) -> Vec<String> {
        self.end_word();
        std::mem::take(&mut self.words)
    }

    /// A backslash was read; one at the end of a line continues it.
    fn escaped(&mut self) {
        let next = self.rest.chars().next().map_or(0, char::len_utf8);
        match self.take(next) {
            "\n" => {}
            text => self.part(text),
        }
    }

    /// An opening quote was read.
    fn quoted(&mut self) {
        self.part("");
        while let Some(c) = self.rest.chars().next() {
            if let Some(length) = length(self.rest) {
                let mark = self.take(length);
                self.part(mark);
                continue;
            }
            let text = self.take(c.len_utf8());
            match c {
                '"' => return,
                '\\' if self.rest.starts_with(['"', '\\', '$', '`', '\n']) => self.escaped(),
                '$' => {
                    let value = self.dollar();
                    self.part(&value);
                }
                _ => self.part(text),
            }
        }
    }

    /// A value outside of quotes is as many words as it has.
    fn unquoted_value(&mut self) {
        let value = self.dollar();
        let mut rest = value.as_str();
        while let Some(c) = rest.chars().next() {
            let part;
            (part, rest) = rest.split_at(length(rest).unwrap_or(c.len_utf8()));
            match c.is_whitespace() {
                true => self.end_word(),
                false => self.part(part),
            }
        }
    }

    /// What a `$` that was read stands for.
    fn dollar(&mut self) -> String {
        if self.rest.starts_with('(') {
            let inside = self.take(closing(self.rest));
            return if inside == "(pwd)" { self.value("PWD") } else { mark(&format!("${inside}")) };
        }
        if let Some(inside) = self.rest.strip_prefix('{') {
            let end = inside.find('}').unwrap_or(inside.len());
            let _ = self.take((end + 2).min(self.rest.len()));
            return if is_name(&inside[..end]) { self.value(&inside[..end]) } else { mark(&inside[..end]) };
        }
        let name = self.take(self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len()));
        match name {
            "" => "$".to_owned(),
            name => self.value(name),
        }
    }

    fn value(&mut self, name: &str) -> String {
        let known = Some(name).filter(|name| self.spent < LARGEST && !self.own.contains(*name));
        let value = known.and_then(self.values).filter(|value| self.spent + value.len() <= LARGEST);
        self.spent += value.as_ref().map_or(1, String::len);
        value.unwrap_or_else(|| mark(name))
    }
}

/// The bytes up to and with the parenthesis that closes the first, or all.
fn closing(text: &str) -> usize {
    let mut depth = 0_usize;
    let end = text.char_indices().find(|(_, c)| {
        depth = match c {
            '(' => depth + 1,
            ')' => depth.saturating_sub(1),
            _ => depth,
        };
        depth == 0
    });
    end.map_or(text.len(), |(at, c)| at + c.len_utf8())
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        let value = |name: &str| match name {
            "A" => Some("a b".to_owned()),
            "DIR" => Some("./x".to_owned()),
            _ => None,
        };
        let marks = |text: String| text.replace('\u{f0f0}', "<").replace('\u{f0f1}', ">");
        commands(text, &value).iter().map(|words| marks(words.join("|"))).collect()
    }

    #[test]
    fn commands_are_words_whatever_quotes_they_have() {
        let table: [(&str, &[&str]); 14] = [
            ("a b\n c;d && e | f", &["a|b", "c", "d", "e", "f"]),
            ("a \\\n  --b='c d' \"e 'f'\"g", &["a|--b=c d|e 'f'g"]),
            ("a # b ' c\nd#e", &["a", "d#e"]),
            ("\"$A\" $A '$A' \\$A", &["a b|a|b|$A|$A"]),
            ("\"${DIR}/y\" $DIR/z", &["./x/y|./x/z"]),
            ("x $B \"${B:-d}\" $(git rev (x) y)z `date`", &["x|<B>|<B:-d>|<$(git rev (x) y)>z|<`date`>"]),
            ("DIR=z\nx $DIR", &["DIR=z", "x|<DIR>"]),
            ("for DIR in 1 2; do x $DIR; done", &["for|DIR|in|1|2", "do|x|<DIR>", "done"]),
            ("echo \"{\\\"a\\\":{\\\"$B\\\":1}}\" > f 2>&1", &["echo|{\"a\":{\"<B>\":1}}|f|2", "1"]),
            ("x '' \"\"", &["x||"]),
            ("a '", &["a|"]),
            ("a \"b", &["a|b"]),
            ("a $( b", &["a|<$( b>"]),
            ("é ${ü $ $", &["é|<ü $ $>"]),
        ];
        for (text, expected) in table {
            assert_eq!(told(text), expected, "{text}");
        }
        assert_eq!(told(&format!("x {}", crate::import::marks::mark("a 'b\" ;c"))), ["x|<a 'b\" ;c>"]);
    }

    #[test]
    fn values_do_not_grow_without_end() {
        let value = |_: &str| Some("x".repeat(LARGEST / 2));
        let length: usize = commands(&"$A".repeat(100_000), &value).concat().concat().len();
        assert!(length < 2_000_000, "{length}");
        assert_eq!(expand("a${B}c$D", &|name| Some(name.to_lowercase())), "abcd");
    }
}
