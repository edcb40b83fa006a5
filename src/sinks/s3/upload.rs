//! One object: in one request up to 8 MiB, in parts above, one part in memory and on its way at a time.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, CompletedMultipartUpload, CompletedPart, ObjectLockLegalHoldStatus,
    ObjectLockMode, ServerSideEncryption,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use time::OffsetDateTime;

use super::source::Source;
use crate::config::{LockMode, ObjectLock, S3Config};
use crate::error::{Failure, of_aws};
use crate::spool::ObjectEntry;

/// What is uploaded in one request, and the least of a part.
pub(crate) const PART: u64 = 8 << 20;

/// The most parts (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>).
const PARTS: u64 = 10_000;

/// The most bytes of a part that are held: an object has at most 10,000 times as many.
const LONGEST_PART: u64 = 64 << 20;

/// The metadata that says what an object's content is.
const HASH: &str = "portcullis-sha256";

/// A bucket, and how objects are put there.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    pub(crate) client: Client,
    pub(crate) name: String,
    pub(crate) kms_key: Option<String>,
    pub(crate) object_lock: Option<ObjectLock>,
}

/// Where an object goes, and what it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Object<'a> {
    pub(crate) key: &'a str,
    pub(crate) content_type: &'a str,
}

/// Object Lock, as headers.
struct Lock {
    mode: Option<ObjectLockMode>,
    until: Option<DateTime>,
    hold: Option<ObjectLockLegalHoldStatus>,
}

impl Bucket {
    pub(crate) fn new(client: Client, config: &S3Config) -> Self {
        let (kms_key, object_lock) = (config.kms_key.clone(), config.object_lock.clone());
        Self { client, name: config.bucket.clone(), kms_key, object_lock }
    }

