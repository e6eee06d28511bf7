//! `slipway registry read-only`: the switch, and what it says.

use anyhow::ensure;
use clap::ValueEnum;
use serde_json::{Value, json};

use crate::cli::client::Client;

/// What the switch shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum To {
    /// Pushes and deletions are refused
    On,
    /// They are let in again
    Off,
}

/// Sets the switch, or looks at it.
pub async fn read_only(client: &Client, to: Option<To>, reason: Option<String>) -> anyhow::Result<()> {
    ensure!(reason.is_none() || to == Some(To::On), "only `on` has a --reason; leave it out");
    let mode = match to {
        None => client.get("/registry/mode").await?,
        Some(to) => {
            let mut body = json!({ "read_only": to == To::On });
            if let Some(reason) = reason {
                body["reason"] = json!(reason);
            }
            client.put("/registry/mode", &body).await?
        }
    };
    println!("{}", told(&mode));
    Ok(())
}

fn told(mode: &Value) -> String {
    if mode["read_only"] != json!(true) {
        return "the registry takes pushes and deletions".to_owned();
    }
    let word = |field: &str| mode[field].as_str().unwrap_or_default();
    format!("the registry is read-only since {} (by {}): {}", word("since"), word("by"), word("reason"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_is_told_in_words() {
        assert_eq!(told(&json!({ "read_only": false })), "the registry takes pushes and deletions");
        let on = json!({ "read_only": true, "reason": "a new disk", "since": "2026-11-21T20:00:00Z", "by": "ops" });
        let wanted = "the registry is read-only since 2026-11-21T20:00:00Z (by ops): a new disk";
        assert_eq!(told(&on), wanted);
    }
}
