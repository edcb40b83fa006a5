//! Reaching the service through an HTTP proxy, as the AWS tools do: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and
//! `NO_PROXY` (also in lower case).
//!
//! ```text
//!   us ── TCP ──▶ proxy:3128      CONNECT ssmmessages.eu-west-1.amazonaws.com:443 HTTP/1.1
//!      ◀─────────────────────     HTTP/1.1 200 …
//!      ── TLS, websocket ─────────────────────────────────────────────▶ service
//! ```
//!
//! Which proxy leads where is decided by hyper-util's matcher, for the websockets here and, with the same two texts, for the
//! calls of the SDK, which asks the same matcher. What is added: a proxy that can't be used is refused with a sentence
//! instead of being passed over, lower case wins as with curl, a loopback target never goes through a proxy, which could
//! not reach it, and the forms of `NO_PROXY` that other tools know are put into the matcher's own.
//!
//! The tunnel is our own, because hyper-util's takes only 200 for a success where any 2xx is one (RFC 9110, section
//! 9.3.6), does not tell with which status it was refused, and drops what follows the blank line.

use std::fmt;
use std::sync::Arc;

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use zeroize::Zeroizing;

use super::error::DialError;

/// The longest answer to CONNECT that is read.
const MAX_ANSWER: usize = 8 * 1024;

/// Reached directly, whatever is set: RFC 6761, section 6.3, and RFC 6890, section 2.2.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

/// Where a proxy listens if its URL does not say.
const DEFAULT_PORT: u16 = 80;

/// Which proxy leads to which host.
#[derive(Clone)]
pub struct ProxyRules {
    matcher: Arc<Matcher>,
    /// The proxy for `https://` and `wss://`, with its password, and who is reached directly: what the matcher was made of.
    secure: Option<Zeroizing<String>>,
    direct: String,
}

/// One proxy. Its password is in neither its `Debug` nor its `Display`.
#[derive(Clone)]
pub struct Proxy {
    intercept: Intercept,
}

impl ProxyRules {
    /// What the environment says.
    ///
    /// # Errors
    ///
    /// [`DialError::Proxy`] if a variable names a proxy that can't be used.
    pub fn from_env() -> Result<Self, DialError> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// The same from any source of variables. Lower case wins, as with curl.
    ///
    /// # Errors
    ///
    /// [`DialError::Proxy`] if a variable names a proxy that can't be used.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, DialError> {
        let get = |name: &str| {
            lookup(&name.to_ascii_lowercase()).or_else(|| lookup(name)).filter(|value| !value.trim().is_empty())
        };
        let proxy = |name: &str| get(name).map(|url| usable(name, url.trim())).transpose();
        let all = proxy("ALL_PROXY")?;
        let secure = proxy("HTTPS_PROXY")?.or_else(|| all.clone());
        Ok(Self::new(secure, proxy("HTTP_PROXY")?.or(all), &get("NO_PROXY").unwrap_or_default()))
    }

    /// This proxy for everything that is not loopback, whatever the environment says.
    ///
    /// # Errors
    ///
    /// [`DialError::Proxy`] if the proxy can't be used.
    pub fn only(url: &str) -> Result<Self, DialError> {
        let proxy = usable("the configured proxy", url)?;
        Ok(Self::new(Some(proxy.clone()), Some(proxy), ""))
    }

    fn new(secure: Option<Zeroizing<String>>, plain: Option<Zeroizing<String>>, no_proxy: &str) -> Self {
        let direct = bypasses(no_proxy);
        let text = |url: &Option<Zeroizing<String>>| url.as_ref().map_or(String::new(), |url| url.to_string());
        let matcher = Matcher::builder().https(text(&secure)).http(text(&plain)).no(direct.as_str()).build();
        Self { matcher: Arc::new(matcher), secure, direct }
    }

    /// The proxy on the way to `host`, if there is one.
    pub fn proxy_for(&self, secure: bool, host: &str) -> Option<Proxy> {
        let scheme = if secure { "https" } else { "http" };
        let target = Uri::builder().scheme(scheme).authority(host.trim_end_matches('.')).path_and_query("/").build();
        Some(Proxy { intercept: self.matcher.intercept(&target.ok()?)? })
    }

    /// For an HTTPS client that makes a matcher of its own: the proxy's URL and the list of who is reached directly.
    pub fn for_https(&self) -> Option<(&str, &str)> {
        Some((self.secure.as_ref()?.as_str(), &self.direct))
    }
}

