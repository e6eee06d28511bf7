//! Whom to believe at a BMC's address: a pin that is given, the certificate seen first, or the system's authorities.
//! Settled before a password is asked for. The controller looks, because it is the one that reaches BMCs.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Value, json};

use super::super::client::{Client, path};
use super::lines;

/// What the command line says about a BMC's certificate.
#[derive(Debug, Clone, Default, Args)]
#[group(multiple = false)]
pub struct Given {
    /// SHA-256 of the BMC's certificate (64 hex digits), the only one to trust. Without this and the next two, the
    /// controller looks at the certificate and you are asked
    #[arg(long, value_name = "SHA256")]
    pin: Option<String>,
    /// Trust the certificate that the BMC shows now, without asking; for scripts
    #[arg(long)]
    pin_first_use: bool,
    /// Trust no certificate of its own: the controller's system authorities judge what the BMC shows
    #[arg(long)]
    no_pin: bool,
}

/// Options of `machine repin`.
#[derive(Debug, Args)]
pub struct Repin {
    /// The machine's serial number
    serial: String,
    /// SHA-256 of the certificate to trust, instead of the one that the BMC shows now
    #[arg(long, value_name = "SHA256", conflicts_with = "yes")]
    pin: Option<String>,
    /// Do not ask; for scripts
    #[arg(long)]
    yes: bool,
}

/// The pin for a BMC at `url`; none where the system's authorities judge, or nothing does. `stored` is the BMC of a
/// record that is changed.
pub async fn settle(
    client: &Client,
    given: &Given,
    url: &str,
    stored: &Value,
) -> anyhow::Result<Option<String>> {
    if let Some(pin) = &given.pin {
        return Ok(Some(pin.clone()));
    }
    if given.no_pin || url.starts_with("http://") {
        return Ok(None);
    }
    if !given.pin_first_use && stored["url"].as_str() == Some(url.trim_end_matches('/')) {
        return Ok(pinned(stored));
    }
    let shown = look(client, url).await?;
    let seen = sha256(&shown)?;
    eprint!("{}", described(url, &shown));
    if given.pin_first_use {
        return Ok(Some(seen));
    }
    let open = "give --pin SHA256 if you know it, --pin-first-use to trust what is shown, or --no-pin to have the \
                system's authorities judge";
    agreed("Is this the certificate of your BMC? Compare the SHA-256 with the BMC's own page.", open)?;
    Ok(Some(seen))
}

/// Gives a machine another pin.
pub async fn repin(client: &Client, wanted: &Repin) -> anyhow::Result<()> {
    let machine = client.get(&path(&["machines", &wanted.serial])).await?;
    let bmc = &machine["bmc"];
    let url = bmc["url"].as_str().unwrap_or_default();
    if url.starts_with("http://") {
        bail!("the BMC of {} is reached by plain http: there is no certificate to pin", wanted.serial);
    }
    let pin = if let Some(pin) = &wanted.pin {
        pin.clone()
    } else {
        let shown = look(client, url).await?;
        let seen = sha256(&shown)?;
        let before = pinned(bmc);
        eprint!("{}", described(url, &shown));
        if before.as_deref() == Some(seen.as_str()) {
            println!("{} is pinned to it already", wanted.serial);
            return Ok(());
        }
        eprintln!(
            "Trusted until now: {}",
            before.as_deref().unwrap_or("what the system's authorities vouch for")
        );
        if !wanted.yes {
            let open = "give --pin SHA256 if you know it, or --yes to trust what is shown";
            agreed("Did this BMC get a new certificate? Compare the SHA-256 with the BMC's own page.", open)?;
        }
        seen
    };
    let path = path(&["machines", &wanted.serial, "pin"]);
    client.post(&path, Some(&json!({ "certificate_sha256": pin }))).await?;
    println!("{} is pinned; see whether its BMC answers with `slipway machine probe {0}`", wanted.serial);
    Ok(())
}

async fn look(client: &Client, url: &str) -> anyhow::Result<Value> {
    client.post("/bmc-certificate", Some(&json!({ "url": url }))).await
}

fn sha256(shown: &Value) -> anyhow::Result<String> {
    let sha256 = shown["sha256"]
        .as_str()
        .context("the controller's answer has no sha256; is it older than this program?")?;
    Ok(sha256.to_owned())
}

fn pinned(bmc: &Value) -> Option<String> {
    bmc["tls"]["pinned"].as_str().map(str::to_owned)
}

/// Asks on the terminal; anything but yes, and no terminal at all, is an error that says what else can be done.
fn agreed(question: &str, open: &str) -> anyhow::Result<()> {
    if !std::io::stdin().is_terminal() {
        bail!("nobody is there to be asked whether to trust this certificate; {open}");
    }
    eprint!("{question}\nPin it? [y/N] ");
    std::io::stderr().flush().context("asking")?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("reading the answer")?;
    if !matches!(answer.trim(), "y" | "Y" | "yes") {
        bail!("not pinned, and nothing is changed; {open}");
    }
    Ok(())
}

fn described(url: &str, shown: &Value) -> String {
    let text = |name: &str| shown[name].as_str().unwrap_or("(unreadable)").to_owned();
    let date = |name: &str| text(name).chars().take_while(|c| *c != 'T').collect::<String>();
    let issuer = if shown["issuer"] == shown["subject"] && shown["issuer"].is_string() {
        "itself".to_owned()
    } else {
        text("issuer")
    };
    let facts = lines(&[
        ("subject", text("subject")),
        ("issuer", issuer),
        ("valid", format!("{} to {}", date("not_before"), date("not_after"))),
        ("SHA-256", text("sha256")),
    ]);
    let facts: String = facts.lines().map(|line| format!("  {line}\n")).collect();
    format!("{url} shows this certificate:\n{facts}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_shown_as_people_compare_it() {
        let shown = json!({
            "subject": "CN=idrac-ABC1234", "issuer": "CN=idrac-ABC1234",
            "not_before": "2024-01-02T00:00:00Z", "not_after": "2034-01-02T00:00:00Z", "sha256": "ab".repeat(32),
        });
        insta::assert_snapshot!(described("https://192.0.2.20", &shown), @r"
        https://192.0.2.20 shows this certificate:
          subject  CN=idrac-ABC1234
          issuer   itself
          valid    2024-01-02 to 2034-01-02
          SHA-256  abababababababababababababababababababababababababababababababab
        ");
        let unreadable = json!({ "sha256": "ab".repeat(32), "subject": null, "issuer": null });
        insta::assert_snapshot!(described("https://192.0.2.20", &unreadable), @r"
        https://192.0.2.20 shows this certificate:
          subject  (unreadable)
          issuer   (unreadable)
          valid    (unreadable) to (unreadable)
          SHA-256  abababababababababababababababababababababababababababababababab
        ");
    }
}
