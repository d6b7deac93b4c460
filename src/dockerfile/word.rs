//! Word expansion: one word and an environment in, text out.

use super::lexer::{Lexer, MAX_DEPTH};
use super::pattern::PatternError;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to process {word:?}: {kind}")]
pub struct WordError {
    pub word: String,
    pub kind: WordErrorKind,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WordErrorKind {
    #[error("unexpected end of statement while looking for matching single-quote")]
    SingleQuote,
    #[error("unexpected end of statement while looking for matching double-quote")]
    DoubleQuote,
    #[error("syntax error: bad substitution")]
    BadSubstitution,
    #[error("syntax error: missing '}}'")]
    MissingBrace,
    #[error("syntax error: missing '/' in ${{}}")]
    MissingSlash,
    #[error("unsupported modifier ({0}) in substitution")]
    UnsupportedModifier(String),
    /// `${name?message}` on a name that has no value.
    #[error("{name}: {message}")]
    Required { name: String, message: String },
    #[error("invalid pattern ({pattern}) in substitution: {error}")]
    Pattern { pattern: String, error: PatternError },
    #[error("substitutions are nested more than {MAX_DEPTH} levels deep")]
    TooDeep,
    #[error("the expanded text is too long")]
    TooLong,
}

/// What became of a word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expansion {
    pub text: String,
    /// The variables that the word names and that have a value, sorted.
    pub matched: Vec<String>,
    /// Those without one, sorted; also where the word gives a default.
    pub unmatched: Vec<String>,
}

/// The environment that words are expanded in.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Expands words with the escape character of the file's `escape` directive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expander {
    pub escape: char,
}

impl Default for Expander {
    fn default() -> Self {
        Self { escape: '\\' }
    }
}

impl Expander {
    /// Expands one word to one word: quotes are removed, spaces stay.
    pub fn word(&self, word: &str, env: Environment<'_>) -> Result<Expansion, WordError> {
        Lexer::new(self.escape, env).run(word).map(|(expansion, _)| expansion)
    }

    /// Expands a word and splits the result at the white space that no quotes protect.
    pub fn words(&self, word: &str, env: Environment<'_>) -> Result<Vec<String>, WordError> {
        Lexer::new(self.escape, env).run(word).map(|(_, words)| words)
    }

    /// Expands the variables in the body of a COPY or ADD heredoc. Quotes are text there, and the escape is always `\`.
    pub fn heredoc_body(&self, body: &str, env: Environment<'_>) -> Result<Expansion, WordError> {
        Lexer::without_quotes('\\', env).run(body).map(|(expansion, _)| expansion)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        let value = match name {
            "PWD" => "/home",
            "SHELL" => "bash",
            "KOREAN" => "한국어",
            "NULL" | "EMPTY" => "",
            "FOO" => "xxyy",
            "PATHS" => "/tmp/tmp/bar.txt",
            "GLOB" => "/foo*/*/*.txt",
            "NEEDLE" => "\\*/",
            "SPACES" => "a  b c",
            _ => return None,
        };
        Some(value.to_owned())
    }

    fn expand(word: &str) -> Result<String, WordErrorKind> {
        Expander::default().word(word, &env).map(|expansion| expansion.text).map_err(|error| error.kind)
    }

