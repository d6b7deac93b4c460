//! `--chmod`: octal or symbolic.

const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;
const STICKY: u32 = 0o1000;
const EXECUTE: u32 = 0o111;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModeError {
    /// BuildKit's words, which people search for.
    #[error("invalid chmod parameter: '{0}'. it should be octal string and between 0 and 07777")]
    Octal(String),
    #[error("invalid chmod parameter: '{0}': neither octal nor symbolic like u=rwX,go=rX")]
    Symbolic(String),
}

/// What `--chmod` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModeChange(Change);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Octal(u32),
    Symbolic(Vec<Clause>),
}

/// One action: `u=rwX` has one, `go=u-w` two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Clause {
    action: Action,
    /// The bits that it may touch.
    who: u32,
    /// The bits named by `rwxst`.
    bits: u32,
    /// `X`: execution for directories and for files that somebody may execute already.
    conditional_execute: bool,
    /// Bits copied from the user, the group, others.
    copy: [bool; 3],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Add,
    Remove,
    Set,
}

impl ModeChange {
    /// Reads `755`, `0644`, `u=rwX,go=rX`, `+x`, `g=u-w`: chmod(1) with a umask of 0.
    ///
    /// # Errors
    /// `Octal` for what begins with a digit and is no octal number up to 07777, `Symbolic` for the rest.
    pub fn parse(text: &str) -> Result<Self, ModeError> {
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            return match u32::from_str_radix(text, 8) {
                Ok(mode) if mode <= 0o7777 => Ok(Self(Change::Octal(mode))),
                _ => Err(ModeError::Octal(text.to_owned())),
            };
        }
        let mut clauses = Vec::new();
        for part in text.split(',') {
            symbolic(part.as_bytes(), &mut clauses).ok_or_else(|| ModeError::Symbolic(text.to_owned()))?;
        }
        Ok(Self(Change::Symbolic(clauses)))
    }

    /// The mode (07777) of what had `mode` before.
    pub fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        match &self.0 {
            Change::Octal(mode) => *mode,
            Change::Symbolic(clauses) => {
                let conditional = if is_directory || mode & EXECUTE != 0 { EXECUTE } else { 0 };
                clauses.iter().fold(mode & 0o7777, |mode, clause| clause.apply(mode, conditional))
            }
        }
    }

    /// The mode of directories that the destination needs and the sources do not have: BuildKit gives them an octal mode too, without its
    /// setuid, setgid and sticky bits, but not a symbolic one.
    pub fn implicit_directories(&self) -> u32 {
        match self.0 {
            Change::Octal(mode) => mode & 0o777,
            Change::Symbolic(_) => 0o755,
        }
    }
}

impl Clause {
    fn apply(self, mode: u32, conditional: u32) -> u32 {
        let mut bits = self.bits;
        if self.conditional_execute {
            bits |= conditional;
        }
        for (copied, shift) in self.copy.into_iter().zip([6, 3, 0]) {
            if copied {
                bits |= (mode >> shift & 7) * 0o111;
            }
        }
        bits &= self.who;
        match self.action {
            Action::Add => mode | bits,
            Action::Remove => mode & !bits,
            Action::Set => mode & !self.who | bits,
        }
    }
}

/// Reads `[ugoa]*([-+=][rwxXstugo]*)+`.
fn symbolic(text: &[u8], clauses: &mut Vec<Clause>) -> Option<()> {
    let start = text.iter().position(|b| !b"ugoa".contains(b))?;
    let (letters, mut actions) = text.split_at(start);
    let who = letters.iter().fold(0, |who, letter| {
        who | match letter {
            b'u' => SETUID | 0o700,
            b'g' => SETGID | 0o070,
            b'o' => 0o007,
            _ => SETUID | SETGID | 0o777,
        }
    });
    let everyone = who == 0;
    let only_others = who == 0o007;
    let who = if everyone { SETUID | SETGID | 0o777 } else { who };
    while let Some((&sign, after)) = actions.split_first() {
        let action = match sign {
            b'+' => Action::Add,
            b'-' => Action::Remove,
            b'=' => Action::Set,
            _ => return None,
        };
        let mut clause = Clause { action, who, bits: 0, conditional_execute: false, copy: [false; 3] };
        let end = after.iter().position(|b| b"+-=".contains(b)).unwrap_or(after.len());
        let (permissions, next) = after.split_at(end);
        for permission in permissions {
            match permission {
                b'r' => clause.bits |= 0o444,
                b'w' => clause.bits |= 0o222,
                b'x' => clause.bits |= EXECUTE,
                b'X' => clause.conditional_execute = true,
                // Others have neither set-id nor sticky bits.
                b's' | b't' if only_others => {}
                b's' => clause.bits |= SETUID | SETGID,
                b't' => {
                    clause.who |= STICKY;
                    clause.bits |= STICKY;
                }
                b'u' => clause.copy[0] = true,
                b'g' => clause.copy[1] = true,
                b'o' => clause.copy[2] = true,
                _ => return None,
            }
        }
        clauses.push(clause);
        actions = next;
    }
    // `who` alone is no change.
    (start < text.len()).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_modes_replace_all_bits() {
        for (text, expected) in [("0", 0), ("0644", 0o644), ("777", 0o777), ("4755", 0o4755), ("07777", 0o7777), ("00000755", 0o755)] {
            let change = ModeChange::parse(text).unwrap();
            assert_eq!(change.apply(0o1234, false), expected, "{text}");
            assert_eq!(change.apply(0o755, true), expected, "{text}");
            assert_eq!(change.implicit_directories(), expected & 0o777, "{text}");
        }
    }

    #[test]
    fn symbolic_modes_change_what_they_name() {
        for (text, file, directory) in [
            // From 0640 and 0750.
            ("u=rwX,go=rX", 0o644, 0o755),
            ("a=rX", 0o444, 0o555),
            ("+x", 0o751, 0o751),
            ("+X", 0o640, 0o751),
            ("go-r", 0o600, 0o710),
            ("go=", 0o600, 0o700),
            ("go=u-w", 0o644, 0o755),
            ("o=g", 0o644, 0o755),
            ("u+s,g+s", 0o6640, 0o6750),
            ("+t", 0o1640, 0o1750),
            ("o+s", 0o640, 0o750),
            ("u-w+x", 0o540, 0o550),
            ("=rw", 0o666, 0o666),
            ("ug=rw,o=", 0o660, 0o660),
            ("=", 0, 0),
        ] {
            let change = ModeChange::parse(text).unwrap();
            assert_eq!(change.apply(0o640, false), file, "{text} of a file");
            assert_eq!(change.apply(0o750, true), directory, "{text} of a directory");
            assert_eq!(change.implicit_directories(), 0o755, "{text}");
        }
    }

    #[test]
    fn x_looks_at_the_mode_before_the_change() {
        assert_eq!(ModeChange::parse("u=rw,a+X").unwrap().apply(0o700, false), 0o711);
    }

    #[test]
    fn what_looks_numeric_fails_with_the_words_of_buildkit() {
        for text in ["64a", "10000", "99", "0o755", "777777777777777", "7 "] {
            let error = ModeChange::parse(text).unwrap_err().to_string();
            assert_eq!(error, format!("invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"));
        }
    }

    #[test]
    fn what_is_neither_octal_nor_symbolic_is_refused() {
        for text in ["", "u", "rwx", "u=q", "u=rw,", ",u=rw", "-1", "u+r;g", "=é"] {
            assert!(matches!(ModeChange::parse(text), Err(ModeError::Symbolic(_))), "{text}");
        }
    }
}
