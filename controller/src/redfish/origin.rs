//! Which requests stay at home: the origin (scheme, host, port) of a BMC, and links checked against it. Pure.
//!
//! A BMC, or somebody in its place, may answer with a link to another host; following it would carry the session
//! token there. So every `@odata.id`, action target and `Location` passes [`path_on`] before it is used.

use url::Url;

use super::error::BmcError;

/// The origin in a BMC's URL: nothing but scheme, host and port may be in it.
pub fn origin_of(url: &str) -> Result<Url, BmcError> {
    let parsed = Url::parse(url.trim());
    let wrong = |reason: &str| BmcError::Address {
        // A password in the URL must not reach a log through the error.
        url: parsed.as_ref().map_or_else(|_| "(unreadable)".into(), shown),
        reason: reason.into(),
    };
    let Ok(parsed_url) = &parsed else {
        return Err(wrong("it is no URL; write it like https://192.0.2.7"));
    };
    if !matches!(parsed_url.scheme(), "http" | "https") || parsed_url.host_str().is_none() {
        return Err(wrong("it must be https:// (or http://) and a host"));
    }
    if !parsed_url.username().is_empty() || parsed_url.password().is_some() {
        return Err(wrong("it must not carry credentials; give user and password beside it"));
    }
    let path = parsed_url.path().trim_end_matches('/');
    if !matches!(path, "" | "/redfish" | "/redfish/v1") || parsed_url.query().is_some() {
        return Err(wrong("it must end after host and port; the rest is found by asking the BMC"));
    }
    let mut origin = parsed_url.clone();
    origin.set_path("/");
    origin.set_fragment(None);
    Ok(origin)
}

/// scheme://host:port, with the port only where it is not the scheme's own.
pub fn shown(origin: &Url) -> String {
    origin.origin().ascii_serialization()
}

/// The transport failed.
pub fn broken(origin: &Url, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> BmcError {
    BmcError::Unreachable { endpoint: shown(origin), source: source.into() }
}

/// The path a link leads to on `origin`, without trailing slash or fragment; none when it leads elsewhere.
pub fn path_on(origin: &Url, link: &str) -> Option<String> {
    let url = origin.join(link).ok()?;
    if url.origin() != origin.origin() || !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    let path = match url.path().trim_end_matches('/') {
        "" => "/",
        path => path,
    };
    Some(match url.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_is_scheme_host_and_port_and_nothing_else() {
        for (url, wanted) in [
            ("https://10.0.0.7", "https://10.0.0.7"),
            (" https://10.0.0.7/redfish/v1/ ", "https://10.0.0.7"),
            ("https://bmc.example:8443/", "https://bmc.example:8443"),
            ("http://[fe80::1]:8000", "http://[fe80::1]:8000"),
        ] {
            assert_eq!(shown(&origin_of(url).unwrap()), wanted, "{url}");
        }
        for url in
            ["", "10.0.0.7", "ftp://a", "https://a/b", "https://a/?x=1", "https://u:secret@a", "https://"]
        {
            let error = origin_of(url).unwrap_err().to_string();
            assert!(error.contains("cannot be used") && !error.contains("secret"), "{url}: {error}");
        }
    }

    #[test]
    fn a_link_that_leads_away_is_refused() {
        let home = origin_of("https://10.0.0.7:8443").unwrap();
        for (link, wanted) in [
            ("/redfish/v1/Systems/1", Some("/redfish/v1/Systems/1")),
            ("/redfish/v1/Systems/1/", Some("/redfish/v1/Systems/1")),
            ("https://10.0.0.7:8443/redfish/v1/T/1#x", Some("/redfish/v1/T/1")),
            ("/redfish/v1/T?id=1", Some("/redfish/v1/T?id=1")),
            ("https://10.0.0.7/redfish", None),
            ("http://10.0.0.7:8443/redfish", None),
            ("https://10.0.0.8:8443/redfish", None),
            ("//evil/redfish", None),
            ("\\\\evil/redfish", None),
            ("/\\evil/redfish", None),
            ("https://user@10.0.0.7:8443/x", None),
            ("file:///etc/passwd", None),
            ("javascript:alert(1)", None),
        ] {
            assert_eq!(path_on(&home, link).as_deref(), wanted, "{link}");
        }
    }

    proptest! {
        #[test]
        fn no_link_ever_leaves_the_origin(link in "\\PC{0,40}") {
            let home = origin_of("https://10.0.0.7").unwrap();
            if let Some(path) = path_on(&home, &link) {
                prop_assert_eq!(home.join(&path).unwrap().origin(), home.origin());
            }
        }
    }
}
