//! Several host keys: which are shown, and how OpenSSH's client learns the others.

use super::wire::{Raw, string};
use crate::config::Algorithms;
use crate::testing::{TestGateway, content};

/// The client knows one key of the gateway, is told the others, has them proved, and writes them down.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_learns_every_host_key_by_one_that_it_knows() {
    for (algorithms, knows) in [(Algorithms::Compatible, "ssh-ed25519"), (Algorithms::Legacy, "ssh-rsa")] {
        let gateway = TestGateway::with(|settings| settings.algorithms = algorithms).await;
        let known = std::fs::read_to_string(gateway.path("known_hosts")).unwrap();
        let all = known.lines().count();
        let first: String = known.lines().filter(|line| line.contains(knows)).map(|line| format!("{line}\n")).collect();
        assert_eq!(first.lines().count(), 1);
        std::fs::write(gateway.path("known_hosts"), &first).unwrap();
        // it asks for the kind that it knows, by itself
        let ran = gateway.run(&["-o", "UpdateHostKeys=yes", "web", "sleep 1; echo in"]).await;
        assert_eq!(content(&ran), "in\n");
        let learned = std::fs::read_to_string(gateway.path("known_hosts")).unwrap();
        let keys = |text: &str| {
            let mut keys: Vec<_> = text.lines().filter_map(|line| Some(line.split(' ').nth(2)?.to_owned())).collect();
            keys.sort();
            keys
        };
        assert_eq!((keys(&learned), learned.lines().count()), (keys(&known), all), "{learned}");
    }
}

#[tokio::test]
async fn only_our_own_keys_are_proved_and_only_to_clients_that_ask_for_some() {
    let gateway = TestGateway::start().await;
    let mut raw = Raw::logged_in(gateway.address, "web-1", &gateway.key("ada")).await;
    let other = gateway.key("bob").public_key().to_bytes().unwrap();
    let asks = |keys: &[u8]| [&[80], &string(b"hostkeys-prove-00@openssh.com")[..], &[1], keys].concat();
    for wrong in [Vec::new(), string(&other), string(b"no key")] {
        raw.send(&asks(&wrong)).await;
        raw.until(82).await;
    }
    let ours = gateway.key("host_key").public_key().to_bytes().unwrap();
    raw.send(&asks(&string(&ours))).await;
    let proof = raw.until(81).await;
    assert!(proof.len() > 64 && proof.windows(11).any(|window| window == b"ssh-ed25519"));
    // more often than there are keys is more than anybody needs
    raw.send(&asks(&string(&ours).repeat(9))).await;
    raw.until(82).await;
}
