//! AWS Signature Version 4, the verifier's side.
//!
//! ```text
//!  Authorization: AWS4-HMAC-SHA256 Credential=<key>/<day>/<region>/<service>/aws4_request,
//!                 SignedHeaders=host;x-amz-date, Signature=<64 hex digits>
//!  or, presigned:  ?X-Amz-Algorithm=…&X-Amz-Credential=…&X-Amz-Date=…&X-Amz-Expires=…&X-Amz-SignedHeaders=…&X-Amz-Signature=…
//!
//!  canonical request ──sha256──▶ string to sign ──hmac with a key derived from secret, day, region, service──▶ signature
//! ```
//!
//! [`Claim::read`] only reads what a request says of itself; nothing of it is believed until [`Claim::verify`] has agreed.
//! The tests sign with `aws-sigv4`, so signer and verifier have no code in common.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use http::request::Parts;
use sha2::{Digest, Sha256};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{Duration, OffsetDateTime, PrimitiveDateTime};

/// What a request says about who signed it, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) access_key_id: String,
    pub(crate) region: String,
    pub(crate) service: String,
    /// The session token that goes with temporary keys.
    pub(crate) session_token: Option<String>,
    day: String,
    date: String,
    time: OffsetDateTime,
    signed_headers: Vec<String>,
    signature: [u8; 32],
    /// Present in presigned requests: seconds for which the signature holds.
    expires: Option<i64>,
}

/// Why a signature was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignatureError {
    /// The header or the query is not of the form.
    #[error("{0}")]
    Incomplete(String),
    /// It is well-formed and wrong.
    #[error("{0}")]
    Invalid(String),
}

