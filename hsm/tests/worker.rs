//! The worker's rules and its keeper, with masters in software: everything that needs no token.

use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use proptest::prelude::*;
use rederive_hsm::access_key_id::{AccessKeyId, Account, Fields, Generation, Prefix, TagKey};
use rederive_hsm::config::{
    GenerationConfig, KeyClass, LayoutName, PinSource, PrefixConfig, Rights, TokenConfig, WorkerConfig,
};
use rederive_hsm::derivation::{Purpose, share, subkey_message};
use rederive_hsm::feed_head::FeedHead;
use rederive_hsm::pkcs11::{TokenError, hex};
use rederive_hsm::region_set::RegionSet;
use rederive_hsm::secret::Secret32;
use rederive_hsm::sigv2::{Hash, Question};
use rederive_hsm::sigv4a_key::PublicKey;
use rederive_hsm::tally::Sheet;
use rederive_hsm::wire::{Answer, Hello, Reason, Request, StartFailure};
use rederive_hsm::worker::{Keeper, MasterKeys, Now, Rules};
use sha1::Sha1;

/// A master in software; `flips` makes it wrong in one bit.
struct Software {
    flips: bool,
}

impl MasterKeys for Software {
    fn hmac(&mut self, _: Generation, message: &[u8]) -> Result<Secret32, TokenError> {
        let mut master: [u8; 32] = std::array::from_fn(|at| at as u8);
        let answer = Secret32::take(&mut master).hmac(message);
        let mut bytes = *answer.expose();
        bytes[7] ^= u8::from(self.flips);
        Ok(Secret32::take(&mut bytes))
    }

    fn sign_head(&mut self, _: &[u8]) -> Result<([u8; 32], [u8; 64]), TokenError> {
        Ok(([1; 32], [2; 64]))
    }
}

/// 2026-01-02T12:00:00Z.
const NOON: i64 = 1_767_355_200;

/// Of the software master, in hexadecimal.
fn check_value() -> String {
    let value = Software { flips: false }.hmac(generation(0), &subkey_message(Purpose::CheckValue));
    hex(value.expect("software does not fail").expose())
}

fn config() -> WorkerConfig {
    let generation = |number, issuing, share_last| GenerationConfig {
        number,
        issuing,
        check_value: check_value(),
        class: KeyClass::Strict,
        share_first: 0,
        share_last,
    };
    WorkerConfig {
        token: TokenConfig {
            name: "t".into(),
            module: "none".into(),
            label: Some("t".into()),
            serial: None,
            pin: PinSource::Env("NONE".into()),
            sessions: 1,
            classes: Default::default(),
            session_copies: Default::default(),
            cannot_tell: Default::default(),
            latch: None,
        },
        // Account 123456789012 has the share 0x2d40: inside generation 0 and 1, outside generation 2.
        generations: vec![generation(0, true, 0xffff), generation(1, false, 0xffff), generation(2, true, 0x2d3f)],
        rights: Rights {
            issue: true,
            services: vec!["s3".into(), "sts".into(), "sqs".into()],
            regions: vec!["local".into()],
            presigned: vec!["s3".into()],
            signature_v2: vec!["s3".into(), "iam".into(), "sts".into(), "ec2".into()],
            signing_keys_per_second: 3,
            signatures_v2_per_second: 2,
            issues_per_second: 2,
            issues_per_account_a_day: 3,
        },
        prefixes: PrefixConfig::default(),
        layout: LayoutName::Account,
        listen: None,
    }
}

fn rules(config: &WorkerConfig) -> Rules {
    Rules::new(config, &mut Software { flips: false }).expect("a good configuration")
}

fn account() -> Account {
    Account::parse("123456789012").expect("twelve digits")
}

fn generation(number: u8) -> Generation {
    Generation::new(number).expect("in range")
}

