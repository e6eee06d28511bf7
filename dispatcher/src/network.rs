//! The maintenance OS's own network: puts the machine's networkd files in place and waits until the controller's
//! address has a route. systemd-networkd does the work; here is only what to ask it and what to tell people.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use crate::clock::Clock;
use crate::console::Screen;
use crate::programs::{Processes, ProgramError, Programs};

/// The edge: networkd and the kernel's interfaces.
pub trait Network {
    /// Puts one networkd file in place.
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), NetworkError>;
    /// Makes networkd act on the files.
    fn reload(&self) -> Result<(), NetworkError>;
    /// The NICs of the machine, by name.
    fn nics(&self) -> Vec<Nic>;
    /// Whether the kernel knows a way to this address; `None` asks for a way to anywhere.
    fn has_route(&self, to: Option<IpAddr>) -> bool;
    /// What the switch ports say about themselves (LLDP), as text; empty when nothing was heard.
    fn neighbours(&self) -> String;
}

/// One network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// Kernel name.
    pub name: String,
    /// MAC address, lower case.
    pub mac: String,
    /// Whether a cable with a live other end is plugged in.
    pub link: bool,
    /// Its addresses that others can reach.
    pub addresses: Vec<IpAddr>,
}

/// What can go wrong with the host's network.
#[derive(Debug, Error)]
pub enum NetworkError {
    /// A file on the medium has a name that is not networkd's.
    #[error("host-network/{name} is not a systemd-networkd file name; it must end in .network or .netdev")]
    Name {
        /// Its name.
        name: String,
    },
    /// A file could not be put in place.
    #[error("writing {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// networkd did not reload.
    #[error("reloading systemd-networkd")]
    Reload(#[source] ProgramError),
}

/// How long to wait for an address before people are told.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How often to look.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Where networkd reads files of this boot.
const NETWORKD_DIR: &str = "/run/systemd/network";
/// Longest wait for `networkctl`.
const NETWORKCTL_DEADLINE: Duration = Duration::from_secs(20);
/// Any port does: nothing is sent.
const DISCARD_PORT: u16 = 9;

/// Puts the medium's files in place; without files DHCP and RA on every NIC stay in force.
pub fn configure<'a>(
    network: &dyn Network,
    files: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> Result<usize, NetworkError> {
    let mut count = 0;
    for (name, bytes) in files {
        if !is_networkd_name(name) {
            return Err(NetworkError::Name { name: name.to_owned() });
        }
        network.put(name, bytes)?;
        count += 1;
    }
    if count > 0 {
        network.reload()?;
    }
    Ok(count)
}

fn is_networkd_name(name: &str) -> bool {
    let known = [".network", ".netdev", ".link"].iter().any(|suffix| name.ends_with(suffix));
    known && !name.starts_with('.') && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// Waits until the controller at `host` (a name or an address) may be reached, at most [`PATIENCE`]. After that the
/// console lists every NIC and the dispatcher goes on trying: the address may come any time.
pub fn wait(network: &dyn Network, clock: &dyn Clock, screen: &dyn Screen, host: &str) -> bool {
    let to = host.parse::<IpAddr>().ok();
    let mut waited = Duration::ZERO;
    loop {
        let nics = network.nics();
        let addressed = nics.iter().any(|nic| !nic.addresses.is_empty());
        // A loopback controller exists in tests only and needs no NIC.
        if network.has_route(to) && (addressed || to.is_some_and(|to| to.is_loopback())) {
            for line in describe(&nics).lines().filter(|line| line.contains("address ")) {
                screen.line(line);
            }
            return true;
        }
        if waited >= PATIENCE {
            screen.line(&format!(
                "no way to the controller at {host} after {} s; still trying. NICs:",
                PATIENCE.as_secs()
            ));
            describe(&nics).lines().for_each(|line| screen.line(line));
            network.neighbours().lines().for_each(|line| screen.line(&format!("switch: {line}")));
            return false;
        }
        clock.sleep(LOOK_EVERY);
        waited += LOOK_EVERY;
    }
}

/// One line per NIC: name, MAC, link, addresses.
pub fn describe(nics: &[Nic]) -> String {
    let mut text = String::new();
    for nic in nics {
        let link = if nic.link { "link up" } else { "no link" };
        let addresses: Vec<String> = nic.addresses.iter().map(IpAddr::to_string).collect();
        let addresses = match addresses.as_slice() {
            [] => "no address".to_owned(),
            some => format!("address {}", some.join(", ")),
        };
        let _infallible = writeln!(text, "{} {} {link}, {addresses}", nic.name, nic.mac);
    }
    if text.is_empty() {
        text.push_str("no NIC at all; its driver or firmware may be missing from the maintenance OS\n");
    }
    text
}

/// The running kernel and its networkd.
pub struct Networkd;

impl Network for Networkd {
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), NetworkError> {
        let path = Path::new(NETWORKD_DIR).join(name);
        // Readable by all: networkd runs as its own user, and there is no secret in an address.
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(NETWORKD_DIR)
            .and_then(|()| OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&path))
            .and_then(|mut file| file.write_all(bytes))
            .map_err(|source| NetworkError::Write { path, source })
    }

