use std::{os::unix::fs::MetadataExt, sync::Arc};

use ratchet_testkit::contract;
use tempfile::TempDir;

use super::*;
use crate::killed;

#[tokio::test]
async fn keeps_the_contract() {
    let folder = TempDir::new().unwrap();
    let made = std::sync::atomic::AtomicU32::new(0);
    contract::blob_store(async || {
        let number = made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Arc::new(LocalBlobStore::new(folder.path().join(format!("{number}/blobs")))) as Arc<dyn BlobStore>
    })
    .await;
}

#[tokio::test]
async fn a_blob_is_a_read_only_file_of_its_own() {
    let folder = TempDir::new().unwrap();
    let store = LocalBlobStore::new(folder.path());
    let from = folder.path().join("from");
    fs::write(&from, "content").unwrap();
    let blob = store.put_file(&from).await.unwrap();
    let (kept, given) = (store.path(&blob.digest).unwrap(), folder.path().join("to"));
    store.get_file(&blob.digest, &given).await.unwrap();
    let metadata = fs::metadata(&kept).unwrap();
    assert_eq!((metadata.mode() & 0o777, metadata.nlink()), (0o444, 1));
    assert_eq!(fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0, "nothing is left on its way");
}

#[tokio::test]
async fn damage_is_told_and_put_right() {
    for damaged in ["", "conten", "CONTENT", "content and more"] {
        let folder = TempDir::new().unwrap();
        let (store, to) = (LocalBlobStore::new(folder.path()), folder.path().join("to"));
        let blob = store.put(b"content").await.unwrap();
        let path = store.path(&blob.digest).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        fs::write(&path, damaged).unwrap();
        for result in [store.get(&blob.digest).await.map(|_| ()), store.get_file(&blob.digest, &to).await] {
            assert!(matches!(&result, Err(BlobError::Damaged(digest)) if *digest == blob.digest), "{result:?}");
        }
        let mut stream = store.open(&blob.digest).await.unwrap();
        let streamed = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map_err(BlobError::of_stream);
        assert!(matches!(&streamed, Err(BlobError::Damaged(digest)) if *digest == blob.digest), "{streamed:?}");
        assert!(!to.exists(), "damaged content is not given");
        store.put(b"content").await.unwrap();
        assert_eq!(store.get(&blob.digest).await.unwrap(), b"content", "a put of the right content repairs it");
    }
}

/// Puts blobs until it is killed. Does nothing where it is an ordinary test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process_that_is_killed() {
    let Some(place) = killed::place() else { return };
    let store = LocalBlobStore::new(&place);
    let from = place.with_extension("source");
    for number in killed::scatter(u64::from(std::process::id())).. {
        let content = number.to_string().repeat(usize::try_from(number % 4000).unwrap());
        if number % 3 == 0 {
            let files: Vec<PathBuf> = (0..=number % 40).map(|file| place.with_extension(file.to_string())).collect();
            for (file, path) in files.iter().enumerate() {
                fs::write(path, format!("{content} {file}")).unwrap();
            }
            for (digest, _) in store.keep_all(&files).unwrap() {
                killed::acknowledge(digest.to_core().as_str());
            }
            continue;
        }
        let blob = if number % 2 == 0 {
            store.put(content.as_bytes()).await.unwrap()
        } else {
            fs::write(&from, content).unwrap();
            store.put_file(&from).await.unwrap()
        };
        killed::acknowledge(blob.digest.as_str());
    }
}

#[tokio::test]
async fn a_blob_is_whole_or_absent_after_a_kill() {
    let folder = TempDir::new().unwrap();
    let place = folder.path().join("blobs");
    for round in 0..15 {
        let (enough, more) = (killed::scatter(round) % 8, Duration::from_micros(killed::scatter(round + 1000) % 3000));
        let test = "blob_store::tests::process_that_is_killed";
        let told = killed::run_until_killed(test, &place, usize::try_from(enough).unwrap(), more);
        let store = LocalBlobStore::new(&place);
        for digest in told {
            store.get(&Digest::new(digest)).await.expect("what was answered is there, and whole");
        }
        let Ok(folders) = fs::read_dir(place.join("sha256")) else { continue };
        for folder in folders.map(|folder| folder.unwrap().path()) {
            for file in fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()) {
                let name = [&folder, &file].map(|path| path.file_name().unwrap().to_str().unwrap()).concat();
                store.get(&Digest::new(name)).await.expect("what has a blob's name is one");
            }
        }
    }
}

#[tokio::test]
async fn files_are_put_together_as_each_is_put_alone() {
    for count in [0, 1, 3, SYNCED_APART_MAX + 1, 300] {
        let folder = TempDir::new().unwrap();
        let store = LocalBlobStore::new(folder.path().join("blobs"));
        let files: Vec<PathBuf> = (0..count).map(|file| folder.path().join(file.to_string())).collect();
        for (number, file) in files.iter().enumerate() {
            // Some have the same content, and some of that is there already.
            let content = format!("{}", number % 200);
            fs::write(file, &content).unwrap();
            if number % 7 == 0 {
                store.put(content.as_bytes()).await.unwrap();
            }
        }
        let kept = store.keep_all(&files).unwrap();
        for (file, (digest, size)) in files.iter().zip(&kept) {
            let content = fs::read(file).unwrap();
            assert_eq!((*digest, *size), (ContentDigest::of(&content), content.len() as u64), "{count} files");
            assert_eq!(store.get(&digest.to_core()).await.unwrap(), content);
            assert_eq!(fs::metadata(store.path(&digest.to_core()).unwrap()).unwrap().mode() & 0o777, 0o444);
        }
        assert_eq!(kept.len(), count);
        if let Some(last) = files.last() {
            // One that is not there is named, and nothing is left of the others on its way.
            fs::remove_file(last).unwrap();
            let error = store.keep_all(&files).unwrap_err().to_string();
            assert!(error.contains(&last.display().to_string()), "{error}");
            assert_eq!(fs::read_dir(folder.path().join("blobs/tmp")).unwrap().count(), 0);
        }
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let error = LocalBlobStore::new(folder.path().join("file/blobs")).put(b"content").await.unwrap_err();
    assert!(error.to_string().starts_with("the blob store cannot make "), "{error}");
}
