//! Who this machine says it is: DMI and NICs, read from sysfs. Whether that is who the medium is for is decided by
//! [`schema::identity::check`].

use std::fs;
use std::path::{Path, PathBuf};

use schema::task::Identity;

/// Reads the machine's identity.
pub trait Hardware {
    /// Serial, UUID and MAC addresses as firmware gives them; empty where it gives none.
    fn identity(&self) -> Identity;
}

/// Identity from a sysfs tree, `/sys` outside tests.
pub struct Sysfs {
    /// Root of the tree.
    pub root: PathBuf,
}

impl Default for Sysfs {
    fn default() -> Self {
        Self { root: PathBuf::from("/sys") }
    }
}

impl Hardware for Sysfs {
    fn identity(&self) -> Identity {
        let dmi = |file: &str| read(&self.root.join("class/dmi/id").join(file));
        let mut macs: Vec<String> = fs::read_dir(self.root.join("class/net"))
            .map(|nics| nics.filter_map(|nic| permanent_mac(&nic.ok()?.path())).collect())
            .unwrap_or_default();
        macs.sort();
        macs.dedup();
        Identity { serial: dmi("product_serial").unwrap_or_default(), uuid: dmi("product_uuid"), macs }
    }
}

/// The MAC of a real NIC. Bonds and VLANs have no device behind them and borrow theirs.
fn permanent_mac(nic: &Path) -> Option<String> {
    if !nic.join("device").exists() {
        return None;
    }
    // A bond member takes the bond's address; its own stays here.
    let own = read(&nic.join("bonding_slave/perm_hwaddr"));
    own.or_else(|| read(&nic.join("address"))).as_deref().and_then(schema::identity::mac_key)
}

fn read(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Hardware, Sysfs};

    #[test]
    fn serial_uuid_and_the_macs_of_real_nics_are_read() {
        let sys = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = sys.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("class/dmi/id/product_serial", "ABC123 \n");
        write("class/dmi/id/product_uuid", "6b0c3f2e-0000-4000-8000-000000000001\n");
        write("class/net/eno1/address", "52:54:00:AA:00:01\n");
        write("class/net/eno1/device/vendor", "0x1af4\n");
        write("class/net/bond0/address", "52:54:00:aa:00:02\n");
        write("class/net/lo/address", "00:00:00:00:00:00\n");
        let identity = Sysfs { root: sys.path().to_owned() }.identity();
        assert_eq!(identity.serial, "ABC123");
        assert_eq!(identity.uuid.as_deref(), Some("6b0c3f2e-0000-4000-8000-000000000001"));
        assert_eq!(identity.macs, ["52:54:00:aa:00:01"]);
    }

    #[test]
    fn a_machine_without_dmi_has_no_serial() {
        let sys = tempfile::tempdir().unwrap();
        assert_eq!(Sysfs { root: sys.path().to_owned() }.identity(), schema::task::Identity::default());
    }
}
