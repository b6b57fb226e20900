//! The contents of a run's trees in a blob store, for threads that wait.

use std::{
    fmt, io,
    path::Path,
    pin::Pin,
    sync::{Arc, mpsc},
    thread,
};

use ratchet_core::output::BlobRef;
use ratchet_engine::ports::{BlobClass, BlobError, BlobStore};
use ratchet_workspace::{ContentDigest, Contents};
use tokio::{
    runtime::Builder,
    sync::mpsc::{UnboundedSender, unbounded_channel},
};

/// Something that is done with the store.
type Work = Box<dyn FnOnce(Arc<dyn BlobStore>) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// The contents of trees in a blob store.
///
/// Trees are read where nothing can be awaited, also on the one thread of a runtime that drives all else. So a thread of its own does what is asked, with a runtime of its own, and
/// whoever asks waits for it. Each who asks waits for one answer: no more is in memory than they asked for.
///
/// The store must have connections of its own: one that a waiting runtime has to drive would never answer. A client of the SDK has them that is made for this alone, of a configuration of its own.
pub struct BlobContents {
    works: UnboundedSender<Work>,
}

impl fmt::Debug for BlobContents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobContents").finish_non_exhaustive()
    }
}

impl BlobContents {
    /// The contents in a store that nothing else uses. The thread ends with it.
    pub fn new(store: Arc<dyn BlobStore>) -> io::Result<Self> {
        let (works, mut asked) = unbounded_channel::<Work>();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let serve = move || {
            runtime.block_on(async {
                while let Some(work) = asked.recv().await {
                    tokio::spawn(work(store.clone()));
                }
            });
        };
        thread::Builder::new().name("contents".to_owned()).spawn(serve)?;
        Ok(Self { works })
    }

    /// Has something done, and waits for it.
    fn ask<T: Send + 'static, F: Future<Output = Result<T, BlobError>> + Send + 'static>(
        &self,
        ask: impl FnOnce(Arc<dyn BlobStore>) -> F + Send + 'static,
    ) -> io::Result<T> {
        let (answer, answered) = mpsc::sync_channel(1);
        let work: Work = Box::new(move |store| {
            let asked = ask(store);
            // Nobody waits for the answer where whoever asked is gone.
            Box::pin(async move { drop(answer.send(asked.await)) })
        });
        let ended = || io::Error::other("what reads contents has ended");
        self.works.send(work).map_err(|_| ended())?;
        answered.recv().map_err(|_| ended())?.map_err(|error| into_io(&error))
    }
}

impl Contents for BlobContents {
    fn keep(&self, file: &Path) -> io::Result<(ContentDigest, u64)> {
        let file = file.to_owned();
        let kept = self.ask(|store| async move { store.put_file(&file).await })?;
        Ok((content_digest(&kept)?, kept.size))
    }

    fn give(&self, digest: ContentDigest, to: &Path) -> io::Result<()> {
        let (digest, to) = (digest.to_core(), to.to_owned());
        self.ask(|store| async move { store.get_file(&digest, &to).await })
    }

    fn read(&self, digest: ContentDigest) -> io::Result<Vec<u8>> {
        let digest = digest.to_core();
        self.ask(|store| async move { store.get(&digest).await })
    }

    fn has(&self, digest: ContentDigest) -> bool {
        let digest = digest.to_core();
        self.ask(|store| async move { store.retain(&digest, BlobClass::Run).await }).is_ok()
    }

    fn write(&self, bytes: &[u8]) -> io::Result<ContentDigest> {
        let bytes = bytes.to_vec();
        content_digest(&self.ask(|store| async move { store.put(&bytes).await })?)
    }
}

fn content_digest(content: &BlobRef) -> io::Result<ContentDigest> {
    ContentDigest::from_core(&content.digest).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The kind says whether what is kept is wrong, or only not to be had now.
fn into_io(error: &BlobError) -> io::Error {
    let kind = match error {
        BlobError::Io { source, .. } => source.kind(),
        BlobError::NotFound(_) => io::ErrorKind::NotFound,
        BlobError::Unavailable { .. } => io::ErrorKind::TimedOut,
        BlobError::Denied { .. } => io::ErrorKind::PermissionDenied,
        BlobError::Damaged(_) | BlobError::Unexpected { .. } | BlobError::NoLinks => io::ErrorKind::InvalidData,
    };
    io::Error::new(kind, error.to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use aws_sdk_s3::Client;
    use ratchet_testkit::memory::MemoryBlobStore;
    use ratchet_workspace::{Manifest, StatCache, Trees, WorkspaceError, hydrate, scan, upload};
    use tempfile::TempDir;

    use super::*;
    use crate::{S3BlobStore, answers::config, emulator::Emulator};

    fn scanned(root: &Path) -> Manifest {
        scan(root, &|_| false, &StatCache::default()).unwrap().manifest
    }

    /// A directory goes to a store and comes back, asked for by the thread that calls.
    fn there_and_back(store: Arc<dyn BlobStore>) {
        let folder = TempDir::new().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("below/empty")).unwrap();
        fs::write(from.join("file"), "content").unwrap();
        fs::write(from.join("below/same"), "content").unwrap();
        fs::write(from.join("below/large"), vec![7; 300_000]).unwrap();
        std::os::unix::fs::symlink("../file", from.join("below/link")).unwrap();
        let manifest = scanned(&from);
        let trees = Trees::new(Arc::new(BlobContents::new(store.clone()).unwrap()));
        let tree = upload(&trees, &manifest, &|path| Some(from.join(path.as_path()))).unwrap();
        let elsewhere = Trees::new(Arc::new(BlobContents::new(store).unwrap()));
        assert_eq!(hydrate(&elsewhere, tree, &to).unwrap(), manifest);
        assert_eq!(scanned(&to), manifest);
    }

    #[tokio::test]
    async fn the_only_thread_of_a_runtime_may_wait() {
        there_and_back(Arc::new(MemoryBlobStore::default()));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn threads_of_a_runtime_may_wait_together() {
        let store: Arc<dyn BlobStore> = Arc::new(MemoryBlobStore::default());
        let waiting: Vec<_> = (0..4)
            .map(|_| {
                tokio::spawn({
                    let store = store.clone();
                    async move { there_and_back(store) }
                })
            })
            .collect();
        for waiting in waiting {
            waiting.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_store_that_does_not_answer_damages_nothing() {
        for (status, code, is_damage) in
            [(404, "NoSuchKey", true), (503, "SlowDown", false), (403, "AccessDenied", false)]
        {
            let config = config(move |_| (status, format!("<Error><Code>{code}</Code></Error>")));
            let store = S3BlobStore::new(Client::new(&config), "bucket", "");
            let trees = Trees::new(Arc::new(BlobContents::new(Arc::new(store)).unwrap()));
            let error = trees.get(ContentDigest::of(b"a tree")).unwrap_err();
            assert_eq!(matches!(error, WorkspaceError::Damaged { .. }), is_damage, "{status}: {error}");
        }
    }

    /// The runtime of the test has connections too, and nothing that would drive them while it waits.
    #[tokio::test]
    async fn a_bucket_holds_trees() {
        let Some(emulator) = Emulator::start().await else { return };
        let config = emulator.config().await;
        let client = Client::new(&config);
        client.create_bucket().bucket("bucket").send().await.unwrap();
        S3BlobStore::new(client, "bucket", "").put(b"of another runtime").await.unwrap();
        there_and_back(Arc::new(S3BlobStore::new(Client::new(&emulator.config().await), "bucket", "")));
    }
}