    fn reload(&self) -> Result<(), NetworkError> {
        Processes
            .run("networkctl", &["reload"], NETWORKCTL_DEADLINE)
            .and_then(|output| output.ok("networkctl"))
            .map(drop)
            .map_err(NetworkError::Reload)
    }

    fn nics(&self) -> Vec<Nic> {
        let addresses: Vec<(String, IpAddr)> = nix::ifaddrs::getifaddrs()
            .map(|all| all.filter_map(|one| Some((one.interface_name, address_of(&one.address?)?))).collect())
            .unwrap_or_default();
        let mut nics: Vec<Nic> = fs::read_dir("/sys/class/net")
            .map(|entries| entries.filter_map(|entry| nic(&entry.ok()?.path(), &addresses)).collect())
            .unwrap_or_default();
        nics.sort_by(|a, b| a.name.cmp(&b.name));
        nics
    }

    fn has_route(&self, to: Option<IpAddr>) -> bool {
        // Connecting a datagram socket sends nothing; it fails when the kernel has no route.
        let anywhere = [
            IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
            IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
        ];
        to.as_ref().map_or(&anywhere[..], std::slice::from_ref).iter().any(|to| {
            let any = if to.is_ipv4() {
                IpAddr::V4(Ipv4Addr::UNSPECIFIED)
            } else {
                IpAddr::V6(Ipv6Addr::UNSPECIFIED)
            };
            UdpSocket::bind((any, 0)).and_then(|socket| socket.connect((*to, DISCARD_PORT))).is_ok()
        })
    }

    fn neighbours(&self) -> String {
        Processes
            .run("networkctl", &["--no-pager", "--no-legend", "--full", "lldp"], NETWORKCTL_DEADLINE)
            .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
            .unwrap_or_default()
    }
}

/// The interface in a folder of `/sys/class/net`, unless it is the loopback.
fn nic(folder: &Path, addresses: &[(String, IpAddr)]) -> Option<Nic> {
    let name = folder.file_name()?.to_str()?.to_owned();
    if name == "lo" {
        return None;
    }
    let read = |file: &str| fs::read_to_string(folder.join(file)).unwrap_or_default().trim().to_lowercase();
    Some(Nic {
        mac: read("address"),
        link: read("carrier") == "1",
        addresses: addresses.iter().filter(|(of, _)| *of == name).map(|(_, address)| *address).collect(),
        name,
    })
}

