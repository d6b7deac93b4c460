//! What EXPOSE accepts: `[[ip:]host:]port[-end][/tcp|udp|sctp]`, of which an image keeps port and protocol.

use std::net::IpAddr;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    #[error("no port specified: {0}<empty>")]
    Missing(String),
    #[error("invalid proto: {0}")]
    Protocol(String),
    #[error("invalid IP address: {0}")]
    Address(String),
    #[error("invalid container port: {0}")]
    Container(String),
    #[error("invalid host port: {0}")]
    Host(String),
    #[error("invalid ranges specified for container and host ports: {container} and {host}")]
    Ranges { container: String, host: String },
}

/// The exposed ports of one word of EXPOSE, after expansion, as `port/protocol`; a range gives each of its ports.
pub fn parse_ports(word: &str) -> Result<impl Iterator<Item = String> + use<>, PortError> {
    let mut parts = word.rsplitn(3, ':');
    let (container, host, address) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let (container, protocol) = container.split_once('/').unwrap_or((container, ""));
    if container.is_empty() {
        return Err(PortError::Missing(format!("{container}{}", if protocol.is_empty() { "" } else { "/" })));
    }
    let protocol = match protocol.to_lowercase().as_str() {
        "" | "tcp" => "tcp",
        "udp" => "udp",
        "sctp" => "sctp",
        other => return Err(PortError::Protocol(other.to_owned())),
    };
    let bare = address.strip_prefix('[').map_or(Some(address), |rest| rest.strip_suffix(']'));
    if !address.is_empty() && bare.and_then(|bare| bare.parse::<IpAddr>().ok()).is_none() {
        return Err(PortError::Address(address.to_owned()));
    }
    let (start, end) = range(container).ok_or_else(|| PortError::Container(container.to_owned()))?;
    if !host.is_empty() {
        let (host_start, host_end) = range(host).ok_or_else(|| PortError::Host(host.to_owned()))?;
        if end != start && end - start != host_end - host_start {
            return Err(PortError::Ranges { container: container.to_owned(), host: host.to_owned() });
        }
    }
    Ok((start..=end).map(move |port| format!("{port}/{protocol}")))
}

fn range(text: &str) -> Option<(u16, u16)> {
    let port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u16>().ok()).flatten();
    let (start, end) = match text.split_once('-') {
        Some((start, end)) => (port(start)?, port(end)?),
        None => (port(text)?, port(text)?),
    };
    (start <= end).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_read_as_buildkit_reads_them() {
        let cases: &[(&str, &[&str])] = &[
            ("80", &["80/tcp"]),
            ("53/UDP", &["53/udp"]),
            ("80/", &["80/tcp"]),
            ("1234-1236/sctp", &["1234/sctp", "1235/sctp", "1236/sctp"]),
            ("0.0.0.0:1234-1235:3333-3334/tcp", &["3333/tcp", "3334/tcp"]),
            ("8000-9000:80", &["80/tcp"]),
            ("[2001:4860:0:2001::68]::333", &["333/tcp"]),
            ("[::1]:80:80", &["80/tcp"]),
            ("2001:4860:0:2001::68::333", &["333/tcp"]),
            ("::1:80:80", &["80/tcp"]),
            ("::::80", &["80/tcp"]),
        ];
        for (word, expected) in cases {
            let ports: Vec<String> = parse_ports(word).unwrap_or_else(|error| panic!("{word}: {error}")).collect();
            assert_eq!(ports, *expected, "{word}");
        }
    }

    #[test]
    fn malformed_ports_are_refused() {
        let cases = [
            ("", PortError::Missing(String::new())),
            ("/tcp", PortError::Missing("/".into())),
            ("80/icmp", PortError::Protocol("icmp".into())),
            ("localhost:1234:1234/tcp", PortError::Address("localhost".into())),
            ("[::1:80:80", PortError::Address("[::1".into())),
            ("http", PortError::Container("http".into())),
            ("+80", PortError::Container("+80".into())),
            ("65536", PortError::Container("65536".into())),
            ("9-8", PortError::Container("9-8".into())),
            ("1-2-3", PortError::Container("1-2-3".into())),
            ("x:80", PortError::Host("x".into())),
            ("1-3:80-81", PortError::Ranges { container: "80-81".into(), host: "1-3".into() }),
        ];
        for (word, expected) in cases {
            assert_eq!(parse_ports(word).err(), Some(expected), "{word}");
        }
    }
}
