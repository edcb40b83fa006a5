//! OpenSSH's certificates, made by ssh-keygen and shown by ssh: whom they let in, and what each of them does not.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::process::Command;

use super::keys::Token;
use super::wire::{Raw, string, take};
use crate::identity::{Authority, People, Principal, Purpose, RealmRoles, Roles};
use crate::testing::{TestGateway, finish, keygen, text};

/// A gateway that trusts one authority; nobody has a plain key there.
struct Certifying(TestGateway);

impl Certifying {
    async fn with(policies: Option<&str>, authority: Authority) -> Self {
        let gateway = match policies {
            Some(policies) => TestGateway::under(policies).await,
            None => TestGateway::start().await,
        };
        let certifying = Self(gateway);
        for kind in ["ed25519", "ecdsa", "rsa"] {
            certifying.make(&format!("ca-{kind}"), &["-t", kind]).await;
        }
        certifying.make("other-ca", &["-t", "ed25519"]).await;
        certifying.trust(authority);
        certifying
    }

    async fn start() -> Self {
        Self::with(None, Authority::default()).await
    }

    fn trust(&self, authority: Authority) {
        let authority = Arc::new(Authority { name: "corp".to_owned(), ..authority });
        let people = People::new([("ada", &[][..]), ("bob", &[])]).unwrap();
        let mut people = people.in_roles(RealmRoles::for_test(Roles::Gateway));
        for kind in ["ed25519", "ecdsa", "rsa"] {
            people.add_authority_key(&authority, &self.public(&format!("ca-{kind}"))).unwrap();
        }
        self.0.roster.replace(people);
    }

    async fn make(&self, name: &str, kind: &[&str]) {
        keygen(&self.0.path(name), kind).await;
    }

