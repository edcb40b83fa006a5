//! The log and the records in it, as those who write into them have them.

use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::Mode;
use serde_json::Value;
use uuid::Uuid;

use super::share::SessionUse;
use super::*;
use crate::model::{CallIds, Exit, RefusalCode, SessionId};
use crate::policy::{Action, Grant};

const NO_CALLS: CallIds = CallIds { start: None, assume_role: None };
const LANE: Event<'static> = Event::SessionLane(SessionLane { session_manager_id: "ada-0123", calls: &NO_CALLS });

fn refused(reason: &str) -> Event<'_> {
    let source = "192.0.2.1:5".parse().unwrap();
    Event::LoginRefused(LoginRefused {
        source,
        login: "ada",
        earlier_logins: &[],
        methods: &[],
        keys: String::new(),
        algorithms: &[],
        profile: "modern",
        code: RefusalCode::NoProof,
        reason,
    })
}

fn events(log: &EventLog) -> Vec<Value> {
    let text = std::fs::read_to_string(log.path()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn numbers(log: &EventLog) -> Vec<u64> {
    events(log).iter().map(|event| event["seq"].as_u64().unwrap()).collect()
}

async fn record(log: &EventLog) -> Result<(), EvidenceError> {
    log.record(Uuid::nil(), &LANE).await
}

#[tokio::test]
async fn appends_whole_lines_to_a_private_file_and_numbers_them_anew_each_time() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let log = EventLog::open(dir.path(), 1 << 20).unwrap();
        record(&log).await.unwrap();
        // dropping it waits for what nobody waits for
        log.note(Uuid::nil(), &LANE);
    }
    let path = dir.path().join(EventLog::FILE);
    let log = EventLog::open(dir.path(), 1 << 20).unwrap();
    assert_eq!(numbers(&log), [1, 2, 1, 2]);
    let runs: Vec<Value> = events(&log).into_iter().map(|event| event["run"].clone()).collect();
    assert!(runs[0] == runs[1] && runs[2] == runs[3] && runs[0] != runs[2], "{runs:?}");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_check_refuses_what_open_would_and_makes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(EventLog::FILE);
    EventLog::check(dir.path()).unwrap();
    assert!(!path.exists());
    let log = EventLog::open(dir.path(), 1 << 20).unwrap();
    EventLog::check(dir.path()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(EventLog::check(dir.path()).unwrap_err().to_string().contains("chmod 600"));
    drop(log);
    let missing = dir.path().join("none");
    for refused in [EventLog::check(&missing), EventLog::open(&missing, 1 << 20).map(drop)] {
        assert!(refused.unwrap_err().to_string().contains("install -d -m 0700"));
    }
}

#[test]
fn refuses_links_open_files_and_a_second_writer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(EventLog::FILE);
    std::os::unix::fs::symlink(dir.path().join("elsewhere"), &path).unwrap();
    assert!(EventLog::open(dir.path(), 1 << 20).unwrap_err().to_string().contains("symbolic link"));
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(EventLog::open(dir.path(), 1 << 20).unwrap_err().to_string().contains("chmod 600"));
    std::fs::remove_file(&path).unwrap();
    let first = EventLog::open(dir.path(), 1 << 20).unwrap();
    assert!(EventLog::open(dir.path(), 1 << 20).unwrap_err().to_string().contains("another gateway"));
    drop(first);
    EventLog::open(dir.path(), 1 << 20).unwrap();
}

#[test]
fn refuses_a_directory_in_which_others_can_put_another_log() {
    let dir = tempfile::tempdir().unwrap();
    for (mode, fine) in [(0o777, false), (0o1777, false), (0o770, false), (0o755, true), (0o700, true)] {
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        let opened = EventLog::open(dir.path(), 1 << 20);
        assert_eq!(opened.is_ok(), fine, "{mode:o}");
        assert!(opened.is_ok() || opened.unwrap_err().to_string().contains("chmod 700"), "{mode:o}");
    }
}

