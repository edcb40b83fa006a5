//! The real clients, the servers, and a node: with the real helper, behind the embedded Session Manager, or with OpenSSH's
//! `sftp-server`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use super::servers::FileServers;
use crate::files::Hashed;
use crate::policy::FileAction;
use crate::testing::{Carrier, EmbeddedTransport, complaint, content, every_carrier, long_ago, noise, text};

every_carrier! {
    files_go_both_ways_in_all_modes
    directories_and_names_are_kept
    names_are_listed_changed_and_refused_as_usual
}

/// The servers, and what must outlive them.
async fn servers_of(carrier: Carrier) -> (FileServers, Option<EmbeddedTransport>) {
    let (home, files, embedded) = carrier.service().await;
    (FileServers::with_service(home, files, Default::default()), embedded)
}

async fn files_go_both_ways_in_all_modes(carrier: Carrier) {
    let (servers, _embedded) = servers_of(carrier).await;
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

async fn directories_and_names_are_kept(carrier: Carrier) {
    let (servers, _embedded) = servers_of(carrier).await;
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

async fn names_are_listed_changed_and_refused_as_usual(carrier: Carrier) {
    let (servers, _embedded) = servers_of(carrier).await;
    for number in 0..1500 {
        fs::write(servers.remote(format!("file-{number:04}")), "content").unwrap();
    }
    fs::File::open(servers.remote("file-0000")).unwrap().set_modified(long_ago()).unwrap();
    let home = servers.home.path().display();
    let said = content(&servers.sftp(format!("cd {home}\nls -la\n")).await);
    assert_eq!(said.lines().filter(|line| line.contains(" file-")).count(), 1500);
    let old = |line: &str| line.starts_with("-rw-r--r--    ? ") && line.ends_with(" 7 Sep  9  2001 file-0000");
    assert!(said.lines().any(old), "{said}");
    assert!(said.contains(" .\n") && said.contains(" ..\n"), "{said}");
    let make = "mkdir d\nrename file-0001 d/moved\nln -s moved d/link\nchmod 600 d/moved\n";
    content(&servers.sftp(format!("cd {home}\n{make}rm file-0002\n")).await);
    assert_eq!(fs::read_link(servers.remote("d/link")).unwrap(), Path::new("moved"));
    assert_eq!(servers.remote("d/moved").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!servers.remote("file-0001").exists() && !servers.remote("file-0002").exists());
    fs::write(servers.here("local"), noise(100_000)).unwrap();
    // what there is beyond the protocol
    for commands in [format!("put -f local {home}/synced"), format!("ln {home}/d/moved {home}/hard")] {
        let ran = servers.sftp(&commands).await;
        match carrier {
            // for a client a sync that is not to be had is no error
            Carrier::PlainSftp => {
                let said = text(&ran.stdout) + &text(&ran.stderr);
                assert!(said.contains("peration unsupported"), "{commands}: {said}");
            }
            _ => drop(content(&ran)),
        }
    }
    // nor are figures
    let figures = text(&servers.sftp(format!("df -h {home}")).await.stdout);
    assert_eq!(figures.contains('%'), carrier != Carrier::PlainSftp, "{figures}");
    if carrier != Carrier::PlainSftp {
        assert_eq!(servers.remote("hard").metadata().unwrap().nlink(), 2);
    }
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
    // the protocol has no number for it
    let words = if carrier == Carrier::Helper { "No space left on device" } else { "Failure" };
    assert!(said.contains(&format!("/dev/full: {words}")), "{said}");
}
