//! People by their certificates: who it is that a verified one stands for, from where and now.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use super::authenticated::{Certified, First, Proof};
use super::authority::{Authority, AuthorityLine, Meant, Trust};
use super::authorized_key::{AuthorizedKey, KeyLineError, authority_of_line, lines};
use super::certificate::Certificate;
use super::enough::Proved;
use super::people::{LineFault, People};
use super::proof::{KeyFingerprint, VerifiedCertificate};
use super::restrictions::Restrictions;
use super::revocations::Revocation;
use super::unproved::Unproved;
use super::{Identity, Login};
use crate::model::RefusalCode;

/// From where and when somebody asks, and for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asks<'a> {
    /// The person that must come out, where one is named.
    pub(super) named: Option<&'a str>,
    pub(super) source: IpAddr,
    pub(super) now: SystemTime,
    pub(super) purpose: Purpose,
}

/// What a proof is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To open something.
    Open,
    /// To go on with what it has opened.
    GoOn,
}

/// What a certificate comes to.
struct Judged {
    meant: Meant,
    restrictions: Restrictions,
    verify_required: bool,
    /// From when on nothing goes on by it.
    ends: Option<SystemTime>,
}

impl People {
    /// A key of an authority's, as a line of a `.pub` file.
    pub fn add_authority_key(&mut self, authority: &Arc<Authority>, line: &str) -> Result<(), KeyLineError> {
        let fingerprint = KeyFingerprint::of(&authority_of_line(line)?);
        if let Some(trust) = self.authorities.get(&fingerprint) {
            return Err(KeyLineError::Twice(whose(trust)));
        }
        self.authorities.insert(fingerprint, Trust::Authority(authority.clone()));
        Ok(())
    }

    /// The same of a file of such lines. A wrong line is no authority, and the others are.
    pub fn add_authority_file(&mut self, authority: &Arc<Authority>, file: &[u8]) -> Vec<LineFault> {
        let mut faults = Vec::new();
        for (line, text) in lines(file) {
            if let Err(why) = text.and_then(|text| self.add_authority_key(authority, text)) {
                faults.push(LineFault { line, why });
            }
        }
        faults
    }

    /// A line of a person's with `cert-authority`.
    pub(super) fn add_authority_line(&mut self, person: &str, key: AuthorizedKey) -> Result<(), KeyLineError> {
        let trust = self.authorities.entry(KeyFingerprint::of(&key.wire)).or_insert(Trust::Lines(Vec::new()));
        match trust {
            Trust::Lines(lines) if !lines.iter().any(|line| line.person == person) => {
                lines.push(AuthorityLine { person: person.to_owned(), options: Arc::new(key.options) });
                Ok(())
            }
            known => Err(KeyLineError::Twice(whose(known))),
        }
    }

    /// Whether a signature by this certificate's key is worth asking for. Proves nothing; that the authority has signed it is not
    /// known either.
    pub fn would_certify(
        &self,
        certificate: &Certificate,
        login: Option<&Login>,
        source: IpAddr,
        now: SystemTime,
    ) -> Result<(), Unproved> {
        let named = login.and_then(Login::person);
        self.judge(certificate, Asks { named, source, now, purpose: Purpose::Open }).map(|_| ())
    }

    /// Who that is, from this address and now. A login that names a person must name one for whom the certificate stands, and has to
    /// where it stands for several.
    pub fn identify_certified(
        &self,
        verified: &VerifiedCertificate,
        login: Option<&Login>,
        source: IpAddr,
        now: SystemTime,
    ) -> Result<Proved, Unproved> {
        let named = login.and_then(Login::person);
        let asks = Asks { named, source, now, purpose: Purpose::Open };
        self.is_enough(self.certified(verified.certificate(), verified.user_verified(), asks)?)
    }

    pub(super) fn certified(
        &self,
        certificate: &Certificate,
        user_verified: bool,
        asks: Asks<'_>,
    ) -> Result<Identity, Unproved> {
        let Judged { meant, restrictions, verify_required, ends } = self.judge(certificate, asks)?;
        if verify_required && !user_verified {
            return Err(Unproved::NotVerified);
        }
        let authority = self.authorities.get(&certificate.authority_fingerprint()).and_then(Trust::authority);
        let certified = Certified::new(certificate, authority.map(|authority| authority.name.clone()), meant.principal);
        let (key, source) = (certificate.fingerprint(), asks.source);
        let text = format!("certificate {key}: {}", certificate.named());
        let first = First::Certificate(key, Arc::new(certified));
        let proof = Proof { first, second: None, user_verified, source, ends, restrictions, text };
        Ok(self.in_further_groups(meant.person, meant.groups, proof))
    }

