//! Keys that are asked for at the same time: one transaction registers them, and each caller has its own answer.

use rederive::registry::{Made, NewKey, Owner, RegistryError, Result, TroubleKind, UsedSignature, UsedToken};

use super::{Place, id, new_key, place};

/// More than go into one transaction.
const MANY: u32 = 150;

/// A key that is asked for with a signature of its own, and every third with a client token of its own.
fn asked(serial: u32, owner: &Owner) -> (NewKey, Option<UsedToken>) {
    let hash = std::array::from_fn(|place| serial.to_be_bytes()[place % 4]);
    let signature = Some(UsedSignature { hash, expires_at: 320 });
    let token = serial.is_multiple_of(3).then_some(UsedToken { hash, request: [2; 32], attempt: 0 });
    (NewKey { signature, quota: 1000, ..new_key(id(serial), owner) }, token)
}

/// Asks for all of them at once, while another process holds the write lock, so that they come together.
async fn ask_at_once(place: &Place, asked: Vec<(NewKey, Option<UsedToken>)>) -> Vec<Result<Made>> {
    let mut lock = place.lock().await;
    let tasks = asked.into_iter().map(|(new, token)| {
        let registry = place.registry.clone();
        tokio::spawn(async move {
            match token {
                Some(token) => registry.insert_key_once(&new, &token).await,
                None => registry.insert_key(&new).await.map(Made::New),
            }
        })
    });
    let tasks: Vec<_> = tasks.collect();
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    lock.run("ROLLBACK").await;
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.expect("no panic"));
    }
    answers
}

async fn is_there(place: &Place, serial: u32) -> bool {
    place.registry.key(&id(serial)).await.expect("reads").is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_fails_loses_nothing() {
    let place = place().await;
    let alice = place.user("alice").await;
    let keys = || (0..MANY).map(|serial| asked(serial, &alice)).collect::<Vec<_>>();
    place.fail_commits().await;
    for answer in ask_at_once(&place, keys()).await {
        assert!(matches!(answer, Err(RegistryError::Trouble(_))), "{answer:?}");
    }
    let mut door = place.side_door().await;
    for table in ["access_keys", "used_signatures", "client_tokens", "serials_used"] {
        assert_eq!(door.count(table).await, 0, "{table}");
    }
    place.let_commits_be().await;
    // The very same: no signature, no token and no id was used up.
    for (serial, answer) in (0..).zip(ask_at_once(&place, keys()).await) {
        assert!(matches!(answer, Ok(Made::New(row)) if row.id == id(serial)));
        assert!(is_there(&place, serial).await);
    }
    let counts = [("access_keys", MANY), ("used_signatures", MANY), ("client_tokens", MANY / 3), ("serials_used", 1)];
    for (table, count) in counts {
        assert_eq!(door.count(table).await, i64::from(count), "{table}");
    }
}

/// Whoever was told of a key has it, and whoever was told of trouble has none.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_tells_what_is_so() {
    let place = place().await;
    let alice = place.user("alice").await;
    place.refuse_insert(&id(70)).await;
    let mut troubled = 0;
    let keys = (0..MANY).map(|serial| asked(serial, &alice)).collect();
    for (serial, answer) in (0..).zip(ask_at_once(&place, keys).await) {
        match answer {
            Ok(_) => assert!(is_there(&place, serial).await),
            Err(RegistryError::Trouble(_)) => {
                assert!(!is_there(&place, serial).await);
                troubled += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!((1..MANY).contains(&troubled), "{troubled}");
    assert!(!is_there(&place, 70).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_is_its_callers_own() {
    let place = place().await;
    let (alice, bob, carol) = (place.user("alice").await, place.user("bob").await, place.user("carol").await);
    let gone = place.user("dave").await;
    place.registry.delete_user(gone.account, gone.user_id.as_ref().expect("a user"), 15).await.expect("deleted");
    place.vandalise("UPDATE users SET tags = 'none' WHERE name = 'carol'").await;
    let before = asked(40, &alice).0;
    place.registry.insert_key(&before).await.expect("made");
    let good = |serial| asked(serial, &alice);
    let changed = |serial, change: &dyn Fn(&mut NewKey)| {
        let (mut new, token) = asked(serial, &alice);
        change(&mut new);
        (new, token)
    };
    let described = |new: &mut NewKey| (new.owner, new.description) = (carol.clone(), Some("hers".into()));
    let keys = vec![
        good(1),
        changed(2, &|new| new.quota = 1),
        good(4),
        changed(5, &|new| new.signature = before.signature),
        changed(7, &|new| new.owner = gone.clone()),
        changed(8, &|new| new.id = before.id),
        changed(10, &described),
        changed(11, &|new| new.created_by = Some(id(99))),
        asked(13, &bob),
        good(14),
    ];
    let answers = ask_at_once(&place, keys).await;
    for (number, answer) in answers.iter().enumerate() {
        let is_right = match number {
            1 => matches!(answer, Err(RegistryError::QuotaExceeded(1))),
            3 => matches!(answer, Err(RegistryError::SignatureReplayed)),
            4 => matches!(answer, Err(RegistryError::NoSuchUser { .. })),
            5 => matches!(answer, Err(RegistryError::DuplicateId(_))),
            6 => matches!(answer, Err(RegistryError::Trouble(trouble)) if trouble.kind == TroubleKind::BadRow),
            7 => matches!(answer, Err(RegistryError::ActorDenied(_))),
            _ => matches!(answer, Ok(Made::New(_))),
        };
        assert!(is_right, "{number}: {answer:?}");
    }
    let mut door = place.side_door().await;
    for (table, count) in [("access_keys", 5), ("used_signatures", 5)] {
        assert_eq!(door.count(table).await, count, "{table}");
    }
}
