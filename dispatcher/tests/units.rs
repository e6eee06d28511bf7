//! The unit graph as strangers see it: read from the files, drawn, and held against the rules of host.md.
#![allow(clippy::unwrap_used, reason = "a test may end loudly")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A unit file: (section, key) to its values.
type Unit = BTreeMap<(String, String), Vec<String>>;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

fn read(path: &Path) -> Unit {
    let (mut unit, mut section) = (Unit::new(), String::new());
    for line in fs::read_to_string(path).unwrap().lines().map(str::trim) {
        if line.starts_with('[') {
            line.clone_into(&mut section);
        } else if let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
            unit.entry((section.clone(), key.to_owned())).or_default().push(value.to_owned());
        } else {
            assert!(line.is_empty() || line.starts_with('#'), "{}: {line}", path.display());
        }
    }
    unit
}

fn all() -> BTreeMap<String, Unit> {
    let mut units = BTreeMap::new();
    for (name, suffixes) in [("units", &[".service", ".target"][..]), ("quadlets", &[".container"][..])] {
        for entry in fs::read_dir(folder(name)).unwrap() {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap().to_str().unwrap().to_owned();
            if suffixes.iter().any(|suffix| file.ends_with(suffix)) {
                units.insert(file, read(&path));
            }
        }
    }
    units
}

fn words(unit: &Unit, section: &str, key: &str) -> Vec<String> {
    let values = unit.get(&(format!("[{section}]"), key.to_owned())).cloned().unwrap_or_default();
    values.iter().flat_map(|value| value.split_whitespace()).map(str::to_owned).collect()
}

fn one(unit: &Unit, section: &str, key: &str) -> String {
    words(unit, section, key).join(" ")
}

#[test]
fn the_graph_is_the_one_on_file() {
    let mut graph = String::new();
    for (name, unit) in all() {
        let _infallible = writeln!(graph, "{name}");
        for ((section, key), values) in &unit {
            if key != "Description" {
                let _infallible = writeln!(graph, "  {section} {key} = {}", values.join(" | "));
            }
        }
    }
    insta::assert_snapshot!(graph);
}

#[test]
fn every_step_of_every_shipped_target_is_a_quadlet_that_obeys_the_rules() {
    let units = all();
    for (name, target) in units.iter().filter(|(name, _)| name.ends_with(".target")) {
        let contract = schema::target::find(name).expect("the contract knows every shipped target");
        let mut before: Option<String> = None;
        for step in contract.steps {
            let unit =
                units.get(&format!("{step}.container")).unwrap_or_else(|| panic!("no quadlet for {step}"));
            assert_eq!(one(unit, "Container", "Exec"), *step, "one word per step in every layer");
            assert_eq!(one(unit, "Container", "Pull"), "never", "{step}");
            assert_eq!(one(unit, "Container", "Network"), "host", "{step}");
            assert_eq!(one(unit, "Quadlet", "DefaultDependencies"), "false", "{step}");
            assert_eq!(one(unit, "Unit", "OnFailure"), "provision-failed@%n.service", "{step}");
            assert_eq!(one(unit, "Service", "Type"), "oneshot", "{step}");
            assert_eq!(one(unit, "Service", "RemainAfterExit"), "yes", "{step}");
            assert_eq!(one(unit, "Service", "Restart"), "no", "{step}");
            assert!(!one(unit, "Service", "TimeoutStartSec").is_empty(), "{step} has a deadline");
            let before_it: Vec<String> = before.iter().map(|step| format!("{step}.service")).collect();
            assert_eq!(words(unit, "Unit", "Requires"), before_it, "{step}");
            assert_eq!(words(unit, "Unit", "After"), before_it, "{step}");
            before = Some((*step).to_owned());
        }
        let steps: Vec<String> = contract.steps.iter().map(|step| format!("{step}.service")).collect();
        let mut with_success = steps.clone();
        with_success.push("provision-success.service".to_owned());
        assert_eq!(words(target, "Unit", "Requires"), with_success, "{name}");
        assert_eq!(words(target, "Unit", "After"), with_success, "{name}");
        let success = &units["provision-success.service"];
        assert_eq!(words(success, "Unit", "Requires"), steps, "{name}");
        assert_eq!(words(success, "Unit", "After"), steps, "{name}");
    }
}

#[test]
fn nothing_but_the_dispatcher_starts_by_itself() {
    for (name, unit) in all() {
        let installs = unit.keys().any(|(section, _)| section == "[Install]");
        assert_eq!(installs, name == "slipway-dispatcher.service", "{name}");
    }
}

#[test]
fn an_environment_file_is_a_services_or_a_containers_and_every_step_gets_the_recipes_env() {
    for (name, unit) in all() {
        for (section, key) in unit.keys() {
            let fits = matches!(section.as_str(), "[Service]" | "[Container]");
            assert!(key != "EnvironmentFile" || fits, "{name}: {section}");
        }
        if name.ends_with(".container") {
            assert_eq!(one(&unit, "Container", "EnvironmentFile"), "/run/provision/recipe.env", "{name}");
        }
    }
}