impl Claim {
    /// Reads the claim of a request; `None` if it makes none.
    pub(crate) fn read(parts: &Parts) -> Result<Option<Self>, SignatureError> {
        let mut headers = parts.headers.get_all(http::header::AUTHORIZATION).iter();
        let header = headers.next();
        if headers.next().is_some() {
            return Err(incomplete("Only one Authorization header may be sent."));
        }
        if let Some(header) = header {
            let header = header.to_str().map_err(|_| incomplete("Authorization header is not ASCII."))?;
            let date = one_header(parts, "x-amz-date")?.ok_or_else(|| {
                incomplete("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
            })?;
            let token = one_header(parts, "x-amz-security-token")?;
            return Self::from_header(header, date, token).map(Some);
        }
        match parts.uri.query() {
            Some(query) if query.contains("X-Amz-Signature=") => Self::from_query(query).map(Some),
            _ => Ok(None),
        }
    }

    pub(crate) fn from_header(header: &str, date: &str, token: Option<&str>) -> Result<Self, SignatureError> {
        let fields = header
            .strip_prefix(ALGORITHM)
            .filter(|rest| rest.starts_with(' '))
            .ok_or_else(|| incomplete("Authorization header must begin with AWS4-HMAC-SHA256."))?;
        let (mut credential, mut signed, mut signature) = (None, None, None);
        for field in fields.split(',') {
            let slot = match field.trim().split_once('=') {
                Some(("Credential", value)) => (&mut credential, value),
                Some(("SignedHeaders", value)) => (&mut signed, value),
                Some(("Signature", value)) => (&mut signature, value),
                _ => return Err(incomplete("Authorization header has a part that is not of the form key=value.")),
            };
            if slot.0.replace(slot.1.to_owned()).is_some() {
                return Err(incomplete("Authorization header names a part twice."));
            }
        }
        let missing = |name: &str| incomplete(&format!("Authorization header requires '{name}' parameter."));
        Self::assemble(
            &credential.ok_or_else(|| missing("Credential"))?,
            date,
            &signed.ok_or_else(|| missing("SignedHeaders"))?,
            &signature.ok_or_else(|| missing("Signature"))?,
            token.map(str::to_owned),
            None,
        )
    }

    pub(crate) fn from_query(query: &str) -> Result<Self, SignatureError> {
        let pairs = query_pairs(query);
        let get = |name: &str| {
            let mut found = pairs.iter().filter(|(key, _)| key == name.as_bytes());
            match (found.next(), found.next()) {
                (Some((_, value)), None) => Ok(Some(String::from_utf8_lossy(value).into_owned())),
                (None, _) => Ok(None),
                (Some(_), Some(_)) => Err(incomplete(&format!("The query names '{name}' twice."))),
            }
        };
        let need =
            |name: &str| get(name)?.ok_or_else(|| incomplete(&format!("The query requires the parameter '{name}'.")));
        if need("X-Amz-Algorithm")? != ALGORITHM {
            return Err(incomplete("X-Amz-Algorithm must be AWS4-HMAC-SHA256."));
        }
        let expires = need("X-Amz-Expires")?.parse().ok().filter(|seconds| (1..=MAX_EXPIRES).contains(seconds));
        let expires = expires.ok_or_else(|| incomplete("X-Amz-Expires must be between 1 and 604800 seconds."))?;
        Self::assemble(
            &need("X-Amz-Credential")?,
            &need("X-Amz-Date")?,
            &need("X-Amz-SignedHeaders")?,
            &need("X-Amz-Signature")?,
            get("X-Amz-Security-Token")?,
            Some(expires),
        )
    }

    fn assemble(
        credential: &str,
        date: &str,
        signed: &str,
        signature: &str,
        session_token: Option<String>,
        expires: Option<i64>,
    ) -> Result<Self, SignatureError> {
        let scope: Vec<&str> = credential.split('/').collect();
        let [key, day, region, service, "aws4_request"] = scope[..] else {
            return Err(incomplete("Credential must be <key>/<date>/<region>/<service>/aws4_request."));
        };
        let time = PrimitiveDateTime::parse(date, DATE)
            .map_err(|_| incomplete("X-Amz-Date must be of the form 20060102T150405Z."))?
            .assume_utc();
        if !date.starts_with(day) || day.len() != 8 {
            return Err(SignatureError::Invalid("Date in Credential scope does not match the request's date.".into()));
        }
        let signed_headers: Vec<String> = signed.split(';').map(str::to_owned).collect();
        let sorted = signed_headers.windows(2).all(|pair| pair[0] < pair[1]);
        let lower = signed_headers.iter().all(|name| !name.is_empty() && !name.bytes().any(|b| b.is_ascii_uppercase()));
        if !sorted || !lower {
            return Err(incomplete("SignedHeaders must be lower-case names in order, separated by semicolons."));
        }
        if signed_headers.binary_search_by(|name| name.as_str().cmp("host")).is_err() {
            return Err(SignatureError::Invalid("'Host' must be a signed header.".into()));
        }
        Ok(Self {
            access_key_id: key.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            session_token,
            day: day.to_owned(),
            date: date.to_owned(),
            time,
            signed_headers,
            signature: unhex(signature).ok_or_else(|| incomplete("Signature must be 64 hexadecimal digits."))?,
            expires,
        })
    }

    /// Whether the request bears this claim's signature by that secret, now. The comparison takes constant time.
    pub(crate) fn verify(
        &self,
        parts: &Parts,
        body: &[u8],
        secret: &str,
        now: OffsetDateTime,
    ) -> Result<(), SignatureError> {
        self.check_time(now)?;
        // What decides which call it is must be under the signature.
        let target_unsigned = parts.headers.contains_key("x-amz-target")
            && !self.signed_headers.iter().any(|name| name == "x-amz-target");
        if target_unsigned {
            return Err(SignatureError::Invalid("'X-Amz-Target' must be a signed header.".into()));
        }
        let request = self.canonical_request(parts, body)?;
        let scope = format!("{}/{}/{}/aws4_request", self.day, self.region, self.service);
        let to_sign = format!("{ALGORITHM}\n{}\n{scope}\n{}", self.date, hex(&Sha256::digest(request.as_bytes())));
        let day = keyed(format!("AWS4{secret}").as_bytes(), self.day.as_bytes())?.finalize().into_bytes();
        let region = keyed(&day, self.region.as_bytes())?.finalize().into_bytes();
        let service = keyed(&region, self.service.as_bytes())?.finalize().into_bytes();
        let key = keyed(&service, b"aws4_request")?.finalize().into_bytes();
        keyed(&key, to_sign.as_bytes())?.verify_slice(&self.signature).map_err(|_| {
            SignatureError::Invalid(
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
                 Access Key and signing method. Consult the service documentation for details."
                    .into(),
            )
        })
    }

    fn check_time(&self, now: OffsetDateTime) -> Result<(), SignatureError> {
        let text = |time: OffsetDateTime| time.format(DATE).unwrap_or_default();
        if self.time > now + SKEW {
            return Err(SignatureError::Invalid(format!(
                "Signature not yet current: {} is still later than {} ({} + 5 min.)",
                self.date,
                text(now + SKEW),
                text(now)
            )));
        }
        let lifetime = self.expires.map_or(SKEW, Duration::seconds);
        if self.time + lifetime < now {
            return Err(SignatureError::Invalid(format!(
                "Signature expired: {} is now earlier than {} ({} - {} min.)",
                self.date,
                text(now - lifetime),
                text(now),
                lifetime.whole_minutes()
            )));
        }
        Ok(())
    }

    fn canonical_request(&self, parts: &Parts, body: &[u8]) -> Result<String, SignatureError> {
        let mut out = String::with_capacity(512);
        out.push_str(parts.method.as_str());
        out.push('\n');
        encode(&mut out, normal_path(parts.uri.path()).as_bytes(), true);
        out.push('\n');
        out.push_str(&canonical_query(parts.uri.query().unwrap_or_default()));
        out.push('\n');
        for name in &self.signed_headers {
            let values: Vec<String> = parts.headers.get_all(name).iter().map(|v| trimmed(v.as_bytes())).collect();
            if values.is_empty() {
                return Err(SignatureError::Invalid(format!("The signed header '{name}' is not in the request.")));
            }
            let _ = writeln!(out, "{name}:{}", values.join(","));
        }
        let _ = write!(out, "\n{}\n{}", self.signed_headers.join(";"), hex(&Sha256::digest(body)));
        Ok(out)
    }
}

fn one_header<'a>(parts: &'a Parts, name: &str) -> Result<Option<&'a str>, SignatureError> {
    let mut values = parts.headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(incomplete(&format!("The header {name} may be sent only once.")));
    }
    let text = first.map(|value| value.to_str().map_err(|_| incomplete(&format!("The header {name} is not ASCII."))));
    text.transpose()
}

