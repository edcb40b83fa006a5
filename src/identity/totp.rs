//! One-time codes by the clock (RFC 6238), and how their secrets are written.
//!
//! ```text
//!  # one line for each person; what stands behind the name is what authenticators and `oathtool --totp -b` take
//!  ada   JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP
//!  bob   otpauth://totp/gate:bob?secret=…&algorithm=SHA256&digits=8&period=30
//! ```

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::{constant_time, hmac};
use zeroize::Zeroizing;

/// What makes somebody's codes. It is in no text that this program writes.
pub struct TotpSecret {
    key: Zeroizing<Vec<u8>>,
    algorithm: hmac::Algorithm,
    digits: u32,
    period: u64,
}

/// What is wrong with a line of secrets. None of these sentences has any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TotpError {
    /// Not two words.
    #[error("a line is a person's name and their secret")]
    Line,
    /// A name that a login could not carry.
    #[error("a name is 1 to 64 letters, digits, '.', '-', '_' or '@'")]
    Name,
    /// Not letters and digits of base32.
    #[error("the secret is not written in base32 (RFC 4648: A to Z and 2 to 7)")]
    Base32,
    /// Less than the 128 bits of RFC 4226, section 4 (R6), or more than anybody has.
    #[error("a secret has 16 to 128 bytes: 26 characters of base32 at least")]
    Length,
    /// Not an address of this kind.
    #[error("an otpauth address begins with otpauth://totp/ and has a secret")]
    Address,
    /// Not one of the three.
    #[error("the algorithm is SHA1, SHA256 or SHA512")]
    Algorithm,
    /// Too few guess easily, and RFC 4226 has no more.
    #[error("a code has 6 to 8 digits")]
    Digits,
    /// How long a code is good for.
    #[error("the period is 15 to 120 seconds")]
    Period,
    /// Which of them is meant nobody knows.
    #[error("this person has a secret already, on an earlier line")]
    Twice,
}

/// RFC 6238, section 5.2, advises to allow no more than one for the delay on the way. Here one in each direction, since the clock of
/// a telephone may be ahead as well.
const STEPS_AROUND: i64 = 1;

const BYTES: std::ops::RangeInclusive<usize> = 16..=128;

impl TotpSecret {
    /// What stands behind a person's name.
    pub(super) fn parse(text: &str) -> Result<Self, TotpError> {
        let Some(address) = text.strip_prefix("otpauth:") else {
            return Self::new(text, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, 6, 30);
        };
        let (label, parameters) = address.split_once('?').ok_or(TotpError::Address)?;
        if !label.starts_with("//totp/") {
            return Err(TotpError::Address);
        }
        let (mut secret, mut algorithm, mut digits, mut period) = (None, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, 6, 30);
        for (name, value) in parameters.split('&').filter_map(|parameter| parameter.split_once('=')) {
            match name {
                "secret" => secret = Some(Zeroizing::new(value.replace("%3D", "=").replace("%3d", "="))),
                "algorithm" => {
                    algorithm = match value.to_ascii_uppercase().as_str() {
                        "SHA1" => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                        "SHA256" => hmac::HMAC_SHA256,
                        "SHA512" => hmac::HMAC_SHA512,
                        _ => return Err(TotpError::Algorithm),
                    };
                }
                "digits" => digits = value.parse().map_err(|_| TotpError::Digits)?,
                "period" => period = value.parse().map_err(|_| TotpError::Period)?,
                // the issuer, a picture: for whoever shows it
                _ => {}
            }
        }
        Self::new(&secret.ok_or(TotpError::Address)?, algorithm, digits, period)
    }

    fn new(secret: &str, algorithm: hmac::Algorithm, digits: u32, period: u64) -> Result<Self, TotpError> {
        let key = base32(secret).ok_or(TotpError::Base32)?;
        if !BYTES.contains(&key.len()) {
            return Err(TotpError::Length);
        }
        if !(6..=8).contains(&digits) {
            return Err(TotpError::Digits);
        }
        if !(15..=120).contains(&period) {
            return Err(TotpError::Period);
        }
        Ok(Self { key, algorithm, digits, period })
    }

    /// The step of time of which this is the code, where it is one of now. Whether it was used before is not known here.
    pub(super) fn step_of(&self, code: &str, now: SystemTime) -> Option<u64> {
        // some show it in two groups
        let code: String = code.chars().filter(|c| *c != ' ').collect();
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        let current = i64::try_from(seconds / self.period).ok()?;
        let mut found = None;
        // all of them are looked at, whichever it is
        for step in current.saturating_sub(STEPS_AROUND)..=current.saturating_add(STEPS_AROUND) {
            let Ok(step) = u64::try_from(step) else { continue };
            if constant_time::verify_slices_are_equal(self.code(step).as_bytes(), code.as_bytes()).is_ok() {
                found = Some(step);
            }
        }
        found
    }

    /// RFC 4226, section 5.3.
    pub(super) fn code(&self, step: u64) -> String {
        let tag = hmac::sign(&hmac::Key::new(self.algorithm, &self.key), &step.to_be_bytes());
        let tag = tag.as_ref();
        let offset = usize::from(tag.last().copied().unwrap_or_default() & 0x0f);
        let word = tag.get(offset..offset + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes);
        let digits = usize::try_from(self.digits).unwrap_or_default();
        format!("{:0digits$}", (word & 0x7fff_ffff) % 10_u32.pow(self.digits))
    }
}