    fn judge(&self, certificate: &Certificate, asks: Asks<'_>) -> Result<Judged, Unproved> {
        use RefusalCode as Code;
        let no = |code: RefusalCode, why: String| Unproved::Certificate {
            which: format!("certificate {}", certificate.named()),
            code,
            why,
        };
        let Some(trust) = self.authorities.get(&certificate.authority_fingerprint()) else {
            return Err(no(Code::AuthorityUnknown, "its authority is none of those that are trusted here".to_owned()));
        };
        let lists = [Some(&self.revoked), trust.authority().map(|authority| &authority.revoked)];
        match lists.into_iter().flatten().find_map(|list| list.of_certificate(certificate)) {
            None => {}
            Some(Revocation::Revoked) => {
                return Err(no(Code::Revoked, "it, its key or its authority is revoked".to_owned()));
            }
            Some(Revocation::Unknown) => {
                let why = "a list of what is revoked can't be read, so that it counts as if everything were".to_owned();
                return Err(no(Code::RevocationsUnreadable, why));
            }
        }
        let outlived = asks.purpose == Purpose::GoOn && trust.authority().is_some_and(|authority| authority.outlived);
        if certificate.begins().is_none_or(|begin| asks.now < begin) {
            return Err(no(Code::ProofExpired, "its time has not begun".to_owned()));
        }
        if !outlived && certificate.ends().is_some_and(|end| asks.now >= end) {
            return Err(no(Code::ProofExpired, "its time is over".to_owned()));
        }
        if let Some(authority) = trust.authority() {
            if let Some(longest) =
                authority.longest.filter(|longest| certificate.lasts().is_none_or(|time| time > *longest))
            {
                let hours = longest.as_secs() / 3600;
                let why =
                    format!("it is made for longer than the {hours} hours that {} may make it for", authority.name);
                return Err(no(Code::CertificateNotTaken, why));
            }
            if let Some(option) = authority.misses(certificate) {
                let why = format!("it has no {option}, which {} has to put into it", authority.name);
                return Err(no(Code::CertificateNotTaken, why));
            }
        }
        if certificate.critical.sources.as_ref().is_some_and(|list| !list.has(asks.source)) {
            return Err(no(Code::SourceNotAllowed, format!("it does not count from {}", asks.source)));
        }
        let mut people = trust.meant(certificate, |name| self.listed.contains(name));
        if let Some(named) = asks.named {
            people.retain(|meant| meant.person == named);
        }
        let meant = match (people.pop(), people.first()) {
            (Some(meant), None) => meant,
            (Some(one), Some(other)) => {
                let why =
                    format!("it stands for {} and for {}, and the login does not say which", other.person, one.person);
                return Err(no(Code::PrincipalUnknown, why));
            }
            (None, _) if certificate.principals.is_empty() => {
                return Err(no(Code::PrincipalUnknown, "it has no principals, and so stands for nobody".to_owned()));
            }
            (None, _) => {
                let principals = crate::model::plain_text_up_to(LONGEST_SHOWN, &certificate.principals.join(", "));
                let whom = asks.named.unwrap_or("anybody here");
                return Err(no(
                    Code::PrincipalUnknown,
                    format!("none of its principals ({principals}) stands for {whom}"),
                ));
            }
        };
        let mut judged = Judged {
            restrictions: Restrictions {
                command: certificate.critical.command.clone(),
                no_pty: !certificate.permits("permit-pty"),
                no_forwarding: !certificate.permits("permit-port-forwarding"),
            },
            verify_required: certificate.critical.verify_required,
            ends: certificate.ends().filter(|_| !trust.authority().is_some_and(|authority| authority.outlived)),
            meant,
        };
        if let Some(options) = judged.meant.line.clone() {
            options.count(asks.source, asks.now)?;
            judged.verify_required |= options.verify_required;
            judged.ends = judged.ends.into_iter().chain(options.expires).min();
            let (theirs, line) = (&mut judged.restrictions, &options.restrictions);
            theirs.no_pty |= line.no_pty;
            theirs.no_forwarding |= line.no_forwarding;
            match (&theirs.command, &line.command) {
                (Some(one), Some(other)) if one != other => {
                    let why = "it forces another command than the line of its authority does".to_owned();
                    return Err(no(Code::CertificateNotTaken, why));
                }
                (None, Some(command)) => theirs.command = Some(command.clone()),
                _ => {}
            }
        }
        Ok(judged)
    }
}

/// How much of a certificate's principals is shown in a sentence.
const LONGEST_SHOWN: usize = 200;

fn whose(trust: &Trust) -> String {
    match trust {
        Trust::Authority(authority) => format!("the authority {}'s", authority.name),
        Trust::Lines(lines) => {
            let people: Vec<&str> = lines.iter().map(|line| line.person.as_str()).collect();
            format!("a cert-authority of {}'s", people.join(" and "))
        }
    }
}
