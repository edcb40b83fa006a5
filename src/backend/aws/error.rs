//! Every error of AWS as a sentence with the next step. A token, a key, a canonical request or a debug dump is in none.

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ssm::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::refusals::Refusals;
use crate::backend::BackendError;
use crate::model::{plain_text, plain_text_up_to};

/// The longest piece of AWS's own text that is passed on, in characters: IAM's sentences are up to some 600.
const MAX_TEXT: usize = 1000;

/// What was being done, for the sentence.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallContext<'a> {
    /// Who was asked.
    pub(super) service: Service,
    /// The API's name, such as `StartSession`.
    pub(super) call: &'static str,
    /// The node, session or document it was about.
    pub(super) on: &'a str,
    /// The person's role, where it was not the gateway that asked.
    pub(super) role: Option<&'a str>,
    /// The region.
    pub(super) region: &'a str,
    /// Where whoever runs the gateway is told.
    pub(super) refusals: &'a Refusals,
}

impl CallContext<'_> {
    /// Who reads keys of users tells it itself, once, with what comes of it.
    fn is_told_elsewhere(&self) -> bool {
        self.service == Service::Iam
    }

    fn note(&self, about: &str, sentence: &str) {
        if !self.is_told_elsewhere() {
            self.refusals.note(about, sentence);
        }
    }

    fn note_unreachable(&self, sentence: &str) {
        if !self.is_told_elsewhere() {
            self.refusals.note_unreachable(sentence);
        }
    }
}

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    SystemsManager,
    Sts,
    Tagging,
    Iam,
}

impl Service {
    fn name(self) -> &'static str {
        match self {
            Self::SystemsManager => "Systems Manager",
            Self::Sts => "STS",
            Self::Tagging => "the Resource Groups Tagging API",
            Self::Iam => "IAM",
        }
    }

    /// As policies name its calls.
    fn prefix(self) -> &'static str {
        match self {
            Self::SystemsManager => "ssm",
            Self::Sts => "sts",
            Self::Tagging => "tag",
            Self::Iam => "iam",
        }
    }
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
            "DoesNotExistException" | "InvalidInstanceId" | "NoSuchEntity" | "NoSuchEntityException" => {
                Self::NoSuchThing
            }
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
            | "SlowDown"
            | "BandwidthLimitExceeded"
            | "PriorRequestNotComplete"
            | "EC2ThrottledException"
            | "TooManyUpdates" => Self::Throttled,
            "InternalServerError"
            | "InternalServerException"
            | "InternalFailure"
            | "InternalError"
            | "ServiceFailure"
            | "RequestTimeout"
            | "RequestTimeoutException"
            | "ServiceUnavailable"
            | "ServiceUnavailableException" => Self::Transient,
            _ => Self::Other,
        }
    }

    /// By the status alone, where no code says more: what stands between here and the service answers with pages of its own.
    fn of_status(status: u16) -> Self {
        match status {
            429 => Self::Throttled,
            500 | 502 | 503 | 504 => Self::Transient,
            _ => Self::Other,
        }
    }
}

/// Which kind an error is of.
pub(super) fn kind<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Kind {
    match error {
        SdkError::ServiceError(error) => match Kind::of_code(error.err().code().unwrap_or_default()) {
            Kind::Other => Kind::of_status(error.raw().status().as_u16()),
            kind => kind,
        },
        SdkError::TimeoutError(_) | SdkError::ResponseError(_) => Kind::Transient,
        // Nothing was sent: no credentials, or no connection.
        SdkError::DispatchFailure(_) if credentials_error(error).is_some() => Kind::Credentials,
        SdkError::DispatchFailure(_) => Kind::Transient,
        _ => Kind::Other,
    }
}

