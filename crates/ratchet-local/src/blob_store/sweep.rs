use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read, Seek},
    path::Path,
    time::SystemTime,
};

use ratchet_core::ids::Digest;
use ratchet_engine::ports::BlobError;
use rustix::fs::FlockOperation;

use super::{LocalBlobStore, for_each_chunk, in_background, refused};
use crate::references::References;

/// What a sweep removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// How many blobs.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl LocalBlobStore {
    /// Removes the content that is neither among `referenced` nor referred to by what is, and that nobody has put since `unused_since`.
    ///
    /// That time must lie well before `referenced` was gathered: a run that puts content and commits its row only afterwards is safe by it, as long as it
    /// takes less time for that.
    pub async fn sweep(&self, referenced: HashSet<Digest>, unused_since: SystemTime) -> Result<Swept, BlobError> {
        let store = self.clone();
        in_background(move || store.sweep_now(referenced, unused_since)).await
    }

    fn sweep_now(&self, referenced: HashSet<Digest>, unused_since: SystemTime) -> Result<Swept, BlobError> {
        let mut swept = Swept::default();
        if !self.root.is_dir() {
            return Ok(swept);
        }
        let kept = self.with_all_they_refer_to(referenced)?;
        for folder in entries(&self.root.join("sha256"))? {
            for path in entries(&folder)? {
                let is_kept = digest_of(&path).is_some_and(|digest| kept.contains(&digest));
                if !is_kept && let Some(bytes) = self.remove_unused(&path, unused_since)? {
                    swept.blobs += 1;
                    swept.bytes += bytes;
                }
            }
        }
        // What a crash has left on its way was never a blob.
        for path in entries(&self.root.join("tmp"))? {
            swept.bytes += self.remove_unused(&path, unused_since)?.unwrap_or(0);
        }
        Ok(swept)
    }

    /// These digests, and those that their content refers to when it is JSON: large values are stored apart from their rows and name files in turn.
    fn with_all_they_refer_to(&self, referenced: HashSet<Digest>) -> Result<HashSet<Digest>, BlobError> {
        let mut open: Vec<Digest> = referenced.iter().cloned().collect();
        let mut kept = referenced;
        while let Some(digest) = open.pop() {
            let mut references = References::default();
            match self.open(&digest) {
                Ok(file) => read_json(file, &mut references).map_err(refused("read", &self.root))?,
                Err(BlobError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
            for found in references.into_digests() {
                if kept.insert(found.clone()) {
                    open.push(found);
                }
            }
        }
        Ok(kept)
    }

    /// Removes a file that nobody has put since, and gives its size. No put can begin meanwhile.
    fn remove_unused(&self, path: &Path, unused_since: SystemTime) -> Result<Option<u64>, BlobError> {
        let _lock = self.lock(FlockOperation::LockExclusive)?;
        let removed = fs::metadata(path).and_then(|metadata| {
            if metadata.modified()? >= unused_since {
                return Ok(None);
            }
            fs::remove_file(path).map(|()| Some(metadata.len()))
        });
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            removed => removed.map_err(refused("remove", path)),
        }
    }
}

fn read_json(mut file: File, references: &mut References) -> io::Result<()> {
    let mut first = [0];
    if file.read(&mut first)? == 0 || !matches!(first[0], b'{' | b'[') {
        return Ok(());
    }
    file.rewind()?;
    for_each_chunk(&mut file, |chunk| {
        references.read(chunk);
        Ok(())
    })
}

fn entries(folder: &Path) -> Result<Vec<std::path::PathBuf>, BlobError> {
    let read = || fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect();
    match read() {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        entries => entries.map_err(refused("list", folder)),
    }
}

fn digest_of(path: &Path) -> Option<Digest> {
    let (head, tail) = (path.parent()?.file_name()?.to_str()?, path.file_name()?.to_str()?);
    Some(Digest::new(format!("{head}{tail}")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ratchet_core::output::{FileValue, Output};
    use ratchet_engine::ports::BlobStore;
    use tempfile::TempDir;

    use super::*;

    #[tokio::test]
    async fn what_nothing_refers_to_goes_and_all_else_stays() {
        let folder = TempDir::new().unwrap();
        let store = LocalBlobStore::new(folder.path().join("blobs"));
        let file = store.put(b"named by a stored value").await.unwrap();
        let each =
            Output::Each(vec![None, Some(Output::File(FileValue { path: "a".to_owned(), content: file.clone() }))]);
        let inner = store.put(&serde_json::to_vec(&each).unwrap()).await.unwrap();
        let outer = store.put(&serde_json::to_vec(&Output::Stored(inner.clone())).unwrap()).await.unwrap();
        let unused = store.put(b"named by nothing").await.unwrap();
        fs::write(folder.path().join("blobs/tmp/left-by-a-crash"), "half").unwrap();
        let missing = Digest::new("0".repeat(64));
        let referenced = HashSet::from([outer.digest.clone(), missing]);

        let an_hour_ago = SystemTime::now() - Duration::from_hours(1);
        assert_eq!(store.sweep(referenced.clone(), an_hour_ago).await.unwrap(), Swept::default(), "all is in use");
        let soon = SystemTime::now() + Duration::from_hours(1);
        let swept = store.sweep(referenced, soon).await.unwrap();
        assert_eq!(swept, Swept { blobs: 1, bytes: unused.size + 4 });
        for (blob, stays) in [(file, true), (inner, true), (outer, true), (unused, false)] {
            assert_eq!(store.contains(&blob.digest).await.unwrap(), stays);
        }
    }

    #[tokio::test]
    async fn what_is_put_again_is_in_use() {
        let folder = TempDir::new().unwrap();
        let store = LocalBlobStore::new(folder.path());
        let blob = store.put(b"content").await.unwrap();
        let file = File::open(store.path(&blob.digest).unwrap()).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_hours(48)).unwrap();
        store.put(b"content").await.unwrap();
        let yesterday = SystemTime::now() - Duration::from_hours(24);
        assert_eq!(store.sweep(HashSet::new(), yesterday).await.unwrap(), Swept::default());
        assert!(store.contains(&blob.digest).await.unwrap());
    }
}
