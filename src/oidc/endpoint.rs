//! URLs of a provider, as far as they are needed: where to connect to, and what to ask for there.

use http::Uri;

use crate::model::is_loopback;

/// Somewhere that requests go to: `https`, or plain on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) secure: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// As the request says it.
    pub(super) authority: String,
    /// The path, and the query where there is one.
    pub(super) target: String,
}

/// The longest URL that is taken.
const LONGEST: usize = 2048;

impl Endpoint {
    /// A URL that a provider, or the configuration, has written.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{why} is no URL that is asked: https://…, and http:// on this machine alone");
        if url.len() > LONGEST || !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong("what it says"));
        }
        let uri: Uri = url.parse().map_err(|_| wrong(url))?;
        let (host, secure) = (uri.host().unwrap_or_default(), uri.scheme_str() == Some("https"));
        let plain = uri.scheme_str() == Some("http") && is_loopback(host);
        let authority = uri.authority().map(|authority| authority.as_str().to_owned()).unwrap_or_default();
        if host.is_empty() || !(secure || plain) || authority.contains('@') || url.contains('#') {
            return Err(wrong(url));
        }
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        Ok(Self { secure, host: host.to_owned(), port, authority, target })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_this_machine_are_asked() {
        let endpoint = Endpoint::parse("https://id.example.com:8443/token?x=1").unwrap();
        assert_eq!((endpoint.secure, endpoint.host.as_str(), endpoint.port), (true, "id.example.com", 8443));
        assert_eq!((endpoint.authority.as_str(), endpoint.target.as_str()), ("id.example.com:8443", "/token?x=1"));
        assert_eq!(Endpoint::parse("https://id.example.com").unwrap().target, "/");
        for local in ["http://127.0.0.1:3000/a", "http://localhost/a", "http://[::1]:9/a"] {
            assert!(!Endpoint::parse(local).unwrap().secure, "{local}");
        }
        let long = format!("https://a/{}", "x".repeat(LONGEST));
        for wrong in [
            "http://id.example.com/",
            "http://10.0.0.1/",
            "ftp://a/",
            "/token",
            "",
            "https://",
            "https://user@host/",
            &long,
            "https://a/\n",
            "https://a/#b",
            "http://localhost.example.com/",
        ] {
            assert!(Endpoint::parse(wrong).is_err(), "{wrong}");
        }
    }
}
