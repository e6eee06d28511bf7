//! One measured number: what every round gave, what stands for them all, and what it should be.

use std::fmt;

use serde::Serialize;

/// What a number should be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
}

/// Whether it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// It is.
    Pass,
    /// It is not.
    Miss,
}

/// A number.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    what: String,
    unit: &'static str,
    value: f64,
    samples: Vec<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Target>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<Verdict>,
}

impl Figure {
    /// The median of the rounds stands for them.
    pub fn median(what: &str, unit: &'static str, samples: Vec<f64>) -> Self {
        let value = median(&samples);
        Self { what: what.to_owned(), unit, value, samples, target: None, verdict: None }
    }

    /// The largest stands for them: memory must suffice in every run.
    pub fn largest(what: &str, unit: &'static str, samples: Vec<f64>) -> Self {
        let value = samples.iter().copied().fold(f64::MIN, f64::max);
        Self { what: what.to_owned(), unit, value, samples, target: None, verdict: None }
    }

    /// How many times faster than `theirs` ours was, round by round.
    pub fn ratio(what: &str, theirs: &[f64], ours: &[f64]) -> Self {
        let ratios = theirs.iter().zip(ours).map(|(theirs, ours)| theirs / ours).collect();
        Self::median(what, "×", ratios)
    }

    /// Says what it should be.
    #[must_use]
    pub fn should_be(mut self, target: Target) -> Self {
        let reached = match target {
            Target::AtLeast(least) => self.value >= least,
            Target::AtMost(most) => self.value <= most,
        };
        self.target = Some(target);
        self.verdict = Some(if reached { Verdict::Pass } else { Verdict::Miss });
        self
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Some(Verdict::Pass) => "PASS",
            Some(Verdict::Miss) => "MISS",
            None => "    ",
        };
        let least = self.samples.iter().copied().fold(f64::MAX, f64::min);
        let most = self.samples.iter().copied().fold(f64::MIN, f64::max);
        let range = format!("{} … {}", short(least), short(most));
        write!(out, "{verdict}  {:<48} {:>8} {:<5} {range:<19}", self.what, short(self.value), self.unit)?;
        match self.target {
            Some(Target::AtLeast(least)) => write!(out, "  target ≥ {}", short(least)),
            Some(Target::AtMost(most)) => write!(out, "  target ≤ {}", short(most)),
            None => Ok(()),
        }
    }
}

/// Three digits, as many as such measurements are good for.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// The one in the middle; of an even number the lower of the two there.
pub fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_one_stands_for_all_and_one_stray_run_does_not() {
        for (samples, middle) in
            [(vec![3.0, 1.0, 2.0], 2.0), (vec![1.0, 100.0, 1.0, 1.0, 1.0], 1.0), (vec![4.0, 1.0], 1.0)]
        {
            assert!((median(&samples) - middle).abs() < f64::EPSILON, "{samples:?}");
        }
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_ratio_pairs_what_ran_side_by_side() {
        // A machine that became ten times slower in the second round changes no ratio.
        let figure = Figure::ratio("x", &[2.0, 20.0, 2.0], &[1.0, 10.0, 1.0]);
        assert_eq!(figure.samples, [2.0, 2.0, 2.0]);
    }

    #[test]
    fn a_verdict_is_by_the_median_or_by_the_worst_and_the_limit_itself_is_reached() {
        let samples = || vec![1.0, 2.0, 9.0];
        for (figure, target, verdict) in [
            (Figure::median("x", "s", samples()), Target::AtMost(2.0), Verdict::Pass),
            (Figure::median("x", "s", samples()), Target::AtLeast(2.1), Verdict::Miss),
            (Figure::largest("x", "MiB", samples()), Target::AtMost(8.9), Verdict::Miss),
            (Figure::largest("x", "MiB", samples()), Target::AtMost(9.0), Verdict::Pass),
            // What could not be measured is not reached.
            (Figure::median("x", "s", vec![]), Target::AtMost(1.0), Verdict::Miss),
        ] {
            assert_eq!(figure.should_be(target).verdict, Some(verdict), "{target:?}");
        }
    }
}
