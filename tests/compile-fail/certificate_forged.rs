// must fail: E0624
use portcullis::internals::identity::{Certificate, VerifiedCertificate};

pub fn forge(certificate: Certificate) -> VerifiedCertificate {
    VerifiedCertificate::signatures_checked(certificate, true)
}
