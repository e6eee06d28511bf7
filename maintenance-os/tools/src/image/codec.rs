//! Undoing compression. The bytes themselves say which one it is; names and media types are not asked.
//! Memory is bounded: a zstd window of at most 2^27 bytes (the format's own default limit), 8 MiB in what
//! `zstd` makes unless told otherwise.

use std::io::{self, BufReader, Chain, Cursor, Read};

use super::pipe::read_full;

/// Largest zstd window accepted, as a power of two; `zstd -d` has the same limit without options.
const WINDOW_LOG_MAX: u32 = 27;
/// Bytes looked at to tell what it is.
const MAGIC: usize = 4;
/// Input buffer of the decoders.
const BUFFER: usize = 64 << 10;

/// What a stream is compressed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Zstandard.
    Zstd,
    /// gzip.
    Gzip,
    /// Nothing.
    Plain,
}

/// Tells the codec from the first bytes.
pub fn detect(start: &[u8]) -> Codec {
    match start {
        // A zstd frame, or one of its skippable frames.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Codec::Zstd,
        [0x1f, 0x8b, ..] => Codec::Gzip,
        _ => Codec::Plain,
    }
}

type Started<R> = Chain<Cursor<Vec<u8>>, R>;

/// A stream with its compression undone.
pub enum Decoder<R: Read> {
    /// From zstd; several frames in a row are one stream.
    Zstd(Box<zstd::Decoder<'static, BufReader<Started<R>>>>),
    /// From gzip; several members in a row are one stream.
    Gzip(Box<flate2::bufread::MultiGzDecoder<BufReader<Started<R>>>>),
    /// As it is.
    Plain(Started<R>),
}

impl<R: Read> Decoder<R> {
    /// Looks at the first bytes and undoes what they show.
    pub fn new(mut input: R) -> io::Result<Self> {
        let mut start = vec![0; MAGIC];
        let length = read_full(&mut input, &mut start)?;
        start.truncate(length);
        let codec = detect(&start);
        let whole = Cursor::new(start).chain(input);
        Ok(match codec {
            Codec::Plain => Self::Plain(whole),
            Codec::Gzip => {
                let buffered = BufReader::with_capacity(BUFFER, whole);
                Self::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(buffered)))
            }
            Codec::Zstd => {
                let buffered = BufReader::with_capacity(BUFFER, whole);
                let mut decoder = zstd::Decoder::with_buffer(buffered)?;
                decoder.window_log_max(WINDOW_LOG_MAX)?;
                Self::Zstd(Box::new(decoder))
            }
        })
    }

    /// Reads what is left of the compressed input, so that its digest is known after a decoding error.
    pub fn drain(&mut self) {
        let rest: &mut dyn Read = match self {
            Self::Zstd(decoder) => decoder.get_mut(),
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Plain(input) => input,
        };
        let _ = io::copy(rest, &mut io::sink());
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Zstd(decoder) => decoder.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Plain(input) => input.read(buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn undo(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Decoder::new(bytes)?.read_to_end(&mut out)?;
        Ok(out)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn each_compression_is_told_by_its_bytes_and_undone() {
        let text = b"a tar, let us say".repeat(1000);
        let (gz, zst) = (gzip(&text), zstd::encode_all(&text[..], 3).unwrap());
        assert_eq!([detect(&gz), detect(&zst), detect(&text)], [Codec::Gzip, Codec::Zstd, Codec::Plain]);
        for packed in [&gz, &zst, &text] {
            assert!(undo(packed).unwrap() == text);
        }
        // pigz and zstd -T write members and frames in a row.
        assert!(undo(&[gz.clone(), gz].concat()).unwrap() == text.repeat(2));
        assert!(undo(&[zst.clone(), zst].concat()).unwrap() == text.repeat(2));
        assert!(undo(b"").unwrap().is_empty());
        assert!(undo(b"ab").unwrap() == b"ab");
    }

    #[test]
    fn a_truncated_stream_is_an_error_and_not_an_early_end() {
        let text: Vec<u8> =
            (0..100_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        for packed in [gzip(&text), zstd::encode_all(&text[..], 3).unwrap()] {
            let error = undo(&packed[..packed.len() / 2]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn a_window_beyond_the_limit_is_refused() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(28).unwrap();
        encoder.write_all(b"x").unwrap();
        let packed = encoder.finish().unwrap();
        // Only a stream of unknown size declares its whole window.
        assert!(undo(&packed).is_err());
    }
}
