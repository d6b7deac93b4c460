//! What STOPSIGNAL may name.

use super::error::ErrorKind;

/// Refuses what is no signal.
pub(super) fn check_signal(text: &str) -> Result<(), ErrorKind> {
    if is_signal(text) { Ok(()) } else { Err(ErrorKind::Signal(text.to_owned())) }
}

/// `9`, `KILL` or `SIGKILL`; real-time signals as `RTMIN+3` (moby/sys signal).
fn is_signal(text: &str) -> bool {
    const NAMES: &str = "ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM TRAP TSTP TTIN TTOU UNUSED URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN RTMAX";
    if let Ok(number) = text.parse::<i32>() {
        return number != 0;
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let offset = |rest: &str, sign: char, most: u8| {
        rest.strip_prefix(sign).and_then(|n| n.parse::<u8>().ok()).is_some_and(|n| (1..=most).contains(&n))
    };
    NAMES.split(' ').any(|known| known == name)
        || name.strip_prefix("RTMIN").is_some_and(|rest| offset(rest, '+', 15))
        || name.strip_prefix("RTMAX").is_some_and(|rest| offset(rest, '-', 14))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_numbers_or_names() {
        for text in ["9", "KILL", "sigterm", "RTMIN+3", "SIGRTMAX-14"] {
            assert!(check_signal(text).is_ok(), "{text}");
        }
        for text in ["", "0", "SIG", "KILLER", "RTMIN+16", "RTMAX+1", "INT IO"] {
            assert!(check_signal(text).is_err(), "{text}");
        }
    }
}
