//! What goes wrong on request from the start of a service, as its two ends see it.

use std::time::{Duration, Instant};

use portcullis_protocol::MessageType;

use super::callers::*;
use crate::emulator::*;

async fn with_faults(faults: &[&str]) -> Callers {
    let faults: Vec<Fault> = faults.iter().map(|fault| fault.parse().unwrap()).collect();
    Callers::start_with(|config| config.faults = faults).await
}

#[tokio::test]
async fn the_agent_is_cut_off_once_and_everything_on_its_way_is_lost() {
    let callers = with_faults(&["cut agent after 5 frames"]).await;
    let Session { id, mut agent, mut client, control: _control, .. } = callers.session().await;
    for sequence in 0..3 {
        agent.send(output(sequence, b"before")).await;
        assert_eq!(client.frame().await.sequence, sequence);
    }
    client.send(input(0, b"before")).await;
    assert_eq!(agent.frame().await.sequence, 0);
    agent.send(output(3, b"with the cut")).await;
    agent.ended().await;
    until(|| !callers.live(&id).agent_attached).await;
    // Nobody repeats an acknowledgement, which is why it matters that these are gone.
    client.send(ack(3)).await;
    client.send(input(1, b"for nobody")).await;
    client.silent().await;
    let mut agent = callers.agent_end(&id).await;
    agent.silent().await;
    for sequence in 4..20 {
        agent.send(output(sequence, b"after")).await;
        assert_eq!(client.frame().await.sequence, sequence);
        client.send(ack(sequence)).await;
        assert_eq!(agent.frame().await.kind, MessageType::Acknowledge);
    }
}

#[tokio::test]
async fn the_client_is_cut_off_the_same_way_and_every_session_has_its_own_turn() {
    let callers = with_faults(&["cut client after 3 frames"]).await;
    for _ in 0..2 {
        let Session { id, url, mut agent, mut client, control: _control } = callers.session().await;
        agent.send(output(0, b"before")).await;
        assert_eq!(client.frame().await.sequence, 0);
        client.send(input(0, b"before")).await;
        assert_eq!(agent.frame().await.sequence, 0);
        agent.send(output(1, b"with the cut")).await;
        assert_eq!(agent.frame().await.kind, MessageType::PausePublication);
        agent.send(ack(0)).await;
        client.ended().await;
        let resumed = callers.alice().resume_session().session_id(&id).send().await.unwrap();
        let mut client = callers.client_end(&id, &url, resumed.token_value().unwrap()).await;
        assert_eq!(agent.frame().await.kind, MessageType::StartPublication);
        client.silent().await;
        agent.send(output(1, b"again")).await;
        assert_eq!(client.frame().await.sequence, 1);
    }
}

#[tokio::test]
async fn an_end_can_be_kept_away_for_a_while() {
    let callers = with_faults(&["cut agent after 1 frames for 300ms"]).await;
    let Session { id, mut agent, control: _control, client: _client, .. } = callers.session().await;
    let begun = Instant::now();
    agent.send(output(0, b"with the cut")).await;
    agent.ended().await;
    let path = format!("/v1/data-channel/{id}");
    let mut refused = 0;
    while callers.token(&path, node()).await.is_err() {
        refused += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(refused > 0 && begun.elapsed() >= Duration::from_millis(300), "{refused} in {:?}", begun.elapsed());
    callers.agent_end(&id).await.silent().await;
}

#[tokio::test]
async fn the_agent_is_told_to_pause_and_perhaps_to_start() {
    let callers = with_faults(&["pause after 2 frames", "pause after 4 frames for 50ms"]).await;
    let Session { mut agent, mut client, control: _control, .. } = callers.session().await;
    for sequence in 0..4 {
        agent.send(output(sequence, b"x")).await;
        assert_eq!(client.frame().await.sequence, sequence);
        if sequence == 1 {
            assert_eq!(agent.frame().await.kind, MessageType::PausePublication);
            agent.silent().await;
        }
    }
    assert_eq!(agent.frame().await.kind, MessageType::PausePublication);
    let told = Instant::now();
    assert_eq!(agent.frame().await.kind, MessageType::StartPublication);
    assert!(told.elapsed() >= Duration::from_millis(30), "{:?}", told.elapsed());
}

#[tokio::test]
async fn a_long_line_delays_both_ways_and_keeps_order_and_speed() {
    let callers = with_faults(&["latency 100ms"]).await;
    let Session { mut agent, mut client, control: _control, .. } = callers.session().await;
    let begun = Instant::now();
    for sequence in 0..1000 {
        agent.send(output(sequence, &[7; 1024])).await;
    }
    let first = client.frame().await;
    assert!(begun.elapsed() >= Duration::from_millis(100), "{:?}", begun.elapsed());
    assert_eq!(first.sequence, 0);
    for sequence in 1..1000 {
        assert_eq!(client.frame().await.sequence, sequence);
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "a frame at a time would take 100 s: {:?}", begun.elapsed());
    let begun = Instant::now();
    client.send(ack(1)).await;
    assert_eq!(agent.frame().await.kind, MessageType::Acknowledge);
    assert!(begun.elapsed() >= Duration::from_millis(100), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn calls_fail_before_they_are_done_or_after() {
    let callers = with_faults(&[
        "fail StartSession with 503",
        "lose StartSession with 500",
        "fail ResumeSession with 500",
        "fail CreateDataChannel with 500",
        "lose CreateDataChannel with 503",
    ])
    .await;
    let mut control = callers.agent().await;
    let alice = callers.alice();
    let refused = alice.start_session().target(NODE).send().await.unwrap_err().into_service_error();
    assert_eq!(refused.meta().code(), Some("ServiceUnavailableException"), "{refused:?}");
    assert!(callers.service.faults().sessions().is_empty(), "it was not done");
    let lost = alice.start_session().target(NODE).send().await.unwrap_err();
    assert_eq!(lost.raw_response().unwrap().status().as_u16(), 500);
    let started = callers.service.faults().sessions();
    assert_eq!(started.len(), 1, "it was done");
    control.frame().await;
    let id = &started[0].id;
    alice.resume_session().session_id(id).send().await.unwrap_err();
    assert!(alice.resume_session().session_id(id).send().await.unwrap().token_value().is_some());
    let path = format!("/v1/data-channel/{id}");
    for status in ["HTTP/1.1 500 ", "HTTP/1.1 503 "] {
        let answer = callers.token(&path, node()).await.unwrap_err();
        assert!(answer.starts_with(status), "{answer}");
    }
    callers.token(&path, node()).await.unwrap();
}
