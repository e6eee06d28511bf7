//! The task medium: inputs in, one signed, deterministic ISO image out. Pure.

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use schema::task::{TASK_LABEL, TASK_MEDIUM_MAX};
use sha2::{Digest as _, Sha256};

use super::contents::{self, ContentsError, TaskInputs};
use super::iso::{self, IsoError};
use super::sign;

/// A finished task medium.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskMedium {
    /// The ISO image, at most [`TASK_MEDIUM_MAX`] bytes.
    pub bytes: Bytes,
    /// SHA-256 of it.
    pub sha256: [u8; 32],
}

/// Why there is no task medium.
#[derive(Debug, thiserror::Error)]
pub enum MediumError {
    /// The inputs do not make files.
    #[error("task medium of job {job}, attempt {attempt}: its contents")]
    Contents {
        /// The job.
        job: String,
        /// The attempt.
        attempt: u32,
        /// What is wrong with them.
        #[source]
        source: Box<ContentsError>,
    },
    /// The manifest has no JSON form.
    #[error("task medium of job {job}, attempt {attempt}: its manifest")]
    Manifest {
        /// The job.
        job: String,
        /// The attempt.
        attempt: u32,
        /// What serde says.
        #[source]
        source: serde_json::Error,
    },
    /// The files do not make an image.
    #[error("task medium of job {job}, attempt {attempt}: its image")]
    Image {
        /// The job.
        job: String,
        /// The attempt.
        attempt: u32,
        /// What is wrong.
        #[source]
        source: Box<IsoError>,
    },
}

impl TaskMedium {
    /// Builds the medium. The same inputs and key give the same bytes, byte for byte.
    pub fn build(inputs: &TaskInputs, key: &SigningKey) -> Result<Self, MediumError> {
        let (job, attempt) = (inputs.job.job_id.clone(), inputs.job.attempt);
        let mut files = contents::files(inputs).map_err(|source| MediumError::Contents {
            job: job.clone(),
            attempt,
            source: Box::new(source),
        })?;
        sign::sign(&mut files, key).map_err(|source| MediumError::Manifest {
            job: job.clone(),
            attempt,
            source,
        })?;
        let bytes = iso::image(TASK_LABEL, &files, inputs.job.issued_at, TASK_MEDIUM_MAX)
            .map_err(|source| MediumError::Image { job, attempt, source: Box::new(source) })?;
        let sha256 = Sha256::digest(&bytes).into();
        Ok(Self { bytes: Bytes::from(bytes), sha256 })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use schema::recipe::Payload;
    use schema::task::{Identity, TaskJob};
    use std::collections::BTreeMap;

    /// A plain Linux job.
    pub(crate) fn inputs() -> TaskInputs {
        let recipe = serde_json::from_value(serde_json::json!({
            "task_target": "install-linux.target",
            "oci_url": "registry.example/images/debian:trixie",
            "user_data": "#cloud-config\nhostname: web-1\n",
            "meta_data": {"content": "instance-id: web-1\n"}
        }))
        .unwrap();
        TaskInputs {
            job: TaskJob {
                version: 1,
                job_id: "0190b5a0-0000-7000-8000-000000000001".into(),
                attempt: 1,
                expected: Identity { serial: "SN-1".into(), uuid: None, macs: vec![] },
                api_url: "https://10.0.0.5:8443".into(),
                bootstrap_token: "not-a-real-token".into(),
                site_ca: None,
                issued_at: "2026-11-21T08:45:00Z".parse().unwrap(),
                image: None,
                heartbeat_seconds: 15,
                step_seconds: BTreeMap::new(),
                proxy: None,
                offline: None,
            },
            recipe,
            recipe_schema: "{}\n".into(),
            host_network: None,
            remote_payloads: BTreeMap::new(),
        }
    }

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    #[test]
    fn a_thousand_builds_are_byte_identical() {
        let mut inputs = inputs();
        inputs.recipe.user_data = Some(Payload::Plain("x".repeat(64 << 10)));
        let first = TaskMedium::build(&inputs, &key()).unwrap();
        for _ in 1..1000 {
            assert_eq!(TaskMedium::build(&inputs, &key()).unwrap().sha256, first.sha256);
        }
    }

    #[test]
    fn another_attempt_or_key_makes_another_medium() {
        let first = TaskMedium::build(&inputs(), &key()).unwrap();
        let mut second = inputs();
        second.job.attempt = 2;
        assert_ne!(TaskMedium::build(&second, &key()).unwrap().sha256, first.sha256);
        let other = SigningKey::from_bytes(&[8; 32]);
        assert_ne!(TaskMedium::build(&inputs(), &other).unwrap().sha256, first.sha256);
    }

    #[test]
    fn a_medium_over_ten_mebibytes_is_refused() {
        let mut inputs = inputs();
        inputs.recipe.user_data = Some(Payload::Plain("x".repeat(6 << 20)));
        let error = TaskMedium::build(&inputs, &key()).unwrap_err();
        let MediumError::Image { source, .. } = error else { panic!("{error:?}") };
        assert!(matches!(*source, IsoError::TooLarge { .. }), "{source:?}");
    }
}
