//! IAM policies, as the embedded service reads and evaluates them: three texts, and a request.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::internals::emulator::Trial;

const DENY: &str = r#"{"Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}"#;
const ALLOW: &str = r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#;

fuzz_target!(|input: (&str, &str, &str, &str, &str, &str)| {
    let (identity, session, action, resource, key, value) = input;
    let facts = [(key, value)];
    let trial = Trial { action, resource, facts: &facts };
    let _ = trial.trusted(session);
    let Some(alone) = trial.allowed(&[identity], None) else { return };
    // a session policy only takes away, and one Deny is enough
    assert!(trial.allowed(&[identity], Some(session)) != Some(true) || alone);
    assert_eq!(trial.allowed(&[identity], Some(ALLOW)), Some(alone));
    assert_eq!(trial.allowed(&[identity, DENY], None), Some(false));
});
