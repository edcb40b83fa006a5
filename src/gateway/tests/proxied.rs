//! Balancers in front, which say by the PROXY protocol for whom they connect.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::wire::Raw;
use crate::config::Algorithms;
use crate::gateway::SpokenWith;
use crate::identity::SourceList;
use crate::testing::{SOON, TestGateway, content};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const BALANCER: Ipv4Addr = Ipv4Addr::new(127, 9, 0, 1);

/// TCP over IPv4, from an address of the documentation's to another.
fn header(command: u8, client: [u8; 4]) -> Vec<u8> {
    [SIGNATURE, &[0x20 | command, 0x11, 0, 12], &client, &[192, 0, 2, 2, 0x9c, 0x40, 0, 22]].concat()
}

async fn start() -> TestGateway {
    TestGateway::with(|settings| {
        settings.balancers = Some(SourceList::networks("127.9.0.0/24").unwrap());
        let from = Some(SourceList::networks("203.0.113.9").unwrap());
        settings.algorithms_for = vec![SpokenWith { algorithms: Algorithms::Legacy, from, listeners: Vec::new() }];
    })
    .await
}

async fn connect(source: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((source, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

/// A balancer that says of everybody that they come from there; its address.
async fn balancer(gateway: SocketAddr, client: [u8; 4]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client_side, _)) = listener.accept().await {
            let mut gateway_side = connect(BALANCER, gateway).await;
            tokio::spawn(async move {
                gateway_side.write_all(&header(1, client)).await.unwrap();
                let _ = copy_bidirectional(&mut client_side, &mut gateway_side).await;
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_behind_a_balancer_is_the_one_that_the_header_names() {
    let gateway = start().await;
    let through = balancer(gateway.address, [203, 0, 113, 9]).await;
    let port = through.port().to_string();
    let alias = format!("HostKeyAlias=[127.0.0.1]:{}", gateway.address.port());
    assert_eq!(content(&gateway.run(&["-p", &port, "-o", &alias, "web", "echo in"]).await), "in\n");
    let accepted = gateway.event(|event| event["event"] == "login.accepted").await;
    assert_eq!((&accepted["source"], &accepted["profile"]), (&"203.0.113.9:40000".into(), &"legacy".into()));
    // what a key's line says of addresses is about that one
    let mut people = (*gateway.roster.current()).clone();
    let public = std::fs::read_to_string(gateway.path("stranger.pub")).unwrap();
    assert_eq!(people.add_file("bob", format!("from=\"203.0.113.0/24\" {public}").as_bytes()), []);
    gateway.roster.replace(people);
    let behind = gateway.run(&["-p", &port, "-o", &alias, "stranger", "echo in"]).await;
    assert_eq!(content(&behind), "in\n");
    assert!(!gateway.run(&["stranger", "echo in"]).await.status.success(), "from loopback it does not count");
    // who comes by themselves needs no balancer
    gateway.works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn au12_a_header_is_believed_from_the_listed_alone_and_asked_of_them_always() {
    let gateway = start().await;
    let refused = async |source: Ipv4Addr, said: &[u8]| {
        let mut tcp = connect(source, gateway.address).await;
        tcp.write_all(said).await.unwrap();
        let mut heard = Vec::new();
        let read = tokio::time::timeout(SOON, tcp.read_to_end(&mut heard)).await;
        assert!(read.is_ok(), "it is hung up on");
        let event = gateway
            .event(|event| event["source"].as_str().is_some_and(|at| at.starts_with(&format!("{source}:"))))
            .await;
        assert_eq!((&event["event"], &event["code"]), (&"login.refused".into(), &"proxy-header".into()), "{event}");
        (event["reason"].as_str().unwrap().to_owned(), heard)
    };
    let whole = [&header(1, [203, 0, 113, 9])[..], b"SSH-2.0-client\r\n"].concat();
    let (why, _) = refused(Ipv4Addr::new(127, 2, 0, 1), &whole).await;
    assert!(why.contains("in no network of gateway.proxy_protocol.from"), "{why}");
    refused(Ipv4Addr::new(127, 2, 0, 2), b"PROXY TCP4 192.0.2.1 192.0.2.2 40000 22\r\nSSH-2.0-client\r\n").await;
    for (last, said, why) in [
        (1, &b"SSH-2.0-client\r\n"[..], "sent no header"),
        (2, b"PROXY TCP4 192.0.2.1 192.0.2.2 40000 22\r\n", "sent no header"),
        (3, &[SIGNATURE, &[0x31, 0x11, 0, 12], &[0; 12]].concat(), "damaged"),
        (4, &[SIGNATURE, &[0x21, 0x00, 0, 0]].concat(), "names no client"),
        (5, &[SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat(), "65535 bytes"),
        // it stops in the middle
        (6, &SIGNATURE[..5], "no whole header"),
    ] {
        let (reason, heard) = refused(Ipv4Addr::new(127, 9, 0, last), said).await;
        assert!(reason.contains(why), "{reason}");
        assert!(heard.is_empty(), "nothing is said before it is known to whom");
    }
    gateway.works().await;
}

/// A balancer that looks whether somebody is there leaves no line, and takes no place.
#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_ends_quietly() {
    let gateway = start().await;
    for check in [header(0, [0; 4]), [SIGNATURE, &[0x20, 0, 0, 0]].concat()] {
        let mut tcp = connect(BALANCER, gateway.address).await;
        tcp.write_all(&check).await.unwrap();
        let mut heard = Vec::new();
        tokio::time::timeout(SOON, tcp.read_to_end(&mut heard)).await.unwrap().unwrap();
        assert_eq!(heard, b"");
    }
    // nor does one that only connects
    drop(connect(BALANCER, gateway.address).await);
    gateway.works().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let refused = gateway.events().into_iter().filter(|event| event["event"] == "login.refused").count();
    assert_eq!(refused, 0, "{:#?}", gateway.events());
}

/// What one client does behind a balancer is held against that client, and not against everybody behind it.
#[tokio::test(flavor = "multi_thread")]
async fn limits_are_those_of_whoever_is_behind_the_balancer() {
    let gateway = TestGateway::with(|settings| {
        settings.balancers = Some(SourceList::networks("127.9.0.0/24").unwrap());
        settings.limits.connections_per_address = 2;
    })
    .await;
    let held = async |client: [u8; 4]| {
        let mut tcp = connect(BALANCER, gateway.address).await;
        tcp.write_all(&header(1, client)).await.unwrap();
        let mut first = [0; 4];
        let answered = tokio::time::timeout(SOON, tcp.read_exact(&mut first)).await.unwrap();
        (answered.is_ok_and(|_| &first == b"SSH-"), tcp)
    };
    let one = [203, 0, 113, 1];
    let (first, second) = (held(one).await, held(one).await);
    assert!(first.0 && second.0);
    assert!(!held(one).await.0, "the third of that address");
    let another = held([203, 0, 113, 2]).await;
    assert!(another.0, "another's, by the same balancer");
    let mut raw = Raw::connect(gateway.address).await;
    raw.exchange().await;
}
