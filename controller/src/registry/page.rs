//! Pages of a list: the parameters `n` and `last`, and the `Link` header to the next page. Pure.

use axum::{
    http::{HeaderValue, header},
    response::Response,
};
use url::form_urlencoded;

use super::{error::RegistryError, name::shown};

/// Items in a page when the client does not say, and the most it gets.
const LIMIT: usize = 1000;

/// Which page is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PageQuery {
    /// Most items.
    pub limit: usize,
    /// The item before the first one; empty for the first page.
    pub after: String,
}

impl PageQuery {
    /// Reads `n` and `last` out of a query.
    pub(super) fn read(n: Option<String>, last: Option<String>) -> Result<Self, RegistryError> {
        let limit = match n {
            None => LIMIT,
            Some(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().unwrap_or(LIMIT).min(LIMIT)
            }
            Some(text) => return Err(RegistryError::PageSize { value: shown(&text) }),
        };
        Ok(Self { limit, after: last.unwrap_or_default() })
    }

    /// The value of the `Link` header to the page after `last`; `extra` parameters are kept.
    pub(super) fn link(&self, path: &str, last: &str, extra: &[(&str, &str)]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("n", &self.limit.to_string()).append_pair("last", last);
        for (name, value) in extra {
            query.append_pair(name, value);
        }
        format!("<{path}?{}>; rel=\"next\"", query.finish())
    }
}

/// Sets the `Link` header, when there is a next page.
pub(super) fn set_link(response: &mut Response, link: Option<String>) {
    if let Some(value) = link.and_then(|link| HeaderValue::try_from(link).ok()) {
        response.headers_mut().insert(header::LINK, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_size_is_bounded_and_checked() {
        let read = |n: &str| PageQuery::read(Some(n.to_owned()), None);
        assert_eq!(PageQuery::read(None, None).unwrap(), PageQuery { limit: 1000, after: String::new() });
        assert_eq!(read("0").unwrap().limit, 0);
        assert_eq!(read("7").unwrap().limit, 7);
        assert_eq!(read("99999999999999999999999").unwrap().limit, 1000);
        for bad in ["", "-1", "x", "1.5", "+1"] {
            assert!(read(bad).is_err(), "{bad:?} must be refused");
        }
    }

    #[test]
    fn a_link_keeps_its_parameters() {
        let query = PageQuery { limit: 2, after: String::new() };
        assert_eq!(
            query.link("/v2/a/tags/list", "x+y", &[("artifactType", "a/b")]),
            r#"</v2/a/tags/list?n=2&last=x%2By&artifactType=a%2Fb>; rel="next""#
        );
    }
}
