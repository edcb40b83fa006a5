//! A relay as the node runs it: its own first and last words. What it carries is tested through the lanes (transport/tests).

use std::io::{ErrorKind, Read as _};
use std::net::TcpListener;

use super::node::{Kind, Node, Setup};
use crate::model::Exit;

const VERSION: &[u8] = b"V\0\0\0\0\0\0\0\x01\x01";

/// In sh there is none, and that is said in a word of its own.
pub(super) fn a_relay_is_there_or_says_that_it_is_not(kind: Kind) {
    let mut node = Node::start(kind, Setup::relay());
    if kind == Kind::Python {
        node.until("its version", |node| node.stdout == VERSION);
        node.eof();
        assert_eq!(node.finish().2, Exit::Code(0));
    } else {
        let (stdout, _, exit) = node.finish();
        assert_eq!((&stdout[..], exit), (&b""[..], Exit::Code(78)));
    }
}

/// Who is connected must not take that for the end of what was to come.
#[test]
fn a_hang_up_resets_what_was_not_finished() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut node = Node::start(Kind::Python, Setup::relay());
    let port = listener.local_addr().unwrap().port().to_be_bytes();
    node.input(&[b"O\0\0\0\x01\0\0\0\x0b\0\x01\0\x004\x7f\0\0\x01", &port[..]].concat());
    node.input(b"D\0\0\0\x01\0\0\0\x04half");
    let opened = [VERSION, b"O\0\0\0\x01\0\0\0\x08\0\0\0\0\0\x01\0\0"].concat();
    node.until("the stream", |node| node.stdout == opened);
    node.link.hang_up();
    let (mut far, _) = listener.accept().unwrap();
    node.gone();
    // as with any reset, what came before it may be lost with it
    let ended = std::io::copy(&mut far, &mut std::io::sink()).unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::ConnectionReset);
    assert_eq!(far.read(&mut [0]).unwrap_or(0), 0);
}

/// A command is a process of its own there, with what its node's user has and nothing of the relay's.
#[test]
fn a_command_on_it_ends_by_itself_and_has_nothing_of_the_relay_s() {
    let mut node = Node::start(Kind::Python, Setup::relay());
    let record = |kind: u8, payload: &[u8]| {
        [&[kind][..], &u32::try_from(payload.len()).unwrap().to_be_bytes(), payload].concat()
    };
    let line = b"ls /proc/self/fd | wc -l; ulimit -n; pwd; exit 3";
    let words = [record(b'P', b"w=command;n=1"), record(b'c', line)].concat();
    node.input(b"O\0\0\0\x01\0\0\0\x05\0\x04\0\0x");
    node.input(&[b"D\0\0\0\x01\0\0\0", &[u8::try_from(words.len()).unwrap()][..], &words].concat());
    node.until("its last word", |node| node.stdout.windows(5).any(|word| word == b"Q\0\0\0\0"));
    let said = String::from_utf8_lossy(&node.stdout).into_owned();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap();
    // the listing's own is the fourth
    let home = std::env::var("HOME").unwrap();
    assert!(said.contains("4\n") && said.contains(&format!("{limit}\n")) && said.contains(&home), "{said:?}");
    assert!(node.stdout.windows(11).any(|word| word == b"X\0\0\0\x06\0\0\0\0\x03\0"), "{said:?}");
    // the gateway has heard its end, and has no more for it
    node.input(b"F\0\0\0\x01\0\0\0\0");
    node.eof();
    assert_eq!(node.finish().2, Exit::Code(0));
}
