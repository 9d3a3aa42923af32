//! The permanent vectors of `docs/derivation.md`, computed by an independent implementation.

use std::path::Path;

use rederive_hsm::access_key_id::{AccessKeyId, Account, Fields, Generation, Layout, Prefix, TagKey};
use rederive_hsm::derivation::{
    Purpose, TokenHash, secret_access_key, secret_message, serial, serial_message, share, subkey_message,
};
use rederive_hsm::secret::Secret32;
use serde_json::Value;

fn vectors(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/derivation").join(name);
    serde_json::from_slice(&std::fs::read(path).expect("a vector file")).expect("JSON")
}

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().expect("text");
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
}

fn master() -> Secret32 {
    Secret32::take_slice(&mut bytes(&vectors("ids.json")["master"])).expect("32 bytes")
}

fn tag_key() -> TagKey {
    TagKey::new(&master().hmac(&subkey_message(Purpose::AccessKeyIdTag)))
}

fn fields(row: &Value) -> Fields {
    let generation = Generation::new(row["generation"].as_u64().expect("number") as u8).expect("in range");
    let needs_row = row["needs_row"].as_bool().expect("flag");
    let serial = row["serial"].as_u64().expect("number");
    match row["layout"].as_str() {
        Some("account") => Fields::Account {
            account: Account::new(row["account"].as_u64().expect("number")).expect("in range"),
            generation,
            needs_row,
            serial: serial as u32,
        },
        _ => Fields::Opaque { generation, needs_row, serial },
    }
}

#[test]
fn ids_are_made_and_read_as_specified() {
    for row in vectors("ids.json")["ids"].as_array().expect("rows") {
        let text = row["id"].as_str().expect("text");
        let prefix = Prefix::parse(row["prefix"].as_str().expect("text")).expect("a prefix");
        let made = AccessKeyId::assemble(prefix, &fields(row), &tag_key());
        assert_eq!(made.as_str(), text);
        let read = AccessKeyId::parse(text.as_bytes()).expect("well-formed");
        assert_eq!(read.fields(), fields(row));
        assert!(read.has_tag_of(&tag_key()), "{text}");
    }
}

#[test]
fn what_is_no_id_of_ours_is_refused() {
    for row in vectors("ids.json")["refused"].as_array().expect("rows") {
        let accepted = AccessKeyId::parse(row["id"].as_str().expect("text").as_bytes())
            .is_some_and(|id| id.has_tag_of(&tag_key()));
        assert!(!accepted, "{row}");
    }
}

#[test]
fn any_one_character_changed_breaks_an_id_or_its_tag_as_often_as_the_tag_is_wide() {
    let id = "AKIARZPUZDIKAAERULUU";
    let (mut changed, mut passed) = (0, 0);
    for at in 4..20 {
        for c in b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" {
            let mut text = id.as_bytes().to_vec();
            if text[at] == *c {
                continue;
            }
            text[at] = *c;
            changed += 1;
            passed += u32::from(AccessKeyId::parse(&text).is_some_and(|id| id.has_tag_of(&tag_key())));
        }
    }
    // 496 changes against 11 bits of tag: a quarter of one is expected, three would be suspicious.
    assert!(changed == 496 && passed < 3, "{passed} of {changed}");
}

#[test]
fn secrets_are_derived_as_specified() {
    for row in vectors("secrets.json")["secrets"].as_array().expect("rows") {
        let id = AccessKeyId::parse(row["id"].as_str().expect("text").as_bytes()).expect("well-formed");
        let token = row["token"].as_str().map(|_| TokenHash::of(&bytes(&row["token"])));
        let secret = secret_access_key(&master().hmac(&secret_message(&id, token.as_ref())));
        assert_eq!(secret.expose(), row["secret"].as_str().expect("text"));
    }
}

#[test]
fn subkeys_shares_and_serials_are_derived_as_specified() {
    let vectors = vectors("secrets.json");
    for (purpose, name) in [
        (Purpose::AccessKeyIdTag, "access-key-id-tag"),
        (Purpose::SessionToken, "session-token"),
        (Purpose::CheckValue, "check-value"),
    ] {
        assert_eq!(master().hmac(&subkey_message(purpose)).expose().to_vec(), bytes(&vectors["subkeys"][name]));
    }
    for row in vectors["shares"].as_array().expect("rows") {
        let account = Account::new(row["account"].as_u64().expect("number")).expect("in range");
        assert_eq!(u64::from(share(account)), row["share"].as_u64().expect("number"));
    }
    for row in vectors["serials"].as_array().expect("rows") {
        let account = Account::new(row["account"].as_u64().expect("number")).expect("in range");
        let nonce = bytes(&row["nonce"]).try_into().expect("32 bytes");
        let layout = if row["layout"] == "account" { Layout::Account } else { Layout::Opaque };
        let found = serial(&master().hmac(&serial_message(account, &nonce)), layout);
        assert_eq!(found, row["serial"].as_u64().expect("number"));
    }
}