#[test]
fn the_failure_handler_never_unescapes_the_units_name() {
    let handler = fs::read_to_string(folder("units").join("provision-failed@.service")).unwrap();
    let orders: Vec<&str> = handler.lines().filter(|line| line.starts_with("Exec")).collect();
    assert_eq!(orders, ["ExecStart=/usr/sbin/slipway-dispatcher report failed %i"]);
    let units = all();
    for reporter in ["provision-failed@.service", "provision-success.service"] {
        assert_eq!(one(&units[reporter], "Service", "TimeoutStartSec"), "infinity", "{reporter}");
        assert_eq!(one(&units[reporter], "Unit", "OnFailure"), "", "{reporter}");
    }
}

/// Quadlets become services here as podman's generator makes them, as far as systemd's own checks can see.
#[test]
fn systemd_finds_nothing_wrong_with_the_graph() {
    let bin = Path::new("/bin/true");
    let scratch = tempfile::tempdir().unwrap();
    for name in all().keys() {
        let folder = folder(if name.ends_with(".container") { "quadlets" } else { "units" });
        let text = fs::read_to_string(folder.join(name)).unwrap();
        let text = text.replace("/usr/sbin/slipway-dispatcher", bin.to_str().unwrap());
        let (file, text) = match name.strip_suffix(".container") {
            None => (name.clone(), text),
            Some(step) => {
                let own = text.replace("[Container]", "[X-Container]").replace("[Quadlet]", "[X-Quadlet]");
                (
                    format!("{step}.service"),
                    own.replace("[Service]", &format!("[Service]\nExecStart={}", bin.display())),
                )
            }
        };
        fs::write(scratch.path().join(file), text).unwrap();
    }
    let verify = Command::new("systemd-analyze")
        .args([
            "verify",
            "--man=no",
            "install-linux.target",
            "slipway-dispatcher.service",
            "provision-failed@partition.service.service",
        ])
        .env("SYSTEMD_UNIT_PATH", format!("{}:/usr/lib/systemd/system", scratch.path().display()))
        .output()
        .expect("systemd-analyze runs; install the package systemd");
    let said = String::from_utf8_lossy(&verify.stderr);
    let ours: Vec<&str> =
        said.lines().filter(|line| line.contains(scratch.path().to_str().unwrap())).collect();
    assert!(verify.status.success() && ours.is_empty(), "{said}");
}

/// Packages, preset and masks are the image's; that nothing of ssh runs unasked is said in several places.
#[test]
fn ssh_is_only_for_the_dispatcher_to_start_and_takes_keys_alone() {
    let maintenance = folder("maintenance-os");
    let read = |name: &str| fs::read_to_string(maintenance.join(name)).unwrap();
    let config = read("root/usr/lib/slipway/sshd_config");
    for line in [
        "AuthorizedKeysFile /run/provision/authorized_keys",
        "HostKey /run/slipway-ssh/ssh_host_ed25519_key",
        "AllowUsers root",
        "AuthenticationMethods publickey",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "UsePAM no",
        "DisableForwarding yes",
    ] {
        assert!(config.lines().any(|known| known == line), "{line}");
    }
    let unit = &all()[dispatcher::debug_ssh::UNIT];
    let start = one(unit, "Service", "ExecStart");
    assert!(start.ends_with("-f /usr/lib/slipway/sshd_config"), "{start}");
    let key = dispatcher::debug_ssh::HOST_KEY.strip_suffix(".pub").unwrap();
    assert!(one(unit, "Service", "ExecStartPre").ends_with(&format!("-f {key}")));
    assert!(config.contains(key));
    for (name, other) in all() {
        for ((_, word), values) in &other {
            assert!(values.iter().all(|value| !value.contains("debug-ssh")), "{name} {word}");
        }
    }
    // The package's own units stay down, systemd makes none, and no host key comes with the image.
    let finish = read("build/finish");
    for masked in
        ["ssh.service", "ssh.socket", "sshd-keygen.service", "system-generators/systemd-ssh-generator"]
    {
        assert!(finish.contains(masked), "{masked}");
    }
    assert!(read("root/usr/lib/systemd/system-preset/10-slipway.preset").lines().any(|l| l == "disable *"));
    assert_eq!(read("build/install-packages").matches("rm -f /etc/ssh/ssh_host_*").count(), 2);
}

/// `file:` names what is in the image: xtask puts these pages there.
#[test]
fn every_documentation_line_leads_to_a_page_that_is_there() {
    let staged = fs::read_to_string(folder("xtask/src/maintenance.rs")).unwrap();
    let mut seen = 0;
    for (name, unit) in all() {
        for address in words(&unit, "Unit", "Documentation") {
            let page = address
                .strip_prefix("file:///usr/share/doc/slipway/")
                .unwrap_or_else(|| panic!("{name}: {address} is not in the maintenance OS"));
            assert!(folder("docs").join(page).is_file(), "{name}: docs/{page} is not there");
            assert!(staged.contains(&format!("\"{page}\"")), "{page} is not put into the image by xtask");
            seen += 1;
        }
    }
    assert!(seen >= 2);
}
