//! Every error of AWS as a sentence with the next step. A token, a key, a canonical request or a debug dump is in none.

use aws_sdk_ssm::error::{ProvideErrorMetadata, SdkError};

use crate::backend::BackendError;
use crate::model::plain_text_up_to;

/// The longest piece of AWS's own text that is passed on.
const MAX_TEXT: usize = 300;

/// What was being done, for the sentence.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallContext<'a> {
    /// The API's name, such as `StartSession`.
    pub(super) call: &'static str,
    /// The node, session or document it was about.
    pub(super) on: &'a str,
    /// The region.
    pub(super) region: &'a str,
}

/// What kind of failure it was, for those who can do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    NotConnected,
    NoSuchDocument,
    DocumentExists,
    SameContent,
    NoSuchThing,
    BadParameters,
    Denied,
    Credentials,
    Throttled,
    /// The service's own fault, or no answer.
    Transient,
    Other,
}

impl Kind {
    fn of_code(code: &str) -> Self {
        match code {
            "TargetNotConnected" => Self::NotConnected,
            "InvalidDocument" | "InvalidDocumentVersion" => Self::NoSuchDocument,
            "DocumentAlreadyExists" => Self::DocumentExists,
            "DuplicateDocumentContent" => Self::SameContent,
            "DoesNotExistException" | "InvalidInstanceId" => Self::NoSuchThing,
            "ValidationException" | "InvalidParameters" | "InvalidFilterValue" | "InvalidDocumentContent" => {
                Self::BadParameters
            }
            "AccessDeniedException" | "AccessDenied" | "UnauthorizedOperation" => Self::Denied,
            "ExpiredToken"
            | "ExpiredTokenException"
            | "InvalidClientTokenId"
            | "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "IncompleteSignature"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "RequestExpired" => Self::Credentials,
            "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "TooManyRequestsException"
            | "RequestLimitExceeded"
            | "TooManyUpdates" => Self::Throttled,
            "InternalServerError" | "InternalFailure" | "ServiceUnavailable" | "ServiceUnavailableException" => {
                Self::Transient
            }
            _ => Self::Other,
        }
    }
}

/// Which kind an error is of.
pub(super) fn kind<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> Kind {
    match error {
        SdkError::ServiceError(error) => Kind::of_code(error.err().code().unwrap_or_default()),
        SdkError::TimeoutError(_) | SdkError::ResponseError(_) => Kind::Transient,
        // Nothing was sent: no credentials, or no connection.
        SdkError::DispatchFailure(_) if is_about_credentials(error) => Kind::Credentials,
        SdkError::DispatchFailure(_) => Kind::Transient,
        _ => Kind::Other,
    }
}

