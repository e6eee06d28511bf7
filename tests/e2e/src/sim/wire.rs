//! A host's line to the controller: TLS that trusts what the task medium says and nothing else; reports that are
//! repeated until someone answers.

use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::StatusCode;
use schema::event::{Proceed, Received, Report, ReportStatus};
use schema::task::TaskJob;

/// Between two attempts to reach a controller that does not answer.
const AGAIN: Duration = Duration::from_millis(50);
/// For one request.
const DEADLINE: Duration = Duration::from_secs(20);

/// The line of one boot.
pub struct Wire {
    http: reqwest::Client,
    job: TaskJob,
    serial: String,
    nonce: String,
}

/// What the controller said, when it did not say yes.
#[derive(Debug, Clone)]
pub struct Refused {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub text: String,
}

impl Wire {
    /// The line that `job.json` describes, with a fresh boot nonce.
    pub fn new(job: &TaskJob, serial: &str) -> Result<Self> {
        let ca = job.site_ca.as_deref().context("job.json has no site_ca")?;
        let http = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(ca.as_bytes())?])
            .timeout(DEADLINE)
            .no_proxy()
            .build()?;
        let mut nonce = [0u8; 16];
        getrandom::fill(&mut nonce).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
        Ok(Self { http, job: job.clone(), serial: serial.to_owned(), nonce: hex::encode(nonce) })
    }

    /// A report with everything but its own content.
    pub fn report(&self, status: ReportStatus) -> Report {
        Report {
            delivery_id: Some(uuid::Uuid::new_v4().to_string()),
            job_id: Some(self.job.job_id.clone()),
            attempt: Some(self.job.attempt),
            boot_nonce: Some(self.nonce.clone()),
            status,
            step: None,
            step_state: None,
            failed_step: None,
            done: None,
            total: None,
            exit_code: None,
            message: None,
            log_tail: None,
            found_serial: None,
            at: None,
        }
    }

    /// Asks to go on.
    pub async fn ask(&self) -> Result<Proceed, Refused> {
        let report = self.report(ReportStatus::Started);
        let text = self.send(&self.job.bootstrap_token, &report).await?;
        serde_json::from_str(&text).map_err(|error| Refused { status: 200, text: format!("{error}: {text}") })
    }

    /// Tells something and waits until it is taken in.
    pub async fn tell(&self, token: &str, report: &Report) -> Result<Received, Refused> {
        let text = self.send(token, report).await?;
        serde_json::from_str(&text).map_err(|error| Refused { status: 200, text: format!("{error}: {text}") })
    }

    /// With the medium's own token: the one thing that may be told without leave.
    pub async fn tell_without_leave(&self, report: &Report) -> Result<Received, Refused> {
        let token = self.job.bootstrap_token.clone();
        self.tell(&token, report).await
    }

    async fn send(&self, token: &str, report: &Report) -> Result<String, Refused> {
        let url = format!("{}/api/v1/status-webhook/{}", self.job.api_url, self.serial);
        loop {
            let request = self.http.post(&url).bearer_auth(token).json(report);
            let Ok(answer) = request.send().await else {
                tokio::time::sleep(AGAIN).await;
                continue;
            };
            let status = answer.status();
            let Ok(text) = answer.text().await else { continue };
            match status {
                StatusCode::OK => return Ok(text),
                status if status.is_server_error() => tokio::time::sleep(AGAIN).await,
                status => return Err(Refused { status: status.as_u16(), text }),
            }
        }
    }

    /// The digest of the image that the job names, pulled as its imaging step does.
    pub async fn pull(&self, token: &str) -> Result<Option<String>> {
        let Some(image) = &self.job.image else { return Ok(None) };
        let base = format!("{}/v2/{}", image.registry, image.repository);
        let manifest = self.get(&format!("{base}/manifests/{}", image.digest), token).await?;
        let document: serde_json::Value = serde_json::from_slice(&manifest)?;
        let layers = document["layers"].as_array().context("a manifest without layers")?;
        for layer in layers {
            let digest = layer["digest"].as_str().context("a layer without digest")?;
            let bytes = self.get(&format!("{base}/blobs/{digest}"), token).await?;
            anyhow::ensure!(sha256(&bytes) == digest, "layer {digest} is another one");
        }
        Ok(Some(sha256(&manifest)))
    }

    /// Again while nobody answers: the controller may be killed in the middle of a pull.
    async fn get(&self, url: &str, token: &str) -> Result<Vec<u8>> {
        loop {
            if let Ok(answer) = self.http.get(url).bearer_auth(token).send().await
                && !answer.status().is_server_error()
                && let Ok(bytes) = answer.error_for_status()?.bytes().await
            {
                return Ok(bytes.to_vec());
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// `sha256:…` of bytes.
pub fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    format!("sha256:{}", hex::encode(sha2::Sha256::digest(bytes)))
}
