use std::{fs, sync::Arc, time::Duration};

use ratchet_core::{history::sha256_hex, ids::Digest, output::BlobRef};
use ratchet_engine::ports::{BlobClass, BlobError, BlobStore, Put};
use tokio::{io::AsyncReadExt as _, task::JoinSet};

/// The contract of [`BlobStore`], but for what is damaged: how that comes about is the adapter's own test. `make` gives an empty store each time.
pub async fn blob_store(make: impl AsyncFn() -> Arc<dyn BlobStore>) {
    content_comes_back_by_its_digest(make().await).await;
    files_are_kept_and_given(make().await).await;
    a_kept_file_may_change(make().await).await;
    what_is_not_there_is_not_found(make().await).await;
    streams_are_kept_and_given(make().await).await;
    what_is_not_expected_is_not_kept(make().await).await;
    a_link_is_given_or_refused(make().await).await;
    what_is_retained_stays_as_it_is(make().await).await;
    many_puts_of_the_same_at_once_agree(make().await).await;
}

/// Contents whose size or bytes might matter, one of several chunks among them.
fn contents() -> Vec<Vec<u8>> {
    let large = |size: usize| (0..size).map(|n| u8::try_from(n * 31 % 251).unwrap_or(0)).collect();
    vec![vec![], b"a".to_vec(), vec![0; 4096], vec![0xff, 0xfe, b'\n'], large(128 * 1024), large(400_003)]
}

fn reference(content: &[u8]) -> BlobRef {
    BlobRef { digest: Digest::new(sha256_hex(content)), size: content.len() as u64 }
}

async fn content_comes_back_by_its_digest(store: Arc<dyn BlobStore>) {
    for content in contents() {
        let expected = reference(&content);
        assert!(!store.contains(&expected.digest).await.expect("answers"), "it was not put yet");
        for time in 0..2 {
            assert_eq!(store.put(&content).await.expect("there is room"), expected, "put number {time}");
            assert!(store.contains(&expected.digest).await.expect("answers"));
            assert!(store.get(&expected.digest).await.expect("it is there") == content, "exactly the bytes");
        }
    }
}

async fn files_are_kept_and_given(store: Arc<dyn BlobStore>) {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    for (number, content) in contents().into_iter().enumerate() {
        let (from, to) = (folder.path().join(format!("{number}")), folder.path().join(format!("{number}-back")));
        fs::write(&from, &content).expect("there is room");
        assert_eq!(store.put_file(&from).await.expect("there is room"), reference(&content));
        assert_eq!(
            store.put(&content).await.expect("there is room"),
            reference(&content),
            "a file's content is content"
        );
        store.get_file(&reference(&content).digest, &to).await.expect("it is there");
        assert!(fs::read(&to).expect("it was written") == content, "exactly the bytes");

        let again = store.get_file(&reference(&content).digest, &to).await;
        assert!(matches!(again, Err(BlobError::Io { .. })), "a file that is there is not written over: {again:?}");
        assert!(fs::read(&to).expect("it is there") == content, "it is as it was");
    }
    for path in [folder.path().join("missing"), folder.path().to_owned()] {
        let result = store.put_file(&path).await;
        assert!(matches!(result, Err(BlobError::Io { .. })), "{} is no file: {result:?}", path.display());
    }
}

async fn streams_are_kept_and_given(store: Arc<dyn BlobStore>) {
    for content in contents() {
        let expected = reference(&content);
        for is_new in [true, false] {
            let put = store.put_stream(&mut &content[..], Some(&expected.digest)).await.expect("there is room");
            assert_eq!(put, Put { content: expected.clone(), is_new }, "only the first put brings it");
        }
        let mut given = Vec::new();
        let mut stream = store.open(&expected.digest).await.expect("it is there");
        stream.read_to_end(&mut given).await.expect("it is whole");
        assert!(given == content, "exactly the bytes");
        assert!(store.get(&expected.digest).await.expect("it is there") == content, "a stream's content is content");
    }
    store.put(b"put before").await.expect("there is room");
    let put = store.put_stream(&mut &b"put before"[..], None).await.expect("there is room");
    assert!(!put.is_new, "however it came");
}

