//! What travels deflated between the link and Python's helper, and what does not.

use super::node::{Kind, Node, Setup};

/// So many bytes of the lines of a log.
fn text(length: usize) -> Vec<u8> {
    let lines = (0_u32..).flat_map(|n| format!("line {n}: host{} said {:x}\n", n % 7, n % 100 * n % 1009).into_bytes());
    lines.take(length).collect()
}

fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

/// What comes back of `cat`, and how many bytes the lanes carried, in and out. So often lanes are lost on the way.
fn carried(kind: Kind, setup: Setup, bytes: &[u8], losses: usize) -> (Vec<u8>, (usize, usize)) {
    let mut node = Node::start(kind, setup);
    for (round, part) in bytes.chunks(bytes.len() / (losses + 1) + 1).enumerate() {
        if round > 0 {
            node.lose_out();
            if round % 3 == 0 {
                node.lose_in();
            }
            node.reattach_out();
        }
        node.input(part);
    }
    node.eof();
    node.until("all of it", |node| node.stdout.len() == bytes.len());
    let carried = node.carried;
    (node.finish().0, carried)
}

#[test]
fn what_shrinks_is_carried_in_a_third_and_what_does_not_as_it_is() {
    let (text, noise) = (text(6 << 20), noise(6 << 20));
    let (back, (inward, out)) = carried(Kind::Python, Setup::command("cat"), &text, 0);
    assert!(back == text && inward * 3 < text.len() && out * 3 < text.len(), "{inward} in, {out} out");
    let (back, (inward, out)) = carried(Kind::Python, Setup::command("cat"), &noise, 0);
    assert!(
        back == noise && inward * 100 < noise.len() * 101 && out * 100 < noise.len() * 102,
        "{inward} in, {out} out"
    );
}

#[test]
fn deflated_records_come_again_over_other_lanes() {
    // in pieces of no record's length, so that plain and deflated ones follow each other
    let parts = (0..40).flat_map(|n| if n % 2 == 0 { text(150_000 + n) } else { noise(70_000 + n) });
    let bytes: Vec<u8> = parts.collect();
    assert!(carried(Kind::Python, Setup::command("cat"), &bytes, 20).0 == bytes);
}

#[test]
fn who_cannot_inflate_gets_everything_as_it_is_and_a_terminal_s_is_left_alone() {
    let text = text(1 << 20);
    let mut without = Setup::command("cat");
    without.altered.push(("import zlib", "import zlib_is_not_there".to_owned()));
    let terminal = Setup::command("stty raw -echo; cat").terminal(80, 24, Vec::new());
    for (kind, setup) in [(Kind::Python, without), (Kind::Dash, Setup::command("cat"))] {
        let (back, (inward, out)) = carried(kind, setup, &text, 0);
        assert!(back == text && inward > text.len() && out > text.len(), "{kind:?}: {inward} in, {out} out");
    }
    let mut node = Node::start(Kind::Python, terminal);
    node.until("the start", |node| node.hello.is_some());
    assert!(!node.hello.as_ref().unwrap().inflates);
    node.input(&text[..64 * 1024]);
    node.until("an echo", |node| node.stdout.len() >= 64 * 1024);
    assert!(node.carried.0 > 64 * 1024 && node.carried.1 > 64 * 1024, "{:?}", node.carried);
}
