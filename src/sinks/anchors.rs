//! Anchors read back, into one file for `portcullis verify --anchor`. What is collected is not believed: whoever verifies has the key.

use std::io::Write;
use std::path::Path;

use time::OffsetDateTime;

use crate::aws::{self, AwsFor, AwsSource};
use crate::config::SinkConfig;
use crate::error::Failure;

/// The most bytes of a note. A session's has a line for each of at most eight files.
pub const LONGEST_NOTE: usize = 64 << 10;

/// The most notes that are collected into one file: a year of one each minute, and sessions besides.
const MOST: u64 = 5_000_000;

/// From when, and until when (not included).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first moment.
    pub from: OffsetDateTime,
    /// The first moment that is not in it.
    pub until: OffsetDateTime,
}

impl Range {
    pub(crate) fn has(self, time: OffsetDateTime) -> bool {
        self.from <= time && time < self.until
    }
}

/// The file that is written.
pub(crate) struct Collected {
    file: std::io::BufWriter<std::fs::File>,
    notes: u64,
}

impl Collected {
    pub(crate) fn add(&mut self, note: &str) -> Result<(), Failure> {
        if self.notes >= MOST {
            return Err(Failure::Refused(format!("more than {MOST} anchors: ask for a shorter time")));
        }
        // as in a folder's checkpoints: an empty line between one and the next
        let between = if self.notes > 0 { "\n" } else { "" };
        let end = if note.ends_with('\n') { "" } else { "\n" };
        let written = write!(self.file, "{between}{note}{end}");
        written.map_err(|error| Failure::Sink(format!("the file of anchors can't be written: {error}")))?;
        self.notes += 1;
        Ok(())
    }
}

/// Reads the anchors of a gateway back from a bucket or a group of CloudWatch Logs, and says how many there are. Nothing is
/// overwritten: the file must not be there. Syslog can't be asked: there it is `grep ' anchor '` on the server, see
/// `docs/formats.md`.
pub async fn fetch_anchors(
    sink: &SinkConfig,
    gateway: &str,
    aws: &AwsSource,
    range: Range,
    file: &Path,
) -> Result<u64, Failure> {
    let new = std::fs::OpenOptions::new().write(true).create_new(true).open(file);
    let new = new.map_err(|error| Failure::Sink(format!("{} can't be made: {error}", file.display())))?;
    let mut into = Collected { file: std::io::BufWriter::new(new), notes: 0 };
    let config = aws(AwsFor::Sink(sink.name())).map_err(Failure::Sink)?;
    match sink {
        SinkConfig::S3(s3) => {
            let client = aws::s3(&config, s3.region.as_deref(), s3.endpoint.as_deref(), s3.path_style);
            let bucket = crate::s3::Bucket::new(client, s3);
            crate::s3::fetch_anchors(&bucket, &s3.prefix, gateway, range, &mut into).await?;
        }
        SinkConfig::CloudWatch(logs) => {
            let client = aws::logs(&config, logs.region.as_deref(), logs.endpoint.as_deref());
            crate::logs::fetch_anchors(&client, &logs.group, gateway, range, &mut into).await?;
        }
        SinkConfig::Syslog(syslog) => {
            return Err(Failure::Refused(format!(
                "a syslog server can't be asked for what it has: on {} take the messages whose MSGID is anchor",
                syslog.host
            )));
        }
    }
    let written = into.file.flush().and_then(|()| into.file.get_ref().sync_all());
    written.map_err(|error| Failure::Sink(format!("{} can't be written: {error}", file.display())))?;
    Ok(into.notes)
}
