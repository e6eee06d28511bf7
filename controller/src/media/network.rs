//! `host_network` as systemd-networkd files. Pure: every value is parsed before it is written, so that no value
//! can carry a second line into a file. Links that are not named keep the maintenance OS's DHCP default.
//!
//! ```text
//! link n, plain      10-link<n>.network
//!         with vlan  10-link<n>.network (carrier), 20-link<n>-vlan.netdev, 30-link<n>-vlan.network
//!         with bond  10-link<n>.network (members), 15-link<n>-bond.netdev, 18-link<n>-bond.network
//! ntp     for links that are not named: 70-ntp.network
//! ```
//! NICs are matched by their permanent address: a bond changes the present one, and a VLAN inherits it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use schema::recipe::{Bond, HostLink, HostNetwork};

/// Largest VLAN id (4095 is reserved by IEEE 802.1Q).
const VLAN_MAX: u16 = 4094;
/// Smallest MTU IPv4 allows, and the largest that common NICs take.
const MTU: std::ops::RangeInclusive<u32> = 576..=9216;
/// Bond modes that switches and networkd both know.
const BOND_MODES: &[&str] = &["active-backup", "802.3ad", "balance-xor"];
/// Interface names hold 15 characters; `link99-vlan4094` is 15.
const LINKS_MAX: usize = 99;

/// A value that cannot be written.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NetworkError {
    /// One value is not what its field wants.
    #[error("link {link}: {field} is {value:?}, expected {expected}")]
    Value {
        /// Number of the link, from 1; 0 for values that belong to no link.
        link: usize,
        /// Field of the link.
        field: &'static str,
        /// What was given.
        value: String,
        /// What it must look like.
        expected: &'static str,
    },
    /// Neither a NIC nor a bond is named.
    #[error("link {link} names neither mac nor bond; give the MAC address of the NIC")]
    Nameless {
        /// Number of the link, from 1.
        link: usize,
    },
    /// Too many links.
    #[error("host_network has {given} links; {LINKS_MAX} is the most")]
    TooMany {
        /// How many there are.
        given: usize,
    },
}

/// File name to text, in the order networkd reads them.
pub fn files(network: &HostNetwork) -> Result<BTreeMap<String, String>, NetworkError> {
    if network.links.len() > LINKS_MAX {
        return Err(NetworkError::TooMany { given: network.links.len() });
    }
    for server in &network.ntp {
        let fits = !server.is_empty()
            && server.len() <= 253
            && server.bytes().all(|b| b.is_ascii_alphanumeric() || b".:-".contains(&b));
        check(fits, 0, "ntp", server, "an address or a host name")?;
    }
    let mut files = BTreeMap::new();
    if !network.ntp.is_empty() {
        files.insert("70-ntp.network".to_owned(), unnamed(&network.ntp));
    }
    for (index, link) in network.links.iter().enumerate() {
        link_files(index + 1, link, &network.ntp, &mut files)?;
    }
    Ok(files)
}

/// Links that nobody names ask DHCP as ever (units/network/80-slipway-dhcp.network), and know the time servers.
fn unnamed(ntp: &[String]) -> String {
    let servers = ntp.iter().fold(String::new(), |text, server| text + "NTP=" + server + "\n");
    format!(
        "# Slipway, links that host_network does not name\n[Match]\nType=ether infiniband\nKind=!*\n\n\
         [Network]\nDHCP=yes\nIPv6AcceptRA=yes\nLLDP=yes\n{servers}\n\
         [DHCPv4]\nClientIdentifier=mac\nUseHostname=no\nSendHostname=no\n\n\
         [DHCPv6]\nUseHostname=no\nSendHostname=no\n"
    )
}