#[tokio::test]
async fn a_log_that_was_moved_away_goes_on_in_a_new_file() {
    const LIMIT: u64 = 2000;
    let dir = tempfile::tempdir().unwrap();
    let (path, old) = (dir.path().join(EventLog::FILE), dir.path().join("events.jsonl.1"));
    let lines = |path: &Path| std::fs::read_to_string(path).unwrap().lines().count();
    let log = EventLog::open(dir.path(), LIMIT).unwrap();
    while record(&log).await.is_ok() {}
    log.reopen().await.unwrap();
    assert!(record(&log).await.is_err(), "nothing was moved, so nothing is new");
    let full = lines(&path);
    std::fs::rename(&path, &old).unwrap();
    // what stands there and can't be used is no reason to stop
    std::fs::create_dir(&path).unwrap();
    assert!(log.reopen().await.is_err());
    std::fs::remove_dir(&path).unwrap();
    log.reopen().await.unwrap();
    record(&log).await.unwrap();
    assert_eq!((lines(&old), lines(&path)), (full, 1));
    // the numbers go on over both files; the two lines that did not fit are missing
    assert_eq!(numbers(&log), [full as u64 + 3]);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    // the new file is locked as the first was, and one that is emptied in place has room again
    assert!(EventLog::open(dir.path(), LIMIT).is_err());
    while record(&log).await.is_ok() {}
    File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    record(&log).await.unwrap();
    assert_eq!(lines(&path), 1);
}

#[tokio::test]
async fn a_log_without_a_name_takes_no_event_until_there_is_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let log = EventLog::open(dir.path(), 1 << 20).unwrap();
    record(&log).await.unwrap();
    std::fs::remove_file(log.path()).unwrap();
    let error = record(&log).await.unwrap_err().to_string();
    assert!(error.contains("SIGHUP"), "{error}");
    log.reopen().await.unwrap();
    record(&log).await.unwrap();
    assert_eq!(numbers(&log), [3]);
}

#[test]
fn a_fifo_in_its_place_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(EventLog::FILE);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
    let (says, said) = std::sync::mpsc::channel();
    std::thread::spawn(move || says.send(EventLog::open(dir.path(), 1 << 20).unwrap_err().to_string()));
    let error = said.recv_timeout(std::time::Duration::from_secs(20)).expect("it doesn't wait for a reader");
    assert!(error.contains("not a regular file"), "{error}");
}

/// The disk's end is a limit on the size of files, which holds for a process: this test starts itself again.
#[tokio::test]
async fn half_a_line_is_cut_off_even_after_the_file_was_emptied_in_place() {
    const PLACE: &str = "PORTCULLIS_TEST_JOURNAL";
    let Some(place) = std::env::var_os(PLACE) else {
        let dir = tempfile::tempdir().unwrap();
        let name = "evidence::tests::half_a_line_is_cut_off_even_after_the_file_was_emptied_in_place";
        let mut limited = std::process::Command::new("sh");
        limited.args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" --exact \"$1\""]);
        limited.arg(std::env::current_exe().unwrap()).arg(name).env(PLACE, dir.path());
        let ran = limited.output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success() && said.contains("1 passed"), "{said}");
        return;
    };
    let log = EventLog::open(Path::new(&place), 1 << 20).unwrap();
    for _ in 0..2 {
        let mut lines = 0;
        while record(&log).await.is_ok() {
            lines += 1;
        }
        let text = std::fs::read_to_string(log.path()).unwrap();
        assert!(lines > 10 && text.lines().count() == lines && text.ends_with('\n'), "{text}");
        File::options().write(true).open(log.path()).unwrap().set_len(0).unwrap();
    }
}

#[tokio::test]
async fn strangers_cannot_use_up_the_room_of_sessions() {
    let dir = tempfile::tempdir().unwrap();
    let log = EventLog::open(dir.path(), 10_000).unwrap();
    let mut noise = 0;
    while log.record(Uuid::nil(), &refused("no proof was given")).await.is_ok() {
        noise += 1;
    }
    assert!(noise > 10);
    record(&log).await.unwrap();
    while record(&log).await.is_ok() {}
    assert!(log.path().metadata().unwrap().len() <= 10_000);
}

#[tokio::test]
async fn strangers_cannot_use_up_the_queue_of_sessions() {
    let dir = tempfile::tempdir().unwrap();
    let log = EventLog::open(dir.path(), 1 << 30).unwrap();
    let reason = "x".repeat(2000);
    // faster than anybody can write them
    for _ in 0..20_000 {
        log.note(Uuid::nil(), &refused(&reason));
    }
    assert!(log.begin(&SessionUse::new("ada"), Uuid::nil(), &LANE).is_some(), "half of the queue is not for them");
    log.flush().await;
    let numbers = numbers(&log);
    assert!(numbers.is_sorted() && *numbers.last().unwrap() == 20_001, "what was lost shows in the numbers");
}

#[tokio::test]
async fn a_full_disk_is_an_error() {
    let log = EventLog::of_device("/dev/full");
    let error = record(&log).await.unwrap_err().to_string();
    assert!(error.contains("No space left") && error.contains("the session ends"), "{error}");
}

