//! Answers of a service, each by the model that its `@odata.type` names.

use redfish_codegen::models as m;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::round_trip::{Echo, Fault, check, echo};

/// A model by the type it writes itself, so that no name is spelt here.
fn model<T: Default + DeserializeOwned + Serialize>() -> (String, Echo) {
    let written = serde_json::to_value(T::default()).unwrap_or_default();
    (written["@odata.type"].as_str().unwrap_or_default().to_owned(), echo::<T>)
}

/// Every resource that a BMC of ours may show.
fn models() -> Vec<(String, Echo)> {
    vec![
        model::<m::service_root::v1_16_0::ServiceRoot>(),
        model::<m::session_service::v1_1_8::SessionService>(),
        model::<m::session_collection::SessionCollection>(),
        model::<m::session::v1_6_0::Session>(),
        model::<m::account_service::v1_13_0::AccountService>(),
        model::<m::manager_account_collection::ManagerAccountCollection>(),
        model::<m::manager_account::v1_10_0::ManagerAccount>(),
        model::<m::role_collection::RoleCollection>(),
        model::<m::role::v1_3_1::Role>(),
        model::<m::computer_system_collection::ComputerSystemCollection>(),
        model::<m::computer_system::v1_20_1::ComputerSystem>(),
        model::<m::ethernet_interface_collection::EthernetInterfaceCollection>(),
        model::<m::ethernet_interface::v1_10_0::EthernetInterface>(),
        model::<m::secure_boot::v1_1_0::SecureBoot>(),
        model::<m::manager_collection::ManagerCollection>(),
        model::<m::manager::v1_18_0::Manager>(),
        model::<m::virtual_media_collection::VirtualMediaCollection>(),
        model::<m::virtual_media::v1_6_1::VirtualMedia>(),
        model::<m::chassis_collection::ChassisCollection>(),
        model::<m::chassis::v1_23_0::Chassis>(),
        model::<m::task_service::v1_2_0::TaskService>(),
        model::<m::task_collection::TaskCollection>(),
        model::<m::task::v1_7_1::Task>(),
        ("#ActionInfo.v1_3_0.ActionInfo".to_owned(), echo::<action_info::ActionInfo>),
    ]
}

/// Holds a resource against the model that its type names. Expanded resources inside it are held against theirs.
pub fn resource(body: &Value) -> Result<(), Fault> {
    let mut body = body.clone();
    if let Some(map) = body.as_object_mut() {
        map.values_mut().try_for_each(fold)?;
    }
    let kind = body["@odata.type"].as_str().unwrap_or_default();
    let models = models();
    let found = models.iter().find(|(name, _)| name == kind);
    let (name, echo) = found.ok_or_else(|| Fault::NoModel(kind.to_owned()))?;
    check(name, *echo, &body)
}

/// Replaces each expanded resource by its link, once it has passed.
fn fold(value: &mut Value) -> Result<(), Fault> {
    match value {
        Value::Object(map) if map.contains_key("@odata.type") && map.contains_key("@odata.id") => {
            resource(value)?;
            *value = json!({"@odata.id": value["@odata.id"]});
            Ok(())
        }
        Value::Object(map) => map.values_mut().try_for_each(fold),
        Value::Array(list) => list.iter_mut().try_for_each(fold),
        _ => Ok(()),
    }
}

/// Holds the body of a refusal against the model of errors.
pub fn refusal(body: &Value) -> Result<(), Fault> {
    check("RedfishError", echo::<m::redfish::Error>, body)
}

/// Holds the service document against its model.
pub fn service_document(body: &Value) -> Result<(), Fault> {
    check("ServiceDocument", echo::<m::odata_v4::ServiceDocument>, body)
}

/// Action descriptions have no place in the OpenAPI form of the schema, from which the models are made; so this one
/// is written down from its JSON form, `ActionInfo.v1_3_0`.
mod action_info {
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    pub struct ActionInfo {
        #[serde(rename = "@odata.id")]
        path: String,
        #[serde(rename = "@odata.type")]
        kind: String,
        #[serde(rename = "@odata.etag", default, skip_serializing_if = "Option::is_none")]
        etag: Option<String>,
        id: String,
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parameters: Option<Vec<Parameters>>,
    }

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    struct Parameters {
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        required: Option<bool>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data_type: Option<ParameterTypes>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        object_data_type: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        allowable_values: Option<Vec<Option<String>>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        allowable_pattern: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        allowable_numbers: Option<Vec<Option<String>>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        minimum_value: Option<f64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        maximum_value: Option<f64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        array_size_minimum: Option<i64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        array_size_maximum: Option<i64>,
    }

    #[derive(Serialize, Deserialize)]
    enum ParameterTypes {
        Boolean,
        Number,
        NumberArray,
        String,
        StringArray,
        Object,
        ObjectArray,
    }
}
