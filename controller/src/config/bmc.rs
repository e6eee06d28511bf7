//! How much BMCs are asked, checked.

use crate::redfish::Limits;

/// Most requests in flight that can be asked for: each holds a connection and its buffers.
const CALLS_MOST: u32 = 10_000;
/// Label of machines that names their site.
const SITE_LABEL: &str = "site";

/// How much BMCs are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BmcTraffic {
    /// Requests in flight, in all and per site.
    pub limits: Limits,
    /// Label of machines that names their site; machines without it are one site.
    pub site_label: String,
}

/// Checks it; every fault is added to `faults`, in words.
pub fn check(
    all: Option<u32>,
    per_site: Option<u32>,
    site_label: Option<String>,
    faults: &mut Vec<String>,
) -> BmcTraffic {
    let mut limits = Limits::default();
    for (name, given, limit) in
        [("bmc_calls", all, &mut limits.all), ("bmc_calls_per_site", per_site, &mut limits.per_site)]
    {
        match given {
            None => {}
            Some(calls @ 1..=CALLS_MOST) => *limit = usize::try_from(calls).unwrap_or(usize::MAX),
            Some(calls) => faults.push(format!("{name} is {calls}; give 1 to {CALLS_MOST}")),
        }
    }
    let site_label = site_label.unwrap_or_else(|| SITE_LABEL.to_owned());
    if site_label.trim().is_empty() {
        faults.push("bmc_site_label is empty; give the name of a label, such as site or rack".to_owned());
    }
    BmcTraffic { limits, site_label }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_taken_as_given_or_refused_with_what_they_may_be() {
        let mut faults = Vec::new();
        let traffic = check(Some(32), None, Some("rack".to_owned()), &mut faults);
        assert_eq!(
            (traffic.limits.all, traffic.limits.per_site, traffic.site_label.as_str()),
            (32, 128, "rack")
        );
        assert_eq!(faults, [""; 0]);
        check(Some(0), Some(1_000_000), Some(" ".to_owned()), &mut faults);
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(faults[0].contains("bmc_calls is 0; give 1 to 10000"), "{faults:?}");
    }
}
