//! Images made by GNU tar, streamed over HTTP and unpacked: what arrives must be what was packed.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command as Program;

use tempfile::TempDir;

use super::*;
use crate::handoff::Token;
use crate::testing::registry::TinyRegistry;

fn sh(script: &str, folder: &Path) -> String {
    let output = Program::new("sh").args(["-ec", script]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn unpack_from(
    registry: &TinyRegistry,
    job: &schema::task::TaskJob,
    root: &Path,
) -> Result<Vec<String>, ImageError> {
    let image = job.image.as_ref().unwrap();
    let client = Registry::new(image, Token::new("session-token"), None, None)?;
    let manifest = client.manifest(&image.digest)?;
    assert_eq!(image.registry, registry.base);
    let mut progress = Progress::new("image-linux", &root.join("no-socket"));
    Ok(unpack(&client, &manifest, image.kind, root, &mut Meter::new(&mut progress, manifest.stored()))?)
}

/// Packs a folder with GNU tar and unpacks it again.
fn through(pack: &str, source: &Path) -> TempDir {
    let tar = Program::new("sh").args(["-ec", pack]).current_dir(source).output().unwrap();
    assert!(tar.status.success(), "{}", String::from_utf8_lossy(&tar.stderr));
    let registry = TinyRegistry::start();
    let job = registry.job(ImageKind::Rootfs, &[&tar.stdout]);
    let root = tempfile::tempdir().unwrap();
    assert!(unpack_from(&registry, &job, root.path()).unwrap().is_empty());
    root
}

/// A small system with everything that is easily lost.
fn system() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    sh(
        "umask 022
        mkdir -p usr/bin usr/lib etc var/empty home/user
        ln -s usr/bin bin
        ln -s /usr/lib/absolute etc/link
        printf hello > etc/hello; chmod 4755 etc/hello; chown 1234:2345 etc/hello
        ln etc/hello etc/hello.hard
        printf 'x' > usr/bin/ping; setcap cap_net_raw+ep usr/bin/ping
        chmod 1777 var/empty; touch -d '2001-02-03 04:05:06.789' var/empty etc/hello
        mkfifo etc/fifo; mknod etc/null c 1 3; mknod etc/vda b 254 0
        truncate -s 10M etc/sparse; printf tail | dd of=etc/sparse bs=1 seek=5000000 conv=notrunc 2>/dev/null
        printf x > etc/$(printf 'n%.0s' $(seq 120))-$(printf 'm%.0s' $(seq 100))
        mkdir -p etc/$(printf 'd%.0s' $(seq 90))/$(printf 'e%.0s' $(seq 90))
        printf y > 'etc/ümlaut and space'
        chown 4000000:4000000 home/user; chmod 700 home/user",
        folder.path(),
    );
    xattr::set(folder.path().join("etc/hello"), "user.note", b"binary\0value\xff\n=").unwrap();
    folder
}

/// Everything that can be compared of a tree, as text.
fn fingerprint(root: &Path) -> String {
    let listing = sh(
        "find . -mindepth 1 \\( -type d -printf '%P d %m %U:%G %T@\\n' \\) -o \\( -type l -printf '%P l %l %U:%G\\n' \\) \
         -o \\( -type f -printf '%P f %m %U:%G %s %n %T@\\n' \\) -o -printf '%P %y %m %U:%G\\n' | LC_ALL=C sort
         find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum; stat -c '%n %t:%T' etc/null etc/vda",
        root,
    );
    let attributes = |path: &str, name: &str| format!("{:?}\n", xattr::get(root.join(path), name).unwrap());
    listing + &attributes("etc/hello", "user.note") + &attributes("usr/bin/ping", "security.capability")
}

#[test]
fn what_gnu_tar_packed_arrives_whole() {
    let system = system();
    let wanted = fingerprint(system.path());
    for pack in [
        "tar --create --format=posix --xattrs --xattrs-include='*' --sparse .",
        "tar --create --format=posix --xattrs --xattrs-include='*' --sparse-version=0.1 --sparse . | zstd -q",
        "tar --create --format=posix --xattrs --xattrs-include='*' --sparse-version=0.0 --sparse . | gzip",
    ] {
        let got = through(pack, system.path());
        similar(&wanted, &fingerprint(got.path()), pack);
        let sparse = fs::metadata(got.path().join("etc/sparse")).unwrap();
        assert!(sparse.blocks() < 1000, "{pack}: {} blocks, so its holes were filled", sparse.blocks());
        let hard = |name: &str| fs::metadata(got.path().join(name)).unwrap().ino();
        assert_eq!(hard("etc/hello"), hard("etc/hello.hard"));
    }
}

#[test]
fn acls_arrive_whoever_wrote_them_and_are_not_inherited_on_the_way() {
    let system = system();
    sh(
        "printf 'root:x:0:0::/root:/bin/sh\\nlisa:x:54321:100::/:/bin/sh\\n' > etc/passwd
        printf 'root:x:0:\\nops:x:54322:\\n' > etc/group
        mkdir -p srv/shared/deep; printf x > srv/shared/plain; printf x > srv/shared/listed",
        system.path(),
    );
    // user::rwx user:54321:r-x group::r-x group:54322:rw- mask::rwx other::---
    let access = acl::attribute("u::rwx,u:54321:rx,g::rx,g:54322:rw,m::rwx,o::---", &acl::Names::default());
    let access = access.unwrap().unwrap();
    let set = |path: &str, name: &[u8]| {
        xattr::set(system.path().join(path), std::str::from_utf8(name).unwrap(), &access).unwrap();
    };
    set("srv/shared/listed", acl::ACCESS);
    let folders = |root: &Path| {
        xattr::set(root.join("srv/shared"), "system.posix_acl_default", &access).unwrap();
    };
    folders(system.path());
    let get = |root: &Path, path: &str, name: &[u8]| {
        xattr::get(root.join(path), std::str::from_utf8(name).unwrap()).unwrap()
    };
    for pack in [
        "tar --create --format=posix --acls --sort=name .",
        "tar --create --format=posix --acls --numeric-owner --sort=name .",
        "tar --create --format=posix --xattrs --xattrs-include='*' --sort=name .",
        "bsdtar --create --format=pax --acls .",
    ] {
        let got = through(pack, system.path());
        let get = |path, name| get(got.path(), path, name);
        assert_eq!(get("srv/shared/listed", acl::ACCESS).as_deref(), Some(&*access), "{pack}");
        assert_eq!(get("srv/shared", acl::DEFAULT).as_deref(), Some(&*access), "{pack}");
        assert_eq!(get("srv/shared/plain", acl::ACCESS), None, "{pack}: inherited on the way");
        assert_eq!(get("srv/shared/deep", acl::DEFAULT), None, "{pack}: inherited on the way");
        let mode = |path: &str| fs::metadata(got.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("srv/shared/listed"), mode("srv/shared/plain")), (0o770, 0o644), "{pack}");
    }
}

