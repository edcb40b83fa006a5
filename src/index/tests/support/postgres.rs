//! A PostgreSQL of a test's own: a cluster in a temporary folder, reached by a unix socket, ended with the test.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A cluster that runs.
#[derive(Debug)]
pub struct Postgres {
    server: Child,
    folder: tempfile::TempDir,
    bin: PathBuf,
    port: String,
}

/// The user `nobody` of Debian: the server refuses to run as root.
const NOBODY: u32 = 65534;

impl Postgres {
    /// Starts one. Where there is no PostgreSQL the test fails, and says how to have one.
    pub fn start() -> Self {
        Self::with(&[], |_| {})
    }

    /// With these settings, after something was done to its folder.
    pub fn with(settings: &[&str], before: impl FnOnce(&Path)) -> Self {
        let bin = programs();
        // the name of a socket is short
        let folder = tempfile::Builder::new().prefix("pg").tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        if is_root() {
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let data = folder.path().join("data");
        let made = as_ordinary(&bin.join("initdb"))
            .args(["--auth=trust", "--username=gate", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(&data)
            .current_dir("/")
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success(), "initdb has failed");
        before(&data);
        let mut server = as_ordinary(&bin.join("postgres"));
        server.arg("-D").arg(&data).arg("-k").arg(folder.path()).args(["-F", "-c", "listen_addresses="]);
        for setting in settings {
            server.args(["-c", setting]);
        }
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let server = server.current_dir("/").stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let port = settings.iter().find_map(|setting| setting.strip_prefix("port=")).unwrap_or("5432").to_owned();
        let this = Self { server, folder, bin, port };
        this.wait();
        this
    }

    /// Its URL, by its socket; of a database that is there.
    pub fn url(&self) -> String {
        format!("postgres://gate@/postgres?host={}", self.folder.path().display())
    }

    /// Another database in it.
    pub fn database(&self, name: &str) -> String {
        let made = as_ordinary(&self.bin.join("createdb"))
            .arg("-h")
            .arg(self.folder.path())
            .args(["-U", "gate", name])
            .current_dir("/")
            .status()
            .unwrap();
        assert!(made.success(), "createdb has failed");
        format!("postgres://gate@/{name}?host={}", self.folder.path().display())
    }

    fn wait(&self) {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            let ready = Command::new(self.bin.join("pg_isready"))
                .arg("-q")
                .arg("-h")
                .arg(self.folder.path())
                .args(["-p", &self.port])
                .status()
                .unwrap();
            if ready.success() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("it does not come up: {}", std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default());
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // what it has is thrown away, so it may end at once; but by itself, so that its children do as well
        let server = rustix::process::Pid::from_child(&self.server);
        let _ = rustix::process::kill_process(server, rustix::process::Signal::QUIT);
        let _ = self.server.wait();
    }
}

/// Puts files into a cluster's folder that the server alone may read.
pub fn private(data: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = data.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        if is_root() {
            chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|about| std::os::unix::fs::MetadataExt::uid(&about) == 0)
}

fn as_ordinary(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--pdeathsig=KILL", "--"]).arg(program);
    command
}

/// The newest version's programs, where Debian has them.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.map(|entry| entry.path().join("bin")).filter(|bin| bin.join("initdb").exists()).max();
    newest.expect("there is no PostgreSQL in /usr/lib/postgresql: ./scripts/setup.sh postgres installs it")
}
