//! How slowly a request's body may arrive, however it is framed.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

use super::{ALL, Stage, stages};
use crate::harness::{Gatelet, ORIGIN, Program, token_request};

const SOON: Duration = Duration::from_secs(30);
/// Shorter than any pause that is allowed.
const INTERVAL: Duration = Duration::from_millis(50);
const GRACE: (&str, &str) = ("GATELET_LIMITS__BODY_TIMEOUT", "500ms");
const RATE: &str = "GATELET_LIMITS__BODY_BYTES_PER_SECOND";

async fn connect(server: &Gatelet) -> TcpStream {
    TcpStream::connect(server.url().trim_start_matches("http://")).await.unwrap()
}

/// Sends a head, and then the same piece again and again, until the server ends it; what it says.
async fn trickle(server: &Gatelet, head: &str, piece: &str) -> String {
    let (mut reader, mut writer) = connect(server).await.into_split();
    writer.write_all(head.as_bytes()).await.unwrap();
    let sending = async {
        while writer.write_all(piece.as_bytes()).await.is_ok() {
            sleep(INTERVAL).await;
        }
        std::future::pending::<()>().await;
    };
    let mut answer = Vec::new();
    let reading = timeout(SOON, reader.read_to_end(&mut answer));
    let read = tokio::select! { read = reading => read, () = sending => unreachable!("it waits for ever") };
    assert!(read.is_ok(), "{piece:?} is read on and on, and there came {}", String::from_utf8_lossy(&answer));
    String::from_utf8_lossy(&answer).into_owned()
}

/// Who sends: a page, and the holder of a key whose body a gateway passes on as it comes.
async fn heads(stage: &Stage) -> [String; 2] {
    let path = format!("/v1/agents/{}/messages", stage.agent);
    let token = stage.token().await;
    let head = |bearer: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bearer}\r\nContent-Type: application/json\r\n"
        )
    };
    [format!("{}Origin: {ORIGIN}\r\n", head(&token)), head(stage.server.key())]
}

#[tokio::test]
async fn a_body_that_trickles_is_not_waited_for_however_it_is_framed() {
    for stage in stages(&[GRACE]).await {
        let heads = heads(&stage).await;
        let trickling = [
            ("a byte", "Content-Length: 100000\r\n\r\n", " "),
            ("chunks of a byte", "Transfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n"),
            ("an extension", "Transfer-Encoding: chunked\r\n\r\n1;x=", "y"),
            ("chunks with extensions", "Transfer-Encoding: chunked\r\n\r\n", "1;x=yyyyyyyyyyyyyyyyyyyyyyyy\r\n \r\n"),
            ("zeros before a size", "Transfer-Encoding: chunked\r\n\r\n", "0"),
            ("a trailer", "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nx: ", "y"),
            ("trailers", "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", "x: y\r\n"),
            ("what was asked for first", "Expect: 100-continue\r\nContent-Length: 100000\r\n\r\n", " "),
        ];
        let all = heads.iter().flat_map(|head| trickling.map(|(why, framing, piece)| (head, why, framing, piece)));
        join_all(all.map(async |(head, why, framing, piece)| {
            let answer = trickle(&stage.server, &format!("{head}{framing}"), piece).await;
            let answer = answer.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&answer);
            let is_refused = answer.starts_with("HTTP/1.1 408 ") && answer.contains("request_timeout");
            assert!(is_refused, "{} {why}: {answer}", stage.name);
        }))
        .await;
    }
}

#[tokio::test]
async fn frames_without_data_buy_no_time_over_http_2() {
    for stage in stages(&[GRACE]).await {
        for (why, piece) in [("a byte", &b" "[..]), ("nothing", b"")] {
            let io = TokioIo::new(connect(&stage.server).await);
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            let pieces = futures_util::stream::unfold((), move |()| async move {
                sleep(INTERVAL).await;
                Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(piece))), ()))
            });
            let request = hyper::Request::post(format!("http://x/v1/agents/{}/messages", stage.agent))
                .header("authorization", format!("Bearer {}", stage.token().await))
                .header("origin", ORIGIN)
                .header("content-type", "application/json")
                .body(StreamBody::new(Box::pin(pieces)))
                .unwrap();
            let answer = timeout(SOON, sender.send_request(request)).await.expect(why).unwrap();
            assert_eq!(answer.status(), 408, "{} {why}", stage.name);
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert!(String::from_utf8_lossy(&body).contains("request_timeout"), "{why}: {body:?}");
        }
    }
}

#[tokio::test]
async fn a_body_that_keeps_its_rate_may_take_its_time() {
    for (rate, is_refused) in [("1024", false), ("0", false), ("1000000", true)] {
        for stage in stages(&[GRACE, (RATE, rate)]).await {
            let all = heads(&stage).await;
            join_all(all.into_iter().map(async |head| {
                // For three times as long as the grace: twenty times the rate, or a twentieth.
                let text = json!({"input": "x".repeat(60_000)}).to_string();
                let mut stream = connect(&stage.server).await;
                let length = text.len();
                let head = format!("{head}Connection: close\r\nContent-Length: {length}\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                for piece in text.as_bytes().chunks(2000) {
                    if stream.write_all(piece).await.is_err() {
                        break;
                    }
                    sleep(INTERVAL).await;
                }
                let mut answer = Vec::new();
                let _ = timeout(SOON, stream.read_to_end(&mut answer)).await.expect("an answer");
                let answer = String::from_utf8_lossy(&answer);
                let status = if is_refused { "HTTP/1.1 408 " } else { "HTTP/1.1 200 " };
                assert!(answer.starts_with(status), "{} at {rate}: {answer}", stage.name);
            }))
            .await;
        }
    }
}

#[tokio::test]
async fn a_client_is_not_to_blame_for_an_upstream_that_does_not_read() {
    const LENGTH: usize = 64 * 1024 * 1024;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let upstream = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
        // Longer than the client might be waited for.
        sleep(Duration::from_millis(1500)).await;
        let mut body = vec![0; LENGTH];
        socket.read_exact(&mut body).await.unwrap();
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
    });
    // Whatever has come counts for next to nothing, so only the time spent waiting does.
    let settings = [GRACE, (RATE, "4000000000"), ("GATELET_LIMITS__BODY_BYTES", "100000000")];
    let program = settings.iter().fold(Program::ephemeral(), |program, (name, value)| program.env(name, value));
    let server = program.argument("--upstream").argument(&url).start_alone().await;
    let request = server.owner().request(reqwest::Method::POST, "/v1/tools/").body(vec![b' '; LENGTH]);
    assert_eq!(request.send().await.unwrap().status(), 200);
    upstream.await.unwrap();
}

#[tokio::test]
async fn a_body_is_not_read_past_the_expiry_of_its_token() {
    for stage in stages(&[(RATE, "0")]).await {
        let mut request = token_request(&stage.agent, &ALL);
        request["expires_at"] = json!((chrono::Utc::now() + chrono::TimeDelta::seconds(2)).to_rfc3339());
        let token = stage.owner.create_token_with(&request).await;
        let head = format!(
            "POST /v1/agents/{}/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nOrigin: {ORIGIN}\r\n\
             Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n",
            stage.agent
        );
        let passed = stage.passed();
        let answer = trickle(&stage.server, &head, " ").await;
        assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("token_expired"), "{}: {answer}", stage.name);
        assert_eq!(stage.passed(), passed, "{}", stage.name);
    }
}
