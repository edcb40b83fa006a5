//! Why a session is opened: typed on its terminal, in the login, in a variable; and where it is written.

use crate::harness::{PATIENCE, Run, run, until};
use crate::serve::{Account, Ended};
use crate::terminal::Terminal;

const POLICY: &str = "@id(\"by-ticket\") @reason(\"a ticket, such as INC-1234\") @reason_pattern(\"(INC|CHG)-[0-9]+.*\")\n\
                      permit (principal, action in Action::\"Sessions\", resource);\n";

const WHY: &str = "INC-42 そこにセッションがあるから";

/// What a person reads who is asked.
const QUESTION: &str =
    "portcullis: policy \"by-ticket\" wants to know why you are here: a ticket, such as INC-1234\r\nreason: ";

fn account() -> (Account, Ended) {
    let account = Account::new("");
    std::fs::write(account.at("policies/access.cedar"), POLICY).unwrap();
    account.portcullis(&["documents", "--apply"]).ok();
    let serving = account.serve();
    (account, serving)
}

/// Of the records of this kind in a file of lines, what stands there.
fn lines(account: &Account, file: &str, key: &str, of: &str) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(account.at(file)).unwrap();
    let records = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    records.filter(|record| record[key] == of).collect()
}

fn reasons(account: &Account) -> Vec<String> {
    let opened = lines(account, "evidence/events.jsonl", "event", "session.opened");
    opened.iter().map(|event| event["reason"].as_str().unwrap_or_default().to_owned()).collect()
}

fn shared(account: &Account, master: bool) -> std::process::Command {
    let mut ssh = account.client("web-1");
    let socket = account.at("mux").display().to_string();
    ssh.args(["-o", if master { "ControlMaster=yes" } else { "ControlMaster=no" }]);
    ssh.arg("-o").arg(format!("ControlPath={socket}"));
    ssh
}

#[test]
fn a_reason_that_is_typed_on_the_terminal_arrives_wherever_it_must() {
    let (account, _serving) = account();
    let mut terminal = Terminal::start(&shared(&account, true), 80, 24);
    terminal.expect(QUESTION);
    // the policy's pattern is of all of it, and whoever types sees what they type
    terminal.send("そこにセッションがあるから\r");
    terminal.expect("そこにセッションがあるから\r\n");
    terminal.expect("that is not it: policy \"by-ticket\" wants a ticket, such as INC-1234\r\nreason: ");
    terminal.send("INC-41\u{7f}2 そこ\t\u{1b}[Aにセッションがあるからか\u{7f}\r");
    // what is typed behind it is the shell's
    terminal.send("echo in-$((1 + 1))\r");
    terminal.expect("in-2");
    assert_eq!(reasons(&account), [WHY]);
    // a channel of the same connection, to the same node: nobody is asked twice
    let second = run(shared(&account, false).arg("echo second"), b"", PATIENCE).ok();
    assert_eq!(second.out(), "second\n");
    assert_eq!(reasons(&account), [WHY, WHY]);
    terminal.send("exit\r");
    terminal.end();
    let trail = lines(&account, "trail.jsonl", "eventName", "StartSession");
    assert!(trail.len() >= 2, "{trail:?}");
    for record in &trail {
        assert_eq!(record["requestParameters"]["reason"], WHY, "{record}");
    }
    let refused = lines(&account, "evidence/events.jsonl", "event", "channel.refused");
    assert!(refused.is_empty(), "who was asked was not refused: {refused:?}");
    // another connection is another
    let mut terminal = Terminal::start(&account.client("web-1"), 80, 24);
    terminal.expect(QUESTION);
    terminal.send("\u{3}");
    terminal.expect("denied by policy \"by-ticket\": Shell on web-1 needs a reason (a ticket, such as INC-1234)");
    assert_eq!(terminal.end().code(), Some(255));
}

#[test]
fn whoever_answers_and_is_nobody_by_then_gets_nothing() {
    let (account, _serving) = account();
    let config = std::fs::read_to_string(account.at("gateway.toml")).unwrap();
    let mut terminal = Terminal::start(&account.client("web-1"), 80, 24);
    terminal.expect(QUESTION);
    std::fs::write(account.at("gateway.toml"), config.replace("name = \"ada\"", "name = \"eve\"")).unwrap();
    let loaded = || lines(&account, "evidence/events.jsonl", "event", "configuration.loaded").len();
    until("ada is gone", PATIENCE, || loaded() > 1);
    terminal.send(format!("{WHY}\r"));
    assert_eq!(terminal.end().code(), Some(255), "{}", terminal.all());
    assert_eq!(reasons(&account), [""; 0], "{}", terminal.all());
}

#[test]
fn whoever_supplies_one_is_not_asked_and_who_is_no_person_reads_what_to_do() {
    let (account, _serving) = account();
    let with = |login: &str, options: &[&str], remote: &str| -> Run {
        run(account.client(login).args(options).arg(remote), b"", PATIENCE)
    };
    let by_variable = |name: &str, why: &str| format!("SetEnv={name}={why}");
    // no command is asked, whatever terminal it has: it may be a script's
    for options in [&["-o", "BatchMode=yes"][..], &["-tt"]] {
        let refused = with("web-1", options, "true").ends(255);
        let said = if options == ["-tt"] { refused.out() + &refused.err() } else { refused.err() };
        assert!(
            said.contains("needs a reason (a ticket, such as INC-1234); write it behind a + in the login")
                && said.contains("ssh -o SetEnv=PORTCULLIS_REASON="),
            "{said}"
        );
        assert!(!said.contains("reason: "), "{said}");
    }
    for name in ["PORTCULLIS_REASON", "LC_PORTCULLIS_REASON"] {
        with("web-1", &["-o", &by_variable(name, "INC-7")], "true").ok();
    }
    // the login's own comes first
    with("web-1+INC-8", &["-o", &by_variable("PORTCULLIS_REASON", "INC-7")], "true").ok();
    assert_eq!(reasons(&account), ["INC-7", "INC-7", "INC-8"]);
    // one that can't be a reason is none, and whoever set it is told
    for none in ["INC-7\u{7}".to_owned(), format!("INC-7{}", "長".repeat(252))] {
        let refused = with("web-1", &["-o", &by_variable("PORTCULLIS_REASON", &none)], "true").ends(255);
        assert!(refused.err().contains("what PORTCULLIS_REASON says is not taken"), "{refused}");
    }
    let longest = format!("INC-7{}", "長".repeat(251));
    with("web-1", &["-o", &by_variable("PORTCULLIS_REASON", &longest)], "true").ok();
}
