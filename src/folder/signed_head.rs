//! Heads as they are signed: each names the one before with its signature, so whoever has looked at the last signature of a run
//! knows that the others are as they were written.

use crate::checkpoint::{Checkpoint, Head};
use crate::hash::Hash;
use crate::key::SigningKey;
use crate::note;

/// The heads that stand in a `checkpoints`, as far as the next one has to know.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadChain {
    last: Option<Hash>,
}

/// A head with its signature.
#[derive(Clone, Debug)]
pub struct SignedHead {
    checkpoint: Checkpoint,
    note: String,
    hash: Hash,
}

impl HeadChain {
    /// The chain that goes on behind the checkpoint of this hash; from none, it begins.
    pub fn after(last: Option<Hash>) -> Self {
        Self { last }
    }

    /// The hash of the last head that stands, as the journal names it.
    pub fn last(&self) -> Option<Hash> {
        self.last
    }

    /// The head, naming the last one that stands, and signed. It changes nothing here until it [stands](HeadChain::stands).
    pub fn sign(&self, key: &SigningKey, head: Head) -> SignedHead {
        let checkpoint = Checkpoint { previous: self.last, ..head.into_checkpoint() };
        let note = note::signed(&checkpoint.text(), &[key]);
        SignedHead { hash: Hash::of(note.as_bytes()), checkpoint, note }
    }

    /// This head stands in the file: the next one follows it.
    pub fn stands(&mut self, head: &SignedHead) {
        self.last = Some(head.hash);
    }
}

impl SignedHead {
    /// Its note.
    pub fn note(&self) -> &str {
        &self.note
    }

    /// What is to be appended to `checkpoints`: its note, and the empty line that parts it from the one before.
    pub fn lines(&self) -> String {
        let between = if self.is_first() { "" } else { "\n" };
        format!("{between}{}", self.note)
    }

    /// What the next checkpoint calls `previous`, and the journal `head`: [`crate::Note::hash`].
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// What it says.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Whether nothing stood before it.
    pub fn is_first(&self) -> bool {
        self.checkpoint.previous.is_none()
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;
    use uuid::Uuid;

    use super::*;
    use crate::folder_seal::FolderSeal;
    use crate::note::Note;

    #[test]
    fn a_head_names_the_one_before_that_stands_with_its_signature() {
        let key = SigningKey::from_seed("portcullis/gate-1", &[7; 32]).unwrap();
        let seal = FolderSeal::new("portcullis/gate-1", Uuid::from_u128(7));
        let head = || seal.head(datetime!(2026-11-30 07:12:33 UTC), false);
        let mut chain = HeadChain::default();
        let first = chain.sign(&key, head());
        assert!(first.is_first() && chain.sign(&key, head()).is_first(), "the disk was full");
        assert_eq!(first.lines(), first.note());
        chain.stands(&first);
        let second = chain.sign(&key, head());
        assert_eq!(second.checkpoint().previous, Some(Hash::of(first.note().as_bytes())));
        assert_eq!(second.lines(), format!("\n{}", second.note()));
        // as it is read again, also where somebody else has signed besides
        let read = |note: &str| Note::parse(note.as_bytes()).unwrap().hash();
        assert_eq!(read(second.note()), second.hash());
        let witness = SigningKey::from_seed("witness", &[8; 32]).unwrap();
        let both = note::signed(&second.checkpoint().text(), &[&key, &witness]);
        assert_eq!(read(&both), second.hash());
        let other = note::signed(&second.checkpoint().text(), &[&witness]);
        assert_ne!(read(&other), second.hash());
    }
}