impl Default for ProxyRules {
    /// No proxy for anybody.
    fn default() -> Self {
        Self::new(None, None, "")
    }
}

impl fmt::Debug for ProxyRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyRules").field("matcher", &self.matcher).finish_non_exhaustive()
    }
}

/// `http://[user:password@]host[:port]`, or `host:port`, as the matcher takes it. What it can't use it would pass over,
/// and everything would go where it must not.
fn usable(variable: &str, url: &str) -> Result<Zeroizing<String>, DialError> {
    let wrong =
        |what: &str| DialError::Proxy(format!("{variable} {what}; it must look like http://proxy.example.com:3128"));
    let rest = match url.split_once("://") {
        Some(("http", rest)) => rest,
        Some((scheme, _)) => return Err(wrong(&format!("names a {scheme}:// proxy, which Portcullis can't use"))),
        None => url,
    };
    let url = Zeroizing::new(format!("http://{rest}"));
    let matched = Matcher::builder().http(url.as_str()).build().intercept(&Uri::from_static("http://service.invalid"));
    let proxy = matched.ok_or_else(|| wrong("has no usable host"))?;
    let authority = proxy.uri().authority().map_or("", |authority| authority.as_str());
    if authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']')) && proxy.uri().port_u16().is_none() {
        return Err(wrong("has a port that is no number"));
    }
    Ok(url)
}

/// The entries of `NO_PROXY` in the matcher's forms, which are names, addresses and networks behind commas.
fn bypasses(no_proxy: &str) -> String {
    let mut list = LOOPBACK.to_owned();
    for entry in no_proxy.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()) {
        let bare = entry.trim_start_matches('[').trim_end_matches(']');
        let is_address = bare.parse::<std::net::IpAddr>().is_ok();
        let form = match entry {
            // The matcher's own `*` is for names alone.
            "*" => "*,0.0.0.0/0,::/0",
            _ if is_address => bare,
            network if network.contains('/') => network,
            // Some write a port, or `*.` for the names below one.
            name => name.split(':').next().unwrap_or_default().trim_start_matches("*").trim_end_matches('.'),
        };
        list.push(',');
        list.push_str(form);
    }
    list
}

impl Proxy {
    /// Where the proxy listens.
    pub fn address(&self) -> (&str, u16) {
        let uri = self.intercept.uri();
        let host = uri.host().unwrap_or_default();
        (host.trim_start_matches('[').trim_end_matches(']'), uri.port_u16().unwrap_or(DEFAULT_PORT))
    }

