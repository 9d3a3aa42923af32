//! What both doors share: limits, isolation of requests, request ids, drain.

use std::sync::Arc;

use rederive::http::{Context, Handler, Request, Response, full, read_body};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::support::{Served, ask, ask_over, config};

/// Echoes the target; waits at `/wait`, panics at `/panic`, reads 10 bytes at `/body`.
struct Echo {
    entered: Arc<Semaphore>,
    go_on: Arc<Semaphore>,
}

impl Echo {
    fn new() -> (Self, Arc<Semaphore>, Arc<Semaphore>) {
        let (entered, go_on) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        (Self { entered: entered.clone(), go_on: go_on.clone() }, entered, go_on)
    }
}

impl Handler for Echo {
    async fn handle(&self, request: Request, context: Context) -> Response {
        let target = request.uri().to_string();
        match request.uri().path() {
            "/panic" => panic!("as asked"),
            "/wait" => {
                self.entered.add_permits(1);
                self.go_on.acquire().await.expect("never closed").forget();
            }
            "/id" => return Response::new(full(context.request_id.to_string())),
            "/body" => {
                let timeout = std::time::Duration::from_secs(600);
                return match read_body(request.into_body(), 10, timeout).await {
                    Ok(body) => Response::new(full(body)),
                    Err(error) => with_status(error.status().as_u16()),
                };
            }
            _ => {}
        }
        Response::new(full(target))
    }

    fn internal_error(&self, _: &Context) -> Response {
        with_status(500)
    }
}

fn with_status(status: u16) -> Response {
    let mut response = Response::new(full("trouble"));
    *response.status_mut() = status.try_into().expect("a status");
    response
}

async fn echo(limits: &str) -> Served {
    Served::start(&config(limits), Echo::new().0).await
}

#[tokio::test]
async fn the_target_is_the_one_that_was_sent() {
    let served = echo("").await;
    for target in ["/", "//a/./b/../c", "/%7Ea/%7ea", "/a%2Fb?x=%20&x=+&y", "/?", "/b?a=b=c&&"] {
        let mut stream = TcpStream::connect(served.address).await.expect("it listens");
        let request = format!("GET {target} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        assert_eq!(answer.split_once("\r\n\r\n").expect("a head").1, target);
    }
}

#[tokio::test]
async fn a_head_over_32_kib_is_refused() {
    let served = echo("").await;
    let head = |length| format!("GET /\nx-long: {}", "a".repeat(length));
    assert_eq!(ask(served.address, &head(30 * 1024), "").await.status, 200);
    assert_eq!(ask(served.address, &head(33 * 1024), "").await.status, 431);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let served = echo("").await;
    assert_eq!(ask(served.address, "POST /body", "1234567890").await.text(), "1234567890");
    assert_eq!(ask(served.address, "POST /body", "12345678901").await.status, 413);
}

#[tokio::test]
async fn a_panic_is_an_answer_and_hurts_nobody_else() {
    let (handler, entered, go_on) = Echo::new();
    let served = Served::start(&config(""), handler).await;
    let address = served.address;
    let other = tokio::spawn(async move { ask(address, "GET /wait", "").await });
    entered.acquire().await.expect("never closed").forget();
    let answer = ask(address, "GET /panic", "").await;
    assert_eq!((answer.status, answer.text()), (500, "trouble"));
    go_on.add_permits(1);
    assert_eq!(other.await.expect("no panic").status, 200);
    assert_eq!(ask(address, "GET /after", "").await.status, 200);
}

/// The SDK for JavaScript sets its clock by it when a request is refused for its time.
#[tokio::test]
async fn every_answer_has_the_time() {
    let served = echo("").await;
    let now = || std::time::SystemTime::now();
    for path in ["GET /", "GET /panic", "GET /nowhere"] {
        let before = now();
        let answer = ask(served.address, path, "").await;
        let told = httpdate::parse_http_date(answer.header("date")).expect("a date");
        // Whole seconds, and hyper looks once a second.
        assert!(told <= now() && told + std::time::Duration::from_secs(2) > before, "{path}: {told:?}");
    }
}

#[tokio::test]
async fn every_request_has_an_id_of_its_own() {
    let served = echo("").await;
    let one = ask(served.address, "GET /id\nx-request-id: mine", "").await;
    let other = ask(served.address, "GET /id\nx-request-id: mine", "").await;
    assert_eq!(one.text().len(), 36);
    assert_ne!(one.text(), other.text());
    assert_ne!(one.text(), "mine");
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let served = echo("[limits]\nhead_timeout_ms = 50").await;
    for beginning in ["", "PRI", "GET / HTTP/1.1\r\nhost:"] {
        let mut stream = TcpStream::connect(served.address).await.expect("it listens");
        stream.write_all(beginning.as_bytes()).await.expect("written");
        // Ends when the other side closes; would wait for ever if it did not.
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.expect("closed");
        assert!(!rest.starts_with(b"HTTP/1.1 2"), "{rest:?}");
    }
}

#[tokio::test]
async fn connections_over_the_limit_wait() {
    let (handler, entered, go_on) = Echo::new();
    let served = Served::start(&config("[limits]\nconnections = 1"), handler).await;
    let address = served.address;
    let first = tokio::spawn(async move { ask(address, "GET /wait", "").await });
    entered.acquire().await.expect("never closed").forget();
    let second = tokio::spawn(async move { ask(address, "GET /wait", "").await });
    tokio::task::yield_now().await;
    assert_eq!(entered.available_permits(), 0);
    go_on.add_permits(2);
    assert_eq!(first.await.expect("answered").status, 200);
    assert_eq!(second.await.expect("answered").status, 200);
}

#[tokio::test]
async fn a_drain_finishes_what_was_begun_and_takes_nothing_new() {
    let (handler, entered, go_on) = Echo::new();
    let served = Served::start(&config(""), handler).await;
    let address = served.address;
    let idle = TcpStream::connect(address).await.expect("it listens");
    let begun = tokio::spawn(async move { ask(address, "GET /wait", "").await });
    entered.acquire().await.expect("never closed").forget();
    let drained = served.stop();
    // An idle connection is closed at once, even one that was never used.
    assert!(ask_over(idle, "GET /", "").await.is_err());
    assert!(TcpStream::connect(address).await.is_err());
    assert!(!drained.is_finished());
    go_on.add_permits(1);
    let answer = begun.await.expect("answered");
    assert_eq!((answer.status, answer.header("connection")), (200, "close"));
    drained.await.expect("it ends");
}

#[tokio::test]
async fn a_drain_ends_at_its_deadline() {
    let (handler, entered, _go_on) = Echo::new();
    let served = Served::start(&config("[limits]\ndrain_ms = 50"), handler).await;
    let address = served.address;
    let stuck = tokio::spawn(async move {
        let stream = TcpStream::connect(address).await.expect("it listens");
        ask_over(stream, "GET /wait", "").await
    });
    entered.acquire().await.expect("never closed").forget();
    served.stop().await.expect("it ends");
    assert!(stuck.await.expect("no panic").is_err());
}
