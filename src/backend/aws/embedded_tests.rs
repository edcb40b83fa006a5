//! The backend through the SDK against the embedded Session Manager and its agent, over TLS with a private authority and
//! signed upgrades: the way it goes in the cloud, as far as that can be had here.

use std::time::Duration;

use aws_credential_types::Credentials;
use tokio::time::timeout;

use super::*;
use crate::backend::lanes::{Lane, Lanes as _, SessionRequest};
use crate::backend::preferences::Preferences;
use crate::backend::{Directory as _, Realm, Realms};
use crate::data_channel::ChannelEvent;
use crate::emulator::faults::{Cut, End};
use crate::model::{NodeName, RealmName};
use crate::policy::{Action, Grant};
use crate::testing::{EmbeddedService, NODE, PATIENCE};

const COMMANDS: &str = "Test-Commands";

/// A service as in the cloud, with its node.
async fn over_tls() -> EmbeddedService {
    EmbeddedService::builder().with_tls().start().await
}

async fn backend_of(service: &EmbeddedService) -> AwsBackend {
    let backend = AwsBackend::new(RealmName::for_test(), service.aws_options()).await.unwrap();
    let document = r#"{"schemaVersion":"1.0","description":"test","sessionType":"NonInteractiveCommands",
        "parameters":{"command":{"type":"String"}},
        "properties":{"linux":{"commands":"{{command}}","runAsElevated":true,"separateOutputStream":true}}}"#;
    backend.put_document(COMMANDS, document).await.unwrap();
    backend
}

fn grant() -> Grant {
    Grant::for_test(NODE, Action::Shell)
}

fn command(line: &str) -> SessionRequest {
    let mut request = SessionRequest::new(COMMANDS);
    request.parameters.insert("command".into(), vec![line.into()]);
    request
}

/// What came, up to the end of the channel.
#[derive(Debug, Default)]
struct Said {
    output: Vec<u8>,
    errors: Vec<u8>,
    exit: Option<i32>,
    reconnects: usize,
    end: String,
}

