//! The few resources a job needs, as plain structs read from tolerant JSON.
//!
//! A view never fails: what a BMC leaves out is `None` or empty, and whoever needs it says so by name.

use super::bmc::Power;
use super::wire::{Node, Resource};

/// `ServiceRoot`: where everything else is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceRoot {
    /// The BMC's maker.
    pub vendor: Option<String>,
    /// The BMC's product name.
    pub product: Option<String>,
    /// Where sessions are made.
    pub sessions: Option<String>,
    /// The collection of computer systems.
    pub systems: Option<String>,
    /// The collection of managers.
    pub managers: Option<String>,
    /// The event service.
    pub events: Option<String>,
    /// Whether members can be had together with their collection.
    pub expands: bool,
}

impl ServiceRoot {
    /// Reads it.
    pub fn read(node: Node<'_>) -> Self {
        let features = node.get("ProtocolFeaturesSupported").get("ExpandQuery");
        Self {
            vendor: node.get("Vendor").string(),
            product: node.get("Product").string(),
            sessions: node.get("Links").get("Sessions").link().map(str::to_owned),
            systems: node.get("Systems").link().map(str::to_owned),
            managers: node.get("Managers").link().map(str::to_owned),
            events: node.get("EventService").link().map(str::to_owned),
            expands: features.get("NoLinks").flag() == Some(true)
                && features.get("Levels").flag() == Some(true)
                && features.get("MaxLevels").number() != Some(0),
        }
    }
}

/// An action: where to POST, and which values it allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// Where to POST.
    pub target: String,
    /// Where its parameters are described.
    pub info: Option<String>,
    /// Allowed values of the parameter asked about, when given in line.
    pub allowable: Vec<String>,
}

impl Action {
    /// The action `name` of a resource, with the allowed values of `parameter`.
    pub fn read(resource: Node<'_>, name: &str, parameter: &str) -> Option<Self> {
        let action = resource.get("Actions").get(name);
        Some(Self {
            target: action.get("target").string()?,
            info: action.get("@Redfish.ActionInfo").link().map(str::to_owned),
            allowable: action.get(&format!("{parameter}@Redfish.AllowableValues")).words(),
        })
    }
}

/// `ActionInfo`: what an action takes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ActionInfo {
    /// Parameters that must be sent.
    pub required: Vec<String>,
    /// Allowed values by parameter.
    pub allowable: Vec<(String, Vec<String>)>,
}

impl ActionInfo {
    /// Reads it.
    pub fn read(node: Node<'_>) -> Self {
        let mut info = Self::default();
        for parameter in node.get("Parameters").items() {
            let Some(name) = parameter.get("Name").string() else { continue };
            if parameter.get("Required").flag() == Some(true) {
                info.required.push(name.clone());
            }
            info.allowable.push((name, parameter.get("AllowableValues").words()));
        }
        info
    }

    /// Allowed values of one parameter; empty when it does not say.
    pub fn allowed(&self, parameter: &str) -> &[String] {
        self.allowable.iter().find(|(name, _)| name == parameter).map_or(&[], |(_, values)| values)
    }
}

/// The `Boot` object of a system or of its settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Boot {
    /// `BootSourceOverrideTarget`.
    pub target: Option<String>,
    /// `BootSourceOverrideEnabled`.
    pub enabled: Option<String>,
    /// `BootSourceOverrideMode`; none where the BMC knows no modes.
    pub mode: Option<String>,
    /// `HttpBootUri`, when it is set.
    pub http_uri: Option<String>,
    /// Allowed targets; empty when not said.
    pub targets: Vec<String>,
    /// Allowed modes; empty when not said.
    pub modes: Vec<String>,
    /// The attributes that are there at all, also when `null`.
    pub present: Vec<String>,
}

impl Boot {
    /// Reads the `Boot` object of `resource`.
    pub fn read(resource: Node<'_>) -> Self {
        let boot = resource.get("Boot");
        let allowed = |name: &str| boot.get(&format!("{name}@Redfish.AllowableValues")).words();
        Self {
            target: boot.get("BootSourceOverrideTarget").string(),
            enabled: boot.get("BootSourceOverrideEnabled").string(),
            mode: boot.get("BootSourceOverrideMode").string(),
            http_uri: boot.get("HttpBootUri").string().filter(|uri| !uri.is_empty()),
            targets: allowed("BootSourceOverrideTarget"),
            modes: allowed("BootSourceOverrideMode"),
            present: boot.entries().map(|(key, _)| key.to_owned()).collect(),
        }
    }

    /// Whether a one-time or lasting override is armed.
    pub fn is_armed(&self) -> bool {
        !matches!(self.enabled.as_deref(), None | Some("Disabled"))
            && !matches!(self.target.as_deref(), None | Some("None"))
    }

    /// Whether the attribute is there at all.
    pub fn has(&self, key: &str) -> bool {
        self.present.iter().any(|name| name == key)
    }

    /// As an operator reads it: `Cd Once UEFI`, `UefiHttp Once UEFI http://…`.
    pub fn shown(&self) -> String {
        let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "?".into());
        let rest = [&self.mode, &self.http_uri];
        let rest: String = rest.into_iter().flatten().map(|value| format!(" {value}")).collect();
        format!("{} {}{rest}", word(&self.target), word(&self.enabled))
    }
}

