//! Signing in at an OpenID provider, as whoever runs the gateway sets it up and somebody without a key meets it on a terminal.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::harness::{PATIENCE, run, until};
use crate::serve::Account;

/// As soon as a change must be in force, and some for a busy machine.
const SOON: Duration = Duration::from_secs(8);

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oidc/provider.mjs");

/// npm's oidc-provider, which is certified.
pub(crate) struct OpenId {
    server: Child,
    pub(crate) issuer: String,
}

impl OpenId {
    pub(crate) fn start() -> Self {
        let root = env!("CARGO_MANIFEST_DIR");
        let setup = Command::new("scripts/setup.sh").arg("oidc-provider").current_dir(root).output().unwrap();
        assert!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stderr));
        let people = r#"{"secret":"a secret of the gateway's own","people":{"ada":{"email":"ada@example.com","email_verified":true}}}"#;
        let mut server = Command::new("node");
        server.args([PROGRAM, "serve", people]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut server = server.spawn().unwrap();
        let mut issuer = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut issuer).unwrap();
        Self { server, issuer: issuer.trim().to_owned() }
    }

    pub(crate) fn sign_in(&self, url: &str) {
        let said = run(Command::new("node").args([PROGRAM, "sign-in", url, "ada"]), b"", PATIENCE).ok().out();
        assert_eq!(said.trim(), "200 Sign-in Success");
    }
}

impl Drop for OpenId {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn somebody_without_a_key_signs_in_on_a_terminal_and_is_out_when_they_are_taken_out() {
    let (account, mut provider) = (Account::new(""), OpenId::start());
    let file = account.at("gateway.toml");
    let before = std::fs::read_to_string(&file).unwrap();
    let people = "[[people]]\nname = \"ada@example.com\"\n";
    let rules = "[[proofs]]\npeople = [\"*\"]\nenough = [\"key\", \"oidc\"]\n";
    let write = |parts: &[&str]| std::fs::write(&file, format!("{before}\n{}", parts.concat())).unwrap();
    write(&[people, rules]);
    let refused = account.portcullis(&["check", "--offline"]).ends(3);
    assert!(refused.err().contains("nobody can sign in: there is no [oidc]"), "{refused}");
    let oidc = format!(
        "[oidc]\nissuer = \"{}\"\nclient_id = \"gate\"\nname_claim = \"email\"\nscopes = [\"openid\", \"email\"]\n\
         client_secret_file = \"secret\"\n",
        provider.issuer
    );
    write(&[people, rules, &oidc]);
    let refused = account.portcullis(&["check"]).ends(3);
    assert!(refused.err().contains("the client's secret can't be read, and nobody signs in"), "{refused}");
    std::fs::write(account.at("secret"), "a secret of the gateway's own\n").unwrap();
    std::fs::set_permissions(account.at("secret"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let policy = "@id(\"email\") permit (principal == Person::\"ada@example.com\", action, resource);";
    std::fs::write(account.at("policies/email.cedar"), policy).unwrap();
    let fine = account.portcullis(&["check"]).ok();
    assert!(!fine.err().contains("oidc"), "{fine}");

    let _serving = account.serve();
    let mut ssh = account.client("web-1");
    ssh.args(["-o", "PubkeyAuthentication=no", "-tt", "echo runs; sleep 600"]);
    let words: Vec<String> = std::iter::once(ssh.get_program())
        .chain(ssh.get_args())
        .map(|word| shell_words::quote(&word.to_string_lossy()).into_owned())
        .collect();
    let mut script = Command::new("script");
    script.args(["-qec", &words.join(" "), "/dev/null"]).env_remove("SSH_ASKPASS").env_remove("DISPLAY");
    let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (mut stdout, mut shown) = (child.stdout.take().unwrap(), String::new());
    let mut until_it_says = |what: &str| {
        let mut bytes = [0; 256];
        while !shown.contains(what) {
            let count = stdout.read(&mut bytes).unwrap();
            assert!(count > 0, "{shown}");
            shown.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        shown.clone()
    };
    let asked = until_it_says("Press Enter when you have signed in: ");
    let url = asked.split_whitespace().find(|word| word.contains("user_code=")).unwrap();
    provider.sign_in(url);
    writeln!(child.stdin.as_ref().unwrap()).unwrap();
    until_it_says("runs\r\n");
    let events = std::fs::read_to_string(account.at("evidence/events.jsonl")).unwrap();
    let opened = events.lines().find(|line| line.contains("session.opened")).unwrap();
    assert!(opened.contains("\"person\":\"ada@example.com\"") && opened.contains("\"oidc\":{\"issuer\":"), "{opened}");
    for secret in ["eyJ", "a secret of the gateway"] {
        assert!(!events.contains(secret) && !account.log().contains(secret), "{secret}");
    }
    // she is taken out
    write(&[rules, &oidc]);
    let told = until_it_says("is none of [[people]]");
    assert!(told.contains("ada@example.com has signed in"), "{told}");
    let begun = std::time::Instant::now();
    until("ssh ends", SOON, || child.try_wait().unwrap().is_some());
    assert!(begun.elapsed() < SOON);

    // a provider that is away is a warning, since it may be there again
    provider.server.kill().unwrap();
    provider.server.wait().unwrap();
    let warned = account.portcullis(&["check"]).ok();
    assert!(warned.err().contains("[oidc]: the provider can't be asked"), "{warned}");
}
