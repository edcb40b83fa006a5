//! Secrets on their many ways through the gateway, and everything that is written on the way: none of them is in any of it.

use std::path::{Path, PathBuf};

use crate::harness::{Demo, PATIENCE, run, until};
use crate::terminal::Terminal;

/// A secret that is nowhere else, one for each way.
fn canary(way: &str) -> String {
    // no letter by which it would be known to be one
    format!("Zq7{way}Vx93Kd")
}

/// Every file below a directory.
fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path(), found),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
}

/// Where a secret stands, of all that the gateway and the embedded service have written.
fn sinks_with(demo: &Demo, secret: &str) -> Vec<String> {
    let mut found = Vec::new();
    files(&demo.dir().join("evidence"), &mut found);
    found.push(demo.dir().join("cloudtrail.jsonl"));
    let has = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
    let mut sinks: Vec<String> =
        found.iter().filter(|path| has(&std::fs::read(path).unwrap())).map(|path| path.display().to_string()).collect();
    if has(demo.log().as_bytes()) {
        sinks.push("the gateway's own messages".to_owned());
    }
    sinks
}

/// At a shell's prompt: what is typed there, with a word that shows when it is over.
fn at_a_prompt(demo: &Demo, lines: &[(&str, &str)]) {
    let mut terminal = Terminal::start(demo.command("ssh").args(["demo"]), 80, 24);
    terminal.expect("recorded");
    // one that no user's own looks like
    terminal.send("PS1='re''ady> '\r");
    terminal.expect("ready> ");
    for (typed, answer) in lines {
        terminal.send(format!("{typed}\r"));
        terminal.expect(answer);
    }
    terminal.send("exit\r");
    terminal.end();
}

#[test]
fn no_secret_is_in_anything_that_is_written() {
    let demo = Demo::start(&[]);
    let dir = demo.dir().display();
    let (sudo, silent, phrase) = (canary("sudo"), canary("silent"), canary("phrase"));
    let (pasted, url, header, flag) = (canary("pasted"), canary("url"), canary("header"), canary("flag"));
    let (pipe, upload, variable, login) = (canary("pipe"), canary("upload"), canary("variable"), canary("login"));
    let (denied, become_, cookie) = (canary("denied"), canary("become"), canary("cookie"));

    // what a program reads without showing it: as sudo does, by a shell's own read, a passphrase that is asked for
    at_a_prompt(
        &demo,
        &[
            ("read -rsp 'pass''word for you: ' x; echo re''ad1", "password for you: "),
            (&sudo, "read1"),
            ("stty -echo; echo qui''et; read x; stty echo; echo re''ad2", "quiet"),
            (&silent, "read2"),
            (&format!("ssh-keygen -q -t ed25519 -f \"{dir}/made\" -C x"), "passphrase"),
            (&phrase, "again"),
            (&phrase, "ready> "),
        ],
    );
    // what is shown, and says of itself that it is one
    at_a_prompt(
        &demo,
        &[
            ("cat > /dev/null <<'END'", ">"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----", ">"),
            (&pasted, ">"),
            ("-----END OPENSSH PRIVATE KEY-----", ">"),
            ("END", "ready> "),
            (&format!("echo https://ada:{url}@db.example/ >/dev/null"), "ready> "),
            (&format!("echo 'Authorization: Bearer {header}' >/dev/null"), "ready> "),
            (&format!("echo --password={flag} >/dev/null; echo fl''ag"), "flag"),
        ],
    );
    // what goes in without being shown at all
    demo.ssh("cat >/dev/null", pipe.as_bytes()).ends(0);
    demo.ssh("sudo -S -k true 2>/dev/null; true", format!("{become_}\n").as_bytes()).ends(0);
    let file = demo.dir().join("secret");
    std::fs::write(&file, &upload).unwrap();
    demo.sftp(&format!("put \"{}\" {}\nrm {}\n", file.display(), "uploaded.x", "uploaded.x")).ok();
    let set = format!("SetEnv=LC_TOKEN={variable}");
    run(demo.command("ssh").args(["-o", &set, "demo", "true"]), b"", PATIENCE).ok();
    // in a command that is refused, and in one that prints it
    run(demo.command("ssh").args(["db-1", &format!("mysql --password={denied} -e x")]), b"", PATIENCE);
    demo.ssh("printf 'token: %s\\n' \"$(cat)\"", cookie.as_bytes()).ends(0);
    // as a password to log in with
    let program = demo.dir().join("askpass");
    std::fs::write(&program, format!("#!/bin/sh\necho {login}\n")).unwrap();
    std::os::unix::fs::PermissionsExt::set_mode(&mut std::fs::metadata(&program).unwrap().permissions(), 0o700);
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let mut ssh = demo.command("ssh");
    ssh.env("SSH_ASKPASS", &program).env("SSH_ASKPASS_REQUIRE", "force");
    run(
        ssh.args([
            "-o",
            "PubkeyAuthentication=no",
            "-o",
            "PreferredAuthentications=password,keyboard-interactive",
            "demo",
            "true",
        ]),
        b"",
        PATIENCE,
    );

    let events = demo.dir().join("evidence/events.jsonl");
    until("all is sealed", PATIENCE, || {
        let text = std::fs::read_to_string(&events).unwrap();
        text.matches("\"session.opened\"").count() == text.matches("\"session.sealed\"").count()
    });
    for secret in [
        &sudo, &silent, &phrase, &pasted, &url, &header, &flag, &pipe, &become_, &upload, &variable, &denied, &cookie,
        &login,
    ] {
        assert_eq!(sinks_with(&demo, secret), Vec::<String>::new(), "{secret}");
    }
    // and where one looks there is something: what is no secret is kept
    assert!(!sinks_with(&demo, "db.example").is_empty() && !sinks_with(&demo, "mysql").is_empty());
}
