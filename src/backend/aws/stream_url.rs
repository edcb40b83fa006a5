//! Which stream URLs may be dialled.
//!
//! `StartSession` answers with a URL, and the first thing said there is a token that opens the session. Whoever could
//! make us dial elsewhere would have the session, so the URL is checked before any packet is sent: only the message
//! service of the region in use, or the host that the configured endpoint names. AWS's own client checks the same since
//! 1.2.889.0.

use http::Uri;

use crate::model::{is_loopback, plain_text_up_to};

/// Every data channel's path starts so.
const PATH: &str = "/v1/data-channel/";

/// Where data channels of this configuration may lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StreamOrigin {
    region: String,
    fips: bool,
    endpoints: Vec<Endpoint>,
}

/// A configured endpoint: scheme, host and port of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    secure: bool,
    host: String,
    port: u16,
}

/// Why a stream URL was not dialled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Systems Manager gave a stream URL that {0}; it was not dialled")]
pub(super) struct UrlRefused(String);

/// What is wrong with a configured endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the endpoint {0:?} must be a URL such as https://ssm.eu-west-1.amazonaws.com; plain http is for loopback only"
)]
pub(super) struct EndpointError(String);

impl Endpoint {
    /// An endpoint of the configuration: `https://host[:port]`, or `http://` where the host is loopback.
    pub(super) fn parse(url: &str) -> Result<Self, EndpointError> {
        let wrong = || EndpointError(plain_text_up_to(200, url));
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let secure = match uri.scheme_str() {
            Some("https" | "wss") => true,
            Some("http" | "ws") => false,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().ok_or_else(wrong)?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(wrong());
        }
        let host = authority.host().to_ascii_lowercase();
        if !secure && !is_loopback(&host) {
            return Err(wrong());
        }
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => default_port(secure),
            _ => authority.port_u16().ok_or_else(wrong)?,
        };
        Ok(Self { secure, host, port })
    }

    /// Whether it is without TLS, which only loopback is.
    pub(super) fn is_plain(&self) -> bool {
        !self.secure
    }

    /// `host`, or `host:port` where the port is not the scheme's own.
    pub(super) fn authority(&self) -> String {
        if self.port == default_port(self.secure) { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }
}

impl StreamOrigin {
    /// Data channels of `region`, and of the hosts that the configuration names besides.
    pub(super) fn new(region: &str, fips: bool, endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        Self { region: region.to_owned(), fips, endpoints: endpoints.into_iter().collect() }
    }

    /// The URL to dial, or why not.
    pub(super) fn check(&self, url: &str) -> Result<Uri, UrlRefused> {
        let refuse = |why: &str| Err(UrlRefused(why.to_owned()));
        // `Uri` accepts a fragment and drops it; a client that read the URL otherwise would see another host.
        if url.len() > 4096 || url.bytes().any(|b| !b.is_ascii_graphic() || matches!(b, b'#' | b'\\' | b'"' | b'<')) {
            return refuse("has characters that no stream URL has");
        }
        let Ok(uri) = url.parse::<Uri>() else { return refuse("is not a URL") };
        let secure = match uri.scheme_str() {
            Some("wss") => true,
            Some("ws") => false,
            _ => return refuse("is neither wss:// nor ws://"),
        };
        let Some(authority) = uri.authority() else { return refuse("names no host") };
        if authority.as_str().contains('@') {
            return refuse("carries a user name");
        }
        let host = authority.host().to_ascii_lowercase();
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => default_port(secure),
            _ => match authority.port_u16() {
                Some(port) => port,
                None => return refuse("has a port that is no number"),
            },
        };
        let expected = (secure && port == 443 && self.is_message_service(&host))
            || self.endpoints.iter().any(|e| e.secure == secure && e.host == host && e.port == port);
        if !expected {
            let shown: String = host.chars().take(100).collect();
            return refuse(&format!(
                "leads to {}://{shown}:{port} and not to {}",
                if secure { "wss" } else { "ws" },
                self.describe()
            ));
        }
        let path = uri.path();
        let dotted = path.split('/').any(|part| part == "." || part == "..") || path.contains("//") || hides(path);
        if !path.starts_with(PATH) || path.len() == PATH.len() || dotted {
            return refuse("has another path than /v1/data-channel/<session>");
        }
        Ok(uri)
    }

    fn is_message_service(&self, host: &str) -> bool {
        let domains = domains(&self.region);
        let is = |service: &str| domains.iter().any(|domain| host == format!("{service}.{}.{domain}", self.region));
        is("ssmmessages") || (self.fips && is("ssmmessages-fips"))
    }

    fn describe(&self) -> String {
        match self.endpoints.first() {
            Some(endpoint) => {
                format!("ssmmessages in {} or the configured endpoint {}", self.region, endpoint.authority())
            }
            None => format!("ssmmessages in {}", self.region),
        }
    }
}

