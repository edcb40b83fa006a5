//! Files through `scp` (both its modes) and `sftp`: contents, modes, times, names, errors.

use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use crate::harness::{Demo, PATIENCE, forget_peak, noise, peak_kib, run};

/// Runs each of these tests once per helper.
macro_rules! by_each_helper {
    ($($test:ident)*) => {
        mod fast_helper {
            $(#[test] fn $test() { super::$test(&crate::harness::Demo::shared(&["--faithful"])); })*
        }
        mod sh_helper {
            $(#[test] fn $test() { super::$test(&crate::harness::Demo::shared(&["--faithful", "--helper", "sh"])); })*
        }
    };
}

by_each_helper! {
    contents_of_all_sizes_both_ways
    trees_with_their_modes_and_times
    names_with_spaces_quotes_newlines_and_any_byte
    broken_transfers_resume
    sftp_does_what_its_manual_says
    errors_are_the_nodes_own
}

fn remote(path: &Path) -> String {
    format!("demo:{}", path.display())
}

/// A few of the sequences that `just differential` draws by the thousand.
fn beside_openssh_s_server(demo: &Demo, helper: &str, sequences: &str) {
    let ours = format!("ssh -F '{}' demo -s sftp", demo.dir().join("ssh_config").display());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential/sftp.py");
    let mut command = Command::new("python3");
    command.arg(script).args(["--ours", &ours, "--helper", helper, "--sequences", sequences, "--seed", "1"]);
    let ran = run(&mut command, b"", PATIENCE);
    assert_eq!(ran.code(), Some(0), "{ran}");
}

#[test]
fn sftp_answers_as_openssh_s_server_does() {
    beside_openssh_s_server(&Demo::shared(&[]), "python", "100");
}

/// A shell starts a program for nearly everything, so it has fewer.
#[test]
fn sftp_by_sh_answers_as_openssh_s_server_does() {
    beside_openssh_s_server(&Demo::shared(&["--helper", "sh"]), "sh", "25");
}

/// The two modes of scp: over SFTP, and its own old protocol.
const MODES: [&[&str]; 2] = [&[], &["-O"]];

fn contents_of_all_sizes_both_ways(demo: &Demo) {
    for mode in MODES {
        let dir = tempfile::tempdir().unwrap();
        for size in [0usize, 1, 1023, 32_768, 262_144, 5_000_003] {
            let (here, there, back) = (dir.path().join("here"), dir.path().join("there"), dir.path().join("back"));
            let bytes = noise(size, size as u64);
            std::fs::write(&here, &bytes).unwrap();
            demo.scp(mode.iter().copied().chain([here.to_str().unwrap(), &remote(&there)])).ok();
            assert!(std::fs::read(&there).unwrap() == bytes, "{mode:?}: upload of {size}");
            demo.scp(mode.iter().copied().chain([remote(&there).as_str(), back.to_str().unwrap()])).ok();
            assert!(std::fs::read(&back).unwrap() == bytes, "{mode:?}: download of {size}");
            std::fs::remove_file(back).unwrap();
            std::fs::remove_file(there).unwrap();
        }
    }
}

fn trees_with_their_modes_and_times(demo: &Demo) {
    for mode in MODES {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path().join("tree");
        std::fs::create_dir_all(here.join("deep/er")).unwrap();
        std::fs::create_dir(here.join("empty")).unwrap();
        for (name, bits) in [("run", 0o755), ("deep/secret", 0o600), ("deep/er/read", 0o444)] {
            std::fs::write(here.join(name), noise(1000, bits.into())).unwrap();
            std::fs::set_permissions(here.join(name), std::fs::Permissions::from_mode(bits)).unwrap();
            run(Command::new("touch").args(["-d", "2001-02-03 04:05:06"]).arg(here.join(name)), b"", PATIENCE).ok();
        }
        let (there, back) = (dir.path().join("there"), dir.path().join("back"));
        demo.scp(mode.iter().copied().chain(["-r", "-p", here.to_str().unwrap(), &remote(&there)])).ok();
        demo.scp(mode.iter().copied().chain(["-r", "-p", &remote(&there), back.to_str().unwrap()])).ok();
        for copy in [&there, &back] {
            run(Command::new("diff").arg("-r").args([&here, copy]), b"", PATIENCE).ok();
            for name in ["run", "deep/secret", "deep/er/read"] {
                let (was, is) = (here.join(name).metadata().unwrap(), copy.join(name).metadata().unwrap());
                assert_eq!(was.mode(), is.mode(), "{mode:?} {name}");
                assert_eq!(was.mtime(), is.mtime(), "{mode:?} {name}");
            }
            assert!(copy.join("empty").is_dir());
        }
    }
}

fn names_with_spaces_quotes_newlines_and_any_byte(demo: &Demo) {
    let names: [&[u8]; 6] = [b"a b", b"it's", b"say \"x\"", b"two\nlines", b"$(touch x);*", b"\xff\xfe latin \xe9"];
    let dir = tempfile::tempdir().unwrap();
    let (here, there) = (dir.path().join("here"), dir.path().join("there"));
    std::fs::create_dir(&here).unwrap();
    for name in names {
        let name = std::ffi::OsString::from_vec(name.to_vec());
        std::fs::write(here.join(&name), name.as_bytes()).unwrap();
    }
    demo.scp(["-r", here.to_str().unwrap(), &remote(&there)]).ok();
    run(Command::new("diff").arg("-r").args([&here, &there]), b"", PATIENCE).ok();
    let back = dir.path().join("back");
    demo.scp(["-r", &remote(&there), back.to_str().unwrap()]).ok();
    run(Command::new("diff").arg("-r").args([&here, &back]), b"", PATIENCE).ok();
}

fn broken_transfers_resume(demo: &Demo) {
    let dir = tempfile::tempdir().unwrap();
    let bytes = noise(700_000, 4);
    let (whole, part) = (dir.path().join("whole"), dir.path().join("part"));
    std::fs::write(&whole, &bytes).unwrap();
    for verb in ["reget", "reput"] {
        std::fs::write(&part, &bytes[..123_456]).unwrap();
        demo.sftp(&format!("{verb} {} {}\n", whole.display(), part.display())).ok();
        assert!(std::fs::read(&part).unwrap() == bytes, "{verb}");
    }
}

fn sftp_does_what_its_manual_says(demo: &Demo) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), "content").unwrap();
    let run = demo.sftp(&format!(
        "cd {0}\npwd\nmkdir d\nput -f {0}/f d/g\nrename d/g d/h\nln -s h d/link\nln d/h d/hard\nls -l d\nchmod 640 d/h\ndf d\n\
         get d/link {0}/got\nrm d/hard\nput {0}/f d/own\nchmod -h 604 d/own\nls -la\n",
        dir.path().display()
    ));
    let run = run.ok();
    assert!(run.out().contains("Remote working directory"), "{run}");
    assert_eq!(std::fs::read(dir.path().join("got")).unwrap(), b"content");
    assert_eq!(std::fs::read_link(dir.path().join("d/link")).unwrap(), Path::new("h"));
    assert_eq!(dir.path().join("d/h").metadata().unwrap().mode() & 0o777, 0o640);
    // -h is about links, and a file that is none has its mode changed all the same
    assert_eq!(dir.path().join("d/own").metadata().unwrap().mode() & 0o777, 0o604);
    assert!(!dir.path().join("d/hard").exists());
    demo.sftp(&format!("rm {0}/d/h\nrm {0}/d/link\nrm {0}/d/own\nrmdir {0}/d\n", dir.path().display())).ok();
    assert!(!dir.path().join("d").exists());
}

