//! What ends a channel whoever is at its ends: the account's time limits, the gateway's own, and what the account's
//! preferences ask for that a lane can't carry. Minutes are shortened for the gateway only, so that the service is not
//! what ends the channel.

use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::ended::{collect, next_of};
use super::watched::{Slow, Watched};
use crate::backend::Directory as _;
use crate::config::{Rung, ShellTransport};
use crate::emulator::agent::Fidelity;
use crate::emulator::{Cut, End};
use crate::evidence::SessionRecord;
use crate::model::Exit;
use crate::policy::{Action, FileAction, Grant};
use crate::testing::{EmbeddedTransport, NODE, PATIENCE};
use crate::transport::file_service::Operation;
use crate::transport::helper::program::OUT_DOCUMENT;
use crate::transport::{ChannelSetup, Herald, News, OpenChannel, Out, TransportError, TransportOptions};

const SECOND: Duration = Duration::from_secs(1);

fn on(rung: Rung) -> TransportOptions {
    TransportOptions { rung: Some(rung), ..TransportOptions::default() }
}

/// A transport in an account whose account's minutes last three seconds.
async fn hurried(inputs: &str, options: TransportOptions) -> EmbeddedTransport {
    let mut embedded = EmbeddedTransport::under(inputs, Fidelity::Fast, options).await;
    embedded.transport.set_minute(3 * SECOND);
    embedded
}

fn sessions(embedded: &EmbeddedTransport) -> Vec<String> {
    embedded.service.faults().sessions().into_iter().map(|session| session.id).collect()
}

