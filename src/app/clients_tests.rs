//! What `portcullis check` says of algorithms, balancers and passwords: a sentence, its place, and what to do.

use std::os::unix::fs::PermissionsExt as _;

use super::configuration::read;
use crate::config::{Overrides, Trust};
use crate::identity::PasswordHash;

/// The first problem of a configuration with these lines, or nothing.
fn problem(lines: &str) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("g.toml");
    std::fs::create_dir(dir.path().join("policies")).unwrap();
    std::fs::write(&file, format!("{lines}\n[[realms]]\nname = \"main\"\n")).unwrap();
    let error = read(&file, Trust::Anybodys, &Overrides::default()).err()?;
    let first = &error.problems[0];
    Some(format!("{:?} {} ({})", first.line_column, first.message, first.help.as_deref().unwrap_or_default()))
}

#[track_caller]
fn says(lines: &str, words: &[&str]) {
    let said = problem(lines).unwrap();
    for word in words {
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn an_unknown_profile_is_one_sentence_with_the_nearest_name() {
    says(
        "[gateway]\nalgorithms = \"legcy\"",
        &["(2, 14)", "there is no `legcy` here", "`modern`", "did you mean `legacy`?"],
    );
    let some = |more: &str| format!("[[gateway.algorithms_for]]\nalgorithms = \"legacy\"\n{more}");
    says(&some(""), &["nobody's", "from = "]);
    says(&some("from = [\"old.example.com\"]"), &["(3, 9)", "neither an address nor a network"]);
    says(&some("from = [\"192.0.2.1/24\"]"), &["bits behind its network's"]);
    says(&some("listen = [\"127.0.0.1:2223\"]"), &["the gateway does not listen on 127.0.0.1:2223"]);
    assert_eq!(problem(&some("from = [\"192.0.2.0/24\"]\nlisten = [\"127.0.0.1:2222\"]")), None);
}

#[test]
fn balancers_are_some_and_not_everybody() {
    let from = |network: &str| format!("[gateway.proxy_protocol]\nfrom = [\"{network}\"]");
    assert_eq!(problem(&from("10.0.1.0/24")), None);
    says(&from("balancer"), &["(2, 9)", "neither an address nor a network"]);
    for everybody in ["0.0.0.0/0", "::/0"] {
        says(&from(everybody), &["everybody could say that they come from anywhere"]);
    }
}

#[test]
fn a_password_has_a_hash_and_networks_or_is_refused() {
    let hash = PasswordHash::cheap_line_of("correct horse battery");
    let person = |password: &str| format!("[[people]]\nname = \"ada\"\npassword = {password}");
    let from = |network: &str| person(&format!("{{ hash = \"{hash}\", from = [{network}] }}"));
    assert_eq!(problem(&from("\"192.0.2.0/24\"")), None);
    says(
        &person(&format!("{{ hash = \"{hash}\" }}")),
        &["None", "`ada`", "only from networks that are named", "from ="],
    );
    says(&from(""), &["only from networks that are named"]);
    says(&from("\"0.0.0.0/0\""), &["is everywhere"]);
    says(&from("\"office\""), &["neither an address nor a network"]);
    let typed = problem(&person("{ hash = \"hunter2\", from = [\"192.0.2.0/24\"] }")).unwrap();
    assert!(typed.contains("portcullis password") && !typed.contains("hunter2"), "{typed}");
}

#[test]
fn what_weakens_everybody_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("g.toml");
    std::fs::create_dir(dir.path().join("policies")).unwrap();
    let warned = |lines: &str, mode: u32, trust: Trust| {
        std::fs::write(&file, format!("{lines}\n[[realms]]\nname = \"main\"\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let loaded = read(&file, trust, &Overrides::default()).unwrap();
        loaded.warnings.iter().map(|warning| warning.message.clone()).collect::<Vec<_>>().join("\n")
    };
    let legacy = warned("[gateway]\nalgorithms = \"legacy\"", 0o600, Trust::Anybodys);
    assert!(legacy.contains("everybody may speak SHA-1"), "{legacy}");
    let shown = warned("[gateway]\nlegacy_host_keys = [\"rsa\"]", 0o600, Trust::Anybodys);
    assert!(shown.contains("these keys are shown to nobody"), "{shown}");
    let hash = PasswordHash::cheap_line_of("correct horse battery");
    let password = format!("[[people]]\nname = \"ada\"\npassword = {{ hash = \"{hash}\", from = [\"192.0.2.0/24\"] }}");
    for (mode, expected) in [(0o600, false), (0o640, false), (0o644, true)] {
        let said = warned(&password, mode, Trust::Ours);
        assert_eq!(said.contains("can read the hashes of passwords"), expected, "{mode:o} {said}");
        assert!(!said.contains("has no key"), "{said}");
    }
}
