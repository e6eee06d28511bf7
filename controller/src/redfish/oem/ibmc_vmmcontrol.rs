//! Huawei and xFusion iBMC: `VmmControl` of the CD slot, `Connect` with an image and `Disconnect`, answered by a task.
//!
//! Sources: Huawei iBMC Redfish documentation, openUBMC documentation (field guide, quirk table).

use serde_json::json;

use super::super::error::BmcError;
use super::super::session::Session;
use super::super::task::{Verdict, settle};
use super::super::wire::Node;

/// The action of one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmmControl {
    target: String,
}

impl VmmControl {
    /// Finds it under `Oem`, where its maker's name is the key.
    pub fn read(slot: Node<'_>) -> Option<Self> {
        slot.get("Oem").entries().find_map(|(_, oem)| {
            oem.get("Actions").entries().find_map(|(name, action)| {
                let ours = name.ends_with("VirtualMedia.VmmControl");
                Some(Self { target: action.get("target").string().filter(|_| ours)? })
            })
        })
    }

    /// Connects.
    pub async fn put(&self, session: &Session, url: &str) -> Result<Verdict, BmcError> {
        self.ask(session, json!({"VmmControlType": "Connect", "Image": url})).await
    }

    /// Disconnects.
    pub async fn take(&self, session: &Session) -> Result<Verdict, BmcError> {
        self.ask(session, json!({"VmmControlType": "Disconnect"})).await
    }

    async fn ask(&self, session: &Session, body: serde_json::Value) -> Result<Verdict, BmcError> {
        let target = session.endpoint.path(&self.target)?;
        let answer = session.post(&target, &body).await?;
        settle(session, answer).await
    }
}