/// The sentence.
pub(super) fn explain<E, R>(context: CallContext<'_>, error: &SdkError<E, R>) -> BackendError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug + 'static,
{
    let CallContext { call, on, region } = context;
    let kind = kind(error);
    let SdkError::ServiceError(service) = error else {
        let why = clean(&root_cause(error));
        return BackendError::Unreachable(match kind {
            Kind::Credentials => {
                format!("the gateway has no usable AWS credentials: {why}; check its profile, role or environment")
            }
            _ => format!("could not reach Systems Manager in {region} for {call}: {why}"),
        });
    };
    let code = clean(service.err().code().unwrap_or("an error without a code"));
    let text = clean(service.err().message().unwrap_or("no text was given"));
    match kind {
        Kind::NotConnected => BackendError::Target(format!("{on} is not connected to Systems Manager in {region}")),
        Kind::NoSuchDocument => BackendError::Document(format!(
            "the session document {on} does not exist in {region}, or its content is not valid there"
        )),
        Kind::DocumentExists => BackendError::Document(format!("the session document {on} exists already in {region}")),
        Kind::SameContent => BackendError::Document(format!("the session document {on} has that content already")),
        Kind::NoSuchThing => BackendError::Target(format!("{on} does not exist in {region} ({code})")),
        Kind::BadParameters => BackendError::Document(format!("Systems Manager refuses {call} on {on}: {text}")),
        Kind::Denied => BackendError::Refused(format!("IAM refuses ssm:{call} on {on}: {text}")),
        // AWS's text may quote the whole canonical request here, so it stays out.
        Kind::Credentials => BackendError::Refused(format!(
            "AWS does not accept the gateway's credentials in {region} ({code}): renew them, and check the clock"
        )),
        Kind::Throttled => BackendError::Unreachable(format!(
            "Systems Manager in {region} is throttling {call}: try again in a moment"
        )),
        Kind::Transient => {
            BackendError::Unreachable(format!("Systems Manager in {region} failed at {call} ({code}): try again"))
        }
        Kind::Other => BackendError::Refused(format!("Systems Manager refuses {call} on {on} ({code}): {text}")),
    }
}

/// One line without control characters, of bounded length.
pub(super) fn clean(text: &str) -> String {
    let mut clean = plain_text_up_to(MAX_TEXT, text);
    clean.truncate(clean.trim_end_matches([' ', '.']).len());
    clean
}

/// The innermost error says it in words: `Connection refused (os error 111)`.
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn is_about_credentials<E, R>(error: &SdkError<E, R>) -> bool {
    let SdkError::DispatchFailure(failure) = error else { return false };
    let mut cause: Option<&(dyn std::error::Error + 'static)> =
        failure.as_connector_error().map(|error| error as &(dyn std::error::Error + 'static));
    while let Some(error) = cause {
        if error.is::<aws_credential_types::provider::error::CredentialsError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use aws_sdk_ssm::error::ErrorMetadata;
    use aws_sdk_ssm::operation::start_session::StartSessionError;

    use super::*;

    fn sentence(code: &str, message: &str) -> BackendError {
        let error = StartSessionError::generic(ErrorMetadata::builder().code(code).message(message).build());
        let error: SdkError<_, ()> = SdkError::service_error(error, ());
        explain(CallContext { call: "StartSession", on: "web-1", region: "eu-west-1" }, &error)
    }

    #[test]
    fn each_error_is_a_sentence_of_its_kind() {
        let cases = [
            ("TargetNotConnected", "web-1 is not connected"),
            ("InvalidDocument", "document web-1 does not exist in eu-west-1"),
            ("AccessDeniedException", "IAM refuses ssm:StartSession on web-1: because"),
            ("ExpiredTokenException", "does not accept the gateway's credentials"),
            ("ThrottlingException", "throttling StartSession"),
            ("InternalServerError", "failed at StartSession"),
            ("SomethingNew", "refuses StartSession on web-1 (SomethingNew): because"),
        ];
        for (code, expected) in cases {
            let text = sentence(code, "because").to_string();
            assert!(text.contains(expected), "{code}: {text}");
        }
        assert!(matches!(sentence("TargetNotConnected", ""), BackendError::Target(_)));
        assert!(matches!(sentence("InvalidDocument", ""), BackendError::Document(_)));
        assert!(matches!(sentence("AccessDeniedException", ""), BackendError::Refused(_)));
        assert!(matches!(sentence("InternalServerError", ""), BackendError::Unreachable(_)));
    }

    #[test]
    fn no_canonical_request_and_no_escape_sequence_gets_through() {
        let canonical =
            "The Canonical String for this request should have been\n'POST\n/\n\nx-amz-security-token:hunter2'";
        let text = sentence("InvalidSignatureException", canonical).to_string();
        assert!(!text.contains("hunter2") && !text.contains("POST"), "{text}");
        let text = sentence("AccessDeniedException", "no\u{1b}]0;owned\u{7}\r\nreally").to_string();
        assert!(text.ends_with("no ]0;owned really"), "{text:?}");
        assert!(sentence("AccessDeniedException", &"x".repeat(10_000)).to_string().len() < 500);
    }
}