fn id(prefix: &str, of: u8) -> AccessKeyId {
    let tag_key = Software { flips: false }
        .hmac(generation(of), &subkey_message(Purpose::AccessKeyIdTag))
        .map(|key| TagKey::new(&key))
        .expect("software does not fail");
    let fields = Fields::Account { account: account(), generation: generation(of), needs_row: false, serial: 7 };
    AccessKeyId::assemble(Prefix::parse(prefix).expect("letters"), &fields, &tag_key)
}

fn signing_key(id: AccessKeyId, date: &[u8; 8], region: &str, service: &str) -> Request {
    Request::SigningKey { id, date: *date, region: region.into(), service: service.into() }
}

fn public_key(id: AccessKeyId, date: &[u8; 8], regions: &str, service: &str) -> Request {
    let regions = RegionSet::parse(regions.as_bytes()).expect("a region set");
    Request::SigV4aPublicKey { id, date: *date, service: service.into(), regions }
}

fn matches_v2(id: AccessKeyId, service: &str, text: &[u8], signature: &[u8]) -> Request {
    let question = Question::new(id, service.into(), Hash::Sha1, signature.to_vec(), text.to_vec());
    Request::MatchesV2(question.expect("20 bytes, and not too long a text"))
}

fn issue(of: u8) -> Request {
    Request::Issue { generation: generation(of), account: account(), needs_row: false, nonce: [0; 32] }
}

