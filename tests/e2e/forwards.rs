//! Forwards through the demo's node, by OpenSSH: `-L`, `-D`, multiplexed ones; to servers that nobody here wrote, and to some that do
//! what those seldom do.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Demo, PATIENCE, noise, program, run, until};

#[path = "../../src/index/tests/support/postgres.rs"]
mod postgres;

/// By the helper's relay, and where a node has none, by the agent's port sessions.
const WAYS: [&[&str]; 2] = [&[], &["--helper", "sh"]];

/// Ended when it goes out of scope.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// `ssh -N` with these forwards, once its client listens on this port.
fn tunnel(demo: &Demo, local: u16, args: &[&str]) -> Running {
    let mut ssh = demo.command("ssh");
    ssh.args(["-v", "-N", "-o", "ExitOnForwardFailure=yes"]).args(args).arg("demo");
    let mut ssh = Running(ssh.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let mut said = BufReader::new(ssh.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let listens = format!("port {local}.");
    let mut before = Vec::new();
    // by asking for the port one would take it from the client, or be a connection
    while let Some(line) = said.next() {
        if line.contains("orwarding listening on") && line.ends_with(&listens) {
            thread::spawn(move || said.for_each(drop));
            return ssh;
        }
        before.push(line);
    }
    panic!("the client does not listen on {local}: {before:#?}");
}

/// A forward of a local port to a port of the node.
fn forward(demo: &Demo, to: u16) -> (u16, Running) {
    let local = free_port();
    (local, tunnel(demo, local, &["-L", &format!("127.0.0.1:{local}:localhost:{to}")]))
}

fn connect(port: u16) -> TcpStream {
    // the client says that it listens just before it does, and takes so many at once
    let end = Instant::now() + PATIENCE;
    let stream = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused && Instant::now() < end => {
                thread::sleep(Duration::from_millis(20));
            }
            connected => break connected.unwrap(),
        }
    };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A server on the node that has each connection in a thread of its own. It ends with the test.
fn server(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    port
}

fn echo(mut stream: TcpStream) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}

fn http_server(directory: &Path) -> (u16, Running) {
    let port = free_port();
    let mut python = Command::new("python3");
    python.args(["-m", "http.server", "--bind", "127.0.0.1", &port.to_string(), "--directory"]).arg(directory);
    let server = Running(python.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    until("the server listens", PATIENCE, || TcpStream::connect(("127.0.0.1", port)).is_ok());
    (port, server)
}

fn events(demo: &Demo) -> Vec<Value> {
    let text = std::fs::read_to_string(demo.dir().join("evidence/events.jsonl")).unwrap_or_default();
    let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The events of the forwards to a port, by their names.
fn of_port(demo: &Demo, port: u16) -> Vec<Value> {
    let all = events(demo);
    let opened = all.iter().filter(|event| event["event"] == "session.opened" && event["port"] == port);
    let ids: Vec<&Value> = opened.map(|event| &event["id"]).collect();
    all.iter().filter(|event| ids.contains(&&event["id"])).cloned().collect()
}

fn named<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == name).collect()
}