/// The domains of the partition that a region belongs to: the classic one and the dual-stack one.
fn domains(region: &str) -> &'static [&'static str] {
    let starts = |prefix: &str| region.starts_with(prefix);
    if starts("cn-") {
        &["amazonaws.com.cn", "api.amazonwebservices.com.cn"]
    } else if starts("us-isob-") {
        &["sc2s.sgov.gov"]
    } else if starts("us-isof-") {
        &["csp.hci.ic.gov"]
    } else if starts("us-iso-") {
        &["c2s.ic.gov"]
    } else if starts("eu-isoe-") {
        &["cloud.adc-e.uk"]
    } else if starts("eusc-") {
        &["amazonaws.eu", "api.amazonwebservices.eu"]
    } else {
        &["amazonaws.com", "api.aws"]
    }
}

fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

/// Whether there is anything else behind a `%` than the `@` of somebody who is called by an address of mail.
fn hides(path: &str) -> bool {
    path.split('%').skip(1).any(|rest| !rest.starts_with("40"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_regions_own_message_service_is_dialled() {
        let origin = StreamOrigin::new("eu-west-1", false, []);
        let good = [
            "wss://ssmmessages.eu-west-1.amazonaws.com/v1/data-channel/bob-0123?role=publish_subscribe",
            "wss://ssmmessages.eu-west-1.amazonaws.com:443/v1/data-channel/bob-0123?role=publish_subscribe&cell-number=A",
            "wss://SSMMESSAGES.eu-west-1.amazonaws.com/v1/data-channel/bob-0123",
            "wss://ssmmessages.eu-west-1.api.aws/v1/data-channel/bob-0123",
            "wss://ssmmessages.eu-west-1.amazonaws.com/v1/data-channel/bob@example.com-0123?role=publish_subscribe",
            "wss://ssmmessages.eu-west-1.amazonaws.com/v1/data-channel/bob%40example.com-0123",
        ];
        for url in good {
            assert!(origin.check(url).is_ok(), "{url}");
        }
        let hostile = [
            // another scheme
            "ws://ssmmessages.eu-west-1.amazonaws.com/v1/data-channel/s",
            "https://ssmmessages.eu-west-1.amazonaws.com/v1/data-channel/s",
            "ssmmessages.eu-west-1.amazonaws.com/v1/data-channel/s",
            "//ssmmessages.eu-west-1.amazonaws.com/v1/data-channel/s",
            "",
            // another host
            "wss://evil.example/v1/data-channel/s",
            "wss://ssmmessages.eu-west-1.amazonaws.com.evil.example/v1/data-channel/s",
            "wss://evil-ssmmessages.eu-west-1.amazonaws.com/v1/data-channel/s",
            "wss://x.ssmmessages.eu-west-1.amazonaws.com/v1/data-channel/s",
            "wss://ssmmessages.eu-west-1.amazonaws.com./v1/data-channel/s",
            "wss://ssmmessages.eu-west-1.amazonaws.evil/v1/data-channel/s",
            "wss://ssmmessages.eu-west-1.amazonaws.com.cn/v1/data-channel/s",
            "wss://s3.eu-west-1.amazonaws.com/v1/data-channel/s",
            "wss://ssmmessages-fips.eu-west-1.amazonaws.com/v1/data-channel/s",
            "wss://127.0.0.1/v1/data-channel/s",
            "wss://[::1]/v1/data-channel/s",
            "wss://169.254.169.254/v1/data-channel/s",
            // another region
            "wss://ssmmessages.us-east-1.amazonaws.com/v1/data-channel/s",
            "wss://ssmmessages.amazonaws.com/v1/data-channel/s",
            // tricks with the authority
            "wss://ssmmessages.eu-west-1.amazonaws.com@evil.example/v1/data-channel/s",
            "wss://evil.example#@ssmmessages.eu-west-1.amazonaws.com/v1/data-channel/s",
            "wss://evil.example\\@ssmmessages.eu-west-1.amazonaws.com/v1/data-channel/s",
            "wss://user:pass@ssmmessages.eu-west-1.amazonaws.com/v1/data-channel/s",
            "wss://evil.example?ssmmessages.eu-west-1.amazonaws.com/v1/data-channel/s",
            "wss://evil.example/ssmmessages.eu-west-1.amazonaws.com/v1/data-channel/s",
            "wss://ssmmessages.eu-west-1.amazonaws.com:8443/v1/data-channel/s",
            "wss://ssmmessages.eu-west-1.amazonaws.com:/v1/data-channel/s",
            "wss://ssmmessages.eu-west-1.amazonaws.com:443443/v1/data-channel/s",
            "wss://ssmmessages.eu-west-1.amazonaws.com /v1/data-channel/s",
            " wss://ssmmessages.eu-west-1.amazonaws.com/v1/data-channel/s",
            "wss://ssmmessages.eu-west-1.amazonaws.com\r\nHost: evil/v1/data-channel/s",
            "wss://ssmmessages\u{3002}eu-west-1.amazonaws.com/v1/data-channel/s",
            "wss://ssmmessages%2eeu-west-1.amazonaws.com/v1/data-channel/s",
            // another path
            "wss://ssmmessages.eu-west-1.amazonaws.com/",
            "wss://ssmmessages.eu-west-1.amazonaws.com",
            "wss://ssmmessages.eu-west-1.amazonaws.com/v1/data-channel/",
            "wss://ssmmessages.eu-west-1.amazonaws.com/v1/control-channel/i-0",
            "wss://ssmmessages.eu-west-1.amazonaws.com/v1/data-channel/../control-channel/i-0",
            "wss://ssmmessages.eu-west-1.amazonaws.com/v1/data-channel/%2e%2e/x",
        ];
        for url in hostile {
            assert!(origin.check(url).is_err(), "{url}");
        }
        let text = origin.check("wss://evil.example/v1/data-channel/s?X-Amz-Security-Token=hunter2").unwrap_err();
        assert!(text.to_string().contains("evil.example") && !text.to_string().contains("hunter2"), "{text}");
    }

    #[test]
    fn partitions_keep_to_themselves() {
        let url = |region: &str, domain: &str| format!("wss://ssmmessages.{region}.{domain}/v1/data-channel/s");
        for (region, domain) in [
            ("cn-north-1", "amazonaws.com.cn"),
            ("us-gov-west-1", "amazonaws.com"),
            ("us-iso-east-1", "c2s.ic.gov"),
            ("us-isob-east-1", "sc2s.sgov.gov"),
            ("eusc-de-east-1", "amazonaws.eu"),
        ] {
            let origin = StreamOrigin::new(region, false, []);
            assert!(origin.check(&url(region, domain)).is_ok(), "{region}");
            assert!(origin.check(&url(region, "api.evil")).is_err(), "{region}");
        }
        let fips = StreamOrigin::new("us-east-1", true, []);
        assert!(fips.check("wss://ssmmessages-fips.us-east-1.amazonaws.com/v1/data-channel/s").is_ok());
    }

    #[test]
    fn a_configured_endpoint_is_dialled_as_it_is_configured() {
        let endpoint = |url| Endpoint::parse(url).unwrap();
        let plain = StreamOrigin::new("us-east-1", false, [endpoint("http://127.0.0.1:4100")]);
        assert!(plain.check("ws://127.0.0.1:4100/v1/data-channel/s?role=publish_subscribe").is_ok());
        assert!(plain.check("wss://ssmmessages.us-east-1.amazonaws.com/v1/data-channel/s").is_ok());
        for url in [
            "ws://127.0.0.1:4101/v1/data-channel/s",
            "wss://127.0.0.1:4100/v1/data-channel/s",
            "ws://127.0.0.2:4100/v1/data-channel/s",
            "ws://localhost:4100/v1/data-channel/s",
            "wss://ssmmessages.eu-west-1.amazonaws.com/v1/data-channel/s",
        ] {
            assert!(plain.check(url).is_err(), "{url}");
        }
        let private = StreamOrigin::new(
            "us-east-1",
            false,
            [endpoint("wss://vpce-1-2.ssmmessages.us-east-1.vpce.amazonaws.com")],
        );
        assert!(private.check("wss://vpce-1-2.ssmmessages.us-east-1.vpce.amazonaws.com/v1/data-channel/s").is_ok());
        assert!(private.check("ws://vpce-1-2.ssmmessages.us-east-1.vpce.amazonaws.com/v1/data-channel/s").is_err());
    }

    #[test]
    fn plain_endpoints_are_loopback_only() {
        for good in
            ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "https://ssm.example", "https://x:8443"]
        {
            assert!(Endpoint::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "http://10.0.0.1:1",
            "http://ssm.example",
            "ftp://127.0.0.1",
            "127.0.0.1:1",
            "",
            "https://a@b",
            "https://a:",
        ] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }
}
