//! The ways around the decision and the record, none of which compiles.
//!
//! Each file of `tests/compile-fail` says in its first line which error stops it. `control.rs` shows that the same calls
//! compile when they are made the right way, so that a file can't pass by being broken.

use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn no_way_around_the_grant_compiles() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile-fail");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 13, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let (compiled, errors) = compile(&file);
        match text.lines().next().and_then(|line| line.strip_prefix("// must fail: ")) {
            None => assert!(compiled, "{}: {errors}", file.display()),
            Some(code) => {
                assert!(!compiled, "{} compiles", file.display());
                assert!(errors.contains(&format!("error[{code}]")), "{}: {errors}", file.display());
                let others = errors.lines().filter(|line| line.starts_with("error[") && !line.contains(code)).count();
                assert_eq!(others, 0, "{} has other errors too: {errors}", file.display());
            }
        }
    }
}

/// Checks one file against the library that this test was built with.
fn compile(file: &Path) -> (bool, String) {
    let exe = std::env::current_exe().unwrap();
    let deps = exe.parent().unwrap();
    let out = tempfile::tempdir().unwrap();
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let run = Command::new(rustc)
        .args(["--edition", "2024", "--crate-type", "lib", "--emit", "metadata", "--out-dir"])
        .arg(out.path())
        .arg("-L")
        .arg(format!("dependency={}", deps.display()))
        .arg("--extern")
        .arg(format!("portcullis={}", newest_library(deps).display()))
        .arg(file)
        .output()
        .unwrap();
    (run.status.success(), String::from_utf8_lossy(&run.stderr).into_owned())
}

fn newest_library(deps: &Path) -> PathBuf {
    let libraries = std::fs::read_dir(deps).unwrap().map(|entry| entry.unwrap().path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libportcullis-") && name.ends_with(".rlib")
    });
    libraries.max_by_key(|path| path.metadata().and_then(|is| is.modified()).unwrap()).expect("the library is built")
}