/// Waits until these, and no others, are the live sessions' number.
async fn until_sessions(embedded: &EmbeddedTransport, what: &str, right: impl Fn(&[String]) -> bool) -> Vec<String> {
    let until = Instant::now() + Duration::from_secs(15);
    loop {
        let now = sessions(embedded);
        if right(&now) {
            return now;
        }
        assert!(Instant::now() < until, "{what}: {now:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_life_holds_on_every_rung_whatever_passes() {
    for rung in [Rung::TwoLanes, Rung::OneLane] {
        let embedded = hurried(r#"{"maxSessionDuration":"1"}"#, on(rung)).await;
        let began = Instant::now();
        let ended = embedded.run("while :; do echo x; sleep 0.2; done", b"").await;
        let took = began.elapsed();
        assert_eq!(ended.error.as_deref(), Some("Max session duration reached. Your session has been terminated."));
        assert!(took >= 3 * SECOND && took < 9 * SECOND, "{rung:?}: {took:?}");
        assert!(ended.stdout.starts_with(b"x\n"));
        assert!(embedded.litter().await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_in_another_s_place_has_no_new_life() {
    let embedded = hurried(r#"{"maxSessionDuration":"1"}"#, on(Rung::TwoLanes)).await;
    let began = Instant::now();
    let cutter = async {
        let first = until_sessions(&embedded, "a lane", |all| !all.is_empty()).await;
        tokio::time::sleep(2 * SECOND).await;
        embedded.service.faults().cut(&first[0], End::Client, Cut::Abort);
        until_sessions(&embedded, "another lane", |all| all.iter().any(|id| !first.contains(id))).await;
    };
    let (ended, ()) = tokio::join!(embedded.run("while :; do echo x; sleep 0.2; done", b""), cutter);
    assert!(ended.error.as_deref().is_some_and(|text| text.starts_with("Max session duration")), "{ended:?}");
    assert!(began.elapsed() < 2 * SECOND + 3 * SECOND, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_does_not_outlive_its_time() {
    let embedded = hurried(r#"{"maxSessionDuration":"1"}"#, on(Rung::OneLane)).await;
    let channel = embedded.exec("cat /dev/zero", true).await.unwrap();
    until_sessions(&embedded, "a lane", |all| !all.is_empty()).await;
    until_sessions(&embedded, "no lane", <[String]>::is_empty).await;
    assert!(embedded.litter().await.is_empty());
    drop(channel);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_ends_a_channel_on_every_rung() {
    for rung in [Rung::TwoLanes, Rung::OneLane] {
        let embedded = hurried(r#"{"idleSessionTimeout":"1"}"#, on(rung)).await;
        let began = Instant::now();
        let ended = embedded.run("for i in 1 2 3 4; do echo $i; sleep 1; done; sleep 600", b"").await;
        assert!(ended.error.unwrap().contains("was idle for 1 minute,"), "{rung:?}");
        assert!(began.elapsed() > 6 * SECOND, "activity did not count");
        assert_eq!(ended.stdout, b"1\n2\n3\n4\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_obliges_to_holds_whatever_the_account_allows() {
    let embedded = EmbeddedTransport::fast().await;
    for (obligation, command, why) in [
        ("@max_duration(\"2s\")", "while :; do echo x; sleep 0.2; done", "Max session duration reached."),
        ("@idle_timeout(\"2s\")", "sleep 600", "the session was idle for"),
    ] {
        let policy = format!("@id(\"short\") {obligation} permit (principal, action, resource);");
        let action = Action::Exec { command: command.as_bytes().to_vec() };
        let grant = Grant::under(&policy, "tester", NODE, action);
        let setup = ChannelSetup { stdin_closed: true, ..ChannelSetup::default() };
        let lanes = SessionRecord::for_test().lanes();
        let began = Instant::now();
        let channel = embedded.transport.open(grant, lanes, setup, Herald::default()).await.unwrap();
        let ended = collect(channel.output).await;
        assert!(ended.error.as_deref().is_some_and(|text| text.starts_with(why)), "{obligation}: {ended:?}");
        assert!(began.elapsed() >= 2 * SECOND, "{obligation}: {:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_in_a_session_of_files_may_end_it_sooner() {
    let embedded = EmbeddedTransport::fast().await;
    let policies = "@id(\"look\") permit (principal, action in Action::\"BrowseFiles\", resource);\n\
                    @id(\"read\") @max_duration(\"2s\") permit (principal, action == Action::\"Download\", resource);";
    let grant = Grant::under(policies, "tester", NODE, Action::Files);
    let lanes = SessionRecord::for_test().lanes();
    let service = embedded.transport.open_files(grant, lanes, Herald::default()).await.unwrap();
    let look = || service.call(Operation::RealPath { path: b"/".to_vec() });
    assert!(look().await.is_ok());
    let download = Action::File { action: FileAction::Download, path: b"/x".to_vec() };
    assert!(service.grant().judge(&download).is_ok());
    let until = Instant::now() + Duration::from_secs(15);
    while look().await.is_ok() {
        assert!(Instant::now() < until, "it goes on");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_lane_carries_is_refused_on_every_rung() {
    let asked = [
        (r#"{"kmsKeyId":"alias/x"}"#, "KMS key alias/x"),
        (r#"{"s3BucketName":"logs"}"#, "S3 bucket logs"),
        (r#"{"cloudWatchLogGroupName":"/ssm"}"#, "CloudWatch group /ssm"),
        (r#"{"runAsEnabled":true,"runAsDefaultUser":"app"}"#, "by default app"),
        (r#"{"shellProfile":{"linux":"exec bash"}}"#, "shell profile"),
    ];
    for (inputs, expected) in asked {
        for rung in [Rung::TwoLanes, Rung::OneLane] {
            let embedded = EmbeddedTransport::under(inputs, Fidelity::Fast, on(rung)).await;
            let refused = embedded.exec("true", true).await.unwrap_err().to_string();
            assert!(refused.contains(expected) && refused.contains("nothing was opened"), "{refused}");
            assert_eq!(sessions(&embedded), [""; 0], "{inputs} on {rung:?}");
        }
    }
}

/// Shells are the agent's own, may be silent for three seconds, and are as many as one.
fn agent_shell() -> TransportOptions {
    TransportOptions {
        shell: ShellTransport::Agent,
        idle_limit: Some(3 * SECOND),
        channels_per_node: 1,
        ..TransportOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_s_own_idle_limit_holds_for_the_agent_s_shell() {
    let embedded = EmbeddedTransport::new(Fidelity::Fast, agent_shell()).await;
    let OpenChannel { input, output } = embedded.shell().await.unwrap();
    let typist = async {
        for _ in 0..4 {
            tokio::time::sleep(SECOND).await;
            input.send(Bytes::from_static(b"true\r")).await.unwrap();
        }
    };
    let began = Instant::now();
    let (ended, ()) = tokio::join!(collect(output), typist);
    assert!(ended.error.as_deref().is_some_and(|text| text.contains("was idle for 1 minute,")), "{ended:?}");
    assert!(began.elapsed() > 6 * SECOND, "activity did not count: {:?}", began.elapsed());
    until_sessions(&embedded, "no session", <[String]>::is_empty).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_whose_client_takes_nothing_gives_its_share_of_the_node_back() {
    let embedded = EmbeddedTransport::new(Fidelity::Fast, agent_shell()).await;
    let stalled = embedded.shell().await.unwrap();
    stalled.input.send(Bytes::from_static(b"yes\r")).await.unwrap();
    let next = tokio::time::timeout(20 * SECOND, embedded.exec("true", true)).await;
    next.expect("the share is not given back").unwrap();
    drop(stalled);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_started_for_who_has_gone_while_it_waited_for_a_place() {
    let one = TransportOptions { channels_per_node: 1, ..TransportOptions::default() };
    let embedded = EmbeddedTransport::new(Fidelity::Fast, one).await;
    let first = embedded.exec("exec sleep 987651", true).await.unwrap();
    let before = sessions(&embedded);
    let (herald, mut news) = Herald::new();
    let grant = Grant::for_test(NODE, Action::Exec { command: b"true".to_vec() });
    let (record, setup) = (SessionRecord::for_test(), ChannelSetup::default());
    let opening = embedded.transport.open(grant, record.lanes(), setup, herald);
    let leaves = async {
        assert!(matches!(news.recv().await, Some(News::Waits(_))));
        drop(news);
        // free at the same time as nobody wants it any more
        drop(first);
    };
    let (opened, ()) = tokio::join!(opening, leaves);
    assert!(matches!(opened, Err(TransportError::GivenUp)), "{opened:?}");
    let more: Vec<_> = sessions(&embedded).into_iter().filter(|session| !before.contains(session)).collect();
    assert_eq!(more, [""; 0]);
    // nor does it keep its place in the queue
    let next = tokio::time::timeout(20 * SECOND, embedded.exec("true", true)).await;
    next.expect("the place is not given back").unwrap();
}

/// A command whose lanes have just been resumed, and whose out lane is a new one.
async fn resumed(embedded: &EmbeddedTransport) -> (OpenChannel, String) {
    let mut channel = embedded.exec("echo here; exec sleep 987651", false).await.unwrap();
    assert!(matches!(next_of(&mut channel.output).await, Some(Ok(Out::Stdout(_)))));
    let first = sessions(embedded);
    embedded.service.faults().cut(&first[0], End::Client, Cut::Abort);
    let now = until_sessions(embedded, "another out lane", |all| all.len() == 1 && all != &first[..]).await;
    (channel, now[0].clone())
}

/// The channel is at its end, and nothing comes in its place.
async fn stays_ended(embedded: &EmbeddedTransport, channel: OpenChannel) -> String {
    let OpenChannel { input, output } = channel;
    let ended = tokio::time::timeout(20 * SECOND, collect(output)).await.expect("the channel goes on");
    drop(input);
    assert_eq!(ended.exit, None);
    // but for the last word to the helper, for which a way may be opened
    assert!(embedded.litter().await.is_empty());
    until_sessions(embedded, "no session", <[String]>::is_empty).await;
    tokio::time::sleep(SECOND).await;
    assert_eq!(sessions(embedded), [""; 0]);
    ended.error.expect("an error")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_termination_right_after_a_reconnection_is_final() {
    for text in ["", "Ended by an operator."] {
        let embedded = EmbeddedTransport::fast().await;
        let (channel, out) = resumed(&embedded).await;
        // in its first moment, perhaps before the gateway is there, and when it has been heard of
        if !text.is_empty() {
            tokio::time::sleep(2 * SECOND).await;
        }
        assert!(embedded.service.faults().close(&out, text));
        let error = stays_ended(&embedded, channel).await;
        assert!(error.contains(if text.is_empty() { "ended" } else { text }), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_way_in_right_after_a_reconnection_is_final() {
    let embedded = EmbeddedTransport::fast().await;
    let (channel, out) = resumed(&embedded).await;
    channel.input.send(Bytes::from_static(b"x")).await.unwrap();
    let both = until_sessions(&embedded, "an in lane", |all| all.len() == 2).await;
    tokio::time::sleep(SECOND).await;
    let inward = both.iter().find(|id| **id != out).unwrap();
    assert!(embedded.service.faults().close(inward, ""));
    let error = stays_ended(&embedded, channel).await;
    assert!(error.contains("the way in to the command was ended"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_termination_before_the_first_word_is_no_reason_to_try_another_rung() {
    let embedded = EmbeddedTransport::fast().await;
    embedded.silence();
    let channel = embedded.exec("echo here", true).await.unwrap();
    let first = until_sessions(&embedded, "a lane", |all| !all.is_empty()).await;
    assert!(embedded.service.faults().close(&first[0], ""));
    let error = stays_ended(&embedded, channel).await;
    assert!(error.contains("ended"), "{error}");
}

/// A transport in an account whose node says nothing and whose history takes its time.
async fn silent(history: Duration) -> (EmbeddedTransport, Arc<Watched>, Arc<Once>) {
    let mut embedded = EmbeddedTransport::fast().await;
    let slow = Slow { history, ..Slow::default() };
    let backend = embedded.watch(slow, TransportOptions::default());
    let begun = embedded.silence();
    (embedded, backend, begun)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_termination_is_final_although_the_first_word_falls_due_while_the_service_is_asked() {
    let (embedded, backend, _) = silent(4 * SECOND).await;
    let channel = embedded.exec("exec sleep 987650", true).await.unwrap();
    // the first word may take twenty seconds
    tokio::time::sleep(19 * SECOND).await;
    assert!(embedded.service.faults().close(&sessions(&embedded)[0], ""));
    let error = stays_ended(&embedded, channel).await;
    assert!(error.contains("ended"), "{error}");
    assert_eq!(backend.opened().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_lane_comes_while_the_service_is_asked_how_the_one_before_ended() {
    let (embedded, backend, begun) = silent(4 * SECOND).await;
    let channel = embedded.exec("echo here", true).await.unwrap();
    let faults = embedded.service.faults();
    let attached = || faults.sessions().iter().all(|lane| lane.client_attached);
    // before that a session does not outlive its websocket: the agent waits for the handshake
    let first = until_sessions(&embedded, "a lane", |all| !all.is_empty() && begun.is_completed()).await;
    let losses = faults.losses(End::Client);
    assert!(faults.cut(&first[0], End::Client, Cut::Abort));
    let back = || faults.losses(End::Client) > losses && attached();
    until_sessions(&embedded, "a resumed lane", |all| !all.is_empty() && back()).await;
    assert!(faults.close(&first[0], ""));
    let error = stays_ended(&embedded, channel).await;
    assert!(error.contains("ended"), "{error}");
    assert_eq!(backend.opened().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_before_the_first_word_is_no_reason_to_try_another_rung() {
    let mut embedded =
        EmbeddedTransport::under(r#"{"maxSessionDuration":"1"}"#, Fidelity::Fast, TransportOptions::default()).await;
    let backend = embedded.watch(Slow::default(), TransportOptions::default());
    embedded.transport.set_minute(3 * SECOND);
    embedded.silence();
    let channel = embedded.exec("echo here", true).await.unwrap();
    let error = stays_ended(&embedded, channel).await;
    assert!(error.starts_with("Max session duration"), "{error}");
    assert_eq!(backend.opened().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_fails_before_the_first_word_is_a_reason_to_try_another_rung() {
    // before the gateway is there as well
    for refused in [0, 2] {
        let embedded = EmbeddedTransport::fast().await;
        // the account was looked at a moment ago, and an agent that can't do with its documents comes after that
        embedded.run("true", b"").await;
        let content = embedded.backend.document(OUT_DOCUMENT).await.unwrap().unwrap();
        let mut wrong: serde_json::Value = serde_json::from_str(&content).unwrap();
        wrong["inputs"]["kmsKeyId"] = "alias/x".into();
        embedded.backend.put_document(OUT_DOCUMENT, &wrong.to_string()).await.unwrap();
        embedded.service.faults().refuse_upgrades(refused);
        let began = Instant::now();
        let ended = embedded.run("echo here; exit 3", b"").await;
        assert_eq!((&ended.stdout[..], ended.exit), (&b"here\n"[..], Some(Exit::Code(3))), "{:?}", ended.error);
        assert!(began.elapsed() < 10 * SECOND, "it was waited for: {:?}", began.elapsed());
    }
}

/// Runs a command; how many lanes it had.
async fn lanes_of(embedded: &EmbeddedTransport) -> usize {
    let OpenChannel { input, mut output } = embedded.exec("cat", false).await.unwrap();
    input.send(Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(next_of(&mut output).await.unwrap().unwrap(), Out::Stdout(Bytes::from_static(b"x")));
    let lanes = sessions(embedded).len();
    input.eof().await.unwrap();
    assert_eq!(collect(output).await.exit, Some(Exit::Code(0)));
    until_sessions(embedded, "none is left", <[_]>::is_empty).await;
    lanes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_gets_its_lanes_once_the_documents_are_there() {
    let mut embedded = EmbeddedTransport::fast().await;
    let backend = embedded.watch(Slow::default(), TransportOptions::default());
    let right = embedded.backend.document(OUT_DOCUMENT).await.unwrap().unwrap();
    let mut older: serde_json::Value = serde_json::from_str(&right).unwrap();
    older["description"] = "another version's".into();
    embedded.backend.put_document(OUT_DOCUMENT, &older.to_string()).await.unwrap();
    let began = Instant::now();
    assert_eq!(lanes_of(&embedded).await, 1);
    let looked = backend.documents();
    assert_eq!(lanes_of(&embedded).await, 1);
    // a burst of channels does not ask as often
    assert!(backend.documents() == looked || began.elapsed() > 5 * SECOND, "{looked}, {}", backend.documents());
    embedded.backend.put_document(OUT_DOCUMENT, &right).await.unwrap();
    while lanes_of(&embedded).await == 1 {
        assert!(began.elapsed() < 30 * SECOND, "what was mended is not noticed");
        tokio::time::sleep(SECOND).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_nobody_in_aws_any_more_is_told_so_and_their_channels_end() {
    for shell in [ShellTransport::Helper, ShellTransport::Agent] {
        let mut embedded = EmbeddedTransport::fast().await;
        let watched = embedded.watch(Slow::default(), TransportOptions { shell, ..TransportOptions::default() });
        let OpenChannel { input: _input, output } = embedded.shell().await.unwrap();
        let told = "the session ends, because what you are in AWS has ended";
        watched.lapse(told);
        let ended = tokio::time::timeout(PATIENCE, collect(output)).await.expect("it ends");
        assert_eq!(ended.error.as_deref(), Some(told), "{shell:?}");
        embedded.service.no_session_is_left().await;
    }
}
