//! DMTF's own validators on the mock BMC, over HTTPS and without a network: what they want of schema files comes
//! from the crate nv-redfish-schema. The Python tools are installed by `cargo xtask test`.
#![allow(clippy::unwrap_used)] // the helpers of tests, too

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use mock_redfish::{Fault, Injection, Machine, MachineConfig, Rack, RackConfig, Timing};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

/// Folder of the programs, as `cargo xtask test` sets it.
const TOOLS: &str = "SLIPWAY_REDFISH_TOOLS";
/// Deadline of one validator, which needs some ten seconds.
const DEADLINE: Duration = Duration::from_secs(240);
/// Where nobody listens: a request that leaves this host fails at once.
const NO_NETWORK: &str = "http://127.0.0.1:9";

/// A rack of one machine over HTTPS whose BMC takes any URL unseen.
async fn rack(change: impl FnOnce(&mut MachineConfig)) -> Rack {
    let mut machine = MachineConfig::sim("m1");
    machine.quirks.blind_insert = true;
    change(&mut machine);
    Rack::start(RackConfig { tls: true, machines: vec![machine], ..RackConfig::default() }).await.unwrap()
}

/// Sends what makes a BMC show more than an empty one.
async fn use_it(machine: &Machine, requests: &[(&str, &str, Value)]) {
    let pem = reqwest::Certificate::from_pem(machine.certificate().unwrap().as_bytes()).unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([pem]).build().unwrap();
    for (method, path, body) in requests {
        let url = format!("{}/redfish/v1/{path}", machine.base_url());
        let request = client.request(method.parse().unwrap(), url).basic_auth("admin", Some("password"));
        let answer = request.json(body).send().await.unwrap();
        assert!(answer.status().is_success(), "{method} {path}: {}", answer.status());
    }
}

/// What a validator said and left.
struct Said {
    output: String,
    folder: TempDir,
}

