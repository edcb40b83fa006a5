//! What was asked about and what is signed are two things, and only what is signed proves anything.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use russh::keys::PrivateKey;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_key::Signature;

use super::wire::{Raw, string};
use crate::identity::{Authority, People, Revocations};
use crate::testing::{TestGateway, finish, keygen, text};

const ED25519: &str = "ssh-ed25519";

struct Key(PrivateKey);

impl Key {
    fn of(gateway: &TestGateway, name: &str) -> Self {
        Self(PrivateKey::from_openssh(std::fs::read_to_string(gateway.path(name)).unwrap()).unwrap())
    }

    fn public(&self) -> Vec<u8> {
        self.0.public_key().to_bytes().unwrap()
    }

    fn sign(&self, data: &[u8]) -> Vec<u8> {
        let signature: Signature = self.0.try_sign(data).unwrap();
        [ED25519.as_bytes(), signature.as_bytes()].map(string).concat()
    }
}

async fn accepted(gateway: &TestGateway) -> String {
    gateway.event(|event| event["event"] == "login.accepted").await["person"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn au1_a_key_that_was_asked_about_proves_nothing_by_another_s_signature() {
    let gateway = TestGateway::start().await;
    let (ada, bob) = (Key::of(&gateway, "ada"), Key::of(&gateway, "bob"));
    let mut raw = Raw::encrypted(gateway.address).await;
    assert_eq!(raw.offer_key("web-1", ED25519, &ada.public()).await.0, 60);
    assert!(!raw.prove("web-1", ED25519, &ada.public(), |data| bob.sign(data)).await, "ada's key by bob's signature");
    assert_eq!(raw.offer_key("web-1", ED25519, &ada.public()).await.0, 60);
    // and whoever signs is who it is, whichever was asked about
    assert!(raw.prove("web-1", ED25519, &bob.public(), |data| bob.sign(data)).await);
    assert_eq!(accepted(&gateway).await, "bob");
}

#[tokio::test]
async fn au2_who_is_named_is_named_by_what_is_signed() {
    let gateway = TestGateway::start().await;
    let ada = Key::of(&gateway, "ada");
    let mut raw = Raw::encrypted(gateway.address).await;
    assert_eq!(raw.offer_key("ada/web-1", ED25519, &ada.public()).await.0, 60);
    assert!(!raw.prove("bob/web-1", ED25519, &ada.public(), |data| ada.sign(data)).await, "another's name");
    // a signature over one name is none over another
    let mut other = Raw::encrypted(gateway.address).await;
    let name = |data: &[u8], from: &[u8], to: &[u8]| {
        let at = data.windows(from.len()).position(|found| found == from).unwrap();
        [&data[..at], to, &data[at + from.len()..]].concat()
    };
    let renamed = |data: &[u8]| ada.sign(&name(data, b"ada/web-1", b"ada/web-2"));
    assert!(!other.prove("ada/web-1", ED25519, &ada.public(), renamed).await);
    assert!(other.prove("ada/web-1", ED25519, &ada.public(), |data| ada.sign(data)).await);
    assert_eq!(accepted(&gateway).await, "ada");
}

#[tokio::test]
async fn the_service_may_be_asked_for_before_each_attempt() {
    let gateway = TestGateway::start().await;
    let (ada, bob) = (Key::of(&gateway, "ada"), Key::of(&gateway, "bob"));
    let mut raw = Raw::encrypted(gateway.address).await;
    for _ in 0..2 {
        assert!(!raw.prove("ada/web-1", ED25519, &ada.public(), |data| bob.sign(data)).await, "asking proves nothing");
        raw.ask_to_log_in_again().await;
    }
    assert!(raw.prove("ada/web-1", ED25519, &ada.public(), |data| ada.sign(data)).await);
    assert_eq!(accepted(&gateway).await, "ada");
}

#[tokio::test]
async fn au5_a_signature_over_another_connection_or_by_another_algorithm_s_name_is_none() {
    let gateway = TestGateway::start().await;
    let ada = Key::of(&gateway, "ada");
    let mut raw = Raw::encrypted(gateway.address).await;
    let another_connection = |data: &[u8]| {
        let mut data = data.to_vec();
        data[8] ^= 1;
        ada.sign(&data)
    };
    assert!(!raw.prove("web-1", ED25519, &ada.public(), another_connection).await);
    let another_name = |data: &[u8]| {
        let signature = ada.sign(data);
        [string(b"rsa-sha2-512"), signature[4 + ED25519.len()..].to_vec()].concat()
    };
    assert!(!raw.prove("web-1", ED25519, &ada.public(), another_name).await);
    assert!(raw.prove("web-1", ED25519, &ada.public(), |data| ada.sign(data)).await);
}

#[tokio::test]
async fn au1_a_certificate_that_was_asked_about_lends_nothing_to_another_of_the_same_key() {
    let gateway = TestGateway::start().await;
    keygen(&gateway.path("ca"), &["-t", "ed25519"]).await;
    let mut certificates = Vec::new();
    for (serial, names) in [("1", "ada"), ("2", "ada"), ("3", "ada,bob")] {
        let mut sign = tokio::process::Command::new("ssh-keygen");
        sign.args(["-q", "-s"]).arg(gateway.path("ca")).args(["-I", "ada", "-z", serial, "-n", names]);
        let made = finish({
            sign.arg(gateway.path("ada.pub"));
            sign
        });
        assert!(made.await.status.success());
        let line = std::fs::read_to_string(gateway.path("ada-cert.pub")).unwrap();
        certificates.push(STANDARD.decode(line.split(' ').nth(1).unwrap()).unwrap());
    }
    std::fs::write(gateway.path("gone"), "serial: 2\n").unwrap();
    let mut krl = tokio::process::Command::new("ssh-keygen");
    krl.args(["-q", "-k", "-f"])
        .arg(gateway.path("krl"))
        .arg("-s")
        .arg(gateway.path("ca.pub"))
        .arg(gateway.path("gone"));
    let made = finish(krl).await;
    assert!(made.status.success(), "{}", text(&made.stderr));
    let mut revoked = Revocations::default();
    revoked.add_file(Some(&std::fs::read(gateway.path("krl")).unwrap())).unwrap();
    let mut people = People::new([("ada", &[][..]), ("bob", &[])]).unwrap();
    let authority = Arc::new(Authority { name: "corp".to_owned(), revoked, ..Authority::default() });
    let line = std::fs::read_to_string(gateway.path("ca.pub")).unwrap();
    people.add_authority_key(&authority, &line).unwrap();
    gateway.roster.replace(people);

    let (ada, kind) = (Key::of(&gateway, "ada"), "ssh-ed25519-cert-v01@openssh.com");
    let mut raw = Raw::encrypted(gateway.address).await;
    assert_eq!(raw.offer_key("web-1", kind, &certificates[0]).await.0, 60);
    assert!(!raw.prove("web-1", kind, &certificates[1], |data| ada.sign(data)).await, "one that is revoked");
    assert_eq!(raw.offer_key("ada/web-1", kind, &certificates[2]).await.0, 60);
    assert!(!raw.prove("web-1", kind, &certificates[2], |data| ada.sign(data)).await, "one that does not say whose");
    assert!(raw.prove("bob/web-1", kind, &certificates[2], |data| ada.sign(data)).await);
    assert_eq!(accepted(&gateway).await, "bob");
}