/// An address others can reach: neither loopback nor link-local.
fn address_of(address: &nix::sys::socket::SockaddrStorage) -> Option<IpAddr> {
    let address = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
        (Some(v4), _) => IpAddr::V4(v4.ip()),
        (_, Some(v6)) => IpAddr::V6(v6.ip()),
        _ => return None,
    };
    let local = match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local(),
    };
    (!local).then_some(address)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::{Network, NetworkError, Networkd, Nic, configure, describe, wait};
    use crate::clock::tests_support::FakeClock;
    use crate::console::RecordingScreen;

    #[derive(Default)]
    struct FakeNetwork {
        done: Mutex<Vec<String>>,
        nics: Vec<Nic>,
        routed: bool,
    }

    impl Network for FakeNetwork {
        fn put(&self, name: &str, bytes: &[u8]) -> Result<(), NetworkError> {
            self.done.lock().unwrap().push(format!("put {name} {}", bytes.len()));
            Ok(())
        }
        fn reload(&self) -> Result<(), NetworkError> {
            self.done.lock().unwrap().push("reload".to_owned());
            Ok(())
        }
        fn nics(&self) -> Vec<Nic> {
            self.nics.clone()
        }
        fn has_route(&self, _to: Option<std::net::IpAddr>) -> bool {
            self.routed
        }
        fn neighbours(&self) -> String {
            "eno1 00:11:22:33:44:55 sw-r4-12 Ethernet17".to_owned()
        }
    }

    fn eno(number: u8, address: Option<&str>) -> Nic {
        Nic {
            name: format!("eno{number}"),
            mac: format!("52:54:00:00:00:0{number}"),
            link: address.is_some(),
            addresses: address.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn files_of_the_medium_are_put_in_place_before_one_reload() {
        let network = FakeNetwork::default();
        let files = [("10-a.netdev", &b"x"[..]), ("10-a.network", b"yy")];
        assert_eq!(configure(&network, files.into_iter()).unwrap(), 2);
        assert_eq!(*network.done.lock().unwrap(), ["put 10-a.netdev 1", "put 10-a.network 2", "reload"]);
        assert_eq!(configure(&network, [].into_iter()).unwrap(), 0);
        assert_eq!(network.done.lock().unwrap().len(), 3, "without files nothing is reloaded");
    }

    #[test]
    fn a_file_that_is_not_networkds_is_refused() {
        for name in ["../evil.network", "run.sh", ".network", "a b.network"] {
            assert!(configure(&FakeNetwork::default(), [(name, &b""[..])].into_iter()).is_err(), "{name}");
        }
    }

    #[test]
    fn one_nic_with_an_address_suffices() {
        let network = FakeNetwork {
            nics: vec![eno(1, None), eno(2, Some("10.0.2.15"))],
            routed: true,
            ..Default::default()
        };
        let (clock, screen) = (FakeClock::default(), RecordingScreen::default());
        assert!(wait(&network, &clock, &screen, "10.0.2.2"));
        assert_eq!(clock.slept().as_secs(), 0);
        assert_eq!(screen.text(), "eno2 52:54:00:00:00:02 link up, address 10.0.2.15");
    }

    #[test]
    fn after_a_minute_without_address_the_console_lists_every_nic_and_switch_port() {
        let network = FakeNetwork { nics: vec![eno(1, None), eno(2, None)], ..Default::default() };
        let (clock, screen) = (FakeClock::default(), RecordingScreen::default());
        assert!(!wait(&network, &clock, &screen, "controller.example"));
        assert_eq!(clock.slept().as_secs(), 60);
        insta::assert_snapshot!(screen.text());
    }

    #[test]
    fn a_machine_without_nic_is_told_why_that_may_be() {
        assert!(describe(&[]).contains("driver or firmware"));
    }

    #[test]
    fn this_host_has_a_route_to_itself_and_its_nics_can_be_read() {
        assert!(Networkd.has_route(Some("127.0.0.1".parse().unwrap())));
        assert!(
            Networkd
                .nics()
                .iter()
                .all(|nic| nic.name != "lo" && nic.addresses.iter().all(|a| !a.is_loopback()))
        );
    }
}