/// A virtual media slot as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Media {
    /// `Id`.
    pub id: String,
    /// `MediaTypes`.
    pub types: Vec<String>,
    /// Whether something is in it.
    pub inserted: bool,
    /// `Image`.
    pub image: Option<String>,
    /// `ImageName`.
    pub image_name: Option<String>,
    /// The insert action.
    pub insert: Option<Action>,
    /// The eject action.
    pub eject: Option<Action>,
    /// Whether it has the attributes a PATCH would set.
    pub patchable: bool,
}

impl Media {
    /// Reads it. A BMC that lacks `Inserted` is judged by its connection.
    pub fn read(node: Node<'_>) -> Self {
        let image = node.get("Image").string();
        let connected =
            node.get("ConnectedVia").text().is_some_and(|via| via != "NotConnected") && image.is_some();
        Self {
            id: node.get("Id").string().unwrap_or_default(),
            types: node.get("MediaTypes").words(),
            inserted: node.get("Inserted").flag().unwrap_or(connected),
            image_name: node.get("ImageName").string(),
            insert: Action::read(node, "#VirtualMedia.InsertMedia", "TransferProtocolType"),
            eject: Action::read(node, "#VirtualMedia.EjectMedia", ""),
            patchable: node.has("Image") && node.has("Inserted"),
            image,
        }
    }

    /// Whether a CD can be in it: `CD`, or `DVD` where no `CD` is listed.
    pub fn takes_cd(&self) -> bool {
        self.types.iter().any(|kind| kind == "CD" || kind == "DVD")
    }

    /// Whether it can hold a data medium that the OS sees as a stick.
    pub fn takes_stick(&self) -> bool {
        self.types.iter().any(|kind| kind == "USBStick")
    }

    /// As an operator reads it: `http://… (Inserted=true)`.
    pub fn shown(&self) -> String {
        let what = self.image.as_deref().or(self.image_name.as_deref()).unwrap_or("nothing");
        format!("{what} (Inserted={})", self.inserted)
    }
}

/// A system as it was seen at one moment, as far as anything here would change it. The settings that wait for its next
/// start are read the same way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SystemState {
    /// Power, and whether it is there already; none where the BMC says nothing that can be read.
    pub power: Option<(Power, bool)>,
    /// `PowerState` in the BMC's word.
    pub power_word: Option<String>,
    /// `Boot`.
    pub boot: Boot,
    /// `BootProgress.LastState`.
    pub progress: Option<String>,
    /// The tag it was read under.
    pub etag: Option<String>,
}

impl SystemState {
    /// Reads it.
    pub fn read(resource: &Resource) -> Self {
        let node = resource.node();
        Self {
            power: power(node),
            power_word: node.get("PowerState").string(),
            boot: Boot::read(node),
            progress: node.get("BootProgress").get("LastState").string(),
            etag: resource.etag.clone(),
        }
    }
}

/// The power state of a system, and whether it is still on the way there.
fn power(system: Node<'_>) -> Option<(Power, bool)> {
    match system.get("PowerState").text()? {
        "On" | "Paused" => Some((Power::On, true)),
        "PoweringOn" => Some((Power::On, false)),
        "Off" => Some((Power::Off, true)),
        "PoweringOff" => Some((Power::Off, false)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::wire::tests::any_json;
    use super::*;

    #[test]
    fn expand_is_used_only_where_levels_without_links_are_offered() {
        for (query, wanted) in [
            (json!({"Levels": true, "NoLinks": true, "MaxLevels": 1}), true),
            (json!({"Levels": true, "NoLinks": true}), true),
            (json!({"Levels": true, "NoLinks": false, "MaxLevels": 6}), false),
            (json!({"Levels": true, "NoLinks": true, "MaxLevels": 0}), false),
            (json!(null), false),
        ] {
            let root = json!({"ProtocolFeaturesSupported": {"ExpandQuery": query}});
            assert_eq!(ServiceRoot::read(Node(&root)).expands, wanted, "{root}");
        }
    }

    #[test]
    fn a_slot_without_inserted_is_judged_by_its_connection() {
        let slot = json!({"ConnectedVia": "URI", "Image": "http://a/b.iso", "MediaTypes": ["DVD"]});
        assert!(Media::read(Node(&slot)).inserted);
        assert!(Media::read(Node(&slot)).takes_cd());
        let empty = json!({"ConnectedVia": "NotConnected", "Image": ""});
        assert!(!Media::read(Node(&empty)).inserted);
    }

    #[test]
    fn a_transitional_power_state_counts_as_where_it_is_going() {
        for (text, wanted) in [
            ("On", Some((Power::On, true))),
            ("PoweringOff", Some((Power::Off, false))),
            ("Unknown", None),
            ("", None),
        ] {
            assert_eq!(power(Node(&json!({"PowerState": text}))), wanted, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_json_makes_a_view_panic(json in any_json()) {
            let node = Node(&json);
            let media = Media::read(node);
            let boot = Boot::read(node);
            let _ = (ServiceRoot::read(node), ActionInfo::read(node), media.shown(), boot.shown(), power(node));
        }
    }
}
