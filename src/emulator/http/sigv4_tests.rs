//! The verifier against requests that `aws-sigv4` signed.

use std::time::{Duration as StdDuration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use http::Request;
use proptest::prelude::*;

use super::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

struct Signer<'a> {
    service: &'a str,
    token: Option<&'a str>,
    presign: bool,
    at: SystemTime,
}

impl Signer<'_> {
    fn sign(&self, request: Request<Vec<u8>>) -> (Parts, Vec<u8>) {
        let (mut parts, body) = request.into_parts();
        let identity = Credentials::new("AKIDEXAMPLE", SECRET, self.token.map(str::to_owned), None, "test").into();
        let mut settings = SigningSettings::default();
        if self.presign {
            settings.signature_location = SignatureLocation::QueryParams;
            settings.expires_in = Some(StdDuration::from_secs(120));
        }
        let params = SigningParams::builder()
            .identity(&identity)
            .region("eu-central-1")
            .name(self.service)
            .time(self.at)
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let url = format!("http://{}{}", parts.headers["host"].to_str().unwrap(), parts.uri);
        let headers = parts.headers.iter().map(|(k, v)| (k.as_str(), v.to_str().unwrap()));
        let signable = SignableRequest::new(parts.method.as_str(), &url, headers, SignableBody::Bytes(&body)).unwrap();
        let (instructions, _) = sign(signable, &params).unwrap().into_parts();
        let mut signed = Request::from_parts(parts.clone(), ());
        *signed.uri_mut() = url.parse().unwrap();
        instructions.apply_to_request_http1x(&mut signed);
        let (after, ()) = signed.into_parts();
        parts.headers = after.headers;
        parts.uri = after.uri.path_and_query().unwrap().as_str().parse().unwrap();
        (parts, body)
    }
}

fn api() -> Request<Vec<u8>> {
    Request::post("/")
        .header("host", "127.0.0.1:4566")
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", "AmazonSSM.StartSession")
        .header("x-odd", "  two   spaces ")
        .body(br#"{"Target":"i-1"}"#.to_vec())
        .unwrap()
}

fn upgrade(query: &str) -> Request<Vec<u8>> {
    Request::get(format!("/v1/data-channel/s-1?{query}")).header("host", "gate.example").body(Vec::new()).unwrap()
}

fn header_signer(service: &str) -> Signer<'_> {
    Signer { service, token: None, presign: false, at: SystemTime::now() }
}

fn verify(parts: &Parts, body: &[u8]) -> Result<Claim, SignatureError> {
    let claim = Claim::read(parts)?.expect("a signature");
    claim.verify(parts, body, SECRET, OffsetDateTime::now_utc())?;
    Ok(claim)
}

#[test]
fn the_sdks_header_signature_is_accepted() {
    let (parts, body) = header_signer("ssm").sign(api());
    let claim = verify(&parts, &body).unwrap();
    assert_eq!(
        (claim.access_key_id.as_str(), claim.region.as_str(), claim.service.as_str()),
        ("AKIDEXAMPLE", "eu-central-1", "ssm")
    );
    assert_eq!(claim.session_token, None);
}

#[test]
fn a_signed_websocket_upgrade_is_accepted_with_its_query_and_token() {
    let signer = Signer { token: Some("tok/en+1=="), ..header_signer("ssmmessages") };
    let (parts, body) = signer.sign(upgrade("role=publish_subscribe&cell-number=AA%2Fx&a=&b"));
    assert_eq!(verify(&parts, &body).unwrap().session_token.as_deref(), Some("tok/en+1=="));
}

#[test]
fn a_presigned_request_is_accepted_until_it_expires() {
    let signer = Signer { token: Some("a/b+c="), presign: true, ..header_signer("ssmmessages") };
    let (parts, body) = signer.sign(upgrade("role=publish_subscribe"));
    let claim = verify(&parts, &body).unwrap();
    assert_eq!(claim.session_token.as_deref(), Some("a/b+c="));
    let now = OffsetDateTime::now_utc();
    assert!(claim.verify(&parts, &body, SECRET, now + Duration::seconds(118)).is_ok());
    assert!(claim.verify(&parts, &body, SECRET, now + Duration::seconds(122)).is_err());
}

#[test]
fn escaped_and_dotted_paths_are_accepted() {
    for path in ["/v1/data-channel/a%20b", "/v1/./data-channel/../x", "/v1//y/", "/%E2%82%AC"] {
        let request = Request::get(path).header("host", "h:1").body(Vec::new()).unwrap();
        let (parts, body) = header_signer("ssmmessages").sign(request);
        assert!(verify(&parts, &body).is_ok(), "{path}");
    }
}

