//! What passes between the two ends, and what happens when one of them is away.

use std::time::Duration;

use portcullis_protocol::MessageType;
use portcullis_protocol::payload::{AgentSessionState, PayloadType, SessionState};

use super::callers::*;
use crate::emulator::*;

async fn passes_unchanged(callers: &Callers) {
    let Session { mut agent, mut client, .. } = callers.session().await;
    let state = AgentSessionState { schema_version: 1, state: SessionState::Connected, session_id: "x".into() };
    agent.send(frame(MessageType::AgentSessionState, 0, PayloadType::from(0), &state.encode())).await;
    // Whatever is not for the other end stays here.
    agent.send(input(0, b"not an agent's")).await;
    client.send(output(0, b"not a client's")).await;
    client.send(bytes::Bytes::from_static(b"no frame")).await;
    let all: Vec<u8> = (0..=255).cycle().take(200_000).collect();
    for sequence in 0..20 {
        let (down, up, back) = (output(sequence, &all), input(sequence, &all), ack(sequence));
        agent.send(down.clone()).await;
        client.expect(&down).await;
        client.send(up.clone()).await;
        agent.expect(&up).await;
        client.send(back.clone()).await;
        agent.expect(&back).await;
    }
    client.silent().await;
    agent.silent().await;
}

#[tokio::test]
async fn frames_pass_byte_for_byte() {
    passes_unchanged(&Callers::start().await).await;
}

#[tokio::test]
async fn frames_pass_byte_for_byte_over_tls() {
    let tls = Some(SelfMadeTls { names: Vec::new() });
    let callers = Callers::start_with(|config| config.tls = tls).await;
    assert!(callers.service.url().starts_with("https://127.0.0.1:"));
    passes_unchanged(&callers).await;
}