#[test]
fn the_rules_refuse_what_the_design_says_and_nothing_else() {
    assert_eq!(share(account()), 0x2d40);
    let good = id("AKIA", 0);
    let mut wrong_tag = good.as_str().to_owned();
    wrong_tag.replace_range(19.., if good.as_str().ends_with('A') { "B" } else { "A" });
    let wrong_tag = AccessKeyId::parse(wrong_tag.as_bytes()).expect("well-formed");
    let late = NOON + 11 * 3600 + 30 * 60;
    let rows = [
        ("a good one", signing_key(good, b"20260102", "local", "s3"), NOON, Ok(())),
        ("prefix of nobody", signing_key(id("QQQQ", 0), b"20260102", "local", "s3"), NOON, Err(Reason::Prefix)),
        ("temporary", signing_key(id("ASIA", 0), b"20260102", "local", "s3"), NOON, Err(Reason::Prefix)),
        ("wrong tag", signing_key(wrong_tag, b"20260102", "local", "s3"), NOON, Err(Reason::Tag)),
        ("unknown generation", signing_key(id("AKIA", 9), b"20260102", "local", "s3"), NOON, Err(Reason::Generation)),
        ("share", signing_key(id("AKIA", 2), b"20260102", "local", "s3"), NOON, Err(Reason::Share)),
        ("service", signing_key(good, b"20260102", "local", "iam"), NOON, Err(Reason::Service)),
        ("region", signing_key(good, b"20260102", "elsewhere", "s3"), NOON, Err(Reason::Region)),
        ("any region for sts", signing_key(good, b"20260102", "elsewhere", "sts"), NOON, Ok(())),
        ("tomorrow at noon", signing_key(good, b"20260103", "local", "s3"), NOON, Err(Reason::Date)),
        ("tomorrow at 23:30", signing_key(good, b"20260103", "local", "s3"), late, Ok(())),
        ("in two days at 23:30", signing_key(good, b"20260104", "local", "s3"), late, Err(Reason::Date)),
        ("seven days back, presigned", signing_key(good, b"20251226", "local", "s3"), NOON, Ok(())),
        ("eight days back, presigned", signing_key(good, b"20251225", "local", "s3"), NOON, Err(Reason::Date)),
        ("yesterday", signing_key(good, b"20260101", "local", "sts"), NOON, Ok(())),
        ("two days back, not presigned", signing_key(good, b"20251231", "local", "sts"), NOON, Err(Reason::Date)),
        ("no such day", signing_key(good, b"20260230", "local", "s3"), NOON, Err(Reason::Date)),
        ("V4A", public_key(good, b"20260102", "local", "s3"), NOON, Ok(())),
        ("V4A, a pattern", public_key(good, b"20260102", "eu-1,l*", "s3"), NOON, Ok(())),
        ("V4A, another region", public_key(good, b"20260102", "eu-*", "s3"), NOON, Err(Reason::Region)),
        ("V4A, any region for sts", public_key(good, b"20260102", "eu-1", "sts"), NOON, Ok(())),
        ("V4A, service", public_key(good, b"20260102", "*", "ec2"), NOON, Err(Reason::Service)),
        ("V4A, eight days back", public_key(good, b"20251225", "*", "s3"), NOON, Err(Reason::Date)),
        ("V4A, tomorrow", public_key(good, b"20260103", "*", "s3"), NOON, Err(Reason::Date)),
        ("V4A, temporary", public_key(id("ASIA", 0), b"20260102", "*", "s3"), NOON, Err(Reason::Prefix)),
        ("V4A, wrong tag", public_key(wrong_tag, b"20260102", "*", "s3"), NOON, Err(Reason::Tag)),
        ("V4A, generation", public_key(id("AKIA", 9), b"20260102", "*", "s3"), NOON, Err(Reason::Generation)),
        ("V4A, share", public_key(id("AKIA", 2), b"20260102", "*", "s3"), NOON, Err(Reason::Share)),
        ("V2", matches_v2(good, "s3", b"t", &[0; 20]), NOON, Ok(())),
        ("V2, no opt-in", matches_v2(good, "sqs", b"t", &[0; 20]), NOON, Err(Reason::Version)),
        ("V2, never for sts", matches_v2(good, "sts", b"t", &[0; 20]), NOON, Err(Reason::Version)),
        ("V2, service", matches_v2(good, "ec2", b"t", &[0; 20]), NOON, Err(Reason::Service)),
        ("V2, temporary", matches_v2(id("ASIA", 0), "s3", b"t", &[0; 20]), NOON, Err(Reason::Prefix)),
        ("V2, wrong tag", matches_v2(wrong_tag, "s3", b"t", &[0; 20]), NOON, Err(Reason::Tag)),
        ("V2, generation", matches_v2(id("AKIA", 9), "s3", b"t", &[0; 20]), NOON, Err(Reason::Generation)),
        ("V2, share", matches_v2(id("AKIA", 2), "s3", b"t", &[0; 20]), NOON, Err(Reason::Share)),
        ("issue", issue(0), NOON, Ok(())),
        ("issue where it only verifies", issue(1), NOON, Err(Reason::NotIssuing)),
        ("issue outside the share", issue(2), NOON, Err(Reason::Share)),
        ("issue in an unknown generation", issue(9), NOON, Err(Reason::Generation)),
        ("tag key", Request::TagKey(generation(1)), NOON, Ok(())),
        ("tag key of an unknown generation", Request::TagKey(generation(9)), NOON, Err(Reason::Generation)),
        ("check", Request::Check(generation(0)), NOON, Ok(())),
    ];
    for (what, request, now, expected) in rows {
        assert_eq!(rules(&config()).allow(&request, Now(now)), expected, "{what}");
    }
    let mut config = config();
    config.rights.regions = vec!["*".into()];
    assert_eq!(rules(&config).allow(&public_key(good, b"20260102", "eu-1", "s3"), Now(NOON)), Ok(()), "any region");
}

#[test]
fn a_worker_that_is_not_an_issuers_makes_no_keys() {
    let mut config = config();
    config.rights.issue = false;
    let rules = rules(&config);
    assert_eq!(rules.allow(&issue(0), Now(NOON)), Err(Reason::NotIssuer));
    assert_eq!(rules.allow(&Request::SignHead(head(1)), Now(NOON)), Err(Reason::NotIssuer));
    let scope = |service| signing_key(id("AKIA", 0), b"20260102", "local", service);
    assert_eq!(rules.allow(&scope("sts"), Now(NOON)), Err(Reason::Service), "users manage keys at issuers");
    assert_eq!(rules.allow(&scope("s3"), Now(NOON)), Ok(()), "the control");
}

fn head(number: u64) -> FeedHead {
    FeedHead { epoch: [1; 16], number, hash: [number as u8; 32], time: NOON }
}