#[test]
fn http_goes_through_local_dynamic_and_multiplexed_forwards() {
    for way in WAYS {
        let demo = Demo::shared(way);
        let files = tempfile::tempdir().unwrap();
        let body = noise(3 << 20, 41);
        std::fs::write(files.path().join("body"), &body).unwrap();
        let (http, _server) = http_server(files.path());
        let got = files.path().join("got");
        let fetch = |args: &[&str]| {
            let mut curl = Command::new("curl");
            curl.args(["--silent", "--show-error", "--fail", "--output"]).arg(&got).args(args);
            run(&mut curl, b"", PATIENCE).ok();
            assert!(std::fs::read(&got).unwrap() == body, "{args:?}");
            std::fs::remove_file(&got).unwrap();
        };
        let (local, _ssh) = forward(&demo, http);
        fetch(&[&format!("http://127.0.0.1:{local}/body")]);
        let socks = free_port();
        let _dynamic = tunnel(&demo, socks, &["-D", &format!("127.0.0.1:{socks}")]);
        let proxy = format!("127.0.0.1:{socks}");
        fetch(&["--socks5-hostname", &proxy, &format!("http://localhost:{http}/body")]);
        fetch(&["--socks5-hostname", &proxy, &format!("http://127.0.0.1:{http}/body")]);
        // and one that is asked for on a connection that is there
        let control = files.path().join("control");
        let mut master = demo.command("ssh");
        master.args(["-M", "-N", "-S"]).arg(&control).arg("demo");
        let _master = Running(master.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        until("the master is there", PATIENCE, || control.exists());
        let local = free_port();
        let mut asked = demo.command("ssh");
        asked.arg("-S").arg(&control).args([
            "-O",
            "forward",
            "-L",
            &format!("127.0.0.1:{local}:localhost:{http}"),
            "demo",
        ]);
        run(&mut asked, b"", PATIENCE).ok();
        fetch(&[&format!("http://127.0.0.1:{local}/body")]);
    }
}

#[test]
fn a_database_is_asked_through_a_forward() {
    let demo = Demo::shared(&[]);
    let port = free_port();
    let _database = postgres::Postgres::with(&["listen_addresses=127.0.0.1", &format!("port={port}")], |_| {});
    let (local, _ssh) = forward(&demo, port);
    for _ in 0..3 {
        let mut psql = program("psql");
        psql.args([
            "--no-psqlrc",
            "--tuples-only",
            "--no-align",
            "-c",
            "select sum(n) from generate_series(1, 100000) n",
        ]);
        psql.arg(format!("postgres://gate@127.0.0.1:{local}/postgres?sslmode=disable"));
        assert_eq!(run(&mut psql, b"", PATIENCE).ok().out(), "5000050000\n");
    }
}

#[test]
fn a_server_that_speaks_first_is_heard_on_the_first_connection_and_on_each() {
    for way in WAYS {
        let demo = Demo::shared(way);
        let greeting = server(|mut stream| {
            let _ = stream.write_all(b"220 at your service\r\n");
            echo(stream);
        });
        for _ in 0..3 {
            let (local, _ssh) = forward(&demo, greeting);
            for _ in 0..5 {
                let mut stream = connect(local);
                let mut said = [0; 21];
                stream.read_exact(&mut said).unwrap();
                assert_eq!(&said, b"220 at your service\r\n");
                stream.write_all(b"and you").unwrap();
                let mut back = [0; 7];
                stream.read_exact(&mut back).unwrap();
                assert_eq!(&back, b"and you");
            }
        }
    }
}

#[test]
fn what_is_asked_before_the_clients_end_is_answered_after_it() {
    for way in WAYS {
        let demo = Demo::shared(way);
        let slow = server(|mut stream| {
            let mut asked = [0; 8];
            stream.read_exact(&mut asked).unwrap();
            thread::sleep(Duration::from_millis(700));
            let _ = stream.write_all(&noise(500_000, 7));
        });
        let (local, _ssh) = forward(&demo, slow);
        let mut stream = connect(local);
        stream.write_all(b"question").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer == noise(500_000, 7), "{} bytes", answer.len());
    }
}

#[test]
fn two_hundred_connections_at_once_share_one_ssh_and_none_is_mixed_up() {
    for way in WAYS {
        let demo = Demo::shared(way);
        let echoes = server(echo);
        let (local, _ssh) = forward(&demo, echoes);
        let clients: Vec<_> = (0..200)
            .map(|n| {
                thread::spawn(move || {
                    let mut stream = connect(local);
                    let said = noise(20_000, n);
                    stream.write_all(&said).unwrap();
                    let mut back = vec![0; said.len()];
                    stream.read_exact(&mut back).unwrap();
                    assert!(back == said, "connection {n}");
                    stream
                })
            })
            .collect();
        let held: Vec<TcpStream> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        assert_eq!(held.len(), 200);
        drop(held);
        // what carries one carries them all
        until("each has its end", PATIENCE, || named(&of_port(&demo, echoes), "session.closed").len() >= 200);
        let told = of_port(&demo, echoes);
        let lanes: BTreeSet<&str> =
            named(&told, "session.lane").iter().filter_map(|lane| lane["session_manager_id"].as_str()).collect();
        assert_eq!(named(&told, "session.opened").len(), 200);
        assert!(lanes.len() <= 2, "one port session, or the two lanes of one relay: {lanes:?}");
    }
}

#[test]
fn a_port_that_is_not_open_yet_refuses_that_connection_and_no_later_one() {
    for way in WAYS {
        let demo = Demo::shared(way);
        let port = free_port();
        let (local, _ssh) = forward(&demo, port);
        for _ in 0..3 {
            let begun = Instant::now();
            let mut stream = connect(local);
            assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0, "nobody is there");
            assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        }
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(echo));
        let mut stream = connect(local);
        stream.write_all(b"now").unwrap();
        let mut back = [0; 3];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"now");
        let told = of_port(&demo, port);
        let failed = named(&told, "session.closed").into_iter().filter(|closed| closed["outcome"] == "failed").count();
        assert_eq!(failed, 3, "{told:#?}");
        let lanes: BTreeSet<String> =
            named(&told, "session.lane").iter().map(|lane| lane["session_manager_id"].to_string()).collect();
        assert!(lanes.len() <= 2, "the session stays usable: {lanes:?}");
    }
}

