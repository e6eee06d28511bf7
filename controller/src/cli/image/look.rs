//! What a file is: read once from end to end, hashed, decompressed and, if it is a tar, walked. What the host could
//! not install is refused here, where nothing was wiped yet. Blocks; knows no network.

use std::fs::File;
use std::io::{self, BufReader, Chain, Cursor, Read};
use std::path::Path;

use anyhow::{Context as _, bail};
use indicatif::ProgressBar;
use schema::recipe::ImageKind;
use sha2::{Digest as _, Sha256};

use super::manifest::{Codec, Image};

/// Read at a time.
const BUFFER: usize = 1 << 20;
/// Decompressed bytes that tell a tar from a disk: a tar's first block, and a disk's first two sectors (4 KiB ones
/// included).
const HEAD: usize = 8192;
/// Largest zstd window that the host accepts, as a power of two.
const WINDOW_LOG_MAX: u32 = 27;

/// What the first bytes of a file show that is nothing the host can read, and what to do about it.
const FOREIGN: &[(usize, &[u8], &str)] = &[
    (0, b"\xfd7zXZ\0", "it is compressed with xz; unpack it and compress it with zstd"),
    (0, b"BZh", "it is compressed with bzip2; unpack it and compress it with zstd"),
    (0, b"QFI\xfb", "it is a qcow2 disk; convert it with `qemu-img convert -O raw`"),
    (0, b"KDMV", "it is a VMware disk; convert it with `qemu-img convert -O raw`"),
    (0, b"vhdxfile", "it is a Hyper-V disk; convert it with `qemu-img convert -O raw`"),
    (0, b"conectix", "it is a VHD disk; convert it with `qemu-img convert -O raw`"),
    (0, b"hsqs", "it is a squashfs; unpack it with unsquashfs and push the folder"),
    (0, b"PK\x03\x04", "it is a zip; unpack it first"),
];

/// Counts and hashes what passes.
struct Hashing<'a> {
    file: File,
    hash: Sha256,
    read: u64,
    bar: &'a ProgressBar,
}

impl Read for Hashing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.hash.update(&buffer[..count]);
        self.read += count as u64;
        self.bar.inc(count as u64);
        Ok(count)
    }
}

type Started<'a, 'b> = BufReader<Chain<Cursor<Vec<u8>>, &'b mut Hashing<'a>>>;

/// A stream with its compression undone.
enum Decoder<'a, 'b> {
    Zstd(Box<zstd::Decoder<'static, Started<'a, 'b>>>),
    Gzip(Box<flate2::bufread::MultiGzDecoder<Started<'a, 'b>>>),
    Plain(Started<'a, 'b>),
}

impl Read for Decoder<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Zstd(stream) => stream.read(buffer),
            Self::Gzip(stream) => stream.read(buffer),
            Self::Plain(stream) => stream.read(buffer),
        }
    }
}

struct Counting<R>(R, u64);

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        self.1 += count as u64;
        Ok(count)
    }
}

fn codec(start: &[u8]) -> Codec {
    match start {
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Codec::Zstd,
        [0x1f, 0x8b, ..] => Codec::Gzip,
        _ => Codec::Plain,
    }
}

fn foreign(start: &[u8]) -> Option<&'static str> {
    FOREIGN
        .iter()
        .find(|(offset, magic, _)| start.get(*offset..).is_some_and(|rest| rest.starts_with(magic)))
        .map(|(_, _, remedy)| *remedy)
}

/// Reads `path` from end to end.
pub fn look(path: &Path, bar: &ProgressBar) -> anyhow::Result<Image> {
    let file = File::open(path).context("opening it")?;
    let mut hashing = Hashing { file, hash: Sha256::new(), read: 0, bar };
    let start = head(&mut hashing, HEAD).context("reading it")?;
    if let Some(remedy) = foreign(&start) {
        bail!("{remedy}");
    }
    let codec = codec(&start);
    let (kind, unpacked) = contents(codec, start, &mut hashing)?;
    // Whatever a decoder left: trailing bytes belong to the blob.
    io::copy(&mut hashing, &mut io::sink()).context("reading it")?;
    let digest = format!("sha256:{}", hex::encode(hashing.hash.finalize()));
    Ok(Image { kind, codec, digest, size: hashing.read, unpacked })
}

fn head(stream: &mut impl Read, size: usize) -> io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(size);
    stream.take(size as u64).read_to_end(&mut start)?;
    Ok(start)
}

