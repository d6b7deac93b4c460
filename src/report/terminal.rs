//! What the terminal on stderr is able to show.

use std::env;
use std::ffi::OsString;
use std::os::fd::AsFd;

use rustix::termios::{isatty, tcgetwinsize};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub columns: usize,
    pub rows: usize,
}

/// A terminal that can move its cursor.
pub struct Terminal {
    size: Box<dyn Fn() -> Option<Size> + Send>,
    pub(super) style: Style,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Style {
    pub color: bool,
    pub unicode: bool,
}

impl Terminal {
    /// The terminal on stderr, if stderr is one. Honours `TERM`, `NO_COLOR` and its kin, and the locale.
    pub fn stderr() -> Option<Self> {
        let style = Style::from_env(|name| env::var_os(name))?;
        let size = || {
            let size = tcgetwinsize(std::io::stderr().as_fd()).ok()?;
            Some(Size { columns: size.ws_col.into(), rows: size.ws_row.into() })
        };
        isatty(std::io::stderr()).then(|| Self { size: Box::new(size), style })
    }

    /// A terminal of a size that the caller knows, asked for at each frame.
    pub fn of_size(size: impl Fn() -> Size + Send + 'static, color: bool, unicode: bool) -> Self {
        Self { size: Box::new(move || Some(size())), style: Style { color, unicode } }
    }

    /// The size now; 80 × 24 where the terminal does not tell.
    pub fn size(&self) -> Size {
        (self.size)().filter(|size| size.columns > 0 && size.rows > 0).unwrap_or(Size { columns: 80, rows: 24 })
    }

    pub fn color(&self) -> bool {
        self.style.color
    }
}

/// Whether what is written to stderr may be coloured.
pub fn color_on_stderr() -> bool {
    color(&|name| env::var_os(name), isatty(std::io::stderr()))
}

/// `NO_COLOR` (<https://no-color.org>) before `CLICOLOR_FORCE` before `CLICOLOR` (<https://bixense.com/clicolors>) before what the terminal
/// says.
fn color(var: &impl Fn(&str) -> Option<OsString>, terminal: bool) -> bool {
    let set = |name| var(name).filter(|value| !value.is_empty());
    let on = |name| set(name).map(|value| value != "0");
    match (set("NO_COLOR"), on("CLICOLOR_FORCE"), on("CLICOLOR")) {
        (Some(_), _, _) => false,
        (None, Some(true), _) => true,
        (None, _, Some(false)) => false,
        (None, _, _) => terminal && set("TERM").is_none_or(|term| term != "dumb"),
    }
}

impl Style {
    /// `None` for a terminal that cannot move its cursor.
    fn from_env(var: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let set = |name| var(name).filter(|value| !value.is_empty());
        let term = set("TERM")?;
        let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG"));
        let utf8 = locale.is_some_and(|locale| {
            let locale = locale.to_string_lossy().to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        });
        (term != "dumb").then(|| Self { color: color(&var, true), unicode: utf8 && term != "linux" })
    }

    /// `text` between the SGR parameters `sgr` and a reset.
    pub fn paint(self, sgr: &str, text: &str) -> String {
        if self.color && !text.is_empty() { format!("\x1b[{sgr}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub fn choose(self, unicode: &'static str, ascii: &'static str) -> &'static str {
        if self.unicode { unicode } else { ascii }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_decides_on_colour_and_glyphs() {
        let style = |vars: &'static [(&str, &str)]| {
            Style::from_env(|name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value)))
        };
        let expected = |color, unicode| Some(Style { color, unicode });
        assert_eq!(style(&[("TERM", "xterm"), ("LANG", "C.UTF-8")]), expected(true, true));
        assert_eq!(style(&[("TERM", "xterm"), ("LC_ALL", "C"), ("LANG", "C.UTF-8")]), expected(true, false));
        assert_eq!(style(&[("TERM", "xterm"), ("NO_COLOR", "1")]), expected(false, false));
        assert_eq!(style(&[("TERM", "xterm"), ("NO_COLOR", "")]), expected(true, false));
        assert_eq!(style(&[("TERM", "xterm"), ("CLICOLOR", "0")]), expected(false, false));
        assert_eq!(style(&[("TERM", "dumb")]), None);
        assert_eq!(style(&[]), None);
    }

    #[test]
    fn without_a_terminal_there_is_colour_only_by_force() {
        let forced = |vars: &'static [(&str, &str)]| {
            color(&|name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value)), false)
        };
        assert!(forced(&[("CLICOLOR_FORCE", "1")]) && forced(&[("CLICOLOR_FORCE", "1"), ("CLICOLOR", "0"), ("TERM", "dumb")]));
        assert!(!forced(&[]) && !forced(&[("CLICOLOR_FORCE", "0")]) && !forced(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
    }
}
