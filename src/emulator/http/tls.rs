//! The service's certificate: given, or made at start together with an authority of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use time::{Duration, OffsetDateTime};
use tokio_rustls::TlsAcceptor;

use crate::emulator::config::SelfMadeTls;

/// A way to accept TLS.
pub(crate) struct Tls {
    pub(crate) acceptor: TlsAcceptor,
    /// The authority's certificate, if it was made here.
    pub(crate) ca_pem: Option<String>,
}

impl Tls {
    pub(crate) fn new(choice: &SelfMadeTls, address: SocketAddr, advertised: &str) -> Result<Self, String> {
        let mut all = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        if !address.ip().is_unspecified() {
            all.push(address.ip().to_string());
        }
        all.push(host_of(advertised).to_owned());
        all.extend(choice.names.iter().cloned());
        all.sort();
        all.dedup();
        let (ca_pem, chain, key) = make(all).map_err(|error| error.to_string())?;
        Ok(Self { acceptor: acceptor(chain, key)?, ca_pem: Some(ca_pem) })
    }
}

/// The host of `host` or `host:port` or `[v6]:port`.
pub(crate) fn host_of(advertised: &str) -> &str {
    if let Some(rest) = advertised.strip_prefix('[') {
        return rest.split_once(']').map_or(advertised, |(host, _)| host);
    }
    advertised.rsplit_once(':').map_or(advertised, |(host, _)| host)
}

type Made = (String, Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn make(names: Vec<String>) -> Result<Made, rcgen::Error> {
    let now = OffsetDateTime::now_utc();
    let mut ca = CertificateParams::default();
    ca.distinguished_name.push(DnType::CommonName, "Portcullis embedded Session Manager CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (ca.not_before, ca.not_after) = (now - Duration::HOUR, now + Duration::days(365));
    let ca_key = KeyPair::generate()?;
    let ca_certificate = ca.self_signed(&ca_key)?;
    let mut leaf = CertificateParams::new(names)?;
    leaf.distinguished_name.push(DnType::CommonName, "Portcullis embedded Session Manager");
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    (leaf.not_before, leaf.not_after) = (ca.not_before, ca.not_after);
    let leaf_key = KeyPair::generate()?;
    let certificate = leaf.signed_by(&leaf_key, &Issuer::new(ca, ca_key))?;
    let key = PrivateKeyDer::try_from(leaf_key.serialize_der()).map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
    Ok((ca_certificate.pem(), vec![certificate.der().clone()], key))
}

fn acceptor(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<TlsAcceptor, String> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| format!("certificate and key cannot be used: {error}"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_found() {
        for (text, host) in [("a:1", "a"), ("a", "a"), ("[::1]:8", "::1"), ("10.0.0.1:80", "10.0.0.1")] {
            assert_eq!(host_of(text), host);
        }
    }
}
