//! A bounded pipe between two threads: chunks go forward, emptied chunks come back for reuse, so memory is
//! fixed whatever flows through. An error of the writing side is read by the reading side in its place.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// Bytes in a chunk.
pub const CHUNK: usize = 256 << 10;
/// Chunks on their way; with two pipes this is 4 MiB in all.
const DEPTH: usize = 8;
/// Longest wait for a chunk. The registry client gives up long before; this ends what nobody thought of.
const PATIENCE: Duration = Duration::from_secs(600);

/// The end that is written to.
#[derive(Debug)]
pub struct Writer {
    forward: SyncSender<io::Result<Vec<u8>>>,
    back: Receiver<Vec<u8>>,
}

/// The end that is read from.
#[derive(Debug)]
pub struct Reader {
    forward: Receiver<io::Result<Vec<u8>>>,
    back: SyncSender<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
    ended: bool,
}

/// A new pipe.
pub fn pipe() -> (Writer, Reader) {
    let (forward, incoming) = sync_channel(DEPTH);
    let (outgoing, back) = sync_channel(DEPTH + 2);
    let reader = Reader { forward: incoming, back: outgoing, chunk: Vec::new(), at: 0, ended: false };
    (Writer { forward, back }, reader)
}

impl Writer {
    /// Copies everything from `source` into the pipe. `Ok(false)`: the reading side went away.
    /// An error of the source is passed on and returned by its kind.
    pub fn fill_from(&self, source: &mut dyn Read) -> Result<bool, io::ErrorKind> {
        loop {
            let mut chunk = self.back.try_recv().unwrap_or_default();
            chunk.resize(CHUNK, 0);
            match read_full(source, &mut chunk) {
                Ok(0) => return Ok(true),
                Ok(length) => {
                    chunk.truncate(length);
                    if self.forward.send(Ok(chunk)).is_err() {
                        return Ok(false);
                    }
                }
                Err(error) => {
                    let kind = error.kind();
                    let _ = self.forward.send(Err(error));
                    return Err(kind);
                }
            }
        }
    }
}

/// Fills the buffer unless the source ends before.
pub fn read_full(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

impl Reader {
    /// Gets the next chunk; false at the end.
    fn advance(&mut self) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        match self.forward.recv_timeout(PATIENCE) {
            Ok(Ok(chunk)) => {
                let empty = std::mem::replace(&mut self.chunk, chunk);
                if empty.capacity() > 0 {
                    let _ = self.back.try_send(empty);
                }
                self.at = 0;
                Ok(true)
            }
            Ok(Err(error)) => {
                self.ended = true;
                Err(error)
            }
            Err(RecvTimeoutError::Disconnected) => {
                self.ended = true;
                Ok(false)
            }
            Err(RecvTimeoutError::Timeout) => {
                self.ended = true;
                Err(io::Error::new(io::ErrorKind::TimedOut, "no data for ten minutes"))
            }
        }
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while self.at == self.chunk.len() {
            if !self.advance()? {
                return Ok(0);
            }
        }
        let length = buffer.len().min(self.chunk.len() - self.at);
        buffer[..length].copy_from_slice(&self.chunk[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in() {
        let sent: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
        let (writer, mut reader) = pipe();
        let mut got = Vec::new();
        std::thread::scope(|scope| {
            let sent = &sent;
            scope.spawn(move || writer.fill_from(&mut sent.as_slice()));
            reader.read_to_end(&mut got).unwrap();
        });
        assert!(got == sent);
    }

    #[test]
    fn an_error_arrives_in_its_place_and_a_reader_that_leaves_stops_the_writer() {
        struct Broken(u32);
        impl Read for Broken {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0 += 1;
                if self.0 > 3 { Err(io::Error::other("cable pulled")) } else { Ok(buffer.len()) }
            }
        }
        let (writer, mut reader) = pipe();
        std::thread::scope(|scope| {
            scope.spawn(move || writer.fill_from(&mut Broken(0)));
            let mut got = Vec::new();
            let error = reader.read_to_end(&mut got).unwrap_err();
            assert_eq!((error.to_string().as_str(), got.len()), ("cable pulled", 3 * CHUNK));
        });
        let (writer, reader) = pipe();
        drop(reader);
        assert_eq!(writer.fill_from(&mut io::repeat(0)), Ok(false));
    }
}
