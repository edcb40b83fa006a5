//! Anchors as objects, and back.

use aws_lc_rs::digest::{SHA256, digest};
use time::{Duration, OffsetDateTime};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::keys;
use super::upload::{Bucket, Object};
use crate::anchors::{Collected, LONGEST_NOTE, Range};
use crate::error::{Failure, of_aws};

/// Puts a note there. The same note at the same time is the same object.
pub(crate) async fn put_anchor(
    bucket: &Bucket,
    prefix: &str,
    gateway: &str,
    time: OffsetDateTime,
    note: &str,
) -> Result<(), Failure> {
    let hash = hex::encode(digest(&SHA256, note.as_bytes()));
    let key = keys::of_anchor(prefix, gateway, time, &hash);
    let object = Object { key: &key, content_type: "text/plain; charset=utf-8" };
    bucket.put(object, note.as_bytes().to_vec()).await.map(drop)
}

/// Every note of a gateway in a range of time, in the order of their times.
pub(crate) async fn fetch_anchors(
    bucket: &Bucket,
    prefix: &str,
    gateway: &str,
    range: Range,
    into: &mut Collected,
) -> Result<(), Failure> {
    let mut day = range.from.to_offset(time::UtcOffset::UTC).replace_time(time::Time::MIDNIGHT);
    while day < range.until {
        let under = keys::anchors_of_day(prefix, gateway, day);
        let mut pages = bucket.client.list_objects_v2().bucket(&bucket.name).prefix(&under).into_paginator().send();
        while let Some(page) = pages.next().await {
            let on = format!("s3://{}/{under}", bucket.name);
            let page = page.map_err(|error| of_aws(&error, "s3:ListBucket", &on))?;
            for key in page.contents().iter().filter_map(|object| object.key()) {
                if time_of(key, day).is_some_and(|time| range.has(time)) {
                    into.add(&note(bucket, key).await?)?;
                }
            }
        }
        day += Duration::DAY;
    }
    Ok(())
}

/// `…/093011.250-<hash>.note`.
fn time_of(key: &str, day: OffsetDateTime) -> Option<OffsetDateTime> {
    let name = key.rsplit('/').next()?;
    let (clock, _) = name.split_once('-')?;
    let (clock, milli) = clock.split_once('.')?;
    if clock.len() != 6 || milli.len() != 3 {
        return None;
    }
    let number = |text: Option<&str>| text?.parse::<u16>().ok();
    let part = |range| number(clock.get(range)).and_then(|number| u8::try_from(number).ok());
    let time = time::Time::from_hms_milli(part(0..2)?, part(2..4)?, part(4..6)?, number(Some(milli))?).ok()?;
    Some(day.replace_time(time))
}

async fn note(bucket: &Bucket, key: &str) -> Result<String, Failure> {
    let on = format!("s3://{}/{key}", bucket.name);
    let object = bucket.client.get_object().bucket(&bucket.name).key(key).send().await;
    let object = object.map_err(|error| of_aws(&error, "s3:GetObject", &on))?;
    read_note(object.body.into_async_read(), &on).await
}

async fn read_note(body: impl AsyncRead + Unpin, on: &str) -> Result<String, Failure> {
    let mut text = Vec::new();
    let read = body.take(LONGEST_NOTE as u64 + 1).read_to_end(&mut text).await;
    read.map_err(|error| Failure::Sink(format!("{on} can't be read: {error}")))?;
    if text.len() > LONGEST_NOTE {
        return Err(Failure::Poisoned(format!("{on} is longer than a note")));
    }
    String::from_utf8(text).map_err(|_| Failure::Poisoned(format!("{on} is no text")))
}
