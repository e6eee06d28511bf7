//! Walks the mock by its links and holds every answer against the model that its type names.

use std::collections::BTreeSet;

use mock_redfish::{Fault as Injected, Injection, Machine, MachineConfig, Timing};
use redfish_models::{Fault, answer};
use serde_json::{Value, json};

use super::rack;

const ROOT: &str = "/redfish/v1/";

/// A client that knows the password.
struct Client<'a> {
    http: reqwest::Client,
    machine: &'a Machine,
}

impl<'a> Client<'a> {
    fn new(machine: &'a Machine) -> Self {
        Self { http: reqwest::Client::builder().no_proxy().build().unwrap(), machine }
    }

    async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> (u16, Value) {
        let url = format!("{}{path}", self.machine.base_url());
        let request = self.http.request(method.parse().unwrap(), url).basic_auth("admin", Some("password"));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let answer = match body {
            Some(body) => request.json(&body).send().await.unwrap(),
            None => request.send().await.unwrap(),
        };
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, &[], None).await;
        assert_eq!(status, 200, "GET {path}: {body}");
        body
    }

    async fn change(&self, method: &str, path: &str, body: Value) {
        let (status, answer) = self.ask(method, path, &[], Some(body)).await;
        assert!(status < 300, "{method} {path}: {status} {answer}");
    }

    /// Every resource that links lead to, with its path.
    async fn walk(&self) -> Vec<(String, Value)> {
        let mut seen = BTreeSet::new();
        let mut next = BTreeSet::from([ROOT.to_owned()]);
        let mut found = Vec::new();
        while let Some(path) = next.pop_first() {
            if seen.insert(path.clone()) {
                let body = self.get(&path).await;
                links(&body, &mut next);
                found.push((path, body));
            }
        }
        found
    }
}

