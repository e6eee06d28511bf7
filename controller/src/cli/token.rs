//! `slipway token`: who may call the API and the registry. A new token's secret is shown once, or written to a file
//! that nobody else can read.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::client::path;
use super::connection::Connection;
use super::print_json;
use super::table::table;
use crate::model::Secret;

/// Options of `token`.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a token
    Create(Create),
    /// List tokens; secrets are not kept, so none are shown
    List {
        /// Print the API's JSON
        #[arg(long)]
        json: bool,
    },
    /// Kill a token at once
    Revoke {
        /// The token's id
        id: String,
    },
}

#[derive(Debug, Args)]
struct Create {
    /// What people call it: a person, a pipeline
    name: String,
    /// What it may do
    #[arg(long, value_enum)]
    role: Role,
    /// Registry access beyond the role: PREFIX:pull, PREFIX:push or PREFIX:delete, several rights joined by commas;
    /// may be repeated
    #[arg(long = "scope", value_name = "PREFIX:RIGHTS", value_parser = scope)]
    scopes: Vec<Value>,
    /// Days until it dies
    #[arg(long, default_value_t = 365)]
    days: u16,
    /// Write the secret to a new file (0600) instead of standard output
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Role {
    /// Look, and pull images
    Viewer,
    /// Start, cancel and repeat jobs, power machines, push images
    Operator,
    /// Everything
    Admin,
}

fn scope(text: &str) -> Result<Value, String> {
    let (prefix, rights) = text.rsplit_once(':').ok_or("give PREFIX:pull,push,delete")?;
    let mut scope = json!({ "prefix": prefix });
    for right in rights.split(',') {
        match right {
            "pull" | "push" | "delete" => scope[right] = json!(true),
            _ => return Err(format!("{right:?} is no right; give pull, push or delete")),
        }
    }
    Ok(scope)
}

/// Runs one of them.
pub async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let client = options.connection.client()?;
    match options.command {
        Command::Create(wanted) => {
            let role = wanted.role.to_possible_value().map(|value| value.get_name().to_owned());
            let body =
                json!({ "name": wanted.name, "role": role, "scopes": wanted.scopes, "days": wanted.days });
            let mut token = client.post("/tokens", Some(&body)).await?;
            let secret = match token["secret"].take() {
                Value::String(secret) => Secret::new(secret),
                _ => anyhow::bail!("the controller's answer holds no token"),
            };
            let id = token["id"].as_str().unwrap_or_default();
            let end = token["expires_at"].as_str().unwrap_or("never");
            if let Some(file) = &wanted.out {
                write(file, &secret).with_context(|| {
                    format!(
                        "writing the secret to {} (kill it with `slipway token revoke {id}`)",
                        file.display()
                    )
                })?;
                println!("{id}");
            } else {
                println!("{}", secret.expose());
            }
            eprintln!("token {id} ({}) lives until {end}; its secret is shown this once", wanted.name);
        }
        Command::List { json } => {
            let tokens = client.get("/tokens").await?;
            if json {
                print_json(&tokens["tokens"])?;
            } else {
                print!("{}", listed(&tokens["tokens"]));
            }
        }
        Command::Revoke { id } => {
            client.delete(&path(&["tokens", &id])).await?;
            println!("token {id} is revoked");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn write(file: &Path, secret: &Secret<String>) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    writeln!(file, "{}", secret.expose())?;
    file.sync_all()
}

fn listed(tokens: &Value) -> String {
    let cell = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rows: Vec<Vec<String>> = tokens
        .as_array()
        .into_iter()
        .flatten()
        .map(|token| {
            let scopes: Vec<String> = token["scopes"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|scope| {
                    let rights: Vec<&str> = ["pull", "push", "delete"]
                        .into_iter()
                        .filter(|right| scope[right] == json!(true))
                        .collect();
                    format!("{}:{}", cell(&scope["prefix"]), rights.join(","))
                })
                .collect();
            let state = match (&token["revoked_at"], &token["expires_at"]) {
                (Value::String(at), _) => format!("revoked {at}"),
                (_, Value::String(at)) => format!("until {at}"),
                _ => String::new(),
            };
            vec![cell(&token["id"]), cell(&token["name"]), cell(&token["role"]), state, scopes.join(" ")]
        })
        .collect();
    table(&["ID", "NAME", "ROLE", "STATE", "SCOPES"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_and_other_rights_refused() {
        assert_eq!(
            scope("images/ci:pull,push").unwrap(),
            json!({"prefix":"images/ci","pull":true,"push":true})
        );
        assert_eq!(scope(":pull").unwrap(), json!({"prefix":"","pull":true}));
        assert!(scope("images").is_err());
        assert!(scope("images:write").unwrap_err().contains("\"write\" is no right"));
    }
}
