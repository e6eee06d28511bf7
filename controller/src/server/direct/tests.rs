//! Direct answers over real sockets: framing, order, ends, and what is left to hyper. Not the registry or media behind them;
//! `tests/registry_plain.rs` and the media tests ask those.

use std::io::{Read as _, Seek as _, Write as _};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const PATIENCE: Patience =
    Patience { head: Duration::from_secs(20), stall: Duration::from_secs(20), longest: 64 << 10 };

/// Bytes that tell where they were.
fn content(length: u64) -> Vec<u8> {
    (0..length).map(|at| (at / 251 + at).to_le_bytes()[0]).collect()
}

fn file(length: u64) -> Arc<File> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&content(length)).unwrap();
    file.rewind().unwrap();
    Arc::new(file)
}

/// Where [`laid`] differs from [`content`].
const PLACES: [Range<u64>; 3] = [0..1000, 1000..1010, 5_000_000..5_200_000];

/// The same with other bytes at some places.
fn laid(length: u64) -> Vec<u8> {
    let mut bytes = content(length);
    for place in PLACES {
        let place = usize::try_from(place.start).unwrap()..usize::try_from(place.end).unwrap();
        bytes[place].iter_mut().for_each(|byte| *byte ^= 0xff);
    }
    bytes
}

fn over(first: u64, length: u64) -> Over {
    let bytes = Bytes::from(laid(10_000_000));
    let within = |place: Range<u64>| place.start.max(first)..place.end.min(first + length);
    let places = PLACES.map(within).into_iter().filter(|place| !place.is_empty()).collect();
    let read = move |offset, count| {
        let from = usize::try_from(offset).unwrap();
        Ok(bytes.slice(from..from + count))
    };
    Over { places, read: Box::new(read) }
}

/// `/part/<first>/<length>` of a file of ten million bytes, and answers of other kinds.
async fn service(file: Arc<File>, request: Request<Body>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let words: Vec<&str> = path.split('/').skip(1).collect();
    match words[..] {
        ["part", first, length] => {
            let (first, length): (u64, u64) = (first.parse().unwrap(), length.parse().unwrap());
            let mut response = Response::new(Body::from("read instead of sent"));
            response.headers_mut().insert("content-length", length.into());
            response.extensions_mut().insert(Arc::new(Part { file, first, length, over: None, sent: None }));
            response
        }
        ["laid", first, length] => {
            let (first, length): (u64, u64) = (first.parse().unwrap(), length.parse().unwrap());
            let mut response = Response::new(Body::from("read instead of sent"));
            response.headers_mut().insert("content-length", length.into());
            let over = Some(over(first, length));
            response.extensions_mut().insert(Arc::new(Part { file, first, length, over, sent: None }));
            response
        }
        ["echo"] => {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            Response::new(Body::from(format!("got {}", body.len())))
        }
        ["stream"] => {
            let pieces =
                stream::iter(["a", "", "bc", "d"]).map(|piece| Ok::<_, io::Error>(Bytes::from(piece)));
            Response::new(Body::from_stream(pieces))
        }
        ["large"] => Response::new(Body::from(content(300_000))),
        ["empty"] => Response::builder().status(204).body(Body::empty()).unwrap(),
        _ => Response::builder().status(404).body(Body::from("nothing")).unwrap(),
    }
}

fn part(response: &mut Response<Body>) -> Option<Part> {
    Arc::into_inner(response.extensions_mut().remove::<Arc<Part>>()?)
}

/// Sends `text` at once and reads until the connection ends or is handed over; what came, and whether it was handed over.
async fn talk(text: &str, patience: Patience) -> (Vec<u8>, Option<Vec<u8>>) {
    let (mut client, server) = pair().await;
    let file = file(10_000_000);
    let served = tokio::spawn(async move {
        let service = move |request| service(Arc::clone(&file), request);
        let (_stop, mut stopped) = watch::channel(false);
        let peer = server.peer_addr().unwrap();
        serve(server, peer, patience, &service, part, &mut stopped)
            .await
            .map(|rest| rest.map(|rest| rest.read))
    });
    client.write_all(text.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    (answer, served.await.unwrap().unwrap())
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")
}

/// The first answer: its head, its body by the length it gives, and what follows.
fn first(answer: &[u8]) -> (String, &[u8], &[u8]) {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let body = length.map_or(0, |length| length.parse().unwrap());
    (head, &answer[end..end + body], &answer[end + body..])
}

#[tokio::test]
async fn a_part_of_a_file_arrives_byte_for_byte_whatever_its_size() {
    let whole = content(10_000_000);
    for (from, length) in
        [(0, 0), (7, 1), (1000, 64 << 10), (3, (64 << 10) + 1), (1, 9_999_999), (0, 10_000_000)]
    {
        let (answer, rest) = talk(&get(&format!("/part/{from}/{length}")), PATIENCE).await;
        let (head, body, after) = first(&answer);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("\r\ndate: "), "{head}");
        assert!(
            body == &whole[from..from + length] && after.is_empty() && rest.is_none(),
            "{length} from {from}"
        );
    }
}

