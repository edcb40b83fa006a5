//! What is said of lines, and what shells then run.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command as Program, Stdio};

use super::{Command, Unsure, commands};

fn found(line: &str) -> Vec<Command> {
    commands(line.as_bytes()).unwrap_or_else(|unsure| panic!("{line}: {unsure}"))
}

fn words(line: &str) -> Vec<String> {
    found(line).into_iter().map(|command| command.words).collect()
}

#[test]
fn every_command_of_a_line_is_found() {
    for (line, expected) in [
        ("uptime", &["uptime"][..]),
        ("  uptime ; ", &["uptime"]),
        ("", &[]),
        ("# nothing", &[]),
        ("a; b & c && d || e | f\ng", &["a", "b", "c", "d", "e", "f", "g"]),
        ("(a; b) && { c; }", &["a", "b", "c"]),
        ("if a; then b; elif c; then d; else e; fi", &["a", "b", "c", "d", "e"]),
        ("while a; do b; done; until c; do d; done", &["a", "b", "c", "d"]),
        ("for i in 1 $(a) 3; do b \"$i\"; done", &["a", "b \"$i\""]),
        ("! a", &["a"]),
        ("a \"x $(b $(c) d)\" `e f`", &["c", "b $(c) d", "e f", "a \"x $(b $(c) d)\" `e f`"]),
        ("a 'x y' \"z\" w\\ v", &["a 'x y' z 'w v'"]),
        ("a '' '$x' it\\'s \"*\" u@h:/p %i", &["a '' '$x' 'it'\\''s' '*' u@h:/p %i"]),
        ("a >/x 2>>y <z 2>&1 >/dev/null 3>&-", &["a", "> /x", ">> y", "< z"]),
        (">/x a", &["> /x", "a"]),
        ("{ a; } >x", &["a", "> x"]),
        ("LC_ALL=C LANG=de_DE a", &["a"]),
        ("dd if=/x of=/y", &["dd if=/x of=/y"]),
        ("a $HOME ${HOME} * ~/x {1,2} $? $1", &["a $HOME ${HOME} * ~/x {1,2} $? $1"]),
        ("l\\s 'a'b\"c\"", &["ls abc"]),
        ("[ -n x ] && a", &["'[' -n x ']'", "a"]),
        ("echo $(a # )\nid)", &["a", "id", "echo $(a \nid)"]),
    ] {
        assert_eq!(words(line), expected, "{line}");
    }
}

#[test]
fn what_runs_others_has_its_words_and_is_not_known() {
    for line in [
        "sudo -n id",
        "env x=1 id",
        "xargs rm",
        "sh -c id",
        "bash script",
        "/bin/dash",
        "python3 -c 1",
        "perl -e 1",
        "python3.11 x",
        "find . -exec rm {} +",
        "find . $x",
        "nohup id",
        "timeout 5 id",
        "exec id",
        "ssh host id",
        "busybox ls",
        "awk 1",
        "su - root",
        "/usr/bin/env id",
        "vim x",
        "echo x >/dev/tcp/h/1",
        "./sh x",
    ] {
        let found = found(line);
        assert!(found.last().unwrap().opaque.is_some(), "{line}: {found:?}");
    }
    for line in ["find . -name x -delete", "systemctl restart x", "echo sudo", "grep sh x", "./run", "showmount"] {
        assert_eq!(found(line).last().unwrap().opaque, None, "{line}");
    }
}

#[test]
fn what_can_t_be_told_is_not_taken_apart() {
    for (line, unsure) in [
        ("eval id", Unsure::Changes),
        (". ./x", Unsure::Changes),
        ("a; export PATH=/tmp", Unsure::Changes),
        ("trap id EXIT", Unsure::Changes),
        ("a() { id; }; a", Unsure::Changes),
        ("command eval id", Unsure::Changes),
        ("read PATH", Unsure::Changes),
        ("test -v 'x[$(id)]'", Unsure::Changes),
        ("[ $x ]", Unsure::Changes),
        ("printf -v PATH x", Unsure::Changes),
        ("PATH=/tmp id", Unsure::Variable),
        ("x=1", Unsure::Variable),
        ("LC_ALL=$(id) a", Unsure::Variable),
        ("for PATH in /tmp; do id; done", Unsure::Variable),
        ("$x", Unsure::Name),
        ("$(id)", Unsure::Name),
        ("/bin/l*", Unsure::Name),
        ("{id,-u}", Unsure::Name),
        ("''", Unsure::Name),
        ("a ${x:-$(id)}", Unsure::Expansion),
        ("a $((1+1))", Unsure::Expansion),
        ("a $'\\x6cs'", Unsure::Expansion),
        ("a $[1]", Unsure::Expansion),
        ("a 'x", Unsure::Syntax),
        ("a |& b", Unsure::Syntax),
        ("a &>x", Unsure::Syntax),
        ("a <<E\nE", Unsure::Syntax),
        ("a <<<x", Unsure::Syntax),
        ("a <(b)", Unsure::Syntax),
        ("((1))", Unsure::Syntax),
        ("[[ x ]]", Unsure::Name),
        ("time a", Unsure::Syntax),
        ("case x in x) a;; esac", Unsure::Syntax),
        ("a >&x", Unsure::Syntax),
        ("echo $(case x in x) id;; esac)", Unsure::Syntax),
        ("echo `a \\`id\\``", Unsure::Quotes),
    ] {
        assert_eq!(commands(line.as_bytes()), Err(unsure), "{line}");
    }
    assert_eq!(commands(b"echo \xff"), Err(Unsure::Text));
    for long in
        ["a; ".repeat(257), "a ".repeat(9000), "(".repeat(40), "if ".repeat(40), "$(".repeat(40), "! ".repeat(40)]
    {
        assert!(commands(long.as_bytes()).is_err(), "{long}");
    }
}

