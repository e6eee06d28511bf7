//! PATCH, with the ETag a BMC wants to see.
//!
//! Most want the current tag in `If-Match`; some hand out weak tags and then want them strong, some want none.
//! The ladder goes by evidence: a 412 or 428 makes us read again and try the next form.

use serde_json::Value;

use super::classify::{Kind, Refusal};
use super::error::BmcError;
use super::http::{Ask, Verb};
use super::session::Session;
use super::task::{Verdict, settle};

/// Forms of a tag tried in all: stale, current, current made strong, none.
const MOST_TRIES: usize = 4;

/// Changes attributes of a resource last seen under `etag`.
pub async fn patch(
    session: &Session,
    path: &str,
    body: &Value,
    etag: Option<&str>,
) -> Result<Verdict, BmcError> {
    let mut tag = etag.unwrap_or_default().to_owned();
    let mut tried = Vec::new();
    loop {
        let ask = Ask {
            verb: Verb::Patch,
            path,
            body: Some(body),
            if_match: Some(&tag).filter(|tag| !tag.is_empty()).map(String::as_str),
        };
        let answer = session.send(ask).await?;
        tried.push(std::mem::take(&mut tag));
        if !answer.is_success() && tried.len() < MOST_TRIES {
            let refusal = Refusal::read(answer.status, &answer.body);
            if matches!(refusal.kind, Kind::Stale | Kind::EtagWanted) {
                let current = session.get(path).await?.etag;
                // Every form was tried: the tag that is current by now once more.
                if let Some(next) = next_tag(&tried, current.as_deref()).or(current) {
                    tag = next;
                    continue;
                }
            }
        }
        return settle(session, answer).await;
    }
}

/// The next form worth trying: the current tag, the same made strong, none at all (the empty text).
fn next_tag(tried: &[String], current: Option<&str>) -> Option<String> {
    let current = current.unwrap_or_default();
    let forms = [current, current.trim_start_matches("W/"), ""];
    forms.into_iter().find(|form| !tried.iter().any(|known| known == form)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_tried_current_first_then_strong_then_none() {
        let mut tried = vec!["\"old\"".to_owned()];
        let mut order = Vec::new();
        while let Some(next) = next_tag(&tried, Some("W/\"new\"")) {
            order.push(next.clone());
            tried.push(next);
        }
        assert_eq!(order, ["W/\"new\"", "\"new\"", ""]);
        assert_eq!(next_tag(&[String::new()], None), None, "nothing new to say");
        assert_eq!(next_tag(&[String::new()], Some("\"1\"")).as_deref(), Some("\"1\""), "428 after no tag");
    }
}
