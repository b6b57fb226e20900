//! Which hosts a request may go to: every public address, and what the deployment lists.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Hosts that may be asked though their addresses are not public: `host`, `host:port`, `[address]:port`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedHosts(Vec<(String, Option<u16>)>);

impl AllowedHosts {
    /// Reads a list with commas between its hosts. An error is the part that is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let hosts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        hosts.map(|part| host(part).ok_or_else(|| part.to_owned())).collect::<Result<_, _>>().map(Self)
    }

    /// Whether this host may be asked at this port, whatever its address is.
    pub(super) fn contain(&self, host: &str, port: u16) -> bool {
        self.0.iter().any(|(known, at)| known.eq_ignore_ascii_case(host) && at.is_none_or(|at| at == port))
    }
}

fn host(text: &str) -> Option<(String, Option<u16>)> {
    if text.parse::<Ipv6Addr>().is_ok() {
        return Some((text.to_owned(), None));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, Some(port.parse().ok().filter(|port| *port != 0)?)),
        _ => (text, None),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let is_host = bare.parse::<Ipv6Addr>().is_ok() || (!bare.is_empty() && bare.chars().all(is_name));
    is_host.then(|| (bare.to_owned(), port))
}

/// Whether everybody may reach an address: it is of no machine's own, no local network's and no cloud's inside.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// Blocks of IPv4 that are not of the public network, each with the bits that name it.
const NOT_PUBLIC: &[(Ipv4Addr, u32)] = &[
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    // Multicast, and what is kept for later.
    (Ipv4Addr::new(224, 0, 0, 0), 3),
    // Azure's own services answer here, from within a machine alone.
    (Ipv4Addr::new(168, 63, 129, 16), 32),
];

fn is_public_v4(address: Ipv4Addr) -> bool {
    let is_in = |(block, bits): &(Ipv4Addr, u32)| (address.to_bits() ^ block.to_bits()) >> (32 - bits) == 0;
    !NOT_PUBLIC.iter().any(is_in)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    // Only 2000::/3 is given out. Of it, some blocks are not, or stand for an IPv4 address that is not looked at.
    let is_given_out = first >> 13 == 0b001;
    let is_special = first == 0x2001 && second < 0x0200;
    let is_documentation = (first == 0x2001 && second == 0x0db8) || (first == 0x3fff && second < 0x1000);
    let is_six_to_four = first == 0x2002;
    is_given_out && !is_special && !is_documentation && !is_six_to_four
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_no_public_network_are_told() {
        let refused = [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "169.254.170.2",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.168.1.1",
            "198.18.0.1",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ];
        for address in refused {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in
            ["1.1.1.1", "9.255.255.255", "172.15.0.1", "172.32.0.1", "223.255.255.255", "2606:4700::1111", "2a00::1"]
        {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn a_list_of_hosts_is_read() {
        let allowed = AllowedHosts::parse(" localhost, Example.org:8080 ,[::1]:9,fe80::1,10.0.0.1, ").unwrap();
        for (host, port, expected) in [
            ("localhost", 1, true),
            ("LOCALHOST", 65535, true),
            ("example.org", 8080, true),
            ("example.org", 80, false),
            ("sub.example.org", 8080, false),
            ("::1", 9, true),
            ("::1", 10, false),
            ("fe80::1", 443, true),
            ("10.0.0.1", 443, true),
            ("10.0.0.10", 443, false),
        ] {
            assert_eq!(allowed.contain(host, port), expected, "{host} {port}");
        }
        for wrong in ["a b", "host:0", "host:99999", "host:", ":80", "http://host", "*", "[::1"] {
            assert_eq!(AllowedHosts::parse(&format!("ok, {wrong}")), Err(wrong.to_owned()));
        }
    }
}
