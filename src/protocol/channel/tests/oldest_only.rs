//! An agent that sends again as AWS's does: only its oldest frame, by a clock of its own.

use super::*;

const TICK: Duration = Duration::from_millis(100);

fn agent() -> HandPlayed {
    agent_with(Limits::default())
}

fn agent_with(limits: Limits) -> HandPlayed {
    let role = Role::Agent(AgentRole { resends: Resends::OldestOnly, ..AgentRole::default() });
    let mut played = HandPlayed::new(role, Limits { payload: 1, ..limits }, MessageType::InputStreamData);
    // the first round trip: 10 ms, so that every tick is later than any patience
    played.write(b"$");
    assert_eq!(played.frames(), [output(0, "$")]);
    played.pass(Duration::from_millis(10)).unwrap();
    played.peer_acknowledges(0);
    played.events();
    played
}

impl HandPlayed {
    /// The sequence numbers of what is sent at each of so many ticks.
    fn ticks(&mut self, count: usize) -> Vec<Vec<i64>> {
        let tick = |_| {
            self.pass(TICK).unwrap();
            self.frames().into_iter().map(|(sequence, ..)| sequence).collect()
        };
        (0..count).map(tick).collect()
    }
}

#[test]
fn a_row_of_lost_frames_heals_at_ten_a_second() {
    let mut played = agent();
    played.write(b"abcdefgh");
    assert_eq!(played.frames().len(), 8);
    // frame 8 has arrived, 1 to 7 have not: nothing is found to be lost by that
    played.peer_acknowledges(8);
    played.pass(Duration::from_millis(50)).unwrap();
    assert_eq!(played.frames(), []);
    for sequence in 1..8 {
        assert_eq!(played.ticks(1), [[sequence]]);
        played.peer_acknowledges(sequence);
    }
    assert!(played.channel.is_drained());
    assert_eq!(played.channel.poll_timeout(), None, "with nothing to look at, nobody is woken");
}

#[test]
fn the_oldest_is_sent_again_for_ever_and_nothing_else() {
    let mut played = agent();
    played.write(b"abc");
    played.frames();
    let sent = played.ticks(50).concat();
    assert!(sent.iter().all(|sequence| *sequence == 1), "{sent:?}");
    // patience grows with nothing: no round trip is measured
    assert!(sent.len() >= 49, "{sent:?}");
    // new data goes out beside it, whatever is missing
    played.write(b"d");
    assert_eq!(played.frames(), [output(4, "d")]);
}

#[test]
fn there_is_no_window() {
    let mut played = agent_with(Limits { window_min: 100, window_max: 100, window_frames: 4, ..Limits::default() });
    played.write(&[0; 5000]);
    assert_eq!(played.frames().len(), 5000);
}

#[test]
fn what_is_written_without_a_websocket_counts_as_sent() {
    let mut played = agent_with(Limits { send_buffer: 4, ..Limits::default() });
    played.write(b"ab");
    played.channel.handle_disconnected(played.now);
    // the source is read on at full speed, whatever the send buffer
    assert_eq!([played.write(b"cdef"), played.write(b"ghij")], [4, 4]);
    assert_eq!(played.frames(), []);
    played.pass(Duration::from_millis(250)).unwrap();
    played.channel.handle_connected(played.now);
    assert_eq!(played.frames(), [], "nothing is sent again for a new websocket");
    let healed: Vec<i64> = (1..=10)
        .map(|_| {
            let sent = played.ticks(1).concat();
            assert_eq!(sent.len(), 1);
            played.peer_acknowledges(sent[0]);
            sent[0]
        })
        .collect();
    assert_eq!(healed, (1..=10).collect::<Vec<_>>());
    assert!(played.channel.is_drained());
}

#[test]
fn a_pause_swallows_what_is_written_and_stops_the_clock() {
    let mut played = agent();
    played.peer_says(MessageType::PausePublication, 0, PayloadType::Unset, Bytes::from_static(b"{}")).unwrap();
    assert_eq!((played.channel.is_paused(), played.channel.pauses()), (true, 1));
    assert_eq!(played.write(b"ab"), 2);
    assert_eq!(played.ticks(3).concat(), [0; 0]);
    // any sign of the client ends the pause, and what was written goes by the clock all the same
    played.peer_acknowledges(0);
    assert!(!played.channel.is_paused());
    assert_eq!(played.frames(), []);
    assert_eq!(played.ticks(1), [[1]]);
    played.peer_acknowledges(1);
    assert_eq!(played.ticks(1), [[2]]);
}

#[test]
fn a_frame_is_delivered_twice_if_its_acknowledgement_could_not_be_written() {
    let mut played = agent();
    played.peer_sends(0, PayloadType::Output, "a");
    assert_eq!(played.acks(), [0]);
    for (sequence, text) in [(1, "b"), (2, "c"), (4, "e"), (0, "a")] {
        played.peer_sends(sequence, PayloadType::Output, text);
    }
    // the websocket goes before a word of that is written
    played.channel.handle_disconnected(played.now);
    assert_eq!(played.events(), [data("a"), data("b")]);
    played.channel.handle_connected(played.now);
    assert_eq!(played.acks(), [0; 0]);
    // the client sends again what nobody has acknowledged
    for (sequence, text) in [(1, "b"), (2, "c"), (3, "d"), (4, "e")] {
        played.peer_sends(sequence, PayloadType::Output, text);
    }
    assert_eq!(played.acks(), [1, 2, 3, 4]);
    assert_eq!(played.events(), ["b", "c", "d", "e"].map(data));
}

#[test]
fn what_waits_for_an_acknowledgement_to_be_written_is_bounded() {
    let mut played = agent();
    let mut sequence = 0;
    while played.channel.wants_input() {
        played.peer_sends(sequence, PayloadType::Output, "x");
        sequence += 1;
        assert!(sequence < 100_000);
    }
    assert_eq!(played.events(), [data("x")]);
    assert_eq!(played.acks().len() as i64, sequence);
    assert_eq!(played.events().len() as i64, sequence - 1);
    assert!(played.channel.wants_input());
}

#[test]
fn what_it_remembers_is_bounded() {
    let mut played = agent();
    played.channel.handle_disconnected(played.now);
    let mut written = 0;
    while played.channel.send_capacity() > 0 {
        written += played.write(&[0; 1000]);
        assert!(written < 1 << 20);
    }
    assert!(written >= 100_000, "{written}");
    assert_eq!(played.channel.stats().outstanding, 100_000);
}
