//! Reads an ISO 9660 disc the way a machine does that was given an URL: sector by sector, by HTTP range requests.
//! Only what a host needs: the label, and files by their Rock Ridge names. It shares no code with what wrote the disc.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::StatusCode;
use reqwest::header::{CONTENT_RANGE, RANGE};

/// Bytes of a sector.
const SECTOR: u64 = 2048;
/// Where the primary volume descriptor is.
const PRIMARY: u64 = 16 * SECTOR;
/// Most bytes asked for at once, as BMCs do.
const PIECE: u64 = 64 << 10;
/// Most entries walked.
const ENTRIES_MAX: usize = 4096;

/// Where a file or a folder lies, in bytes from the beginning of its disc.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First byte.
    pub at: u64,
    /// Bytes.
    pub len: u64,
}

/// A disc behind an URL, or one inside a file of another.
#[derive(Debug, Clone)]
pub struct Disc {
    http: reqwest::Client,
    url: String,
    begin: u64,
}

impl Disc {
    /// The disc at that URL.
    pub fn at(http: reqwest::Client, url: &str) -> Self {
        Self { http, url: url.to_owned(), begin: 0 }
    }

    /// The disc that lies in a file of this one.
    pub fn inside(&self, extent: Extent) -> Self {
        Self { begin: self.begin + extent.at, ..self.clone() }
    }

    /// The volume label; none when this is no disc.
    pub async fn label(&self) -> Result<Option<String>> {
        let primary = self.read(Extent { at: PRIMARY, len: SECTOR }).await?;
        if primary.get(..6) != Some(b"\x01CD001") {
            return Ok(None);
        }
        Ok(Some(String::from_utf8_lossy(&primary[40..72]).trim().to_owned()))
    }

    /// Every file by its path.
    pub async fn files(&self) -> Result<BTreeMap<String, Extent>> {
        let primary = self.read(Extent { at: PRIMARY, len: SECTOR }).await?;
        ensure!(primary.get(..6) == Some(b"\x01CD001"), "{} is no ISO 9660 disc", self.url);
        let mut files = BTreeMap::new();
        let mut folders = VecDeque::from([(String::new(), record_extent(&primary[156..190])?)]);
        let mut seen = 0;
        while let Some((path, extent)) = folders.pop_front() {
            for entry in entries(&self.read(extent).await?)? {
                seen += 1;
                ensure!(seen < ENTRIES_MAX, "{} has too many entries", self.url);
                let name = format!("{path}{}", entry.name);
                if entry.is_folder {
                    folders.push_back((format!("{name}/"), entry.extent));
                } else {
                    files.insert(name, entry.extent);
                }
            }
        }
        Ok(files)
    }

    /// Copies every file into a folder.
    pub async fn copy_to(&self, folder: &Path) -> Result<()> {
        for (name, extent) in self.files().await? {
            let path = folder.join(&name);
            if let Some(parent) = path.parent() {
                tokio::fs::create_dir_all(parent).await?;
            }
            tokio::fs::write(&path, self.read(extent).await?).await?;
        }
        Ok(())
    }

    /// The bytes of an extent.
    pub async fn read(&self, extent: Extent) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(usize::try_from(extent.len)?);
        while (bytes.len() as u64) < extent.len {
            let from = self.begin + extent.at + bytes.len() as u64;
            let len = PIECE.min(extent.len - bytes.len() as u64);
            let last = from + len - 1;
            let request = self.http.get(&self.url).header(RANGE, format!("bytes={from}-{last}"));
            let answer = request.send().await.with_context(|| format!("reading {}", self.url))?;
            ensure!(
                answer.status() == StatusCode::PARTIAL_CONTENT,
                "{} answers {}",
                self.url,
                answer.status()
            );
            let shown = answer.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
            let right = shown.is_some_and(|shown| shown.starts_with(&format!("bytes {from}-{last}/")));
            ensure!(right, "{} was asked for bytes {from}-{last} and says {shown:?}", self.url);
            let piece = answer.bytes().await?;
            ensure!(piece.len() as u64 == len, "{} sent {} bytes of {len}", self.url, piece.len());
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }
}

struct Entry {
    name: String,
    extent: Extent,
    is_folder: bool,
}

/// The entries of a folder, without itself and its parent.
fn entries(folder: &[u8]) -> Result<Vec<Entry>> {
    let mut found = Vec::new();
    for sector in folder.chunks(usize::try_from(SECTOR)?) {
        let mut rest = sector;
        while let Some(len) = rest.first().map(|len| usize::from(*len)).filter(|len| *len > 0) {
            ensure!(len >= 34 && len <= rest.len(), "a directory record of {len} bytes");
            let record = &rest[..len];
            rest = &rest[len..];
            let name_len = usize::from(record[32]);
            let plain = record.get(33..33 + name_len).context("a name longer than its record")?;
            if matches!(plain, [0 | 1]) {
                continue;
            }
            let after_name = (33 + name_len).next_multiple_of(2).min(len);
            let name = rock_ridge_name(&record[after_name..])
                .unwrap_or_else(|| String::from_utf8_lossy(plain).trim_end_matches(";1").to_lowercase());
            if name.is_empty() || name.contains('/') || name == ".." {
                bail!("a file is named {name:?}");
            }
            found.push(Entry { name, extent: record_extent(record)?, is_folder: record[25] & 2 != 0 });
        }
    }
    Ok(found)
}

fn record_extent(record: &[u8]) -> Result<Extent> {
    let number = |at: usize| -> Result<u64> {
        let bytes: [u8; 4] = record.get(at..at + 4).context("a record cut off")?.try_into()?;
        Ok(u32::from_le_bytes(bytes).into())
    };
    Ok(Extent { at: number(2)? * SECTOR, len: number(10)? })
}

/// The pieces of the `NM` entries put together.
fn rock_ridge_name(mut area: &[u8]) -> Option<String> {
    let mut name = Vec::new();
    while area.len() >= 4 {
        let len = usize::from(area[2]);
        if len < 4 || len > area.len() {
            break;
        }
        if &area[..2] == b"NM" {
            name.extend_from_slice(area.get(5..len)?);
        }
        area = &area[len..];
    }
    if name.is_empty() { None } else { String::from_utf8(name).ok() }
}
