//! Responses that both must accept, both must refuse, or that only this parser refuses; and random ones.

use std::collections::BTreeSet;

use proptest::{prelude::*, sample::select};

use super::*;

fn with_fields(fields: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}").into_bytes()
}

fn accepted() -> Vec<Vec<u8>> {
    let mut cases: Vec<Vec<u8>> = [
        "HTTP/1.1 200 OK\r\n\r\nto the end",
        "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n\r\nto the end",
        "HTTP/1.1 200\r\ncontent-length: 2\r\n\r\n[]",
        "HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\n[]HTTP/1.1 200 OK\r\n\r\nanother",
        "HTTP/1.1 200 OK\ncontent-length: 2\n\n[]",
        "HTTP/1.1 200 OK\r\nCONTENT-LENGTH:2\r\nContent-Length:\t2 \r\n\r\n[]",
        "HTTP/1.1 200 OK\r\nconnection: x-hop, close\r\nx-hop: 1\r\nx-kept: \u{e4}\r\nx-empty:\r\ncontent-length: 2\r\n\r\n[]",
        "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\netag: x\r\n\r\n",
        "HTTP/1.1 205 Reset Content\r\ncontent-length: 1\r\n\r\nx",
        "HTTP/1.1 999 Unheard Of\r\ncontent-length: 1\r\n\r\nx",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nbytes",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    for body in [
        "0\r\n\r\n",
        "2\r\n[]\r\n0\r\n\r\nmore",
        "00002 \t\r\n[]\r\n000\r\n\r\n",
        "2;a=b;c=\"d\"\r\n[]\r\n0;e\r\n\r\n",
        "2 ;a\r\n[]\r\n0\r\nx-trailer: 1\r\nx-empty:\r\n\r\n",
        "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
    ] {
        cases.push(with_fields("transfer-encoding: Chunked\r\n", body));
    }
    cases
}

fn refused_by_both() -> Vec<Vec<u8>> {
    let mut cases: Vec<Vec<u8>> = [
        "",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n[]",
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\n[]",
        "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\n[]",
        "HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n[]",
        "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551616\r\n\r\n[]",
        "HTTP/1.1 200 OK\r\ncontent-length : 2\r\n\r\n[]",
        "HTTP/1.1 200 OK\r\na: b\r\n folded: c\r\n\r\n",
        "HTTP/1.1 200 OK\r\na\u{0}: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\na: \u{0}\r\n\r\n",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 099 x\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nx",
        "ICY 200 OK\r\n\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    for body in [
        "",
        "2\r\n[]\r\n",
        "2\r\n[]\r\n0\r\n",
        "2\n[]\n0\n\n",
        "2\r\n[]x\r\n0\r\n\r\n",
        "2\x0c\r\n[]\r\n0\r\n\r\n",
        "2\r\r\n[]\r\n0\r\n\r\n",
        "2;a\rb\r\n[]\r\n0\r\n\r\n",
        "2;a\nb\r\n[]\r\n0\r\n\r\n",
        "+2\r\n[]\r\n0\r\n\r\n",
        "0x2\r\n[]\r\n0\r\n\r\n",
        "10000000000000000\r\n[]\r\n0\r\n\r\n",
        "2\r\n[]\r\n0\r\nx-trailer\r\n\r\n",
        "2\r\n[]\r\n0\r\nx: y\rz\r\n\r\n",
        "2\r\n[]\r\n0\r\nx : y\r\n\r\n",
        "2\r\n[]\r\n0\r\nx: \x7f\r\n\r\n",
    ] {
        cases.push(with_fields("transfer-encoding: chunked\r\n", body));
    }
    cases.push(with_fields(&"x: y\r\n".repeat(101), ""));
    cases.push(with_fields("transfer-encoding: chunked\r\n", &format!("0\r\n{}\r\n", "x: y\r\n".repeat(101))));
    let extended = format!("1;{}\r\nx\r\n", "e".repeat(1_000)).repeat(20);
    cases.push(with_fields("transfer-encoding: chunked\r\n", &format!("{extended}0\r\n\r\n")));
    cases
}

