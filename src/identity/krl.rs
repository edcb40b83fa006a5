//! Key revocation lists as `ssh-keygen -k` makes them (OpenSSH's PROTOCOL.krl).
//!
//! ```text
//!  "SSHKRL\n\0" · format 1 · version · made at · flags · reserved · comment · sections
//!    certificates, of one authority or of any: serial numbers (list, range, bitmap), key ids
//!    keys · SHA-1 of keys · SHA-256 of keys · extensions · signatures
//! ```
//!
//! It is read whole or not at all: what could not be read might have been what revokes. Signatures of the list itself are not looked
//! at, as in OpenSSH since 9.4: whose file it is says who has written it.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

use super::certificate::Certificate;
use super::public_key::Fields;

/// A list, in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Krl {
    authorities: Vec<OfAuthority>,
    keys: HashSet<Vec<u8>>,
    sha1: HashSet<Vec<u8>>,
    sha256: HashSet<Vec<u8>>,
}

/// What of one authority's certificates is revoked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct OfAuthority {
    /// Its key in the wire form; none is any.
    authority: Option<Vec<u8>>,
    /// Sorted, and none touches the next.
    serials: Vec<RangeInclusive<u64>>,
    key_ids: HashSet<Vec<u8>>,
}

/// Why a list can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KrlError {
    /// Another kind of file.
    #[error("it does not begin as a key revocation list")]
    NoKrl,
    /// Another format than the one there is.
    #[error("it is of format {0}, and only 1 is known")]
    Format(u32),
    /// It ends early, or has numbers that are none.
    #[error("it is damaged")]
    Damaged,
    /// Something that must be understood is not.
    #[error("it has a part of type {0}, which is not known here")]
    Section(u8),
    /// An extension that must be understood.
    #[error("it has a critical extension, and none is known here")]
    Extension,
    /// A serial number that stands for no certificate.
    #[error("it revokes the serial number 0, which stands for none")]
    Zero,
}

const MAGIC: &[u8] = b"SSHKRL\n\0";
const FORMAT: u32 = 1;

const CERTIFICATES: u8 = 1;
const EXPLICIT_KEY: u8 = 2;
const FINGERPRINT_SHA1: u8 = 3;
const SIGNATURE: u8 = 4;
const FINGERPRINT_SHA256: u8 = 5;
const EXTENSION: u8 = 255;

const SERIAL_LIST: u8 = 0x20;
const SERIAL_RANGE: u8 = 0x21;
const SERIAL_BITMAP: u8 = 0x22;
const KEY_ID: u8 = 0x23;
const CERTIFICATES_EXTENSION: u8 = 0x39;

/// Bits of one bitmap: OpenSSH's own `BITMAP_MAX`.
const MOST_BITS: usize = 1 << 24;

impl Krl {
    /// Whether a file begins as one.
    pub fn is_one(file: &[u8]) -> bool {
        file.starts_with(MAGIC)
    }

    /// Reads one to its last byte.
    pub fn parse(file: &[u8]) -> Result<Self, KrlError> {
        use KrlError::Damaged;
        let mut fields = Fields::of(file.strip_prefix(MAGIC).ok_or(KrlError::NoKrl)?);
        match fields.next_u32().ok_or(Damaged)? {
            FORMAT => {}
            other => return Err(KrlError::Format(other)),
        }
        let (_version, _made, _flags) = (fields.next_u64(), fields.next_u64(), fields.next_u64());
        let (_reserved, _comment) = (fields.next().ok_or(Damaged)?, fields.next().ok_or(Damaged)?);
        let mut krl = Self::default();
        let mut signed = false;
        while !fields.is_empty() {
            let (kind, data) = (fields.next_u8().ok_or(Damaged)?, fields.next().ok_or(Damaged)?);
            match kind {
                SIGNATURE => {
                    // the key that has signed; its signature is a string of its own
                    fields.next().ok_or(Damaged)?;
                    signed = true;
                }
                // nothing is behind the signatures
                _ if signed => return Err(Damaged),
                CERTIFICATES => krl.certificates(data)?,
                EXPLICIT_KEY => strings(data, None, &mut krl.keys)?,
                FINGERPRINT_SHA1 => strings(data, Some(20), &mut krl.sha1)?,
                FINGERPRINT_SHA256 => strings(data, Some(32), &mut krl.sha256)?,
                EXTENSION => extension(data)?,
                other => return Err(KrlError::Section(other)),
            }
        }
        for authority in &mut krl.authorities {
            authority.serials = merged(std::mem::take(&mut authority.serials));
        }
        Ok(krl)
    }

    fn certificates(&mut self, data: &[u8]) -> Result<(), KrlError> {
        use KrlError::Damaged;
        let mut fields = Fields::of(data);
        let (key, _reserved) = (fields.next().ok_or(Damaged)?, fields.next().ok_or(Damaged)?);
        let authority = (!key.is_empty()).then(|| key.to_vec());
        let known = self.authorities.iter().position(|known| known.authority == authority);
        let index = known.unwrap_or_else(|| {
            self.authorities.push(OfAuthority { authority, ..OfAuthority::default() });
            self.authorities.len() - 1
        });
        let Some(of) = self.authorities.get_mut(index) else { return Err(Damaged) };
        while !fields.is_empty() {
            let (kind, data) = (fields.next_u8().ok_or(Damaged)?, fields.next().ok_or(Damaged)?);
            match kind {
                SERIAL_LIST => of.list(data)?,
                SERIAL_RANGE => of.range(data)?,
                SERIAL_BITMAP => of.bitmap(data)?,
                KEY_ID => strings(data, None, &mut of.key_ids)?,
                CERTIFICATES_EXTENSION => extension(data)?,
                other => return Err(KrlError::Section(other)),
            }
        }
        Ok(())
    }

