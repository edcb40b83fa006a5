//! Ways to the own sshd of the node that the login names: `Tunnel`, whatever else is permitted and however it is written.

use super::wire::{Raw, string, take};
use crate::testing::TestGateway;

/// `web-1`, whose id is `i-web-1`.
const SPELLINGS: [&str; 17] = [
    "localhost",
    "LOCALHOST.",
    "x.localhost",
    "127.0.0.1",
    "127.1",
    "127.255.255.254",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "::1",
    "[::1]",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "web-1",
    "WEB-1.",
    "i-web-1",
];

async fn refusal(gateway: &TestGateway, login: &str, host: &str, port: u32) -> (u32, String) {
    let mut raw = Raw::logged_in(gateway.address, login, &gateway.key("ada")).await;
    let numbers = [7_u32, 1 << 20, 32768].map(u32::to_be_bytes).concat();
    let target = [&string(host.as_bytes())[..], &port.to_be_bytes()].concat();
    let from = [&string(b"127.0.0.1")[..], &40_000_u32.to_be_bytes()].concat();
    raw.send(&[&[90], &string(b"direct-tcpip")[..], &numbers, &target, &from].concat()).await;
    let failure = raw.until(92).await;
    let code = u32::from_be_bytes(failure[5..9].try_into().unwrap());
    (code, String::from_utf8(take(&mut &failure[9..])).unwrap())
}

#[tokio::test]
async fn leave_to_forward_is_none_to_tunnel_in_any_spelling() {
    let forwards = "@id(\"forwards\") permit (principal, action in [Action::\"Forward\", Action::\"Hop\"], resource);";
    let gateway = TestGateway::under(forwards).await;
    for host in SPELLINGS {
        let (code, told) = refusal(&gateway, "web-1", host, 22).await;
        assert!(code == 1 && told.contains("no policy lets ada do Tunnel on web-1"), "{host}: {code} {told}");
        assert!(told.contains("ssh -J <gateway> web-1 is answered by the gateway and recorded"), "{told}");
        assert_eq!(refusal(&gateway, "web-1", host, 23).await.0, 2, "{host}: another port is a forward");
    }
    // who hops from a plain login that is a node comes to the same
    let (code, told) = refusal(&gateway, "web-1", "Web-1", 22).await;
    assert!(code == 1 && told.contains("Tunnel"), "{told}");
    assert!(gateway.node.dialled.lock().unwrap().iter().all(|dialled| dialled.ends_with(":23")));
    let denied = gateway.event(|event| event["asked"] == "a tunnel to port 22 of web-1").await;
    assert_eq!((&denied["event"], &denied["code"]), (&"channel.refused".into(), &"no-rule".into()));
}

#[tokio::test]
async fn leave_to_tunnel_is_that_alone_and_recorded_as_such() {
    let tunnels =
        "@id(\"tunnels\") permit (principal, action == Action::\"Tunnel\", resource) when { context.port == 22 };";
    let gateway = TestGateway::under(tunnels).await;
    for host in SPELLINGS {
        let (code, told) = refusal(&gateway, "web-1", host, 22).await;
        assert!(code == 2 && told.contains("nobody answers at tunnel:22"), "{host}: {code} {told}");
        let (code, told) = refusal(&gateway, "web-1", host, 23).await;
        assert!(code == 1 && told.contains("no policy lets ada do Forward"), "{host}: {code} {told}");
    }
    let opened = gateway.event(|event| event["event"] == "session.opened").await;
    let told = (&opened["action"], &opened["host"], &opened["port"], &opened["policy"]);
    assert_eq!(told, (&"Tunnel".into(), &"localhost".into(), &22.into(), &"tunnels".into()));
}

#[tokio::test]
async fn what_forbids_tunnels_wins_over_what_permits_everything() {
    let both = "@id(\"all\") permit (principal, action, resource);\n\
                @id(\"seen\") forbid (principal, action == Action::\"Tunnel\", resource);";
    let gateway = TestGateway::under(both).await;
    let (code, told) = refusal(&gateway, "web-1", "localhost", 22).await;
    assert!(code == 1 && told.contains("denied by policy \"seen\"") && told.contains("ssh -J"), "{told}");
    assert_eq!(refusal(&gateway, "web-1", "10.0.0.9", 22).await.0, 2, "another host's sshd is a forward");
}
