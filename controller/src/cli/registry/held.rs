//! `slipway registry du`: what repositories hold, and how the quotas stand.

use schema::size::human;
use serde_json::{Value, json};

use crate::cli::client::Client;
use crate::cli::table::table;

/// Asks for all pages; `{repositories, quotas}`.
pub async fn ask(client: &Client) -> anyhow::Result<Value> {
    let mut all = Vec::new();
    let mut after = String::new();
    loop {
        let query =
            url::form_urlencoded::Serializer::new(String::new()).append_pair("after", &after).finish();
        let mut page = client.get(&format!("/registry/usage?{query}")).await?;
        if let Value::Array(rows) = page["repositories"].take() {
            all.extend(rows);
        }
        match page["next"].take() {
            Value::String(next) if next > after => after = next,
            _ => return Ok(json!({ "repositories": all, "quotas": page["quotas"].take() })),
        }
    }
}

/// As tables.
pub fn told(held: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let size = |value: &Value| human(value.as_u64().unwrap_or_default());
    let rows = |list: &str, row: &dyn Fn(&Value) -> Vec<String>| -> Vec<Vec<String>> {
        held[list].as_array().into_iter().flatten().map(row).collect()
    };
    let repositories = rows("repositories", &|row| {
        let mut cells: Vec<String> =
            ["repository", "tags", "manifests", "blobs"].map(|field| text(&row[field])).to_vec();
        cells.push(size(&row["bytes"]));
        // To the minute: `2026-11-21T20:15`.
        let pulled = row["pulled_at"].as_str().map(|at| at.chars().take(16).collect());
        cells.push(pulled.unwrap_or_else(|| "never".to_owned()));
        cells
    });
    let mut out = table(&["REPOSITORY", "TAGS", "MANIFESTS", "BLOBS", "SIZE", "PULLED"], &repositories);
    let quotas = rows("quotas", &|row| {
        let namespace = Some(text(&row["namespace"])).filter(|name| !name.is_empty());
        vec![namespace.unwrap_or_else(|| "(all)".to_owned()), size(&row["used"]), size(&row["size"])]
    });
    if !quotas.is_empty() {
        out.push('\n');
        out.push_str(&table(&["NAMESPACE", "USED", "QUOTA"], &quotas));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_told_in_tables() {
        let held = json!({
            "repositories": [
                { "repository": "team/app", "tags": 2, "manifests": 3, "blobs": 7, "bytes": 5_000_000, "pulled_at": "2026-11-21T20:15:07.123Z" },
                { "repository": "tools", "tags": 1, "manifests": 1, "blobs": 2, "bytes": 900, "pulled_at": null },
            ],
            "quotas": [
                { "namespace": "team", "size": 10_737_418_240_u64, "used": 5_000_000 },
                { "namespace": "", "size": 107_374_182_400_u64, "used": 5_000_900 },
            ],
        });
        insta::assert_snapshot!(told(&held));
        assert!(!told(&json!({ "repositories": [], "quotas": [] })).contains("QUOTA"));
    }
}
