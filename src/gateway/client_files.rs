//! What clients have to know to hop, as lines of their own files: `known_hosts`, and `Host` blocks of `ssh_config`. By
//! `portcullis known-hosts` and `ssh-config` for a fleet, and by `ssh <gateway> known-hosts` and `ssh-config` for a person.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::backend::{Listing, Node};
use crate::identity::Login;
use crate::model::RealmName;

/// What `known_hosts` says of a gateway and the nodes behind it.
#[derive(Clone, Copy, Debug)]
pub struct KnownHosts<'a> {
    /// The host CA's public key.
    pub host_ca: &'a str,
    /// The gateway's host keys.
    pub host_keys: &'a [String],
    /// The patterns that stand for the nodes, with commas between them.
    pub nodes: &'a str,
    /// By what names clients reach the gateway itself, and on which ports.
    pub gateways: &'a [(String, u16)],
    /// For clients that know no certificates: the nodes by the gateway's own keys, which it shows in their place.
    pub plain: bool,
}

impl KnownHosts<'_> {
    /// As lines.
    pub fn lines(&self) -> Vec<String> {
        // Dropbear takes a comment for a part of the key
        let plain = |key: &str| key.split(' ').take(2).collect::<Vec<_>>().join(" ");
        let with_keys =
            |name: &str| self.host_keys.iter().map(|key| format!("{name} {}", plain(key))).collect::<Vec<_>>();
        let mut lines = match self.plain {
            true => with_keys(self.nodes),
            false => vec![format!("@cert-authority {} {}", self.nodes, plain(self.host_ca))],
        };
        lines.extend(self.gateways.iter().flat_map(|(host, port)| match port {
            22 => with_keys(host),
            port => with_keys(&format!("[{host}]:{port}")),
        }));
        lines
    }

    /// For programs.
    pub fn json(&self) -> Value {
        json!({ "host_ca": self.host_ca, "host_keys": self.host_keys, "lines": self.lines() })
    }
}

/// A node as `ssh_config` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostEntry {
    /// What it may be called, the best first.
    pub aliases: Vec<String>,
    /// What it is asked for by.
    pub name: String,
}

/// The nodes by what tells each from all others: its name where no other has it and a login can say it, and else its id; and by the
/// value of a tag, where one is asked for and no other has that.
pub fn entries(list: &Listing, realms: &[RealmName], tag: Option<&str>) -> Vec<HostEntry> {
    let written = |node: &Node, name: &str| match realms.len() {
        0 | 1 => name.to_owned(),
        _ => format!("{name}.{}", node.realm()),
    };
    let tagged = |node: &Node| node.facts.tags.as_ref().ok().and_then(|tags| tags.get(tag?)).map(String::to_owned);
    let mut times: HashMap<String, usize> = HashMap::new();
    for node in &list.nodes {
        *times.entry(written(node, &node.name)).or_default() += 1;
        if let Some(value) = tagged(node) {
            *times.entry(value).or_default() += 1;
        }
    }
    let usable = |name: &String| times.get(name).is_none_or(|times| *times == 1) && Login::node_of(name).is_ok();
    let entry = |node: &Node| {
        let (name, id) = (written(node, &node.name), written(node, &node.node_ref().id.0));
        let known = [Some(name), Some(id.clone()), tagged(node)].into_iter().flatten().filter(usable);
        let mut aliases: Vec<String> = Vec::new();
        for alias in known {
            if !aliases.contains(&alias) {
                aliases.push(alias);
            }
        }
        // a tag's value is a name in this file alone
        let name = aliases.iter().find(|alias| tagged(node).as_ref() != Some(*alias)).cloned().unwrap_or(id);
        HostEntry { aliases, name }
    };
    let mut entries: Vec<HostEntry> = list.nodes.iter().map(entry).filter(|entry| !entry.aliases.is_empty()).collect();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    entries
}

/// `Host` blocks; `jump` is what the gateway is called in the same file, and `known_hosts` the file with its host CA, which then is
/// believed for these nodes and for nothing else.
pub fn ssh_config(entries: &[HostEntry], jump: &str, known_hosts: &str) -> String {
    let mut text = String::new();
    for HostEntry { aliases, name } in entries {
        // the node's own name inside a hop means no user of the node; a client would send its local user's
        let _ = writeln!(text, "Host {}\n    HostName {name}\n    User {name}\n", aliases.join(" "));
    }
    if entries.is_empty() {
        return text;
    }
    let all = entries.iter().flat_map(|entry| &entry.aliases).map(String::as_str).collect::<Vec<_>>();
    let _ = writeln!(text, "Host {}\n    ProxyJump {jump}\n    UserKnownHostsFile {known_hosts}", all.join(" "));
    text
}

/// The same for programs.
pub fn as_json(entries: &[HostEntry], jump: &str) -> Value {
    let one = |HostEntry { aliases, name }: &HostEntry| json!({ "host": name, "aliases": aliases, "proxy_jump": jump });
    json!(entries.iter().map(one).collect::<Vec<_>>())
}

