//! Readers of bytes that a stranger packed: the task medium's manifest, and tar with its extensions.
#![allow(clippy::unwrap_used)] // a test: what cannot go on ends it

use std::collections::BTreeMap;
use std::fs;

use dispatcher::verify;
use ed25519_dalek::{Signer as _, SigningKey};
use fuzz::throw;
use schema::task::Manifest;
use sha2::{Digest as _, Sha256};
use tools::image::archive::Archive;

/// Most members a bent archive may show: no block is a member twice.
const BLOCK: usize = 512;

#[test]
fn a_bent_manifest_hands_on_no_file_that_it_does_not_list() {
    let key = SigningKey::from_bytes(&[7; 32]);
    let keys = [key.verifying_key()];
    let folder = tempfile::tempdir().unwrap();
    let contents =
        BTreeMap::from([("job.json", "{}"), ("recipe.json", "{}"), ("payload/user-data", "#cloud-config\n")]);
    fs::create_dir(folder.path().join("payload")).unwrap();
    for (name, text) in &contents {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let files = contents
        .iter()
        .map(|(name, text)| ((*name).to_owned(), hex::encode(Sha256::digest(text.as_bytes()))))
        .collect();
    let good = serde_json::to_vec(&Manifest { version: 1, files }).unwrap();
    throw("manifest", &[good], |bytes| {
        // Signed as it is: the signature is not what is tried here.
        fs::write(folder.path().join("manifest.json"), bytes).unwrap();
        fs::write(folder.path().join("manifest.sig"), key.sign(bytes).to_bytes()).unwrap();
        match verify::medium(folder.path(), &keys) {
            Ok(medium) => {
                for (name, text) in &contents {
                    assert_eq!(medium.file(name), Some(text.as_bytes()), "{name}");
                }
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    });
}

fn archive() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |name: &str, kind: tar::EntryType, data: &[u8], link: Option<&str>| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(data.len() as u64);
        header.set_mode(0o755);
        header.set_mtime(1_700_000_000);
        match link {
            Some(link) => builder.append_link(&mut header, name, link).unwrap(),
            None => builder.append_data(&mut header, name, data).unwrap(),
        }
    };
    add("etc/", tar::EntryType::Directory, b"", None);
    add("etc/hostname", tar::EntryType::Regular, b"host\n", None);
    add(&format!("usr/{}", "long/".repeat(40)), tar::EntryType::Directory, b"", None);
    add("bin/sh", tar::EntryType::Symlink, b"", Some("../usr/bin/dash"));
    add("bin/again", tar::EntryType::Link, b"", Some("etc/hostname"));
    let pax =
        [("path", "usr/share/\u{e9}"), ("mtime", "1700000000.123"), ("SCHILY.xattr.user.a", "\0\u{1}b")];
    let pax = pax.map(|(name, value)| (name, value.as_bytes()));
    builder.append_pax_extensions(pax).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_path("short").unwrap();
    header.set_size(700);
    header.set_cksum();
    builder.append(&header, &[b'x'; 700][..]).unwrap();
    builder.into_inner().unwrap()
}

/// Puts the checksum of every block right that could be a header, so that what is bent inside it is read.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for block in bytes.chunks_exact_mut(BLOCK) {
        if &block[257..262] == b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    bytes
}

#[test]
fn a_bent_archive_ends_and_gives_no_byte_that_is_not_in_it() {
    throw("tar", &[archive()], |bytes| {
        for bytes in [bytes.to_vec(), with_checksums(bytes)] {
            let mut archive = Archive::new(bytes.as_slice());
            let (mut members, mut given, mut buffer) = (0, 0, [0; 4096]);
            while let Ok(Some(_)) = archive.next_member() {
                members += 1;
                while let Ok(count @ 1..) = archive.read(&mut buffer) {
                    given += count;
                }
                assert!(members <= bytes.len() / BLOCK, "more members than blocks");
            }
            assert!(given <= bytes.len(), "{given} bytes of data from {} of archive", bytes.len());
        }
    });
    let whole = archive();
    let mut reader = Archive::new(whole.as_slice());
    let mut members = 0;
    while reader.next_member().unwrap().is_some() {
        members += 1;
    }
    assert_eq!(members, 6, "the recorded archive itself is read");
}