/// `.` and `..` resolved and repeated slashes joined, as signers do for every service but S3.
fn normal_path(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    let tail = if path.ends_with('/') && !segments.is_empty() { "/" } else { "" };
    format!("/{}{tail}", segments.join("/"))
}

fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query_pairs(query)
        .into_iter()
        .filter(|(key, _)| key != b"X-Amz-Signature")
        .map(|(key, value)| {
            let (mut k, mut v) = (String::new(), String::new());
            encode(&mut k, &key, false);
            encode(&mut v, &value, false);
            (k, v)
        })
        .collect();
    pairs.sort();
    let joined: Vec<String> = pairs.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    joined.join("&")
}

/// A query's names and values, percent-decoded.
pub(crate) fn query_pairs(query: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            (percent_decode(key), percent_decode(value))
        })
        .collect()
}

pub(crate) fn percent_decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = bytes.get(at + 1..at + 3).filter(|_| byte == b'%').and_then(|pair| {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            u8::try_from(high * 16 + low).ok()
        });
        match escaped {
            Some(value) => {
                out.push(value);
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

fn encode(out: &mut String, bytes: &[u8], keep_slash: bool) {
    for &byte in bytes {
        let plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (keep_slash && byte == b'/');
        if plain {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// A header value as signed: no white space at the ends, runs of it inside are one space.
fn trimmed(value: &[u8]) -> String {
    String::from_utf8_lossy(value).split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

fn keyed(key: &[u8], data: &[u8]) -> Result<Hmac<Sha256>, SignatureError> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|_| incomplete("The key cannot be used."))?;
    mac.update(data);
    Ok(mac)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    let valid = text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !valid {
        return None;
    }
    for (slot, at) in out.iter_mut().zip((0..64).step_by(2)) {
        *slot = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(out)
}

fn incomplete(text: &str) -> SignatureError {
    SignatureError::Incomplete(text.to_owned())
}

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day]T[hour][minute][second]Z");
const SKEW: Duration = Duration::minutes(5);
const MAX_EXPIRES: i64 = 604_800;

#[cfg(test)]
#[path = "sigv4_tests.rs"]
mod tests;
