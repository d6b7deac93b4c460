//! Text from a RUN, made safe to print: no escape sequence (ECMA-48), no cursor movement, no bidirectional override.

/// One line of output as it would end up on a terminal: what a carriage return overwrote is gone, tabs stop at 8 columns,
/// invalid UTF-8 is replaced. The result holds no control characters.
pub fn sanitise(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    if text.bytes().all(|b| matches!(b, b' '..=b'~')) {
        return text.into_owned();
    }
    let shown = text.rsplit('\r').map(without_controls).find(|segment| !segment.is_empty());
    shown.unwrap_or_default()
}

fn without_controls(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut column = 0;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\x1b' => rest = after_escape(rest),
            '\u{9b}' => rest = after_csi(rest),
            '\t' => {
                let width = 8 - column % 8;
                out.extend(std::iter::repeat_n(' ', width));
                column += width;
            }
            '\n' => {
                out.push(' ');
                column += 1;
            }
            '\x08' => {
                column = column.saturating_sub(usize::from(out.pop().is_some()));
            }
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            c if c.is_control() => {}
            c => {
                out.push(c);
                column += 1;
            }
        }
    }
    out
}

/// What follows the sequence that an ESC began. An unfinished sequence hides no text.
fn after_escape(rest: &str) -> &str {
    let mut chars = rest.chars();
    match chars.next() {
        Some('[') => after_csi(chars.as_str()),
        // OSC, DCS, SOS, PM, APC: until BEL or ST.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            let body = chars.as_str();
            let end = body.find(['\x07', '\u{9c}']).into_iter().chain(body.find("\x1b\\")).min();
            match end {
                Some(at) => body[at..].strip_prefix("\x1b\\").or_else(|| body[at..].strip_prefix(['\x07', '\u{9c}'])).unwrap_or(""),
                None => body,
            }
        }
        // Two or more characters: intermediates and one final.
        Some(' '..='/') => {
            let body = chars.as_str().trim_start_matches(|c| matches!(c, ' '..='/'));
            body.strip_prefix(|c| matches!(c, '0'..='~')).unwrap_or(body)
        }
        Some('0'..='~') => chars.as_str(),
        _ => rest,
    }
}

/// What follows a control sequence: parameters, intermediates and one final character.
fn after_csi(rest: &str) -> &str {
    let body = rest.trim_start_matches(|c| matches!(c, '0'..='?')).trim_start_matches(|c| matches!(c, ' '..='/'));
    body.strip_prefix(|c| matches!(c, '@'..='~')).unwrap_or(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_is_left() {
        for (line, shown) in [
            (&b"plain \xc3\xa4 text"[..], "plain ä text"),
            (b"\x1b[31mred\x1b[0m", "red"),
            (b"a\x1b[2J\x1b[1;1Hb\x1b[?25lc", "abc"),
            (b"\x1b]0;title\x07text", "text"),
            (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
            (b"\x1bPq#0\x1b\\sixel", "sixel"),
            (b"\x1b(Bcharset\x1b7save\x1bc", "charsetsave"),
            (b"\x1b]unfinished text", "unfinished text"),
            (b"cut\x1b[3", "cut"),
            (b"cut\x1b", "cut"),
            (b"\xc2\x9b31mC1", "C1"),
            (b"10%\r20%\r100% done\r", "100% done"),
            (b"dos line\r", "dos line"),
            (b"a\tb", "a       b"),
            (b"bell\x07\x00 nul", "bell nul"),
            (b"spin|\x08/\x08-", "spin-"),
            (b"\xff\xfe", "\u{fffd}\u{fffd}"),
            ("abc\u{202e}cba".as_bytes(), "abccba"),
            (b"", ""),
        ] {
            assert_eq!(sanitise(line), shown, "{:?}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn no_control_character_survives_any_pair_of_bytes_after_escape() {
        for first in 0..=255 {
            for second in 0..=255 {
                let shown = sanitise(&[b'a', 0x1b, first, second, b'z']);
                assert!(shown.chars().all(|c| !c.is_control()), "{first:#x} {second:#x}");
            }
        }
    }
}
