//! Several clients work on one user's keys over two issuers, one of which is killed: what each of them saw has an order.

use std::io::ErrorKind;
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant};

use crate::common::{self, Pair};
use crate::history::{Asked, Keys, Operation, Told, is_linearizable};
use crate::postgres;
use crate::support::{Fleet, Node, pair};

/// Operations of a client in a history.
const EACH: usize = 12;
const CLIENTS: usize = 4;

/// What a client asks next: of the ids that anybody was told, and a draw.
fn next(known: &[String], draw: u64) -> Asked {
    let id = || known[(draw / 8) as usize % known.len()].clone();
    match draw % 8 {
        0 | 1 => Asked::Create,
        2 if !known.is_empty() => Asked::Switch(id(), false),
        3 if !known.is_empty() => Asked::Switch(id(), true),
        4 | 5 if !known.is_empty() => Asked::Delete(id()),
        _ => Asked::List,
    }
}

/// Asks an issuer. `None` if it was gone before it could be asked.
fn ask(node: &Node, root: &Pair, user: &str, nonce: &str, asked: &Asked) -> Option<Told> {
    let on = |id: &str, rest: &str| format!("UserName={user}&AccessKeyId={id}{rest}");
    let body = match asked {
        Asked::Create => format!("Action=CreateAccessKey&UserName={user}&Nonce={nonce}"),
        Asked::Switch(id, true) => format!("Action=UpdateAccessKey&{}", on(id, "&Status=Active")),
        Asked::Switch(id, false) => format!("Action=UpdateAccessKey&{}", on(id, "&Status=Inactive")),
        Asked::Delete(id) => format!("Action=DeleteAccessKey&{}", on(id, "")),
        Asked::List => format!("Action=ListAccessKeys&UserName={user}"),
    };
    Some(match (node.try_to_send(&node.iam_call(root, &body)), asked) {
        (Err(ureq::Error::Io(error)), _) if error.kind() == ErrorKind::ConnectionRefused => return None,
        (Ok((200, xml)), Asked::Create) => Told::Created(pair(&xml).access_key_id),
        (Ok((200, xml)), Asked::List) => Told::Listed(listed(&xml)),
        (Ok((200, _)), _) => Told::Done,
        (Ok((409, _)), Asked::Create) => Told::QuotaExceeded,
        (Ok((404, _)), _) => Told::NoSuchKey,
        (Err(_) | Ok((503, _)), _) => Told::Nothing,
        (Ok((status, xml)), asked) => panic!("{asked:?}: {status} {xml}"),
    })
}

fn listed(xml: &str) -> Keys {
    let field = |member: &str, name: &str| {
        let rest = member.split(&format!("<{name}>")).nth(1).expect("a field");
        rest.split('<').next().expect("an end").to_owned()
    };
    let members = xml.split("<member>").skip(1);
    members.map(|member| (field(member, "AccessKeyId"), field(member, "Status") == "Active")).collect()
}

#[test]
fn what_clients_see_has_an_order() {
    let fleet = Fleet::on_postgres(&postgres::database());
    let two = RwLock::new(fleet.another_issuer("two", &[]));
    let (mut operations, mut lost) = (0, 0);
    for round in 0..if common::long() { 200 } else { 8_u64 } {
        let user = format!("h{round}");
        fleet.iam(&format!("Action=CreateUser&UserName={user}"));
        let (history, known) = (Mutex::new(Vec::new()), Mutex::new(Vec::<String>::new()));
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    let (history, known, two, fleet, user) = (&history, &known, &two, &fleet, &user);
                    scope.spawn(move || {
                        let mut draw = round * 31 + client as u64 + 1;
                        for number in 0..EACH {
                            draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                            let asked = next(&known.lock().expect("no panic"), draw >> 33);
                            let nonce = format!("{client}-{number}");
                            let began = Instant::now();
                            let told = match (client + number) % 2 {
                                0 => ask(fleet.issuer(), &fleet.root, user, &nonce, &asked),
                                _ => ask(&two.read().expect("no panic"), &fleet.root, user, &nonce, &asked),
                            };
                            let ended = Instant::now();
                            let Some(told) = told else { continue };
                            if let Told::Created(id) = &told {
                                known.lock().expect("no panic").push(id.clone());
                            }
                            history.lock().expect("no panic").push(Operation { asked, told, began, ended });
                        }
                    })
                })
                .collect();
            if round % 2 == 1 {
                std::thread::sleep(Duration::from_millis(20 + round * 7 % 60));
                two.read().expect("no panic").kill_by_hand();
            }
            clients.into_iter().for_each(|client| client.join().expect("no panic"));
        });
        if round % 2 == 1 {
            *two.write().expect("no panic") = fleet.another_issuer("two", &[]);
        }
        let history = history.into_inner().expect("no panic");
        operations += history.len();
        lost += history.iter().filter(|one| one.told == Told::Nothing).count();
        assert!(is_linearizable(&history), "round {round} has no order: {history:#?}");
    }
    println!("{operations} operations, {lost} answers lost: every history has an order");
}