fn errors_are_the_nodes_own(demo: &Demo) {
    let missing = demo.scp(["demo:/no/such/file", "/dev/null"]);
    assert!(missing.code() != Some(0) && missing.err().contains("No such file"), "{missing}");
    let missing = demo.scp(["-O", "demo:/no/such/file", "/dev/null"]);
    assert!(missing.code() != Some(0) && missing.err().contains("No such file"), "{missing}");
    let some_bytes = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&some_bytes, "some bytes").unwrap();
    let put = |to: &str| demo.sftp(&format!("put {} {to}\n", some_bytes.path().display()));
    let into_nothing = put("/no/such/directory/x");
    assert!(into_nothing.code() != Some(0) && into_nothing.err().contains("No such file"), "{into_nothing}");
    // for root nearly nothing is forbidden, but this is
    let forbidden = put("/proc/version");
    assert!(forbidden.code() != Some(0), "{forbidden}");
    let full = put("/dev/full");
    assert!(full.code() != Some(0), "{full}");
    // who opens one that nobody reads waits for whoever will; here nobody and nothing does
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    run(Command::new("mkfifo").arg(&pipe), b"", PATIENCE).ok();
    let unread =
        demo.sftp(&format!("-put {} {}\nls {}\n", some_bytes.path().display(), pipe.display(), pipe.display()));
    assert!(unread.err().contains("pipe") && unread.out().trim_end().ends_with("/pipe"), "{unread}");
}

#[test]
fn a_gibibyte_in_constant_memory() {
    let demo = Demo::start(&[]);
    let dir = tempfile::tempdir().unwrap();
    let (here, there, back) = (dir.path().join("here"), dir.path().join("there"), dir.path().join("back"));
    run(
        Command::new("sh").args(["-c", "head -c 1073741824 /dev/urandom > \"$0\""]).arg(&here),
        b"",
        std::time::Duration::from_secs(120),
    )
    .ok();
    let long = std::time::Duration::from_secs(600);
    demo.ssh("true", b"").ok();
    forget_peak(demo.pid());
    let before = peak_kib(demo.pid());
    run(demo.command("scp").args([here.to_str().unwrap(), &remote(&there)]), b"", long).ok();
    run(demo.command("scp").args([remote(&there).as_str(), back.to_str().unwrap()]), b"", long).ok();
    let peak = peak_kib(demo.pid());
    assert!(peak < before + 64 * 1024, "memory grew from {before} to {peak} KiB");
    run(Command::new("cmp").args([&here, &back]), b"", long).ok();
}
