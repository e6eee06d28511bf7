//! The plan as a transcript, fstab, the facts of an image, and the firmware's entries.

use std::fs;
use std::os::unix::fs::symlink;

use schema::recipe::{BootOrder, Format};

use super::*;
use crate::ids::Seed;
use crate::partition;
use crate::testing::{self, vda};

fn table_of(layout: &str) -> PartitionTable {
    let recipe = schema::recipe::Recipe {
        partition_layout: serde_json::from_str(layout).unwrap(),
        ..testing::recipe()
    };
    let solved = schema::layout::LayoutPlan::from_recipe(&recipe).solve(vda().geometry()).unwrap();
    partition::table(&vda(), solved, &Seed::new("job", 1))
}

fn table() -> PartitionTable {
    table_of(
        r#"[{"size":"256M","type_guid":"ef00","format":"vfat","mountpoint":"/boot/efi"},
            {"size":"1M","type_guid":"ef02"},
            {"size":"512M","type_guid":"8200","format":"swap"},
            {"size":"1G","type_guid":"8300","format":"xfs","mountpoint":"/srv/my data"},
            {"size":"rest","type_guid":"8304","format":"ext4","mountpoint":"/"}]"#,
    )
}

fn debian() -> Installed {
    Installed {
        os_id: "debian".into(),
        kernels: vec![installed::Kernel {
            version: "6.12.1-amd64".into(),
            image: "/boot/vmlinuz-6.12.1-amd64".into(),
            has_initrd: true,
        }],
        grub_install: Some("grub-install".into()),
        grub_mkconfig: Some("grub-mkconfig".into()),
        grub_efi: true,
        grub_pc: true,
        signed: true,
        ..Installed::default()
    }
}

fn transcript(installed: &Installed, firmware: Firmware) -> String {
    let mut actions = target::mount_all(&vda(), &table());
    actions.extend(plan(&vda(), &table(), installed, firmware).unwrap());
    Plan { actions, undo: target::unmount_all() }.transcript()
}

#[test]
fn a_debian_with_grub_boots_by_uefi() {
    insta::assert_snapshot!(transcript(&debian(), Firmware::Uefi));
}

#[test]
fn a_debian_with_grub_boots_by_bios() {
    let text = transcript(&debian(), Firmware::Bios);
    let chroot: Vec<&str> = text.lines().filter(|line| line.starts_with("chroot")).collect();
    insta::assert_snapshot!(chroot.join("\n"));
    assert!(!text.contains("mount -t vfat"), "the ESP stays alone on a BIOS machine");
}

#[test]
fn an_image_without_grub_boots_by_systemd_boot_and_gets_its_initramfs() {
    let mut kernels = debian().kernels;
    kernels[0].has_initrd = false;
    let installed = Installed {
        kernels,
        grub_efi: false,
        systemd_boot: true,
        update_initramfs: true,
        esp_content: true,
        dbus_machine_id: true,
        ..debian()
    };
    let text = transcript(&installed, Firmware::Uefi);
    let tail = text.find("update-initramfs").map(|at| &text[text[..at].rfind('\n').unwrap() + 1..]);
    insta::assert_snapshot!(tail.unwrap());
    assert_eq!(installed.efi_path(&Loader::SystemdBoot), r"\EFI\systemd\systemd-bootx64.efi");
}