fn link_files(
    n: usize,
    link: &HostLink,
    ntp: &[String],
    files: &mut BTreeMap<String, String>,
) -> Result<(), NetworkError> {
    if let Some(mtu) = link.mtu {
        check(MTU.contains(&mtu), n, "mtu", &mtu.to_string(), "576 to 9216")?;
    }
    let macs = match (&link.bond, &link.mac) {
        (Some(bond), _) => bond.members.iter().map(|mac| parse_mac(n, "bond.members", mac)).collect(),
        (None, Some(mac)) => parse_mac(n, "mac", mac).map(|mac| vec![mac]),
        (None, None) => return Err(NetworkError::Nameless { link: n }),
    }?;
    let nics = format!("[Match]\nPermanentMACAddress={}\n", macs.join(" "));
    let addressing = addressing(n, link, ntp)?;
    let vlan = link.vlan.map(|id| format!("link{n}-vlan{id}"));
    // What the addresses sit on: the VLAN where there is one, else the link itself.
    let carried = match &vlan {
        Some(name) => format!("[Network]\nVLAN={name}\nDHCP=no\nIPv6AcceptRA=no\nLinkLocalAddressing=no\n"),
        None => addressing.clone(),
    };
    let mtu = link.mtu.map(|mtu| format!("\n[Link]\nMTUBytes={mtu}\n")).unwrap_or_default();
    let head = format!("# Slipway, host_network link {n}\n");
    if let Some(bond) = &link.bond {
        let name = format!("link{n}-bond");
        files.insert(format!("10-link{n}.network"), format!("{head}{nics}{mtu}\n[Network]\nBond={name}\n"));
        files.insert(format!("15-link{n}-bond.netdev"), format!("{head}{}", bond_netdev(n, &name, bond)?));
        files.insert(
            format!("18-link{n}-bond.network"),
            format!("{head}[Match]\nName={name}\n{mtu}\n{carried}"),
        );
    } else {
        files.insert(format!("10-link{n}.network"), format!("{head}{nics}{mtu}\n{carried}"));
    }
    if let (Some(name), Some(id)) = (vlan, link.vlan) {
        check((1..=VLAN_MAX).contains(&id), n, "vlan", &id.to_string(), "1 to 4094")?;
        files.insert(
            format!("20-link{n}-vlan.netdev"),
            format!("{head}[NetDev]\nName={name}\nKind=vlan\n\n[VLAN]\nId={id}\n"),
        );
        files.insert(
            format!("30-link{n}-vlan.network"),
            format!("{head}[Match]\nName={name}\n{mtu}\n{addressing}"),
        );
    }
    Ok(())
}

fn bond_netdev(n: usize, name: &str, bond: &Bond) -> Result<String, NetworkError> {
    check(
        BOND_MODES.contains(&bond.mode.as_str()),
        n,
        "bond.mode",
        &bond.mode,
        "active-backup, 802.3ad or balance-xor",
    )?;
    check(bond.members.len() >= 2, n, "bond.members", &bond.members.join(" "), "two MAC addresses or more")?;
    let mut text =
        format!("[NetDev]\nName={name}\nKind=bond\n\n[Bond]\nMode={}\nMIIMonitorSec=100ms\n", bond.mode);
    if bond.mode == "802.3ad" {
        text.push_str("LACPTransmitRate=fast\n");
    }
    Ok(text)
}

/// The `[Network]` section (and a `[Route]` where the gateway is outside every prefix).
fn addressing(n: usize, link: &HostLink, ntp: &[String]) -> Result<String, NetworkError> {
    let mut prefixes = Vec::new();
    for text in &link.addresses {
        let parsed = parse_prefix(text);
        check(parsed.is_some(), n, "addresses", text, "an address with prefix length, such as 192.0.2.5/24")?;
        prefixes.extend(parsed);
    }
    let mut out = String::from("[Network]\n");
    if prefixes.is_empty() {
        out.push_str("DHCP=yes\nIPv6AcceptRA=yes\n");
    } else {
        out.push_str("DHCP=no\nIPv6AcceptRA=no\n");
    }
    for (address, bits) in &prefixes {
        let _ = writeln!(out, "Address={address}/{bits}");
    }
    let mut route = String::new();
    if let Some(text) = &link.gateway {
        let parsed: Option<IpAddr> = text.parse().ok();
        check(parsed.is_some(), n, "gateway", text, "an IP address")?;
        if let Some(gateway) = parsed {
            let near = prefixes.is_empty() || prefixes.iter().any(|prefix| holds(*prefix, gateway));
            if near {
                let _ = writeln!(out, "Gateway={gateway}");
            } else {
                let _ = write!(route, "\n[Route]\nGateway={gateway}\nGatewayOnLink=yes\n");
            }
        }
    }
    for text in &link.dns {
        let parsed: Option<IpAddr> = text.parse().ok();
        check(parsed.is_some(), n, "dns", text, "an IP address")?;
        let _ = writeln!(out, "DNS={text}");
    }
    for server in ntp {
        let _ = writeln!(out, "NTP={server}");
    }
    Ok(out + &route)
}

fn check(
    fits: bool,
    link: usize,
    field: &'static str,
    value: &str,
    expected: &'static str,
) -> Result<(), NetworkError> {
    if fits { Ok(()) } else { Err(NetworkError::Value { link, field, value: value.to_owned(), expected }) }
}

/// Lower case, colons; `-` is read as well.
fn parse_mac(link: usize, field: &'static str, text: &str) -> Result<String, NetworkError> {
    let mac = text.to_ascii_lowercase().replace('-', ":");
    let parts: Vec<&str> = mac.split(':').collect();
    let fits =
        parts.len() == 6 && parts.iter().all(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()));
    check(fits, link, field, text, "a MAC address, such as 52:54:00:12:34:56")?;
    Ok(mac)
}

fn parse_prefix(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let bits: u8 = bits.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    (bits <= most).then_some((address, bits))
}

