//! A second factor, as whoever runs the gateway sets it up: the reference's lines, `check`, a terminal that asks, and a log that has none
//! of the secrets.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{PATIENCE, run, until};
use crate::serve::Account;

const SECRET: &str = "MFRGGZDFMZTWQ2LKMFRGGZDFMZTWQ2LK";

/// As soon as a change must be in force, and some for a busy machine.
const SOON: Duration = Duration::from_secs(5);

fn code(at: &str) -> String {
    let mut oathtool = Command::new("oathtool");
    run(oathtool.args(["--totp", "-b", "-N", at, SECRET]), b"", PATIENCE).ok().out().trim().to_owned()
}

impl Account {
    /// Ada's key is enough with a code alone.
    fn wants_codes(&self) {
        let config = self.at("gateway.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        let rules = "[[proofs]]\npeople = [\"ada\"]\nenough = [\"key and totp\"]\n\
                     [second_factor]\ntotp_secrets = \"totp\"\nremembered_minutes = 10\n";
        std::fs::write(config, format!("{text}\n{rules}")).unwrap();
    }

    fn secrets(&self, text: &str, mode: u32) {
        std::fs::write(self.at("totp"), text).unwrap();
        std::fs::set_permissions(self.at("totp"), std::fs::Permissions::from_mode(mode)).unwrap();
    }
}

#[test]
fn a_terminal_asks_for_the_code_and_the_log_has_none_of_it() {
    let account = Account::new("");
    account.wants_codes();
    account.secrets("# nobody yet\n", 0o600);
    let warned = account.portcullis(&["check", "--offline"]).ok();
    assert!(warned.err().contains("nothing that `ada` has is enough, so they can't log in"), "{warned}");
    account.secrets(&format!("ada {SECRET}\n"), 0o644);
    let refused = account.portcullis(&["check", "--offline"]).ends(3);
    assert!(refused.err().contains("others can read it") && refused.err().contains("chmod 600"), "{refused}");
    account.secrets(&format!("ada {SECRET}\nbob JBSW1\n"), 0o600);
    let refused = account.portcullis(&["check", "--offline"]).ends(3);
    assert!(refused.err().contains("line 2: the secret is not written in base32"), "{refused}");
    account.secrets(&format!("ada {SECRET}\n"), 0o600);
    account.portcullis(&["check", "--offline"]).ok();

    let _serving = account.serve();
    // a client that can't ask is refused as by OpenSSH
    let mut batch = account.client("web-1");
    let refused = run(batch.args(["-o", "BatchMode=yes", "true"]), b"", PATIENCE).ends(255);
    assert!(refused.err().contains("Permission denied (keyboard-interactive)"), "{refused}");
    // script(1) has a terminal, and types what it is sent
    let ssh = account.client("web-1");
    let words: Vec<String> = std::iter::once(ssh.get_program())
        .chain(ssh.get_args())
        .map(|word| shell_words::quote(&word.to_string_lossy()).into_owned())
        .collect();
    let mut script = Command::new("script");
    script.args(["-qec", &format!("{} echo in", words.join(" ")), "/dev/null"]);
    script.env_remove("SSH_ASKPASS").env_remove("DISPLAY");
    let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (mut stdout, mut shown) = (child.stdout.take().unwrap(), Vec::new());
    let mut until_it_says = |what: &str, shown: &mut Vec<u8>| {
        let mut bytes = [0; 256];
        while !String::from_utf8_lossy(shown).contains(what) {
            let count = stdout.read(&mut bytes).unwrap();
            assert!(count > 0, "{}", String::from_utf8_lossy(shown));
            shown.extend_from_slice(&bytes[..count]);
        }
    };
    until_it_says("Verification code: ", &mut shown);
    let used = code("now");
    writeln!(child.stdin.as_ref().unwrap(), "{used}").unwrap();
    until_it_says("in\r\n", &mut shown);
    assert!(child.wait().unwrap().success());
    assert_eq!(String::from_utf8_lossy(&shown).matches("Verification code").count(), 1);

    // remembered: what can't ask goes in, and says by what
    let who = account.ssh("ada", "whoami").ok().out();
    assert!(who.starts_with("ada (publickey SHA256:") && who.contains(" and totp)"), "{who}");
    let mut long = account.client("web-1");
    let long = long.arg("echo runs; sleep 600").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut long = long.spawn().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(long.stdout.take().unwrap()), &mut String::new()).unwrap();
    // a secret that is changed is another proof
    account.secrets("ada JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP\n", 0o600);
    let told = String::from_utf8(long.wait_with_output().unwrap().stderr).unwrap();
    assert!(told.contains("its secret is another now"), "{told}");
    let mut batch = account.client("web-1");
    let batch = batch.args(["-o", "BatchMode=yes", "true"]);
    until("nothing is remembered of it", SOON, || run(batch, b"", PATIENCE).code() == Some(255));

    let events = std::fs::read_to_string(account.at("evidence/events.jsonl")).unwrap();
    for secret in [SECRET, &used, "JBSWY3DPEHPK3PXP"] {
        // a code may be part of a number by chance, and no word
        assert!(!events.contains(&format!("\"{secret}")) && !account.log().contains(secret), "{secret}");
    }
    let accepted = events.lines().find(|line| line.contains("login.accepted")).unwrap();
    assert!(accepted.contains("\"second_factor\":{\"kind\":\"totp\",\"at\":\""), "{accepted}");
}
