//! The table of guards fits the code: `scripts/guards.py` can switch each of them off. That each is then missed is shown by the
//! script itself, on request; its last result is `docs/guards.md`.

use std::process::Command;

use crate::harness::{PATIENCE, run};

#[test]
fn every_guard_is_where_the_table_says_and_has_a_test() {
    let root = env!("CARGO_MANIFEST_DIR");
    let script = |how: &str| {
        run(Command::new("python3").arg("scripts/guards.py").arg(how).current_dir(root), b"", PATIENCE).ok()
    };
    script("--check");
    let names = script("--list").out();
    assert!(names.lines().count() >= 15, "{names}");
    let page = std::fs::read_to_string(format!("{root}/docs/guards.md")).unwrap();
    for name in names.lines().filter_map(|line| line.split_whitespace().next()) {
        let row = page.lines().find(|line| line.starts_with(&format!("| {name} |")));
        assert!(row.is_some_and(|row| row.ends_with("| missed |")), "{name}: scripts/guards.py --write docs/guards.md");
    }
}
