//! Which keys and algorithms get in, and how long a refusal takes.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use russh::keys::PrivateKey;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_key::Signature;
use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use super::wire::{Raw, string, take};
use crate::identity::{People, RealmRoles, Roles};
use crate::testing::{TestGateway, finish, keygen, text};

#[tokio::test]
async fn each_kind_of_key_logs_in_and_weak_signatures_do_not() {
    let kinds: [(&str, &[&str]); 6] = [
        ("rsa2048", &["-t", "rsa", "-b", "2048"]),
        ("rsa3072", &["-t", "rsa", "-b", "3072"]),
        ("p256", &["-t", "ecdsa", "-b", "256"]),
        ("p384", &["-t", "ecdsa", "-b", "384"]),
        ("p521", &["-t", "ecdsa", "-b", "521"]),
        ("rsa1024", &["-t", "rsa", "-b", "1024"]),
    ];
    let gateway = TestGateway::with_keys(&kinds).await;
    for (name, _) in kinds {
        let key = gateway.path(name);
        let ran = gateway.run(&["-i", &key.display().to_string(), "nokey", "echo in"]).await;
        let expected = if name == "rsa1024" { "" } else { "in\n" };
        assert_eq!(text(&ran.stdout), expected, "{name}: {}", text(&ran.stderr));
    }
    let key = gateway.path("rsa2048").display().to_string();
    for (algorithm, gets_in) in [("rsa-sha2-512", true), ("rsa-sha2-256", true), ("ssh-rsa", false)] {
        let only = format!("PubkeyAcceptedAlgorithms={algorithm}");
        let ran = gateway.run(&["-i", &key, "-o", &only, "nokey", "echo in"]).await;
        assert_eq!(text(&ran.stdout) == "in\n", gets_in, "{algorithm}: {}", text(&ran.stderr));
    }
}

/// What JSch 0.1.54 and others of its age have: no ed25519.
#[tokio::test]
async fn a_client_that_knows_no_ed25519_finds_a_host_key() {
    let gateway = TestGateway::start().await;
    for kind in ["ssh-ed25519", "ecdsa-sha2-nistp256"] {
        let ran = gateway.run(&["-o", &format!("HostKeyAlgorithms={kind}"), "web", "echo in"]).await;
        assert_eq!(text(&ran.stdout), "in\n", "{kind}: {}", text(&ran.stderr));
    }
}

#[tokio::test]
async fn t7_keys_of_absurd_size_or_exponent_are_not_even_asked_for_a_signature() {
    let rsa = |bytes: usize, exponent: &[u8]| {
        [string(b"ssh-rsa"), string(exponent), string(&[&[0], &vec![0xff; bytes][..]].concat())].concat()
    };
    let good: &[u8] = &[1, 0, 1];
    let dss = [&b"ssh-dss"[..], &[0x7f; 128], &[0x7f; 20], &[0x7f; 128], &[0x7f; 128]].map(string).concat();
    let keys = [
        (rsa(256, good), "rsa-sha2-256", true),
        (rsa(1024, good), "rsa-sha2-512", true),
        (rsa(256, good), "ssh-rsa", false),
        (rsa(128, good), "rsa-sha2-256", false),
        (rsa(1025, good), "rsa-sha2-256", false),
        (rsa(2048, good), "rsa-sha2-256", false),
        (rsa(256, &[1]), "rsa-sha2-256", false),
        (rsa(256, &[1, 0, 0]), "rsa-sha2-256", false),
        (rsa(256, &[1, 0, 0, 0, 1]), "rsa-sha2-256", false),
        (rsa(256, &[0x7f; 256]), "rsa-sha2-256", false),
        (dss, "ssh-dss", false),
    ];
    // all of them are configured: what is refused is refused for what it is
    let lines: Vec<String> = keys
        .iter()
        .map(|(key, ..)| format!("{} {}", if key[8] == b'r' { "ssh-rsa" } else { "ssh-dss" }, STANDARD.encode(key)))
        .collect();
    let gateway = TestGateway::with_public_keys(&lines).await;
    for (key, algorithm, welcome) in &keys {
        let mut raw = Raw::encrypted(gateway.address).await;
        let (kind, answer) = raw.offer_key("web-1", algorithm, key).await;
        let expected = if *welcome { 60 } else { 51 };
        assert_eq!(kind, expected, "{algorithm} with a key of {} bytes: {answer:?}", key.len());
    }
}

/// What a security key would do, with keys that ssh-keygen made.
pub(super) struct Token {
    key: PrivateKey,
    algorithm: &'static str,
    public: Vec<u8>,
}

impl Token {
    pub(super) async fn both() -> Vec<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mut tokens = Vec::new();
        for (kind, algorithm) in
            [("ed25519", "sk-ssh-ed25519@openssh.com"), ("ecdsa", "sk-ecdsa-sha2-nistp256@openssh.com")]
        {
            let path = dir.path().join(kind);
            keygen(&path, &["-t", kind]).await;
            let key = PrivateKey::from_openssh(std::fs::read_to_string(path).unwrap()).unwrap();
            let plain = key.public_key().to_bytes().unwrap();
            let mut rest = &plain[..];
            take(&mut rest);
            let public = [&string(algorithm.as_bytes())[..], rest, &string(b"ssh:")].concat();
            tokens.push(Self { key, algorithm, public });
        }
        tokens
    }

    pub(super) fn line(&self) -> String {
        format!("{} {}", self.algorithm, STANDARD.encode(&self.public))
    }

    /// Whether it gets in, by a signature over these flags that says it has those.
    async fn proves(&self, gateway: &TestGateway, signed: u8, said: u8) -> bool {
        self.proves_as(gateway, self.algorithm, &self.public, signed, said).await
    }

    /// The same, with this for its public half: a certificate.
    pub(super) async fn proves_as(
        &self,
        gateway: &TestGateway,
        kind: &str,
        public: &[u8],
        signed: u8,
        said: u8,
    ) -> bool {
        let sign = |data: &[u8]| {
            let counter = 7_u32.to_be_bytes();
            let data = [&Sha256::digest("ssh:")[..], &[signed], &counter, &Sha256::digest(data)].concat();
            let signature: Signature = self.key.try_sign(&data).unwrap();
            [&string(self.algorithm.as_bytes())[..], &string(signature.as_bytes()), &[said], &counter].concat()
        };
        let mut raw = Raw::encrypted(gateway.address).await;
        raw.prove("web-1", kind, public, sign).await
    }
}