#[test]
fn no_head_is_signed_that_contradicts_one_before() {
    let rules = rules(&config());
    let sign = |head: FeedHead| rules.allow(&Request::SignHead(head), Now(NOON));
    assert_eq!(sign(FeedHead { time: NOON + 6, ..head(5) }), Err(Reason::Date), "by the worker's own clock");
    assert_eq!(sign(FeedHead { time: NOON - 6, ..head(5) }), Err(Reason::Date));
    assert_eq!(sign(head(5)), Ok(()));
    assert_eq!(sign(FeedHead { time: NOON + 1, ..head(5) }), Ok(()), "the same a second later");
    assert_eq!(sign(head(4)), Err(Reason::Fork), "it goes back");
    assert_eq!(sign(FeedHead { hash: [9; 32], ..head(5) }), Err(Reason::Fork), "another hash of one number");
    assert_eq!(sign(FeedHead { epoch: [2; 16], ..head(6) }), Err(Reason::Fork), "another epoch");
    assert_eq!(sign(head(6)), Ok(()));
}

#[test]
fn caps_hold_within_a_second_and_open_in_the_next() {
    let rules = rules(&config());
    let request = signing_key(id("AKIA", 0), b"20260102", "local", "s3");
    let ask = |at: i64| (0..5).map(|_| rules.allow(&request, Now(at)).is_ok()).collect::<Vec<_>>();
    assert_eq!(ask(NOON), [true, true, true, false, false]);
    assert_eq!(ask(NOON + 1), [true, true, true, false, false]);
    let key = public_key(id("AKIA", 0), b"20260102", "local", "s3");
    assert!(rules.allow(&key, Now(NOON + 1)).is_err(), "the same cap");
    let v2 = matches_v2(id("AKIA", 0), "s3", b"t", &[0; 20]);
    let asked = (0..4).map(|_| rules.allow(&v2, Now(NOON + 1)).is_ok()).collect::<Vec<_>>();
    assert_eq!(asked, [true, true, false, false], "another cap");
    assert!(rules.allow(&issue(0), Now(NOON + 1)).is_ok(), "another cap");
    let issued = |from| (from..from + 10).filter(|second| rules.allow(&issue(0), Now(*second)).is_ok()).count();
    assert_eq!(issued(NOON + 2), 2, "three a day for one account, of which one is used");
    assert_eq!(issued(NOON + 86_400), 3, "the next day");
}

#[test]
fn a_flipped_bit_on_one_session_never_becomes_a_new_secret() {
    let rules = Arc::new(rules(&config()));
    let keeper = |flips| Keeper::new(Software { flips: false }, Software { flips }, rules.clone());
    let made = keeper(false).answer(&issue(0)).expect("software does not fail");
    assert!(matches!(made, Answer::Issued(..)));
    let refused = keeper(true).answer(&issue(0)).expect("software does not fail");
    assert!(matches!(refused, Answer::Trouble(_)));
    let check = keeper(true).answer(&Request::Check(generation(0))).expect("software does not fail");
    assert!(matches!(check, Answer::Trouble(_)));
    let tag_key = keeper(true).answer(&Request::TagKey(generation(0))).expect("software does not fail");
    assert!(matches!(tag_key, Answer::Trouble(_)));
    // Wrong in the same way on both: the recorded check value shows it.
    let mut both = Keeper::new(Software { flips: true }, Software { flips: true }, rules.clone());
    let wrong = both.answer(&issue(0)).expect_err("it is not the key that was recorded");
    assert!(matches!(wrong, TokenError::CheckValue { .. }), "{wrong}");
    assert!(keeper(false).prove().is_ok() && keeper(true).prove().is_err());
}

/// The worked example of docs/derivation.md: the master is the bytes 00 to 1f.
const EXAMPLE: (&str, &str) = ("AKIARZPUZDIKAAERULUU", "6yyLEuMnK6MFqQ0b4c3JZ8ICZnVr5QdP/lpxxwkO");