    #[test]
    fn words_expand_as_in_buildkit() {
        // From BuildKit's envVarTest and TestProcessWithMatches.
        let cases = [
            ("hello", "hello"),
            ("he'll'o", "hello"),
            ("he\\'llo", "he'llo"),
            ("he'll\\'o", "hell\\o"),
            ("he\\ll", "hell"),
            ("abc\\\tdef", "abc\tdef"),
            ("\"abc\\tdef\"", "abc\\tdef"),
            ("'abc\\tdef'", "abc\\tdef"),
            ("hello\\", "hello"),
            ("'hello\\'", "hello\\"),
            ("\"''\"", "''"),
            ("$.", "$."),
            ("he$1x", "hex"),
            ("he$.x", "he$.x"),
            ("he$pwd.", "he."),
            ("he$PWD", "he/home"),
            ("he\\$PWD", "he$PWD"),
            ("\"he\\$PWD\"", "he$PWD"),
            ("'\\$PWD'", "\\$PWD"),
            ("he\\${}xx", "he${}xx"),
            ("he${PWD}", "he/home"),
            ("he${PWD:-000}xx", "he/homexx"),
            ("he${PWD:+${PWD}}xx", "he/homexx"),
            ("he${XXX:-\\$PWD:}xx", "he$PWD:xx"),
            ("he${XXX:-\\${PWD}z}xx", "he${PWDz}xx"),
            ("he${XXX:-${PWD:-yyy}}xx", "he/homexx"),
            ("he${NULL-x}${NULL:-y}${XXX-z}", "heyz"),
            ("he${NULL+x}${NULL:+y}${XXX+z}${PWD+w}", "hexw"),
            ("${NULL?}${PWD:?}", "/home"),
            ("\"he'$PWD'\"", "he'/home'"),
            ("안녕$KOREAN", "안녕한국어"),
            ("${aaa}}", "}"),
            ("$999aaa ${@:-b} $# ${0:-c}", "aaa b  c"),
            ("${FOO#*x}", "xyy"),
            ("${FOO##*x}", "yy"),
            ("${FOO%y*}", "xxy"),
            ("${FOO%%y*}", "xx"),
            ("${FOO#}${FOO##}${FOO%}", "xxyyxxyyxxyy"),
            ("${PATHS//\\//\\/}", "\\/tmp\\/tmp\\/bar.txt"),
            ("${PATHS/\\/tmp/} - ${PATHS//\\/tmp/}", "/tmp/bar.txt - /bar.txt"),
            ("${GLOB/$NEEDLE/.} - ${GLOB//$NEEDLE/.}", "/foo.*/*.txt - /foo..*.txt"),
            ("${FOO/$NULL/ww}", "wwxxyy"),
            ("${FOO///}", "xxyy"),
            ("a << b", "a << b"),
            ("\u{feff}a", "a"),
        ];
        for (word, expected) in cases {
            assert_eq!(expand(word), Ok(expected.to_owned()), "{word}");
        }
    }

    #[test]
    fn ascii_and_other_letters_expand_alike() {
        // The rest of BuildKit's envVarTest, which has every row in English and in Korean.
        let cases = [
            ("~O", Some("~O")),
            ("~'O", None),
            ("~'O'P", Some("~OP")),
            ("~\\'O", Some("~'O")),
            ("~\\\\'O", None),
            ("~\\tO", Some("~tO")),
            ("\"~\\tO\"", Some("~\\tO")),
            ("\"~\\\\tO\"", Some("~\\tO")),
            ("'~\\tO'", Some("~\\tO")),
            ("'~\\\\tO'", Some("~\\\\tO")),
            ("'~\\tO", None),
            ("~\\", Some("~")),
            ("~\\\\", Some("~\\")),
            ("\"~", None),
            ("\"~\\\"", None),
            ("\"~'O\"", Some("~'O")),
            ("'~", None),
            ("'~\\'", Some("~\\")),
            ("'\"~\"'", Some("\"~\"")),
            ("~$1x", Some("~x")),
            ("~$.x", Some("~$.x")),
            ("~$pwd.", Some("~.")),
            ("~$PWD", Some("~/home")),
            ("~\\$PWD", Some("~$PWD")),
            ("~\\\\$PWD", Some("~\\/home")),
            ("\"~\\$PWD\"", Some("~$PWD")),
            ("\"~\\\\$PWD\"", Some("~\\/home")),
            ("'~$PWD'", Some("~$PWD")),
            ("'~\\$PWD'", Some("~\\$PWD")),
            ("~\\${}", Some("~${}")),
            ("~\\${}x", Some("~${}x")),
            ("~${}", None),
            ("~${}x", None),
            ("~${hi}x", Some("~x")),
            ("~${.}", None),
            ("~${XXX:-000}x", Some("~000x")),
            ("~${XXX:-$PWD}x", Some("~/homex")),
            ("~${XXX:-${YYY:-yyy}}x", Some("~yyyx")),
            ("~${XXX:YYY}", None),
            ("~${XXX:+${PWD}}x", Some("~x")),
            ("~${PWD:+${XXX}}x", Some("~x")),
            ("~${PWD:+${SHELL}}x", Some("~bashx")),
            ("~${PWD:+${PWD}:}x", Some("~/home:x")),
            ("~${PWD:=000}x", None),
            ("~${PWD", None),
            ("'~${XX}'", Some("~${XX}")),
            ("\"~${PWD}\"", Some("~/home")),
            ("\"~'$PWD'\"", Some("~'/home'")),
            ("~${{aaa:-bbb}", None),
            ("~${aaa:-bbb}}", Some("~bbb}")),
            ("~${aaa:-bbb ${foo}", None),
            ("~${aaa:-bbb {foo}", Some("~bbb {foo")),
            ("~${:}", None),
            ("~${:+bbb}", None),
        ];
        for letters in ["he", "안녕"] {
            for (word, expected) in cases {
                let word = word.replace('~', letters);
                assert_eq!(expand(&word).ok(), expected.map(|text| text.replace('~', letters)), "{word}");
            }
        }
    }

