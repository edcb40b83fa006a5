//! What goes, what stays, and what is told of it.

use super::super::{Hold, HoldOn, export_person};
use super::*;
use crate::testing;

const NOW: OffsetDateTime = time::macros::datetime!(2026-12-31 00:00 UTC);

fn hold(on: HoldOn) -> Holds {
    Holds { holds: vec![Hold { on, by: "counsel".into(), why: "case 7".into(), since: "2026-12-01T00:00:00Z".into() }] }
}

/// Says when folders were delivered, and what it tells.
struct By<D, T> {
    delivered: D,
    tell: T,
    gone: Vec<String>,
}

impl<D: FnMut(&str) -> Option<OffsetDateTime>, T: FnMut(&Deleted) -> Result<(), String>> Sweeping for By<D, T> {
    fn delivered(&mut self, folder: &str) -> Option<OffsetDateTime> {
        (self.delivered)(folder)
    }

    fn tell(&mut self, deleted: &Deleted) -> Result<(), String> {
        (self.tell)(deleted)
    }

    fn gone(&mut self, _: uuid::Uuid, folder: &str) {
        self.gone.push(folder.to_owned());
    }
}

fn sweep_by(
    evidence: &Path,
    policy: &Policy,
    delivered: impl FnMut(&str) -> Option<OffsetDateTime>,
    tell: impl FnMut(&Deleted) -> Result<(), String>,
) -> (Result<Vec<Deleted>, RetentionError>, Vec<String>) {
    let mut by = By { delivered, tell, gone: Vec::new() };
    (sweep(evidence, policy, &evidence.join("holds.json"), NOW, 100, &mut by), by.gone)
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
    let gone = sweep_by(evidence.path(), &policy, delivered, tell).0.unwrap();
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
        hold(on).store(&evidence.path().join("holds.json")).unwrap();
        let gone = sweep_by(evidence.path(), &policy, |_| Some(at(39)), |_| Ok(())).0.unwrap();
        assert!(gone.is_empty() && here());
    }
    let others = hold(HoldOn::Person("eve".into()));
    others.store(&evidence.path().join("holds.json")).unwrap();
    let disk_full = |_: &Deleted| Err("disk full".to_owned());
    let failed = sweep_by(evidence.path(), &policy, |_| Some(at(39)), disk_full).0;
    assert!(failed == Err(RetentionError::NotTold("disk full".into())) && here());
    assert_eq!(sweep_by(evidence.path(), &policy, |_| Some(at(39)), |_| Ok(())).0.unwrap().len(), 1);
    assert!(!here());
}

#[test]
fn a_realm_may_have_its_own_time_and_without_any_nothing_goes() {
    let evidence = tempfile::tempdir().unwrap();
    testing::folder(evidence.path(), 1, "ada", "main", at(40));
    testing::folder(evidence.path(), 2, "ada", "test", at(40));
    let forever = Policy::default();
    assert!(sweep_by(evidence.path(), &forever, |_| Some(at(39)), |_| Ok(())).0.unwrap().is_empty());
    let policy = Policy { days: Some(365), realms: [("test".to_owned(), 7)].into() };
    let gone = sweep_by(evidence.path(), &policy, |_| Some(at(39)), |_| Ok(())).0.unwrap();
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
    let sweep = || sweep_by(evidence.path(), &policy, |_| Some(at(39)), |_| Ok(())).0;
    assert!(sweep().unwrap().is_empty() && evidence.path().join("sessions").join(&name).exists());
    std::fs::remove_file(mark).unwrap();
    assert_eq!(sweep().unwrap().len(), 1);
}

#[test]
fn what_went_before_an_error_is_told_and_what_a_crash_left_is_cleared() {
    let evidence = tempfile::tempdir().unwrap();
    let names = [1, 2].map(|n| testing::folder(evidence.path(), n, "ada", "main", at(40)));
    let policy = Policy { days: Some(1), ..Policy::default() };
    let second = names[1].clone();
    let tell = |deleted: &Deleted| if deleted.folder == second { Err("disk full".to_owned()) } else { Ok(()) };
    let (failed, gone) = sweep_by(evidence.path(), &policy, |_| Some(at(39)), tell);
    assert_eq!((failed, gone), (Err(RetentionError::NotTold("disk full".into())), vec![names[0].clone()]));
    // a crash between the two halves of a removal
    let sessions = evidence.path().join("sessions");
    let aside = sessions.join(format!(".deleted-{}", second.replace('/', "-")));
    std::fs::rename(sessions.join(&second), &aside).unwrap();
    let (swept, gone) = sweep_by(evidence.path(), &policy, |_| Some(at(39)), |_| Ok(()));
    assert_eq!((swept, gone), (Ok(vec![]), vec![second.clone()]));
    assert!(!aside.exists());
}

#[test]
fn a_hold_that_comes_while_a_sweep_runs_is_kept_to() {
    let evidence = tempfile::tempdir().unwrap();
    let names = [1, 2].map(|n| testing::folder(evidence.path(), n, "ada", "main", at(40)));
    let policy = Policy { days: Some(1), ..Policy::default() };
    let file = evidence.path().join("holds.json");
    let delivered = |name: &str| {
        if name == names[1] {
            let _lock = Holds::lock(evidence.path()).unwrap();
            hold(HoldOn::Person("ada".into())).store(&file).unwrap();
        }
        Some(at(39))
    };
    // nobody gets the lock between the look at the holds and the going
    let tell = |_: &Deleted| match std::fs::File::open(evidence.path()).unwrap().try_lock() {
        Err(std::fs::TryLockError::WouldBlock) => Ok(()),
        other => Err(format!("{other:?}")),
    };
    let (swept, gone) = sweep_by(evidence.path(), &policy, delivered, tell);
    assert_eq!((swept.unwrap().len(), gone), (1, vec![names[0].clone()]));
}

#[test]
fn holds_belong_to_whom_the_directory_belongs_to_and_are_written_over_no_link() {
    use std::os::unix::fs::{MetadataExt as _, chown, symlink};
    let dir = tempfile::tempdir().unwrap();
    let (file, others) = (dir.path().join("holds.json"), dir.path().join("others"));
    std::fs::write(&others, b"theirs").unwrap();
    symlink(&others, dir.path().join("holds.new")).unwrap();
    // only root may give it away; without that it is the owner's own
    let _ = chown(dir.path(), Some(65_534), Some(65_534));
    hold(HoldOn::Person("ada".into())).store(&file).unwrap();
    let (folder, made) = (std::fs::metadata(dir.path()).unwrap(), std::fs::symlink_metadata(&file).unwrap());
    assert!(made.is_file() && (made.uid(), made.gid()) == (folder.uid(), folder.gid()));
    assert_eq!(std::fs::read(&others).unwrap(), b"theirs");
}
