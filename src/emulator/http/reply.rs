//! Answers in AWS's shapes: JSON 1.1 for Systems Manager, XML for STS, IAM and for the message service.

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::emulator::fault::Failure;

/// What every call answers with.
pub(crate) type Reply = Response<Full<Bytes>>;

/// The name, in here, of the refusal of a token that is over.
pub(crate) const EXPIRED_ID_TOKEN: &str = "ExpiredIdToken";

/// A refusal, by its name in AWS's API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl ApiError {
    /// The caller's fault: status 400.
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code, message: message.into() }
    }

    pub(crate) fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationException", message)
    }

    /// The service's own fault.
    pub(crate) fn failed(failure: Failure) -> Self {
        let (status, code) = match failure {
            Failure::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError"),
            Failure::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableException"),
            Failure::Throttling => return Self::new("ThrottlingException", "Rate exceeded"),
        };
        Self { status, code, message: "A failure, as asked for.".to_owned() }
    }

    pub(crate) fn json(&self, request_id: &str) -> Reply {
        json_reply(self.status, &json!({ "__type": self.code, "message": self.message }), request_id)
    }

    /// The form of STS and IAM, whose codes have no `Exception` at the end.
    pub(crate) fn query(&self, namespace: &str, request_id: &str) -> Reply {
        let code = match self.code {
            "UnrecognizedClientException" => "InvalidClientTokenId",
            "InvalidSignatureException" => "SignatureDoesNotMatch",
            "ValidationException" => "ValidationError",
            // of a token of a provider it is that, of keys `ExpiredToken`
            EXPIRED_ID_TOKEN => "ExpiredTokenException",
            other => other.strip_suffix("Exception").unwrap_or(other),
        };
        let of_the_form = matches!(
            code,
            "ValidationError"
                | "MalformedPolicyDocument"
                | "PackedPolicyTooLarge"
                | "InvalidParameterValue"
                | "InvalidIdentityToken"
                | "ExpiredTokenException"
                | "InvalidPublicKey"
                | "DuplicateSSHPublicKey"
                | "UnrecognizedPublicKeyEncoding"
        );
        let refused = self.status == StatusCode::BAD_REQUEST && !of_the_form;
        let status = if refused { StatusCode::FORBIDDEN } else { self.status };
        let body = format!(
            "<ErrorResponse xmlns=\"{namespace}\"><Error><Type>Sender</Type><Code>{code}</Code>\
             <Message>{}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>",
            xml(&self.message)
        );
        xml_reply(status, body, request_id)
    }

    /// The message service's form.
    pub(crate) fn message_service(&self, request_id: &str) -> Reply {
        let status = match self.code {
            _ if self.status.is_server_error() => self.status,
            "BadRequestException" => StatusCode::BAD_REQUEST,
            "NotFoundException" => StatusCode::NOT_FOUND,
            _ => StatusCode::FORBIDDEN,
        };
        xml_reply(status, format!("<{0}><Message>{1}</Message></{0}>", self.code, xml(&self.message)), request_id)
    }
}

pub(crate) fn json_ok(value: &Value, request_id: &str) -> Reply {
    json_reply(StatusCode::OK, value, request_id)
}

fn json_reply(status: StatusCode, value: &Value, request_id: &str) -> Reply {
    build(status, "application/x-amz-json-1.1", value.to_string().into(), request_id)
}

pub(crate) fn xml_reply(status: StatusCode, body: String, request_id: &str) -> Reply {
    build(status, "text/xml", body.into(), request_id)
}

fn build(status: StatusCode, content_type: &'static str, body: Bytes, request_id: &str) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    if let Ok(id) = request_id.parse() {
        reply.headers_mut().insert("x-amzn-requestid", id);
    }
    reply
}

/// Text made safe for XML; what XML cannot carry at all becomes U+FFFD.
pub(crate) fn xml(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
        out
    })
}
