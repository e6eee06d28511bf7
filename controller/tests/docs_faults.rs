//! tests/faults.md names a test for each fault; here it is looked whether they are there, and run.

#![allow(clippy::unwrap_used)] // a test: what is not there fails it

use std::path::Path;

#[test]
fn every_fault_has_the_test_that_the_table_names() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let table = std::fs::read_to_string(root.join("tests/faults.md")).unwrap();
    let mut rows = 0;
    for line in table.lines().filter(|line| line.contains("` | `")) {
        let cells: Vec<&str> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let [_, fault, test, file, _] = cells[..] else { panic!("not three cells: {line}") };
        let source =
            std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let at =
            source.find(&format!("fn {test}(")).unwrap_or_else(|| panic!("{fault}: {file} has no {test}"));
        let above = &source[source[..at].rfind("\n\n").unwrap_or(0)..at];
        assert!(above.contains("#[test]") || above.contains("#[tokio::test"), "{test} in {file} is not run");
        assert!(!above.contains("#[ignore"), "{test} in {file} is ignored");
        rows += 1;
    }
    assert!(rows > 25, "{rows} faults");
}
