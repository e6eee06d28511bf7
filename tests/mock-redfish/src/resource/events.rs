//! The event service, of BMCs that have one. Subscriptions are not taken; there are server-sent events.

use serde_json::{Value, json};

use super::{collection, healthy, link};
use crate::machine::Machine;

const SUBSCRIPTIONS: &str = "/redfish/v1/EventService/Subscriptions";

pub(super) fn get(machine: &Machine, segments: &[&str]) -> Option<Value> {
    let events = machine.model().events.as_ref()?;
    match segments[1..] {
        [] => Some(json!({
            "@odata.type": "#EventService.v1_10_0.EventService",
            "@odata.id": "/redfish/v1/EventService",
            "Id": "EventService",
            "Name": "Event Service",
            "ServiceEnabled": true,
            "Status": healthy(),
            "DeliveryRetryAttempts": 3,
            "DeliveryRetryIntervalSeconds": 30,
            "EventFormatTypes": ["Event"],
            "ServerSentEventUri": events.path,
            "Subscriptions": link(SUBSCRIPTIONS),
        })),
        ["Subscriptions"] => {
            let name = "Event Subscriptions Collection";
            Some(collection(SUBSCRIPTIONS, "EventDestinationCollection", name, &[]))
        }
        _ => None,
    }
}
