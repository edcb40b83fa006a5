//! The text of a key that an IAM user holds, and what IAM calls it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::internals::identity::{KeysOfUser, People, UserKey};
use portcullis::internals::model::{IamUser, RealmName};

fuzz_target!(|answer: (&str, &str)| {
    let (id, text) = answer;
    let realms = [RealmName::parse("main").expect("it is one")];
    let user = IamUser::parse("ada", &realms).expect("it is one");
    let keys = KeysOfUser { keys: Some(vec![UserKey::read(id, text)]), counts: true };
    for fault in People::default().add_keys_of_users([("ada", &user, &keys)]) {
        assert!(!fault.why.is_empty() && !fault.help.is_empty() && !fault.to_string().contains(char::is_control));
    }
});
