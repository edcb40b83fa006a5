//! Where live records go: what each kind of sink does with a batch of them.

use std::collections::{BTreeMap, BTreeSet};

use time::OffsetDateTime;

use crate::error::Failure;
use crate::logs::{Group, split};
use crate::names;
use crate::s3::Bucket;
use crate::spool::{Cursor, Record};
use crate::syslog::{Connection, Connector, Header, anchor_text, frame, messages};

/// What became of a batch.
#[derive(Debug, Default)]
pub(crate) struct Delivered {
    /// Which records the sink refuses, by their place in the batch, and why.
    pub(crate) refused: Vec<(usize, String)>,
    /// Whether it took any.
    pub(crate) took_some: bool,
    /// How many it answered to take no more.
    pub(crate) rejected: u64,
    /// The sessions that those are of.
    pub(crate) incomplete: BTreeSet<uuid::Uuid>,
}

/// A sink, as what takes live records.
pub(crate) enum Outlet {
    /// Anchors alone.
    S3 { bucket: Bucket, prefix: String, gateway: String },
    /// Events, and anchors where it is one.
    Logs { group: Group, anchor_stream: Option<String> },
    /// Events, and anchors where it is one.
    Syslog(SyslogOutlet),
}

pub(crate) struct SyslogOutlet {
    pub(crate) connector: Connector,
    pub(crate) connection: Option<Connection>,
    pub(crate) header: Header,
    pub(crate) anchors: bool,
    pub(crate) longest: usize,
}

impl Outlet {
    pub(crate) async fn deliver(&mut self, records: &[(Record, Cursor)]) -> Result<Delivered, Failure> {
        match self {
            Self::S3 { bucket, prefix, gateway } => to_s3(bucket, prefix, gateway, records).await,
            Self::Logs { group, anchor_stream } => to_logs(group, anchor_stream.as_deref(), records).await,
            Self::Syslog(syslog) => syslog.deliver(records).await,
        }
    }
}

fn at(time: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(time) * 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

async fn to_s3(
    bucket: &Bucket,
    prefix: &str,
    gateway: &str,
    records: &[(Record, Cursor)],
) -> Result<Delivered, Failure> {
    let mut delivered = Delivered::default();
    for (place, (record, _)) in records.iter().enumerate() {
        let Record::Anchor { time, note } = record else { continue };
        match crate::s3::put_anchor(bucket, prefix, gateway, at(*time), note).await {
            Ok(()) => delivered.took_some = true,
            Err(Failure::Refused(why) | Failure::Poisoned(why)) => delivered.refused.push((place, why)),
            Err(failure) => return Err(failure),
        }
    }
    Ok(delivered)
}

async fn to_logs(
    group: &Group,
    anchor_stream: Option<&str>,
    records: &[(Record, Cursor)],
) -> Result<Delivered, Failure> {
    let mut streams: BTreeMap<String, (Vec<usize>, Vec<crate::logs::Event>)> = BTreeMap::new();
    for (place, (record, _)) in records.iter().enumerate() {
        let (stream, time, text) = match record {
            Record::Event { time, session, line, .. } => (names::stream(session.session, &session.person), time, line),
            Record::Anchor { time, note } => match anchor_stream {
                Some(stream) => (stream.to_owned(), time, note),
                None => continue,
            },
            Record::Sealed { .. } => continue,
        };
        let (places, events) = streams.entry(stream).or_default();
        places.push(place);
        events.extend(split(*time, text));
    }
    let mut delivered = Delivered::default();
    for (stream, (places, events)) in streams {
        match group.put(&stream, events).await {
            Ok(taken) => {
                delivered.took_some = true;
                delivered.rejected += taken.rejected;
                if taken.rejected > 0 {
                    let of = places.iter().filter_map(|place| records.get(*place)?.0.of_session());
                    delivered.incomplete.extend(of);
                }
            }
            Err(Failure::Refused(why) | Failure::Poisoned(why)) => {
                delivered.refused.extend(places.into_iter().map(|place| (place, why.clone())));
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(delivered)
}

impl SyslogOutlet {
    async fn deliver(&mut self, records: &[(Record, Cursor)]) -> Result<Delivered, Failure> {
        // written at once, a few MiB at most: a batch is bounded
        let mut frames = Vec::new();
        for (record, _) in records {
            let (id, of, text) = match record {
                Record::Event { session, name, line, .. } => (name.as_str(), Some(session), line.clone()),
                Record::Anchor { note, .. } if self.anchors => ("anchor", None, anchor_text(note)),
                _ => continue,
            };
            for message in messages(&self.header, at(record.time()), id, of, &text, self.longest) {
                frames.extend(frame(&message));
            }
        }
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.connector.connect().await?),
        };
        if let Err(failure) = connection.write(&frames).await {
            self.connection = None;
            return Err(failure);
        }
        Ok(Delivered { took_some: true, ..Delivered::default() })
    }
}
