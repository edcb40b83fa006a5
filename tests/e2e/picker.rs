//! `ssh <gateway>` on a terminal: a node is chosen from a list, and the shell is there.

use crate::harness::{PATIENCE, run};
use crate::serve::Account;
use crate::terminal::Terminal;

const POLICY: &str = "@id(\"ada\") permit (principal == Person::\"ada\", action in Action::\"Sessions\", resource)\n\
                      when { resource.name == \"web-1\" };\n";

#[test]
fn a_node_is_picked_by_typing_a_part_of_it_and_pressing_enter() {
    let account = Account::new("");
    std::fs::write(account.at("policies/access.cedar"), POLICY).unwrap();
    account.portcullis(&["documents", "--apply"]).ok();
    let _serving = account.serve();
    // the person's own name is no node's: whoever logs in so means the gateway
    let mut terminal = Terminal::start(&account.client("ada"), 80, 24);
    terminal.expect("node> ");
    terminal.expect("web-1");
    terminal.expect("1 of 1");
    terminal.send("nowhere\r");
    terminal.expect("0 of 1");
    terminal.send("\u{15}EB-1\u{1b}[B");
    terminal.expect("1 of 1");
    // what is typed behind Enter is the shell's
    terminal.send("\recho in-$((1 + 1)) $COLUMNS\r");
    terminal.expect("web-1 (");
    terminal.expect("in-2");
    terminal.send("exit\r");
    assert_eq!(terminal.end().code(), Some(0));
    let text = std::fs::read_to_string(account.at("evidence/events.jsonl")).unwrap();
    let events: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<&str> = events.iter().filter_map(|event| event["event"].as_str()).collect();
    let at = |name: &str| told.iter().position(|told| *told == name).unwrap_or_else(|| panic!("{name} in {told:?}"));
    assert!(at("gateway.asked") < at("session.opened"));
    assert_eq!(events[at("session.opened")]["node_called"], "web-1", "{}", events[at("session.opened")]);

    // who thinks better of it has run nothing
    let mut terminal = Terminal::start(&account.client("ada"), 80, 24);
    terminal.expect("node> ");
    terminal.send("\u{3}");
    assert_eq!(terminal.end().code(), Some(130));
    // a script is told what to say
    let script = run(&mut account.client("ada"), b"", PATIENCE);
    assert!(script.err().contains("name a node"), "{}", script.err());
}
