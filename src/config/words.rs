//! What the TOML reader says of a value, in an operator's words: it speaks of Rust's types.

/// What a problem is, and what to do about it where that is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// The reader's sentence, in other words.
pub(super) fn said(message: &str) -> Said {
    let message = message.trim();
    if message == "invalid socket address syntax" {
        return Said {
            message: "this is no address to listen on: an IP address and a port".to_owned(),
            help: Some(ADDRESSES.to_owned()),
        };
    }
    for (wrong, begins) in [("is here", "invalid type: "), ("is here", "invalid value: ")] {
        if let Some((found, expected)) = message.strip_prefix(begins).and_then(|rest| rest.rsplit_once(", expected ")) {
            let (wanted, help) = wanted(expected);
            return Said { message: format!("{} {wrong}, where {wanted} belongs", kind(found)), help };
        }
    }
    if let Some(name) = message.strip_prefix("missing field ") {
        let help = match name.trim_matches('`') {
            "bucket" | "group" | "host" => {
                "a sink says where it is: [[evidence.sinks.s3]] a bucket, [[evidence.sinks.cloudwatch]] a group, [[evidence.sinks.syslog]] a host"
            }
            "role" => "every [[realms.roles]] has a role: its ARN",
            "enough" => "every [[proofs]] says what is enough, such as enough = [\"key and totp\", \"certificate\"]",
            _ => "every [[people]], [[certificate_authorities]] and [[realms]] has a name",
        };
        return Said { message: format!("{name} is missing here"), help: Some(help.to_owned()) };
    }
    if let Some((wrong, known)) = unknown(message) {
        let near = known.iter().map(|known| (strsim::levenshtein(wrong, known), *known)).min();
        let near = near.filter(|(distance, best)| *distance <= best.len().div_ceil(3));
        let help = near.map(|(_, best)| format!("did you mean `{best}`?"));
        return Said { message: format!("there is no `{wrong}` here; there is {}", listed(&known)), help };
    }
    Said { message: message.to_owned(), help: None }
}

const ADDRESSES: &str = "write \"0.0.0.0:2222\" for all of this machine's addresses, \"[::1]:2222\" or \"127.0.0.1:2222\" for \
                         this machine alone; a name is not looked up";

/// What was found, without the reader's word for its type.
fn kind(found: &str) -> String {
    let quoted = |word: &str| found.strip_prefix(word).map(|rest| rest.trim().trim_matches('`').to_owned());
    if let Some(text) = quoted("string ") {
        return format!("the text {text}");
    }
    if let Some(number) = quoted("integer ").or_else(|| quoted("floating point ")) {
        return format!("the number {number}");
    }
    if let Some(value) = quoted("boolean ") {
        return value;
    }
    match found {
        "sequence" => "a list".to_owned(),
        "map" => "a table".to_owned(),
        other => other.to_owned(),
    }
}

/// What belongs there, and how it is written.
fn wanted(expected: &str) -> (String, Option<String>) {
    let (what, example) = match expected {
        "u16" | "u32" | "u64" | "usize" => ("a whole number from 0 on", Some("without quotes, such as 20")),
        "a sequence" => ("a list", Some("in brackets, such as [\"LANG\", \"LC_*\"]; [[people]] has two of them")),
        "a string" | "path string" | "string or map" => ("a text", Some("in quotes, such as \"web-1\"")),
        "a boolean" => ("true or false", Some("without quotes")),
        "socket address" => ("an address", Some(ADDRESSES)),
        struct_ if struct_.starts_with("struct ") || struct_ == "a map" => {
            ("a table", Some("a heading in brackets, such as [gateway], and its keys below it"))
        }
        other => (other, None),
    };
    (what.to_owned(), example.map(str::to_owned))
}

/// A name that is none, and those that there are.
fn unknown(message: &str) -> Option<(&str, Vec<&str>)> {
    let rest = message.strip_prefix("unknown field ").or_else(|| message.strip_prefix("unknown variant "))?;
    let mut quoted = rest.split('`').skip(1).step_by(2);
    Some((quoted.next()?, quoted.collect()))
}

fn listed(names: &[&str]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [one] => format!("`{one}`"),
        [others @ .., last] => format!("`{}` and `{last}`", others.join("`, `")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rusts_words_are_nobodys() {
        for (text, message, help) in [
            (
                "invalid type: string \"big\", expected u32",
                "the text \"big\" is here, where a whole number from 0 on belongs",
                true,
            ),
            (
                "invalid value: integer `-5`, expected u32",
                "the number -5 is here, where a whole number from 0 on belongs",
                true,
            ),
            ("invalid type: string \"x\", expected a sequence", "the text \"x\" is here, where a list belongs", true),
            ("invalid type: integer `5`, expected a string", "the number 5 is here, where a text belongs", true),
            ("invalid type: sequence, expected struct Gateway", "a list is here, where a table belongs", true),
            ("invalid socket address syntax", "this is no address to listen on: an IP address and a port", true),
            ("missing field `keys`", "`keys` is missing here", true),
            (
                "unknown field `listn`, expected one of `listen`, `banner`",
                "there is no `listn` here; there is `listen` and `banner`",
                true,
            ),
            ("unknown variant `x`, expected `auto` or `sh`", "there is no `x` here; there is `auto` and `sh`", false),
            ("unclosed table, expected `]`", "unclosed table, expected `]`", false),
        ] {
            let said = said(text);
            assert_eq!((said.message.as_str(), said.help.is_some()), (message, help), "{text}");
        }
        assert_eq!(said("unknown field `listn`, expected `listen`").help.as_deref(), Some("did you mean `listen`?"));
    }
}