/// Where the lines of `known_hosts` go that these blocks look into.
pub fn known_hosts_file(jump: &str) -> String {
    let plain: String = jump.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    format!("~/.ssh/known_hosts_{plain}")
}

/// Whether a text can stand in `ssh_config` for a host, with its user and its port or without: it comes from a person, and what is
/// printed is somebody's configuration.
pub fn is_jump(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-@:[]/%+".contains(c);
    !text.is_empty() && text.len() <= 255 && text.chars().all(plain) && !text.starts_with('-')
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::model::NodeFacts;

    fn node(id: &str, name: &str, role: Option<&str>) -> Node {
        let facts = NodeFacts::named(id, name);
        let facts = role.into_iter().fold(facts, |facts, role| facts.tagged("Role", role));
        Node { facts: facts.into(), name: name.to_owned(), computer_name: None, online: true, last_ping: None }
    }

    fn list() -> Listing {
        let nodes = vec![
            node("i-0000000000000000a", "web-1", Some("web")),
            node("i-0000000000000000b", "web-2", Some("web")),
            node("i-0000000000000000c", "twin", Some("db")),
            node("i-0000000000000000d", "twin", Some("*")),
            node("i-0000000000000000e", "a name\n    ProxyCommand id", None),
        ];
        Listing { nodes, is_whole: true, silent: Vec::new() }
    }

    #[test]
    fn each_node_is_called_by_what_no_other_is_called() {
        let entries = entries(&list(), &[RealmName::for_test()], Some("Role"));
        let told: Vec<(&str, String)> =
            entries.iter().map(|entry| (entry.name.as_str(), entry.aliases.join(" "))).collect();
        assert_eq!(
            told,
            [
                ("i-0000000000000000c", "i-0000000000000000c db".to_owned()),
                ("i-0000000000000000d", "i-0000000000000000d".to_owned()),
                ("i-0000000000000000e", "i-0000000000000000e".to_owned()),
                ("web-1", "web-1 i-0000000000000000a".to_owned()),
                ("web-2", "web-2 i-0000000000000000b".to_owned()),
            ]
        );
        let two = [RealmName::of_test("dev"), RealmName::for_test()];
        let within = list().nodes[0].realm().to_string();
        assert!(super::entries(&list(), &two, None).iter().any(|entry| entry.name == format!("web-1.{within}")));
    }

    #[test]
    fn openssh_takes_the_blocks_for_what_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let entries = entries(&list(), &[RealmName::for_test()], Some("Role"));
        let path = dir.path().join("config");
        std::fs::write(&path, ssh_config(&entries, "gate", &known_hosts_file("gate"))).unwrap();
        let ask = |host: &str| {
            let run = Command::new("ssh").arg("-F").arg(&path).args(["-G", host]).output().unwrap();
            assert!(run.status.success(), "{run:?}");
            String::from_utf8(run.stdout).unwrap()
        };
        for (host, name) in [("web-1", "web-1"), ("i-0000000000000000a", "web-1"), ("db", "i-0000000000000000c")] {
            let known = ask(host);
            for line in [&format!("hostname {name}"), &format!("user {name}"), "proxyjump gate"] {
                assert!(known.lines().any(|shown| shown == line), "no {line} in {known}");
            }
            // the client has put its home in
            assert!(
                known
                    .lines()
                    .any(|shown| shown.starts_with("userknownhostsfile ") && shown.ends_with("/.ssh/known_hosts_gate"))
            );
            assert!(!known.contains("proxycommand"), "{known}");
        }
        assert!(!ask("elsewhere").contains("proxyjump"));
    }

    #[test]
    fn known_hosts_has_the_ca_for_nodes_and_the_keys_for_the_gateway() {
        let keys = ["ssh-ed25519 AAAA gate".to_owned()];
        let gateways = [("gate.example.com".to_owned(), 22), ("10.0.0.1".to_owned(), 2222)];
        let known = KnownHosts {
            host_ca: "ssh-ed25519 BBBB ca",
            host_keys: &keys,
            nodes: "*",
            gateways: &gateways,
            plain: false,
        };
        let gate = ["gate.example.com ssh-ed25519 AAAA", "[10.0.0.1]:2222 ssh-ed25519 AAAA"];
        assert_eq!(known.lines(), [&["@cert-authority * ssh-ed25519 BBBB"], &gate[..]].concat());
        assert_eq!(KnownHosts { plain: true, ..known }.lines(), [&["* ssh-ed25519 AAAA"], &gate[..]].concat());
        assert!(is_jump("ada@gate.example.com:2222") && is_jump("gate"));
        assert!(!["", "-oProxyCommand=id", "a b", "gate\nHost *", "$(id)", "`id`"].iter().any(|text| is_jump(text)));
    }
}