#[test]
fn a_dead_target_and_a_client_that_reads_nothing_hold_up_nobody_else() {
    for way in WAYS {
        let demo = Demo::shared(way);
        let (echoes, pours) = (server(echo), server(|mut stream| while stream.write_all(&[7; 1 << 16]).is_ok() {}));
        let dead = free_port();
        let (local, other) = (free_port(), free_port());
        let of = |local: u16, to: u16| format!("127.0.0.1:{local}:localhost:{to}");
        let poured = free_port();
        let args = ["-L", &of(local, echoes), "-L", &of(other, dead), "-L", &of(poured, pours)];
        let _ssh = tunnel(&demo, local, &args);
        // nobody reads it
        let _standing = connect(poured);
        let _dead: Vec<TcpStream> = (0..5).map(|_| connect(other)).collect();
        thread::sleep(Duration::from_millis(500));
        for n in 0..20 {
            let begun = Instant::now();
            let mut stream = connect(local);
            let said = noise(1000, n);
            stream.write_all(&said).unwrap();
            let mut back = vec![0; 1000];
            stream.read_exact(&mut back).unwrap();
            assert!(back == said);
            assert!(n == 0 || begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        }
    }
}

#[test]
fn the_record_says_where_to_how_much_and_what_was_inside_and_keeps_no_byte() {
    for way in WAYS {
        let demo = Demo::start(way);
        let hides = server(|mut stream| {
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n");
            let _ = stream.read_exact(&mut [0; 6]);
        });
        let (local, _ssh) = forward(&demo, hides);
        let mut stream = connect(local);
        stream.write_all(b"secret").unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).unwrap();
        assert_eq!(said, b"SSH-2.0-OpenSSH_9.9\r\n");
        drop(stream);
        until("it has its end", PATIENCE, || named(&of_port(&demo, hides), "session.sealed").len() == 1);
        let told = of_port(&demo, hides);
        let one = |name: &str| named(&told, name)[0].clone();
        let opened = one("session.opened");
        assert_eq!((&opened["action"], &opened["host"]), (&"Forward".into(), &"localhost".into()));
        assert_eq!(
            (&one("forward.inside")["protocol"], &one("forward.inside")["by"]),
            (&"ssh".into(), &"target".into())
        );
        let closed = one("session.closed");
        assert_eq!((&closed["stdin"]["bytes"], &closed["stdout"]["bytes"]), (&6.into(), &21.into()), "{closed}");
        assert!(closed["milliseconds"].is_u64() && closed["outcome"] == "finished", "{closed}");
        let order: Vec<&str> = told.iter().filter_map(|event| event["event"].as_str()).collect();
        let at = |name: &str| order.iter().position(|event| *event == name).unwrap();
        assert!(
            at("session.opened") < at("forward.connected") && at("forward.connected") < at("forward.inside"),
            "{order:?}"
        );
        // the folder has the same, and not what passed
        let folder = demo.dir().join("evidence/sessions").join(one("session.sealed")["folder"].as_str().unwrap());
        let manifest: Value = serde_json::from_slice(&std::fs::read(folder.join("manifest.json")).unwrap()).unwrap();
        let forward = &manifest["forward"];
        assert_eq!(
            (&forward["host"], &forward["port"], &forward["inside"]),
            (&"localhost".into(), &hides.into(), &"ssh".into())
        );
        assert_eq!(manifest["streams"]["stdout"]["bytes"], 21);
        for file in std::fs::read_dir(&folder).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(!bytes.windows(6).any(|window| window == b"secret"), "no byte is kept");
        }
        let mut verify = program(crate::harness::PORTCULLIS);
        verify.arg("verify").arg(&folder).arg("--config").arg(demo.dir().join("gateway.toml"));
        let verified = run(&mut verify, b"", PATIENCE);
        assert!(verified.out().contains("fine") || verified.code() == Some(0), "{verified}");
    }
}

#[test]
fn by_the_helper_each_direction_ends_by_itself_and_sockets_are_reached() {
    let demo = Demo::start(&[]);
    // answers only to the whole of what is asked
    let counts = server(|mut stream| {
        let mut asked = Vec::new();
        stream.read_to_end(&mut asked).unwrap();
        let _ = write!(stream, "{} bytes", asked.len());
    });
    let (local, _ssh) = forward(&demo, counts);
    let mut stream = connect(local);
    stream.write_all(&noise(300_000, 3)).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "300000 bytes");
    let told = of_port(&demo, counts);
    let connected = named(&told, "forward.connected")[0];
    assert_eq!((&connected["way"], &connected["address"]), (&"helper".into(), &format!("127.0.0.1:{counts}").into()));
    // a socket is permitted by no policy about ports
    let through = free_port();
    let _ssh = tunnel(&demo, through, &["-L", &format!("127.0.0.1:{through}:/run/docker.sock")]);
    assert_eq!(connect(through).read(&mut [0; 1]).unwrap_or(0), 0, "no policy permits it");
    let refused = |event: &&Value| event["asked"] == "forwarding to /run/docker.sock by demo";
    until("it is noted", PATIENCE, || {
        events(&demo).iter().find(refused).is_some_and(|event| event["code"] == "no-rule")
    });
}
