//! What a person reads, whole: help, refusals, the demo's page. Each is kept as a file in `snapshots`, so that a change of one is
//! read by whoever reviews it: `INSTA_UPDATE=always ./scripts/test.sh pages` writes them anew.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::harness::{Demo, PATIENCE, PORTCULLIS, run};

/// A command line, its exit code and its words, as a terminal of a hundred columns shows them.
fn shown(page: &mut String, args: &[&str]) {
    let mut command = Command::new(PORTCULLIS);
    // variables of the person who runs the tests would be in the help
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", "/nowhere");
    let ran = run(command.args(args), b"", PATIENCE);
    let code = ran.code().expect("it ends by itself");
    let said = format!("{}{}", ran.out(), ran.err());
    writeln!(page, "$ portcullis {}\n{}\n[{code}]\n", args.join(" "), said.trim_end()).unwrap();
}

#[test]
fn help() {
    let mut page = String::new();
    shown(&mut page, &["--help"]);
    insta::assert_snapshot!("help", page);
}

#[test]
fn help_of_each_command() {
    let mut page = String::new();
    for command in [
        "demo",
        "serve",
        "check",
        "policy",
        "reload",
        "verify",
        "evidence",
        "documents",
        "known-hosts",
        "ssh-config",
        "emulator",
        "password",
        "completions",
        "man",
    ] {
        shown(&mut page, &[command, "--help"]);
    }
    for command in ["check", "explain", "test", "rehearse", "lint", "fmt"] {
        shown(&mut page, &["policy", command, "--help"]);
    }
    shown(&mut page, &["evidence", "key", "--help"]);
    insta::assert_snapshot!("help_of_each_command", page);
}

#[test]
fn refusals_on_the_command_line() {
    let mut page = String::new();
    for args in [
        &["chekc"][..],
        &["demo", "--rung", "three-lanes"],
        &["--log", "a=b=c", "completions", "bash"],
        &["check", "--config", "/nowhere/gateway.toml"],
        &["emulator", "--fault", "cut the agent"],
        &["demo", "--fault", "burn it"],
        &["demo", "--listen", "0.0.0.0:0"],
        &["demo", "--dir", "/proc/demo", "--listen", "127.0.0.1:0"],
    ] {
        shown(&mut page, args);
    }
    insta::assert_snapshot!("refusals_on_the_command_line", page);
}

#[test]
fn refusals_of_a_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let mut page = String::new();
    for (what, text) in [
        ("a key that is none", "[evidence]\ndirektory = \"/var/log\"\n"),
        ("an address that is none", "[gateway]\nlisten = [\"nowhere\"]\n"),
        ("no TOML", "[gateway\n"),
        ("a text for a number", "[lanes]\nframe_bytes = \"big\"\n"),
        ("a text for a list", "[environment]\naccept = \"LANG\"\n"),
        (
            "rules, which are gone",
            "[[rules]]\nname = \"web\"\npeople = [\"ada\", \"bob\"]\nnodes = [\"web-1\", \"i-0123456789abcdef0\"]\n\
             os_users = [\"ec2-user\"]\nactions = [\"Shell\", \"Exec\"]\n\
             [[rules]]\nname = \"all\"\npeople = [\"eve\"]\nnodes = [\"*\"]\nactions = [\"*\"]\n",
        ),
        ("the one realm, which is gone", "[realm]\nregion = \"eu-central-1\"\nidentity = \"gateway\"\n"),
        ("nothing at all", ""),
        ("no more than must be, which is fine", "[[realms]]\nname = \"main\"\n"),
        ("a name that is no realm's", "[[realms]]\nname = \"Production\"\n"),
        ("variables that never pass", "[[realms]]\nname = \"main\"\n[environment]\naccept = [\"*\", \"LD_PRELOAD\"]\n"),
    ] {
        let file = dir.path().join("gateway.toml");
        std::fs::write(&file, text).unwrap();
        writeln!(page, "# {what}").unwrap();
        shown(&mut page, &["check", "--offline", "--config", file.to_str().unwrap()]);
    }
    std::fs::write(dir.path().join("gateway.toml"), "[[realms]]\nname = \"main\"\n").unwrap();
    std::fs::create_dir(dir.path().join("policies")).unwrap();
    for (what, text) in [
        ("an action that is none", "@id(\"a\")\npermit (principal, action == Action::\"Shel\", resource);\n"),
        (
            "an attribute that is none",
            "@id(\"a\")\npermit (principal, action, resource)\nwhen { resource.nam == \"web-1\" };\n",
        ),
        ("an annotation that is none", "@id(\"a\") @max_durration(\"8h\")\npermit (principal, action, resource);\n"),
        ("no name, and no Cedar", "permit (principal, action, resource);\npermit (principal"),
        ("a node by its name", "@id(\"a\")\npermit (principal, action, resource == Node::\"web-1\");\n"),
        ("nobody", "@id(\"a\")\npermit (principal == Person::\"ada\", action, resource);\n"),
    ] {
        std::fs::write(dir.path().join("policies/access.cedar"), text).unwrap();
        writeln!(page, "# {what}").unwrap();
        shown(&mut page, &["check", "--offline", "--config", dir.path().join("gateway.toml").to_str().unwrap()]);
    }
    insta::assert_snapshot!("refusals_of_a_configuration", page.replace(&dir.path().display().to_string(), "DIR"));
}

#[test]
fn the_demos_page_and_the_gateways_own_help() {
    let demo = Demo::start(&[]);
    let told =
        |page: &str| page.replace(&demo.dir().display().to_string(), "DIR").replace(&demo.port().to_string(), "PORT");
    insta::assert_snapshot!("the_demos_page", told(&demo.page));
    let help = run(demo.command("ssh").args(["gate", "help"]), b"", PATIENCE).ok();
    insta::assert_snapshot!("the_gateways_own_help", told(&help.out()));
}

#[test]
fn no_page_is_left_of_a_test_that_is_gone() {
    let text = include_str!("pages.rs");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/snapshots");
    let mut kept = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let page = name.trim_start_matches("e2e__pages__").trim_end_matches(".snap");
        assert!(text.contains(&format!("\"{page}\",")), "{name} is nobody's");
        kept += 1;
    }
    assert!(kept >= 6, "{kept} pages");
}
