//! Reading a manifest: what it is, what it names, what it belongs to. Pure; the bytes themselves are never changed.
//!
//! Tolerant of fields it does not know and of media types nobody has heard of, strict where a mistake would make one
//! image look like another: duplicate fields, an image that is an index as well, malformed digests.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::{
    digest::Digest,
    name::{NameError, shown},
};

/// OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Docker's image manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// Longest media type in bytes: two names of 127, by RFC 6838.
const MEDIA_TYPE_LIMIT: usize = 255;
/// Most pieces one manifest may name; images have at most a few hundred.
const PIECES_LIMIT: usize = 20_000;

/// A manifest that cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Not JSON, or fields of the wrong type.
    #[error("the manifest cannot be read as JSON: {source}")]
    Json {
        /// What is wrong, and where.
        source: serde_json::Error,
    },
    /// Schema 1, or something from the future.
    #[error("schemaVersion {found} is not supported; push schema version 2")]
    SchemaVersion {
        /// As sent.
        found: u64,
    },
    /// Content-Type says one thing, the manifest another.
    #[error("Content-Type is {header:?}, but the manifest's mediaType is {field:?}; make them the same")]
    MediaType {
        /// The header, shortened.
        header: String,
        /// The field, shortened.
        field: String,
    },
    /// A media type that no header could carry.
    #[error(
        "media type {found:?} is not valid; write type/subtype in at most {limit} visible ASCII characters"
    )]
    MediaTypeForm {
        /// As sent, shortened.
        found: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// Neither Content-Type nor mediaType.
    #[error("the manifest's type is not known; send it as Content-Type")]
    NoMediaType,
    /// An image manifest that is an index too: which of the two is run would depend on the client.
    #[error("the manifest has both manifests and layers or config; push the index and the image apart")]
    Ambiguous,
    /// A field that this media type cannot do without.
    #[error("a manifest of type {media_type} needs the field {field}")]
    MissingField {
        /// Its type.
        media_type: String,
        /// The field.
        field: &'static str,
    },
    /// A descriptor with a digest that is not one.
    #[error("the manifest's {field} has a faulty digest: {source}")]
    Digest {
        /// Which descriptor.
        field: &'static str,
        /// What is wrong with it.
        source: NameError,
    },
    /// Too many descriptors.
    #[error("the manifest names more than {limit} pieces; split it")]
    TooManyPieces {
        /// The limit.
        limit: usize,
    },
}

/// What a manifest says of one piece of content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Its media type, exactly as written.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Its annotations, such as `org.opencontainers.image.title`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// How a manifest depends on content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A blob that must be in the repository.
    Blob,
    /// A manifest that must be in the repository.
    Manifest,
    /// A layer that may be kept elsewhere (non-distributable).
    Elsewhere,
}

/// A manifest, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its media type: Content-Type as sent, without parameters, else its own field.
    pub media_type: String,
    /// `artifactType`, when it has one.
    pub artifact_type: Option<String>,
    /// `config`.
    pub config: Option<Descriptor>,
    /// `layers` (or `blobs` of the short-lived artifact manifest), in order, whose content must be here.
    pub layers: Vec<Descriptor>,
    /// `layers` that may be kept elsewhere.
    pub foreign_layers: Vec<Descriptor>,
    /// `manifests` of an index, in order.
    pub children: Vec<Descriptor>,
    /// The manifest that this one is about.
    pub subject: Option<Digest>,
    /// `annotations`.
    pub annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<RawDescriptor>,
    #[serde(default)]
    layers: Listed,
    #[serde(default)]
    blobs: Listed,
    #[serde(default)]
    manifests: Listed,
    subject: Option<RawDescriptor>,
    annotations: Option<BTreeMap<String, String>>,
}

/// A list of descriptors. Go writes one without items as `null`.
#[derive(Default)]
enum Listed {
    #[default]
    Absent,
    Null,
    Items(Vec<RawDescriptor>),
}

impl<'de> Deserialize<'de> for Listed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(|items| items.map_or(Self::Null, Self::Items))
    }
}

impl Listed {
    fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    fn is_given(&self) -> bool {
        matches!(self, Self::Items(_))
    }

