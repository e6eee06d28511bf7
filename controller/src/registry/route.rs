//! Which endpoint a path names. Pure.
//!
//! Repository names hold slashes, so paths are read from their end: `/v2/<name>/blobs/uploads/<id>`. Every component
//! is percent-decoded on its own, so an encoded slash can never make a component of a name.

use axum::http::Method;
use percent_encoding::percent_decode_str;

use super::{
    digest::Digest,
    error::RegistryError,
    name::{Reference, Repository, shown},
};

/// One endpoint with what its path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// `/v2/`
    Root,
    /// `/v2/token`
    Token,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/<name>/tags/list`
    Tags(Repository),
    /// `/v2/<name>/manifests/<reference>`
    Manifest(Repository, Reference),
    /// `/v2/<name>/blobs/<digest>`
    Blob(Repository, Digest),
    /// `/v2/<name>/blobs/uploads/`
    Uploads(Repository),
    /// `/v2/<name>/blobs/uploads/<id>`; the id as sent
    Upload(Repository, String),
    /// `/v2/<name>/referrers/<digest>`
    Referrers(Repository, Digest),
}

impl Endpoint {
    /// A word for it in metrics.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Token => "token",
            Self::Catalog => "catalog",
            Self::Tags(_) => "tags",
            Self::Manifest(..) => "manifest",
            Self::Blob(..) => "blob",
            Self::Uploads(_) | Self::Upload(..) => "upload",
            Self::Referrers(..) => "referrers",
        }
    }

    /// Reads a path. The method matters only for a tag that is none: reading it finds nothing, writing it is a fault.
    pub(super) fn parse(method: &Method, path: &str) -> Result<Self, RegistryError> {
        let unknown = || RegistryError::Path { path: shown(path) };
        let rest = path.strip_prefix("/v2").ok_or_else(unknown)?;
        let rest = match rest {
            "" | "/" => return Ok(Self::Root),
            _ => rest.strip_prefix('/').ok_or_else(unknown)?,
        };
        let parts: Vec<String> = rest
            .split('/')
            .map(|part| {
                percent_decode_str(part)
                    .decode_utf8()
                    .map(std::borrow::Cow::into_owned)
                    .map_err(|_| unknown())
            })
            .collect::<Result<_, _>>()?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts.as_slice() {
            ["token"] => Ok(Self::Token),
            ["_catalog"] => Ok(Self::Catalog),
            [name @ .., "blobs", "uploads"] | [name @ .., "blobs", "uploads", ""] => {
                Ok(Self::Uploads(repository(name)?))
            }
            [name @ .., "blobs", "uploads", id] => Ok(Self::Upload(repository(name)?, (*id).to_owned())),
            [name @ .., "blobs", digest] => Ok(Self::Blob(repository(name)?, digest.parse()?)),
            [name @ .., "referrers", digest] => Ok(Self::Referrers(repository(name)?, digest.parse()?)),
            [name @ .., "tags", "list"] => Ok(Self::Tags(repository(name)?)),
            [name @ .., "manifests", reference] => {
                let repository = repository(name)?;
                match reference.parse() {
                    Ok(reference) => Ok(Self::Manifest(repository, reference)),
                    Err(_) if method != Method::PUT && !reference.contains(':') => {
                        Err(RegistryError::ManifestUnknown { repository, reference: shown(reference) })
                    }
                    Err(error) => Err(error.into()),
                }
            }
            _ => Err(unknown()),
        }
    }
}

/// A component that holds a decoded slash makes the joined name another one, so it is refused first.
fn repository(parts: &[&str]) -> Result<Repository, RegistryError> {
    let name = parts.join("/");
    if parts.iter().any(|part| part.contains('/')) {
        return Err(super::name::NameError::Repository { name: shown(&name) }.into());
    }
    Ok(name.parse()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(path: &str) -> Result<Endpoint, RegistryError> {
        Endpoint::parse(&Method::GET, path)
    }

    #[test]
    fn every_endpoint_is_found_however_deep_the_name() {
        let hex = "a".repeat(64);
        let digest: Digest = format!("sha256:{hex}").parse().unwrap();
        for name in ["a", "a/b", "a/b/c/d", "blobs/uploads", "manifests/tags", "token", "v2"] {
            let repository: Repository = name.parse().unwrap();
            let table = [
                (format!("/v2/{name}/tags/list"), Endpoint::Tags(repository.clone())),
                (
                    format!("/v2/{name}/manifests/x"),
                    Endpoint::Manifest(repository.clone(), "x".parse().unwrap()),
                ),
                (
                    format!("/v2/{name}/manifests/sha256:{hex}"),
                    Endpoint::Manifest(repository.clone(), Reference::Digest(digest.clone())),
                ),
                (
                    format!("/v2/{name}/blobs/sha256:{hex}"),
                    Endpoint::Blob(repository.clone(), digest.clone()),
                ),
                (
                    format!("/v2/{name}/blobs/sha256%3A{hex}"),
                    Endpoint::Blob(repository.clone(), digest.clone()),
                ),
                (format!("/v2/{name}/blobs/uploads/"), Endpoint::Uploads(repository.clone())),
                (format!("/v2/{name}/blobs/uploads"), Endpoint::Uploads(repository.clone())),
                (format!("/v2/{name}/blobs/uploads/1"), Endpoint::Upload(repository.clone(), "1".to_owned())),
                (
                    format!("/v2/{name}/referrers/sha256:{hex}"),
                    Endpoint::Referrers(repository.clone(), digest.clone()),
                ),
            ];
            for (path, expected) in table {
                assert_eq!(parse(&path).unwrap(), expected, "{path}");
            }
        }
        assert_eq!(parse("/v2/").unwrap(), Endpoint::Root);
        assert_eq!(parse("/v2").unwrap(), Endpoint::Root);
        assert_eq!(parse("/v2/_catalog").unwrap(), Endpoint::Catalog);
        assert_eq!(parse("/v2/token").unwrap(), Endpoint::Token);
    }

    #[test]
    fn paths_that_climb_or_lie_are_refused() {
        for path in [
            "/v2/../etc/manifests/x",
            "/v2/a/../b/manifests/x",
            "/v2/..%2f..%2fetc/blobs/uploads/",
            "/v2/a%2Fb/tags/list",
            "/v2/%2e%2e/tags/list",
            "/v2//tags/list",
            "/v2/tags/list",
            "/v2/a/blobs/sha256:..%2f..%2fetc%2fpasswd",
            "/v2/a/blobs/%ff",
            "/v2/a/nothing",
            "/v2x",
            "/v2/A/tags/list",
        ] {
            let error = parse(path).unwrap_err();
            assert!(error.status().0.is_client_error(), "{path}: {error}");
        }
    }

    #[test]
    fn a_tag_that_is_none_is_unknown_when_read_and_a_fault_when_written() {
        let path = "/v2/a/manifests/.INVALID_MANIFEST_NAME";
        assert_eq!(Endpoint::parse(&Method::GET, path).unwrap_err().status().0.as_u16(), 404);
        assert_eq!(Endpoint::parse(&Method::PUT, path).unwrap_err().status().0.as_u16(), 400);
        assert_eq!(parse("/v2/a/manifests/sha256:x").unwrap_err().status().0.as_u16(), 400);
    }

    proptest! {
        #[test]
        fn no_path_makes_the_parser_panic_or_answer_500(path in "/v2/([a-z.%/:_-]|blobs/|uploads/|manifests/|tags/list|sha256:|%2e|%2f){0,12}") {
            if let Err(error) = parse(&path) {
                prop_assert!(error.status().0.is_client_error());
            }
        }
    }
}
