//! Who comes with a token of an OpenID provider, and no keys.

use super::facts::Facts;

/// What of a token, once it is verified, trust policies look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Federated {
    /// The provider, by ARN: `arn:aws:iam::123456789012:oidc-provider/id.example.com`.
    pub(crate) provider: String,
    /// Its URL without `https://`, by which condition keys name it.
    pub(crate) host: String,
    /// `sub`
    pub(crate) subject: String,
    /// `aud`
    pub(crate) audience: String,
    /// `amr`
    pub(crate) methods: Vec<String>,
}

impl Federated {
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html#condition-keys-wif>
    pub(super) fn add_to(&self, facts: Facts) -> Facts {
        let Self { provider, host, subject, audience, methods } = self;
        facts
            .with("aws:FederatedProvider", provider.as_str())
            .with(&format!("{host}:sub"), subject.as_str())
            .with(&format!("{host}:aud"), audience.as_str())
            .with_all(&format!("{host}:amr"), methods.iter().cloned())
    }
}
