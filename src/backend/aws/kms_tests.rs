//! Keys from a KMS that is not ours.
