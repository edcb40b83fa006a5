//! The ARN of a role in IAM: `arn:aws:iam::123456789012:role/team/operators`.

use std::fmt;

/// A role's ARN, taken apart once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RoleArn {
    text: String,
    partition: String,
    account: String,
}

/// What is no ARN of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no ARN of a role, such as \"arn:aws:iam::123456789012:role/portcullis-developers\"")]
pub struct RoleArnError;

impl RoleArn {
    /// The longest that STS takes.
    const MAX_CHARS: usize = 2048;

    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, RoleArnError> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", partition, "iam", "", account, resource] = parts[..] else { return Err(RoleArnError) };
        let partition_is_fine = partition.starts_with("aws") && partition.bytes().all(plain_in_partition);
        let account_is_fine = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        let name = resource.strip_prefix("role/").filter(|path| path.split('/').all(|part| !part.is_empty()));
        let name_is_fine = name.is_some_and(|name| name.bytes().all(plain_in_name));
        if !(partition_is_fine && account_is_fine && name_is_fine && text.len() <= Self::MAX_CHARS) {
            return Err(RoleArnError);
        }
        Ok(Self { text: text.to_owned(), partition: partition.to_owned(), account: account.to_owned() })
    }

    /// All of it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `aws`, `aws-cn`, `aws-us-gov`.
    pub fn partition(&self) -> &str {
        &self.partition
    }

    /// The twelve digits of its account.
    pub fn account(&self) -> &str {
        &self.account
    }
}

fn plain_in_partition(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte == b'-'
}

fn plain_in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/_+=,.@-".contains(&byte)
}

impl fmt::Display for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_taken_apart_and_what_is_none_is_refused() {
        let role = RoleArn::parse("arn:aws-cn:iam::123456789012:role/team/operators").unwrap();
        assert_eq!((role.partition(), role.account()), ("aws-cn", "123456789012"));
        assert_eq!(role.to_string(), "arn:aws-cn:iam::123456789012:role/team/operators");
        for text in [
            "",
            "operators",
            "arn:aws:iam::123456789012:user/alice",
            "arn:aws:iam::12345678901:role/x",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::123456789012:role//x",
            "arn:aws:iam::123456789012:role/*",
            "arn:aws:iam:eu-west-1:123456789012:role/x",
            "arn:AWS:iam::123456789012:role/x",
            "arn:aws:sts::123456789012:assumed-role/x/y",
            "arn:aws:iam::123456789012:role/a b",
        ] {
            assert_eq!(RoleArn::parse(text), Err(RoleArnError), "{text}");
        }
    }
}
