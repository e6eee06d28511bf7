//! What a BMC, or firmware, reads of a job's media, told as a few events: the only sign of life between power-on and the
//! host's first word. Pure; the counts come from our own media server.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::MediumRead;
use crate::model::Transport;

/// Percent of a medium at which it is said: at the first byte, and then.
const MARKS: [u64; 6] = [10, 25, 50, 75, 90, 100];

/// What was already said of each medium: how many marks it has passed, the first byte included.
#[derive(Debug, Default)]
pub struct Told(BTreeMap<&'static str, usize>);

/// One thing to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// `10.1.2.3 has read 37 % of maintenance.iso (128 MiB)`.
    pub text: String,
    /// For programs: medium, percent, bytes.
    pub data: serde_json::Value,
}

impl Told {
    /// What is new. A medium that passed several marks since the last look is said once.
    ///
    /// `transport` tells who it must have been that read, where the address is not known.
    pub fn news(&mut self, reads: &[MediumRead], transport: Option<Transport>) -> Vec<Fetched> {
        let mut news = Vec::new();
        for read in reads.iter().filter(|read| read.distinct > 0) {
            let percent = percent(read);
            let passed = 1 + MARKS.iter().filter(|mark| percent >= **mark).count();
            let told = self.0.entry(read.name).or_default();
            if passed > *told {
                *told = passed;
                let much = schema::size::human(read.distinct);
                news.push(Fetched {
                    text: format!(
                        "{} has read {percent} % of {} ({much})",
                        reader(read.from, transport),
                        read.name
                    ),
                    data: serde_json::json!({
                        "medium": read.name,
                        "percent": percent,
                        "bytes": read.distinct,
                        "from": read.from,
                    }),
                });
            }
        }
        news
    }
}

/// Whoever reads media, for people.
pub fn reader(from: Option<IpAddr>, transport: Option<Transport>) -> String {
    match (from, transport) {
        (Some(from), _) => from.to_string(),
        (None, Some(Transport::HttpBoot)) => "the firmware".to_owned(),
        (None, _) => "the BMC".to_owned(),
    }
}

/// Whole percent, rounded down; 100 only when all of it went out.
fn percent(read: &MediumRead) -> u64 {
    let whole = u128::from(read.len.max(1));
    u64::try_from(u128::from(read.distinct) * 100 / whole).unwrap_or(100).min(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mark_is_said_once_and_those_that_were_passed_together_are_said_together() {
        let mut told = Told::default();
        let mut say = |name: &'static str, distinct: u64| -> Vec<String> {
            let from = Some(IpAddr::from([10, 1, 2, 3]));
            let news = told.news(&[MediumRead { name, distinct, len: 1000, from }], None);
            news.into_iter().map(|fetched| fetched.text).collect()
        };
        assert_eq!(say("maintenance.iso", 0), Vec::<String>::new());
        assert_eq!(say("maintenance.iso", 1), ["10.1.2.3 has read 0 % of maintenance.iso (1 B)"]);
        assert_eq!(say("maintenance.iso", 99), Vec::<String>::new());
        assert_eq!(say("maintenance.iso", 370), ["10.1.2.3 has read 37 % of maintenance.iso (370 B)"]);
        assert_eq!(say("maintenance.iso", 499), Vec::<String>::new());
        assert_eq!(say("task.iso", 1000), ["10.1.2.3 has read 100 % of task.iso (1000 B)"]);
        assert_eq!(say("maintenance.iso", 999).len(), 1);
        assert_eq!(say("maintenance.iso", 1000), ["10.1.2.3 has read 100 % of maintenance.iso (1000 B)"]);
        assert_eq!(say("maintenance.iso", 1000), Vec::<String>::new());
    }

    #[test]
    fn who_reads_is_an_address_or_who_it_must_be() {
        let address = "::1".parse().ok();
        assert_eq!(reader(address, Some(Transport::HttpBoot)), "::1");
        assert_eq!(reader(None, Some(Transport::HttpBoot)), "the firmware");
        assert_eq!(reader(None, Some(Transport::Composed)), "the BMC");
    }
}