#[test]
fn a_layer_over_a_folder_with_a_default_acl_inherits_nothing() {
    let record = |key: &str, value: &str| {
        let rest = format!(" {key}={value}\n");
        let digits = (rest.len() + 2).to_string().len();
        format!("{}{rest}", rest.len() + digits)
    };
    let header = record("SCHILY.acl.default", "user::rwx,user:77:rwx,group::r-x,mask::rwx,other::---");
    let below = tar_of(&[("pax", tar::EntryType::XHeader, "", &header), ("srv/", DIR, "", "")]);
    let above = tar_of(&[("srv/new", FILE, "", "x"), ("srv/deep/", DIR, "", "")]);
    let root = container(&[below, above]).unwrap();
    let get = |path: &str, name: &str| xattr::get(root.path().join(path), name).unwrap();
    assert!(get("srv", "system.posix_acl_default").is_some());
    assert_eq!(get("srv/new", "system.posix_acl_access"), None);
    assert_eq!(get("srv/deep", "system.posix_acl_default"), None);
}

fn similar(wanted: &str, got: &str, what: &str) {
    for (wanted, got) in wanted.lines().zip(got.lines()) {
        assert_eq!(got, wanted, "{what}");
    }
    assert_eq!(wanted.lines().count(), got.lines().count(), "{what}");
}

#[test]
fn the_old_gnu_format_arrives_too() {
    let system = system();
    let got = through("tar --create --format=gnu --sparse .", system.path());
    // This format has neither xattrs nor fractions of a second.
    let plain = |root: &Path| {
        sh(
            "find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum; find . | LC_ALL=C sort; stat -c '%n %a %u:%g %s' etc/*",
            root,
        )
    };
    similar(&plain(system.path()), &plain(got.path()), "gnu");
    assert!(fs::metadata(got.path().join("etc/sparse")).unwrap().blocks() < 1000);
}