#[tokio::test]
async fn a_session_from_opening_to_close() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(EventLog::open(dir.path(), 1 << 20).unwrap());
    let grant = Grant::for_test("i-1", Action::Exec { command: b"echo hi".to_vec() });
    let record = SessionRecord::open(&log, &grant, Opening::for_test()).await.unwrap();
    let (input, output) = (record.input(), record.output());
    let calls = CallIds { start: Some("req-1".to_owned()), assume_role: Some("req-0".to_owned()) };
    record.lanes().opened(&SessionId("ada-123".to_owned()), &calls).await.unwrap();
    assert_eq!(input.take(Bytes::from_static(b"abc")).await.unwrap().into_bytes(), "abc");
    for bytes in ["hi", "\n"] {
        let taken = output.take(Stream::Stdout, Unrecorded::new(Bytes::from_static(bytes.as_bytes())));
        let taken = match taken.unwrap() {
            Taken::Now(bytes) => bytes,
            Taken::Later(later) => later.await.unwrap(),
        };
        assert_eq!(taken, bytes);
    }
    output.exit(&Exit::Code(3)).await.unwrap();
    record.exit(&Exit::Unknown).await.unwrap();
    record.close(&Outcome::Finished).await.unwrap();
    let events = events(&log);
    let codes: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(codes, ["session.opened", "session.lane", "session.exit", "session.closed"]);
    assert_eq!(events[0]["command"], "echo hi");
    assert_eq!(events[1]["session_manager_id"], "ada-123");
    assert_eq!(
        (&events[1]["aws_request_id"], &events[1]["aws_assume_role_request_id"]),
        (&"req-1".into(), &"req-0".into())
    );
    assert_eq!(events[2]["code"], 3);
    assert_eq!(events[3]["outcome"], "finished");
    assert_eq!(events[3]["stdin"]["bytes"], 3);
    // printf 'hi\n' | sha256sum
    assert_eq!(events[3]["stdout"]["sha256"], "98ea6e4f216f2fb4b69fff9b3a44842c38686ca685f3f55dc48c5d3fb1107be4");
    assert!(events.iter().all(|event| event["id"] == events[0]["id"]));
}

#[tokio::test]
async fn a_record_that_is_dropped_says_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(EventLog::open(dir.path(), 1 << 20).unwrap());
    let record = SessionRecord::open(&log, &Grant::for_test("i-1", Action::Shell), Opening::for_test()).await.unwrap();
    drop(record);
    log.flush().await;
    assert_eq!(events(&log)[1]["outcome"], "interrupted");
}

#[tokio::test]
async fn once_a_line_is_lost_no_byte_is_let_through() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(EventLog::open(dir.path(), 1400).unwrap());
    let record = SessionRecord::open(&log, &Grant::for_test("i-1", Action::Shell), Opening::for_test()).await.unwrap();
    let (input, output) = (record.input(), record.output());
    output.count(Stream::Stdout, b"fine").unwrap();
    let lane = SessionId("x".repeat(2000));
    assert!(record.lanes().opened(&lane, &NO_CALLS).await.is_err(), "over the limit");
    assert!(output.take(Stream::Stdout, Unrecorded::new(Bytes::from_static(b"no"))).is_err());
    assert!(input.take(Bytes::from_static(b"no")).await.is_err() && output.intact().is_err());
    assert!(output.exit(&Exit::Code(0)).await.is_err());
    // the end is worth a try, and there is room for it
    record.close(&Outcome::Failed("it can't be recorded".to_owned())).await.unwrap();
    assert_eq!(events(&log).last().unwrap()["stdout"]["bytes"], 4);
}

const BOUNDS: Bounds = Bounds {
    shares: Shares { session: 20_000, person: 30_000, strangers: 20_000 },
    questions_a_minute: 10,
    keeping: Keeping { required: true, folders: true, output_head: 0, shares: Shares::UNLIMITED },
};

/// A log with bounds, and what records into it.
fn bounded() -> (tempfile::TempDir, Arc<EventLog>) {
    let dir = tempfile::tempdir().unwrap();
    let log = EventLog::open(dir.path(), 1 << 20).unwrap().bounded(BOUNDS);
    (dir, Arc::new(log))
}

async fn files_of(person: &str, log: &Arc<EventLog>) -> Result<SessionRecord, EvidenceError> {
    SessionRecord::open(log, &Grant::for_test_of(person, "i-1", Action::Files), Opening::for_test()).await
}

fn stat(path: &[u8]) -> FileOperation<'_> {
    let outcome = FileOutcome::Failed { errno: Some(2), why: "No such file or directory" };
    FileOperation { action: "Stat", paths: Paths { path, ..Paths::default() }, outcome }
}

