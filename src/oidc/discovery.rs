//! What a provider says of itself (OpenID Connect Discovery 1.0, RFC 8414).

use serde::Deserialize;

use super::endpoint::Endpoint;
use super::error::SignInError;

/// Where a provider is asked for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Metadata {
    /// Where a sign-in begins.
    pub(super) device: Endpoint,
    /// Where its outcome is.
    pub(super) token: Endpoint,
    /// Where the provider's keys are.
    pub(super) keys: Endpoint,
    /// The client's secret goes into the body, because nothing else is taken.
    pub(super) secret_in_body: bool,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    device_authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
    jwks_uri: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// Where the document is: the issuer with this behind it (section 4.1).
pub(super) fn location(issuer: &str) -> Result<Endpoint, SignInError> {
    let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    Endpoint::parse(&url).map_err(|why| SignInError::Unusable(format!("oidc.issuer: {why}")))
}

impl Metadata {
    /// What the document of this issuer says; one of another is none (section 4.3).
    pub(super) fn parse(json: &[u8], issuer: &str) -> Result<Self, SignInError> {
        let unusable = |why: String| SignInError::Unusable(format!("its openid-configuration {why}"));
        let document: Document = serde_json::from_slice(json)
            .map_err(|_| unusable("is no document of a provider (is oidc.issuer right?)".to_owned()))?;
        if document.issuer != issuer {
            return Err(unusable(
                "is that of another issuer; oidc.issuer must be what it says, to the letter".to_owned(),
            ));
        }
        let endpoint = |name: &str, url: Option<&String>| {
            let url = url.ok_or_else(|| unusable(format!("has no {name}")))?;
            Endpoint::parse(url).map_err(|why| unusable(format!("has a {name} that can't be used: {why}")))
        };
        let methods = document.token_endpoint_auth_methods_supported.as_deref();
        let takes = |method: &str| methods.is_none_or(|methods| methods.iter().any(|one| one == method));
        Ok(Self {
            device: match endpoint("device_authorization_endpoint", document.device_authorization_endpoint.as_ref()) {
                Err(_) if document.device_authorization_endpoint.is_none() => {
                    return Err(unusable(
                        "has no device_authorization_endpoint: the device flow is off there".to_owned(),
                    ));
                }
                device => device?,
            },
            token: endpoint("token_endpoint", document.token_endpoint.as_ref())?,
            keys: endpoint("jwks_uri", document.jwks_uri.as_ref())?,
            secret_in_body: !takes("client_secret_basic") && takes("client_secret_post"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://id.example.com/realm";

    fn document(issuer: &str, device: &str, more: &str) -> String {
        format!(
            "{{\"issuer\":\"{issuer}\",\"device_authorization_endpoint\":\"{device}\",\
             \"token_endpoint\":\"https://id.example.com/token\",\"jwks_uri\":\"https://keys.example.com/jwks\"{more}}}"
        )
    }

    #[test]
    fn a_document_is_its_own_issuer_s_and_leads_to_https() {
        let device = "https://id.example.com/device";
        let metadata = Metadata::parse(document(ISSUER, device, "").as_bytes(), ISSUER).unwrap();
        assert_eq!((metadata.keys.host.as_str(), metadata.secret_in_body), ("keys.example.com", false));
        let post = ",\"token_endpoint_auth_methods_supported\":[\"client_secret_post\"]";
        assert!(Metadata::parse(document(ISSUER, device, post).as_bytes(), ISSUER).unwrap().secret_in_body);
        for (text, said) in [
            (document(&format!("{ISSUER}/"), device, ""), "another issuer"),
            (document(ISSUER, "http://id.example.com/device", ""), "can't be used"),
            (document(ISSUER, device, "").replace("device_authorization_endpoint", "x"), "the device flow is off"),
            (document(ISSUER, device, "").replace("jwks_uri", "x"), "has no jwks_uri"),
            ("<html>".to_owned(), "is no document of a provider"),
            ("[]".to_owned(), "is no document of a provider"),
        ] {
            let error = Metadata::parse(text.as_bytes(), ISSUER).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        assert_eq!(location(ISSUER).unwrap().target, "/realm/.well-known/openid-configuration");
        assert_eq!(location("http://127.0.0.1:1/").unwrap().target, "/.well-known/openid-configuration");
    }
}