/// A tar with members made by hand: path, kind, link, data.
fn tar_of(members: &[(&str, tar::EntryType, &str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (path, kind, link, data) in members {
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        if !link.is_empty() {
            header.set_link_name_literal(link).unwrap();
        }
        header.set_entry_type(*kind);
        header.set_mode(if *kind == tar::EntryType::Directory { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(data.len() as u64);
        header.set_cksum();
        bytes.extend(header.as_bytes());
        bytes.extend(data.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

use tar::EntryType::{Directory as DIR, Link as HARD, Regular as FILE, Symlink as SYM};

fn container(layers: &[Vec<u8>]) -> Result<TempDir, ImageError> {
    let registry = TinyRegistry::start();
    let layers: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    let job = registry.job(ImageKind::Container, &layers);
    let root = tempfile::tempdir().unwrap();
    unpack_from(&registry, &job, root.path()).map(|_| root)
}

fn names(root: &Path) -> Vec<String> {
    sh("find . -mindepth 1 -printf '%P\\n' | LC_ALL=C sort", root).lines().map(str::to_owned).collect()
}

#[test]
fn layers_are_applied_in_order_and_whiteouts_hide_what_is_below() {
    let below = tar_of(&[
        ("etc/", DIR, "", ""),
        ("etc/a", FILE, "", "1"),
        ("etc/b", FILE, "", "1"),
        ("etc/gone/", DIR, "", ""),
        ("etc/gone/x", FILE, "", "1"),
        ("opt/", DIR, "", ""),
        ("opt/old", FILE, "", "1"),
        ("opt/sub/", DIR, "", ""),
        ("opt/sub/old", FILE, "", "1"),
        ("turn", FILE, "", "1"),
        ("lib", SYM, "usr/lib", ""),
    ]);
    let above = tar_of(&[
        ("etc/.wh.a", FILE, "", ""),
        ("etc/b", FILE, "", "2"),
        ("etc/.wh.gone", FILE, "", ""),
        ("opt/sub/", DIR, "", ""),
        ("opt/sub/new", FILE, "", "2"),
        ("opt/new", FILE, "", "2"),
        // The mark may come after what its own layer brings, which stays.
        ("opt/.wh..wh..opq", FILE, "", ""),
        (".wh..wh.plnk", FILE, "", ""),
        ("turn/", DIR, "", ""),
        ("turn/inside", FILE, "", "2"),
        ("etc/.wh.never-there", FILE, "", ""),
        ("lib/so", FILE, "", "2"),
    ]);
    let root = container(&[below, above]).unwrap();
    assert_eq!(
        names(root.path()),
        [
            "etc",
            "etc/b",
            "lib",
            "opt",
            "opt/new",
            "opt/sub",
            "opt/sub/new",
            "turn",
            "turn/inside",
            "usr",
            "usr/lib",
            "usr/lib/so"
        ]
        .iter()
        .map(|name| (*name).to_owned())
        .collect::<Vec<_>>()
    );
    assert_eq!(fs::read_to_string(root.path().join("etc/b")).unwrap(), "2");
}

#[test]
fn in_a_root_filesystem_a_whiteout_name_is_a_name() {
    let registry = TinyRegistry::start();
    let job = registry.job(ImageKind::Rootfs, &[&tar_of(&[("a", FILE, "", "1"), (".wh.a", FILE, "", "2")])]);
    let root = tempfile::tempdir().unwrap();
    unpack_from(&registry, &job, root.path()).unwrap();
    assert_eq!(names(root.path()), [".wh.a", "a"]);
}

#[test]
fn nothing_is_written_outside_of_the_target() {
    let outside = tempfile::tempdir().unwrap();
    let out = outside.path().to_str().unwrap();
    fs::write(outside.path().join("victim"), "whole").unwrap();
    let evil: Vec<(Vec<u8>, bool)> = vec![
        (tar_of(&[("../evil", FILE, "", "x")]), false),
        (tar_of(&[("a/../../evil", FILE, "", "x")]), false),
        (tar_of(&[("hard", HARD, "../victim", "")]), false),
        (tar_of(&[(".wh...", FILE, "", "")]), false),
        // These stay inside: the link's target is looked for below the target folder.
        (tar_of(&[("/abs", FILE, "", "x")]), true),
        (tar_of(&[("link", SYM, out, ""), ("link/evil", FILE, "", "x")]), true),
        (
            tar_of(&[("link", SYM, "../../../../../../tmp", ""), ("link/evil-slipway-test", FILE, "", "x")]),
            true,
        ),
        (tar_of(&[("victim", SYM, &format!("{out}/victim"), ""), ("victim", FILE, "", "x")]), true),
        (tar_of(&[("l", SYM, out, ""), ("h", HARD, "l/victim", "")]), false),
        (tar_of(&[("l", SYM, out, ""), ("l/.wh.victim", FILE, "", "")]), true),
    ];
    for (number, (archive, ok)) in evil.into_iter().enumerate() {
        let outcome = container(&[archive]);
        assert_eq!(
            outcome.is_ok(),
            ok,
            "{number}: {:?}",
            outcome.err().map(|error| format!("{:#}", anyhow::Error::from(error)))
        );
        assert_eq!(names(outside.path()), ["victim"], "{number}");
        assert_eq!(fs::read_to_string(outside.path().join("victim")).unwrap(), "whole", "{number}");
        assert!(!Path::new("/tmp/evil-slipway-test").exists(), "{number}");
    }
}

#[test]
fn a_stream_that_breaks_off_is_taken_up_where_it_was() {
    let registry = TinyRegistry::start();
    let big = "0123456789".repeat(200_000);
    let archive = tar_of(&[("big", FILE, "", &big)]);
    let job = registry.job(ImageKind::Rootfs, &[&archive]);
    *registry.break_off.lock().unwrap() = Some(700_000);
    let root = tempfile::tempdir().unwrap();
    unpack_from(&registry, &job, root.path()).unwrap();
    assert!(fs::read_to_string(root.path().join("big")).unwrap() == big);
    let requests = registry.requests.lock().unwrap();
    assert!(requests.iter().any(|request| request.contains("from 700000")), "{requests:?}");
}

fn said(error: ImageError) -> String {
    format!("{:#}", anyhow::Error::from(error))
}

#[test]
fn a_damaged_layer_is_told_by_its_digest_whatever_else_it_breaks() {
    let text: String =
        (0..200_000_u32).map(|n| char::from(b'a' + (n.wrapping_mul(2_654_435_761) >> 28) as u8)).collect();
    let plain = tar_of(&[("a", FILE, "", &text), ("b", FILE, "", &text)]);
    let packed = zstd::encode_all(plain.as_slice(), 3).unwrap();
    for layer in [plain.clone(), packed] {
        for at in [0, 5, 100, layer.len() / 2, layer.len() - 1] {
            let registry = TinyRegistry::start();
            let job = registry.job(ImageKind::Rootfs, &[&layer]);
            let path = format!("/v2/images/debian/blobs/{}", crate::testing::registry::digest(&layer));
            registry.files.lock().unwrap().get_mut(&path).unwrap()[at] ^= 0x55;
            let root = tempfile::tempdir().unwrap();
            let error = said(unpack_from(&registry, &job, root.path()).unwrap_err());
            assert!(error.contains("does not hold what its digest says"), "byte {at}: {error}");
        }
    }
}

#[test]
fn an_image_pushed_damaged_says_so_and_is_not_blamed_on_the_registry() {
    let archive = tar_of(&[("a", FILE, "", "x")]);
    let mut cut = zstd::encode_all(archive.as_slice(), 3).unwrap();
    cut.truncate(cut.len() - 3);
    let cases: [(Vec<u8>, &str); 3] = [
        (cut, "undoing the compression"),
        (archive[..700].to_vec(), "the archive ends inside"),
        (b"this is no archive at all".repeat(100), "its checksum is wrong"),
    ];
    for (layer, says) in cases {
        let registry = TinyRegistry::start();
        let job = registry.job(ImageKind::Rootfs, &[&layer]);
        let error = said(unpack_from(&registry, &job, tempfile::tempdir().unwrap().path()).unwrap_err());
        assert!(error.contains(says), "{says}: {error}");
    }
}

#[test]
fn a_link_to_a_folder_is_replaced_by_a_folder_of_its_name_and_the_other_way_round() {
    let root = container(&[
        tar_of(&[
            ("real/", DIR, "", ""),
            ("real/x", FILE, "", "1"),
            ("link", SYM, "real", ""),
            ("dir/", DIR, "", ""),
            ("dir/y", FILE, "", "1"),
        ]),
        tar_of(&[("link/", DIR, "", ""), ("link/z", FILE, "", "2"), ("dir", SYM, "real", "")]),
    ])
    .unwrap();
    assert_eq!(names(root.path()), ["dir", "link", "link/z", "real", "real/x"]);
    assert_eq!(fs::read_link(root.path().join("dir")).unwrap(), PathBuf::from("real"));
}

#[test]
fn an_old_tree_is_no_hindrance_and_modes_come_from_the_image() {
    let root = tempfile::tempdir().unwrap();
    symlink("/nowhere", root.path().join("a")).unwrap();
    fs::create_dir(root.path().join("d")).unwrap();
    fs::set_permissions(root.path().join("d"), fs::Permissions::from_mode(0o700)).unwrap();
    let registry = TinyRegistry::start();
    let job = registry.job(ImageKind::Rootfs, &[&tar_of(&[("a", FILE, "", "x"), ("d/", DIR, "", "")])]);
    unpack_from(&registry, &job, root.path()).unwrap();
    assert_eq!(fs::read_to_string(root.path().join("a")).unwrap(), "x");
    let found = fs::metadata(root.path().join("d")).unwrap();
    assert_eq!((found.permissions().mode() & 0o7777, found.mtime()), (0o755, 1_000_000_000));
}
