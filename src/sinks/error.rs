//! Why something could not be delivered, and what follows from it.

use aws_smithy_types::error::metadata::ProvideErrorMetadata;

/// A delivery that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The sink does not answer, or takes nothing now: all that is for it waits.
    #[error("{0}")]
    Sink(String),
    /// The sink refuses just this. Whether it would take anything else is not known from it alone.
    #[error("{0}")]
    Refused(String),
    /// What was to be delivered is not as it should be; no other try will change that.
    #[error("{0}")]
    Poisoned(String),
}

/// The spool, or the start of the sinks, failed.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The configuration can't be used.
    #[error("{0}")]
    Configuration(String),
    /// The spool's disk.
    #[error("the spool {path} can't be {done}: {error}")]
    Disk {
        /// Where.
        path: std::path::PathBuf,
        /// What was tried.
        done: &'static str,
        /// Why not.
        error: std::io::Error,
    },
    /// The spool is at its bound, and what waits is for a sink that is required.
    #[error("the spool is full: {bytes} bytes wait for the sink {sink}, and evidence.sinks.spool.max_bytes is {max}")]
    Full {
        /// How many wait.
        bytes: u64,
        /// How many may.
        max: u64,
        /// For whom.
        sink: String,
    },
    /// As many folders wait for a sink as may.
    #[error(
        "the spool is full: {folders} folders wait for the sink {sink}, and evidence.sinks.spool.max_folders is {max}"
    )]
    FullOfFolders {
        /// How many wait.
        folders: u64,
        /// How many may.
        max: u64,
        /// For whom.
        sink: String,
    },
    /// A line that no spool takes.
    #[error("an event of {0} bytes is longer than the spool takes")]
    TooLong(usize),
}

/// What an AWS service answered, as a failure. `permission` is what the call needs, and `on` what it was made on.
pub(crate) fn of_aws<E, R>(error: &aws_sdk_s3::error::SdkError<E, R>, permission: &str, on: &str) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    use aws_sdk_s3::error::SdkError;
    let SdkError::ServiceError(service) = error else {
        let what = match error {
            SdkError::TimeoutError(_) => "did not answer in time".to_owned(),
            SdkError::DispatchFailure(failure) => match failure.as_connector_error() {
                Some(error) => format!("can't be reached: {}", innermost(error)),
                None => "can't be reached".to_owned(),
            },
            SdkError::ConstructionFailure(_) => "can't be asked: there are no credentials that work".to_owned(),
            _ => "gave an answer that can't be read".to_owned(),
        };
        return Failure::Sink(format!("{on} {what}"));
    };
    let code = service.err().code().unwrap_or("no code");
    let said = crate::names::one_line(service.err().message().unwrap_or_default(), 300);
    match code {
        "AccessDenied" | "AccessDeniedException" | "Forbidden" | "AllAccessDisabled" | "KMS.AccessDeniedException" => {
            Failure::Refused(format!("{on} refuses the gateway's role: it needs {permission} there ({code}: {said})"))
        }
        "NoSuchBucket" => Failure::Sink(format!("{on} is not there: make the bucket, or correct its name")),
        "ResourceNotFoundException" => {
            Failure::Sink(format!("{on} is not there: make the group, or set create_group ({said})"))
        }
        "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "InvalidToken"
        | "RequestTimeTooSkewed" => Failure::Sink(format!("{on} does not accept the gateway's credentials ({code})")),
        "InvalidRequest"
        | "InvalidArgument"
        | "InvalidParameterException"
        | "EntityTooLarge"
        | "BadDigest"
        | "KeyTooLongError"
        | "XAmzContentChecksumMismatch" => Failure::Refused(format!("{on} refuses the request ({code}: {said})")),
        _ => Failure::Sink(format!("{on} answered {code}: {said}")),
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    // an error whose sources go round would be a bug of a library; it must not hang this
    for _ in 0..16 {
        match last.source() {
            Some(source) => last = source,
            None => break,
        }
    }
    crate::names::one_line(&last.to_string(), 200)
}