    fn on(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.name)
    }

    fn lock(&self) -> Lock {
        let lock = self.object_lock.as_ref();
        let mode = lock.and_then(|lock| lock.mode).map(|mode| match mode {
            LockMode::Governance => ObjectLockMode::Governance,
            LockMode::Compliance => ObjectLockMode::Compliance,
        });
        let until = lock.and_then(|lock| lock.days).map(|days| {
            let until = OffsetDateTime::now_utc() + Duration::from_secs(u64::from(days) * 86_400);
            DateTime::from_secs(until.unix_timestamp())
        });
        let hold = lock.is_some_and(|lock| lock.legal_hold).then_some(ObjectLockLegalHoldStatus::On);
        Lock { mode, until, hold }
    }

    fn permissions(&self, upload: &str) -> String {
        let mut all = vec![upload.to_owned()];
        if let Some(lock) = &self.object_lock {
            all.extend(lock.mode.map(|_| "s3:PutObjectRetention".to_owned()));
            all.extend(lock.legal_hold.then(|| "s3:PutObjectLegalHold".to_owned()));
        }
        all.extend(self.kms_key.as_ref().map(|key| format!("kms:GenerateDataKey and kms:Decrypt on {key}")));
        all.join(", ")
    }

    /// Puts a file there, unless the same is there already.
    pub(crate) async fn put_file(&self, object: Object<'_>, source: &mut Source) -> Result<ObjectEntry, Failure> {
        let mut entry = ObjectEntry {
            key: object.key.to_owned(),
            bytes: source.bytes,
            sha256: source.sha256.clone(),
            version: None,
        };
        if let Some(version) = self.has(&entry).await? {
            entry.version = version;
            return Ok(entry);
        }
        if source.bytes <= PART {
            let body = source.part(0, source.bytes).await?;
            entry.version = self.put(object, body).await?;
        } else {
            entry.version = self.put_in_parts(object, source).await?;
        }
        Ok(entry)
    }

    /// Whether the same is there, and in which version. Who may not look (`s3:GetObject`) uploads again.
    async fn has(&self, entry: &ObjectEntry) -> Result<Option<Option<String>>, Failure> {
        let head = self.client.head_object().bucket(&self.name).key(&entry.key).checksum_mode(ChecksumMode::Enabled);
        match head.send().await {
            Ok(head) => {
                let hash = head.metadata().and_then(|metadata| metadata.get(HASH));
                let same = hash == Some(&entry.sha256) && head.content_length() == i64::try_from(entry.bytes).ok();
                Ok(same.then(|| head.version_id().map(str::to_owned)))
            }
            // a HEAD has no body, so there is only the status: 404, or 403 where the bucket may not be listed
            Err(error) => match error.raw_response().map(|response| response.status().as_u16()) {
                Some(403 | 404) => Ok(None),
                _ => Err(of_aws(&error, "s3:GetObject", &self.on(&entry.key))),
            },
        }
    }

    /// One request. Object Lock asks for a checksum; SHA-256 is always given.
    pub(crate) async fn put(&self, object: Object<'_>, body: Vec<u8>) -> Result<Option<String>, Failure> {
        let hash = digest(&SHA256, &body);
        let Lock { mode, until, hold } = self.lock();
        let put = self.client.put_object().bucket(&self.name).key(object.key).content_type(object.content_type);
        let put = put.checksum_algorithm(ChecksumAlgorithm::Sha256);
        let put = put.checksum_sha256(STANDARD.encode(hash.as_ref())).metadata(HASH, hex::encode(hash));
        let put = put.set_object_lock_mode(mode).set_object_lock_retain_until_date(until);
        let put = put.set_object_lock_legal_hold_status(hold).set_server_side_encryption(self.encryption());
        let put = put.set_ssekms_key_id(self.kms_key.clone()).body(ByteStream::from(body));
        let put = put.send().await;
        let put = put.map_err(|error| of_aws(&error, &self.permissions("s3:PutObject"), &self.on(object.key)))?;
        Ok(put.version_id)
    }

    fn encryption(&self) -> Option<ServerSideEncryption> {
        self.kms_key.as_ref().map(|_| ServerSideEncryption::AwsKms)
    }

    async fn put_in_parts(&self, object: Object<'_>, source: &mut Source) -> Result<Option<String>, Failure> {
        let part = source.bytes.div_ceil(PARTS).max(PART);
        if part > LONGEST_PART {
            let most = PARTS * LONGEST_PART;
            return Err(Failure::Poisoned(format!("{} has more bytes than an upload may, {most}", object.key)));
        }
        self.abort_left_over(object.key).await;
        let Lock { mode, until, hold } = self.lock();
        let create = self.client.create_multipart_upload().bucket(&self.name).key(object.key);
        let create = create.content_type(object.content_type).metadata(HASH, &source.sha256);
        let create = create.checksum_algorithm(ChecksumAlgorithm::Sha256);
        let create = create.set_object_lock_mode(mode).set_object_lock_retain_until_date(until);
        let create = create.set_object_lock_legal_hold_status(hold).set_server_side_encryption(self.encryption());
        let created = create.set_ssekms_key_id(self.kms_key.clone()).send().await;
        let denied = self.permissions("s3:PutObject");
        let created = created.map_err(|error| of_aws(&error, &denied, &self.on(object.key)))?;
        let upload = created.upload_id.unwrap_or_default();
        match self.put_parts(object.key, &upload, part, source).await {
            Ok(version) => Ok(version),
            Err(failure) => {
                self.abort(object.key, &upload).await;
                Err(failure)
            }
        }
    }

    async fn put_parts(
        &self,
        key: &str,
        upload: &str,
        len: u64,
        source: &mut Source,
    ) -> Result<Option<String>, Failure> {
        let failed = |permission: &str| (self.permissions(permission), self.on(key));
        let (mut parts, mut from, mut number) = (Vec::new(), 0, 1);
        while from < source.bytes {
            let body = source.part(from, len.min(source.bytes - from)).await?;
            from += body.len() as u64;
            let hash = STANDARD.encode(digest(&SHA256, &body).as_ref());
            let sent = self.client.upload_part().bucket(&self.name).key(key).upload_id(upload).part_number(number);
            let sent = sent.checksum_sha256(&hash).body(ByteStream::from(body)).send().await;
            let sent = sent.map_err(|error| {
                let (permission, on) = failed("s3:PutObject");
                of_aws(&error, &permission, &on)
            })?;
            let part = CompletedPart::builder().part_number(number).checksum_sha256(hash);
            parts.push(part.set_e_tag(sent.e_tag).build());
            number += 1;
        }
        let all = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let done = self.client.complete_multipart_upload().bucket(&self.name).key(key).upload_id(upload);
        let done = done.multipart_upload(all).send().await.map_err(|error| {
            let (permission, on) = failed("s3:PutObject");
            of_aws(&error, &permission, &on)
        })?;
        Ok(done.version_id)
    }

    /// Uploads of this key that a gateway began and was killed in. The key is one session's, so nobody else's is among them.
    async fn abort_left_over(&self, key: &str) {
        let list = self.client.list_multipart_uploads().bucket(&self.name).prefix(key).send().await;
        match list {
            Ok(list) => {
                for left in list.uploads().iter().filter(|left| left.key() == Some(key)) {
                    self.abort(key, left.upload_id().unwrap_or_default()).await;
                }
            }
            Err(error) => {
                let why = of_aws(&error, "s3:ListBucketMultipartUploads", &self.on(""));
                tracing::debug!(%why, "unfinished uploads can't be listed; a lifecycle rule should remove them");
            }
        }
    }

    async fn abort(&self, key: &str, upload: &str) {
        let abort = self.client.abort_multipart_upload().bucket(&self.name).key(key).upload_id(upload);
        if let Err(error) = abort.send().await {
            let why = of_aws(&error, "s3:AbortMultipartUpload", &self.on(key));
            tracing::warn!(%why, "an unfinished upload is left; it is ended by the next try");
        }
    }
}
