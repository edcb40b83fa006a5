//! Commands that carry a session on elsewhere: what goes on there passes no gateway.

use super::line::commands;

/// Programs that do nothing else, and a word for what they do.
const WAYS_OUT: [(&str, &str); 4] =
    [("mosh-server", "mosh"), ("etterminal", "eternal-terminal"), ("etserver", "eternal-terminal"), ("tmate", "tmate")];

/// What of a command line takes a session out of its channel, as far as its words say: a script or another name hides it.
#[must_use]
pub fn way_out(line: &[u8]) -> Option<&'static str> {
    let named = |word: &str| {
        let name = word.rsplit('/').next().unwrap_or_default();
        WAYS_OUT.iter().find(|(program, _)| *program == name).map(|(_, way)| *way)
    };
    match commands(line) {
        Ok(found) => found.iter().find_map(|command| {
            // what runs others in its turn has their names among its words
            let words = command.arguments.iter().filter(|_| command.opaque.is_some());
            named(&command.name).or_else(|| words.map(String::as_str).flat_map(str::split_whitespace).find_map(named))
        }),
        // what can't be taken apart is looked through
        Err(_) => {
            let text = String::from_utf8_lossy(line);
            let apart = |letter: char| letter.is_whitespace() || ";|&()<>'\"`{}$=".contains(letter);
            text.split(apart).find_map(named)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::way_out;

    #[test]
    fn what_carries_a_session_past_the_gateway_is_told_by_its_name() {
        for line in [
            "mosh-server new -c 256 -s -l LANG=en_US.UTF-8",
            "MOSH_SERVER_NETWORK_TMOUT=1 /usr/bin/mosh-server new",
            "cd /tmp && exec mosh-server",
            "sudo -u ada mosh-server new",
            "sh -c 'mosh-server new'",
            "eval \"mosh-server new\"",
        ] {
            assert_eq!(way_out(line.as_bytes()), Some("mosh"), "{line}");
        }
        assert_eq!(way_out(b"tmate -F"), Some("tmate"));
        for line in ["echo mosh-server", "apt install mosh-server", "ls /usr/bin/mosh-server", "man mosh"] {
            assert_eq!(way_out(line.as_bytes()), None, "{line}");
        }
    }
}
