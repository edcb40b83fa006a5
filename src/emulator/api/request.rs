//! What every call needs: a body read, its members bounded, lists in pages, times as the API writes them.

use serde::de::DeserializeOwned;
use serde_json::Value;
use time::OffsetDateTime;

use crate::emulator::http::reply::ApiError;

pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let body = if body.iter().all(u8::is_ascii_whitespace) { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| {
        // Only the place of the error: its text may repeat the body.
        let text = format!("The request's JSON cannot be read (line {}, column {}).", error.line(), error.column());
        match error.classify() {
            serde_json::error::Category::Data => {
                ApiError::validation(format!("{text} A member is missing or of the wrong type."))
            }
            _ => ApiError::new("SerializationException", text),
        }
    })
}

/// A time as the JSON API writes it: seconds since the epoch, with a fraction.
pub(super) fn seconds(time: OffsetDateTime) -> Value {
    #[allow(clippy::cast_precision_loss, reason = "milliseconds of our time are far below 2^53")]
    let millis = (time.unix_timestamp_nanos() / 1_000_000) as f64;
    Value::from(millis / 1000.0)
}

/// A page of a list: what to show, and the token for the rest.
pub(super) fn page<T>(
    all: Vec<T>,
    token: Option<&str>,
    most: Option<usize>,
    limit: usize,
) -> Result<(Vec<T>, Option<String>), ApiError> {
    let start = match token {
        None | Some("") => 0,
        Some(token) => {
            token.parse().map_err(|_| ApiError::new("InvalidNextToken", "The specified token is not valid."))?
        }
    };
    let most = most.unwrap_or(limit).clamp(1, limit);
    let next = start + most;
    let more = (next < all.len()).then(|| next.to_string());
    Ok((all.into_iter().skip(start).take(most).collect(), more))
}

/// The length rule that AWS's own validation states.
pub(super) fn bounded(member: &str, value: &str, least: usize, most: usize) -> Result<(), ApiError> {
    let chars = value.chars().count();
    if (least..=most).contains(&chars) {
        return Ok(());
    }
    let (what, bound) = if chars < least { ("greater", least) } else { ("less", most) };
    Err(ApiError::validation(format!(
        "1 validation error detected: Value at '{member}' failed to satisfy constraint: Member must have length {what} than \
         or equal to {bound}"
    )))
}

/// The form of a document's name.
pub(super) fn document_name(member: &str, name: &str) -> Result<(), ApiError> {
    let good = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.:/".contains(&b));
    if good && (3..=128).contains(&name.len()) {
        return Ok(());
    }
    Err(ApiError::validation(format!(
        "1 validation error detected: Value at '{member}' failed to satisfy constraint: Member must satisfy regular \
         expression pattern: ^[a-zA-Z0-9_\\-.:/]{{3,128}}$"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_cover_everything_once() {
        let all: Vec<u32> = (0..7).collect();
        let (mut got, mut token) = (Vec::new(), None);
        loop {
            let (some, next) = page(all.clone(), token.as_deref(), Some(3), 50).unwrap();
            got.extend(some);
            token = next;
            if token.is_none() {
                break;
            }
        }
        assert_eq!(got, all);
        assert!(page(all, Some("x"), None, 50).is_err());
    }

    #[test]
    fn unreadable_bodies_are_told_apart_and_not_repeated() {
        #[derive(serde::Deserialize)]
        struct Body {
            #[serde(rename = "A")]
            _a: String,
        }
        let error = |text: &str| parse::<Body>(text.as_bytes()).err().unwrap();
        assert_eq!(error("{").code, "SerializationException");
        assert_eq!(error("{}").code, "ValidationException");
        assert!(!error(r#"{"A":"secret"x"#).message.contains("secret"));
        assert!(!error(r#"{"A":12345}"#).message.contains("12345"));
    }
}