    fn into_items(self) -> Vec<RawDescriptor> {
        if let Self::Items(items) = self { items } else { Vec::new() }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    urls: Option<Vec<String>>,
    annotations: Option<BTreeMap<String, String>>,
}

impl RawDescriptor {
    fn read(self, field: &'static str) -> Result<Descriptor, DocumentError> {
        let digest = self.digest.parse().map_err(|source| DocumentError::Digest { field, source })?;
        let annotations = self.annotations.unwrap_or_default();
        Ok(Descriptor { media_type: self.media_type, digest, size: self.size, annotations })
    }

    fn may_be_elsewhere(&self) -> bool {
        self.media_type.contains("nondistributable")
            || self.media_type.contains(".foreign.")
            || self.urls.as_ref().is_some_and(|urls| !urls.is_empty())
    }
}

impl Document {
    /// Reads a manifest. `content_type` is the request's header.
    pub fn read(content_type: Option<&str>, bytes: &[u8]) -> Result<Self, DocumentError> {
        let raw: Raw = serde_json::from_slice(bytes).map_err(|source| DocumentError::Json { source })?;
        if let Some(found) = raw.schema_version.filter(|&version| version != 2) {
            return Err(DocumentError::SchemaVersion { found });
        }
        let media_type = media_type(content_type, raw.media_type.as_deref())?;
        if raw.manifests.is_given() && (raw.layers.is_given() || raw.config.is_some()) {
            return Err(DocumentError::Ambiguous);
        }
        let needs = match media_type.as_str() {
            OCI_MANIFEST | DOCKER_MANIFEST => {
                [("config", raw.config.is_none()), ("layers", raw.layers.is_absent())]
            }
            OCI_INDEX | DOCKER_LIST => [("manifests", raw.manifests.is_absent()), ("manifests", false)],
            _ => [("", false), ("", false)],
        };
        if let Some((field, _)) = needs.into_iter().find(|(_, missing)| *missing) {
            return Err(DocumentError::MissingField { media_type, field });
        }

        let pieces = raw.layers.into_items().into_iter().chain(raw.blobs.into_items());
        let (foreign, layers): (Vec<_>, Vec<_>) = pieces.partition(RawDescriptor::may_be_elsewhere);
        let children = raw.manifests.into_items();
        if foreign.len() + layers.len() + children.len() > PIECES_LIMIT {
            return Err(DocumentError::TooManyPieces { limit: PIECES_LIMIT });
        }
        let read_all = |list: Vec<RawDescriptor>, field| {
            list.into_iter().map(|raw| raw.read(field)).collect::<Result<Vec<_>, _>>()
        };
        let subject = raw.subject.map(|subject| subject.read("subject")).transpose()?;
        Ok(Self {
            media_type,
            artifact_type: raw.artifact_type.filter(|text| !text.is_empty()),
            config: raw.config.map(|config| config.read("config")).transpose()?,
            layers: read_all(layers, "layers")?,
            foreign_layers: read_all(foreign, "layers")?,
            children: read_all(children, "manifests")?,
            subject: subject.map(|subject: Descriptor| subject.digest),
            annotations: raw.annotations.unwrap_or_default(),
        })
    }

    /// Everything that it names and how, in order; the subject is not among it, because it need not exist.
    pub fn needs(&self) -> impl Iterator<Item = (&Descriptor, Need)> {
        let blobs = self.config.iter().chain(&self.layers).map(|piece| (piece, Need::Blob));
        let elsewhere = self.foreign_layers.iter().map(|piece| (piece, Need::Elsewhere));
        blobs.chain(elsewhere).chain(self.children.iter().map(|piece| (piece, Need::Manifest)))
    }