fn contents(codec: Codec, start: Vec<u8>, hashing: &mut Hashing<'_>) -> anyhow::Result<(ImageKind, u64)> {
    let started = BufReader::with_capacity(BUFFER, Cursor::new(start).chain(hashing));
    let mut stream = Counting(
        match codec {
            Codec::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(started).context("reading its compression")?;
                decoder.window_log_max(WINDOW_LOG_MAX).context("reading its compression")?;
                Decoder::Zstd(Box::new(decoder))
            }
            Codec::Gzip => Decoder::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(started))),
            Codec::Plain => Decoder::Plain(started),
        },
        0,
    );
    let start = head(&mut stream, HEAD).context("its compression is damaged, or it was cut off")?;
    let kind = if is_tar(&start) {
        let mut whole = Cursor::new(start).chain(&mut stream);
        walk(&mut whole)?;
        ImageKind::Rootfs
    } else if is_disk(&start) {
        ImageKind::Disk
    } else if let Some(remedy) = foreign(&start) {
        bail!("inside its compression {remedy}");
    } else {
        bail!(
            "it is neither a tar nor a disk with a partition table; push a folder, a tar, a raw disk or an OCI layout"
        );
    };
    io::copy(&mut stream, &mut io::sink()).context("its compression is damaged, or it was cut off")?;
    Ok((kind, stream.1))
}

fn is_tar(start: &[u8]) -> bool {
    start.get(257..262) == Some(b"ustar")
}

/// A GPT after a sector of 512 or 4096 bytes, or the mark at the end of an MBR.
fn is_disk(start: &[u8]) -> bool {
    let gpt = |at: usize| start.get(at..at + 8) == Some(b"EFI PART");
    gpt(512) || gpt(4096) || start.get(510..512) == Some(&[0x55, 0xaa])
}

/// Walks a tar: it is whole, and it is a root filesystem.
fn walk(stream: &mut impl Read) -> anyhow::Result<()> {
    let mut is_root = false;
    let mut is_image = false;
    let mut archive = tar::Archive::new(stream);
    for entry in archive.entries().context("reading the tar")? {
        let entry = entry.context("reading the tar: it is damaged, or it was cut off")?;
        let path = entry.path_bytes();
        let name = path.strip_prefix(b"./").unwrap_or(&path);
        is_root |= name.starts_with(b"usr/") || name.starts_with(b"etc/");
        is_image |= name == b"oci-layout" || name == b"manifest.json";
    }
    if is_root {
        return Ok(());
    }
    if is_image {
        bail!(
            "it is an archive of a container image; turn it into an OCI layout with `skopeo copy oci-archive:FILE \
             oci:FOLDER` (or docker-archive:FILE) and push the folder"
        );
    }
    bail!(
        "the tar holds neither usr/ nor etc/ at its top, so it is no root filesystem; pack it from within the root"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn tar(names: &[&str]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for name in names {
            let mut header = tar::Header::new_ustar();
            header.set_size(3);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, &b"abc"[..]).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn looked(bytes: &[u8]) -> anyhow::Result<Image> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        look(file.path(), &ProgressBar::hidden())
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_root_filesystem_is_known_in_every_compression() {
        let plain = tar(&["./etc/hostname"]);
        let zstd = zstd::encode_all(&plain[..], 1).unwrap();
        for (bytes, codec) in
            [(plain.clone(), Codec::Plain), (zstd, Codec::Zstd), (gzip(&plain), Codec::Gzip)]
        {
            let found = looked(&bytes).unwrap();
            assert_eq!((found.kind, found.codec), (ImageKind::Rootfs, codec));
            assert_eq!((found.size, found.unpacked), (bytes.len() as u64, plain.len() as u64));
            assert_eq!(found.digest, format!("sha256:{}", hex::encode(Sha256::digest(&bytes))));
        }
    }

    #[test]
    fn a_disk_is_known_by_its_partition_table() {
        let mut disk = vec![0; 20_000];
        disk[512..520].copy_from_slice(b"EFI PART");
        assert_eq!(looked(&disk).unwrap().kind, ImageKind::Disk);
        let found = looked(&zstd::encode_all(&disk[..], 1).unwrap()).unwrap();
        assert_eq!((found.kind, found.codec, found.unpacked), (ImageKind::Disk, Codec::Zstd, 20_000));
        let mut large = vec![0; 20_000];
        large[4096..4104].copy_from_slice(b"EFI PART");
        assert_eq!(looked(&large).unwrap().kind, ImageKind::Disk);
    }

    #[test]
    fn what_the_host_could_not_install_is_refused_with_the_remedy() {
        let root = tar(&["etc/hostname", "usr/bin/true"]);
        let zstd = zstd::encode_all(&root[..], 1).unwrap();
        let table: [(&[u8], &str); 9] = [
            (b"", "neither a tar nor a disk"),
            (b"hello", "neither a tar nor a disk"),
            (b"\xfd7zXZ\0rest", "compressed with xz"),
            (b"QFI\xfbrest", "qemu-img convert"),
            (&gzip(b"QFI\xfbrest"), "inside its compression it is a qcow2"),
            (&zstd[..zstd.len() - 5], "damaged, or it was cut off"),
            (&root[..700], "damaged, or it was cut off"),
            (&tar(&["oci-layout", "index.json"]), "archive of a container image"),
            (&tar(&["rootfs/etc/hostname"]), "neither usr/ nor etc/"),
        ];
        for (bytes, says) in table {
            let error = format!("{:#}", looked(bytes).unwrap_err());
            assert!(error.contains(says), "{says}: {error}");
        }
    }
}