    #[test]
    fn numbers_and_special_parameters_are_unset() {
        for name in ["0", "1", "9", "999", "@", "*", "#", "?", "-", "$", "!"] {
            for (form, expected) in [("$N", ""), ("${N}", ""), ("${N:+b}", ""), ("${N:-b}", "b"), ("$Naaa", "aaa"), ("${N:-b}aaa", "baaa")]
            {
                assert_eq!(expand(&form.replace('N', name)), Ok(expected.to_owned()), "{form} {name}");
            }
        }
    }

    #[test]
    fn broken_words_are_errors() {
        use WordErrorKind as Kind;
        let required = |name: &str, message: &str| Kind::Required { name: name.into(), message: message.into() };
        let cases = [
            ("he\\\\'llo", Kind::SingleQuote),
            ("\"hello", Kind::DoubleQuote),
            ("${}aaa", Kind::BadSubstitution),
            ("${{aaa}", Kind::BadSubstitution),
            ("${:-bbb}", Kind::BadSubstitution),
            ("he${.}", Kind::UnsupportedModifier(".".into())),
            ("he${PWD", Kind::UnsupportedModifier("\u{fffd}".into())),
            ("he${PWD:=000}xx", Kind::UnsupportedModifier(":=".into())),
            ("${FOO=aaa}", Kind::UnsupportedModifier("=".into())),
            ("${aaa:-bbb", Kind::MissingBrace),
            ("${", Kind::MissingBrace),
            ("${aaa:-'b", Kind::MissingBrace),
            ("${FOO//ww}", Kind::MissingSlash),
            ("he${XXX?}", required("XXX", "is not allowed to be unset")),
            ("he${NULL:?}", required("NULL", "is not allowed to be empty")),
            ("${XXX:?message here$PWD}", required("XXX", "message here/home")),
        ];
        for (word, expected) in cases {
            assert_eq!(expand(word), Err(expected), "{word}");
        }
        assert!(matches!(expand("${FOO#\\x}"), Err(Kind::Pattern { .. })));
    }

    #[test]
    fn words_are_split_after_expansion_except_in_quotes() {
        let cases: &[(&str, &[&str])] = &[
            ("a  b", &["a", "b"]),
            ("$SPACES", &["a", "b", "c"]),
            ("\"$SPACES\"", &["a  b c"]),
            ("a\\ b 'c d'e", &["a b", "c de"]),
            ("$XXX", &[]),
            ("'' x", &["x"]),
        ];
        for (word, expected) in cases {
            assert_eq!(Expander::default().words(word, &env).unwrap(), *expected, "{word}");
        }
    }

    #[test]
    fn the_escape_directive_changes_the_escape() {
        let expander = Expander { escape: '`' };
        let text = |word| expander.word(word, &env).unwrap().text;
        assert_eq!([text("c:\\x`$PWD"), text("\"``\\n\"")], ["c:\\x$PWD", "`\\n"]);
    }

    #[test]
    fn variables_are_reported_by_whether_they_have_a_value() {
        let found = Expander::default().word("${FOO-a} $XXX ${NULL:-b} ${BAZ:-c} $XXX", &env).unwrap();
        assert_eq!(found.matched, ["FOO", "NULL"]);
        assert_eq!(found.unmatched, ["BAZ", "XXX"]);
    }

    #[test]
    fn quotes_are_text_in_heredoc_bodies() {
        let body = "say '$PWD' \"x\" \\$PWD a\\nb << c\n";
        assert_eq!(Expander::default().heredoc_body(body, &env).unwrap().text, "say '/home' \"x\" $PWD anb << c\n");
    }

    #[test]
    fn nesting_and_growth_are_bounded() {
        let nested = |depth: usize| "${a:-".repeat(depth) + "x" + &"}".repeat(depth);
        assert_eq!(expand(&nested(MAX_DEPTH)), Ok("x".into()));
        assert_eq!(expand(&nested(MAX_DEPTH + 1)), Err(WordErrorKind::TooDeep));
        assert_eq!(expand(&nested(1_000_000)), Err(WordErrorKind::TooDeep));
        let big = |_: &str| Some("x".repeat(100_000));
        let result = Expander::default().word(&"$a".repeat(100), &big);
        assert_eq!(result.map(|_| ()).map_err(|error| error.kind), Err(WordErrorKind::TooLong));
        let result = Expander::default().word("${a//x/$a}", &big);
        assert_eq!(result.map(|_| ()).map_err(|error| error.kind), Err(WordErrorKind::TooLong));
    }
}