#[test]
fn the_far_end_of_rsync_and_git_is_told_by_its_exact_form() {
    for (line, expected) in [
        (
            "rsync --server --sender -vlogDtpre.iLsfxCIvu . /srv/ '/a b'",
            Some(("rsync-download", &["/srv/", "/a b"][..])),
        ),
        ("rsync --server -vlogDtpre.iLsfxCIvu --delete --partial . up", Some(("rsync-upload", &["up"]))),
        ("git-upload-pack '/srv/x.git'", Some(("git-fetch", &["/srv/x.git"]))),
        ("git receive-pack x", Some(("git-push", &["x"]))),
        ("git-upload-archive x", Some(("git-archive", &["x"]))),
        ("rsync --server --sender -vlogDtpre.iLsfxCIvu . $x", None),
        ("rsync --server -slogDtpre.iLsfxCIvu . x", None),
        ("rsync --server --log-file=/etc/x -e.iLsfxCIvu . x", None),
        ("rsync --server --daemon .", None),
        ("rsync -a x y", None),
        ("git-upload-pack --strict x", None),
        ("git-upload-pack --exec", None),
        ("/tmp/rsync --server -e.i . x", None),
    ] {
        let found = found(line).pop().unwrap().transfer;
        let found =
            found.as_ref().map(|found| (found.does, found.paths.iter().map(String::as_str).collect::<Vec<_>>()));
        assert_eq!(found, expected.map(|(does, paths)| (does, paths.to_vec())), "{line}");
    }
}

proptest::proptest! {
    #[test]
    fn whatever_is_sent_it_answers(line: Vec<u8>, text in "[a-z $`'\"\\\\(){};|&<>\n!#*=-]{0,64}") {
        let _ = commands(&line);
        let _ = commands(text.as_bytes());
    }
}

/// Pieces that lines are drawn of: programs of the test's, and all that shells read in their own way.
const PIECES: [&str; 88] = [
    "t",
    "f",
    "g",
    "t",
    "f",
    "g",
    " ",
    " ",
    ";",
    "&",
    "|",
    "&&",
    "||",
    "\n",
    "(",
    ")",
    "{ ",
    "; }",
    "$(",
    "`",
    ")",
    "'",
    "\"",
    "\\",
    "'x y'",
    "\"a $x\"",
    "$x",
    "${x}",
    "${x:-g}",
    "*",
    "?",
    "~",
    "#",
    "a=b",
    "LC_ALL=C",
    "x=1",
    ">o",
    "2>&1",
    "<i",
    ">>p",
    ">&2",
    "<<E\nq\nE\n",
    "<<<z",
    "&>r",
    "|&",
    "if ",
    "then ",
    "fi",
    "else ",
    "while ",
    "do ",
    "done",
    "for i in a b;",
    "case x in",
    "esac",
    "x)",
    ";;",
    "!",
    "[[",
    "eval",
    "export",
    "exec",
    "command",
    "echo",
    "$'t'",
    "$((1+1))",
    "{t,f}",
    "t()",
    "time",
    "\\\n",
    "\t",
    "\r",
    "\u{a0}",
    "-v",
    "1",
    "t;f",
    "t|g",
    "[ a ]",
    "test",
    "\"$(t)\"",
    "$(f 1)",
    "`g 2`",
    "''",
    "\"\"",
    "\\'",
    "\\\"",
    "@(t)",
    "é",
];

/// A generator of numbers, for lines that a seed brings back.
struct Drawn(u64);

impl Drawn {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        for _ in 0..=self.below(10) {
            line.push_str(PIECES[self.below(PIECES.len())]);
            if self.below(3) > 0 {
                line.push(' ');
            }
        }
        line
    }
}

