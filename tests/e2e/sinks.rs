//! Evidence outside the host: a gateway with a bucket, a group of logs and a syslog server, none of which is ours.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::Value;

use crate::harness::{PATIENCE, run, until, wait};
use crate::serve::Account;

/// Ended when it goes out of scope.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn set_up(program: &str) {
    let root = env!("CARGO_MANIFEST_DIR");
    let setup = Command::new("scripts/setup.sh").arg(program).current_dir(root).output().unwrap();
    assert!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stderr));
}

/// S3 and CloudWatch Logs.
fn moto(port: u16) -> Server {
    set_up("moto_server");
    let mut server = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/target/moto/bin/moto_server"));
    server.args(["-H", "127.0.0.1", "-p", &port.to_string()]).stdin(Stdio::null());
    let server = Server(server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    until("moto listens", PATIENCE, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    curl(&["-X", "PUT", &format!("http://127.0.0.1:{port}/evidence-b")]);
    server
}

fn curl(args: &[&str]) -> String {
    // moto gives out what somebody has signed for, and looks at nothing else of a signature
    let signed = "authorization: AWS4-HMAC-SHA256 Credential=A/20261130/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
    let mut curl = Command::new("curl");
    let curl = curl.args(["--silent", "--show-error", "--fail", "-H", signed]).args(args);
    run(curl, b"", PATIENCE).ok().out()
}

/// The keys of all objects.
fn keys(port: u16) -> Vec<String> {
    let listed = curl(&[&format!("http://127.0.0.1:{port}/evidence-b?list-type=2")]);
    let keys = listed.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>"));
    keys.map(|(key, _)| key.to_owned()).collect()
}

/// An answer of CloudWatch Logs; null where it is none.
fn ask_logs(port: u16, operation: &str, body: &Value) -> Value {
    // moto finds the service by the scope of a signature
    let scope = "authorization: AWS4-HMAC-SHA256 Credential=A/20261130/us-east-1/logs/aws4_request, SignedHeaders=host, Signature=0";
    let target = format!("x-amz-target: Logs_20140328.{operation}");
    let kind = "content-type: application/x-amz-json-1.1";
    let url = format!("http://127.0.0.1:{port}/");
    let mut curl = Command::new("curl");
    let curl = curl.args(["--silent", "-H", scope, "-H", &target, "-H", kind, "-d", &body.to_string(), &url]);
    serde_json::from_slice(&curl.output().unwrap().stdout).unwrap_or_default()
}

/// The messages of a stream in CloudWatch Logs whose name begins so.
fn logged(port: u16, prefix: &str) -> Vec<String> {
    let prefixed = serde_json::json!({"logGroupName": "g", "logStreamNamePrefix": prefix});
    let streams = ask_logs(port, "DescribeLogStreams", &prefixed);
    let Some(name) = streams["logStreams"][0]["logStreamName"].as_str() else { return Vec::new() };
    let asked = serde_json::json!({"logGroupName": "g", "logStreamName": name, "startFromHead": true});
    let events = ask_logs(port, "GetLogEvents", &asked);
    let events = events["events"].as_array().cloned().unwrap_or_default();
    events.iter().filter_map(|event| event["message"].as_str().map(str::to_owned)).collect()
}

/// An authority, and a certificate of it for `localhost`.
fn certificates(dir: &Path) {
    let mut of_authority = CertificateParams::new(Vec::new()).unwrap();
    of_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    of_authority.distinguished_name.push(DnType::CommonName, "an authority");
    let key = KeyPair::generate().unwrap();
    std::fs::write(dir.join("logs-ca.pem"), of_authority.self_signed(&key).unwrap().pem()).unwrap();
    let (issuer, key) = (Issuer::new(of_authority, key), KeyPair::generate().unwrap());
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    std::fs::write(dir.join("logs.pem"), certificate.pem()).unwrap();
    std::fs::write(dir.join("logs.key"), key.serialize_pem()).unwrap();
}

/// A syslog server; what it takes is in the file `syslog`.
fn rsyslog(dir: &Path, port: u16) -> Server {
    set_up("rsyslogd");
    certificates(dir);
    let at = dir.display();
    let config = format!(
        r#"
global(workDirectory="{at}" defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="{at}/logs-ca.pem"
       defaultNetstreamDriverCertFile="{at}/logs.pem" defaultNetstreamDriverKeyFile="{at}/logs.key")
module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon")
template(name="parsed" type="string" string="%msgid%\t%structured-data%\t%msg%\n")
input(type="imtcp" address="127.0.0.1" port="{port}")
action(type="omfile" file="{at}/syslog" template="parsed")
"#
    );
    std::fs::write(dir.join("rsyslog.conf"), config).unwrap();
    let mut server = Command::new("/usr/sbin/rsyslogd");
    server.arg("-n").arg("-f").arg(dir.join("rsyslog.conf")).arg("-i").arg(dir.join("rsyslog.pid"));
    let server = Server(server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    until("rsyslog listens", PATIENCE, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    server
}

#[test]
fn a_session_is_in_a_bucket_a_group_and_a_syslog_and_the_journal_agrees_with_what_they_kept() {
    let (aws, logs) = (free_port(), free_port());
    let _moto = moto(aws);
    let sinks = format!(
        "[[evidence.sinks.s3]]\nname = \"bucket\"\nbucket = \"evidence-b\"\nprefix = \"e\"\nregion = \"us-east-1\"\n\
         endpoint = \"http://127.0.0.1:{aws}\"\npath_style = true\nanchor = true\nrequired = true\n\
         [[evidence.sinks.cloudwatch]]\nname = \"group\"\ngroup = \"g\"\ncreate_group = true\nregion = \"us-east-1\"\n\
         endpoint = \"http://127.0.0.1:{aws}\"\nanchor = true\n\
         [[evidence.sinks.syslog]]\nname = \"syslog\"\nhost = \"localhost\"\nport = {logs}\nca_file = \"logs-ca.pem\"\n\
         anchor = true\nresend_seconds = 1\n"
    );
    let account = Account::new(&format!("name = \"gate-1\"\n{sinks}"));
    let _rsyslog = rsyslog(&account.at(""), logs);
    account.portcullis(&["documents", "--apply"]).ok();
    let serving = account.serve();
    let said = account.ssh("web-1", "echo told; exit 3").ends(3);
    assert_eq!(said.out(), "told\n");

    // the folder, with its manifest last, is where the day, the realm and the node say
    let manifest = || keys(aws).into_iter().find(|key| key.ends_with("/manifest.json"));
    until("the folder is in the bucket", PATIENCE, || manifest().is_some());
    let key = manifest().unwrap();
    let (base, _) = key.rsplit_once('/').unwrap();
    let session = base.rsplit('/').next().unwrap();
    assert!(base.starts_with("e/20") && base.contains("/main/"), "{base}");
    let folder = account.at("fetched").join(session);
    std::fs::create_dir_all(&folder).unwrap();
    for key in keys(aws).iter().filter(|key| key.starts_with(base)) {
        let name = key.rsplit('/').next().unwrap();
        let bytes = curl(&[&format!("http://127.0.0.1:{aws}/evidence-b/{key}")]);
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    // what was fetched is whole, by the gateway's key
    account.portcullis(&["verify", folder.to_str().unwrap()]).ok();

    // its events, line by line, in its stream and at the syslog server
    let events = std::fs::read_to_string(folder.join("events.jsonl")).unwrap();
    let events: Vec<&str> = events.lines().collect();
    assert!(events.len() >= 3 && events.iter().any(|line| line.contains("echo told")), "{events:?}");
    until("the events are in their stream", PATIENCE, || logged(aws, session).len() == events.len());
    assert_eq!(logged(aws, session), events);
    let syslog = || std::fs::read_to_string(account.at("syslog")).unwrap_or_default();
    let in_syslog = || -> Vec<String> {
        let of_session = format!("session=\"{session}\"");
        let lines = syslog().lines().map(str::to_owned).collect::<Vec<_>>();
        let mut lines: Vec<String> = lines.into_iter().filter(|line| line.contains(&of_session)).collect();
        // at least once: a connection that broke brings some again
        lines.dedup();
        lines
            .iter()
            .filter_map(|line| line.split('\t').nth(2))
            .map(|text| text.trim_start().trim_start_matches('\u{feff}').to_owned())
            .collect()
    };
    until("the events are at the syslog server", PATIENCE, || in_syslog().len() == events.len());
    assert_eq!(in_syslog(), events);

    // how the sinks are, as the gateway knows it
    let told = account.portcullis(&["evidence", "sinks"]).ok().out();
    assert!(told.contains("bucket, required: takes evidence") && told.contains("syslog: takes evidence"), "{told}");

    // what retention leaves alone is written down by whoever runs the gateway
    account.portcullis(&["evidence", "hold", "--person", "ada", "--why", "case 7"]).ok();
    account.portcullis(&["evidence", "hold", "--person", "ada", "--why", "again"]).ends(1);
    let held = account.portcullis(&["evidence", "holds"]).ok().out();
    assert!(held.starts_with("person ada  since 20") && held.trim_end().ends_with(": case 7"), "{held}");
    account.portcullis(&["evidence", "release", "--person", "ada"]).ok();
    assert_eq!(account.portcullis(&["evidence", "holds"]).ok().out(), "");

    let folders = account.portcullis(&["evidence", "person", "ada"]).ok().out();
    assert!(folders.lines().count() == 1 && folders.trim_end().ends_with(session), "{folders}");
    assert_eq!(account.portcullis(&["evidence", "person", "eve"]).ok().out(), "");

    // the gateway ends; what its sinks kept proves the journal that it left
    drop(serving);
    let notes = |text: &str| {
        text.lines().filter_map(|line| line.strip_prefix("anchor\t")).map(str::to_owned).collect::<Vec<_>>()
    };
    until("anchors are at the syslog server", PATIENCE, || !notes(&syslog()).is_empty());
    let kept: Vec<String> = notes(&syslog())
        .iter()
        .map(|line| {
            let note: Value = serde_json::from_str(line.split('\t').nth(1).unwrap().trim()).unwrap();
            note["note"].as_str().unwrap().to_owned()
        })
        .collect();
    std::fs::write(account.at("anchors-syslog"), kept.join("\n")).unwrap();
    for sink in ["bucket", "group"] {
        let file = account.at(&format!("anchors-{sink}"));
        account.portcullis(&["evidence", "anchors", "--sink", sink, file.to_str().unwrap()]).ok();
        assert!(std::fs::read_to_string(&file).unwrap().contains("/journal/"), "{sink}");
    }
    let verify = |sink: &str| {
        let (journal, anchors) = (account.at("evidence"), account.at(&format!("anchors-{sink}")));
        account.portcullis(&["verify", "--journal", journal.to_str().unwrap(), "--anchor", anchors.to_str().unwrap()])
    };
    for sink in ["bucket", "group", "syslog"] {
        let said = verify(sink).ok().out();
        assert!(!said.contains("in agreement with 0 anchors"), "{sink}: {said}");
    }
    // and misses what is taken away, with every trace of it on this disk
    for gone in ["evidence/sessions", "evidence/events.jsonl", "evidence/events.checkpoints"] {
        let path = account.at(gone);
        if path.is_dir() { std::fs::remove_dir_all(path).unwrap() } else { std::fs::write(path, "").unwrap() }
    }
    for sink in ["bucket", "group", "syslog"] {
        verify(sink).ends(8);
    }
}

#[test]
fn a_sink_that_must_have_evidence_and_is_away_ends_sessions_and_lets_none_begin() {
    let aws = free_port();
    let away = moto(aws);
    let sinks = format!(
        "[[evidence.sinks.cloudwatch]]\nname = \"group\"\ngroup = \"g\"\ncreate_group = true\nregion = \"us-east-1\"\n\
         endpoint = \"http://127.0.0.1:{aws}\"\nrequired = true\nmax_outage_seconds = 3\n"
    );
    let account = Account::new(&sinks);
    account.portcullis(&["documents", "--apply"]).ok();
    let _serving = account.serve();
    account.ssh("web-1", "true").ok();
    let mut client = account.client("web-1");
    client.arg("while echo still; do sleep 1; done").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut client = client.spawn().unwrap();
    // of one that is away for less than it may, nothing is noticed
    account.ssh("web-1", "true").ok();
    drop(away);
    // an event tells that it is away; it is asked for nothing while there is none
    account.ssh("web-1", "true");
    let status = wait(&mut client, Duration::from_secs(60)).expect("the session ends");
    let mut said = String::new();
    std::io::Read::read_to_string(&mut client.stderr.take().unwrap(), &mut said).unwrap();
    assert!(!status.success() && said.contains("evidence does not reach where it has to"), "{status:?}: {said}");
    let refused = account.ssh("web-1", "true").ends(254);
    assert!(refused.err().contains("the sink group has been down for"), "{refused}");

    // it is back, and so is everybody
    let _back = moto(aws);
    until("sessions begin again", Duration::from_secs(90), || account.ssh("web-1", "true").code() == Some(0));
}

#[test]
fn logs_that_the_account_asks_for_are_where_its_preferences_say() {
    let aws = free_port();
    let _moto = moto(aws);
    let dir = tempfile::tempdir().unwrap();
    let preferences = dir.path().join("preferences.json");
    let inputs = serde_json::json!({"schemaVersion": "1.0", "description": "", "sessionType": "Standard_Stream", "inputs": {
        "s3BucketName": "evidence-b", "s3KeyPrefix": "ssm", "s3EncryptionEnabled": false, "cloudWatchLogGroupName": "g",
        "cloudWatchStreamingEnabled": true, "cloudWatchEncryptionEnabled": false}});
    std::fs::write(&preferences, inputs.to_string()).unwrap();
    // the group is the account's: it is there
    ask_logs(aws, "CreateLogGroup", &serde_json::json!({"logGroupName": "g"}));
    let endpoint = format!("http://127.0.0.1:{aws}");
    let realm = "identity = \"gateway\"\nevidence_replaces_agent_logging = true\n";
    let account = Account::with(&["--preferences", preferences.to_str().unwrap()], realm, "", "");
    account.portcullis(&["documents", "--apply"]).ok();
    let _serving =
        account.serve_with(&[("AWS_ENDPOINT_URL_S3", &endpoint), ("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", &endpoint)]);
    account.ssh("web-1", "echo told; exit 3").ends(3);

    let log = || keys(aws).into_iter().find(|key| key.starts_with("ssm/") && key.ends_with(".log"));
    until("the log is in the account's bucket", PATIENCE, || log().is_some());
    let key = log().unwrap();
    let text = curl(&[&format!("{endpoint}/evidence-b/{key}")]);
    assert!(text.starts_with("Script started on ") && text.contains("\n$ echo told; exit 3\ntold\n"), "{text}");
    assert!(text.contains("[COMMAND_EXIT_CODE=\"3\"]"), "{text}");
    let session = key.strip_prefix("ssm/").unwrap().strip_suffix(".log").unwrap();
    until("it is in the account's group", PATIENCE, || !logged(aws, session).is_empty());
    let streamed: Value = serde_json::from_str(&logged(aws, session)[0]).unwrap();
    assert_eq!((&streamed["sessionId"], &streamed["awsRegion"]), (&session.into(), &"us-east-1".into()));
    assert!(streamed["sessionData"].as_array().unwrap().contains(&"told".into()), "{streamed}");
    // it is called by an id that the service knows
    let trail = std::fs::read_to_string(account.at("trail.jsonl")).unwrap();
    assert!(trail.contains(session), "{session}");
}
