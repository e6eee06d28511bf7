//! Which files a task medium holds: a pure function of what the store keeps about a job. No signature yet
//! ([`super::sign`]), no image yet ([`super::iso`]).
//!
//! ```text
//! TaskInputs { job, recipe, host_network, remote payloads } ─▶ path ─▶ bytes
//! ```

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schema::recipe::{HostNetwork, Payload, Recipe};
use schema::task::TaskJob;

use super::network::{self, NetworkError};

/// Files of a medium by path (`/`-separated, no leading slash), in path order.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Everything a task medium is made of. Equal inputs give equal bytes, whenever and wherever they are built.
#[derive(Debug, Clone)]
pub struct TaskInputs {
    /// What becomes `job.json`. Its `issued_at` dates every file of the medium.
    pub job: TaskJob,
    /// The recipe, as accepted.
    pub recipe: Recipe,
    /// The JSON Schema the recipe was accepted by.
    pub recipe_schema: String,
    /// The maintenance OS's network: the recipe's own, else the machine's record, else none.
    pub host_network: Option<HostNetwork>,
    /// Bytes of the payloads that a recipe names by URL, by their SHA-256 in lower-case hex.
    pub remote_payloads: BTreeMap<String, Vec<u8>>,
}

/// Why inputs do not make a medium.
#[derive(Debug, thiserror::Error)]
pub enum ContentsError {
    /// A document of ours has no JSON form.
    #[error("{file} of job {job} has no JSON form; the recipe's metadata must be plain JSON")]
    Json {
        /// The file on the medium.
        file: &'static str,
        /// The job.
        job: String,
        /// What serde says.
        #[source]
        source: serde_json::Error,
    },
    /// `content_base64` is not base64.
    #[error("{file} of job {job} is not standard base64; encode it with `base64 -w0`")]
    Base64 {
        /// The file on the medium.
        file: &'static str,
        /// The job.
        job: String,
        /// Where it goes wrong.
        #[source]
        source: base64::DecodeError,
    },
    /// A payload named by URL was not fetched.
    #[error("{file} of job {job} (sha256 {sha256}) was never fetched; submit the recipe again")]
    NotFetched {
        /// The file on the medium.
        file: &'static str,
        /// The job.
        job: String,
        /// Digest of the wanted bytes.
        sha256: String,
    },
    /// The host network makes no sense.
    #[error("host_network of job {job} cannot be written as systemd-networkd files")]
    Network {
        /// The job.
        job: String,
        /// Which link and which value.
        #[source]
        source: NetworkError,
    },
}

/// All files of the medium but `manifest.json` and `manifest.sig`.
pub fn files(inputs: &TaskInputs) -> Result<Files, ContentsError> {
    let job = &inputs.job.job_id;
    let mut files = Files::new();
    files.insert("recipe.json".into(), json("recipe.json", job, &inputs.recipe)?);
    files.insert("recipe.schema.json".into(), inputs.recipe_schema.clone().into_bytes());
    files.insert("job.json".into(), json("job.json", job, &inputs.job)?);
    if let Some(wanted) = &inputs.host_network {
        let made =
            network::files(wanted).map_err(|source| ContentsError::Network { job: job.clone(), source })?;
        for (name, text) in made {
            files.insert(format!("host-network/{name}"), text.into_bytes());
        }
    }
    let recipe = &inputs.recipe;
    let payloads: [(&'static str, &Option<Payload>); 5] = [
        ("user-data", &recipe.user_data),
        ("meta-data", &recipe.meta_data),
        ("network-config", &recipe.network_config),
        ("unattend.xml", &recipe.unattend_xml),
        ("ks.cfg", &recipe.ks_cfg),
    ];
    for (file, payload) in payloads {
        if let Some(payload) = payload {
            files.insert(file.to_owned(), bytes_of(file, payload, inputs)?);
        }
    }
    Ok(files)
}

fn json(file: &'static str, job: &str, value: &impl serde::Serialize) -> Result<Vec<u8>, ContentsError> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|source| ContentsError::Json {
        file,
        job: job.to_owned(),
        source,
    })?;
    text.push(b'\n');
    Ok(text)
}

fn bytes_of(file: &'static str, payload: &Payload, inputs: &TaskInputs) -> Result<Vec<u8>, ContentsError> {
    let job = || inputs.job.job_id.clone();
    match payload {
        Payload::Plain(text) => Ok(text.clone().into_bytes()),
        Payload::Content(inner) => Ok(inner.content.clone().into_bytes()),
        Payload::Base64(inner) => STANDARD
            .decode(inner.content_base64.as_bytes())
            .map_err(|source| ContentsError::Base64 { file, job: job(), source }),
        Payload::Remote(remote) => inputs
            .remote_payloads
            .get(&remote.sha256)
            .cloned()
            .ok_or_else(|| ContentsError::NotFetched { file, job: job(), sha256: remote.sha256.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::task::tests::inputs;
    use super::*;
    use schema::recipe::{PayloadBase64, PayloadRemote};

    #[test]
    fn a_medium_holds_only_what_the_job_has() {
        let names: Vec<String> = files(&inputs()).unwrap().into_keys().collect();
        assert_eq!(names, ["job.json", "meta-data", "recipe.json", "recipe.schema.json", "user-data"]);
    }

    #[test]
    fn payloads_arrive_as_bytes_however_they_were_written() {
        let mut inputs = inputs();
        inputs.recipe.meta_data =
            Some(Payload::Base64(PayloadBase64 { content_base64: "AP9zbGlwd2F5".into() }));
        inputs.recipe.unattend_xml =
            Some(Payload::Remote(PayloadRemote { url: "https://x/u.xml".into(), sha256: "ab".repeat(32) }));
        inputs.remote_payloads.insert("ab".repeat(32), b"<unattend/>".to_vec());
        let files = files(&inputs).unwrap();
        assert_eq!(files["meta-data"], b"\x00\xffslipway");
        assert_eq!(files["unattend.xml"], b"<unattend/>");
    }

    #[test]
    fn a_payload_that_was_never_fetched_is_named_with_its_digest() {
        let mut inputs = inputs();
        inputs.recipe.ks_cfg =
            Some(Payload::Remote(PayloadRemote { url: "https://x/ks".into(), sha256: "cd".repeat(32) }));
        let error = files(&inputs).unwrap_err().to_string();
        assert!(error.contains("ks.cfg") && error.contains(&"cd".repeat(32)), "{error}");
    }

    #[test]
    fn base64_that_is_not_base64_is_named_without_its_content() {
        let mut inputs = inputs();
        inputs.recipe.user_data = Some(Payload::Base64(PayloadBase64 { content_base64: "secret!".into() }));
        let error = files(&inputs).unwrap_err().to_string();
        assert!(error.contains("user-data") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn job_json_reads_back_as_it_was_written() {
        let inputs = inputs();
        let files = files(&inputs).unwrap();
        let read: TaskJob = serde_json::from_slice(&files["job.json"]).unwrap();
        assert_eq!(read, inputs.job);
        let read: Recipe = serde_json::from_slice(&files["recipe.json"]).unwrap();
        assert_eq!(read, inputs.recipe);
    }
}