/// The sentence.
pub(super) fn explain<E>(context: CallContext<'_>, error: &SdkError<E, HttpResponse>) -> BackendError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let (CallContext { service: asked, call, on, role, region, refusals }, kind) = (context, kind(error));
    let name = asked.name();
    let SdkError::ServiceError(service) = error else {
        if let Some(missing) = credentials_error(error) {
            return no_credentials(refusals, missing);
        }
        let why = clean(&root_cause(error));
        let hint = if why.starts_with("invalid peer certificate") { TRUST } else { "" };
        let sentence = format!("could not reach {name} in {region} for {call}: {why}{hint}");
        context.note_unreachable(&sentence);
        return BackendError::Unreachable(sentence);
    };
    let code = code(service.err().code(), service.raw().status().as_u16());
    let text = clean(service.err().message().unwrap_or("no text was given"));
    let by_token = call == WEB_IDENTITY;
    let text = if by_token { without_tokens(&text) } else { text };
    if by_token && let Some(error) = of_a_token(context, &code, &text) {
        return error;
    }
    match kind {
        Kind::NotConnected => BackendError::Target(format!("{on} is not connected to Systems Manager in {region}")),
        Kind::NoSuchDocument => BackendError::Document(format!(
            "the session document {on} does not exist in {region}, or its content is not valid there"
        )),
        Kind::DocumentExists => BackendError::Document(format!("the session document {on} exists already in {region}")),
        Kind::SameContent => BackendError::Document(format!("the session document {on} has that content already")),
        Kind::NoSuchThing => BackendError::Target(format!("{on} does not exist in {region} ({code})")),
        // what it does not take of a role is the configuration's, and no person can do anything about it
        Kind::BadParameters | Kind::Other if asked == Service::Sts => {
            let call = format!("sts:{call}");
            let operator =
                format!("STS refuses {call} on {on} ({code}): {text}; see [[realms.roles]], and the role in IAM");
            context.note(&call, &operator);
            BackendError::Denied { call, operator }
        }
        Kind::BadParameters => {
            let operator = format!("Systems Manager refuses {call} on {on} ({code}): {text}");
            context.note(&format!("ssm:{call}"), &operator);
            BackendError::Parameters { call, code, operator }
        }
        Kind::Denied => {
            let call = format!("{}:{call}", asked.prefix());
            let help = match (asked, role) {
                (Service::Sts, _) if by_token => "its trust policy must have the OpenID provider as Federated, for that audience and subject, and let it say tags and a source identity where the token does (deploy/iam/web-identity-trust.json has it)".to_owned(),
                (Service::Sts, Some(first)) => format!("its trust policy must let the role {first} do that, with a name, a source identity and tags, and so must that role's own policy (deploy/iam has both: chained-trust.json and web-identity-policy.json)"),
                (Service::Sts, None) => "its trust policy must let the gateway do that, with a name, a source identity and tags (deploy/iam has it)".to_owned(),
                (Service::Iam, _) => {
                    format!("grant {call} on its users to the gateway's role (deploy/iam/user-keys-policy.json)")
                }
                (_, None) => format!("grant {call} to the gateway's role (deploy/iam has the whole policy)"),
                (_, Some(role)) => format!("grant {call} to the role {role} (deploy/iam has the whole policy)"),
            };
            let operator = format!("IAM refuses {call} on {on}: {text}; {help}");
            context.note(&call, &operator);
            BackendError::Denied { call, operator }
        }
        // AWS's text may quote the whole canonical request here, so it stays out.
        Kind::Credentials if let Some(role) = role => {
            let operator = format!(
                "AWS does not accept the credentials of a person in the role {role} in {region} ({code}): others are got"
            );
            context.note("credentials of a person", &operator);
            BackendError::Credentials { operator }
        }
        Kind::Credentials => {
            let operator = format!(
                "AWS does not accept the gateway's credentials in {region} ({code}): renew them, check the clock, and restart it where they are in a file, which is read at the start"
            );
            context.note("credentials", &operator);
            BackendError::Credentials { operator }
        }
        Kind::Throttled => {
            BackendError::Unreachable(format!("{name} in {region} is throttling {call}: try again in a moment"))
        }
        Kind::Transient => {
            BackendError::Unreachable(format!("{name} in {region} failed at {call} ({code}): try again"))
        }
        Kind::Other => {
            let operator = format!("{name} refuses {call} on {on} ({code}): {text}");
            context.note(&format!("{}:{call}", asked.prefix()), &operator);
            BackendError::Unexpected { call, code, operator }
        }
    }
}

/// The call that an ID token goes with.
pub(super) const WEB_IDENTITY: &str = "AssumeRoleWithWebIdentity";

