//! Real drives: mounts read-only, nosuid, nodev, noexec, under a folder that only root may enter, and downloads.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use schema::task::{MAINTENANCE_LABEL, TASK_MEDIUM_MAX};

use crate::medium::{Media, MediumError, Mounted};
use crate::programs::{Processes, Programs};
use crate::volume;

/// Folder of our mounts and downloads, 0700.
pub const WORK_DIR: &str = "/run/slipway";
/// Where dracut keeps the disc that it booted from mounted, when it does.
const LIVE_DISC: &str = "/run/initramfs/live";
/// A CD drive behind a BMC may answer slowly.
const MOUNT_DEADLINE: Duration = Duration::from_secs(120);
/// For connecting and for the whole download of at most 10 MiB.
const FETCH_DEADLINE: Duration = Duration::from_secs(120);

/// The machine's drives.
pub struct Drives {
    work: PathBuf,
    next: AtomicU32,
}

impl Default for Drives {
    fn default() -> Self {
        Self { work: PathBuf::from(WORK_DIR), next: AtomicU32::new(0) }
    }
}

impl Drives {
    fn fresh_folder(&self) -> std::io::Result<PathBuf> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let folder = self.work.join(format!("disc-{}-{number}", std::process::id()));
        DirBuilder::new().recursive(true).mode(0o700).create(&self.work)?;
        DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(folder)
    }
}

impl Media for Drives {
    fn labelled(&self, label: &str) -> Vec<PathBuf> {
        let mut places: Vec<PathBuf> = volume::candidates()
            .into_iter()
            .filter(|path| volume::label(path).as_deref() == Some(label))
            .collect();
        let live = Path::new(LIVE_DISC);
        if label == MAINTENANCE_LABEL && live.join(schema::task::TRUST_FILE).is_file() {
            places.push(live.to_owned());
        }
        places
    }

    fn mount(&self, source: &Path) -> Result<Mounted, MediumError> {
        let problem = |why: Box<dyn std::error::Error + Send + Sync>| MediumError::Mount {
            path: source.to_owned(),
            source: why,
        };
        let kind = fs::metadata(source).map_err(|why| problem(why.into()))?.file_type();
        if kind.is_dir() {
            return Ok(Mounted::folder(source.to_owned()));
        }
        let folder = self.fresh_folder().map_err(|why| problem(why.into()))?;
        // The guard first: a mount that half works is undone as well.
        let mounted = Mounted::guarded(folder.clone(), {
            let folder = folder.clone();
            move || {
                let _not_mounted = umount2(&folder, MntFlags::MNT_DETACH);
                let _busy = fs::remove_dir(&folder);
            }
        });
        if kind.is_block_device() {
            let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
            mount(Some(source), &folder, Some("iso9660"), flags, None::<&str>)
                .map_err(|why| problem(why.into()))?;
        } else {
            // mount(8) sets up the loop device, and the kernel takes it down with the mount.
            let (source, folder) = (source.to_string_lossy(), folder.to_string_lossy());
            let args = ["-t", "iso9660", "-o", "loop,ro,nosuid,nodev,noexec", &*source, &*folder];
            Processes
                .run("mount", &args, MOUNT_DEADLINE)
                .and_then(|output| output.ok("mount"))
                .map_err(|why| problem(why.into()))?;
        }
        Ok(mounted)
    }

    fn fetch(&self, url: &str) -> Result<PathBuf, MediumError> {
        if !url.starts_with("http://") {
            return Err(MediumError::Url { url: url.to_owned() });
        }
        let bytes = download(url)
            .map_err(|source| MediumError::Fetch { url: url.to_owned(), source: source.into() })?;
        let path = self.work.join("task.iso");
        self.keep(&path, &bytes)
            .map_err(|source| MediumError::Fetch { url: url.to_owned(), source: source.into() })?;
        Ok(path)
    }
}

impl Drives {
    fn keep(&self, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.work)?;
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(bytes)
    }
}

fn download(url: &str) -> Result<Vec<u8>, ureq::Error> {
    let agent = ureq::Agent::config_builder()
        .timeout_global(Some(FETCH_DEADLINE))
        .max_redirects(0)
        .proxy(None)
        .build()
        .new_agent();
    let mut bytes = Vec::new();
    let response = agent.get(url).call()?;
    // A redirection is not followed, and what comes with it is no medium.
    if response.status() != ureq::http::StatusCode::OK {
        return Err(ureq::Error::StatusCode(response.status().as_u16()));
    }
    response.into_body().into_with_config().limit(TASK_MEDIUM_MAX).reader().read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Answers one request with that status and so many bytes.
    fn serving(status: &'static str, bytes: usize) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/m/x/task.iso", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {bytes}\r\nLocation: http://127.0.0.1:9/\r\n\r\n"
            );
            // The client may have heard enough.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&vec![7; bytes]));
        });
        url
    }

    #[test]
    fn the_task_medium_of_a_netboot_is_downloaded_for_root_alone() {
        let folder = tempfile::tempdir().unwrap();
        let drives = Drives { work: folder.path().join("work"), next: AtomicU32::new(0) };
        let path = drives.fetch(&serving("200 OK", 5000)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), [7; 5000]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn what_is_too_large_elsewhere_or_not_plain_http_is_no_task_medium() {
        let folder = tempfile::tempdir().unwrap();
        let drives = Drives { work: folder.path().join("work"), next: AtomicU32::new(0) };
        let too_large = usize::try_from(TASK_MEDIUM_MAX).unwrap() + 1;
        for url in [serving("200 OK", too_large), serving("302 Found", 0), serving("404 Not Found", 0)] {
            assert!(matches!(drives.fetch(&url), Err(MediumError::Fetch { .. })), "{url}");
        }
        let error = drives.fetch("https://10.0.0.5/task.iso").unwrap_err();
        assert!(matches!(error, MediumError::Url { .. }), "{error}");
        assert!(!folder.path().join("work/task.iso").exists());
    }
}
