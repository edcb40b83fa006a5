//! An OpenID provider that is not ours (npm's oidc-provider, which is certified), and a person with a browser before it.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::{content, finish};

/// One that runs until this is dropped.
pub(crate) struct OpenId {
    server: Child,
    pub(crate) issuer: String,
}

/// What it is started and used by.
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oidc/provider.mjs");

impl OpenId {
    /// One that knows these people, by the claims that it says of them.
    pub(crate) async fn start(people: Value, more: Value) -> Self {
        let root = env!("CARGO_MANIFEST_DIR");
        let setup = Command::new("scripts/setup.sh").arg("oidc-provider").current_dir(root).output().await.unwrap();
        assert!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stderr));
        let mut options = json!({ "people": people });
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut server = Command::new("node");
        server.args([PROGRAM, "serve", &options.to_string()]).stdin(Stdio::null()).kill_on_drop(true);
        let mut server = server.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
        let issuer = lines.next_line().await.unwrap().expect("the provider says where it is");
        Self { server, issuer }
    }

    /// The keys that it publishes, as whoever believes its tokens gets them.
    pub(crate) async fn keys(&self) -> String {
        let host = self.issuer.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(host).await.unwrap();
        let request = format!("GET /jwks HTTP/1.0\r\nhost: {host}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// Somebody opens the address and signs in.
    pub(crate) async fn sign_in(&self, url: &str, name: &str) {
        assert_eq!(self.tries_to_sign_in(url, name).await, "200 Sign-in Success");
    }

    /// The same, whatever comes of it; the title of the page where it ends.
    pub(crate) async fn tries_to_sign_in(&self, url: &str, name: &str) -> String {
        assert!(url.starts_with(&self.issuer), "{url}");
        let mut browser = Command::new("node");
        browser.args([PROGRAM, "sign-in", url, name]);
        content(&finish(browser).await).trim().to_owned()
    }

    /// Somebody opens the address and says no.
    pub(crate) async fn deny(&self, url: &str) {
        let mut browser = Command::new("node");
        browser.args([PROGRAM, "deny", url]);
        content(&finish(browser).await);
    }

    /// It stands to nothing any more that it gave.
    pub(crate) fn sign_everybody_out(&self) {
        let process = rustix::process::Pid::from_raw(self.server.id().unwrap().cast_signed()).unwrap();
        rustix::process::kill_process(process, rustix::process::Signal::USR2).unwrap();
    }

    /// It is gone.
    pub(crate) async fn stop(&mut self) {
        self.server.kill().await.unwrap();
    }
}