/// What STS has against a token, rather than against the role
/// (<https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html#API_AssumeRoleWithWebIdentity_Errors>).
fn of_a_token(context: CallContext<'_>, code: &str, text: &str) -> Option<BackendError> {
    let CallContext { call, on, region, .. } = context;
    let operator = |help: &str| {
        let operator = format!("STS does not take a person's ID token for {on} ({code}): {text}; {help}");
        context.note(&format!("sts:{call}"), &operator);
        operator
    };
    match code.strip_suffix("Exception").unwrap_or(code) {
        "ExpiredToken" => Some(BackendError::Refused(TOKEN_IS_OVER.to_owned())),
        "IDPRejectedClaim" => {
            operator("its provider does not stand to it, or it has been taken back there");
            Some(BackendError::Refused(
                "AWS finds that the provider does not stand to your sign-in any more: connect again, and sign in"
                    .to_owned(),
            ))
        }
        "InvalidIdentityToken" => {
            let operator = operator(
                "IAM in that account needs an identity provider with oidc.issuer as its URL and oidc.client_id among its audiences, whose keys AWS can fetch (deploy/README.md has the command)",
            );
            Some(BackendError::Denied { call: format!("sts:{call}"), operator })
        }
        "IDPCommunicationError" => {
            let sentence = format!(
                "STS in {region} could not ask the OpenID provider for its keys: try again in a moment; AWS reaches it from the internet alone"
            );
            context.note_unreachable(&sentence);
            Some(BackendError::Unreachable(sentence))
        }
        _ => None,
    }
}

/// What a person is told whose token AWS takes no more.
pub(super) const TOKEN_IS_OVER: &str =
    "the ID token of your sign-in is over, and nobody can be you in AWS without one: connect again, and sign in";

