//! What a helper has of this machine: processes, and shells with their tools.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use super::node::Kind;

pub(super) fn kill(child: Option<Child>) {
    if let Some(mut child) = child {
        let _ = child.kill();
        let _ = child.wait();
    }
}

pub(super) fn signal(pid: u32, name: &str) {
    let pid = pid.to_string();
    let _ = Command::new("kill").args(["-s", name, &pid]).stderr(Stdio::null()).status();
}

/// The processes, zombies apart, for which `wanted` says so.
pub(super) fn processes(wanted: impl Fn(u32) -> bool) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap();
    let all = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    all.filter(|pid| lives(*pid) && wanted(*pid)).collect()
}

pub(super) fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// A directory in which `sh` is the shell in question; for busybox it has everything else as well.
pub(super) fn tools(kind: Kind) -> &'static Path {
    static TOOLS: OnceLock<tempfile::TempDir> = OnceLock::new();
    let all = TOOLS.get_or_init(|| {
        let all = tempfile::Builder::new().prefix("pc-tools").tempdir().unwrap();
        let needs = |program: &str| {
            let found = ["/usr/bin", "/bin"].iter().map(|at| Path::new(at).join(program)).find(|path| path.exists());
            found.unwrap_or_else(|| {
                panic!("{program} is missing; install the packages dash, bash, busybox and util-linux")
            })
        };
        for (name, shell) in [("Python", "dash"), ("Dash", "dash"), ("Bash", "bash")] {
            std::fs::create_dir(all.path().join(name)).unwrap();
            symlink(needs(shell), all.path().join(name).join("sh")).unwrap();
        }
        let busybox = all.path().join("Busybox");
        std::fs::create_dir(&busybox).unwrap();
        let done = Command::new(needs("busybox")).args(["--install", "-s"]).arg(&busybox).status().unwrap();
        assert!(done.success());
        symlink(needs("script"), busybox.join("script")).unwrap();
        all
    });
    // the paths live as long as the process, whatever becomes of the files
    let path = all.path().join(format!("{kind:?}"));
    Box::leak(path.into_boxed_path())
}
