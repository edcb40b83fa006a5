//! What somebody can tell of a day who has its folders and nothing else.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::evidence::folders;
use crate::harness::{Demo, Run, portcullis};
use crate::terminal::Terminal;

fn lines(folder: &Path, file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn manifest(folder: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(folder.join("manifest.json")).unwrap()).unwrap()
}

fn verify(demo: &Demo, folder: &Path) -> Run {
    let key = demo.dir().join("evidence-key.pub");
    portcullis(&["verify", &folder.display().to_string(), "--key", &key.display().to_string()])
}

/// bash turns bracketed paste on when it reads a line.
fn at_the_prompt(shell: &mut Terminal) {
    shell.expect("\x1b[?2004h");
    std::thread::sleep(Duration::from_millis(500));
}

#[test]
fn a_reader_of_the_folders_alone_can_tell_the_story_and_whoever_changes_a_byte_is_found() {
    let demo = Demo::start(&[]);
    // a shell, in which a command is refused
    let mut command = demo.command("ssh");
    let mut shell = Terminal::start(command.args(["-l", "db-1+INC-1234", "gate"]), 100, 30);
    shell.expect("this session is recorded; its number is ");
    for (line, shows) in [
        ("uptime -p", "up "),
        (
            "dropdb orders",
            "\r\nportcullis: denied by policy \"no-database-by-hand\": databases are dropped by the pipeline, and not by hand",
        ),
    ] {
        at_the_prompt(&mut shell);
        shell.send(format!("{line}\r"));
        shell.expect(shows);
    }
    at_the_prompt(&mut shell);
    shell.send("exit\r");
    // what the shell says of a line that was given up
    assert_eq!(shell.end().code(), Some(130));
    // a file that arrives, and one that stays there
    let (report, private) = (demo.dir().join("report.txt"), demo.dir().join("id_ed25519"));
    std::fs::write(&report, "all is well\n").unwrap();
    std::fs::write(&private, "a key\n").unwrap();
    let got = demo.dir().join("got.txt").display().to_string();
    let far = |path: &Path| format!("db-1+INC-1234@gate:{}", path.display());
    demo.scp([&far(&report), &got]).ok();
    let kept = demo.scp([&far(&private), &got]);
    // scp says it in its own words
    assert!(kept.code() == Some(1) && kept.err().contains("Permission denied"), "{kept}");

    let all = folders(&demo, 3);
    let by =
        |action: &str| -> Vec<&PathBuf> { all.iter().filter(|folder| manifest(folder)["action"] == action).collect() };
    // who, where, why, by whose leave, from when to when
    for folder in &all {
        let manifest = manifest(folder);
        assert_eq!((&manifest["person"], &manifest["reason"]), (&"you".into(), &"INC-1234".into()));
        assert_eq!(
            (&manifest["node"]["name"], &manifest["decision"]["policy"]),
            (&"db-1".into(), &"production-by-ticket".into())
        );
        assert!(
            manifest["closed"].is_string() && manifest["aws"]["sessions"][0]["request_id"].is_string(),
            "{manifest}"
        );
    }
    // what was run, and what was not
    let shell = by("Shell")[0];
    let ran: Vec<_> = lines(shell, "commands.jsonl");
    let told: Vec<(&str, &str)> =
        ran.iter().map(|one| (one["command"].as_str().unwrap(), one["verdict"].as_str().unwrap_or("run"))).collect();
    assert_eq!(told, [("uptime -p", "run"), ("dropdb orders", "refused"), ("exit", "run")]);
    assert_eq!(ran[1]["policy"], "no-database-by-hand");
    assert!(std::fs::read_to_string(shell.join("terminal.cast")).unwrap().contains("dropdb orders"));
    // which file went where, and which did not
    let files: Vec<Value> = by("Files").iter().flat_map(|folder| lines(folder, "files.jsonl")).collect();
    let of = |path: &Path, outcome: &str| {
        let path = path.display().to_string();
        files
            .iter()
            .find(|file| file["action"] == "Download" && file["path"] == path.as_str() && file["outcome"] == outcome)
            .cloned()
    };
    let arrived = of(&report, "done").unwrap_or_else(|| panic!("{files:?}"));
    assert_eq!((&arrived["bytes"], arrived["sha256"].as_str().map(str::len)), (&12.into(), Some(64)));
    let refused = of(&private, "denied").unwrap_or_else(|| panic!("{files:?}"));
    assert_eq!(refused["policy"], "keys-stay-there");

    // and that it was so
    for folder in &all {
        assert!(verify(&demo, folder).ok().out().contains("no byte was changed"), "{}", folder.display());
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let before = std::fs::read(entry.path()).unwrap();
            let mut after = before.clone();
            let middle = after.len() / 2;
            after[middle] ^= 1;
            std::fs::write(entry.path(), after).unwrap();
            let found = verify(&demo, folder);
            let name = entry.file_name().to_string_lossy().into_owned();
            assert!(
                found.code() != Some(0) && format!("{}{}", found.out(), found.err()).contains(&name),
                "{name}: {found}"
            );
            std::fs::write(entry.path(), before).unwrap();
        }
        verify(&demo, folder).ok();
    }
}
