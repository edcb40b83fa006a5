//! Reaching the service through an HTTP proxy, as the AWS tools do: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and
//! `NO_PROXY` (also in lower case).
//!
//! ```text
//!   us ── TCP ──▶ proxy:3128      CONNECT ssmmessages.eu-west-1.amazonaws.com:443 HTTP/1.1
//!      ◀─────────────────────     HTTP/1.1 200 …
//!      ── TLS, websocket ─────────────────────────────────────────────▶ service
//! ```
//!
//! A loopback target never goes through a proxy: a proxy could not reach it.

use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use zeroize::Zeroizing;

use super::error::DialError;

/// The longest answer to CONNECT that is read.
const MAX_ANSWER: usize = 8 * 1024;

/// Which proxy leads to which host.
#[derive(Clone, Debug, Default)]
pub struct ProxyRules {
    /// For `wss://`.
    secure: Option<Proxy>,
    /// For `ws://`.
    plain: Option<Proxy>,
    /// Hosts that are reached directly.
    direct: Vec<Bypass>,
}

/// One proxy. Its password is in neither its `Debug` nor its `Display`.
#[derive(Clone)]
pub struct Proxy {
    host: String,
    port: u16,
    authorization: Option<Zeroizing<String>>,
}

/// One entry of `NO_PROXY`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Bypass {
    Everything,
    /// This name and every name below it.
    Domain(String),
    /// An address or a network: the first `1` bits must agree.
    Network(IpAddr, u8),
}

impl ProxyRules {
    /// What the environment says.
    pub fn from_env() -> Result<Self, DialError> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// The same from any source of variables. Lower case wins, as with curl.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, DialError> {
        let get = |name: &str| {
            lookup(&name.to_ascii_lowercase()).or_else(|| lookup(name)).filter(|value| !value.trim().is_empty())
        };
        let proxy = |name: &str| get(name).map(|url| Proxy::parse(name, url.trim())).transpose();
        let all = proxy("ALL_PROXY")?;
        Ok(Self {
            secure: proxy("HTTPS_PROXY")?.or_else(|| all.clone()),
            plain: proxy("HTTP_PROXY")?.or(all),
            direct: get("NO_PROXY").map(|list| parse_bypasses(&list)).unwrap_or_default(),
        })
    }

    /// This proxy for everything that is not loopback, whatever the environment says.
    pub fn only(url: &str) -> Result<Self, DialError> {
        let proxy = Proxy::parse("the configured proxy", url)?;
        Ok(Self { secure: Some(proxy.clone()), plain: Some(proxy), direct: Vec::new() })
    }

    /// The proxy on the way to `host`, if there is one.
    pub fn proxy_for(&self, secure: bool, host: &str) -> Option<&Proxy> {
        let proxy = if secure { self.secure.as_ref() } else { self.plain.as_ref() }?;
        let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok();
        let loopback = host == "localhost" || address.is_some_and(|address| address.is_loopback());
        let direct = loopback || self.direct.iter().any(|bypass| bypass.matches(&host, address));
        (!direct).then_some(proxy)
    }
}

impl Proxy {
    /// `http://[user:password@]host[:port]`, or `host:port`.
    fn parse(variable: &str, url: &str) -> Result<Self, DialError> {
        let wrong = |what: &str| {
            DialError::Proxy(format!("{variable} {what}; it must look like http://proxy.example.com:3128"))
        };
        let rest = match url.split_once("://") {
            Some(("http", rest)) => rest,
            Some((scheme, _)) => return Err(wrong(&format!("names a {scheme}:// proxy, which Portcullis can't use"))),
            None => url,
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (user, address) = match authority.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, authority),
        };
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| wrong("has a port that is no number"))?)
            }
            _ => (address, 80),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || host.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err(wrong("has no usable host"));
        }
        let authorization = user.map(|user| {
            let decoded = Zeroizing::new(percent_decode(user));
            Zeroizing::new(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(&*decoded)))
        });
        Ok(Self { host: host.to_owned(), port, authorization })
    }

    /// Where the proxy listens.
    pub fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Asks the proxy for a tunnel to `host:port` over a connection to it (RFC 9110, section 9.3.6).
    pub async fn tunnel<S>(&self, stream: &mut S, host: &str, port: u16) -> Result<(), DialError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let broken = |what: &str| DialError::Proxy(format!("the proxy {self} {what}; check HTTPS_PROXY and NO_PROXY"));
        let mut request = Zeroizing::new(format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n"));
        if let Some(authorization) = &self.authorization {
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
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

impl Bypass {
    fn matches(&self, host: &str, address: Option<IpAddr>) -> bool {
        match self {
            Self::Everything => true,
            Self::Domain(domain) => {
                host == domain || host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.ends_with('.'))
            }
            Self::Network(network, bits) => address.is_some_and(|address| same_network(*network, address, *bits)),
        }
    }
}

fn parse_bypasses(list: &str) -> Vec<Bypass> {
    list.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()).filter_map(parse_bypass).collect()
}

/// What can't be understood bypasses nothing.
fn parse_bypass(entry: &str) -> Option<Bypass> {
    if entry == "*" {
        return Some(Bypass::Everything);
    }
    if let Some((network, bits)) = entry.split_once('/') {
        let (network, bits): (IpAddr, u8) = (network.parse().ok()?, bits.parse().ok()?);
        let width = if network.is_ipv4() { 32 } else { 128 };
        return (bits <= width).then_some(Bypass::Network(network, bits));
    }
    if let Ok(address) = entry.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Some(Bypass::Network(address, if address.is_ipv4() { 32 } else { 128 }));
    }
    let name = entry.split(':').next()?.trim_start_matches("*.").trim_start_matches('.').trim_end_matches('.');
    (!name.is_empty()).then(|| Bypass::Domain(name.to_ascii_lowercase()))
}

fn same_network(a: IpAddr, b: IpAddr, bits: u8) -> bool {
    let agree = |a: &[u8], b: &[u8]| {
        let (whole, rest) = (usize::from(bits / 8), bits % 8);
        let mask = !(0xffu8.checked_shr(u32::from(rest)).unwrap_or(0));
        a[..whole] == b[..whole] && (rest == 0 || (a[whole] & mask) == (b[whole] & mask))
    };
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => agree(&a.octets(), &b.octets()),
        (IpAddr::V6(a), IpAddr::V6(b)) => agree(&a.octets(), &b.octets()),
        _ => false,
    }
}

fn percent_decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
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
            ("NO_PROXY", "internal.example, .corp.example,10.0.0.0/9,192.0.2.7,[2001:db8::]/32,2001:db8::/32"),
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
            (true, "127.0.0.1", None),
            (true, "localhost", None),
            (true, "[::1]", None),
        ];
        for (secure, host, expected) in cases {
            assert_eq!(rules.proxy_for(secure, host).map(|proxy| proxy.address().0), expected, "{host}");
        }
        let shown = format!("{rules:?}");
        assert!(!shown.contains("s%40crt") && !shown.contains("s@crt"), "{shown}");
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
