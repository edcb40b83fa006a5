//! What the journal has where evidence is encrypted.
