//! The file service: every helper must answer as the Python one does, operation by operation.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::node::{Kind, Node, Setup};
use crate::transport::file_service::Code::{
    self, Close, Copy, ExpandPath, FileSystem, FileSystemOf, FsetStat, Fstat, Fsync, HomeDirectory, Link, LsetStat,
    Lstat, MakeDir, MostOpen, NamesOf, Open, OpenDir, Read, ReadDir, ReadLink, RealPath, Remove, RemoveDir, Rename,
    SetStat, Stat, Symlink, Write,
};

/// One argument of a request.
pub(super) enum Arg<'a> {
    U(u32),
    Q(u64),
    T(&'a [u8]),
    /// A path below the tree.
    P(&'a str),
    Raw(&'a [u8]),
}

use Arg::{P, Q, Raw, T, U};

/// Whatever serves files of a tree.
pub(super) trait Asks {
    /// Asks, and gives errno and result, as they are on the wire.
    fn ask(&mut self, operation: Code, arguments: &[Arg<'_>]) -> (u32, Vec<u8>);
}

/// A file service over a tree of its own.
struct Service {
    node: Node,
    tree: String,
    next: u32,
    taken: usize,
}

impl Service {
    fn start(kind: Kind, tree: &Path) -> Self {
        Self::start_as(kind, tree, Setup::files())
    }

    fn start_as(kind: Kind, tree: &Path, setup: Setup) -> Self {
        let mut node = Node::start(kind, setup);
        node.attach_in_when_started();
        Self { node, tree: tree.to_str().unwrap().to_owned(), next: 0, taken: 0 }
    }

    /// Asks.
    fn tell(&mut self, operation: Code, arguments: &[Arg<'_>]) {
        self.next += 1;
        let mut body = self.next.to_be_bytes().to_vec();
        body.push(operation as u8);
        for argument in arguments {
            let mut text = |text: &[u8]| {
                body.extend((text.len() as u32).to_be_bytes());
                body.extend(text);
            };
            match argument {
                U(number) => body.extend(number.to_be_bytes()),
                Q(number) => body.extend(number.to_be_bytes()),
                T(bytes) => text(bytes),
                P(name) => text(format!("{}/{name}", self.tree).as_bytes()),
                Raw(bytes) => body.extend(*bytes),
            }
        }
        let mut request = (body.len() as u32).to_be_bytes().to_vec();
        request.extend(body);
        self.node.input(&request);
    }

    fn finish(mut self) {
        self.node.eof();
        self.node.finish();
    }
}

impl Asks for Service {
    fn ask(&mut self, operation: Code, arguments: &[Arg<'_>]) -> (u32, Vec<u8>) {
        self.tell(operation, arguments);
        let taken = self.taken;
        let length = |node: &Node| {
            let head = node.stdout.get(taken..taken + 4)?;
            Some(4 + u32::from_be_bytes(head.try_into().unwrap()) as usize)
        };
        self.node.until(&format!("an answer to {operation:?}"), |node| {
            length(node).is_some_and(|length| node.stdout.len() >= taken + length)
        });
        let whole = length(&self.node).unwrap();
        let answer = &self.node.stdout[taken + 4..taken + whole];
        self.taken += whole;
        let (id, rest) = answer.split_at(4);
        assert_eq!(id, self.next.to_be_bytes());
        let (errno, result) = rest.split_at(4);
        (u32::from_be_bytes(errno.try_into().unwrap()), result.to_vec())
    }
}

pub(super) fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}

const ODD: &str = "sp ace\n'\"\\\\n%s*-$x";

/// Who opens or reads one would wait for whoever writes: as long as they like.
pub(super) fn a_named_pipe_stops_nothing(kind: Kind) {
    let place = tempfile::tempdir().unwrap();
    let made = std::process::Command::new("mkfifo").arg(place.path().join("pipe")).status().unwrap();
    assert!(made.success());
    let mut service = Service::start(kind, place.path());
    for flags in [1, 2, 1 | 2] {
        let (errno, result) = service.ask(Open, &[P("pipe"), U(flags), U(u32::MAX)]);
        if errno == 0 {
            // whatever the answer, there is one
            let handle = number(&result);
            service.ask(Read, &[U(handle), Q(0), U(10)]);
            service.ask(Close, &[U(handle)]);
        }
    }
    assert_eq!(service.ask(Stat, &[P("pipe")]).0, 0);
    service.finish();
}

/// Its lease ends a helper that never comes back from a call to the system.
#[test]
fn a_helper_whose_disk_hangs_ends_with_its_lease() {
    let place = tempfile::tempdir().unwrap();
    let mut setup = Setup::files();
    let stuck = place.path().join("stuck");
    let hang = format!("open(\"{}\", \"w\") and time.sleep(99) or os.fsync(", stuck.display());
    // the gateway's word holds for a few seconds, and an end takes one
    let soon = [("live_for(lease)", "live_for(5)"), ("longest_end=70", "longest_end=1")];
    setup.altered = soon.map(|(there, instead)| (there, instead.to_owned())).into();
    setup.altered.push(("os.fsync(", hang));
    let mut service = Service::start_as(Kind::Python, place.path(), setup.lease(2));
    let handle = number(&service.ask(Open, &[P("f"), U(2 | 8), U(u32::MAX)]).1);
    service.tell(Fsync, &[U(handle)]);
    service.node.until("a disk that hangs", |_| stuck.exists());
    service.node.lose_in();
    service.node.setup.in_lane = false;
    service.node.lose_out();
    service.node.until("its end", |node| !node.is_running());
}

/// The same of the helper for sh, whatever of its processes waits.
#[test]
fn a_helper_for_sh_whose_disk_hangs_ends_with_its_lease() {
    for kind in [Kind::Dash, Kind::Busybox] {
        let place = tempfile::tempdir().unwrap();
        let stuck = place.path().join("stuck");
        let mut setup = Setup::files();
        let hang = format!("{{ echo >\"{}\"; sleep 99; }}", stuck.display());
        setup.altered.push(("sync /proc/self/fd/9 2>/dev/null || sync", hang));
        let mut service = Service::start_as(kind, place.path(), setup.lease(6));
        let handle = number(&service.ask(Open, &[P("f"), U(2 | 8), U(u32::MAX)]).1);
        service.tell(Fsync, &[U(handle)]);
        service.node.until("a disk that hangs", |_| stuck.exists());
        // the out lane stays, so that nothing but the lease ends it
        service.node.lose_in();
        service.node.setup.in_lane = false;
        service.node.until("its end", |node| !node.is_running());
    }
}

/// All of it, as text that two helpers can be compared by. `seeks`: where no file can be, that is told.
pub(super) fn everything(service: &mut impl Asks, tree: &Path, seeks: bool) -> Vec<String> {
    let mut said = Vec::new();
    // a text for each step; an error's own text differs in capitals at most
    let mut step = |service: &mut dyn Asks, name: &str, operation: Code, arguments: &[Arg<'_>]| {
        let (errno, result) = service.ask(operation, arguments);
        let mut shown = result.clone();
        if errno != 0 {
            shown.clear();
        } else if [Stat, Lstat, Fstat].contains(&operation) {
            // the access time is whenever
            shown.truncate(20);
            shown.extend(&result[28..]);
        }
        said.push(format!("{name}: {errno} {}", shown.escape_ascii()));
        (errno, result)
    };
    let s = service;
    let (all, none) = (u32::MAX, 0u64);
    let big: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
    step(s, "mkdir", MakeDir, &[P("d"), U(0o750)]);
    step(s, "mkdir again", MakeDir, &[P("d"), U(0o750)]);
    step(s, "mkdir nowhere", MakeDir, &[P("x/y"), U(0o750)]);
    // a new file, written in and out of order
    let h = number(&step(s, "create", Open, &[P("f"), U(2 | 8 | 16), U(0o640)]).1);
    step(s, "write", Write, &[U(h), Q(0), Raw(b"0123456789")]);
    step(s, "write on", Write, &[U(h), Q(10), Raw(b"abc")]);
    step(s, "write a hole", Write, &[U(h), Q(20), Raw(b"xyz\0\n")]);
    step(s, "write back", Write, &[U(h), Q(5), Raw(b"\xff\xfe")]);
    step(s, "write behind that", Write, &[U(h), Q(13), Raw(b"!")]);
    step(s, "fsetstat times", FsetStat, &[U(h), U(8), Q(none), U(0), U(0), U(0), Q(1), Q(1_000_000_000)]);
    step(s, "fstat", Fstat, &[U(h)]);
    step(s, "fsync", Fsync, &[U(h)]);
    let (errno, figures) = s.ask(FileSystemOf, &[U(h)]);
    assert_eq!((errno, figures.len()), (0, 88));
    step(s, "close", Close, &[U(h)]);
    step(s, "close again", Close, &[U(h)]);
    step(s, "write to a closed one", Write, &[U(h), Q(0), Raw(&big)]);
    step(s, "setstat times", SetStat, &[P("f"), U(8), Q(none), U(0), U(0), U(0), Q(5), Q(1_000_000_001)]);
    step(s, "stat", Stat, &[P("f")]);
    let h = number(&step(s, "open", Open, &[P("f"), U(1), U(all)]).1);
    step(s, "read", Read, &[U(h), Q(0), U(7)]);
    step(s, "read on", Read, &[U(h), Q(7), U(100)]);
    step(s, "read back", Read, &[U(h), Q(3), U(4)]);
    step(s, "read at the end", Read, &[U(h), Q(25), U(10)]);
    step(s, "read beyond", Read, &[U(h), Q(1000), U(10)]);
    step(s, "write to a read-only one", Write, &[U(h), Q(0), Raw(b"no")]);
    step(s, "remove", Remove, &[P("f")]);
    step(s, "read what has no name", Read, &[U(h), Q(0), U(5)]);
    step(s, "stat of what is gone", Stat, &[P("f")]);
    step(s, "close", Close, &[U(h)]);
    // how files are opened
    step(s, "open nothing", Open, &[P("f"), U(1), U(all)]);
    step(s, "write nothing", Open, &[P("f"), U(2), U(all)]);
    step(s, "open a directory", Open, &[P("d"), U(1), U(all)]);
    let h = number(&step(s, "exclusive", Open, &[P("e"), U(2 | 8 | 32), U(0o755)]).1);
    step(s, "big", Write, &[U(h), Q(0), Raw(&big)]);
    step(s, "fsetstat size", FsetStat, &[U(h), U(1), Q(150_000), U(0), U(0), U(0), Q(0), Q(0)]);
    step(s, "close", Close, &[U(h)]);
    step(s, "exclusive again", Open, &[P("e"), U(2 | 8 | 32), U(all)]);
    let h = number(&step(s, "append", Open, &[P("e"), U(2 | 4), U(all)]).1);
    step(s, "append", Write, &[U(h), Q(0), Raw(b"tail")]);
    step(s, "close", Close, &[U(h)]);
    let h = number(&step(s, "both", Open, &[P("e"), U(1 | 2), U(all)]).1);
    step(s, "read all", Read, &[U(h), Q(0), U(400_000)]);
    step(s, "write in it", Write, &[U(h), Q(149_999), Raw(b"<>")]);
    step(s, "read it", Read, &[U(h), Q(149_990), U(100)]);
    step(s, "close", Close, &[U(h)]);
    let h = number(&step(s, "truncate", Open, &[P("e"), U(2 | 16), U(all)]).1);
    step(s, "close", Close, &[U(h)]);
    step(s, "times", SetStat, &[P("e"), U(8 | 4), Q(none), U(0), U(0), U(0o4711), Q(7), Q(1_000_000_002)]);
    step(s, "stat", Stat, &[P("e")]);
    let h = number(&step(s, "read-only file", Open, &[P("r"), U(2 | 8), U(0o444)]).1);
    step(s, "write it", Write, &[U(h), Q(0), Raw(b"once")]);
    step(s, "close", Close, &[U(h)]);
    // names
    step(s, "symlink", Symlink, &[T(b"../nowhere\xff"), P("l")]);
    step(s, "symlink again", Symlink, &[T(b"x"), P("l")]);
    step(s, "readlink", ReadLink, &[P("l")]);
    step(s, "readlink of a file", ReadLink, &[P("e")]);
    step(s, "readlink of nothing", ReadLink, &[P("f")]);
    step(s, "stat of a dangling link", Stat, &[P("l")]);
    step(s, "lsetstat", LsetStat, &[P("l"), U(8), Q(none), U(0), U(0), U(0), Q(3), Q(1_000_000_003)]);
    step(s, "lstat", Lstat, &[P("l")]);
    step(s, "hard link", Link, &[P("e"), P(ODD)]);
    step(s, "hard link again", Link, &[P("e"), P("r")]);
    step(s, "lstat", Lstat, &[P(ODD)]);
    step(s, "realpath", RealPath, &[P("d/../d/new")]);
    step(s, "realpath of nothing", RealPath, &[P("x/y/z")]);
    step(s, "realpath below a file", RealPath, &[P("e/z")]);
    step(s, "rename over", Rename, &[P("r"), P(ODD), U(0)]);
    step(s, "rename", Rename, &[P("r"), P("d/\u{e9}"), U(0)]);
    step(s, "rename and replace", Rename, &[P("d/\u{e9}"), P(ODD), U(1)]);
    step(s, "rename nothing", Rename, &[P("f"), P("g"), U(1)]);
    step(s, "rename a file to a directory", Rename, &[P("e"), P("d"), U(1)]);
    step(s, "rename a directory to a file", Rename, &[P("d"), P("e"), U(1)]);
    step(s, "remove a directory", Remove, &[P("d")]);
    step(s, "rmdir", RemoveDir, &[P("d")]);
    step(s, "rmdir of a full one", RemoveDir, &[P("")]);
    step(s, "rmdir of a file", RemoveDir, &[P("e")]);
    step(s, "stat below a file", Stat, &[P("e/x")]);
    step(s, "stat of an empty path", Stat, &[T(b"")]);
    step(s, "home", ExpandPath, &[T(b"~")]);
    step(s, "home of root", ExpandPath, &[T(b"~root/x")]);
    step(s, "home of nobody known", ExpandPath, &[T(b"~no-such-user/x")]);
    step(s, "expand", ExpandPath, &[T(b"/usr/../usr")]);
    step(s, "list a file", OpenDir, &[P("e")]);
    step(s, "list nothing", OpenDir, &[P("f")]);
    let (errno, figures) = s.ask(FileSystem, &[P("")]);
    assert_eq!((errno, figures.len()), (0, 88));
    // what the node does by itself
    let from = number(&step(s, "from", Open, &[P("e"), U(1), U(all)]).1);
    let to = number(&step(s, "to", Open, &[P("copied"), U(1 | 2 | 8), U(all)]).1);
    step(s, "write to the source", Write, &[U(from), Q(0), Raw(b"no")]);
    step(s, "fill", Write, &[U(to), Q(0), Raw(b"0123456789")]);
    let again = number(&step(s, "again", Open, &[P("copied"), U(1), U(all)]).1);
    step(s, "copy", Copy, &[U(again), Q(2), Q(5), U(to), Q(20)]);
    step(s, "copy what is not there", Copy, &[U(from), Q(100), Q(5), U(to), Q(0)]);
    step(s, "copy to what is read-only", Copy, &[U(to), Q(0), Q(5), U(from), Q(0)]);
    step(s, "copied", Read, &[U(to), Q(0), U(100)]);
    step(s, "of nothing", Read, &[U(to), Q(1), U(0)]);
    step(s, "of nothing where nothing can be", Read, &[U(to), Q(1 << 63), U(0)]);
    step(s, "write where nothing can be", Write, &[U(to), Q(1 << 63), Raw(b"x")]);
    step(s, "nothing", Write, &[U(to), Q(5), Raw(b"")]);
    step(s, "close", Close, &[U(again)]);
    step(s, "close", Close, &[U(from)]);
    step(s, "close", Close, &[U(to)]);
    let d = number(&step(s, "a directory", Open, &[P(""), U(1), U(all)]).1);
    step(s, "read a directory", Read, &[U(d), Q(0), U(10)]);
    step(s, "close", Close, &[U(d)]);
    step(s, "home of root's name", HomeDirectory, &[T(b"root")]);
    step(s, "home of no name", HomeDirectory, &[T(b"no-such-user")]);
    step(s, "names", NamesOf, &[U(2), Raw(&[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xf0, 0, 0, 0, 0])]);
    step(s, "mode of a link", LsetStat, &[P("l"), U(4), Q(none), U(0), U(0), U(0o600), Q(0), Q(0)]);
    step(s, "mode of what is none", LsetStat, &[P("e"), U(4), Q(none), U(0), U(0), U(0o640), Q(0), Q(0)]);
    step(s, "size of a link", LsetStat, &[P("l"), U(1), Q(5), U(0), U(0), U(0), Q(0), Q(0)]);
    step(s, "a huge size", SetStat, &[P("e"), U(1), Q(1 << 63), U(0), U(0), U(0), Q(0), Q(0)]);
    step(s, "rename a link onto one that leads nowhere", Symlink, &[T(b"nowhere"), P("l2")]);
    step(s, "rename it", Rename, &[P("l2"), P("l"), U(0)]);
    step(s, "realpath of nothing with a slash", RealPath, &[P("nothing/")]);
    step(s, "realpath of a file with a slash", RealPath, &[P("e/")]);
    // as rename(2) has names that end in a slash or a dot
    step(s, "mkdir", MakeDir, &[P("q"), U(0o750)]);
    step(s, "symlink", Symlink, &[T(b"q"), P("ql")]);
    for (old, new) in [
        ("q/.", "g"),
        ("q/..", "g"),
        ("q", "q/."),
        ("q", "e/"),
        ("q", "ql/"),
        ("q", "l/"),
        ("q", "q/g/"),
        ("q/", "g/"),
        ("g", "q"),
        ("ql/", "g"),
        ("ql", "g/"),
        ("e/", "g"),
        ("e", "g/"),
        ("e", "ql/"),
        ("e/g", "g"),
        ("nothing", "nowhere/g"),
        ("nothing", "q/."),
        ("nothing/.", "g"),
        ("l", "e/g"),
    ] {
        for replace in [0, 1] {
            step(s, &format!("{old} to {new}, {replace}"), Rename, &[P(old), P(new), U(replace)]);
        }
    }
    step(s, "rename of an empty name", Rename, &[T(b""), P("g"), U(1)]);
    step(s, "rename to an empty name", Rename, &[P("q"), T(b""), U(1)]);
    // a new owner takes the set-id bits away, even where it is the old one
    let uid = std::fs::metadata(tree).unwrap().uid();
    for (mode, owner) in [(0o6755, uid), (0o6755, all), (0o2644, uid), (0o4600, uid)] {
        step(s, "set-id", SetStat, &[P("e"), U(4), Q(none), U(0), U(0), U(mode), Q(0), Q(0)]);
        step(s, "owner", SetStat, &[P("e"), U(2), Q(none), U(owner), U(all), U(0), Q(0), Q(0)]);
        step(s, "stat", Stat, &[P("e")]);
    }
    if seeks {
        for flags in [1, 2] {
            let h = number(&step(s, "open", Open, &[P("e"), U(flags), U(all)]).1);
            step(s, "read where no file can be", Read, &[U(h), Q(i64::MAX as u64), U(5)]);
            step(s, "write there", Write, &[U(h), Q(i64::MAX as u64), Raw(b"x")]);
            step(s, "read of nothing there", Read, &[U(h), Q(i64::MAX as u64), U(0)]);
            step(s, "write after that", Write, &[U(h), Q(0), Raw(b"after")]);
            step(s, "read after that", Read, &[U(h), Q(0), U(5)]);
            step(s, "close", Close, &[U(h)]);
        }
    }
    let nothing = number(&step(s, "make", Open, &[P("empty"), U(1 | 2 | 8), U(all)]).1);
    let to = number(&step(s, "read only", Open, &[P("e"), U(1), U(all)]).1);
    step(s, "copy of nothing to what is read-only", Copy, &[U(nothing), Q(0), Q(5), U(to), Q(0)]);
    let from = number(&step(s, "from", Open, &[P("copied"), U(1), U(all)]).1);
    step(s, "copy from behind the end", Copy, &[U(from), Q(1 << 20), Q(5), U(to), Q(0)]);
    let dir = number(&step(s, "a directory", Open, &[P("q"), U(1), U(all)]).1);
    step(s, "copy of a directory to what is read-only", Copy, &[U(dir), Q(0), Q(5), U(to), Q(0)]);
    for h in [nothing, to, from, dir] {
        step(s, "close", Close, &[U(h)]);
    }
    // what is made below a file, and where nothing is
    for path in ["e/x", "nowhere/x", "e/x/y"] {
        step(s, path, Open, &[P(path), U(2 | 8), U(0o600)]);
        step(s, path, Open, &[P(path), U(1 | 2 | 8 | 32), U(all)]);
    }
    step(s, "an unknown handle", Read, &[U(999), Q(0), U(1)]);
    let listed = names(s, "");
    said.extend(listed.iter().map(|entry| entry.escape_ascii().to_string()));
    said
}

/// The entries of a directory without the access times, in order.
pub(super) fn names(service: &mut (impl Asks + ?Sized), directory: &str) -> Vec<Vec<u8>> {
    let (errno, opened) = service.ask(OpenDir, &[P(directory)]);
    assert_eq!(errno, 0);
    let handle = number(&opened);
    let mut all = Vec::new();
    loop {
        let (errno, result) = service.ask(ReadDir, &[U(handle), U(0)]);
        assert_eq!(errno, 0);
        let mut rest = &result[4..];
        if number(&result) == 0 {
            break;
        }
        for _ in 0..number(&result) {
            let mut entry = Vec::new();
            let mut field = |rest: &mut &[u8], length: usize, wanted: bool| {
                let (field, after) = rest.split_at(length);
                *rest = after;
                if wanted {
                    entry.extend_from_slice(field);
                    entry.push(b'|');
                }
            };
            for part in ["name", "attributes", "owner", "group"] {
                if part == "attributes" {
                    field(&mut rest, 20, true);
                    // access and modification time; a directory's changes as the test goes on
                    field(&mut rest, 16, false);
                    field(&mut rest, 4, true);
                } else {
                    let length = number(rest) as usize;
                    field(&mut rest, 4, false);
                    field(&mut rest, length, true);
                }
            }
            all.push(entry);
        }
        assert!(rest.is_empty());
    }
    assert_eq!(service.ask(Close, &[U(handle)]).0, 0);
    all.sort();
    all
}

/// All of it by a helper.
pub(super) fn everything_of(kind: Kind, tree: &Path, seeks: bool) -> Vec<String> {
    let mut service = Service::start(kind, tree);
    let said = everything(&mut service, tree, seeks);
    service.finish();
    said
}

pub(super) fn files_are_served_alike(kind: Kind) {
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("tree");
    let mut all = [Kind::Python, kind].map(|one| {
        std::fs::create_dir(&tree).unwrap();
        // busybox has a dd that does not say it
        let said = everything_of(one, &tree, kind != Kind::Busybox);
        std::fs::remove_dir_all(&tree).unwrap();
        said
    });
    let (mine, reference) = (std::mem::take(&mut all[1]), std::mem::take(&mut all[0]));
    for (mine, reference) in mine.iter().zip(&reference) {
        assert_eq!(
            mine.chars().take(300).collect::<String>(),
            reference.chars().take(300).collect::<String>(),
            "{kind:?}"
        );
        assert!(mine == reference);
    }
    assert_eq!(mine.len(), reference.len());
    let errors: Vec<&String> = reference.iter().filter(|line| !line.contains(": 0 ")).collect();
    assert!(errors.len() > 20, "the comparison compares something: {errors:?}");
}

pub(super) fn many_names_are_listed(kind: Kind) {
    let tree = tempfile::tempdir().unwrap();
    for n in 0..250 {
        std::fs::write(tree.path().join(format!("{}{n}", ["", ".", "..", "*", "%s"][n % 5])), "x").unwrap();
    }
    std::fs::set_permissions(tree.path().join("0"), std::fs::Permissions::from_mode(0o604)).unwrap();
    let mut service = Service::start(kind, tree.path());
    let all = names(&mut service, "");
    service.finish();
    assert_eq!(all.len(), 252);
    let uid = std::fs::metadata(tree.path()).unwrap().uid();
    let first = all.iter().find(|entry| entry.starts_with(b"0|")).unwrap();
    assert_eq!(first[2..10], 1u64.to_be_bytes());
    assert_eq!(first[10..14], uid.to_be_bytes());
    assert_eq!(first[18..22], 0o100_604u32.to_be_bytes());
}

/// Writes down every number that kill(1) gets and that is no living process any more. Only bash takes it from its
/// environment; for the other helpers the test is that what is left open ends.
const KILL: &str = r#"() { for p in "$@"; do
    case $p in [1-9]*) s=; { read -r s <"/proc/$p/stat"; } 2>/dev/null; case ${s##*") "} in ""|Z*|X*) echo "$*" >>"$KILLED";; esac;; esac
done; builtin kill "$@"; }"#;

pub(super) fn what_is_left_open_ends_and_nobody_else_is_signalled(kind: Kind) {
    let tree = tempfile::tempdir().unwrap();
    std::fs::write(tree.path().join("f"), "x").unwrap();
    let killed = tree.path().join("killed");
    let mut setup = Setup::files();
    setup.around.push(("KILLED", killed.to_str().unwrap().to_owned()));
    setup.around.push(("BASH_FUNC_kill%%", KILL.to_owned()));
    let mut service = Service::start_as(kind, tree.path(), setup);
    // closed, refused, and open to the end: of each a file and a directory
    for (operation, path, rest) in [(Open, "f", &[U(1), U(u32::MAX)][..]), (OpenDir, "", &[])] {
        for round in 0..3 {
            let mut arguments = vec![if round == 1 { P("nothing") } else { P(path) }];
            arguments.extend(rest.iter().map(|arg| if let U(number) = arg { U(*number) } else { unreachable!() }));
            let (errno, opened) = service.ask(operation, &arguments);
            assert_eq!(errno != 0, round == 1);
            if round == 0 {
                assert_eq!(service.ask(Close, &[U(number(&opened))]).0, 0);
            }
        }
    }
    service.finish();
    assert_eq!(std::fs::read_to_string(&killed).unwrap_or_default(), "", "{kind:?}");
}

/// As on a machine where processes have few descriptors unless they ask for more: each open file is one, and for the `sh` helper
/// a process. Clients are told how many there can be, and that is how many there can be.
#[test]
fn as_many_files_are_open_at_once_as_is_said() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let most = getrlimit(Resource::Nofile).maximum;
    assert!(most.is_none_or(|most| most >= 4200), "this machine allows {most:?} descriptors");
    // each test has a process of its own
    setrlimit(Resource::Nofile, Rlimit { current: Some(250), maximum: most }).unwrap();
    for (kind, expected) in [(Kind::Python, 4096), (Kind::Dash, 256)] {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("f"), "content").unwrap();
        let mut service = Service::start(kind, place.path());
        assert_eq!(service.ask(MostOpen, &[U(100)]), (0, 100_u32.to_be_bytes().to_vec()));
        let (errno, said) = service.ask(MostOpen, &[U(4096)]);
        assert_eq!((errno, number(&said)), (0, expected), "{kind:?}");
        let mut last = Vec::new();
        for count in 0..expected {
            let (errno, opened) = service.ask(Open, &[P("f"), U(1), U(u32::MAX)]);
            assert_eq!(errno, 0, "{kind:?}, with {count} open");
            last = opened;
        }
        assert_eq!(service.ask(Read, &[U(number(&last)), Q(0), U(10)]), (0, b"content".to_vec()));
        service.finish();
    }
}
