//! Which addresses outbound requests may go to. Pure.
//!
//! Refused unless allowed by configuration: loopback, link-local (cloud metadata lives there), unspecified,
//! multicast, broadcast, and the metadata addresses that are elsewhere. IPv4 inside IPv6 is judged as IPv4.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Addresses with a common beginning, `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    address: IpAddr,
    bits: u8,
}

/// Text that is no prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address range; write it as 10.0.0.0/8 or 10.0.0.1")]
pub struct NotAPrefix(String);

impl FromStr for Prefix {
    type Err = NotAPrefix;

    fn from_str(text: &str) -> Result<Self, NotAPrefix> {
        let fault = || NotAPrefix(text.chars().take(64).collect());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| fault())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| fault())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        if bits > most { Err(fault()) } else { Ok(Self { address, bits }) }
    }
}

impl Prefix {
    fn holds(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(mine), IpAddr::V4(other)) => {
                same(u32::from(mine).into(), u32::from(other).into(), 32, self.bits)
            }
            (IpAddr::V6(mine), IpAddr::V6(other)) => same(mine.into(), other.into(), 128, self.bits),
            _ => false,
        }
    }
}

fn same(one: u128, other: u128, width: u8, bits: u8) -> bool {
    bits == 0 || (one ^ other) >> (width - bits) == 0
}

/// What the site allows beyond the rule.
#[derive(Debug, Clone, Default)]
pub struct AddressRules {
    /// Ranges that are allowed although they are of a refused kind.
    pub allow: Vec<Prefix>,
}

/// Metadata services outside of the link-local ranges: Alibaba, Oracle, AWS (IPv6).
const METADATA_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];
const METADATA_V6: [Ipv6Addr; 1] = [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)];

impl AddressRules {
    /// All of loopback, for those who allow it.
    pub fn loopback() -> [Prefix; 2] {
        [
            Prefix { address: Ipv4Addr::new(127, 0, 0, 0).into(), bits: 8 },
            Prefix { address: Ipv6Addr::LOCALHOST.into(), bits: 128 },
        ]
    }

    /// The kind of a refused address; none when requests may go there.
    pub fn refuses(&self, address: IpAddr) -> Option<&'static str> {
        let address = plain(address);
        let kind = kind(address)?;
        if self.allow.iter().any(|prefix| prefix.holds(address)) { None } else { Some(kind) }
    }
}

fn kind(address: IpAddr) -> Option<&'static str> {
    let metadata = match address {
        IpAddr::V4(ip) => METADATA_V4.contains(&ip),
        IpAddr::V6(ip) => METADATA_V6.contains(&ip),
    };
    let link_local = match address {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let unspecified = match address {
        IpAddr::V4(ip) => ip.octets()[0] == 0, // 0.0.0.0/8 is "this network"
        IpAddr::V6(ip) => ip.is_unspecified(),
    };
    [
        (metadata, "metadata"),
        (link_local, "link-local"),
        (address.is_loopback(), "loopback"),
        (unspecified, "unspecified"),
        (address.is_multicast(), "multicast"),
        (address == IpAddr::V4(Ipv4Addr::BROADCAST), "broadcast"),
    ]
    .into_iter()
    .find_map(|(is, kind)| is.then_some(kind))
}

/// An IPv4 address that travels inside IPv6 (mapped, NAT64, 6to4) as itself.
fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(ip) = address else { return address };
    let [.., a, b, c, d] = ip.octets();
    match ip.segments() {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Ipv4Addr::new(a, b, c, d).into(),
        // ::1 and :: are their own; the rest of ::/96 is IPv4-compatible.
        [0, 0, 0, 0, 0, 0, high, _] if high != 0 => Ipv4Addr::new(a, b, c, d).into(),
        [0x2002, ab, cd, ..] => {
            let [a, b] = ab.to_be_bytes();
            let [c, d] = cd.to_be_bytes();
            Ipv4Addr::new(a, b, c, d).into()
        }
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_refused_kinds_are_refused_in_every_disguise() {
        let rules = AddressRules::default();
        let cases = [
            ("10.0.0.5", None),
            ("192.168.1.1", None),
            ("2001:db8::1", None),
            ("fd00::1", None),
            ("127.0.0.1", Some("loopback")),
            ("::1", Some("loopback")),
            ("::ffff:127.0.0.1", Some("loopback")),
            ("169.254.169.254", Some("link-local")),
            ("::ffff:169.254.169.254", Some("link-local")),
            ("64:ff9b::a9fe:a9fe", Some("link-local")),
            ("2002:a9fe:a9fe::1", Some("link-local")),
            ("::169.254.169.254", Some("link-local")),
            ("fe80::1", Some("link-local")),
            ("fd00:ec2::254", Some("metadata")),
            ("100.100.100.200", Some("metadata")),
            ("0.0.0.0", Some("unspecified")),
            ("0.1.2.3", Some("unspecified")),
            ("::", Some("unspecified")),
            ("224.0.0.1", Some("multicast")),
            ("ff02::1", Some("multicast")),
            ("255.255.255.255", Some("broadcast")),
        ];
        for (text, wanted) in cases {
            assert_eq!(rules.refuses(text.parse().unwrap()), wanted, "{text}");
        }
    }

    #[test]
    fn a_site_can_allow_what_it_means() {
        let rules = AddressRules { allow: vec!["127.0.0.0/8".parse().unwrap(), "fe80::1".parse().unwrap()] };
        for (text, refused) in [
            ("127.9.9.9", false),
            ("::ffff:127.0.0.1", false),
            ("fe80::1", false),
            ("fe80::2", true),
            ("::1", true),
        ] {
            assert_eq!(rules.refuses(text.parse().unwrap()).is_some(), refused, "{text}");
        }
        let rules = AddressRules { allow: AddressRules::loopback().to_vec() };
        for (text, refused) in [("127.9.9.9", false), ("::1", false), ("::2", false), ("169.254.1.1", true)] {
            assert_eq!(rules.refuses(text.parse().unwrap()).is_some(), refused, "{text}");
        }
        for wrong in ["", "10.0.0.0/33", "x/8", "10.0.0.0/-1", "::/129"] {
            assert!(wrong.parse::<Prefix>().is_err(), "{wrong}");
        }
    }
}