async fn listen(lane: &mut Lane) -> Said {
    let mut said = Said::default();
    while let Some(event) = timeout(PATIENCE, lane.reader.next()).await.expect("the lane hangs") {
        match event {
            ChannelEvent::Output(bytes) => said.output.extend_from_slice(&bytes),
            ChannelEvent::StdErr(bytes) => said.errors.extend_from_slice(&bytes),
            ChannelEvent::ExitCode(code) => said.exit = Some(code),
            ChannelEvent::Reconnected => said.reconnects += 1,
            ChannelEvent::Closed(text) => said.end = format!("closed {text}"),
            ChannelEvent::Lost(text) => said.end = format!("lost {text}"),
            ChannelEvent::Established
            | ChannelEvent::ConnectFailed
            | ChannelEvent::Interrupted
            | ChannelEvent::Stalled(_) => {}
        }
    }
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_runs_over_tls_with_a_signed_upgrade() {
    let service = over_tls().await;
    let backend = backend_of(&service).await;
    let node = backend.resolve(&NodeName::for_test("demo")).await.unwrap();
    assert_eq!((node.node_ref().id.0.as_str(), node.online), (NODE, true));
    assert_eq!(node.facts.tags.as_ref().unwrap().get("env").map(String::as_str), Some("test"));
    assert_eq!(backend.resolve(&NodeName::for_test("tag:env=test")).await.unwrap().facts, node.facts);
    let mut lane = backend.open(&grant(), command("sh -c 'echo out; echo err >&2; exit 3'")).await.unwrap();
    let said = listen(&mut lane).await;
    assert_eq!((said.output.as_slice(), said.errors.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    assert_eq!((said.exit, said.end.split(' ').next()), (Some(3), Some("closed")));
    lane.close().await;
    service.no_session_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_let_go_is_gone_from_the_service() {
    let service = over_tls().await;
    let backend = backend_of(&service).await;
    let mut lanes = Vec::new();
    for _ in 0..5 {
        lanes.push(backend.open(&grant(), command("sleep 1000")).await.unwrap());
    }
    assert_eq!(service.faults().sessions().len(), 5);
    drop(lanes);
    assert_eq!(backend.drain(PATIENCE).await, 0);
    service.no_session_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cuts_of_either_kind_lose_nothing_of_a_download() {
    // A pause is fatal to this kind of session by the agent's nature; the lanes above this deal with that.
    let service =
        EmbeddedService::builder().with_tls().configured(|config| config.pause_publication = false).start().await;
    let backend = backend_of(&service).await;
    let line = "sh -c 'i=0; while [ $i -lt 60000 ]; do echo $i; i=$((i+1)); done'";
    let mut lane = backend.open(&grant(), command(line)).await.unwrap();
    let id = lane.id.0.clone();
    let faults = service.faults();
    let cutting = tokio::spawn(async move {
        let mut cuts = 0;
        for turn in 0..10 {
            tokio::time::sleep(Duration::from_millis(30)).await;
            let how = if turn % 2 == 0 { Cut::Abort } else { Cut::Close };
            cuts += usize::from(faults.cut(&id, End::Client, how));
        }
        cuts
    });
    let said = listen(&mut lane).await;
    let expected: String = (0..60_000).map(|number| format!("{number}\n")).collect();
    assert!(said.output == expected.as_bytes(), "{} bytes of {}: {}", said.output.len(), expected.len(), said.end);
    assert_eq!(said.exit, Some(0));
    assert!(cutting.await.unwrap() > 0 && said.reconnects > 0, "nothing was cut");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_fails_is_made_again_and_no_session_of_others_is_ended() {
    let service = over_tls().await;
    let (backend, other_gateway) = (backend_of(&service).await, backend_of(&service).await);
    let neighbour = other_gateway.open(&grant(), command("sleep 60")).await.unwrap();
    for fault in [
        "fail StartSession with 500 2 times",
        "fail StartSession with 503 1 times",
        "lose StartSession with 500 2 times",
        "lose StartSession with 503 1 times",
    ] {
        service.faults().add(fault.parse().unwrap());
        let mut lane = backend.open(&grant(), command("true")).await.unwrap();
        assert_eq!(listen(&mut lane).await.exit, Some(0), "{fault}");
        let live: Vec<_> = service.faults().sessions().into_iter().map(|session| session.id).collect();
        assert!(live.contains(&neighbour.id.0), "{fault}: {live:?}");
    }
    neighbour.close().await;
}

/// Five times is more than the SDK asks by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_in_the_life_of_a_session_that_fail_are_made_again() {
    // a pause is fatal to this kind of session, and beside the point
    let service =
        EmbeddedService::builder().with_tls().configured(|config| config.pause_publication = false).start().await;
    let backend = backend_of(&service).await;
    for failing in ["with 500 2 times", "with 503 2 times", "with throttling 2 times"] {
        // the agent's, before its end of the session is there
        let fault = format!("fail CreateDataChannel {failing}");
        service.faults().add(fault.parse().unwrap());
        let mut lane = backend.open(&grant(), command("echo in")).await.unwrap();
        let said = listen(&mut lane).await;
        assert_eq!((&said.output[..], said.exit), (&b"in\n"[..], Some(0)), "{fault}");
        lane.close().await;
    }
    for (number, fault) in [
        "fail ResumeSession with 500 5 times",
        "lose ResumeSession with 503 5 times",
        "fail ResumeSession with throttling 5 times",
    ]
    .into_iter()
    .enumerate()
    {
        // the gateway's, after its end was lost
        let go = service.directory.path().join(format!("go{number}"));
        let line = format!("sh -c 'echo in; until [ -e {} ]; do sleep 0.1; done; echo out'", go.display());
        let mut lane = backend.open(&grant(), command(&line)).await.unwrap();
        until(&mut lane, |event| matches!(event, ChannelEvent::Output(_))).await;
        service.faults().add(fault.parse().unwrap());
        assert!(service.faults().cut(&lane.id.0, End::Client, Cut::Abort));
        until(&mut lane, |event| *event == ChannelEvent::Reconnected).await;
        std::fs::write(go, "").unwrap();
        let said = listen(&mut lane).await;
        assert_eq!((&said.output[..], said.exit), (&b"out\n"[..], Some(0)), "{fault}");
        lane.close().await;
    }
    service.no_session_is_left().await;
}

/// Waits until such an event comes.
async fn until(lane: &mut Lane, is_it: impl Fn(&ChannelEvent) -> bool) {
    let come = async { while !is_it(&lane.reader.next().await.expect("the session goes on")) {} };
    timeout(PATIENCE, come).await.expect("it does not come");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_services_refusals_are_waited_out_or_said() {
    let service = over_tls().await;
    let backend = backend_of(&service).await;
    let faults = service.faults();
    faults.throttle_start_session(2);
    faults.refuse_upgrades(1);
    let mut lane = backend.open(&grant(), command("true")).await.unwrap();
    assert_eq!(listen(&mut lane).await.exit, Some(0));

    let mut unknown = command("true");
    unknown.document = "No-Such-Document".into();
    let text = backend.open(&grant(), unknown).await.unwrap_err().to_string();
    assert!(text.contains("No-Such-Document does not exist in us-east-1"), "{text}");
    let nowhere = Grant::for_test("mi-00000000000000001", Action::Shell);
    let text =
        backend.open(&nowhere, SessionRequest::new("AWS-StartNonInteractiveCommand")).await.unwrap_err().to_string();
    assert!(text.contains("is not connected to Systems Manager"), "{text}");

    let options = AwsOptions {
        credentials: Some(Credentials::new("AKIDCLIENT", "wrong-secret", None, None, "test")),
        ..service.aws_options()
    };
    let refused = AwsBackend::new(RealmName::for_test(), options)
        .await
        .unwrap()
        .resolve(&NodeName::for_test("demo"))
        .await
        .unwrap_err();
    let text = refused.for_operator();
    assert!(text.contains("does not accept the gateway's credentials") && !text.contains("secret"), "{text}");
    let options = AwsOptions { region: Some("eu-west-1".into()), ..service.aws_options() };
    assert!(
        AwsBackend::new(RealmName::for_test(), options)
            .await
            .unwrap()
            .resolve(&NodeName::for_test("demo"))
            .await
            .is_err(),
        "the scope names another region"
    );
    let stranger =
        AwsBackend::new(RealmName::for_test(), AwsOptions { ca_bundle: None, ..service.aws_options() }).await.unwrap();
    let text = stranger.resolve(&NodeName::for_test("demo")).await.unwrap_err().to_string();
    assert!(text.starts_with("could not reach Systems Manager"), "{text}");
    service.no_session_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_services_last_words_arrive() {
    let service = over_tls().await;
    let backend = backend_of(&service).await;
    let mut lane = backend.open(&grant(), command("sleep 1000")).await.unwrap();
    assert_eq!(timeout(PATIENCE, lane.reader.next()).await.unwrap(), Some(ChannelEvent::Established));
    let words = "Max session duration reached. Your session has been terminated.";
    assert!(service.faults().close(&lane.id.0, words));
    assert_eq!(listen(&mut lane).await.end, format!("closed {words}"));

    // The same while our websocket is away: there is nothing to resume.
    let mut lane = backend.open(&grant(), command("sleep 1000")).await.unwrap();
    assert_eq!(timeout(PATIENCE, lane.reader.next()).await.unwrap(), Some(ChannelEvent::Established));
    let faults = service.faults();
    assert!(faults.close(&lane.id.0, "") | faults.cut(&lane.id.0, End::Client, Cut::Abort));
    let end = listen(&mut lane).await.end;
    assert!(end.starts_with("closed") || end.contains("has ended and can't be resumed"), "{end}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_accounts_preferences_are_read() {
    let preferences = r#"{"schemaVersion":"1.0","description":"x","sessionType":"Standard_Stream",
        "inputs":{"idleSessionTimeout":"15","runAsEnabled":true,"runAsDefaultUser":"app"}}"#;
    let service = EmbeddedService::builder()
        .with_tls()
        .configured(|config| config.preferences = Some(preferences.into()))
        .start()
        .await;
    let preferences = Preferences::of_account(&backend_of(&service).await).await.unwrap();
    assert_eq!(preferences.idle_minutes, Some(15));
    assert_eq!(preferences.lane_conflicts(true).len(), 1);
    let fresh = over_tls().await;
    let preferences = Preferences::of_account(&backend_of(&fresh).await).await.unwrap();
    assert!(preferences.lane_conflicts(false).is_empty(), "{preferences:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_is_brought_up_to_date_as_often_as_needed() {
    let service = over_tls().await;
    let backend = backend_of(&service).await;
    let content = |line: &str| {
        format!(
            r#"{{"schemaVersion":"1.0","description":"{line}","sessionType":"NonInteractiveCommands",
            "properties":{{"linux":{{"commands":"{line}","runAsElevated":true,"separateOutputStream":true}}}}}}"#
        )
    };
    for line in ["echo one", "echo two", "echo two", "echo three"] {
        backend.put_document("Test-Line", &content(line)).await.unwrap();
        let found: serde_json::Value =
            serde_json::from_str(&backend.document("Test-Line").await.unwrap().unwrap()).unwrap();
        assert_eq!(found["description"], line);
        let mut lane = backend.open(&grant(), SessionRequest::new("Test-Line")).await.unwrap();
        let said = listen(&mut lane).await;
        assert_eq!(String::from_utf8(said.output).unwrap().trim(), &line[5..]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_for_a_node_of_another_realm_opens_nothing() {
    let service = EmbeddedService::builder().start().await;
    let backend = backend_of(&service).await;
    let elsewhere = Grant::for_test_in("elsewhere", NODE, Action::Shell);
    let refused = backend.open(&elsewhere, command("true")).await.unwrap_err();
    assert_eq!(refused.to_string(), format!("{NODE}.elsewhere is no node of the realm test"));
    // nor is it led to one that is not served
    let realm = Realm::new(RealmName::for_test(), backend);
    let (_, lanes) = Realms::of(vec![realm]);
    let refused = lanes.open(&elsewhere, command("true")).await.unwrap_err();
    assert_eq!(refused.to_string(), "this gateway serves no realm elsewhere");
    let lane = lanes.open(&grant(), command("true")).await.unwrap();
    lane.close().await;
    service.no_session_is_left().await;
    assert_eq!(lanes.drain(PATIENCE).await, 0);
}
