//! Rules of the house that the compiler does not know: who may use whom, and how long a file may get.

use std::path::{Path, PathBuf};

/// A file's ceiling: past it, split by mechanism.
const LINES: usize = 700;

/// Tests read as a list.
const TEST_LINES: usize = 900;

/// Files that only tests are in may use whatever they test with.
fn is_test(name: &str) -> bool {
    let places = ["/tests", "_tests.rs", "_tests/", "/benches/", "src/testing/"];
    name.starts_with("tests/") || places.iter().any(|place| name.contains(place))
}

/// The files of a folder. A folder that is not there fails: a rule about it would guard nothing.
#[track_caller]
fn sources(dir: &str) -> Vec<(String, String)> {
    fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|end| end == "rs") {
                files.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    walk(&root.join(dir), &mut files);
    assert!(!files.is_empty(), "there is nothing in {dir} any more: a rule about it guards nothing");
    files
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// The lines of code that name a path, comments left out.
fn naming<'a>(text: &'a str, needle: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter(move |line| {
        let code = line.split("//").next().unwrap_or_default();
        code.match_indices(needle).any(|(at, _)| {
            // `russh::` but not `my_russh::`
            !code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_')
        })
    })
}

#[track_caller]
fn only(places: &[&str], needles: &[&str]) {
    let mut seen = 0;
    for place in places {
        sources(place);
    }
    for (name, text) in sources("src") {
        for needle in needles {
            let lines: Vec<_> = naming(&text, needle).collect();
            seen += lines.len();
            let allowed = places.iter().any(|place| name.starts_with(place));
            assert!(allowed || lines.is_empty(), "{name} names {needle}, which only {places:?} may: {lines:#?}");
        }
    }
    assert!(seen > 0, "nothing names {needles:?} any more: this rule guards nothing");
}

#[track_caller]
fn never(dir: &str, needles: &[&str]) {
    for (name, text) in sources(dir).into_iter().filter(|(name, _)| !is_test(name)) {
        for needle in needles {
            let lines: Vec<_> = naming(&text, needle).collect();
            assert!(lines.is_empty(), "{name} names {needle}: {lines:#?}");
        }
    }
}

