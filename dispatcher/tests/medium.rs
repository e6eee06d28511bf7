//! The task medium is found wherever it is, and the most telling fault is named when it is not.
#![allow(clippy::unwrap_used, reason = "a test may end loudly")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use dispatcher::cmdline::KernelCommandLine;
use dispatcher::exit::Exit;
use dispatcher::medium::find;
use dispatcher::volume;
use schema::task::{MAINTENANCE_LABEL, TASK_LABEL};

mod support;
use support::{FakeMedia, Site, job, recipe_text, run};

struct Bench {
    folder: tempfile::TempDir,
    site: Site,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap(), site: Site::new(1) };
        bench.site.medium(&bench.path("task"), &job("https://10.0.0.5:8443"), &recipe_text());
        Site::new(2).medium(&bench.path("foreign"), &job("https://10.0.0.6:8443"), &recipe_text());
        fs::create_dir_all(bench.path("maintenance/slipway")).unwrap();
        fs::write(bench.path("maintenance/slipway/trust"), bench.site.trust()).unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn media(&self, tasks: &[&str], maintenance: &[&str]) -> FakeMedia {
        let paths = |names: &[&str]| names.iter().map(|name| self.path(name)).collect();
        FakeMedia {
            discs: BTreeMap::from([
                (TASK_LABEL.to_owned(), paths(tasks)),
                (MAINTENANCE_LABEL.to_owned(), paths(maintenance)),
            ]),
            scratch: Some(self.path("")),
            ..FakeMedia::default()
        }
    }
}

fn exit_of(media: &FakeMedia, words: &KernelCommandLine) -> Exit {
    let exit = find(media, words).map_or_else(|problem| problem.exit(), |_| Exit::Ok);
    assert_eq!(media.mounted.load(Ordering::Relaxed), 0, "every disc is unmounted again");
    exit
}

fn iso(folder: &Path, label: &str, file: &Path) {
    run(
        "xorriso",
        &[
            "-as",
            "mkisofs",
            "-quiet",
            "-r",
            "-J",
            "-V",
            label,
            "-o",
            file.to_str().unwrap(),
            folder.to_str().unwrap(),
        ],
    );
}

#[test]
fn a_second_disc_is_found_and_checked_by_the_trust_block() {
    let bench = Bench::new();
    assert_eq!(exit_of(&bench.media(&["task"], &["maintenance"]), &KernelCommandLine::default()), Exit::Ok);
}

#[test]
fn an_old_disc_in_another_drive_does_not_hide_the_right_one() {
    let bench = Bench::new();
    let mut media = bench.media(&["foreign", "broken", "task"], &["maintenance"]);
    media.broken.push(bench.path("broken"));
    assert_eq!(exit_of(&media, &KernelCommandLine::default()), Exit::Ok);
}

#[test]
fn the_fault_that_says_most_is_the_one_named() {
    let bench = Bench::new();
    let none = KernelCommandLine::default();
    assert_eq!(exit_of(&bench.media(&[], &[]), &none), Exit::NoTaskMedium);
    assert_eq!(exit_of(&bench.media(&[], &["maintenance"]), &none), Exit::NoTaskMedium);
    assert_eq!(exit_of(&bench.media(&["foreign"], &["maintenance"]), &none), Exit::MediumRefused);
    assert_eq!(exit_of(&bench.media(&["task"], &[]), &none), Exit::MediumRefused);
    let mut broken = bench.media(&["task"], &["maintenance"]);
    broken.broken.push(bench.path("task"));
    assert_eq!(exit_of(&broken, &none), Exit::MountFailed);
    let mut refused_too = bench.media(&["foreign", "task"], &["maintenance"]);
    refused_too.broken.push(bench.path("task"));
    assert_eq!(exit_of(&refused_too, &none), Exit::MediumRefused);
    // A RAM disk of an HTTP boot, whole and as the partition that is mounted: one of the two is enough.
    let mut twice = bench.media(&[], &["task", "maintenance"]);
    twice.broken.push(bench.path("task"));
    assert_eq!(exit_of(&twice, &none), Exit::NoTaskMedium);
}

#[test]
fn an_iso_made_by_xorriso_is_recognised_by_its_label_and_verifies() {
    let bench = Bench::new();
    iso(&bench.path("task"), TASK_LABEL, &bench.path("task.iso"));
    assert_eq!(volume::label(&bench.path("task.iso")).as_deref(), Some(TASK_LABEL));
    assert_eq!(volume::label(&bench.path("task/recipe.json")), None, "a file too short for a label");
    assert_eq!(volume::label(&bench.path("nothing")), None);
    assert_eq!(
        exit_of(&bench.media(&["task.iso"], &["maintenance"]), &KernelCommandLine::default()),
        Exit::Ok
    );
}

#[test]
fn a_composed_disc_carries_the_task_medium_inside() {
    let bench = Bench::new();
    let inside = bench.path("maintenance/slipway/task.img");
    let media = bench.media(&[], &["maintenance"]);
    fs::write(&inside, vec![0; 1 << 20]).unwrap();
    assert_eq!(
        exit_of(&media, &KernelCommandLine::default()),
        Exit::NoTaskMedium,
        "nothing laid over it yet"
    );

    iso(&bench.path("task"), TASK_LABEL, &inside);
    let mut image = fs::read(&inside).unwrap();
    image.resize(12 << 20, 0);
    fs::write(&inside, image).unwrap();
    let found = find(&media, &KernelCommandLine::default()).unwrap();
    assert_eq!(found.job.job_id, job("").job_id);
}

#[test]
fn a_boot_without_discs_downloads_the_medium_and_trusts_the_keys_of_the_command_line() {
    let bench = Bench::new();
    let words = |site: &Site| KernelCommandLine {
        task_url: Some("http://10.0.0.5/m/x/task.iso".to_owned()),
        trust: vec![site.key()],
    };
    let mut media = bench.media(&[], &[]);
    assert_eq!(exit_of(&media, &words(&bench.site)), Exit::NoTaskMedium, "no route yet: tried again");
    media.download = Some(bench.path("task"));
    assert_eq!(exit_of(&media, &words(&bench.site)), Exit::Ok);
    assert_eq!(exit_of(&media, &words(&Site::new(2))), Exit::MediumRefused);
}

#[test]
fn a_trust_block_that_cannot_be_read_is_a_mount_fault() {
    let bench = Bench::new();
    fs::remove_file(bench.path("maintenance/slipway/trust")).unwrap();
    assert_eq!(
        exit_of(&bench.media(&["task"], &["maintenance"]), &KernelCommandLine::default()),
        Exit::MountFailed
    );
}