    /// Asks the proxy for a tunnel to `host:port` over a connection to it (RFC 9110, section 9.3.6).
    ///
    /// # Errors
    ///
    /// [`DialError::Proxy`] if the proxy refuses, breaks off, or does not speak HTTP.
    pub async fn tunnel<S>(&self, stream: &mut S, host: &str, port: u16) -> Result<(), DialError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let broken = |what: &str| DialError::Proxy(format!("the proxy {self} {what}; check HTTPS_PROXY and NO_PROXY"));
        let mut request = Zeroizing::new(format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n"));
        // Base64, and so text.
        if let Some(authorization) = self.intercept.basic_auth().map(HeaderValue::to_str).and_then(Result::ok) {
            request.push_str("Proxy-Authorization: ");
            request.push_str(authorization);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await.map_err(|_| broken("closed the connection"))?;

        // One byte at a time, because what follows the blank line belongs to TLS already.
        let mut answer = Vec::with_capacity(256);
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() == MAX_ANSWER {
                return Err(broken("gave an endless answer"));
            }
            answer.push(stream.read_u8().await.map_err(|_| broken("closed the connection"))?);
        }
        let line = String::from_utf8_lossy(&answer);
        let mut words = line.lines().next().unwrap_or_default().split_whitespace();
        let (version, status) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if !version.starts_with("HTTP/1.") || status.len() != 3 || !status.bytes().all(|b| b.is_ascii_digit()) {
            return Err(broken("gave an answer that is not HTTP"));
        }
        match status {
            _ if status.starts_with('2') => Ok(()),
            "407" => Err(broken("wants a user name and a password (407)")),
            _ => Err(broken(&format!("refused a tunnel to {host}:{port} ({status})"))),
        }
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = self.address();
        write!(f, "{host}:{port}")
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Proxy").field(self.intercept.uri()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(variables: &[(&str, &str)]) -> Result<ProxyRules, DialError> {
        ProxyRules::from_lookup(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_environment_chooses_the_proxy() {
        let rules = rules(&[
            ("HTTPS_PROXY", "http://bob:s%40crt@proxy.example:3128"),
            ("http_proxy", "plain.example:8080"),
            ("NO_PROXY", "internal.example, .corp.example,10.0.0.0/9,192.0.2.7,[2001:db8::]/32,2001:db8::/32 *.below.example ported.example:443"),
        ])
        .unwrap();
        let cases = [
            (true, "ssmmessages.eu-west-1.amazonaws.com", Some("proxy.example")),
            (false, "ssmmessages.eu-west-1.amazonaws.com", Some("plain.example")),
            (true, "internal.example", None),
            (true, "deep.internal.example", None),
            (true, "notinternal.example", Some("proxy.example")),
            (true, "a.corp.example.", None),
            (true, "10.127.1.1", None),
            (true, "10.128.1.1", Some("proxy.example")),
            (true, "192.0.2.7", None),
            (true, "[2001:db8::5]", None),
            (true, "deep.below.example", None),
            (true, "below.example", None),
            (true, "ported.example", None),
            (true, "127.0.0.1", None),
            (true, "localhost", None),
            (true, "[::1]", None),
        ];
        for (secure, host, expected) in cases {
            let proxy = rules.proxy_for(secure, host);
            assert_eq!(proxy.as_ref().map(|proxy| proxy.address().0), expected, "{host}");
        }
        let shown = format!("{rules:?} {:?}", rules.proxy_for(true, "service.example"));
        assert!(!shown.contains("s%40crt") && !shown.contains("s@crt"), "{shown}");
    }

    #[test]
    fn a_star_is_everybody_by_name_or_number() {
        let rules = rules(&[("ALL_PROXY", "proxy.example"), ("no_proxy", "*")]).unwrap();
        for host in ["service.example", "192.0.2.1", "[2001:db8::1]"] {
            assert!(rules.proxy_for(true, host).is_none(), "{host}");
        }
        assert_eq!(rules.for_https(), Some(("http://proxy.example", "localhost,127.0.0.0/8,::1,*,0.0.0.0/0,::/0")));
    }

    #[test]
    fn what_is_no_usable_proxy_is_said_without_its_password() {
        for url in ["socks5://u:hunter2@p:1080", "https://u:hunter2@p", "http://u:hunter2@p:port", "http://u:hunter2@"]
        {
            let text = rules(&[("HTTPS_PROXY", url)]).unwrap_err().to_string();
            assert!(text.contains("HTTPS_PROXY") && !text.contains("hunter2"), "{text}");
        }
        assert!(rules(&[("HTTPS_PROXY", " ")]).unwrap().proxy_for(true, "x.example").is_none());
    }

    #[tokio::test]
    async fn a_tunnel_stops_reading_at_the_blank_line() {
        let rules = rules(&[("ALL_PROXY", "http://bob:s%40crt@proxy.example:3128")]).unwrap();
        let proxy = rules.proxy_for(true, "service.example").unwrap();
        let (mut near, mut far) = tokio::io::duplex(1024);
        let server = tokio::spawn(async move {
            let mut request = [0; 132];
            let read = far.read(&mut request).await.unwrap();
            far.write_all(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nTLS").await.unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        proxy.tunnel(&mut near, "service.example", 443).await.unwrap();
        let mut rest = [0; 3];
        near.read_exact(&mut rest).await.unwrap();
        assert_eq!(&rest, b"TLS");
        let request = server.await.unwrap();
        assert!(request.starts_with("CONNECT service.example:443 HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("Proxy-Authorization: Basic Ym9iOnNAY3J0\r\n"), "{request}");
    }

    #[tokio::test]
    async fn a_refusal_is_a_sentence() {
        let rules = rules(&[("ALL_PROXY", "proxy.example:3128")]).unwrap();
        let proxy = rules.proxy_for(true, "service.example").unwrap();
        for (answer, expected) in [
            ("HTTP/1.1 403 Forbidden\r\n\r\n", "refused a tunnel to service.example:443 (403)"),
            ("HTTP/1.1 407 Who\r\n\r\n", "wants a user name"),
            ("SSH-2.0-dropbear\r\n\r\n", "not HTTP"),
            ("", "closed the connection"),
        ] {
            let (mut near, mut far) = tokio::io::duplex(1024);
            far.write_all(answer.as_bytes()).await.unwrap();
            far.shutdown().await.unwrap();
            let text = proxy.tunnel(&mut near, "service.example", 443).await.unwrap_err().to_string();
            assert!(text.contains(expected), "{text}");
        }
    }
}
