//! What goes, what stays, and what is told of it.

use super::super::{Hold, HoldOn, export_person};
use super::*;
use crate::testing;

const NOW: OffsetDateTime = time::macros::datetime!(2026-12-31 00:00 UTC);

fn hold(on: HoldOn) -> Holds {
    Holds { holds: vec![Hold { on, by: "counsel".into(), why: "case 7".into(), since: "2026-12-01T00:00:00Z".into() }] }
}

fn at(days: i64) -> OffsetDateTime {
    NOW - Duration::days(days)
}

#[test]
fn what_every_sink_has_had_for_long_enough_goes_and_is_told_before() {
    let evidence = tempfile::tempdir().unwrap();
    let [old, young, undelivered] = [1, 2, 3].map(|n| testing::folder(evidence.path(), n, "ada", "main", at(40)));
    let policy = Policy { days: Some(30), ..Policy::default() };
    let delivered = |name: &str| match name {
        name if name == old => Some(at(31)),
        name if name == young => Some(at(29)),
        _ => None,
    };
    let sessions = evidence.path().join("sessions");
    let mut told = Vec::new();
    let tell = |gone: &Deleted| {
        assert!(sessions.join(&gone.folder).join("manifest.json").exists(), "told before it goes");
        told.push(gone.folder.clone());
        Ok(())
    };
    let gone = sweep(evidence.path(), &policy, &Holds::default(), NOW, 100, delivered, tell).unwrap();
    assert_eq!((told, gone.len()), (vec![old.clone()], 1));
    assert!(!sessions.join(&old).exists() && sessions.join(young).exists() && sessions.join(undelivered).exists());
}

#[test]
fn what_is_on_hold_stays_and_nothing_goes_that_could_not_be_told() {
    let evidence = tempfile::tempdir().unwrap();
    let name = testing::folder(evidence.path(), 1, "ada", "main", at(40));
    let policy = Policy { days: Some(1), ..Policy::default() };
    let here = || evidence.path().join("sessions").join(&name).exists();
    for on in [HoldOn::Person("ada".into()), HoldOn::Node("i-1".into()), HoldOn::Session(uuid::Uuid::from_u128(1))] {
        let gone = sweep(evidence.path(), &policy, &hold(on), NOW, 9, |_| Some(at(39)), |_| Ok(())).unwrap();
        assert!(gone.is_empty() && here());
    }
    let disk_full = |_: &Deleted| Err("disk full".to_owned());
    let failed = sweep(evidence.path(), &policy, &Holds::default(), NOW, 9, |_| Some(at(39)), disk_full);
    assert!(failed == Err(RetentionError::NotTold("disk full".into())) && here());
    let others = hold(HoldOn::Person("eve".into()));
    assert_eq!(sweep(evidence.path(), &policy, &others, NOW, 9, |_| Some(at(39)), |_| Ok(())).unwrap().len(), 1);
    assert!(!here());
}

#[test]
fn a_realm_may_have_its_own_time_and_without_any_nothing_goes() {
    let evidence = tempfile::tempdir().unwrap();
    testing::folder(evidence.path(), 1, "ada", "main", at(40));
    testing::folder(evidence.path(), 2, "ada", "test", at(40));
    let forever = Policy::default();
    assert!(
        sweep(evidence.path(), &forever, &Holds::default(), NOW, 9, |_| Some(at(39)), |_| Ok(())).unwrap().is_empty()
    );
    let policy = Policy { days: Some(365), realms: [("test".to_owned(), 7)].into() };
    let gone = sweep(evidence.path(), &policy, &Holds::default(), NOW, 9, |_| Some(at(39)), |_| Ok(())).unwrap();
    assert_eq!(gone.iter().map(|gone| gone.realm.as_str()).collect::<Vec<_>>(), ["test"]);
}

#[test]
fn holds_that_can_t_be_read_are_an_error_and_no_file_is_no_hold() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("holds.json");
    assert_eq!(Holds::load(&file), Ok(Holds::default()));
    let all = hold(HoldOn::Person("ada".into()));
    all.store(&file).unwrap();
    assert_eq!(Holds::load(&file), Ok(all));
    std::fs::write(&file, b"{\"holds\":[").unwrap();
    assert!(matches!(Holds::load(&file), Err(RetentionError::Holds(_))));
}

#[test]
fn an_export_has_one_person_s_folders_and_no_other_s() {
    let evidence = tempfile::tempdir().unwrap();
    let one = testing::folder(evidence.path(), 1, "ada", "main", at(9));
    testing::folder(evidence.path(), 2, "eve", "main", at(8));
    let two = testing::folder(evidence.path(), 3, "ada", "main", at(7));
    let sessions = evidence.path().join("sessions");
    assert_eq!(export_person(evidence.path(), "ada").unwrap(), [sessions.join(one), sessions.join(two)]);
}

#[test]
fn what_is_marked_as_open_was_not_handed_to_all_sinks_and_stays() {
    let evidence = tempfile::tempdir().unwrap();
    let name = testing::folder(evidence.path(), 1, "ada", "main", at(40));
    let policy = Policy { days: Some(1), ..Policy::default() };
    let mark = evidence.path().join("open").join(name.replace('/', "_"));
    std::fs::create_dir(evidence.path().join("open")).unwrap();
    std::fs::write(&mark, b"").unwrap();
    let sweep = || sweep(evidence.path(), &policy, &Holds::default(), NOW, 9, |_| Some(at(39)), |_| Ok(()));
    assert!(sweep().unwrap().is_empty() && evidence.path().join("sessions").join(&name).exists());
    std::fs::remove_file(mark).unwrap();
    assert_eq!(sweep().unwrap().len(), 1);
}