impl Said {
    /// Lines of its files of that ending with one of the words.
    fn lines(&self, ending: &str, words: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        for file in files(self.folder.path()).iter().filter(|file| file.to_string_lossy().ends_with(ending)) {
            let text = fs::read_to_string(file).unwrap();
            found.extend(
                text.lines().filter(|line| words.iter().any(|word| line.contains(word))).map(str::to_owned),
            );
        }
        found
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// Runs a validator on a machine. User and password go by a file.
async fn run(program: &str, machine: &Machine, arguments: &[&str]) -> Said {
    let Some(tools) = std::env::var_os(TOOLS) else {
        panic!(
            "{TOOLS} is not set: `cargo xtask test` installs the validators of tests/redfish-models/requirements.txt \
             with python3-venv and sets it to their folder"
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let login = "[Authentication]\nuser = admin\nusername = admin\npassword = password\n";
    fs::write(folder.path().join("config.ini"), login).unwrap();
    let mut command = Command::new(Path::new(&tools).join(program));
    command
        .args(["--config", "config.ini", "--rhost", machine.base_url()])
        .args(arguments)
        .current_dir(folder.path())
        // With these set, requests checks the BMC's own certificate against them.
        .env_remove("REQUESTS_CA_BUNDLE")
        .env_remove("CURL_CA_BUNDLE")
        .envs([("http_proxy", NO_NETWORK), ("https_proxy", NO_NETWORK), ("no_proxy", "127.0.0.1")])
        .envs([("HTTP_PROXY", NO_NETWORK), ("HTTPS_PROXY", NO_NETWORK), ("NO_PROXY", "127.0.0.1")])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(DEADLINE, command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("{program} took longer than {DEADLINE:?}")).unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { output: text(&output.stdout) + &text(&output.stderr), folder }
}

/// Passed, warned and failed checks of the service validator.
async fn service_validator(machine: &Machine, login: &str) -> (Said, [usize; 3]) {
    let schemas = nv_redfish_schema::REDFISH_CSDL_DIR;
    let arguments = ["--authtype", login, "--schema_directory", schemas, "--skipschema", "--logdir", "logs"];
    let said = run("rf_service_validator", machine, &arguments).await;
    let row = said.output.lines().rfind(|line| line.starts_with('|') && line.contains(char::is_numeric));
    let numbers = row.unwrap_or_else(|| panic!("no summary in:\n{}", said.output)).split('|');
    let numbers: Vec<usize> = numbers.filter_map(|cell| cell.trim().parse().ok()).collect();
    let summary = [numbers[0], numbers[1], numbers[2]];
    (said, summary)
}

/// A filled drive below `parent` and a boot override that waits.
fn ready_to_boot(parent: &str) -> Vec<(&'static str, String, Value)> {
    let insert = format!("{parent}/VirtualMedia/Cd/Actions/VirtualMedia.InsertMedia");
    let boot = json!({"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Cd"});
    vec![
        ("POST", insert, json!({"Image": "http://10.0.0.5/m/a.iso"})),
        ("PATCH", "Systems/1".to_owned(), json!({"AssetTag": "rack 7", "Boot": boot})),
    ]
}

async fn prepare(machine: &Machine, parent: &str) {
    let requests = ready_to_boot(parent);
    let requests: Vec<_> = requests.iter().map(|(m, path, body)| (*m, path.as_str(), body.clone())).collect();
    use_it(machine, &requests).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_validator_finds_nothing_but_the_old_place_of_the_drives() {
    let rack = rack(|_| {}).await;
    prepare(rack.machine(0), "Managers/1").await;
    rack.machine(0).power_on().await.unwrap();
    let (said, [passed, _, failed]) = service_validator(rack.machine(0), "Session").await;
    assert_eq!(failed, 0, "{:#?}\n{}", said.lines(".log", &["FAIL -"]), said.output);
    assert!(passed > 350, "{passed} passed:\n{}", said.output);
    let warnings = said.lines(".log", &["WARN -"]);
    let old_place = |line: &String| line.contains("VirtualMedia") && line.contains("Deprecated");
    assert!(!warnings.is_empty() && warnings.iter().all(old_place), "{warnings:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_validator_finds_nothing_at_all_on_a_newer_bmc_with_tasks() {
    let rack = rack(|machine| {
        (machine.quirks.media_under_system, machine.quirks.expands) = (true, true);
        machine.timing = Timing { tasks: true, ..Timing::default() };
    })
    .await;
    prepare(rack.machine(0), "Systems/1").await;
    let reset = "Systems/1/Actions/ComputerSystem.Reset";
    use_it(rack.machine(0), &[("POST", reset, json!({"ResetType": "On"}))]).await;
    let (said, [passed, warned, failed]) = service_validator(rack.machine(0), "Session").await;
    let faults = said.lines(".log", &["FAIL -", "WARN -"]);
    assert_eq!((warned, failed), (0, 0), "{faults:#?}\n{}", said.output);
    assert!(passed > 350, "{passed} passed:\n{}", said.output);
    assert!(said.output.contains("/TaskService/Tasks/2"), "{}", said.output);
}

/// Not among them: a BMC without sessions, whose service root lacks a link that the schema demands, and `UsbCd`,
/// which is no word of the schema.
#[tokio::test(flavor = "multi_thread")]
async fn the_service_validator_finds_nothing_on_a_bmc_with_every_deviation_that_the_schema_allows() {
    let rack = rack(|machine| {
        let q = &mut machine.quirks;
        (q.single_slot, q.media_under_system, q.media_by_patch) = (true, true, true);
        (q.no_override_mode, q.force_on_only, q.weak_etags) = (true, true, true);
        q.boot_settings = true;
    })
    .await;
    let boot = json!({"Boot": {"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Cd"}});
    use_it(rack.machine(0), &[("PATCH", "Systems/1/Settings", boot)]).await;
    let (said, [passed, warned, failed]) = service_validator(rack.machine(0), "Basic").await;
    let faults = said.lines(".log", &["FAIL -", "WARN -"]);
    assert_eq!((warned, failed), (0, 0), "{faults:#?}\n{}", said.output);
    assert!(passed > 250, "{passed} passed:\n{}", said.output);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_validator_does_find_faults() {
    let rack = rack(|_| {}).await;
    let properties = json!({"PowerState": "Sideways", "Colour": "red"}).as_object().unwrap().clone();
    let fault = Injection::always(Fault::Replace { properties });
    rack.machine(0).inject(fault.on("GET", "/redfish/v1/Systems/1"));
    let (said, [_, _, failed]) = service_validator(rack.machine(0), "Session").await;
    let faults = said.lines(".log", &["FAIL -"]).join("\n");
    assert!(failed >= 2 && faults.contains("PowerState") && faults.contains("Colour"), "{faults}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_protocol_validator_finds_nothing() {
    let rack = rack(|machine| machine.quirks.expands = true).await;
    let arguments =
        ["--no-cert-check", "--avoid-http-redirect", "--report-dir", "reports", "--report-type", "tsv"];
    let said = run("rf_protocol_validator", rack.machine(0), &arguments).await;
    let summary = said.output.lines().find_map(|line| line.strip_prefix("Summary - "));
    let summary = summary.unwrap_or_else(|| panic!("no summary in:\n{}", said.output));
    let count = |name: &str| -> usize {
        let found = summary.split(", ").find_map(|part| part.strip_prefix(name)?.strip_prefix(": "));
        found
            .and_then(|number| number.trim().parse().ok())
            .unwrap_or_else(|| panic!("no {name} in {summary}"))
    };
    let faults = said.lines(".tsv", &["\tFAIL\t", "\tWARN\t"]);
    assert_eq!((count("WARN"), count("FAIL")), (0, 0), "{faults:#?}\n{}", said.output);
    assert!(count("PASS") > 250, "{summary}");
}