#[tokio::test]
async fn what_the_agent_says_first_waits_for_the_client() {
    let callers = Callers::start().await;
    let mut control = callers.agent().await;
    let started = callers.alice().start_session().target(NODE).send().await.unwrap();
    control.frame().await;
    let id = started.session_id().unwrap();
    let mut agent = callers.agent_end(id).await;
    let early = [frame(MessageType::OutputStreamData, 0, PayloadType::HandshakeRequest, b"{}"), output(1, b"ready")];
    for frame in &early {
        agent.send(frame.clone()).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut client = callers.client_end(id, started.stream_url().unwrap(), started.token_value().unwrap()).await;
    for frame in &early {
        client.expect(frame).await;
    }
    agent.silent().await;
}

#[tokio::test]
async fn a_client_that_leaves_pauses_the_agent_and_comes_back() {
    let callers = Callers::start().await;
    let Session { id, url, mut agent, client, control: _control } = callers.session().await;
    drop(client);
    assert_eq!(agent.frame().await.kind, MessageType::PausePublication);
    let live = callers.live(&id);
    assert!(live.paused && !live.client_attached);
    assert_eq!(callers.described(&id, false).await.unwrap().status().unwrap().as_str(), "Disconnected");
    // Data is dropped: the agent repeats it. Acknowledgements wait: nobody repeats those.
    agent.send(output(0, b"lost")).await;
    for sequence in 0..100 {
        agent.send(ack(sequence)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let resumed = callers.alice().resume_session().session_id(&id).send().await.unwrap();
    assert_eq!(resumed.stream_url(), Some(url.as_str()));
    let mut client = callers.client_end(&id, &url, resumed.token_value().unwrap()).await;
    assert_eq!(agent.frame().await.kind, MessageType::StartPublication);
    for sequence in 0..100 {
        let frame = client.frame().await;
        assert_eq!(frame.kind, MessageType::Acknowledge);
        assert!(frame.payload.ends_with(format!(":{sequence}}}").as_bytes()));
    }
    agent.send(output(0, b"again")).await;
    assert_eq!(client.frame().await.payload, "again");
}

#[tokio::test]
async fn a_pause_outlives_the_agents_reconnection_and_can_be_turned_off() {
    let callers = Callers::start().await;
    let Session { id, mut agent, client, control: _control, .. } = callers.session().await;
    drop(client);
    assert_eq!(agent.frame().await.kind, MessageType::PausePublication);
    let mut again = callers.agent_end(&id).await;
    agent.ended().await;
    assert_eq!(again.frame().await.kind, MessageType::PausePublication);
    let callers = Callers::start_with(|config| config.pause_publication = false).await;
    let Session { id, mut agent, client, control: _control, .. } = callers.session().await;
    drop(client);
    until(|| !callers.live(&id).client_attached).await;
    agent.silent().await;
}

#[tokio::test]
async fn a_second_socket_of_the_same_end_replaces_the_first() {
    let callers = Callers::start().await;
    let Session { id, url, mut agent, mut client, control: _control } = callers.session().await;
    let resumed = callers.alice().resume_session().session_id(&id).send().await.unwrap();
    let path = &url[url.find("/v1/").unwrap()..];
    let mut second = callers.websocket(path, None).await.unwrap();
    let token = resumed.token_value().unwrap();
    let open = portcullis_protocol::open::OpenDataChannel::client(
        uuid::Uuid::new_v4(),
        token,
        uuid::Uuid::new_v4(),
        "1.2.764.0",
    );
    second.text(open.encode()).await;
    client.ended().await;
    agent.send(output(0, b"for the second")).await;
    assert_eq!(second.frame().await.payload, "for the second");
    second.send(input(0, b"from the second")).await;
    assert_eq!(agent.frame().await.payload, "from the second", "and no pause before it");
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_agent_and_not_itself() {
    let callers = Callers::start().await;
    let Session { mut agent, mut client, control: _control, .. } = callers.session().await;
    let payload = vec![7; 32 << 10];
    let mut sent = 0;
    // Socket buffers take some megabytes; then the agent must wait.
    let stuck = loop {
        let send = agent.send(output(sent, &payload));
        if tokio::time::timeout(Duration::from_millis(500), send).await.is_err() {
            break sent + 1;
        }
        sent += 1;
        assert!(sent < 2000, "64 MiB were taken for a client that reads nothing");
    };
    // The other direction is as free as ever.
    for sequence in 0..200 {
        client.send(ack(sequence)).await;
        assert_eq!(agent.frame().await.kind, MessageType::Acknowledge);
    }
    // A cancelled send may or may not have left its frame in the websocket's buffer; those before it all arrive.
    for sequence in 0..stuck - 1 {
        assert_eq!(client.frame().await.sequence, sequence);
    }
}

#[tokio::test]
async fn faults_happen_on_request() {
    let callers = Callers::start().await;
    let Session { id, url, mut agent, mut client, control: mut channel } = callers.session().await;
    let faults = callers.service.faults();
    let fault =
        |towards, frames, effect| FrameFault { session: Some(id.clone()), towards, frames, percent: 100.0, effect };
    faults.inject(fault(Some(End::Agent), Frames::Stream, Effect::Drop));
    client.send(input(0, b"lost")).await;
    client.send(ack(7)).await;
    assert_eq!(agent.frame().await.kind, MessageType::Acknowledge);
    faults.clear();
    faults.inject(fault(Some(End::Agent), Frames::All, Effect::Duplicate));
    client.send(input(1, b"twice")).await;
    assert_eq!([agent.frame().await.sequence, agent.frame().await.sequence], [1, 1]);
    faults.clear();
    faults.inject(fault(None, Frames::Stream, Effect::Delay(Duration::from_millis(200))));
    client.send(input(2, b"late")).await;
    client.send(ack(9)).await;
    assert_eq!(agent.frame().await.kind, MessageType::Acknowledge);
    assert_eq!(agent.frame().await.payload, "late");
    faults.clear();
    assert!(faults.set_paused(&id, true));
    assert_eq!(agent.frame().await.kind, MessageType::PausePublication);
    assert!(faults.set_paused(&id, false));
    assert_eq!(agent.frame().await.kind, MessageType::StartPublication);
    assert!(faults.cut(&id, End::Agent, Cut::Abort));
    agent.ended().await;
    assert!(callers.live(&id).client_attached);
    assert!(faults.cut(&id, End::Client, Cut::Close));
    client.ended().await;
    until(|| !callers.live(&id).client_attached).await;
    assert!(!faults.cut(&id, End::Client, Cut::Abort) && !faults.cut_both("other", Cut::Abort));
    faults.refuse_upgrades(1);
    assert!(callers.websocket(&url[url.find("/v1/").unwrap()..], None).await.is_err());
    assert!(faults.close(&id, "Enough."));
    assert_eq!(channel.closed().await, "Enough.");
    assert!(faults.cut_control(NODE));
    channel.ended().await;
}
