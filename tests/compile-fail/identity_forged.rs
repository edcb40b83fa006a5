// must fail: E0451
use portcullis::internals::identity::Identity;

pub fn forge(mine: Identity) -> Identity {
    Identity { person: "ada".to_owned(), ..mine }
}