#[tokio::test]
async fn what_is_laid_over_a_file_arrives_in_its_place() {
    let whole = laid(10_000_000);
    for (from, length) in [
        (0, 10_000_000),
        (900, 200),
        (500, 4_999_500),
        (5_100_000, 100_000),
        (5_000_000, 200_000),
        (2000, 70_000),
    ] {
        let (answer, _) = talk(&get(&format!("/laid/{from}/{length}")), PATIENCE).await;
        let (_, body, after) = first(&answer);
        assert!(body == &whole[from..from + length] && after.is_empty(), "{length} from {from}");
    }
}

#[tokio::test]
async fn requests_that_come_at_once_are_answered_in_order_and_the_first_that_is_no_read_is_left_to_hyper() {
    let push = "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc";
    let text = format!("{}{}{}{push}", get("/part/5/9"), get("/no"), get("/large"));
    let (answer, rest) = talk(&text, PATIENCE).await;
    let (_, body, after) = first(&answer);
    assert_eq!(body, &content(20)[5..14]);
    let (head, body, after) = first(after);
    assert!(head.starts_with("HTTP/1.1 404 Not Found\r\n") && body == b"nothing", "{head}");
    let (_, body, after) = first(after);
    assert!(body == content(300_000) && after.is_empty());
    assert_eq!(rest.as_deref(), Some(push.as_bytes()));
}

#[tokio::test]
async fn a_head_and_an_empty_answer_have_no_body() {
    let text =
        "HEAD /part/0/5000 HTTP/1.1\r\nhost: x\r\n\r\nGET /empty HTTP/1.1\r\nconnection: close\r\n\r\n";
    let (answer, _) = talk(text, PATIENCE).await;
    let text = String::from_utf8(answer).unwrap();
    let (one, two) = text.split_once("\r\n\r\n").unwrap();
    assert!(one.contains("content-length: 5000"), "{one}");
    assert!(
        two.starts_with("HTTP/1.1 204 No Content\r\n") && two.ends_with("connection: close\r\n\r\n"),
        "{two}"
    );
    assert!(!two.contains("content-length"), "{two}");
}

#[tokio::test]
async fn a_body_of_unknown_length_comes_in_chunks() {
    let (answer, _) = talk(&get("/stream"), PATIENCE).await;
    let text = String::from_utf8(answer).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    assert_eq!(body, "1\r\na\r\n2\r\nbc\r\n1\r\nd\r\n0\r\n\r\n");
}

#[tokio::test]
async fn a_file_that_ends_early_breaks_the_connection() {
    for length in [20_000, 200_000] {
        let (mut client, server) = pair().await;
        let short = file(10_000);
        let served = tokio::spawn(async move {
            let service = move |request| service(Arc::clone(&short), request);
            let (_stop, mut stopped) = watch::channel(false);
            let peer = server.peer_addr().unwrap();
            serve(server, peer, PATIENCE, &service, part, &mut stopped).await.map(drop)
        });
        client.write_all(get(&format!("/part/0/{length}")).as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert!(answer.len() < length, "{}", answer.len());
        assert_eq!(served.await.unwrap().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}

#[test]
fn a_client_that_takes_nothing_is_cut_off_and_one_that_is_slow_is_not() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let patience = Patience { stall: Duration::from_millis(900), ..PATIENCE };
    for (pause, cut) in [(Duration::from_millis(200), false), (Duration::from_secs(3), true)] {
        let (client, server) = runtime.block_on(pair());
        let (whole, request) = (file(10_000_000), get("/part/0/10000000"));
        let served = runtime.spawn(async move {
            let service = move |request| service(Arc::clone(&whole), request);
            let (_stop, mut stopped) = watch::channel(false);
            let peer = server.peer_addr().unwrap();
            serve(server, peer, patience, &service, part, &mut stopped).await.map(drop)
        });
        let mut client = client.into_std().unwrap();
        client.set_nonblocking(false).unwrap();
        client.write_all(request.replace("host", "connection: close\r\nhost").as_bytes()).unwrap();
        // Longer than the patience in all, but never without taking something.
        let mut taken = 0;
        let mut piece = vec![0; 1 << 20];
        loop {
            std::thread::sleep(pause);
            match client.read_exact(&mut piece) {
                Ok(()) => taken += piece.len(),
                Err(_) => break,
            }
        }
        let done = runtime.block_on(served).unwrap();
        assert_eq!(done.err().map(|error| error.kind()), cut.then_some(io::ErrorKind::TimedOut), "{pause:?}");
        assert_eq!(taken < 8_000_000, cut, "{taken}");
    }
}

#[tokio::test]
async fn a_stop_ends_an_idle_connection_at_once_and_another_after_its_answer() {
    let (mut client, server) = pair().await;
    let (stop, mut stopped) = watch::channel(false);
    let served = tokio::spawn(async move {
        let file = file(10);
        let service = move |request| service(Arc::clone(&file), request);
        let peer = server.peer_addr().unwrap();
        serve(server, peer, PATIENCE, &service, part, &mut stopped).await.map(drop)
    });
    client.write_all(get("/part/0/10").as_bytes()).await.unwrap();
    let mut answer = [0; 1000];
    assert!(client.read(&mut answer).await.unwrap() > 10);
    stop.send_replace(true);
    assert_eq!(client.read(&mut answer).await.unwrap(), 0);
    served.await.unwrap().unwrap();
}
