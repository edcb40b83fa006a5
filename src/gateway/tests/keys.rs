//! Which keys and algorithms get in, and how long a refusal takes.

use std::time::{Duration, Instant};

use super::bench::{Bench, finish, keygen, text};
use tokio::process::Command;

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
    let bench = Bench::with_keys(&kinds).await;
    for (name, _) in kinds {
        let key = bench.path(name);
        let ran = bench.run(&["-i", &key.display().to_string(), "nokey", "echo in"]).await;
        let expected = if name == "rsa1024" { "" } else { "in\n" };
        assert_eq!(text(&ran.stdout), expected, "{name}: {}", text(&ran.stderr));
    }
    let key = bench.path("rsa2048").display().to_string();
    for (algorithm, gets_in) in [("rsa-sha2-512", true), ("rsa-sha2-256", true), ("ssh-rsa", false)] {
        let only = format!("PubkeyAcceptedAlgorithms={algorithm}");
        let ran = bench.run(&["-i", &key, "-o", &only, "nokey", "echo in"]).await;
        assert_eq!(text(&ran.stdout) == "in\n", gets_in, "{algorithm}: {}", text(&ran.stderr));
    }
}

#[tokio::test]
async fn an_agent_full_of_keys_is_let_in_quickly_and_a_flood_of_them_is_not() {
    let bench = Bench::with(|settings| settings.limits.auth_attempts = 10).await;
    let mut others = Vec::new();
    for n in 0..12 {
        let path = bench.path(&format!("other{n}"));
        keygen(&path, &["-t", "ed25519"]).await;
        others.push(path.display().to_string());
    }
    let keys = |count: usize| {
        let mut args: Vec<&str> = others[..count].iter().flat_map(|key| ["-i", key.as_str()]).collect();
        args.extend(["web", "echo in"]);
        args
    };
    let before = Instant::now();
    let ran = bench.run(&keys(5)).await;
    assert_eq!(text(&ran.stdout), "in\n", "{}", text(&ran.stderr));
    assert!(before.elapsed() < Duration::from_millis(2500), "five refusals took {:?}", before.elapsed());
    let ran = bench.run(&keys(12)).await;
    assert!(text(&ran.stderr).contains("Too many authentication attempts"), "{}", text(&ran.stderr));
    // one file of several keys comes before ours in the client's order, so only a refusal is seen
    bench.event(|event| event["event"] == "login.refused" && event["login"] == "web-1").await;
}

#[tokio::test]
async fn passwords_and_prompts_are_not_asked_for() {
    let bench = Bench::start().await;
    for method in ["password", "keyboard-interactive", "none", "hostbased"] {
        let only = format!("PreferredAuthentications={method}");
        let ran = bench.run(&["-o", &only, "-o", "BatchMode=no", "web", "true"]).await;
        assert!(text(&ran.stderr).contains("Permission denied (publickey)"), "{method}: {}", text(&ran.stderr));
    }
}

#[tokio::test]
async fn the_client_chooses_among_the_algorithms_that_are_spoken() {
    let bench = Bench::start().await;
    let query = async |what: &str| {
        let mut ssh = Command::new("ssh");
        ssh.args(["-Q", what]).stdout(std::process::Stdio::piped());
        text(&finish(ssh).await.stdout)
    };
    let (ciphers, macs, kexes) = (query("cipher").await, query("mac").await, query("kex").await);
    for (option, list, weak) in [
        ("Ciphers", &ciphers, &["cbc"][..]),
        ("MACs", &macs, &["sha1", "md5", "umac"]),
        ("KexAlgorithms", &kexes, &["sha1", "sntrup", "group-exchange", "group18"]),
    ] {
        for name in list.lines().filter(|name| !name.is_empty()) {
            let mut args = vec!["-o".to_owned(), format!("{option}={name}")];
            if option == "MACs" {
                args.extend(["-o".to_owned(), "Ciphers=aes128-ctr".to_owned()]);
            }
            args.extend(["web".to_owned(), "echo in".to_owned()]);
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let spoken = !weak.iter().any(|weak| name.contains(weak));
            let ran = bench.run(&args).await;
            assert_eq!(text(&ran.stdout) == "in\n", spoken, "{option} {name}: {}", text(&ran.stderr));
        }
    }
}
