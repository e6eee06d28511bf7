//! Rules for `host_network`: addresses that parse, and no NIC configured twice.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Faults, text};
use crate::identity::mac_key;
use crate::recipe::{Bond, HostLink, Recipe};

pub(super) fn check(recipe: &Recipe, faults: &mut Faults) {
    let Some(network) = &recipe.host_network else { return };
    faults.unless(
        network.links.len() <= 64,
        "/host_network/links",
        "maxItems",
        "must have at most 64 entries",
    );
    for (link, at) in network.links.iter().take(64).zip(0..) {
        one(link, &format!("/host_network/links/{at}"), faults);
    }
    twice(&network.links, faults);
    faults.unless(network.ntp.len() <= 16, "/host_network/ntp", "maxItems", "must have at most 16 entries");
    for (server, at) in network.ntp.iter().zip(0..) {
        let path = format!("/host_network/ntp/{at}");
        faults.unless(text::host(server), path, "pattern", "write a host name or an IP address");
    }
    let message = "write a URL that begins with https:// or http:// and holds no blanks";
    faults.unless(network.proxy.as_deref().is_none_or(text::url), "/host_network/proxy", "pattern", message);
}

fn one(link: &HostLink, path: &str, faults: &mut Faults) {
    let named = link.mac.is_some() != link.bond.is_some();
    faults.unless(named, path, "choice", "name the link by either mac or bond");
    if let Some(mac) = &link.mac {
        one_mac(mac, &format!("{path}/mac"), faults);
    }
    if let Some(bond) = &link.bond {
        members(bond, &format!("{path}/bond"), faults);
    }
    faults.unless(
        link.addresses.len() <= 32,
        format!("{path}/addresses"),
        "maxItems",
        "must have at most 32 entries",
    );
    for (address, at) in link.addresses.iter().zip(0..) {
        prefixed(address, &format!("{path}/addresses/{at}"), faults);
    }
    if let Some(gateway) = &link.gateway {
        address(gateway, &format!("{path}/gateway"), faults);
    }
    faults.unless(link.dns.len() <= 16, format!("{path}/dns"), "maxItems", "must have at most 16 entries");
    for (server, at) in link.dns.iter().zip(0..) {
        address(server, &format!("{path}/dns/{at}"), faults);
    }
    let mtu = link.mtu.is_none_or(|mtu| (576..=9216).contains(&mtu));
    faults.unless(mtu, format!("{path}/mtu"), "minimum", "must be from 576 to 9216");
    let vlan = link.vlan.is_none_or(|vlan| (1..=4094).contains(&vlan));
    faults.unless(vlan, format!("{path}/vlan"), "minimum", "must be from 1 to 4094");
    let alone = link.gateway.is_some() && link.addresses.is_empty();
    let message = "a gateway needs an address on the same link: add addresses, or leave the gateway to DHCP";
    faults.unless(!alone, format!("{path}/gateway"), "network.gateway_alone", message);
}

fn one_mac(mac: &str, path: &str, faults: &mut Faults) {
    if !text::mac(mac) {
        faults.add(path, "pattern", "write a MAC address as aa:bb:cc:dd:ee:ff");
    } else if mac_key(mac).is_none() {
        let message = "this is a multicast, broadcast or empty address: no NIC has it";
        faults.add(path, "network.mac", message);
    }
}

fn members(bond: &Bond, path: &str, faults: &mut Faults) {
    let known = ["active-backup", "802.3ad", "balance-xor"].contains(&bond.mode.as_str());
    let message = "must be one of active-backup, 802.3ad, balance-xor";
    faults.unless(known, format!("{path}/mode"), "enum", message);
    let count = (2..=16).contains(&bond.members.len());
    faults.unless(count, format!("{path}/members"), "minItems", "must have 2 to 16 entries");
    let mut seen = BTreeSet::new();
    for (mac, at) in bond.members.iter().take(16).zip(0..) {
        let path = format!("{path}/members/{at}");
        one_mac(mac, &path, faults);
        let fresh = mac_key(mac).is_none_or(|key| seen.insert(key));
        faults.unless(fresh, path, "network.twice", "this NIC stands in the bond twice");
    }
}

fn prefixed(text_: &str, path: &str, faults: &mut Faults) {
    let message = "write an address with its prefix length, such as 192.0.2.5/24";
    let parts = text_.split_once('/').filter(|(address, prefix)| {
        (2..=45).contains(&address.len())
            && text::address(address)
            && (1..=3).contains(&prefix.len())
            && prefix.bytes().all(|byte| byte.is_ascii_digit())
    });
    let Some((address, prefix)) = parts else { return faults.add(path, "pattern", message) };
    let fits = match (address.parse::<IpAddr>(), prefix.parse::<u8>()) {
        (Ok(IpAddr::V4(_)), Ok(prefix)) => prefix <= 32,
        (Ok(IpAddr::V6(_)), Ok(prefix)) => prefix <= 128,
        _ => false,
    };
    faults.unless(fits, path, "network.address", message);
}

fn address(text_: &str, path: &str, faults: &mut Faults) {
    let message = "write an IPv4 or IPv6 address";
    if text_.len() > 45 || !text::address(text_) {
        faults.add(path, "pattern", message);
    } else {
        faults.unless(text_.parse::<IpAddr>().is_ok(), path, "network.address", message);
    }
}

/// A NIC, or the same VLAN on it, in two links.
fn twice(links: &[HostLink], faults: &mut Faults) {
    let mut seen = BTreeSet::new();
    for (link, at) in links.iter().take(64).zip(0..) {
        let mut nics: Vec<String> = match (&link.mac, &link.bond) {
            (Some(mac), None) => mac_key(mac).into_iter().collect(),
            (None, Some(bond)) => bond.members.iter().filter_map(|mac| mac_key(mac)).collect(),
            _ => Vec::new(),
        };
        nics.sort();
        let fresh = nics.is_empty() || seen.insert((nics, link.vlan));
        let message =
            "another link configures the same NIC: put the addresses in one link, or give this one a VLAN";
        faults.unless(fresh, format!("/host_network/links/{at}"), "network.twice", message);
    }
}
