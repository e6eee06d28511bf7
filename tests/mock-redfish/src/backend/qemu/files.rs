//! The files of a machine: firmware, variables, disks, console, log. Finds, makes and names them.
//!
//! ```text
//!   <rack folder>/<machine>/  VARS.fd  disk0.raw  console.log  qemu.log
//! ```

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{io::AsyncWriteExt, process::Command};

use super::{
    config::{DiskConfig, DiskFormat, QemuConfig},
    load_option::{Device, load_option},
    vars::{Vars, VarsError},
};
use crate::backend::BackendError;

/// Where Debian's package `ovmf` puts the firmware.
const FIRMWARE: &str = "/usr/share/OVMF";
/// Deadline for making a disk file.
const IMG_DEADLINE: Duration = Duration::from_secs(60);

/// Files of one machine.
#[derive(Debug)]
pub(crate) struct Files {
    pub folder: PathBuf,
    /// Firmware code.
    pub code: PathBuf,
    /// Firmware variables as delivered.
    template: PathBuf,
}

impl Files {
    /// Finds the firmware and QEMU, makes the folder.
    pub async fn prepare(folder: &Path, qemu: &QemuConfig) -> Result<Self, BackendError> {
        let (code, template) = if qemu.secure_boot {
            ("OVMF_CODE_4M.secboot.fd", "OVMF_VARS_4M.ms.fd")
        } else {
            ("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd")
        };
        let (code, template) = (Path::new(FIRMWARE).join(code), Path::new(FIRMWARE).join(template));
        for (path, package) in [(&code, "ovmf"), (&template, "ovmf")] {
            if !path.exists() {
                return Err(BackendError::Missing { path: path.display().to_string(), package });
            }
        }
        let doing = |source| file_error("making the folder", folder, source);
        tokio::fs::create_dir_all(folder).await.map_err(doing)?;
        let folder = tokio::fs::canonicalize(folder).await.map_err(doing)?;
        Ok(Self { folder, code, template })
    }

    pub fn vars(&self) -> PathBuf {
        self.folder.join("VARS.fd")
    }

    pub fn console(&self) -> PathBuf {
        self.folder.join("console.log")
    }

    pub fn log(&self) -> PathBuf {
        self.folder.join("qemu.log")
    }

    /// File of a disk.
    pub fn disk(&self, disk: &DiskConfig) -> PathBuf {
        self.folder.join(&disk.file)
    }

    /// Makes the disks that do not exist yet.
    pub async fn make_disks(&self, disks: &[DiskConfig]) -> Result<(), BackendError> {
        for disk in disks {
            let path = self.disk(disk);
            if path.exists() {
                continue;
            }
            match disk.format {
                DiskFormat::Raw => {
                    let doing = |source| file_error("making the disk", &path, source);
                    let file = tokio::fs::File::create(&path).await.map_err(doing)?;
                    file.set_len(disk.size_mib << 20).await.map_err(doing)?;
                }
                DiskFormat::Qcow2 => make_qcow2(&path, disk.size_mib).await?,
            }
        }
        Ok(())
    }

    /// Starts the variables over from the template, with the disks before the virtual drives in the boot order,
    /// as servers are delivered.
    pub async fn wipe_vars(&self, qemu: &QemuConfig, drives: &[String]) -> Result<(), BackendError> {
        let template = tokio::fs::read(&self.template)
            .await
            .map_err(|source| file_error("reading", &self.template, source))?;
        let mut vars = Vars::parse(template).map_err(|error| vars_error(&self.template, &error))?;
        let mut first = Vec::new();
        let place = |index| u8::try_from(qemu.place(index)).unwrap_or(u8::MAX);
        let disks = qemu.disks.iter().enumerate().map(|(index, disk)| disk_option(disk, place(index)));
        let drives = drives.iter().zip(0_u8..).map(|(id, index)| drive_option(id, index));
        for option in disks.chain(drives) {
            first.push(vars.ensure_entry(&option).map_err(|error| vars_error(&self.template, &error))?);
        }
        vars.put_first(&first);
        self.write_vars(vars).await
    }

    /// Makes the firmware boot `option` once, or what its order says.
    pub async fn set_boot_next(&self, option: Option<Vec<u8>>) -> Result<(), BackendError> {
        let path = self.vars();
        let wrong = |error: VarsError| vars_error(&path, &error);
        let image = tokio::fs::read(&path).await.map_err(|source| file_error("reading", &path, source))?;
        let mut vars = Vars::parse(image).map_err(wrong)?;
        match option {
            None if vars.get("BootNext").is_none() => return Ok(()),
            None => vars.remove("BootNext"),
            Some(option) => {
                let entry = vars.ensure_entry(&option).map_err(wrong)?;
                vars.boot_next(entry);
            }
        }
        self.write_vars(vars).await
    }

    async fn write_vars(&self, vars: Vars) -> Result<(), BackendError> {
        let path = self.vars();
        let image = vars.into_image().map_err(|error| vars_error(&path, &error))?;
        let fresh = path.with_extension("fd.new");
        let doing = |source| file_error("writing", &path, source);
        tokio::fs::write(&fresh, image).await.map_err(doing)?;
        tokio::fs::rename(&fresh, &path).await.map_err(doing)
    }

    /// Writes a line of ours to the console, between two boots.
    pub async fn mark_console(&self, line: &str) -> Result<(), BackendError> {
        let path = self.console();
        let doing = |source| file_error("writing", &path, source);
        let mut file =
            tokio::fs::File::options().create(true).append(true).open(&path).await.map_err(doing)?;
        file.write_all(format!("\n=== mock-redfish: {line} ===\n").as_bytes()).await.map_err(doing)?;
        file.flush().await.map_err(doing)
    }
}

/// Load option of a disk.
pub(crate) fn disk_option(disk: &DiskConfig, index: u8) -> Vec<u8> {
    load_option(&format!("Hard drive {}", disk.serial), &Device::Disk { index, bus: disk.bus })
}

/// Load option of a virtual drive.
pub(crate) fn drive_option(id: &str, index: u8) -> Vec<u8> {
    load_option(&format!("Virtual {id}"), &Device::Drive { index })
}

async fn make_qcow2(path: &Path, size_mib: u64) -> Result<(), BackendError> {
    let mut command = Command::new("qemu-img");
    command.args(["create", "-q", "-f", "qcow2"]).arg(path).arg(format!("{size_mib}M")).kill_on_drop(true);
    let late = || BackendError::Late { what: "qemu-img".into(), seconds: IMG_DEADLINE.as_secs() };
    let output = match tokio::time::timeout(IMG_DEADLINE, command.output()).await.map_err(|_| late())? {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(BackendError::Missing { path: "qemu-img".into(), package: "qemu-utils" });
        }
        Err(source) => return Err(file_error("running qemu-img for", path, source)),
    };
    if output.status.success() {
        return Ok(());
    }
    Err(BackendError::Program {
        program: "qemu-img".into(),
        status: output.status.to_string(),
        stderr: String::from_utf8_lossy(&output.stderr).trim().into(),
    })
}

pub(crate) fn file_error(doing: &'static str, path: &Path, source: io::Error) -> BackendError {
    BackendError::File { doing, path: path.display().to_string(), source }
}

fn vars_error(path: &Path, error: &VarsError) -> BackendError {
    BackendError::Vars { path: path.display().to_string(), reason: error.to_string() }
}