/// Every path inside a body that leads to a resource.
fn links(body: &Value, found: &mut BTreeSet<String>) {
    match body {
        Value::Object(map) => {
            for (name, value) in map {
                match value.as_str() {
                    Some(path) if matches!(name.as_str(), "@odata.id" | "@Redfish.ActionInfo") => {
                        found.insert(path.to_owned());
                    }
                    _ => links(value, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| links(value, found)),
        _ => {}
    }
}

/// Types among the resources, so that a walk that ends early is seen.
fn kinds(found: &[(String, Value)]) -> BTreeSet<&str> {
    found.iter().filter_map(|(_, body)| body["@odata.type"].as_str()?.rsplit('.').next()).collect()
}

/// What makes a BMC differ from the one by the book.
type Shape = fn(&mut MachineConfig);

/// BMCs of every shape that the schema allows, by name. Not among them: one without sessions, whose service root
/// lacks a link that the schema demands, and one whose boot targets have `UsbCd`, which is no word of the schema.
fn shapes() -> Vec<(&'static str, Shape)> {
    vec![
        ("by the book", |_| {}),
        ("media under the system", |machine| machine.quirks.media_under_system = true),
        ("tasks", |machine| machine.timing = Timing { tasks: true, ..Timing::default() }),
        ("media by PATCH", |machine| machine.quirks.media_by_patch = true),
        ("one slot, ForceOn", |machine| {
            let q = &mut machine.quirks;
            (q.single_slot, q.force_on_only) = (true, true);
        }),
        ("boot settings object", |machine| machine.quirks.boot_settings = true),
        ("no modes, $expand", |machine| {
            (machine.quirks.no_override_mode, machine.quirks.expands) = (true, true);
        }),
        ("TransferProtocolType needed, Inserted refused", |machine| {
            let q = &mut machine.quirks;
            (q.needs_transfer_protocol, q.refuses_inserted) = (true, true);
        }),
    ]
}

/// Puts something into everything that can be empty.
async fn put_to_use(client: &Client<'_>) {
    let quirks = &client.machine.config().quirks;
    let parent = if quirks.media_under_system { "Systems" } else { "Managers" };
    let drive = format!("{ROOT}{parent}/1/VirtualMedia/Cd");
    let image = json!({"Image": "http://10.0.0.5/m/a.iso", "TransferProtocolType": "HTTP", "UserName": "u", "Password": "p"});
    if quirks.media_by_patch {
        client.change("PATCH", &drive, image).await;
    } else {
        client.change("POST", &format!("{drive}/Actions/VirtualMedia.InsertMedia"), image).await;
    }
    let login = json!({"UserName": "admin", "Password": "password"});
    client.change("POST", "/redfish/v1/SessionService/Sessions", login).await;
    let boot = json!({"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Cd", "HttpBootUri": "http://10.0.0.5/a.efi"});
    let settings =
        if quirks.boot_settings { "/redfish/v1/Systems/1/Settings" } else { "/redfish/v1/Systems/1" };
    client.change("PATCH", settings, json!({"Boot": boot})).await;
    client.change("PATCH", "/redfish/v1/Systems/1", json!({"AssetTag": "rack 7"})).await;
}

#[tokio::test]
async fn every_resource_of_every_bmc_is_what_its_type_says() {
    for (name, shape) in shapes() {
        let rack = rack(shape).await;
        let client = Client::new(rack.machine(0));
        for used in [false, true] {
            if used {
                put_to_use(&client).await;
            }
            let found = client.walk().await;
            for (path, body) in &found {
                assert_eq!(answer::resource(body), Ok(()), "{name}, used: {used}: {path}: {body:#}");
            }
            let kinds = kinds(&found);
            for kind in
                ["ServiceRoot", "ComputerSystem", "Manager", "VirtualMedia", "Chassis", "TaskService", "Role"]
            {
                assert!(kinds.contains(kind), "{name}: no {kind} in {kinds:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_a_boot_leaves_is_what_its_type_says() {
    let rack = rack(|machine| machine.timing = Timing { tasks: true, ..Timing::default() }).await;
    let client = Client::new(rack.machine(0));
    put_to_use(&client).await;
    let machine = rack.machine(0);
    machine.inject(Injection::times(1, Injected::WillNotStart));
    let reset = "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset";
    for _ in ["fails", "works"] {
        let (status, task) = client.ask("POST", reset, &[], Some(json!({"ResetType": "On"}))).await;
        assert_eq!((status, answer::resource(&task)), (202, Ok(())), "{task:#}");
        let monitor = task["TaskMonitor"].as_str().map(str::to_owned).unwrap_or_default();
        while client.ask("GET", &monitor, &[], None).await.0 == 202 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
    let found = client.walk().await;
    for (path, body) in &found {
        assert_eq!(answer::resource(body), Ok(()), "{path}: {body:#}");
    }
    let states: BTreeSet<_> = found.iter().filter_map(|(_, body)| body["TaskState"].as_str()).collect();
    assert_eq!(states, BTreeSet::from(["Completed", "Exception"]));
}

#[tokio::test]
async fn expanded_answers_are_what_their_types_say() {
    let rack = rack(|machine| machine.quirks.expands = true).await;
    let client = Client::new(rack.machine(0));
    put_to_use(&client).await;
    for (path, _) in client.walk().await {
        for which in [".", "~", "*($levels=3)"] {
            let body = client.get(&format!("{path}?$expand={which}")).await;
            assert_eq!(answer::resource(&body), Ok(()), "{path} {which}: {body:#}");
        }
    }
}

/// Method, path, headers, body, and the status wanted.
type Row<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], Option<Value>, u16);

#[tokio::test]
async fn every_refusal_is_an_error_of_the_standard() {
    let rack = rack(|machine| {
        (machine.quirks.needs_if_match, machine.quirks.expands, machine.session_limit) = (true, true, 0);
    })
    .await;
    let client = Client::new(rack.machine(0));
    let system = "/redfish/v1/Systems/1";
    let reset = format!("{system}/Actions/ComputerSystem.Reset");
    let insert = "/redfish/v1/Managers/1/VirtualMedia/Cd/Actions/VirtualMedia.InsertMedia";
    let sessions = "/redfish/v1/SessionService/Sessions";
    let table: &[Row<'_>] = &[
        ("GET", "/redfish/v1/Nowhere", &[], None, 404),
        ("DELETE", system, &[], None, 405),
        ("GET", system, &[("X-Auth-Token", "stale")], None, 401),
        ("GET", system, &[("OData-Version", "3.0")], None, 412),
        ("GET", "/redfish/v1/Systems?$filter=a", &[], None, 501),
        ("GET", "/redfish/v1/Systems?$expand=.($levels=9)", &[], None, 400),
        ("PATCH", system, &[], Some(json!({"AssetTag": "a"})), 428),
        ("PATCH", system, &[("If-Match", "\"old\"")], Some(json!({"AssetTag": "a"})), 412),
        (
            "PATCH",
            system,
            &[("If-Match", "*")],
            Some(json!({"Colour": 1, "SerialNumber": "a", "Boot": 1})),
            400,
        ),
        ("PATCH", system, &[("If-Match", "*")], Some(json!({})), 400),
        ("POST", &reset, &[], Some(json!({"ResetType": "Sideways"})), 400),
        ("POST", &reset, &[], Some(json!({})), 400),
        ("POST", &reset, &[], Some(json!({"ResetType": "ForceOff"})), 409),
        ("POST", insert, &[], Some(json!({"Image": "http://x/a", "Colour": "red"})), 400),
        ("POST", insert, &[], Some(json!({"Image": 1})), 400),
        ("POST", sessions, &[], Some(json!({"UserName": "admin"})), 400),
        ("POST", sessions, &[], Some(json!({"UserName": "admin", "Password": "wrong"})), 401),
        ("POST", sessions, &[], Some(json!({"UserName": "admin", "Password": "password"})), 503),
    ];
    for (method, path, headers, body, wanted) in table {
        let (status, answer) = client.ask(method, path, headers, body.clone()).await;
        assert_eq!((status, answer::refusal(&answer)), (*wanted, Ok(())), "{method} {path}: {answer:#}");
    }
}

#[tokio::test]
async fn the_service_document_is_one() {
    let rack = rack(|_| {}).await;
    let body = Client::new(rack.machine(0)).get("/redfish/v1/odata").await;
    assert_eq!(answer::service_document(&body), Ok(()), "{body:#}");
}

#[tokio::test]
async fn what_is_not_of_the_schema_is_found() {
    let rack = rack(|_| {}).await;
    let system = Client::new(rack.machine(0)).get("/redfish/v1/Systems/1").await;
    let with = |name: &str, value: Value| {
        let mut body = system.clone();
        body[name] = value;
        answer::resource(&body).unwrap_err()
    };
    let strange = |at: &str| Fault::Strange {
        model: "#ComputerSystem.v1_20_1.ComputerSystem".into(),
        properties: vec![at.to_owned()],
    };
    assert_eq!(with("PowerStat", json!("On")), strange("/PowerStat"));
    assert_eq!(with("BootProgress", json!({"LastStat": "OSRunning"})), strange("/BootProgress/LastStat"));
    assert!(matches!(with("PowerState", json!("Sideways")), Fault::Refused { .. }));
    let unknown = with("@odata.type", json!("#ComputerSystem.v9_0_0.ComputerSystem"));
    assert_eq!(unknown, Fault::NoModel("#ComputerSystem.v9_0_0.ComputerSystem".into()));
}
