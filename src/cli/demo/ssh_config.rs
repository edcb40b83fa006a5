//! The client's side of the demo: an `ssh_config` that needs nothing from the person's own, and touches nothing of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::dir::HOST_ALIAS;

/// The text of `DIR/ssh_config`.
pub(super) fn ssh_config(dir: &Path, gateway: SocketAddr) -> String {
    let reach = match gateway.ip() {
        // a wildcard is no address to connect to
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let file = |name: &str| quoted(&dir.join(name));
    format!(
        "\
# Written by `portcullis demo` at every start. It uses nothing of ~/.ssh.
#
#   demo, web-1, db-1   the demo's nodes, through the gateway
#   gate                the gateway itself: ssh -F … gate help; a node goes into the user name, as in ssh -F … demo@gate
#   hop-demo, …         the nodes by a hop, as ssh -J gate demo is where nothing else is called demo

Host demo
    User demo

Host web-1
    User web-1

Host db-1
    User db-1

Host gate
    User you

Host hop-demo
    HostName demo

Host hop-web-1
    HostName web-1

Host hop-db-1
    HostName db-1

Host hop-demo hop-web-1 hop-db-1
    User you
    ProxyCommand ssh -F {config} -W [%h]:%p gate

Host demo web-1 db-1 gate
    HostName {reach}
    Port {port}
    HostKeyAlias {HOST_ALIAS}

Host demo web-1 db-1 gate hop-demo hop-web-1 hop-db-1
    IdentityFile {key}
    IdentitiesOnly yes
    IdentityAgent none
    PreferredAuthentications publickey
    UserKnownHostsFile {known}
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    UpdateHostKeys no
    CheckHostIP no
",
        port = gateway.port(),
        // what ProxyJump does, which gives the name of this file to a shell without quotes
        config = shell_word(&dir.join("ssh_config")),
        key = file("user_key"),
        known = file("known_hosts"),
    )
}

/// A path as one argument: quoted for its spaces, `%` doubled because ssh expands tokens in these values.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('%', "%%"))
}

/// The same as a word of the shell that ssh has run a command.
fn shell_word(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('%', "%%").replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openssh_understands_it() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().join("a b 100%h");
        std::fs::create_dir(&dir).unwrap();
        let file = dir.join("ssh_config");
        std::fs::write(&file, ssh_config(&dir, "0.0.0.0:4022".parse().unwrap())).unwrap();
        let ask = |host: &str| {
            let run = std::process::Command::new("ssh").arg("-F").arg(&file).args(["-G", host]).output().unwrap();
            assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
            String::from_utf8_lossy(&run.stdout).into_owned()
        };
        let demo = ask("demo");
        for line in ["user demo", "hostname 127.0.0.1", "port 4022", "hostkeyalias portcullis-demo"] {
            assert!(demo.lines().any(|shown| shown == line), "no `{line}` in {demo}");
        }
        assert!(demo.contains("a b 100%"), "{demo}");
        assert!(!ask("gate").lines().any(|line| line == "user demo"));
        let hop = ask("hop-demo");
        for line in ["user you", "hostname demo", "port 22"] {
            assert!(hop.lines().any(|shown| shown == line), "no `{line}` in {hop}");
        }
        assert!(hop.contains("proxycommand ssh -F '") && hop.contains("-W [%h]:%p gate"), "{hop}");
        assert!(!hop.contains("hostkeyalias"), "{hop}");
    }
}
