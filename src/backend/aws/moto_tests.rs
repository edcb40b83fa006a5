//! People's roles from an STS, and users' keys from an IAM, that are not ours: moto, which others test their programs with. It
//! evaluates nothing, and takes and gives what is on the wire.

use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_sts as sts;

use super::*;
use crate::backend::UserKeys as _;
use crate::backend::lanes::SessionRequest;
use crate::identity::{Identity, Role, signed_in_saying};
use crate::model::{RealmName, RoleArn};
use crate::policy::{Action, Grant};
use crate::testing::{Moto, keygen};

/// It as the whole of AWS.
async fn backend_of(moto: &Moto) -> AwsBackend {
    let options = AwsOptions {
        region: Some("eu-west-1".into()),
        endpoint_ssm: Some(moto.url.clone()),
        endpoint_sts: Some(moto.url.clone()),
        endpoint_iam: Some(moto.url.clone()),
        credentials: Some(Moto::credentials()),
        ..AwsOptions::default()
    };
    AwsBackend::new(RealmName::for_test(), options).await.unwrap()
}

const PEOPLE: &str = "arn:aws:iam::123456789012:role/portcullis-people";

fn role(name: &str) -> Role {
    let external_id = Some("realm-1".to_owned());
    Role { arn: RoleArn::parse(name).unwrap(), external_id, duration: Duration::from_secs(900), web_identity: None }
}

/// Somebody's credentials, and who moto says that they are by them.
async fn seen_as(backend: &AwsBackend, identity: Identity) -> (Credentials, String) {
    let inner = backend.inner();
    let grant = Grant::for_test_to(identity, "i-0123456789abcdef0", Action::Shell);
    let caller = inner.persons.caller(&inner.clients, &grant, &SessionRequest::new("Portcullis-OutLane")).unwrap();
    let credentials = caller.credentials(&inner.clients).await.unwrap();
    assert!(credentials.access_key_id().starts_with("ASIA") && credentials.session_token().is_some());
    let config = inner.clients.sts.config().to_builder().credentials_provider(credentials.clone());
    let who = sts::Client::from_conf(config.build()).get_caller_identity().send().await.unwrap();
    assert_eq!(who.account(), Some("123456789012"));
    (credentials, who.arn().unwrap().to_owned())
}

#[tokio::test]
async fn moto_gives_out_a_person_s_role_and_knows_them_by_it() {
    let moto = Moto::start().await;
    let backend = backend_of(&moto).await;
    let ann = Identity::for_test_in("ann@example.com", &["dev", "on call"]).in_role(Arc::new(role(PEOPLE)));
    let (credentials, arn) = seen_as(&backend, ann).await;
    let left = credentials.expiry().unwrap().duration_since(std::time::SystemTime::now()).unwrap();
    assert!((800..=900).contains(&left.as_secs()), "{left:?}");
    assert_eq!(arn, "arn:aws:sts::123456789012:assumed-role/portcullis-people/ann@example.com");
}

#[tokio::test]
async fn moto_gives_out_a_role_for_a_person_s_own_token_and_another_from_there() {
    let moto = Moto::start().await;
    let backend = backend_of(&moto).await;
    let signed_in = signed_in_saying("ada", serde_json::json!({}));
    let web = "arn:aws:iam::123456789012:role/portcullis-web";
    for name in [web, PEOPLE] {
        let role = Role { external_id: None, web_identity: Some(RoleArn::parse(web).unwrap()), ..role(name) };
        let ada = Identity::for_test_in("ada", &["dev"]).in_role(Arc::new(role)).by_sign_in(&signed_in);
        let (_, arn) = seen_as(&backend, ada).await;
        let last = name.rsplit('/').next().unwrap();
        assert_eq!(arn, format!("arn:aws:sts::123456789012:assumed-role/{last}/ada"));
    }
}

#[tokio::test]
async fn moto_has_the_keys_of_a_user_and_says_which_are_active() {
    let moto = Moto::start().await;
    let backend = backend_of(&moto).await;
    let iam = &backend.inner().clients.iam;
    let dir = tempfile::tempdir().unwrap();
    let mut keys = Vec::new();
    iam.create_user().user_name("ada").send().await.unwrap();
    for name in ["one", "two"] {
        keygen(&dir.path().join(name), &["-t", "rsa", "-b", "2048"]).await;
        let line = std::fs::read_to_string(dir.path().join(format!("{name}.pub"))).unwrap();
        let line = line.trim().to_owned();
        let uploaded = iam.upload_ssh_public_key().user_name("ada").ssh_public_key_body(&line).send().await.unwrap();
        keys.push((uploaded.ssh_public_key.unwrap().ssh_public_key_id, line));
    }
    let [(first, line), (second, _)] = &keys[..] else { panic!("{keys:?}") };
    let mut active = backend.active_keys("ada").await.unwrap().unwrap();
    active.sort();
    let mut both = vec![first.clone(), second.clone()];
    both.sort();
    assert_eq!(active, both);
    assert_eq!(backend.key_text("ada", first).await, Ok(Some(line.clone())));
    let inactive = aws_sdk_iam::types::StatusType::Inactive;
    iam.update_ssh_public_key().user_name("ada").ssh_public_key_id(second).status(inactive).send().await.unwrap();
    assert_eq!(backend.active_keys("ada").await, Ok(Some(vec![first.clone()])));
    iam.delete_ssh_public_key().user_name("ada").ssh_public_key_id(first).send().await.unwrap();
    assert_eq!(backend.active_keys("ada").await, Ok(Some(Vec::new())));
    assert_eq!((backend.key_text("ada", first).await, backend.active_keys("eve").await), (Ok(None), Ok(None)));
}
