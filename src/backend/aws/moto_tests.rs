//! People's roles from an STS that is not ours: moto, which others test their programs with. It evaluates nothing, and takes
//! and gives what is on the wire.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_sts as sts;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;
use crate::backend::lanes::SessionRequest;
use crate::identity::{Identity, Role};
use crate::model::{RealmName, RoleArn};
use crate::policy::{Action, Grant};
use crate::testing::PATIENCE;

/// One that runs until this is dropped.
struct Moto {
    server: Child,
    url: String,
}

impl Moto {
    async fn start() -> Self {
        let root = env!("CARGO_MANIFEST_DIR");
        let setup = Command::new("scripts/setup.sh").arg("moto_server").current_dir(root).output().unwrap();
        assert!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stderr));
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Command::new(format!("{root}/target/moto/bin/moto_server"));
        server.args(["-H", "127.0.0.1", "-p", &port.to_string()]).stdin(Stdio::null());
        let server = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let moto = Self { server, url: format!("http://127.0.0.1:{port}") };
        let listens = async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, listens).await.expect("moto listens");
        moto
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[tokio::test]
async fn moto_gives_out_a_person_s_role_and_knows_them_by_it() {
    let moto = Moto::start().await;
    let options = AwsOptions {
        region: Some("eu-west-1".into()),
        endpoint_ssm: Some(moto.url.clone()),
        endpoint_sts: Some(moto.url.clone()),
        credentials: Some(Credentials::new("AKIAIOSFODNN7EXAMPLE", "secret", None, None, "test")),
        ..AwsOptions::default()
    };
    let backend = AwsBackend::new(RealmName::for_test(), options).await.unwrap();
    let inner = backend.inner();
    let arn = RoleArn::parse("arn:aws:iam::123456789012:role/portcullis-people").unwrap();
    let role = Role { arn, external_id: Some("realm-1".to_owned()), duration: Duration::from_secs(900) };
    let ann = Identity::for_test_in("ann@example.com", &["dev", "on call"]).in_role(Arc::new(role));
    let grant = Grant::for_test_to(ann, "i-0123456789abcdef0", Action::Shell);
    let caller = inner.persons.caller(&inner.clients, &grant, &SessionRequest::new("Portcullis-OutLane")).unwrap();
    let credentials = caller.credentials(&inner.clients).await.unwrap();
    assert!(credentials.access_key_id().starts_with("ASIA") && credentials.session_token().is_some());
    let left = credentials.expiry().unwrap().duration_since(std::time::SystemTime::now()).unwrap();
    assert!((800..=900).contains(&left.as_secs()), "{left:?}");
    let config = inner.clients.sts.config().to_builder().credentials_provider(credentials);
    let who = sts::Client::from_conf(config.build()).get_caller_identity().send().await.unwrap();
    let arn = "arn:aws:sts::123456789012:assumed-role/portcullis-people/ann@example.com";
    assert_eq!((who.arn(), who.account()), (Some(arn), Some("123456789012")));
}