    /// The artifact type by which referrers are filtered: its own, else its config's media type.
    pub fn referrer_type(&self) -> Option<&str> {
        self.artifact_type
            .as_deref()
            .or_else(|| self.config.as_ref().map(|config| config.media_type.as_str()))
            .filter(|text| !text.is_empty())
    }
}

fn media_type(header: Option<&str>, field: Option<&str>) -> Result<String, DocumentError> {
    let header = header.and_then(|text| text.split(';').next()).map(str::trim);
    let header = header.filter(|text| !text.is_empty());
    let field = field.filter(|text| !text.is_empty());
    if let (Some(header), Some(field)) = (header, field)
        && header != field
    {
        return Err(DocumentError::MediaType { header: shown(header), field: shown(field) });
    }
    let text = header.or(field).ok_or(DocumentError::NoMediaType)?;
    if text.len() > MEDIA_TYPE_LIMIT || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(DocumentError::MediaTypeForm { found: shown(text), limit: MEDIA_TYPE_LIMIT });
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn digest(fill: char) -> String {
        format!("sha256:{}", fill.to_string().repeat(64))
    }

    #[test]
    fn an_image_names_its_config_and_layers() {
        let bytes = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "custom": [1],
            "config": {"mediaType": "application/x.config", "digest": digest('a'), "size": 2, "data": "e30="},
            "layers": [
                {"mediaType": "l", "digest": digest('b'), "size": 3},
                {"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar", "digest": digest('c'), "size": 4},
                {"mediaType": "l", "digest": digest('d'), "size": 5, "urls": ["https://elsewhere/"]},
            ],
            "subject": {"mediaType": OCI_MANIFEST, "digest": digest('e'), "size": 1},
        })
        .to_string();
        let document = Document::read(Some(OCI_MANIFEST), bytes.as_bytes()).unwrap();
        let needs: Vec<_> = document.needs().map(|(piece, need)| (piece.size, need)).collect();
        assert_eq!(needs, [(2, Need::Blob), (3, Need::Blob), (4, Need::Elsewhere), (5, Need::Elsewhere)]);
        assert_eq!(document.subject.unwrap().to_string(), digest('e'));
        assert_eq!(document.config.unwrap().media_type, "application/x.config");
    }

    #[test]
    fn faulty_manifests_are_refused_with_their_reason() {
        let layer = json!({"mediaType": "l", "digest": digest('b'), "size": 3});
        let table = [
            (json!([]), None, "cannot be read"),
            (json!({"schemaVersion": 1}), None, "schemaVersion 1"),
            (json!({"schemaVersion": 2}), None, "type is not known"),
            (json!({"mediaType": OCI_INDEX, "manifests": []}), Some(OCI_MANIFEST), "Content-Type is"),
            (json!({"mediaType": "a/b\r\nx: y"}), None, "media type"),
            (json!({"mediaType": "a/\u{e4}"}), None, "media type"),
            (json!({"mediaType": format!("a/{}", "b".repeat(254))}), None, "media type"),
            (json!({"manifests": [], "layers": []}), Some("x"), "both manifests and layers"),
            (json!({"manifests": [], "config": layer}), Some("x"), "both manifests and layers"),
            (json!({"config": layer}), Some(OCI_MANIFEST), "needs the field layers"),
            (json!({"layers": []}), Some(DOCKER_MANIFEST), "needs the field config"),
            (json!({}), Some(OCI_INDEX), "needs the field manifests"),
            (
                json!({"layers": [{"digest": "sha256:../x", "size": 1}]}),
                Some("x"),
                "layers has a faulty digest",
            ),
            (json!({"layers": [{"digest": digest('a'), "size": -1}]}), Some("x"), "cannot be read"),
            (json!({"subject": {"digest": "x", "size": 1}}), Some("x"), "subject has a faulty digest"),
        ];
        for (body, header, reason) in table {
            let error = Document::read(header, body.to_string().as_bytes()).unwrap_err();
            assert!(error.to_string().contains(reason), "{body}: {error}");
        }
    }

    #[test]
    fn a_field_given_twice_is_refused() {
        let bytes = br#"{"layers": [], "layers": [], "mediaType": "x"}"#;
        assert!(matches!(Document::read(None, bytes), Err(DocumentError::Json { .. })));
    }

    #[test]
    fn the_header_is_kept_without_its_parameters_and_unknown_types_are_taken() {
        for (header, field) in [
            ("application/x.Y+json; charset=utf-8", r#"{"mediaType":"application/x.Y+json"}"#),
            (" application/x.Y+json ;v=1", "{}"),
            ("; charset=utf-8", r#"{"mediaType":"application/x.Y+json"}"#),
        ] {
            let document = Document::read(Some(header), field.as_bytes()).unwrap();
            assert_eq!(document.media_type, "application/x.Y+json", "{header}");
        }
    }

    #[test]
    fn a_list_that_is_null_is_an_empty_one() {
        let config = json!({"mediaType": "", "digest": digest('a'), "size": 2});
        let body = json!({"mediaType": OCI_MANIFEST, "config": config, "layers": null}).to_string();
        let document = Document::read(None, body.as_bytes()).unwrap();
        assert_eq!((document.layers.len(), document.referrer_type()), (0, None));
        let body = json!({"mediaType": OCI_INDEX, "manifests": null}).to_string();
        assert!(Document::read(None, body.as_bytes()).unwrap().children.is_empty());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(Document::read(Some(OCI_MANIFEST), &bytes));
        }
    }
}
