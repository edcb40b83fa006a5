//! Sign-ins at a provider that says whatever a test wants.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use zeroize::Zeroizing;

use super::provider::tests::let_keys_age;
use super::*;
use crate::identity::{Signer, TokenError, TokenRules};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PATIENCE: Duration = Duration::from_secs(20);

/// One that answers each path with what it was told to, and keeps what it was asked.
#[derive(Clone)]
struct Fake {
    address: SocketAddr,
    answers: Arc<Mutex<HashMap<&'static str, (u16, String)>>>,
    asked: Arc<Mutex<Vec<(String, String)>>>,
    signer: Arc<Signer>,
}

impl Fake {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (answers, asked) = (Arc::default(), Arc::default());
        let fake = Self { address, answers, asked, signer: Arc::new(Signer::new()) };
        let issuer = fake.issuer();
        let document = json!({
            "issuer": issuer, "device_authorization_endpoint": format!("{issuer}/device"),
            "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/jwks"),
        });
        fake.says("/.well-known/openid-configuration", 200, &document);
        fake.says("/jwks", 200, &fake.signer.jwks());
        let device = json!({
            "device_code": "secret-device-code", "user_code": "WDJB-MJHT", "expires_in": 60, "interval": 1,
            "verification_uri": "https://id.example.com/device",
        });
        fake.says("/device", 200, &device);
        fake.says("/token", 400, &json!({ "error": "authorization_pending" }));
        let served = fake.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(served.clone().serve(stream));
            }
        });
        fake
    }

    async fn serve(self, mut stream: tokio::net::TcpStream) {
        let mut text = String::new();
        let mut buffer = [0; 4096];
        // a form is as long as its header says
        while !text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
            body.len() >= length.map_or(0, |length| length.trim().parse().unwrap())
        }) {
            let count = stream.read(&mut buffer).await.unwrap_or_default();
            if count == 0 {
                return;
            }
            text.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
        let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
        self.asked.lock().unwrap().push((path.clone(), text));
        let answer = self.answers.lock().unwrap().get(path.as_str()).cloned();
        let (status, body) = answer.unwrap_or((404, String::new()));
        let location = if status == 302 { "location: https://evil.example.com/\r\n" } else { "" };
        let head =
            format!("HTTP/1.1 {status} X\r\n{location}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
        let _ = stream.write_all((head + &body).as_bytes()).await;
    }

    fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    fn says(&self, path: &'static str, status: u16, body: &Value) {
        self.answers.lock().unwrap().insert(path, (status, body.to_string()));
    }

    fn asked(&self, path: &str) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(of, _)| of == path).map(|(_, text)| text.clone()).collect()
    }

    fn options(&self) -> ProviderOptions {
        ProviderOptions {
            rules: TokenRules {
                issuer: self.issuer(),
                client_id: "gate".to_owned(),
                name_claim: "sub".to_owned(),
                ..TokenRules::default()
            },
            secret: None,
            scopes: vec!["openid".to_owned()],
            max_age: None,
            nonce: false,
            counts: None,
            recheck: Duration::from_secs(1),
            ca_bundle: None,
            proxy: None,
            pending: 3,
            pending_per_address: 2,
            starts_a_minute: 600,
        }
    }

    fn provider(&self) -> Provider {
        Provider::new(self.options()).unwrap()
    }

    fn token_by(&self, key: &str, changes: Value) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({ "iss": self.issuer(), "aud": "gate", "sub": "ada", "iat": now, "exp": now + 60 });
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        self.signer.token(&json!({ "alg": "ES256", "kid": key }), &claims)
    }

    fn gives(&self, id_token: &str) {
        self.says("/token", 200, &json!({ "id_token": id_token, "access_token": "secret-access-token" }));
    }
}

/// What a sign-in comes to.
async fn outcome(provider: &Provider) -> Result<Arc<crate::identity::SignedIn>, SignInError> {
    let mut sign_in = provider.begin(HERE, PATIENCE)?;
    loop {
        match sign_in.progress() {
            Progress::Done(signed_in) => return Ok(signed_in),
            Progress::Failed(error) => return Err(error),
            Progress::Begins | Progress::Asks(_) => drop(sign_in.moves(PATIENCE).await),
        }
    }
}

