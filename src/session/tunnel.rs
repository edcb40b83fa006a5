//! When a forward is a tunnel: a way to the own sshd of the node that it goes through, however that is written. What is done by one is
//! end to end, so it is an action of its own.
//!
//! ```text
//!  web-1@gate: localhost:22, 127.1:22, [::1]:22, web-1:22, <its id, its name, its address>:22   ─▶ Tunnel
//!              a name that turns out to stand for the node there                                ─▶ refused where it is dialled
//! ```

use crate::model::{NodeAsked, NodeFacts, SshdPorts, TargetHost};
use crate::policy::Action;

/// What can be said before the node is looked up.
pub(super) fn as_asked(ports: &SshdPorts, action: Action, node: &NodeAsked) -> Action {
    let written = [node.written().as_str(), node.name().as_str()];
    turned(ports, action, |host| is_itself(host) || written.iter().any(|name| is_called(host, name)))
}

/// And then.
pub(super) fn on(ports: &SshdPorts, action: Action, facts: &NodeFacts) -> Action {
    let names = [facts.node.id.0.as_str(), facts.name()];
    turned(ports, action, |host| match host {
        TargetHost::Address(address) => facts.is_at(*address),
        host => names.iter().any(|name| is_called(host, name) || is_called_there(host, name, facts)),
    })
}

fn turned(ports: &SshdPorts, action: Action, leads_to_the_node: impl Fn(&TargetHost) -> bool) -> Action {
    match action {
        Action::Forward { host, port }
            if ports.has(port) && TargetHost::parse(&host).is_ok_and(|host| leads_to_the_node(&host)) =>
        {
            Action::Tunnel { port }
        }
        other => other,
    }
}

fn is_itself(host: &TargetHost) -> bool {
    host.is_node_itself()
}

fn is_called(host: &TargetHost, name: &str) -> bool {
    matches!(host, TargetHost::Name(host) if host.eq_ignore_ascii_case(name.strip_suffix('.').unwrap_or(name)))
}

/// With its realm behind it.
fn is_called_there(host: &TargetHost, name: &str, facts: &NodeFacts) -> bool {
    is_called(host, &format!("{name}.{}", facts.node.realm))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ForwardTarget, NodeRef};

    const ID: &str = "i-0123456789abcdef0";

    fn asked(host: &str, port: u32) -> Action {
        let ForwardTarget { host, port } = ForwardTarget::parse(host, port).unwrap();
        Action::Forward { host: host.to_string(), port: port.into() }
    }

    /// As somebody asks for it by `web-1`, which is called `Web-One`.
    fn judged(host: &str, port: u32) -> Action {
        let ports = SshdPorts::new(vec![22, 2222]);
        let facts = NodeFacts {
            called: Some("Web-One".to_owned()),
            address: Some("10.0.0.5".parse().unwrap()),
            ..NodeFacts::bare(NodeRef::for_test(ID))
        };
        on(&ports, as_asked(&ports, asked(host, port), &NodeAsked::for_test("web-1")), &facts)
    }

    #[test]
    fn the_node_s_own_sshd_is_a_tunnel_in_every_spelling() {
        let realm = crate::model::RealmName::for_test();
        let with_realm = format!("{ID}.{realm}");
        for host in [
            "localhost",
            "LOCALHOST.",
            "a.localhost",
            "127.0.0.1",
            "127.1",
            "127.255.255.254",
            "0x7f.1",
            "2130706433",
            "017700000001",
            "::1",
            "[::1]",
            "0:0:0:0:0:0:0:1",
            "::ffff:127.0.0.1",
            "web-1",
            "WEB-1.",
            "web-one",
            ID,
            with_realm.as_str(),
            "10.0.0.5",
            "0x0a000005",
            "::ffff:10.0.0.5",
        ] {
            for port in [22, 2222] {
                assert_eq!(judged(host, port), Action::Tunnel { port }, "{host}:{port}");
            }
            assert!(matches!(judged(host, 80), Action::Forward { .. }), "{host}");
        }
    }

    #[test]
    fn what_is_elsewhere_is_a_forward() {
        for host in ["10.0.0.6", "web-2", "web-1.example.com", "localhost.example.com", "2001:db8::1"] {
            assert!(matches!(judged(host, 22), Action::Forward { .. }), "{host}");
        }
        assert_eq!(judged("localhost", 23), asked("localhost", 23));
        let socket = Action::ForwardSocket { path: b"/run/x".to_vec() };
        let ports = SshdPorts::default();
        assert_eq!(as_asked(&ports, socket.clone(), &NodeAsked::for_test("web-1")), socket);
    }

    #[test]
    fn where_no_sshd_is_said_to_listen_nothing_is_one() {
        let ports = SshdPorts::new(vec![2222]);
        let node = NodeAsked::for_test("web-1");
        assert!(matches!(as_asked(&ports, asked("localhost", 22), &node), Action::Forward { .. }));
        assert_eq!(as_asked(&ports, asked("localhost", 2222), &node), Action::Tunnel { port: 2222 });
    }
}