#[test]
fn every_changed_part_is_refused() {
    let good = header_signer("ssm").sign(api());
    let change = |f: &dyn Fn(&mut Parts, &mut Vec<u8>)| {
        let (mut parts, mut body) = good.clone();
        f(&mut parts, &mut body);
        verify(&parts, &body)
    };
    assert!(change(&|_, _| {}).is_ok());
    assert!(change(&|_, body| body.push(b' ')).is_err());
    assert!(change(&|parts, _| parts.method = http::Method::PUT).is_err());
    assert!(change(&|parts, _| parts.uri = "/x".parse().unwrap()).is_err());
    assert!(change(&|parts, _| parts.uri = "/?x=1".parse().unwrap()).is_err());
    assert!(
        change(&|parts, _| {
            parts.headers.insert("x-amz-target", "AmazonSSM.X".parse().unwrap());
        })
        .is_err()
    );
    assert!(
        change(&|parts, _| {
            parts.headers.append("x-amz-target", "AmazonSSM.X".parse().unwrap());
        })
        .is_err()
    );
    assert!(
        change(&|parts, _| {
            parts.headers.insert("host", "other".parse().unwrap());
        })
        .is_err()
    );
    assert!(
        change(&|parts, _| {
            parts.headers.remove("content-type");
        })
        .is_err()
    );
    let (parts, body) = &good;
    let claim = Claim::read(parts).unwrap().unwrap();
    assert!(claim.verify(parts, body, "other", OffsetDateTime::now_utc()).is_err());
}

#[test]
fn a_target_outside_the_signature_is_refused() {
    let mut request = api();
    request.headers_mut().remove("x-amz-target");
    let (mut parts, body) = header_signer("ssm").sign(request);
    parts.headers.insert("x-amz-target", "AmazonSSM.StartSession".parse().unwrap());
    let error = verify(&parts, &body).unwrap_err();
    assert!(error.to_string().contains("X-Amz-Target"), "{error}");
}

#[test]
fn dates_more_than_five_minutes_off_are_refused() {
    for (at, word) in [
        (SystemTime::now() - StdDuration::from_secs(310), "expired"),
        (SystemTime::now() + StdDuration::from_secs(310), "not yet current"),
    ] {
        let (parts, body) = Signer { at, ..header_signer("ssm") }.sign(api());
        assert!(verify(&parts, &body).unwrap_err().to_string().contains(word));
    }
    for seconds in [-290, 290_i64] {
        let now = SystemTime::now();
        let shift = StdDuration::from_secs(seconds.unsigned_abs());
        let at = if seconds < 0 { now - shift } else { now + shift };
        let (parts, body) = Signer { at, ..header_signer("ssm") }.sign(api());
        assert!(verify(&parts, &body).is_ok());
    }
}

#[test]
fn malformed_claims_are_named() {
    let long = "0".repeat(64);
    for header in [
        "Bearer x".to_owned(),
        "AWS4-HMAC-SHA256".to_owned(),
        format!("AWS4-HMAC-SHA256 Credential=k/20261122/r/s/aws4_request, Signature={long}"),
        format!("AWS4-HMAC-SHA256 Credential=k/r/s/aws4_request, SignedHeaders=host, Signature={long}"),
        format!("AWS4-HMAC-SHA256 Credential=k/20261122/r/s/aws4_request, SignedHeaders=host;a, Signature={long}"),
        format!("AWS4-HMAC-SHA256 Credential=k/20261122/r/s/aws4_request, SignedHeaders=x, Signature={long}"),
        format!("AWS4-HMAC-SHA256 Credential=k/20261123/r/s/aws4_request, SignedHeaders=host, Signature={long}"),
        "AWS4-HMAC-SHA256 Credential=k/20261122/r/s/aws4_request, SignedHeaders=host, Signature=zz".to_owned(),
        format!("AWS4-HMAC-SHA256 Signature={long}, Signature={long}"),
    ] {
        assert!(Claim::from_header(&header, "20261122T000000Z", None).is_err(), "{header}");
    }
}

proptest! {
    #[test]
    fn arbitrary_claims_never_panic(header in "\\PC{0,200}", date in "\\PC{0,20}", query in "\\PC{0,200}") {
        let _ = Claim::from_header(&header, &date, None);
        let _ = Claim::from_header(&format!("AWS4-HMAC-SHA256 {header}"), &date, Some("t"));
        let _ = Claim::from_query(&query);
        let _ = canonical_query(&query);
    }

    #[test]
    fn any_query_and_header_value_verifies(value in "[ -~]{0,40}", name in "[a-zA-Z0-9 /+&=%~._-]{1,20}") {
        let mut query = String::new();
        encode(&mut query, name.as_bytes(), false);
        query.push('=');
        encode(&mut query, value.as_bytes(), false);
        let mut request = upgrade(&query);
        request.headers_mut().insert("x-odd", value.parse().unwrap());
        let (parts, body) = header_signer("ssmmessages").sign(request);
        prop_assert!(verify(&parts, &body).is_ok());
    }
}