async fn what_is_not_expected_is_not_kept(store: Arc<dyn BlobStore>) {
    let (expected, found) = (reference(b"expected").digest, reference(b"found").digest);
    let put = store.put_stream(&mut &b"found"[..], Some(&expected)).await;
    let is_refused =
        matches!(&put, Err(BlobError::Unexpected { expected: e, found: f }) if *e == expected && *f == found);
    assert!(is_refused, "{put:?}");
    for digest in [expected, found] {
        assert!(!store.contains(&digest).await.expect("answers"), "{digest} is not there");
        assert!(matches!(store.open(&digest).await, Err(BlobError::NotFound(missing)) if missing == digest));
    }
}

async fn a_link_is_given_or_refused(store: Arc<dyn BlobStore>) {
    let kept = store.put(b"content").await.expect("there is room").digest;
    let (minute, missing) = (Duration::from_mins(1), reference(b"never put").digest);
    let link = store.link(&kept, minute).await;
    assert!(matches!(&link, Err(BlobError::NoLinks)) || link.as_ref().is_ok_and(|link| !link.is_empty()), "{link:?}");
    let link = store.link(&missing, minute).await;
    assert!(matches!(&link, Err(BlobError::NotFound(digest)) if *digest == missing), "{link:?}");
}

async fn what_is_retained_stays_as_it_is(store: Arc<dyn BlobStore>) {
    for content in contents() {
        let digest = store.put(&content).await.expect("there is room").digest;
        // Up, and down to where it does not fall; each of them twice.
        for class in [BlobClass::Run, BlobClass::Lasting, BlobClass::Lasting, BlobClass::Run] {
            store.retain(&digest, class).await.expect("it is there");
        }
        assert!(store.get(&digest).await.expect("it is there") == content, "exactly the bytes");
        let put = store.put_stream(&mut &content[..], None).await.expect("there is room");
        assert!(!put.is_new, "it is there, whatever its class");
    }
    let missing = reference(b"never put").digest;
    let retained = store.retain(&missing, BlobClass::Lasting).await;
    assert!(matches!(&retained, Err(BlobError::NotFound(digest)) if *digest == missing), "{retained:?}");
}

async fn a_kept_file_may_change(store: Arc<dyn BlobStore>) {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    fs::write(&from, "as it was").expect("there is room");
    let blob = store.put_file(&from).await.expect("there is room");
    fs::write(&from, "changed!!").expect("its owner may write it");
    store.get_file(&blob.digest, &to).await.expect("it is there");
    fs::write(&to, "also new!").expect("what was given may be written");
    assert_eq!(store.get(&blob.digest).await.expect("it is there"), b"as it was", "the blob is nobody else's file");
}

async fn what_is_not_there_is_not_found(store: Arc<dyn BlobStore>) {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let to = folder.path().join("to");
    store.put(b"something else").await.expect("there is room");
    let never_put = reference(b"never put").digest;
    let strange = ["", "ab", "../../state.db", &never_put.as_str().to_uppercase(), &"z".repeat(64), &"é".repeat(32)];
    for digest in strange.map(Digest::new).into_iter().chain([never_put]) {
        assert!(!store.contains(&digest).await.expect("answers"), "{digest:?}");
        let opened = store.open(&digest).await.map(|_| ());
        let retained = store.retain(&digest, BlobClass::Run).await;
        for result in [store.get(&digest).await.map(|_| ()), store.get_file(&digest, &to).await, opened, retained] {
            assert!(
                matches!(&result, Err(BlobError::NotFound(missing)) if *missing == digest),
                "{digest:?}: {result:?}"
            );
        }
        assert!(!to.exists(), "nothing is written for what is not there");
    }
}

async fn many_puts_of_the_same_at_once_agree(store: Arc<dyn BlobStore>) {
    let content: Arc<Vec<u8>> = Arc::new(vec![7; 300_000]);
    let mut puts = JoinSet::new();
    for _ in 0..16 {
        let (store, content) = (Arc::clone(&store), Arc::clone(&content));
        puts.spawn(async move {
            let blob = store.put(&content).await.expect("there is room");
            assert!(store.get(&blob.digest).await.expect("it is there once its put returned") == *content);
            blob
        });
    }
    for blob in puts.join_all().await {
        assert_eq!(blob, reference(&content));
    }
}
