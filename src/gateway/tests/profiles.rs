//! Which algorithms are spoken with whom, as old clients, new ones and those who judge servers see it.

use std::process::{Output, Stdio};

use tokio::process::Command;

use super::wire::{Offer, Raw, name_lists};
use crate::config::Algorithms;
use crate::gateway::SpokenWith;
use crate::identity::SourceList;
use crate::testing::{TestGateway, content, finish, keygen, text};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

async fn speaking(algorithms: Algorithms) -> TestGateway {
    TestGateway::with(|settings| settings.algorithms = algorithms).await
}

/// What clients of before 2014 have, and nothing else.
const OLD: [&str; 8] = [
    "-o",
    "KexAlgorithms=diffie-hellman-group14-sha1",
    "-o",
    "HostKeyAlgorithms=ssh-rsa",
    "-o",
    "Ciphers=aes128-cbc",
    "-o",
    "MACs=hmac-sha1",
];

async fn old(gateway: &TestGateway, more: &[&str]) -> Output {
    gateway.run(&[&OLD[..], more, &["web", "echo in"]].concat()).await
}

#[tokio::test]
async fn an_old_client_is_served_by_legacy_and_its_use_is_written_down() {
    let gateway = speaking(Algorithms::Legacy).await;
    assert_eq!(content(&old(&gateway, &[]).await), "in\n");
    for kex in ["diffie-hellman-group-exchange-sha1", "diffie-hellman-group-exchange-sha256"] {
        let ran = gateway.run(&["-o", &format!("KexAlgorithms={kex}"), "web", "echo in"]).await;
        assert_eq!(content(&ran), "in\n", "{kex}");
    }
    // what has no better way of signing, with a key that is good enough
    keygen(&gateway.path("rsa"), &["-t", "rsa", "-b", "2048"]).await;
    let public = std::fs::read_to_string(gateway.path("rsa.pub")).unwrap();
    let mut people = (*gateway.roster.current()).clone();
    assert_eq!(people.add_file("ada", public.as_bytes()), []);
    gateway.roster.replace(people);
    let key = gateway.path("rsa").display().to_string();
    let signs = ["-i", &key, "-o", "PubkeyAcceptedAlgorithms=ssh-rsa", "nokey", "echo in"];
    assert_eq!(content(&gateway.run(&[&OLD[..], &signs].concat()).await), "in\n");
    // a client of today has the same as ever
    assert_eq!(content(&gateway.run(&["web", "echo in"]).await), "in\n");
    let accepted: Vec<_> = gateway.events().into_iter().filter(|event| event["event"] == "login.accepted").collect();
    assert!(accepted.len() == 5 && accepted.iter().all(|event| event["profile"] == "legacy"), "{accepted:#?}");
}

#[tokio::test]
async fn an_old_client_is_served_by_nothing_else_and_the_journal_says_what_it_lacked() {
    for algorithms in [Algorithms::Modern, Algorithms::Compatible] {
        let gateway = speaking(algorithms).await;
        assert!(!old(&gateway, &[]).await.status.success());
        let event = gateway.event(|event| event["code"] == "no-common-algorithm").await;
        assert_eq!((&event["event"], &event["profile"]), (&"login.refused".into(), &algorithms.name().into()));
        let reason = event["reason"].as_str().unwrap();
        assert!(reason.contains("no key exchange in common") && reason.contains("group14-sha1"), "{reason}");
        gateway.works().await;
    }
}

#[tokio::test]
async fn a_network_has_algorithms_of_its_own() {
    let gateway = TestGateway::with(|settings| {
        settings.algorithms = Algorithms::Modern;
        let from = Some(SourceList::networks("127.0.0.64/26").unwrap());
        settings.algorithms_for = vec![SpokenWith { algorithms: Algorithms::Legacy, from, listeners: Vec::new() }];
    })
    .await;
    assert_eq!(content(&old(&gateway, &["-b", "127.0.0.65"]).await), "in\n");
    assert!(!old(&gateway, &["-b", "127.0.0.2"]).await.status.success());
    assert_eq!(content(&gateway.run(&["-b", "127.0.0.2", "web", "echo in"]).await), "in\n");
    let profile = async |source: &str| {
        let accepted = |event: &serde_json::Value| {
            event["event"] == "login.accepted" && event["source"].as_str().unwrap().starts_with(source)
        };
        gateway.event(accepted).await["profile"].clone()
    };
    assert_eq!((profile("127.0.0.65:").await, profile("127.0.0.2:").await), ("legacy".into(), "modern".into()));
}

