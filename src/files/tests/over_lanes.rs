//! The real clients, the servers, and the real helper on a node behind the embedded Session Manager.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use super::servers::FileServers;
use crate::files::Hashed;
use crate::policy::FileAction;
use crate::testing::{EmbeddedTransport, complaint, content, long_ago, noise};

async fn servers_of(embedded: &EmbeddedTransport) -> FileServers {
    let home = tempfile::tempdir().unwrap();
    FileServers::with_service(home, embedded.files().await, Default::default())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_both_ways_in_all_modes() {
    let embedded = EmbeddedTransport::fast().await;
    let servers = servers_of(&embedded).await;
    let bytes = noise(8 << 20);
    fs::write(servers.here("big"), &bytes).unwrap();
    let remote = format!("demo:{}", servers.remote("big").display());
    for mode in ["-s", "-O"] {
        content(&servers.scp(&[mode, "big", &remote]).await);
        assert!(fs::read(servers.remote("big")).unwrap() == bytes);
        content(&servers.scp(&[mode, &remote, "back"]).await);
        assert!(fs::read(servers.here("back")).unwrap() == bytes);
        for action in [FileAction::Upload, FileAction::Download] {
            let hashed = servers.events.transfer(action, "big").content.unwrap().hashed;
            assert!(matches!(hashed, Hashed::Whole(_)), "{action:?}");
        }
        servers.events.take();
    }
    // resumed, both ways
    fs::write(servers.remote("big"), &bytes[..5_000_001]).unwrap();
    fs::write(servers.here("back"), &bytes[..7_000_003]).unwrap();
    let path = servers.remote("big").display().to_string();
    content(&servers.sftp(format!("reput big {path}\nreget {path} back\n")).await);
    assert!(fs::read(servers.remote("big")).unwrap() == bytes && fs::read(servers.here("back")).unwrap() == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_and_names_are_kept() {
    let embedded = EmbeddedTransport::fast().await;
    let servers = servers_of(&embedded).await;
    fs::create_dir_all(servers.here("tree/sub/empty")).unwrap();
    let names: [&[u8]; 4] = [b"with space", b"it's \"quoted\"", b"latin-\xe9\xff", b"$HOME;`id`*"];
    for name in names {
        let path = servers.here("tree/sub").join(OsStr::from_bytes(name));
        fs::write(&path, name).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        fs::File::open(&path).unwrap().set_modified(long_ago()).unwrap();
    }
    for (mode, target) in [("-s", "new"), ("-O", "old")] {
        let remote = format!("demo:{}", servers.remote(target).display());
        content(&servers.scp(&[mode, "-r", "-p", "tree", &remote]).await);
        let back = format!("back-{target}");
        content(&servers.scp(&[mode, "-r", "-p", &remote, &back]).await);
        for top in [servers.remote(target), servers.here(&back)] {
            assert!(top.join("sub/empty").is_dir());
            for name in names {
                let path = top.join("sub").join(OsStr::from_bytes(name));
                let found = path.metadata().unwrap();
                assert_eq!(found.permissions().mode() & 0o7777, 0o640);
                assert_eq!(found.modified().unwrap(), long_ago());
                assert_eq!(fs::read(path).unwrap(), name);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_listed_changed_and_refused_as_usual() {
    let embedded = EmbeddedTransport::fast().await;
    let servers = servers_of(&embedded).await;
    for number in 0..1500 {
        fs::write(servers.remote(format!("file-{number:04}")), "content").unwrap();
    }
    fs::File::open(servers.remote("file-0000")).unwrap().set_modified(long_ago()).unwrap();
    let home = servers.home.path().display();
    let said = content(&servers.sftp(format!("cd {home}\nls -la\ndf -h\n")).await);
    assert_eq!(said.lines().filter(|line| line.contains(" file-")).count(), 1500);
    let old = |line: &str| line.starts_with("-rw-r--r--    ? ") && line.ends_with(" 7 Sep  9  2001 file-0000");
    assert!(said.lines().any(old), "{said}");
    assert!(said.contains(" .\n") && said.contains(" ..\n") && said.contains('%'), "{said}");
    let make = "mkdir d\nrename file-0001 d/moved\nln -s moved d/link\nln d/moved hard\nchmod 600 hard\n";
    content(&servers.sftp(format!("cd {home}\n{make}rm file-0002\n")).await);
    assert_eq!(fs::read_link(servers.remote("d/link")).unwrap(), Path::new("moved"));
    let hard = servers.remote("hard").metadata().unwrap();
    assert_eq!((hard.nlink(), hard.permissions().mode() & 0o777), (2, 0o600));
    assert!(!servers.remote("file-0001").exists() && !servers.remote("file-0002").exists());
    fs::write(servers.here("local"), noise(100_000)).unwrap();
    content(&servers.sftp(format!("put -f local {home}/synced\n")).await);
    for (commands, words) in [
        ("get nothing", "not found"),
        ("put local no/where", "No such file or directory"),
        ("put local /dev/full", "Failure"),
        ("mkdir d", "Failure"),
        ("rmdir d", "Failure"),
        ("rm nothing", "No such file or directory"),
        ("rename file-0003 file-0004/x", "No such file or directory"),
    ] {
        let said = complaint(&servers.sftp(format!("cd {home}\n{commands}\n")).await);
        assert!(said.contains(words), "{commands}: {said}");
    }
    let said = complaint(&servers.scp(&["-O", "local", "demo:/dev/full"]).await);
    assert!(said.contains("/dev/full: No space left on device"), "{said}");
}