/// The parts of the crate that a folder names, itself left out.
fn parts_named(text: &str) -> impl Iterator<Item = &str> {
    let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    code.flat_map(|code| code.split("crate::").skip(1)).map(|rest| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

/// A folder may name these parts of the crate and no others.
#[track_caller]
fn names_only(dir: &str, allowed: &[&str]) {
    let own = dir.strip_prefix("src/").unwrap();
    for (name, text) in sources(dir).into_iter().filter(|(name, _)| !is_test(name)) {
        for part in parts_named(&text) {
            assert!(part == own || allowed.contains(&part), "{name} names crate::{part}; {dir} may name {allowed:?}");
        }
    }
}

#[test]
fn the_bottom_is_the_bottom() {
    names_only("src/model", &[]);
    names_only("src/config", &["model"]);
    names_only("src/ssh", &[]);
    names_only("src/identity", &["model"]);
    // what it decides is for somebody who proved who they are: the proof is all it takes of identity
    names_only("src/policy", &["model", "identity"]);
    never("src/policy", &["crate::identity::People", "crate::identity::Login", "crate::identity::{"]);
}

#[test]
fn what_is_for_tests_stays_in_tests() {
    never("src", &["crate::testing"]);
}

#[test]
fn the_emulator_knows_nothing_of_the_gateway() {
    let parts = ["crate::gateway", "crate::backend", "crate::session::", "crate::transport", "crate::policy"];
    never("src/emulator", &parts);
}

#[test]
fn lower_floors_do_not_use_upper_ones() {
    never("src/data_channel", &["crate::backend", "crate::transport", "crate::gateway", "crate::session::"]);
    never("src/backend", &["crate::transport", "crate::gateway", "crate::session::", "crate::emulator"]);
    never("src/transport", &["crate::gateway", "crate::session::", "crate::emulator", "crate::cli"]);
    never("src/policy", &["crate::gateway", "crate::session::", "crate::transport", "crate::backend"]);
    never("src/evidence", &["crate::gateway", "crate::session::", "crate::transport", "crate::backend"]);
    never("src/session", &["crate::gateway", "crate::emulator", "crate::cli"]);
    names_only("src/oidc", &["data_channel", "identity", "model"]);
    names_only("src/audit", &["session", "model"]);
    never("src/gateway", &["crate::emulator", "crate::cli", "crate::data_channel"]);
    // files knows no SSH and no session, and nothing below it knows files
    let above = ["crate::gateway", "crate::session::", "crate::backend", "crate::data_channel", "crate::emulator"];
    never("src/files", &above);
    for below in ["session", "transport", "backend", "data_channel", "evidence", "policy", "identity"] {
        never(&format!("src/{below}"), &["crate::files", "crate::app", "crate::audit"]);
    }
}

#[test]
fn the_protocol_is_pure() {
    never("src/protocol", &["tokio", "std::net", "std::fs", "Instant::now", "SystemTime::now", "getrandom"]);
}

#[test]
fn files_stay_readable() {
    for dir in ["src", "tests"] {
        for (name, text) in sources(dir) {
            let lines = text.lines().count();
            let ceiling = if is_test(&name) { TEST_LINES } else { LINES };
            assert!(lines <= ceiling, "{name} has {lines} lines, more than {ceiling}: split it by mechanism");
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    for dir in ["src", "tests/e2e"] {
        for (name, text) in sources(dir) {
            assert!(text.starts_with("//!"), "{name} does not begin with a module comment");
        }
    }
}

#[test]
fn one_crypto_provider() {
    let mut tree = std::process::Command::new(env!("CARGO"));
    tree.args(["tree", "--offline", "--locked", "--workspace", "--prefix", "none", "--edges", "normal,build"]);
    let run = crate::harness::run(tree.current_dir(env!("CARGO_MANIFEST_DIR")), b"", crate::harness::PATIENCE).ok();
    let built: Vec<String> = run.out().lines().filter_map(|line| line.split(' ').next().map(str::to_owned)).collect();
    assert!(built.iter().any(|name| name == "aws-lc-rs"), "{run}");
    for banned in ["ring", "openssl", "native-tls"] {
        assert!(!built.iter().any(|name| name == banned), "{banned} is built in: a second crypto library");
    }
}

#[test]
fn only_the_two_ends_of_ssh_name_russh() {
    only(&["src/gateway", "src/ssh", "src/transport/sshd"], &["russh::", "use russh"]);
}

#[test]
fn only_policy_names_cedar() {
    only(&["src/policy"], &["cedar_policy"]);
}

#[test]
fn only_the_aws_backend_names_an_sdk() {
    // the embedded service is tested with the SDK as a client that nobody here wrote; the sinks are a crate that knows no gateway
    only(&["src/backend/aws", "src/emulator/tests", "src/sinks"], &["aws_sdk_ssm", "aws_config"]);
    only(&["src/sinks"], &["aws_sdk_s3", "aws_sdk_cloudwatchlogs"]);
}

#[test]
fn only_the_transport_opens_lanes() {
    // `app` hands them over
    let places = ["src/backend", "src/transport", "src/app"];
    only(&places, &["backend::lanes", "lanes::Lanes", "dyn Lanes", "SessionRequest"]);
}

#[test]
fn every_threat_has_a_test_that_exists() {
    let ledger = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/threats.md")).unwrap();
    let code: String = ["src", "tests"].iter().flat_map(|dir| sources(dir)).map(|(_, text)| text).collect();
    let mut rows = 0;
    for row in
        ledger.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| attack") && !line.contains("---"))
    {
        let tests = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let names: Vec<&str> = tests.split('`').skip(1).step_by(2).filter(|name| !name.contains('/')).collect();
        for name in &names {
            assert!(
                code.contains(&format!("fn {name}(")) || code.contains(&format!("    {name}\n")),
                "no test is called {name}: {row}"
            );
        }
        let files: Vec<&str> = row.split('`').skip(1).step_by(2).filter(|name| name.contains('/')).collect();
        for file in &files {
            // in the column of places the folder `src` goes without saying, and so does the ending
            let places = ["", "src/"].map(|top| Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("{top}{file}")));
            let there = places.iter().any(|place| place.exists() || place.with_extension("rs").exists());
            assert!(there, "there is no {file}: {row}");
        }
        let by_file = tests.contains('/');
        assert!(!names.is_empty() || by_file, "no test shows: {row}");
        rows += 1;
    }
    assert!(rows > 20, "the ledger is gone");
}

#[test]
fn deployed_documents_are_fresh() {
    let root = env!("CARGO_MANIFEST_DIR");
    let printed = crate::harness::portcullis(&["documents", "--print"]).ok().out();
    let path = format!("{root}/deploy/documents/lanes.json");
    if std::env::var_os("PORTCULLIS_UPDATE_DOCUMENTS").is_some() {
        std::fs::create_dir_all(format!("{root}/deploy/documents")).unwrap();
        std::fs::write(&path, &printed).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == printed, "deploy/documents/lanes.json is stale: PORTCULLIS_UPDATE_DOCUMENTS=1 cargo test deployed");
}