/// For each rule, a response that it refuses and hyper accepts.
fn refused_by_rule() -> Vec<Vec<u8>> {
    let chunked = "transfer-encoding: chunked\r\n";
    let long = "x".repeat(9_000);
    vec![
        with_fields("content-length: 2\r\ntransfer-encoding: chunked\r\n", "2\r\n[]\r\n0\r\n\r\n"),
        with_fields("transfer-encoding: gzip, chunked\r\n", "2\r\n[]\r\n0\r\n\r\n"),
        b"HTTP/1.0 204 x\r\ntransfer-encoding: chunked\r\n\r\n".to_vec(),
        with_fields("content-length: 2, 2\r\n", "[]"),
        b"HTTP/1.1 304 x\r\ncontent-length: none\r\n\r\n".to_vec(),
        b"HTTP/1.1 204 x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".to_vec(),
        with_fields(&format!("x: {}\r\n", "y".repeat(300_000)), ""),
        b"\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec(),
        format!("{}HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 103 x\r\n\r\n".repeat(17)).into_bytes(),
        with_fields(chunked, &format!("2;{long}\r\n[]\r\n0\r\n\r\n")),
        with_fields(chunked, "0\r\nx: y\n\r\n\r\n"),
        with_fields(chunked, &format!("0\r\n{}\r\n", format!("x: {}\r\n", &long[..3_000]).repeat(3))),
    ]
}

#[test]
fn accepted_responses_are_read_as_hyper_reads_them() {
    for bytes in accepted() {
        let compared = compare(&bytes);
        assert!(matches!(compared, Ok(Verdict::Accepted(_))), "{:?}: {compared:?}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn responses_that_hyper_refuses_are_refused() {
    for bytes in refused_by_both() {
        assert!(read_with_hyper(&bytes).is_none(), "hyper accepts {:?}", String::from_utf8_lossy(&bytes));
        let compared = compare(&bytes);
        assert_eq!(compared, Ok(Verdict::Refused), "{:?}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn further_refusals_have_a_rule_and_every_rule_applies() {
    let verdicts: Vec<_> = refused_by_rule().iter().map(|bytes| compare(bytes)).collect();
    let all: Vec<_> = RULES.iter().map(|rule| Ok(Verdict::RefusedBy(rule.name))).collect();
    assert_eq!(verdicts, all);
    let names: BTreeSet<_> = RULES.iter().map(|rule| rule.name).collect();
    assert_eq!(names.len(), RULES.len());
}

/// Responses put together from parts that affect their framing, valid or not.
fn responses() -> impl Strategy<Value = Vec<u8>> {
    let line = select(vec![
        "HTTP/1.1 200 OK",
        "HTTP/1.0 200 OK",
        "HTTP/1.1 204 x",
        "HTTP/1.1 304 x",
        "HTTP/1.1 101 x",
        "HTTP/1.1 500",
        "HTTP/1.1 100 x\r\n\r\nHTTP/1.1 200 OK",
        "HTTP/1.1 103 x\r\ncontent-length: 1\r\n\r\nHTTP/1.1 200 OK",
        "HTTP/1.2 200 OK",
        "http/1.1 200 OK",
    ]);
    let field = select(vec![
        "content-length: 2",
        "content-length: 3",
        "Content-Length: 02",
        "content-length: 2, 2",
        "content-length: x",
        "transfer-encoding: chunked",
        "Transfer-Encoding: CHUNKED",
        "transfer-encoding: gzip",
        "connection: close",
        "transfer-encoding: chunked, gzip",
        "connection: keep-alive, x-a",
        "x-a: 1",
        "x-b: \u{e4}",
        "set-cookie: a",
        "x-c:",
        ": x",
        "x d: y",
        " x: y",
        "content-type: text/plain",
        "upgrade: x",
    ]);
    let body = select(vec![
        "[]",
        "[]x",
        "",
        "2\r\n[]\r\n0\r\n\r\n",
        "2;x\r\n[]\r\n1\r\n,\r\n0\r\nx: y\r\n\r\n",
        "2\r\n[]\r\n",
        "0\r\n\r\n0",
        "2 \r\n[]\r\n0\r\n\r\n",
        "2\n[]\r\n0\r\n\r\n",
        "0\r\nx\r\n\r\n",
        "3\r\n[]\r\n\r\n0\r\n\r\n",
        "2\r\n[]0\r\n\r\n",
    ]);
    let end = select(vec!["\r\n", "\r\n", "\r\n", "\n"]);
    (line, prop::collection::vec(field, 0..4), end, body).prop_map(|(line, fields, end, body)| {
        let head: String = fields.iter().flat_map(|field| [*field, end]).collect();
        format!("{line}{end}{head}{end}{body}").into_bytes()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn random_responses_are_read_as_hyper_reads_them(bytes in responses()) {
        prop_assert!(compare(&bytes).is_ok(), "{:?}: {:?}", String::from_utf8_lossy(&bytes), compare(&bytes));
    }

    #[test]
    fn mutated_responses_are_read_as_hyper_reads_them(
        mut bytes in responses(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..3), 1..4),
    ) {
        for (at, byte, how) in changes {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        prop_assert!(compare(&bytes).is_ok(), "{:?}: {:?}", String::from_utf8_lossy(&bytes), compare(&bytes));
    }
}