#[tokio::test]
async fn somebody_signs_in_while_it_is_asked_again_and_again() {
    let fake = Fake::start().await;
    let provider = fake.provider();
    provider.answers().await.unwrap();
    let mut sign_in = provider.begin(HERE, PATIENCE).unwrap();
    let Progress::Asks(prompt) = sign_in.moves(PATIENCE).await else { panic!("{:?}", sign_in.progress()) };
    assert_eq!((prompt.code.as_str(), prompt.lasts), ("WDJB-MJHT", PATIENCE));
    while fake.asked("/token").len() < 2 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    fake.gives(&fake.token_by("ec", json!({})));
    let Progress::Done(signed_in) = sign_in.moves(PATIENCE).await else { panic!("{:?}", sign_in.progress()) };
    assert_eq!(signed_in.token().facts().subject, "ada");
    let form = &fake.asked("/token")[0];
    assert!(form.contains("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code"), "{form}");
    assert!(form.contains("device_code=secret-device-code") && form.contains("client_id=gate"), "{form}");
    // no secret is in what anybody may write down
    let debug = format!("{provider:?} {sign_in:?} {signed_in:?}");
    assert!(!debug.contains("secret-") && !debug.contains("eyJ"), "{debug}");
    // the document and the keys were asked for once
    assert!(outcome(&provider).await.is_ok());
    assert_eq!((fake.asked("/.well-known/openid-configuration").len(), fake.asked("/jwks").len()), (1, 1));
}

#[tokio::test]
async fn a_token_that_is_not_verified_is_no_sign_in() {
    let fake = Fake::start().await;
    let provider = fake.provider();
    for (changes, error) in [
        (json!({ "aud": "other" }), TokenError::Audience),
        (json!({ "iss": "https://other.example.com" }), TokenError::Issuer),
        (json!({ "exp": 1_000_000_000 }), TokenError::Expired),
        (json!({ "iat": 1_000_000_000 }), TokenError::Issued),
    ] {
        fake.gives(&fake.token_by("ec", changes));
        let failed = outcome(&provider).await.unwrap_err();
        assert_eq!(failed, SignInError::Token(error));
        assert!(!failed.told().contains("ec"), "strangers learn no more: {}", failed.told());
    }
    fake.gives(&Signer::new().token(&json!({ "alg": "none" }), &json!({ "iss": fake.issuer(), "sub": "ada" })));
    assert_eq!(outcome(&provider).await.unwrap_err(), SignInError::Token(TokenError::Unreadable));
    fake.says("/token", 400, &json!({ "error": "access_denied" }));
    assert_eq!(outcome(&provider).await.unwrap_err(), SignInError::Denied);
    fake.says("/token", 400, &json!({ "error": "expired_token" }));
    assert_eq!(outcome(&provider).await.unwrap_err(), SignInError::Expired);
}

#[tokio::test]
async fn keys_are_asked_for_again_where_one_is_new_and_not_again_and_again() {
    let fake = Fake::start().await;
    let provider = fake.provider();
    provider.answers().await.unwrap();
    let asked = || fake.asked("/jwks").len();
    fake.gives(&fake.token_by("new", json!({})));
    let unknown = SignInError::Token(TokenError::UnknownKey);
    assert_eq!(outcome(&provider).await.unwrap_err(), unknown);
    assert_eq!(asked(), 1, "they were asked for a moment ago");
    let_keys_age(&provider, Duration::from_secs(61)).await;
    assert_eq!(outcome(&provider).await.unwrap_err(), unknown);
    assert_eq!(asked(), 2);
    let mut set = fake.signer.jwks();
    set["keys"][1]["kid"] = json!("new");
    fake.says("/jwks", 200, &set);
    let_keys_age(&provider, Duration::from_secs(61)).await;
    assert!(outcome(&provider).await.is_ok());
    assert_eq!(asked(), 3);
}

#[tokio::test]
async fn a_provider_that_is_down_or_says_nothing_of_use_is_a_sentence_and_is_not_asked_on_and_on() {
    let fake = Fake::start().await;
    let document = "/.well-known/openid-configuration";
    let large = json!({ "issuer": "x".repeat(300 * 1024) });
    for (path, status, body, said) in [
        (document, 404, json!({}), "openid-configuration was answered with HTTP status 404"),
        (document, 302, json!({}), "sends elsewhere (HTTP status 302), and nobody follows"),
        (document, 200, json!({ "issuer": "https://other.example.com" }), "is that of another issuer"),
        (document, 200, large, "has no end"),
        ("/jwks", 200, json!({ "keys": [] }), "no key that signs"),
    ] {
        let before = fake.answers.lock().unwrap().get(path).cloned().unwrap();
        fake.says(path, status, &body);
        let provider = fake.provider();
        let why = provider.answers().await.unwrap_err();
        assert!(why.to_string().contains(said), "{why}");
        let asked = fake.asked(path).len();
        assert_eq!(provider.answers().await.unwrap_err(), why);
        assert_eq!(fake.asked(path).len(), asked, "not again at once");
        fake.answers.lock().unwrap().insert(path, before);
    }
    fake.says("/device", 400, &json!({ "error": "unauthorized_client" }));
    let why = outcome(&fake.provider()).await.unwrap_err();
    assert!(why.to_string().contains("HTTP status 400 and `unauthorized_client`"), "{why}");
    // nobody listens
    let mut options = fake.options();
    options.rules.issuer = "http://127.0.0.1:1".to_owned();
    let why = outcome(&Provider::new(options).unwrap()).await.unwrap_err();
    assert!(matches!(why, SignInError::Unreachable(_)) && why.to_string().contains("127.0.0.1:1"), "{why}");
}