    fn public(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.path(&format!("{name}.pub"))).unwrap()
    }

    /// A certificate of a key, by this authority and with these arguments of ssh-keygen.
    async fn certify(&self, key: &str, authority: &str, args: &[&str]) -> PathBuf {
        let mut sign = Command::new("ssh-keygen");
        sign.args(["-q", "-s"]).arg(self.0.path(authority)).args(["-I", "ada@corp", "-z", "7"]).args(args);
        let made = finish({
            sign.arg(self.0.path(&format!("{key}.pub"))).stdout(Stdio::piped()).stderr(Stdio::piped());
            sign
        });
        let made = made.await;
        assert!(made.status.success(), "{args:?}: {}", text(&made.stderr));
        // ssh takes what is called so for the key's own, and each test says which it means
        let (made, named) =
            (self.0.path(&format!("{key}-cert.pub")), self.0.path(&format!("{}.pub", uuid::Uuid::new_v4())));
        std::fs::rename(made, &named).unwrap();
        named
    }

    /// Whether the gateway would have a signature by this certificate, and the reason in the log where it would not.
    async fn offered(&self, login: &str, kind: &str, wire: &[u8]) -> Result<(), String> {
        let mut raw = Raw::encrypted(self.0.address).await;
        if raw.offer_key(login, kind, wire).await.0 == 60 {
            return Ok(());
        }
        drop(raw);
        let before = self.0.events().len();
        let refused = |events: &[serde_json::Value]| {
            events.iter().rfind(|event| event["event"] == "login.refused").map(|event| event["code"].clone())
        };
        for _ in 0..200 {
            let events = self.0.events();
            if events.len() > before
                && let Some(code) = refused(&events)
            {
                return Err(code.as_str().unwrap().to_owned());
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        Err(refused(&self.0.events()).expect("a refusal").as_str().unwrap().to_owned())
    }

    /// `ssh` by this certificate.
    async fn run(&self, key: &str, certificate: &std::path::Path, args: &[&str]) -> std::process::Output {
        let (key, certificate) = (self.0.path(key), certificate.display());
        let certificate = format!("CertificateFile={certificate}");
        self.0.run(&[&["-i", &key.display().to_string(), "-o", &certificate][..], args].concat()).await
    }
}

/// A `.pub` file's kind and wire form.
fn wire(file: &std::path::Path) -> (String, Vec<u8>) {
    let line = std::fs::read_to_string(file).unwrap();
    let mut words = line.split(' ');
    (words.next().unwrap().to_owned(), STANDARD.decode(words.next().unwrap()).unwrap())
}

#[tokio::test]
async fn every_kind_of_key_by_every_kind_of_authority_gets_in_and_the_log_says_by_which() {
    let gateway = Certifying::start().await;
    let kinds: [(&str, &[&str]); 5] = [
        ("ed", &["-t", "ed25519"]),
        ("p256", &["-t", "ecdsa", "-b", "256"]),
        ("p384", &["-t", "ecdsa", "-b", "384"]),
        ("p521", &["-t", "ecdsa", "-b", "521"]),
        ("rsa2048", &["-t", "rsa", "-b", "2048"]),
    ];
    for (index, (name, kind)) in kinds.into_iter().enumerate() {
        gateway.make(name, kind).await;
        let authority = ["ca-ed25519", "ca-ecdsa", "ca-rsa"][index % 3];
        let certificate = gateway.certify(name, authority, &["-n", "ada", "-V", "-1m:+1h"]).await;
        let ran = gateway.run(name, &certificate, &["nokey", "echo in"]).await;
        assert_eq!(text(&ran.stdout), "in\n", "{name} by {authority}: {}", text(&ran.stderr));
    }
    let certificate = gateway.certify("rsa2048", "ca-rsa", &["-t", "rsa-sha2-256", "-n", "ada"]).await;
    let ran = gateway.run("rsa2048", &certificate, &["gate", "whoami"]).await;
    assert!(text(&ran.stdout).starts_with("ada (certificate SHA256:"), "{ran:?}");
    for event in ["login.accepted", "session.opened"] {
        let event = gateway.0.event(|found| found["event"] == event).await;
        let told = &event["certificate"];
        assert_eq!(
            (&told["key_id"], &told["serial"], &told["authority"], &told["principal"]),
            (&"ada@corp".into(), &"7".into(), &"corp".into(), &"ada".into())
        );
        assert!(told["authority_key"].as_str().unwrap().starts_with("SHA256:") && told["valid_before"].is_string());
        assert!(event["proof"].as_str().unwrap().contains(": \"ada@corp\" (serial 7) of SHA256:"), "{event}");
    }
}

#[tokio::test]
async fn au5_what_is_wrong_with_a_certificate_is_seen_before_a_signature_is_asked_for() {
    let gateway = Certifying::start().await;
    let cases: [(&str, &[&str], Result<(), &str>); 17] = [
        ("ca-ed25519", &["-n", "ada"], Ok(())),
        ("ca-ed25519", &["-n", "eve,ada"], Ok(())),
        ("ca-ed25519", &["-n", "ada", "-O", "source-address=127.0.0.0/8,::1/128"], Ok(())),
        // what nobody has to understand may be there
        ("ca-ed25519", &["-n", "ada", "-O", "extension:who@example.com=ada"], Ok(())),
        ("other-ca", &["-n", "ada"], Err("authority-unknown")),
        ("ca-ed25519", &["-n", "ada", "-V", "-2h:-1h"], Err("proof-expired")),
        ("ca-ed25519", &["-n", "ada", "-V", "+1h:+2h"], Err("proof-expired")),
        ("ca-ed25519", &["-n", "eve"], Err("principal-unknown")),
        ("ca-ed25519", &["-n", "Ada"], Err("principal-unknown")),
        ("ca-ed25519", &[], Err("principal-unknown")),
        ("ca-ed25519", &["-n", "ada,bob"], Err("principal-unknown")),
        ("ca-ed25519", &["-n", "ada", "-O", "critical:who@example.com=ada"], Err("certificate-not-taken")),
        ("ca-ed25519", &["-n", "ada", "-O", "source-address=192.0.2.0/24"], Err("source-not-allowed")),
        ("ca-ed25519", &["-n", "ada", "-h"], Err("certificate-not-taken")),
        ("ca-rsa", &["-n", "ada", "-t", "ssh-rsa"], Err("certificate-not-taken")),
        ("ca-rsa", &["-n", "ada", "-t", "rsa-sha2-512"], Ok(())),
        ("ca-ecdsa", &["-n", "ada"], Ok(())),
    ];
    for (authority, args, expected) in cases {
        let certificate = gateway.certify("ada", authority, args).await;
        let (kind, wire) = wire(&certificate);
        let offered = gateway.offered("web-1", &kind, &wire).await;
        assert_eq!(offered, expected.map_err(str::to_owned), "{authority} {args:?}");
    }
    // who it is may be said where it stands for several, and must be one of them
    let (kind, both) = wire(&gateway.certify("ada", "ca-ed25519", &["-n", "ada,bob"]).await);
    for (login, expected) in [("ada/web-1", Ok(())), ("bob/web-1", Ok(())), ("eve/web-1", Err("principal-unknown"))] {
        assert_eq!(gateway.offered(login, &kind, &both).await, expected.map_err(str::to_owned), "{login}");
    }
    // a key that is too weak is so in a certificate as well
    gateway.make("weak", &["-t", "rsa", "-b", "1024"]).await;
    let (_, weak) = wire(&gateway.certify("weak", "ca-ed25519", &["-n", "ada"]).await);
    let offered = gateway.offered("web-1", "rsa-sha2-512-cert-v01@openssh.com", &weak).await;
    assert_eq!(offered, Err("key-too-weak".to_owned()));
    let (_, rsa) = wire(&gateway.certify("ca-rsa", "ca-ed25519", &["-n", "ada"]).await);
    let offered = gateway.offered("web-1", "ssh-rsa-cert-v01@openssh.com", &rsa).await;
    assert_eq!(offered, Err("key-too-weak".to_owned()), "SHA-1");
}

#[tokio::test]
async fn au5_a_certificate_that_was_changed_or_is_nested_proves_nothing() {
    let gateway = Certifying::start().await;
    let (kind, good) = wire(&gateway.certify("ada", "ca-ed25519", &["-n", "ada"]).await);
    let at = |part: &[u8]| good.windows(part.len()).position(|found| found == part).unwrap();
    let changed = |place: usize, to: u8| {
        let mut wire = good.clone();
        wire[place] = to;
        wire
    };
    let authority = STANDARD.decode(gateway.public("ca-ed25519").split(' ').nth(1).unwrap()).unwrap();
    let signature = at(&authority) + authority.len();
    let nested = [&good[..at(&authority) - 4], &string(&good), &good[signature..]].concat();
    for (what, wire) in [
        ("another key id", changed(at(b"ada@corp"), b'A')),
        ("another principal", [&good[..at(b"ada@corp")], b"ada@corq", &good[at(b"ada@corp") + 8..]].concat()),
        ("another serial", changed(at(b"ada@corp") - 9, 8)),
        ("another signature", changed(good.len() - 1, good[good.len() - 1] ^ 1)),
        ("cut", good[..good.len() - 1].to_vec()),
        ("a certificate in the place of its authority", nested),
    ] {
        let offered = gateway.offered("web-1", &kind, &wire).await;
        assert!(offered.is_err(), "{what}");
        assert!(["certificate-not-taken", "key-unreadable"].contains(&offered.unwrap_err().as_str()), "{what}");
    }
    assert_eq!(gateway.offered("web-1", &kind, &good).await, Ok(()));
    // whose it is has to be proved: the certificate alone, or another's signature, is nothing
    let bob = gateway.0.path("bob").display().to_string();
    let certificate = gateway.certify("ada", "ca-ed25519", &["-n", "ada"]).await;
    let ran = gateway.run("bob", &certificate, &["-i", &bob, "nokey", "echo in"]).await;
    assert!(ran.stdout.is_empty() && text(&ran.stderr).contains("Permission denied"), "{ran:?}");
}

#[tokio::test]
async fn au7_what_a_certificate_does_not_permit_is_not_there_and_what_it_forces_is_run() {
    let gateway = Certifying::start().await;
    let no_pty = gateway.certify("ada", "ca-ed25519", &["-n", "ada", "-O", "clear"]).await;
    let ran = gateway.run("ada", &no_pty, &["-tt", "web", "true"]).await;
    assert!(text(&ran.stderr).contains("PTY allocation request failed"), "{}", text(&ran.stderr));
    let ran = gateway.run("ada", &no_pty, &["-o", "LogLevel=INFO", "-W", "127.0.0.1:1", "web"]).await;
    assert!(text(&ran.stderr).contains("what you logged in with may not forward"), "{}", text(&ran.stderr));
    let forced = gateway.certify("ada", "ca-ed25519", &["-n", "ada", "-O", "force-command=echo forced"]).await;
    assert_eq!(text(&gateway.run("ada", &forced, &["web", "id"]).await.stdout), "forced\n");
    let opened = gateway.0.event(|event| event["original_command"] == "id").await;
    assert_eq!(opened["command"], "echo forced");
}

#[tokio::test]
async fn what_principals_stand_for_and_what_policies_know_of_a_certificate() {
    let policies = "
        @id(\"ops\") permit (principal in Group::\"ops\", action in Action::\"Commands\", resource)
        when { context.proof == \"certificate\" && context.authentication has certificate &&
               context.authentication.certificate has authority && context.authentication.certificate.authority == \"corp\" &&
               context.authentication.certificate.serial == \"7\" &&
               context.authentication.certificate has valid_before &&
               context.authentication.certificate.valid_before > context.time };";
    let principals = [
        ("role:ops", Principal { person: None, groups: vec!["ops".to_owned()] }),
        ("ada.lovelace", Principal { person: Some("ada".to_owned()), groups: Vec::new() }),
    ];
    let principals = principals.map(|(name, meaning)| (name.to_owned(), meaning)).into();
    let authority = Authority { principals, ..Authority::default() };
    let gateway = Certifying::with(Some(policies), authority.clone()).await;
    for (names, gets_in) in [("ada.lovelace,role:ops", true), ("ada.lovelace", false), ("role:ops", false)] {
        let certificate = gateway.certify("ada", "ca-ed25519", &["-n", names, "-V", "-1m:+1h"]).await;
        let ran = gateway.run("ada", &certificate, &["nokey", "echo in"]).await;
        assert_eq!(text(&ran.stdout) == "in\n", gets_in, "{names}: {}", text(&ran.stderr));
    }
    // one that never ends is not what that policy is about
    let forever = gateway.certify("ada", "ca-ed25519", &["-n", "ada,role:ops"]).await;
    assert!(text(&gateway.run("ada", &forever, &["nokey", "echo in"]).await.stderr).contains("denied by policy"));

    // people whom nobody lists, and certificates that name nobody
    gateway.trust(Authority { unlisted_people: true, ..authority.clone() });
    let eve = gateway.certify("ada", "ca-ed25519", &["-n", "eve,role:ops", "-V", "-1m:+1h"]).await;
    assert_eq!(text(&gateway.run("ada", &eve, &["nokey", "echo in"]).await.stdout), "in\n");
    gateway.trust(Authority { without_principals: Some("robot".to_owned()), ..authority });
    let nobody = gateway.certify("ada", "ca-ed25519", &[]).await;
    assert!(
        text(&gateway.run("ada", &nobody, &["-l", "robot", "nokey", "whoami"]).await.stdout).starts_with("robot (")
    );
}

#[tokio::test]
async fn what_an_authority_must_put_into_its_certificates() {
    let hour = Duration::from_secs(3600);
    let authority = Authority { longest: Some(hour), requires: vec!["source-address"], ..Authority::default() };
    let gateway = Certifying::with(None, authority).await;
    let here = "source-address=127.0.0.0/8";
    for (args, expected) in [
        (&["-n", "ada", "-V", "always:forever", "-O", here][..], Err("certificate-not-taken")),
        (&["-n", "ada", "-V", "-1m:+1h", "-O", here], Err("certificate-not-taken")),
        (&["-n", "ada", "-V", "-1m:+59m"], Err("certificate-not-taken")),
        (&["-n", "ada", "-V", "-1m:+59m", "-O", here], Ok(())),
    ] {
        let (kind, wire) = wire(&gateway.certify("ada", "ca-ed25519", args).await);
        assert_eq!(gateway.offered("web-1", &kind, &wire).await, expected.map_err(str::to_owned), "{args:?}");
    }
}

#[tokio::test]
async fn a_session_ends_with_its_certificate_unless_the_authority_lets_it_go_on() {
    for outlived in [false, true] {
        let gateway = Certifying::with(None, Authority { outlived, ..Authority::default() }).await;
        let certificate = gateway.certify("ada", "ca-ed25519", &["-n", "ada", "-V", "-1m:+1h"]).await;
        let socket = gateway.0.path("mux").display().to_string();
        let option = format!("CertificateFile={}", certificate.display());
        let mut ssh = gateway.0.ssh(&["-M", "-S", &socket, "-o", &option, "web", "read line; echo out"]);
        let mut session = ssh.stdin(Stdio::piped()).spawn().unwrap();
        gateway.0.runs(1).await;
        let people = gateway.0.roster.current();
        let ended = |now| {
            gateway.0.sessions.end_expired(now, |identity| people.renew(identity, now, Purpose::GoOn))
                + gateway.0.sessions.judge_anew(|identity| people.renew(identity, now, Purpose::GoOn))
        };
        let later = SystemTime::now() + Duration::from_secs(3601);
        assert_eq!(ended(SystemTime::now()), 0);
        assert_eq!(ended(later), usize::from(!outlived), "outlived: {outlived}");
        if outlived {
            drop(session.stdin.take());
        }
        let told = session.wait_with_output().await.unwrap();
        let sentence = "how you logged in is no proof any more: certificate \"ada@corp\" (serial 7) of SHA256:";
        assert_eq!(text(&told.stderr).contains(sentence), !outlived, "{told:?}");
        assert_eq!(text(&told.stdout) == "out\n", outlived, "{told:?}");
    }
}

#[tokio::test]
async fn a_line_with_cert_authority_stands_for_its_person_and_its_principals() {
    let gateway = Certifying::start().await;
    let (one, other) = (gateway.public("ca-ed25519"), gateway.public("other-ca"));
    let ada = [format!("cert-authority,no-pty {one}"), format!("cert-authority,principals=\"ada@corp,all\" {other}")];
    let bob = [format!("cert-authority {one}")];
    let people = People::new([("ada", &ada[..]), ("bob", &bob[..])]).unwrap();
    gateway.0.roster.replace(people.in_roles(RealmRoles::for_test(Roles::Gateway)));
    for (authority, names, person) in [
        ("ca-ed25519", "ada", Ok("ada")),
        ("ca-ed25519", "bob", Ok("bob")),
        ("ca-ed25519", "all", Err(())),
        ("other-ca", "all", Ok("ada")),
        ("other-ca", "ada", Err(())),
        ("ca-ecdsa", "ada", Err(())),
    ] {
        let certificate = gateway.certify("ada", authority, &["-n", names]).await;
        let login = person.unwrap_or("ada");
        let ran = gateway.run("ada", &certificate, &["-l", login, "nokey", "whoami"]).await;
        let said = text(&ran.stdout);
        assert_eq!(
            person.is_ok_and(|person| said.starts_with(&format!("{person} (certificate"))),
            person.is_ok(),
            "{names}: {said}"
        );
    }
    // an authority's key is no key of the person's
    let ran = gateway.0.run(&["-i", &gateway.0.path("ca-ed25519").display().to_string(), "nokey", "echo in"]).await;
    assert!(ran.stdout.is_empty(), "{ran:?}");
    let certificate = gateway.certify("ada", "ca-ed25519", &["-n", "ada"]).await;
    let ran = gateway.run("ada", &certificate, &["-tt", "web", "true"]).await;
    assert!(text(&ran.stderr).contains("PTY allocation request failed"), "{}", text(&ran.stderr));
}

#[tokio::test]
async fn au8_a_certificate_of_a_security_key_needs_a_touch_and_what_it_asks_for() {
    let gateway = Certifying::start().await;
    for (index, token) in Token::both().await.into_iter().enumerate() {
        let name = format!("token{index}");
        std::fs::write(gateway.0.path(&format!("{name}.pub")), token.line()).unwrap();
        for (args, flags) in [
            // nobody can ask for less than a touch
            (&["-n", "ada", "-O", "no-touch-required"][..], [(1, true), (5, true), (0, false)]),
            (&["-n", "ada", "-O", "verify-required"], [(5, true), (1, false), (4, false)]),
        ] {
            let (kind, public) = wire(&gateway.certify(&name, "ca-ed25519", args).await);
            for (flags, welcome) in flags {
                let proved = token.proves_as(&gateway.0, &kind, &public, flags, flags).await;
                assert_eq!(proved, welcome, "{kind} {args:?}, flags {flags}");
            }
        }
    }
}

/// PuTTY sends its certificates in a way of its own making; `puttygen` reads OpenSSH's keys.
#[tokio::test]
async fn putty_gets_in_by_a_certificate() {
    let gateway = Certifying::start().await;
    let certificate = gateway.certify("ada", "ca-ed25519", &["-n", "ada", "-V", "-1m:+1h"]).await;
    let mut convert = Command::new("puttygen");
    convert.arg(gateway.0.path("ada")).args(["-O", "private", "-o"]).arg(gateway.0.path("ada.ppk"));
    assert!(finish(convert).await.status.success());
    let mut print = Command::new("ssh-keygen");
    print.arg("-lf").arg(gateway.0.path("known_hosts")).stdout(Stdio::piped());
    let printed = text(&finish(print).await.stdout);
    let mut plink = Command::new("plink");
    plink.args(["-ssh", "-batch", "-P", &gateway.0.address.port().to_string(), "-l", "web-1", "-i"]);
    plink.arg(gateway.0.path("ada.ppk")).arg("-cert").arg(certificate);
    for line in printed.lines() {
        plink.args(["-hostkey", line.split(' ').nth(1).unwrap()]);
    }
    plink.args(["127.0.0.1", "echo in"]).env("HOME", gateway.0.dir.path());
    let ran = finish({
        plink.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        plink
    });
    let ran = ran.await;
    assert_eq!(text(&ran.stdout).trim(), "in", "{}", text(&ran.stderr));
}

#[tokio::test]
async fn the_two_readings_of_a_certificate_are_one() {
    use russh::keys::ssh_key;

    let gateway = Certifying::start().await;
    let args = ["-n", "ada,bob", "-O", "source-address=127.0.0.0/8", "-O", "force-command=id"];
    let (_, good) = wire(&gateway.certify("ada", "ca-ed25519", &args).await);
    let mut fields = &good[..];
    take(&mut fields);
    let mut both = 0;
    for place in 0..good.len() {
        for bit in 0..8 {
            let mut wire = good.clone();
            wire[place] ^= 1 << bit;
            let Ok(theirs) = ssh_key::Certificate::from_bytes(&wire) else { continue };
            let Ok(ours) = super::super::auth::certificate::read(&theirs) else { continue };
            let told = ours.told();
            assert_eq!(told, (theirs.serial(), theirs.key_id(), theirs.valid_principals()), "{place} {bit}");
            both += 1;
        }
    }
    assert!(both > 500, "{both} were read by both");
}
