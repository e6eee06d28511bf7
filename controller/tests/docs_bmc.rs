//! docs/bmc-support.md says what the profiles say: its table is written from them and compared here.

#![allow(clippy::unwrap_used)] // the helpers of tests, too

use std::fmt::Write as _;

use controller::redfish::{Known, Profile, Profiles};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/bmc-support.md");
const BEGIN: &str =
    "<!-- families: written by `UPDATE_GOLDENS=1 cargo test -p controller --test docs_bmc` -->\n";
const END: &str = "<!-- /families -->";

fn word(known: Known) -> &'static str {
    match known {
        Known::Captured => "captured",
        Known::Documented => "documented",
        Known::Reported => "reported",
        Known::Standard => "the standard",
    }
}

fn family(profile: &Profile) -> String {
    let mut text = format!("### {}\n\n`{}`, **{}**", profile.title, profile.name, word(profile.evidence));
    match profile.slots.most {
        Some(1) => text.push_str(", one image at a time"),
        Some(most) => write!(text, ", {most} images at once").unwrap(),
        None => {}
    }
    text.push('\n');
    for (what, lines) in
        [("Known by", &profile.sources), ("Limits", &profile.limits), ("Advice", &profile.advice)]
    {
        for line in lines {
            writeln!(text, "- {what}: {line}").unwrap();
        }
    }
    text
}

#[test]
fn the_page_of_bmcs_says_what_the_profiles_say() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let profiles = Profiles::builtin();
    let families: Vec<String> = profiles.iter().map(family).collect();
    let wanted = format!("{before}{BEGIN}\n{}\n{END}{after}", families.join("\n"));
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(PAGE, &wanted).unwrap();
    }
    assert!(
        page == wanted || std::env::var_os("UPDATE_GOLDENS").is_some(),
        "{PAGE} is stale: see its markers"
    );
}