#[tokio::test]
async fn questions_without_end_are_summed_and_end_nothing() {
    let (_dir, log) = bounded();
    let record = files_of("ada", &log).await.unwrap();
    let files = record.files();
    let overlong = vec![b'x'; 100_000];
    for _ in 0..5000 {
        files.question(stat(&overlong)).await.unwrap();
    }
    record.close(&Outcome::Finished).await.unwrap();
    let events = events(&log);
    let listed = events.iter().filter(|event| event["event"] == "file.operation").count();
    assert!((10..20).contains(&listed), "{listed}");
    let summed = events.iter().filter(|event| event["event"] == "file.summed");
    let sums: Vec<&Value> = summed.flat_map(|event| event["operations"].as_array().unwrap()).collect();
    assert_eq!(sums.iter().map(|sum| sum["count"].as_u64().unwrap()).sum::<u64>(), 5000 - listed as u64);
    let same = (&"Stat".into(), &"failed".into(), &2.into());
    assert!(sums.iter().all(|sum| (&sum["action"], &sum["outcome"], &sum["errno"]) == same), "{sums:?}");
    assert!(log.path().metadata().unwrap().len() < 20_000);
    assert_eq!(events.last().unwrap()["event"], "session.closed", "the sum stands before the end");
}

#[tokio::test]
async fn a_session_that_fills_its_part_of_the_log_ends_and_others_live() {
    let (_dir, log) = bounded();
    let other = files_of("bob", &log).await.unwrap();
    let first = files_of("ada", &log).await.unwrap();
    let asked = || FileAsked { action: "Remove", paths: Paths { path: b"/x", ..Paths::default() } };
    let fill = async |record: &SessionRecord| loop {
        if let Err(error) = record.files().asked(asked()).await {
            break error.to_string();
        }
    };
    let error = fill(&first).await;
    assert!(error.contains("this session's events have filled") && error.contains("evidence.session_bytes"), "{error}");
    assert!(first.output().intact().is_err(), "nothing more is let through");
    first.close(&Outcome::Failed(error)).await.unwrap();
    // her next one has what is left of her own part, and after it she has to wait
    let second = files_of("ada", &log).await.unwrap();
    let error = fill(&second).await;
    assert!(error.contains("your part of the event log") && error.contains("evidence.person_bytes"), "{error}");
    second.close(&Outcome::Failed(error)).await.unwrap();
    assert!(matches!(files_of("ada", &log).await, Err(EvidenceError::PersonShare { .. })));
    other.files().asked(asked()).await.unwrap();
    other.close(&Outcome::Finished).await.unwrap();
    assert!(log.path().metadata().unwrap().len() < 40_000);
    let ends = events(&log).iter().filter(|event| event["event"] == "session.closed").count();
    assert_eq!(ends, 3, "whatever is left, the end is told");
}

#[tokio::test]
async fn strangers_fill_their_part_and_no_more() {
    let (_dir, log) = bounded();
    for _ in 0..10_000 {
        log.note(Uuid::nil(), &refused("no proof was given"));
    }
    log.flush().await;
    let events = events(&log);
    assert!(log.path().metadata().unwrap().len() <= 20_000 && events.len() > 30);
    assert!(numbers(&log).into_iter().eq(1..=events.len() as u64), "what is only counted is not missing");
}

#[tokio::test]
async fn a_forward_and_a_hop_say_where_they_lead() {
    for (action, forward) in [
        (Action::Forward { host: "db.internal".to_owned(), port: 5432 }, Some(("db.internal", 5432))),
        (Action::Tunnel { port: 22 }, Some(("localhost", 22))),
        (Action::Hop, None),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let log = Arc::new(EventLog::open(dir.path(), 1 << 20).unwrap());
        let grant = Grant::for_test("web-1", action.clone());
        let record = SessionRecord::open(&log, &grant, Opening::for_test()).await.unwrap();
        let id = record.id();
        record.close(&Outcome::Finished).await.unwrap();
        log.flush().await;
        let opened = events(&log).into_iter().find(|event| event["event"] == "session.opened").unwrap();
        assert_eq!(opened["action"], action.name());
        let day = portcullis_folder::day_of(time::OffsetDateTime::now_utc());
        let folder = dir.path().join("sessions").join(day).join(id.to_string());
        let manifest: Value = serde_json::from_slice(&std::fs::read(folder.join("manifest.json")).unwrap()).unwrap();
        assert_eq!(manifest["action"], action.name());
        let told = |at: &Value| at["host"].as_str().map(str::to_owned).zip(at["port"].as_u64());
        let wanted = forward.map(|(host, port)| (host.to_owned(), port));
        assert_eq!((told(&opened), told(&manifest["forward"])), (wanted.clone(), wanted));
    }
}
