// must fail: E0451
use portcullis::internals::identity::Identity;

pub fn forge() -> Identity {
    Identity { person: "ada".to_owned(), groups: Vec::new(), proof: "trust me".to_owned() }
}