#[tokio::test]
async fn dropbear_and_putty_as_they_are_get_in() {
    let gateway = speaking(Algorithms::Modern).await;
    let port = gateway.address.port().to_string();
    let mut make = Command::new("dropbearkey");
    make.args(["-t", "ed25519", "-f"]).arg(gateway.path("dropbear")).stdout(Stdio::piped());
    let made = text(&finish(make).await.stdout);
    let line = made.lines().find(|line| line.starts_with("ssh-ed25519 ")).unwrap();
    let mut people = (*gateway.roster.current()).clone();
    assert_eq!(people.add_file("ada", line.as_bytes()), []);
    gateway.roster.replace(people);
    let mut dbclient = Command::new("dbclient");
    dbclient.args(["-y", "-y", "-p", &port, "-i"]).arg(gateway.path("dropbear")).args(["web-1@127.0.0.1", "echo in"]);
    dbclient.env("HOME", gateway.dir.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    assert_eq!(content(&finish(dbclient).await), "in\n");

    let mut convert = Command::new("puttygen");
    convert.arg(gateway.path("ada")).args(["-O", "private", "-o"]).arg(gateway.path("ada.ppk"));
    assert!(finish(convert).await.status.success());
    let mut print = Command::new("ssh-keygen");
    print.arg("-lf").arg(gateway.path("known_hosts")).stdout(Stdio::piped());
    let printed = text(&finish(print).await.stdout);
    let mut plink = Command::new("plink");
    plink.args(["-ssh", "-batch", "-P", &port, "-l", "web-1", "-i"]).arg(gateway.path("ada.ppk"));
    for line in printed.lines() {
        plink.args(["-hostkey", line.split(' ').nth(1).unwrap()]);
    }
    plink.args(["127.0.0.1", "echo in"]).env("HOME", gateway.dir.path());
    plink.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    assert_eq!(content(&finish(plink).await).trim(), "in");
}

/// Terrapin (CVE-2023-48795): with these ciphers, and without strict key exchange.
#[tokio::test]
async fn t2_a_client_that_terrapin_could_rob_is_not_served() {
    let kex = || "curve25519-sha256,ext-info-c".to_owned();
    let chacha = || "chacha20-poly1305@openssh.com".to_owned();
    let etm = || "hmac-sha2-256-etm@openssh.com".to_owned();
    for (algorithms, cipher, mac) in [
        (Algorithms::Modern, chacha(), etm()),
        (Algorithms::Compatible, chacha(), etm()),
        (Algorithms::Legacy, "aes128-cbc".to_owned(), etm()),
    ] {
        let gateway = speaking(algorithms).await;
        let mut raw = Raw::connect(gateway.address).await;
        raw.send_kexinit(&Offer { kex: kex(), cipher, mac, ..Offer::default() }).await;
        let farewell = text(&raw.until(1).await);
        assert!(farewell.contains("no strict key exchange") && farewell.contains("ssh -c"), "{farewell}");
        assert!(raw.gets_hung_up_on(crate::testing::SOON).await);
        let event = gateway.event(|event| event["code"] == "client-too-old").await;
        assert_eq!((&event["event"], &event["profile"]), (&"login.refused".into(), &algorithms.name().into()));
        // such a client with another cipher is served
        let mut raw = Raw::connect(gateway.address).await;
        if algorithms != Algorithms::Modern {
            let ours = raw.send_kexinit(&Offer { kex: kex(), ..Offer::default() }).await;
            raw.finish_exchange(&ours, |_| ()).await;
            raw.log_in("web-1", &gateway.key("ada")).await;
        }
        gateway.works().await;
    }
    let legacy = speaking(Algorithms::Legacy).await;
    let lists = name_lists(&Raw::connect(legacy.address).await.receive().await);
    assert!(lists[2..6].iter().all(|list| !list.contains("chacha20")), "{lists:?}");
}

/// What `ssh-audit` says against the default. That X25519 alone is no protection from a quantum computer is true, and clients of
/// before 2025 have nothing else: it is the client that chooses, and ML-KEM comes first.
#[tokio::test(flavor = "multi_thread")]
async fn ssh_audit_finds_nothing_to_mend_in_the_default() {
    let setup = std::process::Command::new("scripts/setup.sh").arg("ssh-audit").current_dir(ROOT).output().unwrap();
    assert!(setup.status.success(), "{}", text(&setup.stderr));
    let gateway = speaking(Algorithms::default()).await;
    let mut audit = Command::new(format!("{ROOT}/target/ssh-audit/bin/ssh-audit"));
    audit.args(["--json", "--skip-rate-test", "-p", &gateway.address.port().to_string(), "127.0.0.1"]);
    audit.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let said = text(&finish(audit).await.stdout);
    let report: serde_json::Value = serde_json::from_str(&said).expect(&said);
    let mut found = Vec::new();
    for kind in ["kex", "key", "enc", "mac"] {
        let algorithms = report[kind].as_array().expect(&said);
        assert!(!algorithms.is_empty(), "{said}");
        for algorithm in algorithms {
            for level in ["fail", "warn"] {
                for note in algorithm["notes"][level].as_array().into_iter().flatten() {
                    let name = algorithm["algorithm"].as_str().unwrap();
                    found.push(format!("{level}: {name}: {}", note.as_str().unwrap()));
                }
            }
        }
    }
    let quantum = "does not provide protection against post-quantum attacks";
    assert_eq!(
        found,
        ["curve25519-sha256", "curve25519-sha256@libssh.org"].map(|name| format!("warn: {name}: {quantum}"))
    );
    assert_eq!(report["kex"][0]["algorithm"], "mlkem768x25519-sha256");
    // it names Terrapin among these where a server has no strict key exchange
    assert!(report["cves"].as_array().is_none_or(Vec::is_empty), "{}", report["cves"]);
    let strict = |kex: &serde_json::Value| kex["algorithm"] == "kex-strict-s-v00@openssh.com";
    assert!(report["kex"].as_array().unwrap().iter().any(strict), "{said}");
}
