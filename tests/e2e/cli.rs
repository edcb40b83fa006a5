//! The command line from outside: what it does; what it says is in `pages.rs`.

use crate::harness::portcullis;

#[test]
fn the_reference_configuration_is_fine() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/config/gateway.toml");
    portcullis(&["check", "--offline", "--config", file]).ok();
}

#[test]
fn a_wrong_configuration_is_3_with_line_and_column() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.toml");
    std::fs::write(&file, "[gateway]\nlisten = [\"nowhere\"]\n").unwrap();
    let run = portcullis(&["check", "--config", file.to_str().unwrap(), "--json"]).ends(3);
    let answer: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(answer["problems"][0]["line"], 2, "{run}");
    assert!(!run.err().contains('\u{1b}'), "colour where there is no terminal: {run}");
}

#[test]
fn an_environment_variable_wins_over_the_file_and_a_flag_over_both() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/config/gateway.toml");
    let check = |extra: &[&str]| {
        let mut command = std::process::Command::new(crate::harness::PORTCULLIS);
        command.args(["check", "--offline", "--json", "--config", file]).args(extra);
        command.env("PORTCULLIS_REGION", "eu-west-1");
        let run = crate::harness::run(&mut command, b"", crate::harness::PATIENCE).ok();
        let answer: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
        answer["config"]["realms"][0]["region"].as_str().unwrap().to_owned()
    };
    assert_eq!(check(&[]), "eu-west-1");
    assert_eq!(check(&["--region", "eu-north-1"]), "eu-north-1");
}

#[test]
fn completions_and_pages_are_made_for_every_command() {
    let script = portcullis(&["completions", "bash"]).ok().out();
    assert!(script.contains("check"), "{script}");
    let dir = tempfile::tempdir().unwrap();
    portcullis(&["man", "--dir", dir.path().to_str().unwrap()]).ok();
    assert!(dir.path().join("portcullis-check.1").exists());
}

#[test]
fn a_password_is_read_and_never_an_argument_and_its_hash_is_one_that_is_taken() {
    let password = |args: &[&str], typed: &str| {
        let mut command = std::process::Command::new(crate::harness::PORTCULLIS);
        command.arg("password").args(args);
        crate::harness::run(&mut command, typed.as_bytes(), crate::harness::PATIENCE)
    };
    let made = password(&[], "correct horse battery\n").ok();
    let hash = made.out().trim().to_owned();
    assert!(hash.starts_with("$argon2id$v=19$m=65536,t=3,p=1$") && !format!("{made}").contains("horse"), "{made}");
    assert_ne!(password(&[], "correct horse battery\n").ok().out().trim(), hash, "each has a salt of its own");
    let short = password(&[], "hunter2\n").ends(1);
    assert!(short.err().contains("at least 12 characters") && !format!("{short}").contains("hunter2"), "{short}");
    assert!(!format!("{}", password(&["correct horse battery"], "").ends(2)).contains("$argon2id"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.toml");
    let person = format!("[[people]]\nname = \"ada\"\npassword = {{ hash = \"{hash}\", from = [\"192.0.2.0/24\"] }}\n");
    std::fs::write(&file, format!("{person}[[realms]]\nname = \"main\"\n")).unwrap();
    let checked = portcullis(&["check", "--offline", "--json", "--config", file.to_str().unwrap()]).ok();
    assert!(checked.out().contains("argon2id, not shown") && !checked.out().contains(&hash), "{checked}");
}
