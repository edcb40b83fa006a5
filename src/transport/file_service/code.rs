//! The operations as they are on the wire: a number, the name that both helpers call it by, and the kinds of its arguments.

use super::wire::Expect;

/// The table. Kinds: `h` a handle and `u` a number, 32 bits; `q` 64 bits; `p` a path and `t` a text, length and bytes;
/// `d` the data that is left.
macro_rules! operations {
    ($($number:literal $code:ident $name:literal $kinds:literal $answer:ident)*) => {
        /// Which operation a request is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(in crate::transport) enum Code {
            $($code = $number,)*
        }

        impl Code {
            /// What an answer holds that is no error.
            pub(super) fn expects(self) -> Expect {
                match self {
                    $(Self::$code => Expect::$answer,)*
                }
            }
        }

        /// Number, name and kinds of all.
        #[cfg(test)]
        const TABLE: &[(u8, &str, &str)] = &[$(($number, $name, $kinds)),*];
    };
}

operations! {
    1  Open         "open"           "puu"      Opened
    2  Read         "read"           "hqu"      Bytes
    3  Write        "write"          "hqd"      Nothing
    4  Close        "close"          "h"        Nothing
    5  Stat         "stat"           "p"        Attributes
    6  Lstat        "lstat"          "p"        Attributes
    7  Fstat        "fstat"          "h"        Attributes
    8  SetStat      "set_stat"       "puquuuqq" Nothing
    9  FsetStat     "fset_stat"      "huquuuqq" Nothing
    10 OpenDir      "open_dir"       "p"        Opened
    11 ReadDir      "read_dir"       "hu"       Entries
    12 Remove       "remove"         "p"        Nothing
    13 MakeDir      "make_dir"       "pu"       Nothing
    14 RemoveDir    "remove_dir"     "p"        Nothing
    15 RealPath     "real_path"      "p"        Path
    16 Rename       "rename"         "ppu"      Nothing
    17 ReadLink     "read_link"      "p"        Path
    18 Symlink      "symlink"        "tp"       Nothing
    19 Link         "link"           "pp"       Nothing
    20 Fsync        "fsync"          "h"        Nothing
    21 FileSystem   "file_system"    "p"        FileSystem
    22 LsetStat     "lset_stat"      "puquuuqq" Nothing
    23 ExpandPath   "expand_path"    "t"        Path
    24 FileSystemOf "file_system_of" "h"        FileSystem
    25 Copy         "copy"           "hqqhq"    Copied
    26 HomeDirectory "home_directory" "t"       Path
    27 NamesOf      "names_of"       "ud"       Names
    28 MostOpen     "most_open"      "u"        MostOpen
}

#[cfg(test)]
mod tests {
    use super::*;

    use bytes::Buf as _;

    use crate::transport::file_service::wire::encode;
    use crate::transport::file_service::{Attributes, Handle, OpenFlags, Operation};

    const PYTHON: &str = include_str!("../helper/node/python/operations.py");
    const SH: &str = concat!(include_str!("../helper/node/sh/files.sh"), include_str!("../helper/node/sh/handles.sh"));

    /// The lines of a helper's table.
    fn table<'a>(text: &'a str, middle: [&str; 3]) -> Vec<(u8, &'a str, &'a str)> {
        let [before_name, before_kinds, end] = middle;
        let row = |line: &'a str| {
            let (number, rest) = line.trim_start().split_once(before_name)?;
            let (name, rest) = rest.split_once(before_kinds)?;
            Some((number.parse().ok()?, name, rest.strip_suffix(end)?))
        };
        text.lines().filter_map(row).collect()
    }

    #[test]
    fn gateway_python_and_sh_have_one_table() {
        assert_eq!(table(PYTHON, [": (\"", "\", \"", "\"),"]), TABLE);
        assert_eq!(table(SH, [") operation=", " kinds=", ";;"]), TABLE);
    }

    #[test]
    fn both_helpers_have_every_operation() {
        // a pattern of a case, alone or among others
        let words: Vec<&str> = SH
            .lines()
            .filter_map(|line| Some(line.trim_start().split_once(')')?.0))
            .flat_map(|it| it.split('|'))
            .collect();
        for (_, name, _) in TABLE {
            assert!(PYTHON.contains(&format!("\n    def {name}(self, ")), "Python: {name}");
            assert!(words.contains(name), "sh: {name}");
        }
    }

    /// One of each, in the table's order.
    fn samples() -> Vec<Operation> {
        let (path, handle) = (b"/a".to_vec(), Handle(1));
        let (attributes, flags) = (Attributes { size: Some(7), ..Attributes::default() }, OpenFlags::default());
        vec![
            Operation::Open { path: path.clone(), flags, mode: None },
            Operation::Read { handle, offset: 1, length: 2 },
            Operation::Write { handle, offset: 1, bytes: "data".into() },
            Operation::Close { handle },
            Operation::Stat { path: path.clone() },
            Operation::Lstat { path: path.clone() },
            Operation::Fstat { handle },
            Operation::SetStat { path: path.clone(), attributes },
            Operation::FsetStat { handle, attributes },
            Operation::OpenDir { path: path.clone() },
            Operation::ReadDir { handle, again: false },
            Operation::Remove { path: path.clone() },
            Operation::MakeDir { path: path.clone(), mode: 0o755 },
            Operation::RemoveDir { path: path.clone() },
            Operation::RealPath { path: path.clone() },
            Operation::Rename { from: path.clone(), to: path.clone(), replace: true },
            Operation::ReadLink { path: path.clone() },
            Operation::Symlink { target: b"b".to_vec(), path: path.clone() },
            Operation::Link { from: path.clone(), to: path.clone() },
            Operation::Fsync { handle },
            Operation::FileSystem { path: path.clone() },
            Operation::LsetStat { path: path.clone(), attributes },
            Operation::ExpandPath { path },
            Operation::FileSystemOf { handle },
            Operation::Copy { handle, offset: 1, length: 2, to: handle, to_offset: 3 },
            Operation::HomeDirectory { user: b"ada".to_vec() },
            Operation::NamesOf { users: vec![0], groups: vec![1, 2] },
            Operation::MostOpen { wanted: 4096 },
        ]
    }

    #[test]
    fn requests_have_the_arguments_of_the_table() {
        assert_eq!(samples().len(), TABLE.len());
        for (operation, (number, name, kinds)) in samples().iter().zip(TABLE) {
            let (mut request, _) = encode(5, operation);
            assert_eq!(request.get_u32() as usize, request.len(), "{name}");
            assert_eq!((request.get_u32(), request.get_u8()), (5, *number), "{name}");
            for kind in kinds.chars() {
                let length = match kind {
                    'h' | 'u' => 4,
                    'q' => 8,
                    'p' | 't' => request.get_u32() as usize,
                    _ => request.len(),
                };
                request.advance(length);
            }
            assert!(request.is_empty(), "{name} has more arguments than {kinds}");
        }
    }
}
