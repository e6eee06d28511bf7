//! Puts the real machine behind the traits and does what the command line asks.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use schema::event::PROVISION_DIR;
use schema::task::TaskJob;

use crate::args::Command;
use crate::clock::{self, SystemClock};
use crate::console::{Consoles, Screen};
use crate::controller::{AddressError, Controller, HttpController};
use crate::delivery::chain;
use crate::exit::Exit;
use crate::handoff::Handoff;
use crate::identity::Sysfs;
use crate::manager::ZbusSystemd;
use crate::mounts::Drives;
use crate::network::Networkd;
use crate::power::Machine;
use crate::programs::Processes;
use crate::report::Reporting;
use crate::run::{Host, kernel_words};
use crate::systemd::{Systemd, SystemdError};
use crate::targets::TARGET_DIR;

/// Does it, on this machine.
pub fn start(command: &Command) -> Exit {
    let screen = Consoles::open();
    match command {
        Command::Version => {
            eprintln!("slipway-dispatcher {}", env!("CARGO_PKG_VERSION"));
            Exit::Ok
        }
        Command::Run => run(&screen),
        Command::ReportSuccess => report(&screen, None),
        Command::ReportFailed { unit } => report(&screen, Some(unit)),
    }
}

fn run(screen: &dyn Screen) -> Exit {
    Host {
        media: &Drives::default(),
        words: kernel_words(),
        network: &Networkd,
        hardware: &Sysfs::default(),
        clock: &SystemClock,
        built: clock::build_time(),
        connect: &connect,
        systemd: &systemd,
        power: &Machine,
        screen,
        handoff: Handoff::in_folder(Path::new(PROVISION_DIR)),
        target_dir: Path::new(TARGET_DIR),
        root: Path::new("/"),
        stop: &AtomicBool::new(false),
    }
    .run()
}

/// Reports this unit's failure, or success.
fn report(screen: &dyn Screen, failed: Option<&str>) -> Exit {
    let systemd = match ZbusSystemd::connect() {
        Ok(systemd) => systemd,
        Err(error) => {
            screen.line(&format!("the outcome is not reported: {}", chain(&error)));
            return Exit::TargetNotStarted;
        }
    };
    let reporting = Reporting {
        handoff: &Handoff::in_folder(Path::new(PROVISION_DIR)),
        systemd: &systemd,
        target_dir: Path::new(TARGET_DIR),
        connect: &connect,
        programs: &Processes,
        power: &Machine,
        clock: &SystemClock,
        screen,
    };
    failed.map_or_else(|| reporting.success(), |unit| reporting.failed(unit))
}

fn connect(job: &TaskJob) -> Result<Box<dyn Controller>, AddressError> {
    Ok(Box::new(HttpController::new(job)?))
}

fn systemd() -> Result<Box<dyn Systemd>, SystemdError> {
    Ok(Box::new(ZbusSystemd::connect()?))
}
