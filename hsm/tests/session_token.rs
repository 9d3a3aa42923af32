//! Session tokens: the format, and that nothing but the very token opens.

use std::path::Path;

use rederive_hsm::access_key_id::AccessKeyId;
use rederive_hsm::derivation::{Purpose, TokenHash, secret_access_key, secret_message, subkey_message};
use rederive_hsm::secret::Secret32;
use rederive_hsm::session_token::{BadToken, Claims, Principal, decode_text, encode_text, open, seal};

fn master() -> Secret32 {
    Secret32::take(&mut std::array::from_fn(|at| at as u8))
}

fn key() -> Secret32 {
    master().hmac(&subkey_message(Purpose::SessionToken))
}

fn id(text: &str) -> AccessKeyId {
    AccessKeyId::parse(text.as_bytes()).expect("well-formed")
}

fn claims() -> Claims {
    Claims {
        issued_at: 1_767_355_200,
        expires_at: 1_767_358_800,
        principal: Principal {
            account: "123456789012".into(),
            arn: "arn:aws:sts::123456789012:assumed-role/reader/nightly".into(),
            user_id: "AROAEXAMPLEEXAMPLE234:nightly".into(),
            session_name: Some("nightly".into()),
        },
        parent: "AKIARZPUZDIKAAERULUU".into(),
        root_parent: "AKIARZPUZDIKAAERULUU".into(),
        policy: None,
        tags: [("team".to_owned(), "storage".to_owned())].into(),
        mfa: false,
    }
}

#[test]
fn the_vector_holds() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/derivation/session-token.json");
    let vector: serde_json::Value = serde_json::from_slice(&std::fs::read(path).expect("a vector file")).expect("JSON");
    let id = id(vector["id"].as_str().expect("text"));
    let text = encode_text(&seal(&key(), &id, &[7; 24], &claims()));
    assert_eq!(text, vector["token"].as_str().expect("text"));
    let token = decode_text(&text).expect("strict base64");
    assert_eq!(open(&key(), &id, &token), Ok(claims()));
    let secret = secret_access_key(&master().hmac(&secret_message(&id, Some(&TokenHash::of(&token)))));
    assert_eq!(secret.expose(), vector["secret"].as_str().expect("text"));
}

#[test]
fn any_flipped_bit_and_any_other_id_is_refused() {
    let own = id("ASIARZPUZDIKAAERULAE");
    let token = seal(&key(), &own, &[7; 24], &claims());
    assert!(open(&key(), &own, &token).is_ok(), "the control");
    assert_eq!(open(&key(), &id("AKIARZPUZDIKAAERULUU"), &token), Err(BadToken::Seal));
    for bit in 0..token.len() * 8 {
        let mut flipped = token.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(open(&key(), &own, &flipped).is_err(), "bit {bit}");
    }
    for length in 0..token.len() {
        assert!(open(&key(), &own, &token[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn text_must_re_encode_to_itself() {
    let text = encode_text(&[1, 0, 9, 9]);
    assert!(decode_text(&text).is_ok(), "the control");
    for bad in [
        text.trim_end_matches('=').to_owned(),
        format!("{text}\n"),
        text.replace('A', "-"),
        "AQ=".into(),
        "AR==".into(),
    ] {
        assert_eq!(decode_text(&bad), Err(BadToken::Text), "{bad:?}");
    }
}
