//! Rendered into the spool, and from there to where the preferences say.

use std::io::{BufReader, BufWriter, Write as _};
use std::path::Path;

use crate::aws::{self, AwsFor, AwsSource};
use crate::error::Failure;
use crate::logs::Group;
use crate::names::{part, under};
use crate::s3::{Bucket, Object, Source, check_folder};
use crate::spool::{AgentLog, AgentTarget, Item, Spool};

/// Renders the folders of one session of Session Manager, and delivers that. `endpoint` is another one than AWS's.
pub(crate) async fn deliver(
    spool: &Spool,
    item: &Item,
    log: &AgentLog,
    source: &AwsSource,
    endpoint: Option<&str>,
) -> Result<(), Failure> {
    let path = spool.work().join(format!("{}.log", item.session.hyphenated()));
    let delivered = async {
        render_all(spool, item, &path).await?;
        let config = source(AwsFor::Realm(&log.realm)).map_err(Failure::Sink)?;
        let mut log = log.clone();
        if log.region.is_empty() {
            log.region = config.region().map(ToString::to_string).unwrap_or_default();
        }
        let region = Some(log.region.as_str()).filter(|region| !region.is_empty());
        match &log.to {
            AgentTarget::S3 { bucket, prefix } => {
                let client = aws::s3(&config, region, endpoint, endpoint.is_some());
                let bucket = Bucket { client, name: bucket.clone(), kms_key: None, object_lock: None };
                // Session Manager's ids are letters, digits and -: as they are, and whatever else they are, one part
                let key = under(prefix, &format!("{}.log", part(&log.aws_session, 200)));
                let object = Object { key: &key, content_type: "text/plain; charset=utf-8" };
                bucket.put_file(object, &mut Source::open(&path).await?).await.map(drop)
            }
            AgentTarget::Logs { group, streaming } => {
                let client = aws::logs(&config, region, endpoint);
                let group = Group { client, name: group.clone(), create: false };
                send(&group, &log, *streaming, &path).await
            }
        }
    };
    let delivered = delivered.await;
    let _ = tokio::fs::remove_file(&path).await;
    delivered
}

async fn render_all(spool: &Spool, item: &Item, path: &Path) -> Result<(), Failure> {
    let disk = |error: std::io::Error| Failure::Sink(format!("the spool can't be written: {error}"));
    let file = std::fs::File::create(path).map_err(disk)?;
    let mut out = BufWriter::new(file);
    for folder in &item.folders {
        let name = crate::names::one_line(folder, 100);
        let poisoned = || Failure::Poisoned(format!("{name:?} names no folder of a session"));
        let folder = spool.folder(folder).ok_or_else(poisoned)?;
        let manifest = check_folder(&folder).await?.manifest;
        let rendered = tokio::task::spawn_blocking(move || super::render(&folder, &manifest, &mut out).map(|()| out));
        out = rendered.await.map_err(|error| Failure::Sink(error.to_string()))??;
    }
    out.flush().map_err(disk)
}

async fn send(group: &Group, log: &AgentLog, streaming: bool, path: &Path) -> Result<(), Failure> {
    let disk = |error: std::io::Error| Failure::Sink(format!("the spool can't be read: {error}"));
    let mut reader = BufReader::new(std::fs::File::open(path).map_err(disk)?);
    let stream = part(&log.aws_session, 400);
    loop {
        let now = time::OffsetDateTime::now_utc();
        let events = super::events::next_events(&mut reader, log, streaming, now).map_err(disk)?;
        if events.is_empty() {
            return Ok(());
        }
        group.put(&stream, events).await?;
    }
}
