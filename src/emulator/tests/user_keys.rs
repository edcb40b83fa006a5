//! IAM's calls about the keys of its users, as they are on the wire. `backend/aws/user_keys_tests.rs` has who may make them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::callers::*;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// An RSA key of 2048 bits whose private half nobody has, as a form carries it.
fn body(fill: u8) -> String {
    let modulus = [&[0][..], &[fill; 256]].concat();
    let mut wire = Vec::new();
    for part in [&b"ssh-rsa"[..], &[1, 0, 1], &modulus] {
        wire.extend((part.len() as u32).to_be_bytes());
        wire.extend(part);
    }
    format!("ssh-rsa+{}", STANDARD.encode(wire).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D"))
}

async fn call(callers: &Callers, service: &str, rest: &str) -> String {
    let form = format!("Version=2010-05-08&Action={rest}");
    callers.signed_call((service, alice()), "/", &[FORM], &form).await
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    text.split_once(start).and_then(|(_, rest)| rest.split_once(end)).unwrap_or_else(|| panic!("{text}")).0
}

#[tokio::test]
async fn keys_are_uploaded_listed_in_pages_and_given_as_they_came() {
    let callers = Callers::start().await;
    let mut ids = Vec::new();
    for fill in [0xf1, 0xf2, 0xf3] {
        let answer =
            call(&callers, "iam", &format!("UploadSSHPublicKey&UserName=alice&SSHPublicKeyBody={}", body(fill))).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("<Status>Active</Status>"), "{answer}");
        ids.push(between(&answer, "<SSHPublicKeyId>", "</SSHPublicKeyId>").to_owned());
    }
    let (mut found, mut marker) = (Vec::new(), String::new());
    loop {
        // without a name it is whoever asks
        let answer = call(&callers, "iam", &format!("ListSSHPublicKeys&MaxItems=2{marker}")).await;
        found.extend(answer.split("<SSHPublicKeyId>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned()));
        if answer.contains("<IsTruncated>false</IsTruncated>") {
            break;
        }
        marker = format!("&Marker={}", between(&answer, "<Marker>", "</Marker>"));
    }
    ids.sort();
    assert_eq!(found, ids);
    let get = format!("GetSSHPublicKey&UserName=alice&Encoding=SSH&SSHPublicKeyId={}", ids[0]);
    let answer = call(&callers, "iam", &get).await;
    assert!(answer.contains("<SSHPublicKeyBody>ssh-rsa AAAAB3NzaC1yc2E"), "{answer}");
    let update = format!("UpdateSSHPublicKey&UserName=alice&Status=Inactive&SSHPublicKeyId={}", ids[0]);
    assert!(call(&callers, "iam", &update).await.starts_with("HTTP/1.1 200 "));
    assert!(call(&callers, "iam", "ListSSHPublicKeys").await.contains("<Status>Inactive</Status>"));
}

#[tokio::test]
async fn what_is_wrong_is_refused_in_iam_s_form() {
    let callers = Callers::start().await;
    let upload = format!("UploadSSHPublicKey&UserName=alice&SSHPublicKeyBody={}", body(0xf1));
    assert!(call(&callers, "iam", &upload).await.starts_with("HTTP/1.1 200 "));
    for (rest, status, code) in [
        (upload.as_str(), 400, "DuplicateSSHPublicKey"),
        ("UploadSSHPublicKey&UserName=alice&SSHPublicKeyBody=ssh-ed25519+AAAA", 400, "InvalidPublicKey"),
        ("ListSSHPublicKeys&UserName=eve", 404, "NoSuchEntity"),
        ("GetSSHPublicKey&UserName=alice&Encoding=SSH&SSHPublicKeyId=APKA0", 404, "NoSuchEntity"),
        ("GetSSHPublicKey&UserName=alice&SSHPublicKeyId=APKA0", 400, "ValidationError"),
        ("DeleteSSHPublicKey&UserName=alice&SSHPublicKeyId=APKA0", 404, "NoSuchEntity"),
        ("CreateUser&UserName=eve", 403, "InvalidAction"),
    ] {
        let answer = call(&callers, "iam", rest).await;
        let right =
            answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(&format!("<Code>{code}</Code>"));
        assert!(right && answer.contains("xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\""), "{rest}: {answer}");
    }
    let of_another = call(&callers, "sts", "ListSSHPublicKeys").await;
    assert!(of_another.contains("<Code>SignatureDoesNotMatch</Code>") && of_another.contains("'iam'"), "{of_another}");
    let forms =
        callers.signed_call(("iam", alice()), "/", &[FORM], "Action=ListSSHPublicKeys&Version=2011-06-15").await;
    assert!(forms.contains("<Code>SignatureDoesNotMatch</Code>") && forms.contains("'sts'"), "{forms}");
}
