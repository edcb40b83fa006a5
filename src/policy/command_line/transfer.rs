//! The far end of rsync and of git, as their clients start it.

/// What such an end does, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// One of the words of the schema.
    pub does: &'static str,
    /// The paths, as they were written.
    pub paths: Vec<String>,
}

/// What a command transfers, if it is nothing but such an end.
pub(super) fn transfer(name: &str, arguments: &[String]) -> Option<Transfer> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (does, paths) = match (name, words.as_slice()) {
        ("rsync", ["--server", "--sender", rest @ ..]) => ("rsync-download", rsync(rest)?),
        ("rsync", ["--server", rest @ ..]) => ("rsync-upload", rsync(rest)?),
        ("git-upload-pack", [path]) | ("git", ["upload-pack", path]) => ("git-fetch", vec![*path]),
        ("git-receive-pack", [path]) | ("git", ["receive-pack", path]) => ("git-push", vec![*path]),
        ("git-upload-archive", [path]) | ("git", ["upload-archive", path]) => ("git-archive", vec![*path]),
        _ => return None,
    };
    // an option where a path is expected
    if paths.is_empty() || paths.iter().any(|path| path.starts_with('-') || path.is_empty()) {
        return None;
    }
    Some(Transfer { does, paths: paths.into_iter().map(str::to_owned).collect() })
}

/// Options that change how files are compared and sent, and name no file and no program.
const HARMLESS: [&str; 24] = [
    "--append",
    "--append-verify",
    "--delete",
    "--delete-after",
    "--delete-before",
    "--delete-delay",
    "--delete-during",
    "--delete-excluded",
    "--existing",
    "--fake-super",
    "--force",
    "--fuzzy",
    "--ignore-errors",
    "--ignore-existing",
    "--ignore-times",
    "--inplace",
    "--no-implied-dirs",
    "--numeric-ids",
    "--partial",
    "--preallocate",
    "--size-only",
    "--sparse",
    "--stats",
    "--whole-file",
];

/// The paths behind `rsync --server`: options, a dot, and then nothing but paths.
fn rsync<'a>(rest: &[&'a str]) -> Option<Vec<&'a str>> {
    let dot = rest.iter().position(|word| *word == ".")?;
    let (options, paths) = (rest.get(..dot)?, rest.get(dot + 1..)?);
    let known = |option: &&str| match option.strip_prefix('-') {
        Some(letters) if !letters.starts_with('-') => {
            // behind `e.` stands what the client can do; `s` before it says that the paths come another way
            let letters = letters.split_once("e.").map_or(letters, |(before, _)| before);
            letters.chars().all(|letter| letter.is_ascii_alphabetic() && !"seTMf".contains(letter))
        }
        Some(_) => HARMLESS.contains(option) || option.starts_with("--log-format=%"),
        None => false,
    };
    (options.iter().all(known)).then(|| paths.to_vec())
}