#[tokio::test]
async fn a_security_key_that_nobody_touched_proves_nothing() {
    let tokens = Token::both().await;
    let lines: Vec<String> = tokens.iter().map(Token::line).collect();
    let gateway = TestGateway::with_public_keys(&lines).await;
    for token in &tokens {
        // present, verified (which a PIN does), and flags that are not those that were signed
        for (signed, said, welcome) in [(1, 1, true), (5, 5, true), (0, 0, false), (4, 4, false), (0, 1, false)] {
            let proved = token.proves(&gateway, signed, said).await;
            assert_eq!(proved, welcome, "{}, flags {said} where {signed} is signed", token.algorithm);
        }
    }
}

#[tokio::test]
async fn au8_a_security_key_that_must_know_who_touches_it_proves_nothing_by_a_touch() {
    let tokens = Token::both().await;
    let lines: Vec<String> = tokens.iter().map(|token| format!("verify-required {}", token.line())).collect();
    let gateway = TestGateway::start().await;
    gateway.roster.replace(People::new([("ada", &lines[..])]).unwrap().in_roles(RealmRoles::for_test(Roles::Gateway)));
    for token in &tokens {
        for (signed, said, welcome) in [(5, 5, true), (1, 1, false), (4, 4, false), (1, 5, false)] {
            let proved = token.proves(&gateway, signed, said).await;
            assert_eq!(proved, welcome, "{}, flags {said} where {signed} is signed", token.algorithm);
        }
    }
    gateway.event(|event| event["event"] == "login.refused" && event["code"] == "user-not-verified").await;
}

#[tokio::test]
async fn an_agent_full_of_keys_is_let_in_quickly_and_a_flood_of_them_is_not() {
    let gateway = TestGateway::with(|settings| settings.limits.auth_attempts = 10).await;
    let mut others = Vec::new();
    for n in 0..12 {
        let path = gateway.path(&format!("other{n}"));
        keygen(&path, &["-t", "ed25519"]).await;
        others.push(path.display().to_string());
    }
    let keys = |count: usize| {
        let mut args: Vec<&str> = others[..count].iter().flat_map(|key| ["-i", key.as_str()]).collect();
        args.extend(["web", "echo in"]);
        args
    };
    let before = Instant::now();
    let ran = gateway.run(&keys(5)).await;
    assert_eq!(text(&ran.stdout), "in\n", "{}", text(&ran.stderr));
    assert!(before.elapsed() < Duration::from_millis(2500), "five refusals took {:?}", before.elapsed());
    let ran = gateway.run(&keys(12)).await;
    assert!(text(&ran.stderr).contains("Too many authentication attempts"), "{}", text(&ran.stderr));
    // one file of several keys comes before ours in the client's order, so only a refusal is seen
    gateway.event(|event| event["event"] == "login.refused" && event["login"] == "web-1").await;
}

#[tokio::test]
async fn passwords_and_prompts_are_not_asked_for() {
    let gateway = TestGateway::start().await;
    for method in ["password", "keyboard-interactive", "none", "hostbased"] {
        let only = format!("PreferredAuthentications={method}");
        let ran = gateway.run(&["-o", &only, "-o", "BatchMode=no", "web", "true"]).await;
        assert!(text(&ran.stderr).contains("Permission denied (publickey)"), "{method}: {}", text(&ran.stderr));
    }
}

#[tokio::test]
async fn the_client_chooses_among_the_algorithms_that_are_spoken() {
    let gateway = TestGateway::start().await;
    let query = async |what: &str| {
        let mut ssh = Command::new("ssh");
        ssh.args(["-Q", what]).stdout(std::process::Stdio::piped());
        text(&finish(ssh).await.stdout)
    };
    let (ciphers, macs, kexes) = (query("cipher").await, query("mac").await, query("kex").await);
    for (option, list, weak) in [
        ("Ciphers", &ciphers, &["cbc"][..]),
        ("MACs", &macs, &["sha1", "md5", "umac"]),
        ("KexAlgorithms", &kexes, &["sha1", "sntrup", "group-exchange", "group16", "group18"]),
    ] {
        assert!(list.lines().count() > 5, "what the client can do: {list}");
        for name in list.lines().filter(|name| !name.is_empty()) {
            let mut args = vec!["-o".to_owned(), format!("{option}={name}")];
            if option == "MACs" {
                args.extend(["-o".to_owned(), "Ciphers=aes128-ctr".to_owned()]);
            }
            args.extend(["web".to_owned(), "echo in".to_owned()]);
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let spoken = !weak.iter().any(|weak| name.contains(weak));
            let ran = gateway.run(&args).await;
            assert_eq!(text(&ran.stdout) == "in\n", spoken, "{option} {name}: {}", text(&ran.stderr));
        }
    }
}
