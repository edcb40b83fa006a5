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
    let library = library();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let (compiled, errors) = compile(&file, &library);
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

/// Checks one file against the library.
fn compile(file: &Path, library: &Path) -> (bool, String) {
    let deps = library.parent().unwrap();
    let out = tempfile::tempdir().unwrap();
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let run = Command::new(rustc)
        .args(["--edition", "2024", "--crate-type", "lib", "--emit", "metadata", "--out-dir"])
        .arg(out.path())
        .arg("-L")
        .arg(format!("dependency={}", deps.display()))
        .arg("--extern")
        .arg(format!("portcullis={}", library.display()))
        .arg(file)
        .output()
        .unwrap();
    (run.status.success(), String::from_utf8_lossy(&run.stderr).into_owned())
}

/// The newest library with the tests' view of it. One without the feature may lie beside it, and be newer: the demo's.
fn library() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    let mut libraries: Vec<PathBuf> = std::fs::read_dir(exe.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("libportcullis-") && name.ends_with(".rlib")
        })
        .collect();
    libraries.sort_by_key(|path| std::cmp::Reverse(path.metadata().and_then(|is| is.modified()).unwrap()));
    let control = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile-fail/control.rs");
    let newest = libraries.first().expect("the library is built").clone();
    // where none does, the control's own errors say why
    libraries.into_iter().find(|library| compile(&control, library).0).unwrap_or(newest)
}
