//! Keys from a KMS that is not ours, and from none.

use std::time::Instant;

use aws_sdk_kms::error::ErrorMetadata;
use aws_sdk_kms::operation::decrypt::DecryptError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use portcullis_folder::File;

use super::*;
use crate::testing::{Moto, keys_at};

const SESSION: Uuid = Uuid::from_u128(7);

async fn unwrapped(keys: &KmsKeys, wrapped: &WrappedKey) -> Result<DataKey, String> {
    let (keys, wrapped) = (keys.clone(), wrapped.clone());
    tokio::task::spawn_blocking(move || keys.unwrap(&wrapped).map_err(|error| error.0)).await.unwrap()
}

#[tokio::test]
async fn a_session_s_key_is_given_out_once_and_again_only_for_that_session() {
    let moto = Moto::start().await;
    let arn = moto.kms_key();
    moto.kms(&format!("kms.create_alias(AliasName='alias/evidence', TargetKeyId='{arn}')"));
    for name in [arn.as_str(), "alias/evidence"] {
        let keys = moto.keys(name);
        let made = keys.generate(SESSION, "portcullis/gate-1").await.unwrap();
        // the key itself stands in the folder, whatever it was called
        assert_eq!(made.wrapped.kms_key, arn);
        assert_eq!(made.wrapped.encryption_context, WrappedKey::context(SESSION, "portcullis/gate-1"));
        let line = made.key.line(File::Events, 1, b"what was said").unwrap();
        let line = line.strip_suffix(b"\n").unwrap();
        let again = unwrapped(&keys, &made.wrapped).await.unwrap();
        assert_eq!(again.open(File::Events, 1, line).unwrap().as_slice(), b"what was said");
        // each has its own
        let other = keys.generate(SESSION, "portcullis/gate-1").await.unwrap();
        assert!(other.key.open(File::Events, 1, line).is_err());
        // and AWS KMS gives it out for no other session, and no other gateway
        for context in [WrappedKey::context(Uuid::nil(), "portcullis/gate-1"), WrappedKey::context(SESSION, "other")] {
            let wrapped = WrappedKey { encryption_context: context, ..made.wrapped.clone() };
            let why = unwrapped(&keys, &wrapped).await.unwrap_err();
            assert!(why.contains("it is of another session, or was changed"), "{why}");
        }
    }
    // somebody else's library opens it as well, being told the same
    let made = moto.keys(&arn).generate(SESSION, "portcullis/gate-1").await.unwrap();
    let opened = moto.kms(&format!(
        "import base64\nprint(len(kms.decrypt(CiphertextBlob=base64.b64decode('{}'), EncryptionContext={{'portcullis:session': '{SESSION}', 'portcullis:gateway': 'portcullis/gate-1'}})['Plaintext']))",
        made.wrapped.wrapped
    ));
    assert_eq!(opened, "32");
}

#[tokio::test]
async fn a_key_that_is_not_to_be_had_is_a_sentence_and_names_no_secret() {
    let moto = Moto::start().await;
    let arn = moto.kms_key();
    let none = arn.replace(arn.rsplit('/').next().unwrap(), "00000000-0000-0000-0000-000000000000");
    let why = moto.keys(&none).generate(SESSION, "g").await.unwrap_err();
    assert!(why.contains("there is no key") && why.contains("evidence.kms_key"), "{why}");
    for bad in ["", "key with blanks", "a\nb"] {
        let why = KmsKeys::start(KmsOptions { key: Some(bad.to_owned()), ..KmsOptions::default() }).unwrap_err();
        assert!(why.contains("no ARN of a key"), "{why}");
    }
}

#[tokio::test]
async fn nobody_waits_longer_than_the_bound_for_a_service_that_says_nothing() {
    // it takes connections, and never answers
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_url = format!("http://{}", silent.local_addr().unwrap());
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    for url in [silent_url, closed] {
        let began = Instant::now();
        let why = keys_at(&url, "alias/evidence").generate(SESSION, "g").await.unwrap_err();
        assert!(why.contains("AWS KMS could not be reached for GenerateDataKey"), "{why}");
        assert!(began.elapsed() < ALL_ATTEMPTS + Duration::from_secs(2), "{:?}", began.elapsed());
    }
}

#[test]
fn what_aws_refuses_is_told_with_the_next_step() {
    let said = |code: &str| {
        let error = ErrorMetadata::builder().code(code).message("User: x is not authorized\u{1b}[0m").build();
        let raw = HttpResponse::new(StatusCode::try_from(400).unwrap(), SdkBody::empty());
        sentence("Decrypt", "alias/evidence", &SdkError::service_error(DecryptError::generic(error), raw))
    };
    for (code, says) in [
        ("AccessDeniedException", "refuses kms:Decrypt on alias/evidence: User: x is not authorized"),
        ("AccessDeniedException", "deploy/iam/evidence-keys.json"),
        ("ExpiredTokenException", "does not accept the credentials"),
        ("ThrottlingException", "throttling Decrypt"),
        ("NotFoundException", "there is no key alias/evidence"),
        ("InvalidCiphertextException", "it is of another session, or was changed"),
        ("DisabledException", "refuses Decrypt on alias/evidence (DisabledException)"),
        ("KMSInternalException", "refuses Decrypt"),
    ] {
        let text = said(code);
        assert!(text.contains(says) && !text.contains('\u{1b}'), "{code}: {text}");
    }
}

#[test]
fn the_region_is_that_of_the_arn() {
    assert_eq!(region_of("arn:aws:kms:eu-west-1:111122223333:key/1").as_deref(), Some("eu-west-1"));
    assert_eq!(region_of("arn:aws-cn:kms:cn-north-1:111122223333:alias/a").as_deref(), Some("cn-north-1"));
    for none in ["alias/evidence", "arn:aws:s3:eu-west-1:1:x", "arn:aws:kms::1:key/1", "", "1234"] {
        assert_eq!(region_of(none), None, "{none}");
    }
}