/// Whether `address` lies in the prefix.
fn holds((network, bits): (IpAddr, u8), address: IpAddr) -> bool {
    let wide = |address: IpAddr| match address {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)) << 96, 0),
        IpAddr::V6(v6) => (u128::from(v6), 1),
    };
    let ((a, family_a), (b, family_b)) = (wide(network), wide(address));
    family_a == family_b && (bits == 0 || (a ^ b) >> (128 - u32::from(bits)) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(json: &str) -> HostNetwork {
        serde_json::from_str(json).unwrap()
    }

    fn shown(json: &str) -> String {
        let mut out = String::new();
        for (name, text) in files(&network(json)).unwrap() {
            let _ = write!(out, "==> {name} <==\n{text}\n");
        }
        out
    }

    #[test]
    fn a_static_address_becomes_one_file() {
        insta::assert_snapshot!(shown(
            r#"{"links": [{"mac": "52:54:00:AB:CD:01", "addresses": ["10.0.2.50/24", "fd00::50/64"],
                "gateway": "10.0.2.2", "dns": ["10.0.2.3"], "mtu": 9000}], "ntp": ["10.0.2.2", "ntp.example.org"]}"#
        ));
    }

    #[test]
    fn time_servers_reach_links_that_are_not_named_and_nothing_else_of_them_changes() {
        let files = files(&network(r#"{"ntp": ["10.0.2.2", "ntp.example.org"]}"#)).unwrap();
        assert_eq!(files.keys().collect::<Vec<_>>(), ["70-ntp.network"]);
        let plain = |text: &str| {
            let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../units/network/80-slipway-dhcp.network");
        let mut ours = plain(&files["70-ntp.network"]);
        ours.retain(|line| !matches!(line.as_str(), "NTP=10.0.2.2" | "NTP=ntp.example.org"));
        assert_eq!(ours, plain(&std::fs::read_to_string(path).unwrap()));
        assert_eq!(files["70-ntp.network"].matches("NTP=").count(), 2);
    }

    #[test]
    fn a_link_without_addresses_asks_dhcp_and_routers() {
        insta::assert_snapshot!(shown(r#"{"links": [{"mac": "52-54-00-ab-cd-01"}]}"#));
    }

    #[test]
    fn a_vlan_over_a_bond_puts_the_address_on_the_vlan() {
        insta::assert_snapshot!(shown(
            r#"{"links": [{"bond": {"mode": "802.3ad", "members": ["52:54:00:ab:cd:01", "52:54:00:ab:cd:02"]},
                "vlan": 100, "addresses": ["192.0.2.9/31"], "gateway": "192.0.2.8", "mtu": 1500},
                {"mac": "52:54:00:ab:cd:03", "vlan": 4094}]}"#
        ));
    }

    #[test]
    fn a_gateway_outside_the_prefix_is_reached_on_link() {
        let text = shown(
            r#"{"links": [{"mac": "52:54:00:ab:cd:01", "addresses": ["192.0.2.9/32"], "gateway": "198.51.100.1"}]}"#,
        );
        assert!(text.contains("[Route]\nGateway=198.51.100.1\nGatewayOnLink=yes\n"), "{text}");
    }

    #[test]
    fn no_value_can_smuggle_in_a_second_line() {
        let table = [
            (r#"{"links": [{"mac": "52:54:00:ab:cd:01\nName=x"}]}"#, "mac"),
            (
                r#"{"links": [{"mac": "52:54:00:ab:cd:01", "addresses": ["10.0.0.1/24\nDNS=1.1.1.1"]}]}"#,
                "addresses",
            ),
            (r#"{"links": [{"mac": "52:54:00:ab:cd:01", "addresses": ["10.0.0.1/33"]}]}"#, "addresses"),
            (r#"{"links": [{"mac": "52:54:00:ab:cd:01", "gateway": "gw"}]}"#, "gateway"),
            (r#"{"links": [{"mac": "52:54:00:ab:cd:01", "dns": ["1.1.1.1\n"]}]}"#, "dns"),
            (r#"{"links": [{"mac": "52:54:00:ab:cd:01", "mtu": 100}]}"#, "mtu"),
            (r#"{"links": [{"mac": "52:54:00:ab:cd:01", "vlan": 4095}]}"#, "vlan"),
            (
                r#"{"links": [{"bond": {"mode": "x\ny", "members": ["52:54:00:ab:cd:01", "52:54:00:ab:cd:02"]}}]}"#,
                "bond.mode",
            ),
            (
                r#"{"links": [{"bond": {"mode": "802.3ad", "members": ["52:54:00:ab:cd:01"]}}]}"#,
                "bond.members",
            ),
            (r#"{"ntp": ["a b"]}"#, "ntp"),
        ];
        for (json, wanted) in table {
            match files(&network(json)) {
                Err(NetworkError::Value { field, .. }) => assert_eq!(field, wanted, "{json}"),
                other => panic!("{json}: {other:?}"),
            }
        }
        assert_eq!(files(&network(r#"{"links": [{}]}"#)), Err(NetworkError::Nameless { link: 1 }));
    }
}
