//! Lists by hand, drawn ones, and ssh-keygen's own: it makes them, and says of each certificate and key whether it is revoked.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// A list of these sections.
fn krl(sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let head = [MAGIC, &FORMAT.to_be_bytes(), &[0; 24], &string(b""), &string(b"a comment")].concat();
    sections.iter().fold(head, |krl, (kind, data)| [&krl[..], &[*kind], &string(data)].concat())
}

/// A section about any authority's certificates.
fn certificates(parts: &[(u8, Vec<u8>)]) -> (u8, Vec<u8>) {
    let head = [string(b""), string(b"")].concat();
    (CERTIFICATES, parts.iter().fold(head, |data, (kind, part)| [&data[..], &[*kind], &string(part)].concat()))
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

fn bitmap(offset: u64, bits: &[u8]) -> Vec<u8> {
    [numbers(&[offset]), string(bits)].concat()
}

fn revoked(part: (u8, Vec<u8>)) -> Result<Vec<RangeInclusive<u64>>, KrlError> {
    Krl::parse(&krl(&[certificates(&[part])])).map(|krl| krl.authorities[0].serials.clone())
}

#[test]
fn each_way_of_saying_serial_numbers() {
    for (part, expected) in [
        ((SERIAL_LIST, numbers(&[7, 5, 6, 100])), Ok(vec![5..=7, 100..=100])),
        ((SERIAL_LIST, numbers(&[u64::MAX])), Ok(vec![u64::MAX..=u64::MAX])),
        ((SERIAL_LIST, numbers(&[0])), Err(KrlError::Zero)),
        ((SERIAL_LIST, vec![0; 7]), Err(KrlError::Damaged)),
        ((SERIAL_RANGE, numbers(&[3, 9])), Ok(vec![3..=9])),
        ((SERIAL_RANGE, numbers(&[9, 3])), Err(KrlError::Damaged)),
        ((SERIAL_RANGE, numbers(&[0, 3])), Err(KrlError::Zero)),
        ((SERIAL_RANGE, numbers(&[1, 2, 3])), Err(KrlError::Damaged)),
        ((SERIAL_BITMAP, bitmap(8, &[0b0101_1001])), Ok(vec![8..=8, 11..=12, 14..=14])),
        ((SERIAL_BITMAP, bitmap(8, &[1, 0x80])), Ok(vec![15..=16])),
        ((SERIAL_BITMAP, bitmap(8, &[])), Ok(vec![])),
        ((SERIAL_BITMAP, bitmap(0, &[2])), Ok(vec![1..=1])),
        ((SERIAL_BITMAP, bitmap(0, &[1])), Err(KrlError::Zero)),
        ((SERIAL_BITMAP, bitmap(8, &[0x80])), Err(KrlError::Damaged)),
        ((SERIAL_BITMAP, bitmap(u64::MAX, &[2])), Err(KrlError::Damaged)),
        ((SERIAL_BITMAP, bitmap(1, &[1; (1 << 21) + 2])), Err(KrlError::Damaged)),
        ((0x24, vec![]), Err(KrlError::Section(0x24))),
    ] {
        assert_eq!(revoked(part.clone()), expected, "{part:x?}");
    }
}

#[test]
fn what_is_not_understood_is_the_end_unless_it_need_not_be() {
    let extension = |critical: u8| [string(b"x@example.com"), vec![critical], string(b"data")].concat();
    let parse = |sections: &[(u8, Vec<u8>)]| Krl::parse(&krl(sections)).map(|_| ());
    for (sections, expected) in [
        (vec![(EXTENSION, extension(0))], Ok(())),
        (vec![(EXTENSION, extension(1))], Err(KrlError::Extension)),
        (vec![certificates(&[(CERTIFICATES_EXTENSION, extension(0))])], Ok(())),
        (vec![certificates(&[(CERTIFICATES_EXTENSION, extension(1))])], Err(KrlError::Extension)),
        (vec![(EXTENSION, string(b"x"))], Err(KrlError::Damaged)),
        (vec![(6, vec![])], Err(KrlError::Section(6))),
        (vec![(FINGERPRINT_SHA1, string(&[0; 20]))], Ok(())),
        (vec![(FINGERPRINT_SHA1, string(&[0; 32]))], Err(KrlError::Damaged)),
        (vec![(FINGERPRINT_SHA256, string(&[0; 20]))], Err(KrlError::Damaged)),
        (vec![(EXPLICIT_KEY, vec![0, 0, 0, 9, 1])], Err(KrlError::Damaged)),
    ] {
        assert_eq!(parse(&sections), expected, "{sections:x?}");
    }
    let keys = (EXPLICIT_KEY, string(b"key"));
    let signed = [krl(std::slice::from_ref(&keys)), vec![SIGNATURE], string(b"signer"), string(b"signature")].concat();
    assert!(Krl::parse(&signed).unwrap().revokes_key(b"key"), "its own signature is not looked at");
    let behind = [&signed[..], &[EXPLICIT_KEY], &string(&string(b"other"))].concat();
    assert_eq!(Krl::parse(&behind), Err(KrlError::Damaged), "nothing is behind it");
    let whole = krl(&[keys, certificates(&[(SERIAL_RANGE, numbers(&[3, 9]))])]);
    let section = whole.len() - 1 - 4 - string(b"").len() * 2 - 1 - 4 - 16;
    for length in 0..whole.len() {
        // a list may end behind any of its sections, and nobody can see that it did
        let fine = [section, section - 5 - string(b"key").len()].contains(&length);
        assert_eq!(Krl::parse(&whole[..length]).is_ok(), fine, "{length} of {}", whole.len());
    }
    assert_eq!(Krl::parse(b"ssh-ed25519 AAAA"), Err(KrlError::NoKrl));
    let mut other = whole;
    other[11] = 2;
    assert_eq!(Krl::parse(&other), Err(KrlError::Format(2)));
}

proptest! {
    #[test]
    fn whatever_the_bytes_are_it_answers(bytes: Vec<u8>, sections in proptest::collection::vec((0..8_u8, any::<Vec<u8>>()), 0..4)) {
        let _ = Krl::parse(&bytes);
        let _ = Krl::parse(&krl(&sections));
        let parts: Vec<(u8, Vec<u8>)> = sections.into_iter().map(|(kind, data)| (0x1f + kind, data)).collect();
        let _ = Krl::parse(&krl(&[certificates(&parts)]));
    }

    #[test]
    fn a_number_is_revoked_that_is_in_one_of_the_ways(
        list in proptest::collection::vec(1..200_u64, 0..20),
        ranges in proptest::collection::vec((1..200_u64, 0..20_u64), 0..5),
        offset in 1..100_u64,
        bits in proptest::collection::vec(any::<u8>(), 0..8),
    ) {
        let mut positive = bits.clone();
        positive.insert(0, 0);
        let mut parts = vec![(SERIAL_LIST, numbers(&list)), (SERIAL_BITMAP, bitmap(offset, &positive))];
        parts.extend(ranges.iter().map(|(first, more)| (SERIAL_RANGE, numbers(&[*first, first + more]))));
        let parsed = Krl::parse(&krl(&[certificates(&parts)])).unwrap();
        let of = &parsed.authorities[0];
        for serial in 0..400_u64 {
            let bit = serial.checked_sub(offset).and_then(|bit| {
                let byte = bits.iter().rev().nth(usize::try_from(bit / 8).unwrap())?;
                Some((byte >> (bit % 8)) & 1 == 1)
            });
            let expected = list.contains(&serial)
                || ranges.iter().any(|(first, more)| (*first..=first + more).contains(&serial))
                || bit == Some(true);
            prop_assert_eq!(of.has(serial), expected, "{}", serial);
        }
        for pair in of.serials.windows(2) {
            prop_assert!(pair[0].end() + 1 < *pair[1].start());
        }
    }
}

/// A small generator, so that a failure is repeated by its seed.
struct Drawn(u64);

impl Drawn {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

fn keygen(dir: &Path, args: &[&str]) -> std::process::Output {
    Command::new("ssh-keygen").current_dir(dir).args(args).output().unwrap()
}

/// The wire form in a `.pub` file.
fn wire(file: &Path) -> Vec<u8> {
    STANDARD.decode(std::fs::read_to_string(file).unwrap().split(' ').nth(1).unwrap()).unwrap()
}

#[test]
fn au6_it_says_the_same_as_ssh_keygen_of_drawn_lists() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, mut drawn) = (dir.path(), Drawn(20_261_129));
    for name in ["ca1", "ca2"] {
        assert!(keygen(dir, &["-q", "-t", "ed25519", "-N", "", "-f", name]).status.success());
    }
    let mut names = Vec::new();
    for index in 0..14 {
        let (name, kind) = (format!("k{index}"), if index % 5 == 4 { "ecdsa" } else { "ed25519" });
        assert!(keygen(dir, &["-q", "-t", kind, "-N", "", "-C", &name, "-f", &name]).status.success());
        let (ca, serial) =
            (["ca1", "ca2"][index % 2], [0, 1, 2, 3, 5, 8, 9, 64, 65, 70, 1000, 1001, 5000, u64::MAX][index]);
        let (serial, id) = (serial.to_string(), format!("id{}", index % 6));
        let public = format!("{name}.pub");
        assert!(keygen(dir, &["-q", "-s", ca, "-I", &id, "-n", "ada", "-z", &serial, &public]).status.success());
        names.push(name);
    }
    let certificates: Vec<String> = names.iter().map(|name| format!("{name}-cert.pub")).collect();
    let mut verdicts = [0, 0];
    for round in 0..60 {
        let mut spec = String::new();
        for _ in 0..drawn.below(7) {
            let any = usize::try_from(drawn.below(14)).unwrap();
            let public = std::fs::read_to_string(dir.join(format!("k{any}.pub"))).unwrap();
            let first = 1 + drawn.below(80);
            spec += &match drawn.below(9) {
                0 => format!("serial: {first}\n"),
                1 => format!("serial: {first}-{}\n", first + drawn.below(2000)),
                2 => (0..40).map(|step| format!("serial: {}\n", first + 3 * step)).collect(),
                3 => format!("serial: {}\n", u64::MAX),
                4 => format!("id: id{}\n", drawn.below(7)),
                5 => format!("key: {public}"),
                6 => format!("sha1: {public}"),
                7 => format!("sha256: {public}"),
                _ => format!("key: {}", std::fs::read_to_string(dir.join(["ca1.pub", "ca2.pub"][any % 2])).unwrap()),
            };
        }
        std::fs::write(dir.join("spec"), &spec).unwrap();
        // serials and ids are of one authority, or of any
        let authority = ["ca1.pub", "ca2.pub", "none"][round % 3];
        let made = keygen(dir, &["-q", "-k", "-f", "krl", "-z", "5", "-s", authority, "spec"]);
        assert!(made.status.success(), "{spec}{}", String::from_utf8_lossy(&made.stderr));
        let krl =
            Krl::parse(&std::fs::read(dir.join("krl")).unwrap()).unwrap_or_else(|error| panic!("{error}: {spec}"));
        let plain: Vec<String> = names.iter().map(|name| format!("{name}.pub")).collect();
        let asked: Vec<&str> = certificates.iter().chain(&plain).map(String::as_str).collect();
        let said = keygen(dir, &[&["-Q", "-f", "krl"], &asked[..]].concat());
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert_eq!(said.lines().count(), asked.len(), "{said}");
        for (name, line) in asked.iter().zip(said.lines()) {
            let theirs = line.ends_with("REVOKED");
            assert!(theirs || line.ends_with("ok"), "{line}");
            let wire = wire(&dir.join(name));
            let ours = match name.contains("-cert") {
                true => krl.revokes_certificate(&Certificate::parse(&wire).unwrap()),
                false => krl.revokes_key(&wire),
            };
            assert_eq!(ours, theirs, "{name} in round {round}:\n{spec}");
            verdicts[usize::from(ours)] += 1;
        }
        if round % 10 == 9 {
            // -u adds to what is there
            std::fs::write(dir.join("more"), "id: id3\n").unwrap();
            assert!(keygen(dir, &["-q", "-k", "-u", "-f", "krl", "-s", "ca2.pub", "more"]).status.success());
            let more = Krl::parse(&std::fs::read(dir.join("krl")).unwrap()).unwrap();
            assert!(more.revokes_certificate(&Certificate::parse(&wire(&dir.join("k3-cert.pub"))).unwrap()), "{spec}");
        }
    }
    assert!(verdicts[0] > 300 && verdicts[1] > 300, "both are told often enough: {verdicts:?}");
}
