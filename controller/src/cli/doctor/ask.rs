//! The questions of `slipway doctor`. Every one has a deadline; one that is not answered is a finding, not an error.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;
use serde_json::Value;

use super::super::client::Client;

/// For one question.
const DEADLINE: Duration = Duration::from_secs(15);
/// Machines that are looked through.
const MACHINES_MAX: usize = 20_000;
/// Open jobs whose timelines are looked through for alarms.
const JOBS_MAX: usize = 100;
/// Largest answer to a question that is not put to the API.
const ANSWER_MAX: u64 = 1 << 20;

/// What was found out.
#[derive(Debug, Clone)]
pub struct Findings {
    /// Where the controller should be.
    pub url: String,
    /// This computer's clock, taken in the middle of asking for the controller's.
    pub now: Timestamp,
    /// Whether anything answers there.
    pub health: Result<(), String>,
    /// `GET /site`, which takes a token.
    pub site: Result<Value, String>,
    /// `GET /readyz`.
    pub ready: Result<Value, String>,
    /// Status of `GET /v2/` with the token.
    pub registry: Result<u16, String>,
    /// `GET /registry/mode`.
    pub mode: Result<Value, String>,
    /// `GET /registry/usage`, for its quotas.
    pub held: Result<Value, String>,
    /// Whether anything answers at the media URL, asked from here.
    pub media: Result<(), String>,
    /// Every machine as (serial, state).
    pub machines: Result<Vec<(String, String)>, String>,
    /// Alarms of open jobs as (job, text).
    pub alarms: Result<Vec<(String, String)>, String>,
}

/// Asks all questions.
pub async fn everything(client: &Client) -> Findings {
    let health = match plain(client, "/healthz").await {
        Ok((200, _)) => Ok(()),
        Ok((status, _)) => Err(format!("status {status}; is that Slipway?")),
        Err(why) => Err(why),
    };
    let before = Timestamp::now();
    let site = api(client, "/site").await;
    let now = middle(before, Timestamp::now());
    let media = match site.as_ref().ok().and_then(|site| site["media_url"].as_str()) {
        Some(url) => knock(url).await,
        None => Err("the controller does not say where they are".to_owned()),
    };
    Findings {
        url: client.url("/").map_or_else(|_| client.host(), |url| url.to_string()),
        now,
        health,
        site,
        ready: plain(client, "/readyz")
            .await
            .and_then(|(_, body)| serde_json::from_slice(&body).map_err(|error| error.to_string())),
        registry: plain(client, "/v2/").await.map(|(status, _)| status),
        mode: api(client, "/registry/mode").await,
        held: api(client, "/registry/usage?limit=1").await,
        media,
        machines: machines(client).await,
        alarms: alarms(client).await,
    }
}

fn middle(before: Timestamp, after: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(i64::midpoint(before.as_millisecond(), after.as_millisecond()))
        .unwrap_or(after)
}

fn words(error: &anyhow::Error) -> String {
    let mut words: Vec<String> = error.chain().map(ToString::to_string).collect();
    words.dedup();
    words.join(": ")
}

async fn api(client: &Client, path: &str) -> Result<Value, String> {
    match tokio::time::timeout(DEADLINE, client.get(path)).await {
        Ok(answer) => answer.map_err(|error| words(&error)),
        Err(_) => Err(format!("no answer within {} s", DEADLINE.as_secs())),
    }
}

/// Status and body, whatever the status is.
async fn plain(client: &Client, path: &str) -> Result<(u16, Vec<u8>), String> {
    let request = client.request(Method::GET, path).map_err(|error| words(&error))?;
    let response =
        request.timeout(DEADLINE).send().await.map_err(|error| words(&error.without_url().into()))?;
    let status = response.status().as_u16();
    if response.content_length().is_some_and(|length| length > ANSWER_MAX) {
        return Err(format!("the answer is larger than {ANSWER_MAX} bytes"));
    }
    let body = response.bytes().await.map_err(|error| words(&error.without_url().into()))?;
    Ok((status, body.to_vec()))
}

/// Whether any HTTP server is at a URL; without a token, and whatever its certificate: BMCs are the ones to judge.
async fn knock(url: &str) -> Result<(), String> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .tls_danger_accept_invalid_certs(true)
        .timeout(DEADLINE)
        .build()
        .map_err(|error| error.to_string())?;
    match client.head(format!("{url}/m/")).send().await {
        Ok(_) => Ok(()),
        Err(error) => Err(words(&error.without_url().into())),
    }
}

async fn machines(client: &Client) -> Result<Vec<(String, String)>, String> {
    let mut found = Vec::new();
    let mut cursor = String::new();
    while found.len() < MACHINES_MAX {
        let query: String = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("limit", "500")
            .extend_pairs((!cursor.is_empty()).then_some(("cursor", cursor.as_str())))
            .finish();
        let page = api(client, &format!("/machines?{query}")).await?;
        for machine in page["machines"].as_array().into_iter().flatten() {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            found.push((text(&machine["serial"]), text(&machine["lifecycle"]["state"])));
        }
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    Ok(found)
}

async fn alarms(client: &Client) -> Result<Vec<(String, String)>, String> {
    let page = api(client, &format!("/jobs?limit={JOBS_MAX}")).await?;
    let open =
        page["jobs"].as_array().into_iter().flatten().filter(|job| job["complete"] != Value::Bool(true));
    let mut found = Vec::new();
    for job in open {
        let Some(id) = job["job_id"].as_str() else { continue };
        let timeline = api(client, &format!("/jobs/{id}/events")).await?;
        for event in timeline["events"].as_array().into_iter().flatten() {
            if event["code"].as_str().is_some_and(|code| code.starts_with("alarm.")) {
                found.push((id.to_owned(), event["text"].as_str().unwrap_or_default().to_owned()));
            }
        }
    }
    Ok(found)
}
