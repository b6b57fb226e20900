//! What a program prints, on its way to whoever hears it.

use std::io;

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Child,
};

use crate::output_log::Stream;

/// The ends of a program's two streams that are read.
pub(super) struct Pipes {
    stdout: Pipe,
    stderr: Pipe,
}

struct Pipe {
    end: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Made with the first read: many programs print nothing.
    buffer: Vec<u8>,
}

/// What a read takes at most: little at first, since most programs print little.
const BUFFER_BYTES: std::ops::RangeInclusive<usize> = 512..=16 << 10;

impl Pipes {
    pub(super) fn of(child: &mut Child) -> Self {
        let stdout = child.stdout.take().map(|end| Box::new(end) as Box<dyn AsyncRead + Send + Unpin>);
        let stderr = child.stderr.take().map(|end| Box::new(end) as Box<dyn AsyncRead + Send + Unpin>);
        Self { stdout: Pipe { end: stdout, buffer: Vec::new() }, stderr: Pipe { end: stderr, buffer: Vec::new() } }
    }

    /// Waits for the next bytes of either stream; `None` when both have ended. Nothing is lost when it is dropped while it waits.
    pub(super) async fn read(&mut self) -> Option<(Stream, usize)> {
        loop {
            let (stream, read) = tokio::select! {
                read = self.stdout.read(), if self.stdout.end.is_some() => (Stream::Stdout, read),
                read = self.stderr.read(), if self.stderr.end.is_some() => (Stream::Stderr, read),
                else => return None,
            };
            match read {
                Ok(0) | Err(_) => self.pipe(stream).end = None,
                Ok(length) => return Some((stream, length)),
            }
        }
    }

    pub(super) fn bytes(&self, stream: Stream, length: usize) -> &[u8] {
        match stream {
            Stream::Stdout => &self.stdout.buffer[..length],
            Stream::Stderr => &self.stderr.buffer[..length],
        }
    }

    fn pipe(&mut self, stream: Stream) -> &mut Pipe {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

impl Pipe {
    async fn read(&mut self) -> io::Result<usize> {
        // A read that filled the buffer is followed by a larger one.
        let is_full = !self.buffer.is_empty() && self.buffer.len() == self.buffer.capacity();
        let wanted = if is_full { self.buffer.capacity() * 4 } else { self.buffer.capacity() };
        self.buffer.clear();
        self.buffer.reserve_exact(wanted.clamp(*BUFFER_BYTES.start(), *BUFFER_BYTES.end()));
        match &mut self.end {
            Some(end) => end.read_buf(&mut self.buffer).await,
            None => Ok(0),
        }
    }
}
