//! One gateway before two accounts, each a Session Manager of its own with a node of the same id.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::emulator::Emulator;
use crate::harness::{PATIENCE, PORTCULLIS, Run, program, run, until};
use crate::serve::Ended;

/// The id of every node that the emulator starts.
const NODE: &str = "mi-0fedcba9876543210";

/// Ada may do everything everywhere.
const EVERYWHERE: &str =
    "@id(\"ada\") permit (principal == Person::\"ada\", action in Action::\"Sessions\", resource);\n";

/// Both accounts, and a configuration for a gateway before them.
struct Realms {
    dev: Emulator,
    prod: Emulator,
    port: u16,
    dir: tempfile::TempDir,
}

impl Realms {
    /// With nodes of these names, under these policies; `of_prod` stands in the second realm's part of the configuration.
    fn new((dev, prod): (&str, &str), policies: &str, of_prod: &str, extra: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let services = [("dev", dev), ("prod", prod)].map(|(realm, node)| {
            Emulator::start(node, |name| at(&format!("{name}-{realm}")).display().to_string(), &["--fast"])
        });
        // each realm has credentials of its own, by a profile
        let keys = ["dev", "prod"].map(|realm| {
            let keys = std::fs::read_to_string(at(&format!("keys-{realm}"))).unwrap();
            let client = keys.split("[agent]").next().unwrap();
            client.replace("[default]", &format!("[{realm}]"))
        });
        std::fs::write(at("keys"), keys.concat()).unwrap();
        for key in ["host", "user"] {
            let mut keygen = Command::new("ssh-keygen");
            run(keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(at(key)), b"", PATIENCE).ok();
        }
        std::fs::create_dir(at("evidence")).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let key = std::fs::read_to_string(at("user.pub")).unwrap();
        let realm = |name: &str, url: &str, more: &str| {
            format!(
                "[[realms]]\nname = \"{name}\"\nregion = \"us-east-1\"\nprofile = \"{name}\"\nca_bundle = \"ca.pem-{name}\"\n{more}\n\
                 [realms.endpoints]\nssm = \"{url}\"\nsts = \"{url}\"\ntagging = \"{url}\"\n"
            )
        };
        let [dev, prod] = services;
        let config = format!(
            "[gateway]\nlisten = [\"127.0.0.1:{port}\"]\nhost_keys = [\"host\"]\n\
             [[people]]\nname = \"ada\"\nkeys = [\"{}\"]\n[evidence]\ndirectory = \"evidence\"\n{}{}{extra}",
            key.trim(),
            realm("dev", &dev.url, "identity = \"gateway\""),
            realm("prod", &prod.url, of_prod),
        );
        std::fs::write(at("gateway.toml"), config).unwrap();
        std::fs::create_dir(at("policies")).unwrap();
        std::fs::write(at("policies/access.cedar"), policies).unwrap();
        Self { dev, prod, port, dir }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = program(PORTCULLIS);
        command.args(args).arg("--config").arg(self.at("gateway.toml"));
        command.env("AWS_SHARED_CREDENTIALS_FILE", self.at("keys")).env("AWS_CONFIG_FILE", "/dev/null");
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        command
    }

    fn portcullis(&self, args: &[&str]) -> Run {
        run(&mut self.command(args), b"", PATIENCE)
    }

    fn serve(&self) -> Ended {
        let log = std::fs::File::create(self.at("log")).unwrap();
        let serving = Ended(self.command(&["serve"]).stdin(Stdio::null()).stderr(log).spawn().unwrap());
        until("the gateway listens", PATIENCE, || std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok());
        serving
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.at("log")).unwrap()
    }

    fn client(&self, login: &str) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none"]);
        ssh.args(["-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR"]);
        ssh.arg("-o").arg(format!("UserKnownHostsFile={}", self.at("known").display()));
        ssh.arg("-i").arg(self.at("user")).args(["-p", &self.port.to_string(), &format!("{login}@127.0.0.1")]);
        ssh
    }

    fn ssh(&self, login: &str, remote: &str) -> Run {
        run(self.client(login).arg(remote), b"", PATIENCE)
    }

    /// The realm whose node runs what is asked for by this login.
    fn leads_to(&self, login: &str) -> String {
        let ran = self.ssh(login, "echo $XDG_RUNTIME_DIR").ok().out();
        let node = ran.trim().strip_suffix("/run").and_then(|dir| dir.rsplit("/node-").next());
        node.unwrap_or_else(|| panic!("{ran}")).to_owned()
    }

    fn refused(&self, login: &str) -> String {
        let refused = self.ssh(login, "echo in");
        assert!(refused.code() == Some(255) && refused.stdout.is_empty(), "{login}: {refused}");
        refused.err()
    }

    fn events(&self, name: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.at("evidence/events.jsonl")).unwrap();
        let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        events.filter(|event| event["event"] == name).collect()
    }

    /// The documents of the sessions that were started in a realm.
    fn started(&self, realm: &str) -> Vec<String> {
        let trail = std::fs::read_to_string(self.at(&format!("trail.jsonl-{realm}"))).unwrap_or_default();
        let records = trail.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let started = records.filter(|record| record["eventName"] == "StartSession" && record["errorCode"].is_null());
        started.map(|record| record["requestParameters"]["documentName"].as_str().unwrap().to_owned()).collect()
    }
}

