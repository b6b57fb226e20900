use std::{collections::BTreeMap, fs, io, path::Path, sync::Mutex, time::Duration};

use async_trait::async_trait;
use ratchet_core::{history::sha256_hex, ids::Digest, output::BlobRef};
use ratchet_engine::ports::{BlobClass, BlobError, BlobStore, BlobStream, Put, Verified};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::lock;

/// Content in a map.
#[derive(Debug, Default)]
pub struct MemoryBlobStore(Mutex<BTreeMap<Digest, Vec<u8>>>);

impl MemoryBlobStore {
    /// Keeps some bytes, without waiting.
    pub fn keep(&self, bytes: &[u8]) -> BlobRef {
        let digest = Digest::new(sha256_hex(bytes));
        lock(&self.0).insert(digest.clone(), bytes.to_vec());
        BlobRef { digest, size: bytes.len() as u64 }
    }

    /// The bytes of a digest, without waiting.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>, BlobError> {
        let bytes = lock(&self.0).get(digest).cloned().ok_or_else(|| BlobError::NotFound(digest.clone()))?;
        if sha256_hex(&bytes) == digest.as_str() { Ok(bytes) } else { Err(BlobError::Damaged(digest.clone())) }
    }

    /// Changes stored content behind the store's back, as a failing disk does.
    pub fn damage(&self, digest: &Digest) {
        if let Some(bytes) = lock(&self.0).get_mut(digest) {
            bytes.push(b'!');
        }
    }
}

#[async_trait]
impl BlobStore for MemoryBlobStore {
    async fn put(&self, bytes: &[u8]) -> Result<BlobRef, BlobError> {
        Ok(self.keep(bytes))
    }

    async fn put_file(&self, path: &Path) -> Result<BlobRef, BlobError> {
        let bytes =
            fs::read(path).map_err(|source| BlobError::Io { action: format!("read {}", path.display()), source })?;
        Ok(self.keep(&bytes))
    }

    async fn get(&self, digest: &Digest) -> Result<Vec<u8>, BlobError> {
        self.read(digest)
    }

    async fn get_file(&self, digest: &Digest, to: &Path) -> Result<(), BlobError> {
        let bytes = self.read(digest)?;
        fs::File::create_new(to)
            .and_then(|mut file| io::Write::write_all(&mut file, &bytes))
            .map_err(|source| BlobError::Io { action: format!("write {}", to.display()), source })
    }

    async fn put_stream(
        &self,
        content: &mut (dyn AsyncRead + Send + Unpin),
        expected: Option<&Digest>,
    ) -> Result<Put, BlobError> {
        let mut bytes = Vec::new();
        let read = content.read_to_end(&mut bytes).await;
        read.map_err(|source| BlobError::Io { action: "read what is to be kept".to_owned(), source })?;
        let found = Digest::new(sha256_hex(&bytes));
        if let Some(expected) = expected.filter(|expected| **expected != found) {
            return Err(BlobError::Unexpected { expected: expected.clone(), found });
        }
        let is_new = !lock(&self.0).contains_key(&found);
        Ok(Put { content: self.keep(&bytes), is_new })
    }

    async fn open(&self, digest: &Digest) -> Result<BlobStream, BlobError> {
        let bytes = lock(&self.0).get(digest).cloned().ok_or_else(|| BlobError::NotFound(digest.clone()))?;
        Ok(Box::new(Verified::new(io::Cursor::new(bytes), digest.clone())))
    }

    async fn link(&self, digest: &Digest, _expires_in: Duration) -> Result<String, BlobError> {
        self.read(digest).and(Err(BlobError::NoLinks))
    }

    async fn contains(&self, digest: &Digest) -> Result<bool, BlobError> {
        Ok(lock(&self.0).contains_key(digest))
    }

    async fn retain(&self, digest: &Digest, _class: BlobClass) -> Result<(), BlobError> {
        if self.contains(digest).await? { Ok(()) } else { Err(BlobError::NotFound(digest.clone())) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::contract;

    #[tokio::test]
    async fn keeps_the_contract() {
        contract::blob_store(async || Arc::new(MemoryBlobStore::default()) as Arc<dyn BlobStore>).await;
    }

    #[tokio::test]
    async fn damage_is_told_and_put_right() {
        let store = MemoryBlobStore::default();
        let blob = store.keep(b"content");
        store.damage(&blob.digest);
        assert!(matches!(store.get(&blob.digest).await, Err(BlobError::Damaged(digest)) if digest == blob.digest));
        store.put(b"content").await.unwrap();
        assert_eq!(store.get(&blob.digest).await.unwrap(), b"content");
    }
}
