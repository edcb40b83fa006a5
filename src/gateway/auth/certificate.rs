//! OpenSSH's certificates as the SSH library hands them over. What it has decoded is encoded again, so that what is looked at is
//! what its authority has signed, and not another reading of the same packet.

use russh::keys::ssh_key;
use russh::server::VerifiedCertificate as Verified;

use super::publickey;
use crate::config::Algorithms;
use crate::identity::{Certificate, CertificateError, VerifiedCertificate};

/// What a certificate says, whoever has signed it.
pub(in crate::gateway) fn read(certificate: &ssh_key::Certificate) -> Result<Certificate, CertificateError> {
    Certificate::parse(&certificate.to_bytes().map_err(|_| CertificateError::Damaged)?)
}

/// The proof, out of the value that the library makes only after it has checked both signatures.
pub(in crate::gateway) fn verified(verified: Verified<'_>, algorithms: Algorithms) -> Option<VerifiedCertificate> {
    let key = ssh_key::PublicKey::from(verified.certificate.public_key().clone());
    publickey::strong(&key, verified.algorithm, algorithms).ok()?;
    Some(VerifiedCertificate::signatures_checked(read(verified.certificate).ok()?, verified.user_verified))
}