#[tokio::test]
async fn one_that_nobody_waits_for_asks_no_more_and_gives_its_place_back() {
    let fake = Fake::start().await;
    let provider = fake.provider();
    let begin = |last| provider.begin(IpAddr::from([192, 0, 2, last]), PATIENCE);
    let mut held = vec![begin(1).unwrap(), begin(1).unwrap()];
    assert_eq!(begin(1).unwrap_err(), SignInError::TooMany, "from one address");
    held.push(begin(2).unwrap());
    assert_eq!(begin(3).unwrap_err(), SignInError::TooMany, "in all");
    while fake.asked("/token").len() < 3 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(held);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let asked = fake.asked("/token").len();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(fake.asked("/token").len(), asked);
    assert!(begin(1).is_ok());
}

#[tokio::test]
async fn the_client_s_secret_goes_where_the_provider_takes_it() {
    let fake = Fake::start().await;
    let with_secret = || {
        let secret = Some(Zeroizing::new("s&cret:".to_owned()));
        Provider::new(ProviderOptions { secret, nonce: true, ..fake.options() }).unwrap()
    };
    fake.gives(&fake.token_by("ec", json!({})));
    let why = outcome(&with_secret()).await.unwrap_err();
    assert_eq!(why, SignInError::Token(TokenError::Nonce), "it was sent, and did not come back");
    let form = fake.asked("/device").pop().unwrap();
    let basic = format!("authorization: Basic {}", STANDARD.encode("gate:s%26cret%3A"));
    assert!(form.contains(&basic) && form.contains("nonce=") && !form.contains("client_secret"), "{form}");
    let mut document = json!({ "token_endpoint_auth_methods_supported": ["client_secret_post"] });
    let issuer = fake.issuer();
    for (name, path) in [("device_authorization_endpoint", "device"), ("token_endpoint", "token"), ("jwks_uri", "jwks")]
    {
        document[name] = json!(format!("{issuer}/{path}"));
    }
    document["issuer"] = json!(issuer);
    fake.says("/.well-known/openid-configuration", 200, &document);
    outcome(&with_secret()).await.unwrap_err();
    let form = fake.asked("/device").pop().unwrap();
    assert!(form.contains("client_id=gate&client_secret=s%26cret%3A") && !form.contains("authorization:"), "{form}");
}

#[tokio::test]
async fn a_provider_that_does_not_stand_to_it_any_more_ends_it_and_so_does_its_silence() {
    let fake = Fake::start().await;
    let provider = fake.provider();
    let refreshed = |token: &str, changes| {
        fake.says("/token", 200, &json!({ "id_token": fake.token_by("ec", changes), "refresh_token": token }));
    };
    refreshed("first", json!({}));
    let signed_in = outcome(&provider).await.unwrap();
    let soon = SystemTime::now() + Duration::from_secs(130);
    assert!(signed_in.ends() <= soon, "and not when the token ends");
    refreshed("second", json!({}));
    let uses = |token: &str| fake.asked("/token").iter().any(|form| form.contains(&format!("refresh_token={token}")));
    while !uses("second") {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(signed_in.counts(SystemTime::now()).is_ok());
    // trouble of its own ends nothing at once
    fake.says("/token", 400, &json!({ "error": "invalid_client" }));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(signed_in.counts(SystemTime::now()).is_ok() && signed_in.counts(soon + Duration::from_secs(30)).is_err());
    for (answer, said) in [
        ((400, json!({ "error": "invalid_grant" })), "does not stand to your sign-in any more"),
        ((200, json!({ "id_token": fake.token_by("ec", json!({ "sub": "bob" })) })), "says something else of you"),
        (
            (200, json!({ "id_token": fake.token_by("ec", json!({ "aud": "other" })) })),
            "does not stand to your sign-in",
        ),
    ] {
        refreshed("first", json!({}));
        let signed_in = outcome(&provider).await.unwrap();
        fake.says("/token", answer.0, &answer.1);
        while signed_in.counts(SystemTime::now()).is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let why = signed_in.counts(SystemTime::now()).unwrap_err().to_string();
        assert!(why.contains(said), "{why}");
    }
}
