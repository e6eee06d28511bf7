//! Parsers of text and JSON: recipes, reports, manifests, headers, what tools print.
#![allow(clippy::unwrap_used)] // a test: what cannot go on ends it

use std::collections::BTreeMap;

use controller::registry::document::Document;
use controller::registry::range::{Wanted, chunk, wanted};
use fuzz::{recorded, throw};
use schema::event::Report;
use schema::layout::DiskGeometry;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_bent_recipe_is_refused_or_means_something() {
    let mut inputs = recorded("recipes");
    inputs.extend(recorded("schema/tests/refused"));
    throw("recipe", &inputs, |bytes| {
        let Ok(recipe) = schema::validate::recipe(&text(bytes)) else { return };
        let again = serde_json::to_string(&recipe).unwrap();
        assert_eq!(schema::validate::recipe(&again).ok().as_ref(), Some(&recipe), "{again}");
        for size_bytes in [1 << 20, 480_000_000_000, u64::MAX] {
            let geometry = DiskGeometry { size_bytes, sector_bytes: 512 };
            assert!(!schema::explain::explain(&recipe, Some(geometry)).is_empty());
        }
    });
}

#[test]
fn a_bent_report_is_refused_or_written_as_it_was_read() {
    throw("report", &recorded("tests/fuzz/corpus/report"), |bytes| {
        let Ok(report) = serde_json::from_slice::<Report>(bytes) else { return };
        let again: Report = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
        assert_eq!(again, report);
    });
}

#[test]
fn a_bent_manifest_is_refused_or_within_bounds_by_registry_and_host() {
    throw("oci", &recorded("tests/fuzz/corpus/oci"), |bytes| {
        for kind in [
            None,
            Some("application/vnd.oci.image.manifest.v1+json"),
            Some("application/vnd.oci.image.index.v1+json"),
        ] {
            if let Ok(document) = Document::read(kind, bytes) {
                for (descriptor, _) in document.needs() {
                    assert!(!descriptor.digest.hex().is_empty());
                }
            }
        }
        if let Ok(tools::manifest::Document::Image(manifest)) = tools::manifest::parse(bytes) {
            assert!(manifest.stored() <= i64::MAX.unsigned_abs(), "{} bytes", manifest.stored());
        }
    });
}

#[test]
fn a_bent_range_lies_inside_the_file_or_is_no_range() {
    throw("range", &recorded("tests/fuzz/corpus/range"), |bytes| {
        let header = text(bytes);
        for size in [0, 1, 7_000_000, u64::MAX] {
            if let Wanted::Part { first, last } = wanted(&header, size) {
                assert!(first <= last && last < size, "{header:?} of {size}: {first}-{last}");
            }
        }
        if let Some(piece) = chunk(&header) {
            assert!(piece.first.checked_add(piece.length).is_some(), "{header:?}");
        }
    });
}

#[test]
fn what_kernels_and_tools_print_never_panics() {
    throw("cmdline", &recorded("tests/fuzz/corpus/cmdline"), |bytes| {
        let _ = dispatcher::cmdline::parse(&text(bytes));
        let _ = dispatcher::volume::label_of(bytes);
        let _ = dispatcher::verify::trusted_keys(bytes);
    });
    throw("nvram", &recorded("tests/fuzz/corpus/nvram"), |bytes| {
        let _ = tools::bootloader::nvram::parse(&text(bytes));
    });
    throw("lsblk", &recorded("tests/fuzz/corpus/lsblk"), |bytes| {
        let _ = tools::lsblk::parse(&text(bytes), &BTreeMap::new(), &BTreeMap::new());
    });
}

#[test]
fn a_bent_stream_of_events_has_the_same_signs_wherever_it_is_cut() {
    throw("events", &recorded("tests/fuzz/corpus/events"), |bytes| {
        let whole = controller::redfish::Scanner::default().feed(bytes);
        assert!(whole <= bytes.len() as u64);
        for size in [1, 2, 7] {
            let mut scanner = controller::redfish::Scanner::default();
            let pieces: u64 = bytes.chunks(size).map(|piece| scanner.feed(piece)).sum();
            assert_eq!(pieces, whole, "in pieces of {size}");
        }
    });
}