#[test]
fn what_is_answered_comes_of_the_secret_and_does_not_hold_it() {
    let id = AccessKeyId::parse(EXAMPLE.0.as_bytes()).expect("well formed");
    let mut keeper = Keeper::new(Software { flips: false }, Software { flips: false }, Arc::new(rules(&config())));
    let mut ask = |request: &Request| keeper.answer(request).expect("software does not fail");
    let key = ask(&public_key(id, b"20260102", "local", "s3"));
    let expected = PublicKey::derive(EXAMPLE.1.as_bytes(), EXAMPLE.0).expect("a key pair");
    assert!(matches!(&key, Answer::PublicKey(key) if *key == expected), "{key:?}");

    let mut mac = Hmac::<Sha1>::new_from_slice(EXAMPLE.1.as_bytes()).expect("any length");
    mac.update(b"GET\n\n\n1175139620\n/b/k");
    let signature: [u8; 20] = mac.finalize().into_bytes().into();
    let mut v2 = |text: &[u8], signature: &[u8; 20]| {
        let answer = ask(&matches_v2(id, "s3", text, signature));
        matches!(answer, Answer::Matches(true)) && !matches!(answer, Answer::Matches(false))
    };
    assert!(v2(b"GET\n\n\n1175139620\n/b/k", &signature));
    assert!(!v2(b"GET\n\n\n1175139620\n/b/l", &signature));
    for bit in 0..160 {
        let mut other = signature;
        other[bit / 8] ^= 1 << (bit % 8);
        assert!(!v2(b"GET\n\n\n1175139620\n/b/k", &other), "bit {bit}");
    }
}

fn any_request() -> impl Strategy<Value = Request> {
    let name = "[A-Za-z0-9-]{1,32}";
    let number = (0u8..=127).prop_map(generation);
    prop_oneof![
        ("[0-9]{8}", name, name).prop_map(|(date, region, service)| Request::SigningKey {
            id: id("AKIA", 0),
            date: date.as_bytes().try_into().expect("eight digits"),
            region,
            service,
        }),
        number.clone().prop_map(Request::TagKey),
        number.clone().prop_map(Request::Check),
        any::<u64>().prop_map(Request::Tally),
        (any::<[u8; 16]>(), any::<u64>(), any::<[u8; 32]>(), any::<i64>())
            .prop_map(|(epoch, number, hash, time)| Request::SignHead(FeedHead { epoch, number, hash, time })),
        ("[0-9]{8}", name, "[a-z0-9*-]{1,32}(,[a-z0-9*-]{1,32}){0,3}").prop_map(|(date, service, regions)| public_key(
            id("AKIA", 0),
            date.as_bytes().try_into().expect("eight digits"),
            &regions,
            &service
        )),
        (name, any::<bool>(), any::<[u8; 32]>(), proptest::collection::vec(any::<u8>(), 0..300)).prop_map(
            |(service, is_sha1, signature, text)| {
                let (hash, size) = if is_sha1 { (Hash::Sha1, 20) } else { (Hash::Sha256, 32) };
                let question = Question::new(id("AKIA", 0), service, hash, signature[..size].to_vec(), text);
                Request::MatchesV2(question.expect("of its size"))
            }
        ),
        (number, 0..=999_999_999_999u64, any::<bool>(), any::<[u8; 32]>()).prop_map(
            |(generation, account, needs_row, nonce)| Request::Issue {
                generation,
                account: Account::new(account).expect("in range"),
                needs_row,
                nonce,
            }
        ),
    ]
}

proptest! {
    #[test]
    fn requests_survive_the_wire(request in any_request(), number: u64) {
        prop_assert_eq!(Request::decode(&request.encode(number)), Ok((number, request)));
    }

    #[test]
    fn shortened_and_lengthened_requests_are_malformed(request in any_request(), cut in 1usize..8) {
        // The last field of these has no length of its own.
        prop_assume!(!matches!(request, Request::SigV4aPublicKey { .. } | Request::MatchesV2(_)));
        let whole = request.encode(1);
        prop_assert!(Request::decode(&whole[..whole.len() - cut.min(whole.len())]).is_err());
        prop_assert!(Request::decode(&[whole.as_slice(), &vec![0; cut]].concat()).is_err());
    }

    #[test]
    fn no_bytes_make_the_wire_panic(mut body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Request::decode(&body);
        let _ = Hello::decode(&body);
        let _ = Answer::decode(&mut body);
    }
}