/// As a line, whatever it is drawn with.
fn plain(text: &str) -> String {
    text.replace(['│', '\n'], " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

const GATEWAY: &str = "identity = \"gateway\"";

#[test]
fn nodes_of_one_name_and_one_id_are_each_their_realm_s_and_share_nothing() {
    let lanes = "[lanes]\nchannels_per_node = 1\nchannels_per_person_on_a_node = 1\n";
    let realms = Realms::new(("web-1", "web-1"), EVERYWHERE, GATEWAY, lanes);
    let applied = realms.portcullis(&["documents", "--apply", "--realm", "dev"]).ok();
    assert!(applied.out().contains("dev: Portcullis-OutLane: created") && !applied.out().contains("prod"), "{applied}");
    let differ = realms.portcullis(&["documents"]).ends(8);
    assert!(differ.out().contains("dev: Portcullis-OutLane: as it should be"), "{differ}");
    assert!(differ.out().contains("prod: Portcullis-OutLane: missing"), "{differ}");
    assert!(realms.portcullis(&["documents", "--realm", "qa"]).ends(2).err().contains("there is dev, prod"));
    let serving = realms.serve();
    // what the one realm has not got, and what is learnt from that, is not the other's
    assert_eq!(realms.leads_to("web-1.prod"), "prod");
    assert_eq!(realms.leads_to(&format!("{NODE}.dev")), "dev");
    assert_eq!(realms.leads_to("web-1.dev"), "dev");
    assert_eq!(realms.leads_to("tag:Name=web-1.prod"), "prod");
    let (log, next_rung) = (realms.log(), "trying the next rung");
    let of_prod = |line: &str| line.contains(&format!("\"node\":\"{NODE}.prod\""));
    assert!(log.contains(next_rung) && log.lines().filter(|line| line.contains(next_rung)).all(of_prod), "{log}");
    assert!(
        realms.started("dev").iter().all(|document| document.starts_with("Portcullis-")),
        "{:?}",
        realms.started("dev")
    );
    assert!(realms.started("prod").iter().all(|document| document.starts_with("AWS-")), "{:?}", realms.started("prod"));
    // a place on the one is none on the other
    let mut held = realms.client("web-1.dev");
    let held = held.arg("echo held; sleep 600").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut held = Ended(held.spawn().unwrap());
    BufReader::new(held.0.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    assert_eq!(realms.leads_to("web-1.prod"), "prod");
    let mut waits = realms.client("web-1.dev");
    let mut waits = Ended(waits.arg("true").stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let mut told = String::new();
    BufReader::new(waits.0.stderr.take().unwrap()).read_line(&mut told).unwrap();
    assert!(told.contains("waiting for a place"), "{told}");
    drop((held, waits));
    // without a realm it could be either, and is neither
    for login in ["web-1", NODE] {
        let refused = realms.refused(login);
        assert!(
            refused.contains(&format!("2 nodes are called {login}; use one of {NODE}.dev, {NODE}.prod")),
            "{refused}"
        );
    }
    assert!(realms.refused("web-1.qa").contains("did you mean web-1.dev?"), "{}", realms.refused("web-1.qa"));
    let nodes = realms.ssh("ada", "nodes").ok().out();
    for realm in ["dev", "prod"] {
        assert!(nodes.contains(&format!("web-1\t{NODE}\t{realm}\tonline")), "{nodes}");
    }
    let nodes: Value = serde_json::from_str(&realms.ssh("ada", "nodes --json").ok().out()).unwrap();
    assert_eq!((&nodes["nodes"][0]["realm"], &nodes["nodes"][1]["realm"]), (&"dev".into(), &"prod".into()));
    let opened: Vec<Value> = realms.events("session.opened");
    let told = |event: &Value| {
        [&event["realm"], &event["node"], &event["node_name"]].map(|field| field.as_str().unwrap().to_owned())
    };
    assert_eq!(told(&opened[0]), ["prod", NODE, "web-1.prod"]);
    assert_eq!(told(&opened[1]), ["dev", NODE, &format!("{NODE}.dev")]);
    drop(serving);
    // and the log says enough to ask other policies
    std::fs::write(
        realms.at("new.cedar"),
        format!("{EVERYWHERE}@id(\"f\") forbid (principal, action, resource) when {{ resource.realm == \"prod\" }};\n"),
    )
    .unwrap();
    let [new, log] = ["new.cedar", "evidence/events.jsonl"].map(|name| realms.at(name).display().to_string());
    let rehearsed = crate::harness::portcullis(&["policy", "rehearse", "--json", "--policies", &new, &log]).ends(8);
    let rehearsed: Value = serde_json::from_slice(&rehearsed.stdout).unwrap();
    let turned: Vec<&str> =
        rehearsed["turned"].as_array().unwrap().iter().map(|one| one["realm"].as_str().unwrap()).collect();
    assert!(turned.len() >= 3 && turned.iter().all(|realm| *realm == "prod"), "{rehearsed}");
    assert_eq!(rehearsed["not_asked"], 0);
}

#[test]
fn a_realm_that_does_not_answer_hurts_no_other() {
    let mut realms = Realms::new(("web-1", "db-1"), EVERYWHERE, GATEWAY, "");
    let mut serving = realms.serve();
    assert_eq!((realms.leads_to("web-1").as_str(), realms.leads_to("db-1").as_str()), ("dev", "prod"));
    until("all answer", PATIENCE, || realms.log().contains("\"message\":\"ready\""));
    assert_eq!(serving.signal(Signal::TERM), Some(0), "{}", realms.log());
    realms.prod.kill();

    let checked = realms.portcullis(&["check"]).ok();
    let said = plain(&checked.err());
    assert!(
        said.contains("realm prod: could not reach Systems Manager") && !said.contains("realm dev: could"),
        "{checked}"
    );
    // it begins where one answers, and says which does not
    let mut serving = realms.serve();
    until("it says who answers", PATIENCE, || realms.log().contains("but no session can be opened in realms"));
    let log = realms.log();
    assert!(
        log.contains("\"message\":\"ready\"") && log.contains("that do not answer: prod: could not reach"),
        "{log}"
    );
    assert_eq!((realms.leads_to("web-1").as_str(), realms.leads_to("web-1.dev").as_str()), ("dev", "dev"));
    // what is found nowhere may be there
    for login in ["db-1", "db-2"] {
        let refused = realms.refused(login);
        assert!(refused.contains(&format!("{login} may be in prod, and there is no answer from there")), "{refused}");
        assert!(refused.contains(&format!("as in {login}.dev")), "{refused}");
    }
    let refused = realms.refused("db-1.prod");
    assert!(refused.contains("could not reach Systems Manager"), "{refused}");
    let nodes = realms.ssh("ada", "nodes").ok().out();
    let (there, silent) = nodes.split_once('\n').unwrap();
    assert!(there.starts_with(&format!("web-1\t{NODE}\tdev\tonline")), "{nodes}");
    assert!(silent.starts_with("there may be nodes in prod, which did not answer: could not reach"), "{nodes}");
    let nodes: Value = serde_json::from_str(&realms.ssh("ada", "nodes --json").ok().out()).unwrap();
    assert_eq!((&nodes["complete"], &nodes["silent"][0]["realm"]), (&false.into(), &"prod".into()));
    assert_eq!(serving.signal(Signal::TERM), Some(0), "{}", realms.log());
    // and where none does, it serves all the same, and says so
    realms.dev.kill();
    let _serving = realms.serve();
    until("it says that none answers", PATIENCE, || {
        realms.log().contains("listening, but no session can be opened: dev:")
    });
    let refused = realms.refused("web-1");
    assert!(refused.contains("web-1 may be in dev, prod, and there is no answer from there"), "{refused}");
}

#[test]
fn a_role_is_a_realm_s_and_who_has_none_there_is_refused_there_alone() {
    let roles = "[[realms.roles]]\nrole = \"arn:aws:iam::123456789012:role/portcullis-ops\"\ngroups = [\"ops\"]\n";
    let realms = Realms::new(("web-1", "web-1"), EVERYWHERE, roles, "");
    let _serving = realms.serve();
    assert_eq!(realms.leads_to("web-1.dev"), "dev");
    let refused = realms.refused("web-1.prod");
    assert!(
        refused.contains("there is no role in AWS for ada in the realm prod: none of its [[realms.roles]]"),
        "{refused}"
    );
    // it is noted, and nobody waits for that
    let no_role = |event: &Value| event["code"] == "no-aws-role";
    until("the event", PATIENCE, || realms.events("channel.refused").iter().any(no_role));
    assert!(realms.started("prod").is_empty());
    let who = realms.ssh("ada", "whoami").ok().out();
    assert!(who.contains("in AWS, realm dev: this gateway, whose own sessions yours are\n"), "{who}");
    assert!(
        who.contains("in AWS, realm prod: nobody, so no session opens; none of the realm's [[realms.roles]]"),
        "{who}"
    );
}

#[test]
fn policies_say_which_realm_and_a_name_is_looked_for_where_they_may() {
    let in_dev = "@id(\"dev\") permit (principal == Person::\"ada\", action in Action::\"Sessions\", resource)\n\
                  when { resource.realm == \"dev\" };\n";
    let mut realms = Realms::new(("web-1", "web-1"), in_dev, GATEWAY, "");
    let _serving = realms.serve();
    assert_eq!(realms.leads_to("web-1"), "dev", "the other is not theirs to mean");
    assert_eq!(realms.leads_to(&format!("{NODE}.dev")), "dev");
    for login in ["web-1.prod", &format!("{NODE}.prod"), "web-9.prod"] {
        let refused = realms.refused(login);
        assert!(refused.contains(&format!("no policy lets ada do Exec on {login}")), "{refused}");
    }
    // they may use all of dev, so they may know what is not there
    assert!(realms.refused("web-9").contains("web-9 is no managed node in us-east-1"), "{}", realms.refused("web-9"));
    let nodes = realms.ssh("ada", "nodes").ok().out();
    assert!(nodes.contains("\tdev\t") && !nodes.contains("prod"), "{nodes}");
    // nobody asks the other realm for them, for names or for lists
    realms.prod.kill();
    assert_eq!(realms.leads_to("web-1"), "dev");
    assert!(realms.refused("web-9").contains("web-9 is no managed node in us-east-1"), "{}", realms.refused("web-9"));
    assert_eq!(realms.ssh("ada", "nodes").ok().out(), nodes);
    let question = ["--person", "ada", "--node", "web-1", "Shell"];
    let explain = |realm: &str| {
        let args =
            ["policy", "explain", "--config", &realms.at("gateway.toml").display().to_string(), "--realm", realm];
        crate::harness::portcullis(&[&args[..], &question].concat())
    };
    assert!(explain("dev").ok().out().starts_with("allowed by dev"));
    assert!(!explain("prod").out().contains("allowed"));
    assert!(explain("Prod").ends(2).err().contains("`Prod` is no realm"));
    // a realm that there is not is told of before anybody relies on it
    std::fs::write(realms.at("policies/access.cedar"), in_dev.replace("\"dev\" }", "\"dve\" }")).unwrap();
    let checked = realms.portcullis(&["check", "--offline"]).ok();
    assert!(plain(&checked.err()).contains("no realm is called `dve`"), "{checked}");
    let scenarios = "[[scenario]]\nsays = \"dev\"\nperson = \"ada\"\nnode = \"web-1\"\nrealm = \"dev\"\naction = \"Shell\"\nexpect = \"allow\"\n\
                     [[scenario]]\nsays = \"prod\"\nperson = \"ada\"\nnode = \"web-1\"\nrealm = \"prod\"\naction = \"Shell\"\nexpect = \"deny\"\n";
    std::fs::write(realms.at("tests.toml"), scenarios).unwrap();
    std::fs::write(realms.at("policies/access.cedar"), in_dev).unwrap();
    let config = realms.at("gateway.toml").display().to_string();
    crate::harness::portcullis(&["policy", "test", "--config", &config, realms.at("tests.toml").to_str().unwrap()])
        .ok();
}