/// The shells of this machine that may be anybody's `/bin/sh`: by that name, since bash goes by it.
fn shells(dir: &Path) -> Vec<(PathBuf, &'static [&'static str])> {
    let mut shells: Vec<(PathBuf, &'static [&'static str])> = Vec::new();
    for (name, arguments) in [("dash", &[][..]), ("bash", &[]), ("busybox", &["sh"])] {
        let known = ["/bin", "/usr/bin"].map(|dir| Path::new(dir).join(name));
        let Some(path) = known.into_iter().find(|path| path.exists()) else { continue };
        let shell = dir.join(name).join(if arguments.is_empty() { "sh" } else { name });
        fs::create_dir(dir.join(name)).unwrap();
        symlink(path, &shell).unwrap();
        shells.push((shell, arguments));
    }
    shells
}

/// A directory with programs that write down how they were called, and nothing else.
fn programs(dir: &Path) -> PathBuf {
    let bin = dir.join("bin");
    fs::create_dir(&bin).unwrap();
    for (name, status) in [("t", 0), ("f", 1), ("g", 0), ("x", 0), ("a", 0), ("b", 1), ("-v", 0), ("1", 0), ("é", 0)] {
        let text = format!(
            "#!/bin/sh\nall=$(printf '%s\\037' \"${{0##*/}}\" \"$@\"; echo .)\nprintf '%s\\036' \"${{all%.}}\" >>\"$CALLS\"\nexit {status}\n"
        );
        fs::write(bin.join(name), text).unwrap();
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    bin
}

/// Runs a line; gives how programs were called, and the files that were made.
fn run(shell: &(PathBuf, &[&str]), line: &str, bin: &Path, dir: &Path) -> (BTreeSet<Vec<String>>, BTreeSet<String>) {
    // each its own: what a line leaves in the background may write later
    let dir = tempfile::tempdir_in(dir).unwrap().keep();
    let (work, calls) = (dir.join("work"), dir.join("calls"));
    fs::create_dir(&work).unwrap();
    fs::write(work.join("i"), "in").unwrap();
    // by its own path, since what is run finds the test's programs only
    let path = std::env::var_os("PATH").unwrap();
    let timeout = std::env::split_paths(&path).map(|dir| dir.join("timeout")).find(|path| path.exists()).unwrap();
    let mut program = Program::new(timeout);
    // a loop that goes on is ended
    program.args(["-s", "KILL", "2"]).arg(&shell.0).args(shell.1).args(["-c", line]);
    let variables = [("LC_ALL", "C.UTF-8"), ("LC_X", "-v"), ("HOME", "/h")];
    program.env_clear().env("PATH", bin).env("CALLS", &calls).envs(variables).current_dir(&work);
    let _ = program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    let text = String::from_utf8_lossy(&fs::read(&calls).unwrap_or_default()).into_owned();
    let called = text.split('\u{1e}').filter(|call| !call.is_empty());
    let called = called.map(|call| {
        let mut words: Vec<String> = call.split('\u{1f}').map(str::to_owned).collect();
        words.pop();
        words
    });
    let called = called.collect();
    let made = fs::read_dir(&work).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    (called, made.filter(|name| name != "i").collect())
}

#[test]
fn what_shells_run_was_told_before() {
    let number = |name: &str, usual: u64| std::env::var(name).map_or(usual, |text| text.parse().unwrap());
    let (lines, seed) = (number("PORTCULLIS_LINES", 1500), number("PORTCULLIS_LINES_SEED", 27));
    let dir = tempfile::tempdir().unwrap();
    let (shells, bin) = (shells(dir.path()), programs(dir.path()));
    assert!(!shells.is_empty(), "there is no dash, bash or busybox here");
    let mut drawn = Drawn(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut ran = 0;
    for number in 0..lines {
        let line = drawn.line();
        let Ok(told) = commands(line.as_bytes()) else { continue };
        if told.iter().any(|command| command.opaque.is_some()) {
            continue;
        }
        for shell in &shells {
            let (called, made) = run(shell, &line, &bin, dir.path());
            ran += usize::from(!called.is_empty());
            for call in called {
                let fits = |command: &&Command| {
                    command.name == call[0] && (!command.literal || command.arguments == call[1..])
                };
                let shell = &shell.0;
                assert!(
                    told.iter().any(|command| fits(&command)),
                    "{number}: {shell:?} {line:?} ran {call:?}, of {told:?}"
                );
            }
            for file in made {
                let fits = |command: &&Command| {
                    [">", ">>"].contains(&command.name.as_str())
                        && (!command.literal || command.arguments == [file.clone()])
                };
                assert!(told.iter().any(|command| fits(&command)), "{number}: {line:?} made {file}, of {told:?}");
            }
        }
    }
    assert!(ran as u64 > lines / 30, "no more than {ran} of {lines} lines ran anything");
}