#[test]
fn answers_survive_the_wire_and_leave_no_secret_in_the_buffer() {
    let mut bytes = [0x5a; 32];
    let mut frame = Answer::Key(Secret32::take(&mut bytes)).encode(9).to_vec();
    let (number, answer) = Answer::decode(&mut frame).expect("whole");
    assert!(number == 9 && matches!(answer, Answer::Key(key) if *key.expose() == [0x5a; 32]));
    assert_eq!(frame[9..], [0; 32], "wiped");

    let signed = Answer::SignedHead { public_key: [1; 32], signature: [2; 64] };
    let (_, decoded) = Answer::decode(&mut signed.encode(9).to_vec()).expect("whole");
    assert!(
        matches!(decoded, Answer::SignedHead { public_key, signature } if public_key == [1; 32] && signature == [2; 64])
    );

    let key = PublicKey::derive(EXAMPLE.1.as_bytes(), EXAMPLE.0).expect("a key pair");
    let (_, decoded) = Answer::decode(&mut Answer::PublicKey(key.clone()).encode(9).to_vec()).expect("whole");
    assert!(matches!(decoded, Answer::PublicKey(same) if same == key));
    let mut no_point = Answer::PublicKey(key).encode(9).to_vec();
    no_point[9] ^= 1;
    assert!(Answer::decode(&mut no_point).is_err(), "not on the curve");
    let tally = |counts: &[(u8, u8, u64)]| rederive_hsm::tally::Tally::from(counts.to_vec());
    let (own, all) = (tally(&[(1, 0, 7)]), tally(&[(1, 0, 9), (5, 255, u64::MAX)]));
    let sheet = Sheet { mark: 3, instance: [4; 8], own, all, uses: tally(&[]) };
    let mut frame = Answer::Tally(Box::new(sheet.clone())).encode(9).to_vec();
    let (_, decoded) = Answer::decode(&mut frame.clone()).expect("whole");
    assert!(matches!(decoded, Answer::Tally(same) if *same == sheet));
    frame.pop();
    assert!(Answer::decode(&mut frame).is_err(), "cut");
    for matches in [false, true] {
        let (_, decoded) = Answer::decode(&mut Answer::Matches(matches).encode(9).to_vec()).expect("whole");
        assert!(matches!(decoded, Answer::Matches(same) if same == matches));
    }

    let keeper = &mut Keeper::new(Software { flips: false }, Software { flips: false }, Arc::new(rules(&config())));
    let issued = keeper.answer(&issue(0)).expect("software does not fail");
    let Answer::Issued(id, secret) = &issued else { panic!("issued") };
    let mut frame = issued.encode(3).to_vec();
    let text = secret.expose().to_owned();
    assert!(frame.windows(40).any(|window| window == text.as_bytes()), "the control: it is there before");
    let (_, decoded) = Answer::decode(&mut frame).expect("whole");
    assert!(matches!(decoded, Answer::Issued(again, ref secret) if again == *id && secret.expose() == text));
    assert!(!frame.windows(8).any(|window| text.as_bytes().windows(8).any(|part| part == window)), "wiped");
}

#[test]
fn hellos_survive_the_wire() {
    let failed = Hello::Failed(StartFailure { pin_refused: true, text: "no such token".into() });
    assert_eq!(Hello::decode(&failed.encode()), Ok(failed));
    for held in [vec![], vec![generation(0), generation(127)]] {
        let ready = Hello::Ready(held);
        assert_eq!(Hello::decode(&ready.encode()), Ok(ready));
    }
    assert!(Hello::decode(&[rederive_hsm::wire::VERSION, 0, 128]).is_err(), "no such generation");
}
