//! Services of AWS that are not ours: moto, which others test their programs with. It evaluates nothing, and takes and gives what is on
//! the wire.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use futures_util::future::BoxFuture;
use portcullis_folder::FolderKey;
use tokio::net::TcpStream;
use tokio::time::timeout;
use uuid::Uuid;

use super::PATIENCE;
use crate::backend::aws::{KmsKeys, KmsOptions};
use crate::evidence::{DataKeys, Encryption};

/// One that runs until this is dropped.
pub(crate) struct Moto {
    server: Child,
    pub(crate) url: String,
}

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

impl Moto {
    pub(crate) async fn start() -> Self {
        let setup = Command::new("scripts/setup.sh").arg("moto_server").current_dir(ROOT).output().unwrap();
        assert!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stderr));
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Command::new(format!("{ROOT}/target/moto/bin/moto_server"));
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

    /// The credentials that it takes, as it takes any.
    pub(crate) fn credentials() -> Credentials {
        Credentials::new("AKIAIOSFODNN7EXAMPLE", "secret", None, None, "test")
    }

    /// What somebody does with AWS's own library for Python, whose client for KMS is `kms`; what it prints.
    pub(crate) fn kms(&self, code: &str) -> String {
        let client = format!(
            "import boto3\nkms = boto3.client('kms', 'eu-west-1', endpoint_url='{}', aws_access_key_id='a', aws_secret_access_key='b')\n{code}",
            self.url
        );
        let ran = Command::new(format!("{ROOT}/target/moto/bin/python3")).args(["-c", &client]).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap().trim().to_owned()
    }

    /// A new key, by its ARN.
    pub(crate) fn kms_key(&self) -> String {
        self.kms("print(kms.create_key()['KeyMetadata']['Arn'])")
    }

    /// Data keys by a key of that name.
    pub(crate) fn keys(&self, key: &str) -> KmsKeys {
        keys_at(&self.url, key)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Data keys of a service that is there, or is not.
pub(crate) fn keys_at(url: &str, key: &str) -> KmsKeys {
    let options = KmsOptions {
        key: Some(key.to_owned()),
        region: Some("eu-west-1".to_owned()),
        endpoint: Some(url.to_owned()),
        credentials: Some(Moto::credentials()),
        ..KmsOptions::default()
    };
    KmsKeys::start(options).unwrap()
}

/// Evidence that is encrypted by them.
pub(crate) fn encryption(keys: KmsKeys) -> Encryption {
    #[derive(Debug)]
    struct Keys(KmsKeys);

    impl DataKeys for Keys {
        fn generate<'a>(&'a self, session: Uuid, gateway: &'a str) -> BoxFuture<'a, Result<FolderKey, String>> {
            Box::pin(self.0.generate(session, gateway))
        }
    }

    Encryption::by(Arc::new(Keys(keys)))
}
