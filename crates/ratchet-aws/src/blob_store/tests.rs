//! Each kind of request as it goes out, what answers mean, and what an emulator makes of it all.

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use ratchet_core::history::sha256_hex;
use ratchet_testkit::contract;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::{answers::config_with, emulator::Emulator};

/// Headers that say what is asked; the others say who asks, and when.
const TELLING: [&str; 6] = ["if-", "range", "x-amz-checksum", "x-amz-copy", "x-amz-meta", "x-amz-tagging"];

/// A status, headers and a body.
type Answer = (u16, Vec<(&'static str, String)>, Vec<u8>);

/// A store whose requests are kept, and answered one after the other by what is said; parts of four bytes.
fn asked(answers: Vec<Answer>) -> (S3BlobStore, Arc<Mutex<Vec<String>>>) {
    let requests: Arc<Mutex<Vec<String>>> = Arc::default();
    let (kept, answers) = (requests.clone(), Mutex::new(answers.into_iter()));
    let config = config_with(move |request| {
        kept.lock().unwrap().push(spelled(request));
        let (status, headers, body) = answers.lock().unwrap().next().expect("no more is asked than is answered");
        let mut response = http::Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(name, value);
        }
        response.body(SdkBody::from(body)).unwrap()
    });
    let store = S3BlobStore::new(Client::new(&config), "bucket", "blobs/");
    (S3BlobStore { part: 4, ..store }, requests)
}

fn spelled(request: &HttpRequest) -> String {
    let uri = request.uri().trim_start_matches("https://bucket.s3.us-east-1.amazonaws.com/");
    let mut lines = vec![format!("{} {uri}", request.method())];
    let mut headers: Vec<_> = request.headers().iter().filter(|(name, _)| is_telling(name)).collect();
    headers.sort_unstable();
    lines.extend(headers.into_iter().map(|(name, value)| format!("  {name}: {value}")));
    let body = request.body().bytes().unwrap_or_default();
    if !body.is_empty() {
        lines.push(format!("  {}", String::from_utf8_lossy(body)));
    }
    lines.join("\n")
}

fn is_telling(header: &str) -> bool {
    TELLING.iter().any(|begin| header.starts_with(begin))
}

fn yes() -> Answer {
    (200, vec![("etag", "\"tag\"".to_owned())], Vec::new())
}

fn no(status: u16, code: &str) -> Answer {
    let body = format!("<Error><Code>{code}</Code><Message>no</Message></Error>");
    (status, Vec::new(), if code.is_empty() { Vec::new() } else { body.into_bytes() })
}

fn digest(content: &[u8]) -> Digest {
    Digest::new(sha256_hex(content))
}

/// What a look finds, put so long ago.
fn there(content: &[u8], of: &[u8], class: BlobClass, year: u16) -> Answer {
    let headers = vec![
        ("etag", "\"tag\"".to_owned()),
        ("content-length", content.len().to_string()),
        ("x-amz-checksum-sha256", parts::base64_of(&digest(content)).unwrap()),
        ("x-amz-meta-sha256", digest(of).to_string()),
        ("x-amz-meta-class", class.as_str().to_owned()),
        ("last-modified", format!("Thu, 01 Jan {year} 00:00:00 GMT")),
    ];
    (200, headers, Vec::new())
}

fn begun() -> Answer {
    let body = "<InitiateMultipartUploadResult><UploadId>upload</UploadId></InitiateMultipartUploadResult>";
    (200, Vec::new(), body.into())
}

fn copied() -> Answer {
    (200, Vec::new(), "<CopyObjectResult><ETag>\"new\"</ETag></CopyObjectResult>".into())
}

fn completed() -> Answer {
    (200, Vec::new(), "<CompleteMultipartUploadResult><ETag>\"tag\"</ETag></CompleteMultipartUploadResult>".into())
}

const LONG_AGO: u16 = 2015;
const TO_COME: u16 = 2099;

/// Pins what is asked for one call, and what comes of it.
async fn pin<T: std::fmt::Debug>(
    name: &str,
    answers: Vec<Answer>,
    ask: impl AsyncFnOnce(S3BlobStore) -> Result<T, BlobError>,
) {
    let (store, requests) = asked(answers);
    let came = match ask(store).await {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("{}: {error}", error.code()),
    };
    let requests = requests.lock().unwrap().join("\n");
    insta::assert_snapshot!(name, format!("{requests}\n= {came}"));
}

async fn put(store: S3BlobStore, content: &[u8]) -> Result<bool, BlobError> {
    store.put_stream(&mut &*content, None).await.map(|put| put.is_new)
}

#[tokio::test]
async fn puts_go_out_with_their_conditions() {
    let run = BlobClass::Run;
    pin("put-new", vec![yes()], async |store| put(store, b"abc").await).await;
    let again = vec![no(412, "PreconditionFailed"), there(b"abc", b"abc", run, TO_COME)];
    pin("put-again", again, async |store| put(store, b"abc").await).await;
    let late = vec![no(412, "PreconditionFailed"), there(b"abc", b"abc", run, LONG_AGO), copied()];
    pin("put-again-later", late, async |store| put(store, b"abc").await).await;
    let damaged = vec![no(412, "PreconditionFailed"), there(b"abd", b"abd", run, TO_COME), yes()];
    pin("put-over-damage", damaged, async |store| put(store, b"abc").await).await;
    let raced = vec![no(409, "ConditionalRequestConflict"), no(404, ""), yes()];
    pin("put-raced", raced, async |store| put(store, b"abc").await).await;
}

#[tokio::test]
async fn parts_go_up_with_their_checksums() {
    let run = BlobClass::Run;
    let whole = vec![no(404, ""), begun(), yes(), yes(), completed()];
    pin("parts", whole, async |store| store.put(b"abcdefg").await.map(|kept| kept.size)).await;
    let wrong = vec![no(404, ""), begun(), yes(), yes(), yes()];
    let expected = digest(b"something else");
    let stream = async |store: S3BlobStore| store.put_stream(&mut &b"abcdefg"[..], Some(&expected)).await;
    pin("parts-unexpected", wrong, stream).await;
    let failed = vec![no(404, ""), begun(), no(403, "AccessDenied"), yes()];
    pin("parts-denied", failed, async |store| put(store, b"abcd").await).await;
    let raced = vec![no(404, ""), begun(), yes(), no(412, "PreconditionFailed"), yes()];
    let raced = [raced, vec![there(b"abcd", b"abcd", run, TO_COME)]].concat();
    pin("parts-raced", raced, async |store| put(store, b"abcd").await).await;
    let known = vec![there(b"of its parts", b"abcdefg", run, TO_COME)];
    let known = known.into_iter().map(|(status, headers, body)| {
        let of_parts = headers.into_iter().map(|(name, value)| match name {
            "x-amz-checksum-sha256" => (name, format!("{value}-2")),
            "content-length" => (name, "7".to_owned()),
            _ => (name, value),
        });
        (status, of_parts.collect(), body)
    });
    pin("parts-again", known.collect(), async |store| put(store, b"abcdefg").await).await;
}

#[tokio::test]
async fn what_is_retained_is_copied_onto_itself() {
    let (run, lasting) = (BlobClass::Run, BlobClass::Lasting);
    for (name, from, to, year, copies) in [
        ("retain-new", run, run, TO_COME, false),
        ("retain-old", run, run, LONG_AGO, true),
        ("retain-longer", run, lasting, TO_COME, true),
        ("retain-for-good", lasting, run, LONG_AGO, false),
    ] {
        let copy = copies.then(copied);
        let answers = [there(b"abc", b"abc", from, year)].into_iter().chain(copy).collect();
        pin(name, answers, async |store| store.retain(&digest(b"abc"), to).await).await;
    }
    let raced = vec![there(b"abc", b"abc", run, TO_COME), no(412, "PreconditionFailed"), no(404, "")];
    pin("retain-raced", raced, async |store| store.retain(&digest(b"abc"), lasting).await).await;
    let (status, headers, body) = there(b"abc", b"abc", run, LONG_AGO);
    let large = headers.into_iter().map(|(name, value)| match name {
        "content-length" => (name, (6_u64 << 30).to_string()),
        _ => (name, value),
    });
    let large = vec![(status, large.collect(), body), (204, Vec::new(), Vec::new())];
    pin("retain-large", large, async |store| store.retain(&digest(b"abc"), run).await).await;
}

#[tokio::test]
async fn reads_compare_with_the_digest() {
    let given = |content: &[u8]| -> Answer {
        (200, vec![("content-length", content.len().to_string()), ("etag", "\"tag\"".to_owned())], content.to_vec())
    };
    pin("get", vec![given(b"abc")], async |store| store.get(&digest(b"abc")).await).await;
    pin("get-damaged", vec![given(b"abd")], async |store| store.get(&digest(b"abc")).await).await;
    pin("get-missing", vec![no(404, "NoSuchKey")], async |store| store.get(&digest(b"abc")).await).await;
    let rest: Answer = (206, vec![("content-length", "1".to_owned())], b"c".to_vec());
    let (status, headers, _) = given(b"abc");
    let cut = vec![(status, headers, b"ab".to_vec()), rest];
    pin("get-cut", cut, async |store| store.get(&digest(b"abc")).await).await;
    pin("contains", vec![no(404, "")], async |store| store.contains(&digest(b"abc")).await).await;
}

#[tokio::test]
async fn a_stream_that_never_goes_on_ends() {
    let cut: Answer = (200, vec![("content-length", "3".to_owned())], b"ab".to_vec());
    let nothing: Answer = (206, vec![("content-length", "1".to_owned())], Vec::new());
    let (store, requests) = asked([vec![cut], vec![nothing; 4]].concat());
    let error = store.get(&digest(b"abc")).await.unwrap_err();
    assert!(matches!(error, BlobError::Unavailable { .. }), "{error}");
    assert_eq!(requests.lock().unwrap().len(), 5);
}

#[tokio::test]
async fn a_link_expires() {
    for (asked_for, seconds) in
        [(Duration::ZERO, 1), (Duration::from_mins(1), 60), (Duration::from_hours(24 * 30), 604_800)]
    {
        let (store, _) = asked(vec![there(b"abc", b"abc", BlobClass::Run, TO_COME)]);
        let link = store.link(&digest(b"abc"), asked_for).await.unwrap();
        assert!(link.contains(&format!("X-Amz-Expires={seconds}&")), "{link}");
        assert!(link.contains("/blobs/sha256/ba/7816bf"), "{link}");
    }
}

#[tokio::test]
async fn what_may_pass_is_told_from_what_will_not() {
    for (status, code, passes) in [
        (503, "SlowDown", true),
        (503, "", true),
        (500, "InternalError", true),
        (400, "RequestTimeout", true),
        (429, "", true),
        (403, "AccessDenied", false),
        (403, "", false),
        (403, "SignatureDoesNotMatch", false),
        (404, "NoSuchBucket", false),
        (400, "InvalidArgument", false),
    ] {
        let answers = || vec![no(status, code)];
        let put = asked(answers()).0.put(b"abc").await.map(drop);
        let get = asked(answers()).0.get(&digest(b"abc")).await.map(drop);
        for error in [put, get].map(Result::unwrap_err) {
            let is_right = match error {
                BlobError::Unavailable { .. } => passes,
                BlobError::Denied { .. } => !passes,
                _ => false,
            };
            assert!(is_right && error.to_string().contains(code), "{status} {code}: {error}");
        }
    }
}

/// What an emulator says of itself is beside the point: what the store makes of it counts.
#[tokio::test(flavor = "multi_thread")]
async fn an_emulator_keeps_what_it_is_given() {
    let Some(emulator) = Emulator::start().await else { return };
    let client = Client::new(&emulator.config().await);
    client.create_bucket().bucket("bucket").send().await.unwrap();
    let store = S3BlobStore::new(client.clone(), "bucket", "blobs/");
    let large: Vec<u8> = (0..20_000_000_u32).map(|n| u8::try_from(n * 31 % 251).unwrap()).collect();
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    fs::write(&from, &large).unwrap();

    // In parts: from a file, then from a stream that is known before, then from one that is not.
    let kept = store.put_file(&from).await.unwrap();
    assert_eq!(kept, BlobRef { digest: digest(&large), size: large.len() as u64 });
    for expected in [Some(&kept.digest), None] {
        let put = store.put_stream(&mut &large[..], expected).await.unwrap();
        assert_eq!(put, Put { content: kept.clone(), is_new: false });
    }
    store.get_file(&kept.digest, &to).await.unwrap();
    assert!(fs::read(&to).unwrap() == large);

    // What is not what it was said to be leaves nothing behind.
    let expected = digest(b"expected");
    let put = store.put_stream(&mut &large[..], Some(&expected)).await;
    assert!(matches!(put, Err(BlobError::Unexpected { .. })), "{put:?}");
    let uploads = client.list_multipart_uploads().bucket("bucket").send().await.unwrap();
    assert!(uploads.uploads().is_empty(), "{uploads:?}");

    // Damage is told, and put right.
    for content in [&b"content"[..], &large] {
        let kept = store.put(content).await.unwrap().digest;
        let key = store.key(&kept).unwrap();
        client.put_object().bucket("bucket").key(&key).body(b"damaged"[..].to_vec().into()).send().await.unwrap();
        let (read, given) = (store.get(&kept).await.map(drop), store.get_file(&kept, &folder.path().join("no")).await);
        for result in [read, given] {
            assert!(matches!(&result, Err(BlobError::Damaged(damaged)) if *damaged == kept), "{result:?}");
        }
        assert!(!folder.path().join("no").exists(), "damaged content is not given");
        let put = store.put_stream(&mut &*content, None).await.unwrap();
        assert!(put.is_new, "it was not there");
        assert!(store.get(&kept).await.unwrap() == content);
    }

    // The tag by which rules go comes and goes with the class. The emulator forgets the one that an upload in parts was begun with.
    let small = digest(b"content");
    let key = store.key(&small).unwrap();
    for (class, tags) in [(BlobClass::Run, 1), (BlobClass::Lasting, 0), (BlobClass::Run, 0)] {
        store.retain(&small, class).await.unwrap();
        let tagging = client.get_object_tagging().bucket("bucket").key(&key).send().await.unwrap();
        assert_eq!(tagging.tag_set().len(), tags, "{class:?}");
        assert_eq!(store.get(&small).await.unwrap(), b"content");
    }
    store.retain(&kept.digest, BlobClass::Lasting).await.unwrap();
    assert!(store.get(&kept.digest).await.unwrap() == large);

    let link = store.link(&small, Duration::from_mins(1)).await.unwrap();
    assert_eq!(fetched(&link).await, "content");
}

/// What a link gives to whoever has it.
async fn fetched(link: &str) -> String {
    let (host, path) = link.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut connection = tokio::net::TcpStream::connect(host).await.unwrap();
    let request = format!("GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn content_in_s3_keeps_the_contract() {
    let Some(emulator) = Emulator::start().await else { return };
    let client = Client::new(&emulator.config().await);
    client.create_bucket().bucket("contents").send().await.unwrap();
    let prefixes = AtomicU32::new(0);
    contract::blob_store(async || {
        let prefix = format!("{}/", prefixes.fetch_add(1, Ordering::Relaxed));
        Arc::new(S3BlobStore::new(client.clone(), "contents", prefix)) as Arc<dyn BlobStore>
    })
    .await;
}