/// Nothing of it.
impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpSecret")
    }
}

impl PartialEq for TotpSecret {
    fn eq(&self, other: &Self) -> bool {
        let same = constant_time::verify_slices_are_equal(&self.key, &other.key).is_ok();
        same && (self.algorithm, self.digits, self.period) == (other.algorithm, other.digits, other.period)
    }
}

impl Eq for TotpSecret {}

/// A person and their secret, from a line that is not empty and no comment.
pub(super) fn line(text: &str) -> Result<(&str, TotpSecret), TotpError> {
    let (name, secret) = text.split_once([' ', '\t']).ok_or(TotpError::Line)?;
    if !super::login::is_person(name) {
        return Err(TotpError::Name);
    }
    Ok((name, TotpSecret::parse(secret.trim())?))
}

/// RFC 4648, section 6; in small letters as well, and in groups, as people are shown it.
fn base32(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let (mut bits, mut held) = (0_u32, 0_u32);
    for c in text.trim_end_matches('=').bytes().filter(|byte| !b" -".contains(byte)) {
        let value = match c.to_ascii_uppercase() {
            letter @ b'A'..=b'Z' => letter - b'A',
            digit @ b'2'..=b'7' => digit - b'2' + 26,
            _ => return None,
        };
        held = (held << 5 | u32::from(value)) & 0xfff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// In base32: the seeds of RFC 6238, appendix B, are digits.
    fn seed(bytes: usize) -> String {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let digits: Vec<u8> = b"1234567890".iter().copied().cycle().take(bytes).collect();
        let bits: String = digits.iter().map(|byte| format!("{byte:08b}")).collect();
        let groups = bits.as_bytes().chunks(5).map(|group| format!("{:0<5}", std::str::from_utf8(group).unwrap()));
        groups.map(|group| char::from(LETTERS[usize::from_str_radix(&group, 2).unwrap()])).collect()
    }

    #[test]
    fn rfc_6238_appendix_b() {
        for (seconds, sha1, sha256, sha512) in [
            (59, "94287082", "46119246", "90693936"),
            (1_111_111_109, "07081804", "68084774", "25091201"),
            (1_234_567_890, "89005924", "91819424", "93441116"),
            (20_000_000_000, "65353130", "77737706", "47863826"),
        ] {
            for (algorithm, bytes, code) in [("SHA1", 20, sha1), ("SHA256", 32, sha256), ("sha512", 64, sha512)] {
                let address = format!("otpauth://totp/x?secret={}&algorithm={algorithm}&digits=8", seed(bytes));
                let secret = TotpSecret::parse(&address).unwrap();
                assert_eq!(secret.step_of(code, at(seconds)), Some(seconds / 30), "{algorithm} at {seconds}");
                assert_eq!(secret.step_of(&format!("{} {}", &code[..4], &code[4..]), at(seconds)), Some(seconds / 30));
            }
        }
    }

    #[test]
    fn a_code_is_good_for_a_step_before_and_after_its_own() {
        let secret = TotpSecret::parse(&seed(20)).unwrap();
        let code = secret.code(100);
        for (seconds, good) in [(2969, false), (2970, true), (3000, true), (3059, true), (3060, false)] {
            assert_eq!(secret.step_of(&code, at(seconds)), good.then_some(100), "{seconds}");
        }
    }

    #[test]
    fn mistakes_are_sentences_without_the_secret() {
        let good = seed(20);
        for (text, expected) in [
            ("ada".to_owned(), TotpError::Line),
            (format!("a/b {good}"), TotpError::Name),
            ("ada JBSWY3DPEHPK3PXP".to_owned(), TotpError::Length),
            (format!("ada {good}1"), TotpError::Base32),
            (format!("ada otpauth://hotp/x?secret={good}"), TotpError::Address),
            ("ada otpauth://totp/x?issuer=y".to_owned(), TotpError::Address),
            (format!("ada otpauth://totp/x?secret={good}&algorithm=MD5"), TotpError::Algorithm),
            (format!("ada otpauth://totp/x?secret={good}&digits=9"), TotpError::Digits),
            (format!("ada otpauth://totp/x?secret={good}&period=0"), TotpError::Period),
        ] {
            assert_eq!(line(&text).map(|(name, _)| name), Err(expected), "{text}");
            assert!(!expected.to_string().contains(&good));
        }
        let written = format!("ada \t{}====", good.to_ascii_lowercase());
        let (name, secret) = line(&written).unwrap();
        assert_eq!((name, format!("{secret:?}")), ("ada", "TotpSecret".to_owned()));
        assert_eq!(secret, TotpSecret::parse(&format!("otpauth://totp/x?secret={good}%3D")).unwrap());
    }

    proptest! {
        #[test]
        fn whatever_is_written_or_answered_it_answers(text in "\\PC{0,80}|otpauth://totp/\\PC{0,60}", code: String, seconds: u64) {
            let _ = line(&text);
            let secret = TotpSecret::parse(&seed(20)).unwrap();
            let now = UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH);
            let digits: String = code.chars().filter(char::is_ascii_digit).collect();
            prop_assert!(secret.step_of(&code, now).is_none() || digits.len() == 6);
            prop_assert_eq!(secret.step_of("", now), None);
        }
    }
}