#[test]
fn an_image_that_cannot_boot_is_named() {
    let no_kernel = Installed { kernels: vec![], ..debian() };
    let no_grub = Installed { grub_install: None, ..debian() };
    let no_pc = Installed { grub_pc: false, ..debian() };
    for (installed, firmware, says) in [
        (&no_kernel, Firmware::Uefi, "no kernel"),
        (&no_grub, Firmware::Uefi, "grub-efi-amd64"),
        (&no_pc, Firmware::Bios, "grub-pc-bin"),
    ] {
        let error = plan(&vda(), &table(), installed, firmware).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let no_esp = table_of(r#"[{"size":"rest","type_guid":"8304","format":"ext4","mountpoint":"/"}]"#);
    assert!(matches!(plan(&vda(), &no_esp, &debian(), Firmware::Uefi), Err(BootloaderError::NoEsp)));
}

#[test]
fn fstab_names_everything_by_uuid_and_keeps_what_is_of_no_disk() {
    let kept = fstab::kept(
        "# UNCONFIGURED FSTAB\n/dev/sda1 / ext4 defaults 0 1\nUUID=x /home ext4 defaults 0 2\n\
         tmpfs /tmp tmpfs size=1G 0 0\nnas:/x /srv/my\\040data nfs defaults 0 0\n\nLABEL=y none swap sw 0 0\n",
    );
    insta::assert_snapshot!(fstab::text(&table(), &kept));
}

#[test]
fn the_facts_of_an_image_are_read_and_links_out_of_it_are_not_followed() {
    let root = tempfile::tempdir().unwrap();
    let put = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    put("usr/lib/os-release", "NAME=\"Debian GNU/Linux\"\nID=debian\n");
    put("boot/vmlinuz-6.12.1-amd64", "");
    put("boot/initrd.img-6.12.1-amd64", "");
    put("usr/lib/modules/6.1.0-9/vmlinuz", "");
    put("usr/sbin/grub-install", "");
    put("usr/sbin/grub-mkconfig", "");
    put("usr/lib/grub/x86_64-efi/x.mod", "");
    put("usr/lib/shim/shimx64.efi.signed", "");
    put("usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed", "");
    put("boot/efi/EFI/x", "");
    put("var/lib/dbus/machine-id", "x");
    fs::create_dir(root.path().join("etc")).unwrap();
    symlink("/etc/fstab", root.path().join("etc/fstab")).unwrap();
    let found = Installed::read(root.path(), "/boot/efi").unwrap();
    insta::assert_debug_snapshot!(found);
    assert_eq!(found.efi_path(&found.loader(Firmware::Uefi).unwrap()), r"\EFI\debian\shimx64.efi");

    put("usr/lib/os-release", "ID=\"../../x\"\n");
    assert!(matches!(Installed::read(root.path(), "/boot/efi"), Err(BootloaderError::OsId { .. })));
}

const LISTING: &str = "BootCurrent: 0001\nTimeout: 3 seconds\nBootOrder: 0001,0004,0000,0003\n\
    Boot0000* UiApp\tFvVol(7cb8bdc9-f8eb-4f34-aaea-3ee4af6516a1)/FvFile(462caa21-7614-4503-836e-8ab6f4662331)\n\
    Boot0001* UEFI QEMU DVD-ROM QM00003 \tPciRoot(0x0)/Pci(0x1f,0x2)/Sata(1,65535,0)N.....YM....R,Y.\n\
    Boot0003* debian\tHD(1,GPT,AAAAAAAA-0000-0000-0000-000000000001,0x800,0x80000)/File(\\EFI\\debian\\shimx64.efi)\n\
    Boot0004* Slipway debian\tHD(1,GPT,bbbbbbbb-0000-0000-0000-000000000001,0x800,0x80000)/\\EFI\\debian\\shimx64.efi\n";

fn entry() -> Entry {
    Entry {
        name: "debian".into(),
        path: r"\EFI\debian\shimx64.efi".into(),
        disk: "/dev/vda".into(),
        partition: 1,
        guids: vec![
            "cccccccc-0000-0000-0000-000000000001".into(),
            "aaaaaaaa-0000-0000-0000-000000000001".into(),
        ],
    }
}

#[test]
fn old_entries_of_this_disk_go_others_stay_and_the_new_one_is_first() {
    let found = nvram::parse(LISTING);
    assert_eq!(found.order, [1, 4, 0, 3]);
    assert_eq!(found.entries[1].1, "UEFI QEMU DVD-ROM QM00003");
    let text = |order| Plan { actions: nvram::plan(&found, &entry(), order), undo: vec![] }.transcript();
    // 0003 names a partition this disk had; 0004 is ours, but of another disk.
    insta::assert_snapshot!(text(BootOrder::First));
    assert!(
        text(BootOrder::Keep).ends_with("--bootorder 0001,0004,0000,0002\n"),
        "{}",
        text(BootOrder::Keep)
    );
}

#[test]
fn an_empty_nvram_gets_its_first_entry() {
    let text = Plan { actions: nvram::plan(&nvram::parse(""), &entry(), BootOrder::First), undo: vec![] }
        .transcript();
    assert!(text.contains("--bootnum 0000") && text.ends_with("--bootorder 0000\n"), "{text}");
}

#[test]
fn the_esp_is_found_on_a_disk_that_brought_its_own() {
    let mut disk = vda();
    disk.nodes = vec![testing::part("/dev/vda15", &type_guid::ESP.to_ascii_lowercase(), vec![])];
    let none = PartitionTable { disk_guid: String::new(), partitions: vec![], replaced: vec![] };
    assert_eq!(find_esp(&disk, &none).map(|(number, _)| number), Some(15));
    assert_eq!(find_esp(&vda(), &none), None);
    assert_eq!(find_esp(&disk, &table()).map(|(number, _)| number), Some(1));
    assert_eq!(table().partitions[0].solved.format, Format::Vfat);
}
