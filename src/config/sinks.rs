//! What can be said of sinks from their text alone.

use portcullis_sinks::{SinkConfig, SinksConfig};

use super::Config;
use super::check::{Findings, Key};

pub(super) fn check(config: &Config, findings: &mut Findings) {
    let sinks = &config.evidence.sinks;
    let mut names: Vec<&str> = Vec::new();
    for (kind, index, sink) in placed(sinks) {
        let at = |key| [EVIDENCE, SINKS, Key::Name(kind), Key::Index(index), Key::Name(key)];
        if let Err(why) = sink.check() {
            findings.add(&at("name")[..4], why, None);
        }
        if names.contains(&sink.name()) {
            let help = "a sink's name is what it is called in messages and in the spool; give each one of its own";
            findings.add(&at("name"), format!("`{}` is here twice", sink.name()), Some(help));
        }
        names.push(match kind {
            "s3" => sinks.s3.get(index).map_or("", |sink| &sink.name),
            "cloudwatch" => sinks.cloudwatch.get(index).map_or("", |sink| &sink.name),
            _ => sinks.syslog.get(index).map_or("", |sink| &sink.name),
        });
        if sink.required() && sink.max_outage_seconds() == 0 {
            let help = "its first failure would end every session; 600 are ten minutes";
            findings.add(&at("max_outage_seconds"), "a sink that is required may be down for no second", Some(help));
        }
    }
    if sinks.spool.max_bytes < LEAST_SPOOL {
        let message = format!("max_bytes = {} is less than {LEAST_SPOOL}", sinks.spool.max_bytes);
        findings.add(&[EVIDENCE, SINKS, Key::Name("spool"), Key::Name("max_bytes")], message, None);
    }
    if config.evidence.retention.days == Some(0) {
        let help = "leave it out to keep folders for ever";
        let path = [EVIDENCE, Key::Name("retention"), Key::Name("days")];
        findings.add(&path, "folders would go as soon as they are sealed", Some(help));
    }
    for realm in config.evidence.retention.realms.keys() {
        if !config.realms.iter().any(|known| known.name == *realm) {
            let path = [EVIDENCE, Key::Name("retention"), Key::Name("realms")];
            findings.add(&path, format!("there is no realm `{realm}`"), None);
        }
    }
}

const EVIDENCE: Key = Key::Name("evidence");
const SINKS: Key = Key::Name("sinks");

/// The spool is 16 segments, and a segment is to hold some events.
const LEAST_SPOOL: u64 = 1 << 20;

/// Each sink with its place in the file.
fn placed(sinks: &SinksConfig) -> Vec<(&'static str, usize, SinkConfig)> {
    let s3 = sinks.s3.iter().cloned().enumerate().map(|(index, sink)| ("s3", index, SinkConfig::S3(sink)));
    let logs = sinks.cloudwatch.iter().cloned().enumerate();
    let logs = logs.map(|(index, sink)| ("cloudwatch", index, SinkConfig::CloudWatch(sink)));
    let syslog = sinks.syslog.iter().cloned().enumerate();
    let syslog = syslog.map(|(index, sink)| ("syslog", index, SinkConfig::Syslog(sink)));
    s3.chain(logs).chain(syslog).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Evidence, Realm};
    use super::*;

    fn found(sinks: &str) -> Vec<String> {
        let evidence: Evidence = toml::from_str(sinks).unwrap();
        let realms = vec![Realm { name: "main".to_owned(), ..Realm::default() }];
        let mut findings = Findings::default();
        check(&Config { evidence, realms, ..Config::default() }, &mut findings);
        findings.0.into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn what_is_wrong_with_a_sink_is_told_and_a_name_is_one_sink_s() {
        let fine = "[[sinks.s3]]\nname = \"a\"\nbucket = \"evidence\"\n[[sinks.cloudwatch]]\nname = \"b\"\ngroup = \"g\"\n[[sinks.syslog]]\nname = \"c\"\nhost = \"logs\"\n[retention]\ndays = 400\nrealms = { main = 30 }\n";
        assert_eq!(found(fine), Vec::<String>::new());
        for (toml, says) in [
            ("[[sinks.s3]]\nname = \"a\"\nbucket = \"\"\n", "names no bucket"),
            ("[[sinks.s3]]\nname = \"A\"\nbucket = \"evidence\"\n", "is not 1 to 40"),
            (
                "[[sinks.s3]]\nname = \"a\"\nbucket = \"e-1\"\nendpoint = \"http://s3.example\"\n",
                "begins with https://",
            ),
            (
                "[[sinks.s3]]\nname = \"a\"\nbucket = \"e-1\"\nrequired = true\nmax_outage_seconds = 0\n",
                "for no second",
            ),
            (&fine.replace("\"b\"", "\"a\""), "`a` is here twice"),
            ("[sinks.spool]\nmax_bytes = 5\n", "less than 1048576"),
            ("[retention]\ndays = 0\n", "as soon as they are sealed"),
            ("[retention]\nrealms = { qa = 3 }\n", "there is no realm `qa`"),
        ] {
            let said = found(toml);
            assert!(said.len() == 1 && said[0].contains(says), "{toml}: {said:?}");
        }
    }
}