/// The text without what may be a token, or a part of one: STS quotes values that it does not take.
fn without_tokens(text: &str) -> String {
    let hidden = |word: &str| word.contains("eyJ") || word.chars().count() > LONGEST_WORD;
    let words = text.split(' ').map(|word| if hidden(word) { "…" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

/// ARNs of roles and addresses of providers are shorter.
const LONGEST_WORD: usize = 300;

/// The service's word for an error, or the status where it has none. Whatever is no word is a text, and no person's.
fn code(said: Option<&str>, status: u16) -> String {
    let is_word = |said: &&str| !said.is_empty() && said.len() <= 64 && said.chars().all(|c| c.is_ascii_alphanumeric());
    said.filter(is_word).map_or_else(|| format!("status {status}"), str::to_owned)
}

/// There are no credentials: told to whoever runs the gateway, and to the person without how it is set up.
pub(super) fn no_credentials(refusals: &Refusals, error: &CredentialsError) -> BackendError {
    let why = match error {
        CredentialsError::CredentialsNotLoaded(_) => {
            "there are none in the environment, a profile, a web identity, a container or on the instance".to_owned()
        }
        CredentialsError::ProviderTimedOut(_) => "asking for them took too long".to_owned(),
        _ => clean(&root_cause(error)),
    };
    let operator = format!(
        "the gateway has no AWS credentials: {why}; give it a role, a profile or AWS's variables, and restart it where they are in a file, which is read at the start"
    );
    refusals.note("credentials", &operator);
    BackendError::Credentials { operator }
}

/// What helps where the service's certificate is not believed.
const TRUST: &str = "; a private CA goes into ca_bundle under its [[realms]], or into AWS_CA_BUNDLE";

/// One line without control characters, of bounded length: what is cut ends in a whole word, and shows that it was cut.
pub(super) fn clean(text: &str) -> String {
    let mut clean = plain_text_up_to(MAX_TEXT, text);
    if clean.len() < plain_text(text).len() {
        clean.truncate(clean.rfind(' ').unwrap_or(clean.len()));
        clean.push_str(" …");
        return clean;
    }
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

/// That nothing was sent, because there are no credentials.
fn credentials_error<E, R>(error: &SdkError<E, R>) -> Option<&CredentialsError> {
    let SdkError::DispatchFailure(failure) = error else { return None };
    let mut cause: Option<&(dyn std::error::Error + 'static)> =
        failure.as_connector_error().map(|error| error as &(dyn std::error::Error + 'static));
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use aws_sdk_ssm::error::ErrorMetadata;
    use aws_sdk_ssm::operation::start_session::StartSessionError;
    use aws_smithy_runtime_api::http::StatusCode;
    use aws_smithy_types::body::SdkBody;

    use super::*;
    use crate::model::RealmName;

    fn sentence(code: &str, message: &str) -> BackendError {
        answer(400, Some(code), message)
    }

    fn answer(status: u16, code: Option<&str>, message: &str) -> BackendError {
        noted(&Refusals::of(RealmName::for_test()), status, code, message)
    }

    fn noted(refusals: &Refusals, status: u16, code: Option<&str>, message: &str) -> BackendError {
        let (service, call, region) = (Service::SystemsManager, "StartSession", "eu-west-1");
        failed(CallContext { service, call, on: "web-1", role: None, region, refusals }, status, code, message)
    }

    fn to(
        service: Service,
        call: &'static str,
        on: &str,
        status: u16,
        code: Option<&str>,
        message: &str,
    ) -> BackendError {
        let refusals = Refusals::of(RealmName::for_test());
        let region = "eu-west-1";
        failed(CallContext { service, call, on, role: None, region, refusals: &refusals }, status, code, message)
    }

    fn failed(context: CallContext<'_>, status: u16, code: Option<&str>, message: &str) -> BackendError {
        let mut said = ErrorMetadata::builder().message(message);
        if let Some(code) = code {
            said = said.code(code);
        }
        let raw = HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::empty());
        let error = SdkError::service_error(StartSessionError::generic(said.build()), raw);
        explain(context, &error)
    }

    /// A log in memory.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_iam_refuses_is_in_the_gateways_log_once() {
        let (lines, refusals) = (Lines::default(), Refusals::of(RealmName::for_test()));
        let into = lines.clone();
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || into.clone()).finish();
        tracing::subscriber::with_default(log, || {
            for _ in 0..20 {
                noted(&refusals, 400, Some("AccessDeniedException"), "because");
            }
        });
        let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(
            log.matches("AWS refuses the gateway: IAM refuses ssm:StartSession on web-1: because").count(),
            1,
            "{log}"
        );
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
            let text = sentence(code, "because").for_operator();
            assert!(text.contains(expected), "{code}: {text}");
        }
        assert!(matches!(sentence("TargetNotConnected", ""), BackendError::Target(_)));
        assert!(matches!(sentence("InvalidDocument", ""), BackendError::Document(_)));
        assert!(matches!(sentence("AccessDeniedException", ""), BackendError::Denied { .. }));
        assert!(matches!(sentence("InternalServerError", ""), BackendError::Unreachable(_)));
    }

    #[test]
    fn the_person_learns_no_name_of_a_role_or_a_node_that_aws_knows() {
        let text =
            "User: arn:aws:sts::123456789012:assumed-role/gateway/i-0 is not authorized to perform: ssm:StartSession";
        for (code, says) in
            [("AccessDeniedException", "ssm:StartSession"), ("ExpiredTokenException", "no AWS credentials")]
        {
            let error = sentence(code, text);
            let told = error.to_string();
            assert!(told.contains(says) && !told.contains("123456789012") && told.contains("in its log"), "{told}");
            assert!(told.len() < 160, "{told}");
        }
        let operator = sentence("AccessDeniedException", text).for_operator();
        assert!(operator.contains("assumed-role") && operator.contains("grant ssm:StartSession"), "{operator}");
    }

    #[test]
    fn what_aws_has_against_a_token_is_a_sentence_for_whoever_can_do_something_about_it() {
        let role = "arn:aws:iam::123456789012:role/portcullis-web";
        let token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2ln";
        let because = format!("because, Value '{token}' at 'webIdentityToken' {}", "x".repeat(400));
        let said = |code| to(Service::Sts, WEB_IDENTITY, role, 400, Some(code), &because);
        for (code, told, for_operator) in [
            ("ExpiredTokenException", "connect again, and sign in", "the ID token of your sign-in is over"),
            ("IDPRejectedClaim", "connect again, and sign in", "does not stand to your sign-in"),
            ("InvalidIdentityToken", "(sts:AssumeRoleWithWebIdentity)", "oidc.client_id among its audiences"),
            ("InvalidIdentityTokenException", "(sts:AssumeRoleWithWebIdentity)", "because, Value … at"),
            ("IDPCommunicationError", "try again in a moment", "from the internet alone"),
            ("AccessDenied", "(sts:AssumeRoleWithWebIdentity)", "the OpenID provider as Federated"),
            ("ValidationError", "(sts:AssumeRoleWithWebIdentity)", "see [[realms.roles]]"),
            ("PackedPolicyTooLarge", "(sts:AssumeRoleWithWebIdentity)", "see [[realms.roles]]"),
        ] {
            let error = said(code);
            assert!(error.to_string().contains(told), "{code}: {error}");
            assert!(error.for_operator().contains(for_operator), "{code}: {}", error.for_operator());
            assert!(!error.to_string().contains("123456789012"), "{error}");
            for text in [error.to_string(), error.for_operator(), format!("{error:?}")] {
                assert!(!text.contains("eyJ") && !text.contains("xxxx"), "{code}: {text}");
            }
        }
        assert!(matches!(said("IDPCommunicationErrorException"), BackendError::Unreachable(_)));
        assert!(matches!(said("Throttling"), BackendError::Unreachable(_)));
    }

    #[test]
    fn no_text_of_the_service_reaches_a_person() {
        let text = "1 validation error detected: Value at 'parameters' failed to satisfy constraint of node i-0";
        for code in [
            "ValidationException",
            "InvalidParameters",
            "SomethingNew",
            "TargetNotConnected",
            "InvalidDocument",
            "AccessDeniedException",
            "ExpiredTokenException",
            "ThrottlingException",
            "InternalServerError",
        ] {
            for error in [sentence(code, text), answer(418, Some(text), text), answer(400, None, text)] {
                assert!(!error.to_string().contains("validation error"), "{error}");
            }
        }
        let error = sentence("ValidationException", text);
        assert!(matches!(error, BackendError::Parameters { .. }), "{error:?}");
        assert!(
            error.for_operator().contains("failed to satisfy") && error.to_string().contains("(ValidationException)")
        );
        let error = answer(418, None, text);
        assert!(error.to_string().contains("(status 418)") && error.for_operator().contains("failed to satisfy"));
    }

    #[test]
    fn an_answer_without_a_word_is_of_the_kind_that_its_status_says() {
        for (status, later) in
            [(500, true), (502, true), (503, true), (504, true), (429, true), (404, false), (400, false)]
        {
            let error = answer(status, None, "<html>");
            assert_eq!(matches!(error, BackendError::Unreachable(_)), later, "{status}: {error}");
        }
        // a word says more
        assert!(matches!(answer(500, Some("AccessDeniedException"), ""), BackendError::Denied { .. }));
        assert!(matches!(answer(400, Some("SlowDown"), ""), BackendError::Unreachable(_)));
    }

    #[test]
    fn what_is_cut_ends_in_a_word_and_says_so() {
        let long = "word ".repeat(MAX_TEXT);
        let cut = clean(&long);
        assert!(cut.ends_with("word …") && cut.chars().count() <= MAX_TEXT + 2, "{cut}");
        assert_eq!(clean("whole. "), "whole");
        let error =
            CredentialsError::not_loaded("no credentials found in chain. Attempted: Environment: the credential");
        let told = no_credentials(&Refusals::of(RealmName::for_test()), &error).for_operator();
        assert!(told.contains("none in the environment") && !told.contains("Attempted"), "{told}");
    }

    #[test]
    fn no_canonical_request_and_no_escape_sequence_gets_through() {
        let canonical =
            "The Canonical String for this request should have been\n'POST\n/\n\nx-amz-security-token:hunter2'";
        let text = sentence("InvalidSignatureException", canonical).for_operator();
        assert!(!text.contains("hunter2") && !text.contains("POST"), "{text}");
        let text = sentence("AccessDeniedException", "no\u{1b}]0;owned\u{7}\r\nreally").for_operator();
        assert!(text.contains("no ]0;owned really;"), "{text:?}");
        assert!(sentence("AccessDeniedException", &"x".repeat(10_000)).for_operator().len() < 1500);
    }
}