    /// Whether a key is revoked, given in its wire form.
    pub fn revokes_key(&self, wire: &[u8]) -> bool {
        let hashed =
            |set: &HashSet<Vec<u8>>, algorithm| !set.is_empty() && set.contains(digest(algorithm, wire).as_ref());
        self.keys.contains(wire) || hashed(&self.sha1, &SHA1_FOR_LEGACY_USE_ONLY) || hashed(&self.sha256, &SHA256)
    }

    /// Whether a certificate is: it itself, its key, or its authority.
    pub fn revokes_certificate(&self, certificate: &Certificate) -> bool {
        let itself = self.authorities.iter().any(|of| {
            of.authority.as_ref().is_none_or(|authority| *authority == certificate.authority)
                && (of.key_ids.contains(certificate.key_id.as_bytes()) || of.has(certificate.serial))
        });
        itself || self.revokes_key(&certificate.key) || self.revokes_key(&certificate.authority)
    }
}

impl OfAuthority {
    fn add(&mut self, range: RangeInclusive<u64>) -> Result<(), KrlError> {
        // OpenSSH's certificates have it where nobody gave them another: it tells none from another
        if *range.start() == 0 {
            return Err(KrlError::Zero);
        }
        if range.is_empty() {
            return Err(KrlError::Damaged);
        }
        self.serials.push(range);
        Ok(())
    }

    fn list(&mut self, data: &[u8]) -> Result<(), KrlError> {
        let mut fields = Fields::of(data);
        while !fields.is_empty() {
            let serial = fields.next_u64().ok_or(KrlError::Damaged)?;
            self.add(serial..=serial)?;
        }
        Ok(())
    }

    fn range(&mut self, data: &[u8]) -> Result<(), KrlError> {
        let mut fields = Fields::of(data);
        let (Some(first), Some(last), true) = (fields.next_u64(), fields.next_u64(), fields.is_empty()) else {
            return Err(KrlError::Damaged);
        };
        self.add(first..=last)
    }

    /// An mpint whose bit n is the serial number `offset + n`.
    fn bitmap(&mut self, data: &[u8]) -> Result<(), KrlError> {
        let mut fields = Fields::of(data);
        let (Some(offset), Some(bits), true) = (fields.next_u64(), fields.next(), fields.is_empty()) else {
            return Err(KrlError::Damaged);
        };
        let negative = bits.first().is_some_and(|first| first & 0x80 != 0);
        if negative || bits.len() > MOST_BITS / 8 + 1 {
            return Err(KrlError::Damaged);
        }
        let mut run: Option<RangeInclusive<u64>> = None;
        for (index, byte) in bits.iter().rev().enumerate() {
            for bit in (0..8).filter(|bit| (byte >> bit) & 1 == 1) {
                let serial = offset.checked_add((8 * index + bit) as u64).ok_or(KrlError::Damaged)?;
                run = match run {
                    Some(range) if range.end().checked_add(1) == Some(serial) => Some(*range.start()..=serial),
                    Some(range) => {
                        self.add(range)?;
                        Some(serial..=serial)
                    }
                    None => Some(serial..=serial),
                };
            }
        }
        run.map_or(Ok(()), |range| self.add(range))
    }

    fn has(&self, serial: u64) -> bool {
        let behind = self.serials.partition_point(|range| *range.start() <= serial);
        behind.checked_sub(1).and_then(|index| self.serials.get(index)).is_some_and(|range| range.contains(&serial))
    }
}

/// The same numbers in as few ranges as can be, sorted.
fn merged(mut ranges: Vec<RangeInclusive<u64>>) -> Vec<RangeInclusive<u64>> {
    ranges.sort_by_key(|range| *range.start());
    let mut merged: Vec<RangeInclusive<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if *range.start() <= last.end().saturating_add(1) => {
                *last = *last.start()..=*last.end().max(range.end());
            }
            _ => merged.push(range),
        }
    }
    merged
}

/// The strings of a section, each of this length where there is one.
fn strings(data: &[u8], length: Option<usize>, into: &mut HashSet<Vec<u8>>) -> Result<(), KrlError> {
    let mut fields = Fields::of(data);
    while !fields.is_empty() {
        let string = fields.next().ok_or(KrlError::Damaged)?;
        if length.is_some_and(|length| string.len() != length) {
            return Err(KrlError::Damaged);
        }
        into.insert(string.to_vec());
    }
    Ok(())
}

/// None is known, so one that must be is the end.
fn extension(data: &[u8]) -> Result<(), KrlError> {
    let mut fields = Fields::of(data);
    let (Some(_name), Some(critical), Some(_contents), true) =
        (fields.next(), fields.next_u8(), fields.next(), fields.is_empty())
    else {
        return Err(KrlError::Damaged);
    };
    if critical == 0 { Ok(()) } else { Err(KrlError::Extension) }
}

#[cfg(test)]
#[path = "krl_tests.rs"]
mod tests;
