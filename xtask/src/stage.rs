//! Stages of a long chore: each says when it begins, and the table at the end says what it took.

use std::time::{Duration, Instant};

use anyhow::Result;

/// The stages of one chore so far.
#[derive(Default)]
pub struct Stages {
    done: Vec<(String, Duration)>,
}

impl Stages {
    /// Runs one stage and remembers how long it took.
    pub fn run<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        println!("── {name}");
        let start = Instant::now();
        let result = work();
        let took = start.elapsed();
        println!(
            "── {name}: {} in {:.1} s",
            if result.is_ok() { "done" } else { "FAILED" },
            took.as_secs_f64()
        );
        self.done.push((name.to_owned(), took));
        result
    }

    /// Prints the table.
    pub fn print(&self) {
        println!("\n{:<44} {:>9}", "stage", "seconds");
        for (name, took) in &self.done {
            println!("{name:<44} {:>9.1}", took.as_secs_f64());
        }
        let all: Duration = self.done.iter().map(|(_, took)| *took).sum();
        println!("{:<44} {:>9.1}", "all", all.as_secs_f64());
    }
}
