//! A task medium is taken only when it is the site's own, whole and unchanged.
#![allow(clippy::unwrap_used, reason = "a test may end loudly")]

use std::fs;
use std::path::Path;

use dispatcher::delivery::chain;
use dispatcher::verify::{VerifyError, keys_from_hex, medium, trusted_keys};

mod support;
use support::{Site, job, recipe_text};

fn fresh(site: &Site) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    site.medium(folder.path(), &job("https://10.0.0.5:8443"), &recipe_text());
    folder
}

fn check(site: &Site, folder: &Path) -> Result<(), VerifyError> {
    medium(folder, &trusted_keys(&site.trust()).unwrap()).map(drop)
}

#[test]
fn a_genuine_medium_is_taken_into_memory_whole() {
    let site = Site::new(1);
    let folder = fresh(&site);
    let medium = medium(folder.path(), &trusted_keys(&site.trust()).unwrap()).unwrap();
    assert_eq!(medium.job, job("https://10.0.0.5:8443"));
    assert_eq!(medium.recipe, recipe_text());
    assert_eq!(medium.file("user-data"), Some(&b"#cloud-config\nhostname: web1\n"[..]));
    let network: Vec<&str> = medium.folder("host-network").map(|(name, _)| name).collect();
    assert_eq!(network, ["10-slipway-0.network"]);
}

#[test]
fn a_printed_medium_shows_no_content() {
    let site = Site::new(1);
    let folder = fresh(&site);
    let medium = medium(folder.path(), &trusted_keys(&site.trust()).unwrap()).unwrap();
    let printed = format!("{medium:?}");
    assert!(!printed.contains("hostname") && !printed.contains(support::BOOTSTRAP), "{printed}");
}

#[test]
fn the_previous_key_of_a_site_is_still_trusted() {
    let (old, new) = (Site::new(1), Site::new(2));
    let folder = fresh(&old);
    let keys = keys_from_hex(&[new.key(), old.key()]).unwrap();
    assert!(medium(folder.path(), &keys).is_ok());
}

#[test]
fn every_way_to_tamper_is_noticed() {
    type Tamper = fn(&Path);
    let ways: &[(&str, Tamper)] = &[
        ("a changed file", |medium| fs::write(medium.join("user-data"), "evil").unwrap()),
        ("a missing file", |medium| fs::remove_file(medium.join("user-data")).unwrap()),
        ("an added file", |medium| fs::write(medium.join("evil.sh"), "x").unwrap()),
        ("an added file in a folder", |medium| {
            fs::write(medium.join("host-network/evil.network"), "x").unwrap();
        }),
        ("a changed manifest", |medium| {
            let mut manifest = fs::read(medium.join("manifest.json")).unwrap();
            manifest.push(b' ');
            fs::write(medium.join("manifest.json"), manifest).unwrap();
        }),
        ("a short signature", |medium| fs::write(medium.join("manifest.sig"), [0; 63]).unwrap()),
        ("no signature", |medium| fs::remove_file(medium.join("manifest.sig")).unwrap()),
        ("no manifest", |medium| fs::remove_file(medium.join("manifest.json")).unwrap()),
        ("another site's signature", |medium| Site::new(9).seal(medium)),
        ("a link", |medium| std::os::unix::fs::symlink("/etc/shadow", medium.join("shadow")).unwrap()),
        ("a deep folder", |medium| fs::create_dir_all(medium.join("a/b/c/d")).unwrap()),
        ("a huge manifest", |medium| fs::write(medium.join("manifest.json"), vec![b' '; 300 << 10]).unwrap()),
        ("our key on a manifest that escapes", |medium| {
            Site::new(1).sign(medium, br#"{"version":1,"files":{"../../etc/passwd":"00"}}"#);
        }),
        ("our key on a manifest of the future", |medium| {
            Site::new(1).sign(medium, br#"{"version":2,"files":{}}"#);
        }),
        ("our key on no manifest", |medium| Site::new(1).sign(medium, b"[]")),
        ("our key on no recipe", |medium| {
            fs::remove_file(medium.join("recipe.json")).unwrap();
            Site::new(1).seal(medium);
        }),
        ("our key on a job of the future", |medium| {
            fs::write(medium.join("job.json"), br#"{"version":1}"#).unwrap();
            Site::new(1).seal(medium);
        }),
        ("our key on more than 10 MiB", |medium| {
            fs::write(medium.join("user-data"), vec![b'x'; 11 << 20]).unwrap();
            Site::new(1).seal(medium);
        }),
    ];
    let site = Site::new(1);
    let mut said = String::new();
    for (way, tamper) in ways {
        let folder = fresh(&site);
        tamper(folder.path());
        let error = check(&site, folder.path()).expect_err(way);
        let text = chain(&error).replace(folder.path().to_str().unwrap(), "MEDIUM");
        said = said + way + ": " + &text + "\n";
    }
    insta::assert_snapshot!(said);
}

#[test]
fn a_trust_block_that_nobody_wrote_to_trusts_nothing() {
    for block in [vec![0; 4096], vec![b'\n'; 4096], br#"{"version":1,"keys":[]}"#.to_vec(), Vec::new()] {
        assert!(matches!(trusted_keys(&block), Err(VerifyError::NoKeys)));
    }
    assert!(matches!(trusted_keys(b"{"), Err(VerifyError::Trust(_))));
    assert!(matches!(keys_from_hex(&["abcd".to_owned()]), Err(VerifyError::Key { index: 0 })));
}
