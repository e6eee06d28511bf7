//! Every example is a recipe; every refused recipe is refused for exactly the reasons written beside it.
//!
//! After a change of wording run with `SLIPWAY_BLESS=1` and read the difference.

mod corpus;

use schema::validate::{self, Fault};
use serde_json::{Value, json};

#[test]
fn every_example_is_a_recipe_and_survives_its_own_json() {
    let examples = corpus::files("../recipes");
    assert!(examples.len() >= 8);
    for (path, value) in examples {
        let recipe = validate::recipe(&value.to_string())
            .unwrap_or_else(|refusal| panic!("{}: {refusal}", path.display()));
        validate::check(&recipe).unwrap();
        validate::for_target(&recipe, &[]).unwrap();
        let again = validate::recipe(&serde_json::to_string(&recipe).unwrap()).unwrap();
        assert_eq!(again, recipe, "{}", path.display());
    }
}

#[test]
fn every_refused_recipe_is_refused_for_the_reasons_written_beside_it() {
    let bless = std::env::var_os("SLIPWAY_BLESS").is_some();
    let refused = corpus::files("tests/refused");
    assert!(refused.len() >= 100);
    let mut wrong = Vec::new();
    for (path, mut value) in refused {
        let faults = match validate::recipe(&value["recipe"].to_string()) {
            Ok(_) => Vec::new(),
            Err(refusal) => refusal.faults,
        };
        assert!(!faults.is_empty(), "{} is accepted", path.display());
        assert!(faults.is_sorted(), "{}", path.display());
        let found = json!(faults);
        if value["faults"] != found {
            wrong.push(format!("{}: {found:#}", path.display()));
            if bless {
                let text = std::fs::read_to_string(&path).unwrap();
                value = serde_json::from_str(&text).unwrap();
                value["faults"] = found;
                std::fs::write(&path, format!("{value:#}\n")).unwrap();
            }
        }
    }
    assert!(bless || wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_fault_repeats_a_secret() {
    for (path, value) in corpus::files("tests/refused") {
        if let Err(refusal) = validate::recipe(&value["recipe"].to_string()) {
            assert!(!refusal.to_string().contains("hunter2"), "{}: {refusal}", path.display());
        }
    }
}

#[test]
fn a_key_that_stands_twice_and_a_text_that_is_too_large_are_refused() {
    let code = |text: &str| validate::recipe(text).unwrap_err().faults[0].code.clone();
    assert_eq!(code(r#"{"task_target":"wipe.target","task_target":"inventory.target"}"#), "json");
    assert_eq!(code(&" ".repeat(validate::RECIPE_MAX + 1)), "too_large");
    assert_eq!(code("{\"task_target\":"), "json");
}

#[test]
fn thousands_of_faults_are_counted_but_not_listed() {
    let mut recipe = json!({"task_target": "site.target"});
    for at in 0..5000 {
        recipe[format!("{at}{}", "k".repeat(600))] = Value::Null;
    }
    let faults = validate::recipe(&recipe.to_string()).unwrap_err().faults;
    assert_eq!(faults.len(), validate::FAULTS_MAX + 1);
    assert_eq!(faults[0].code, "too_many_faults");
    assert!(faults.iter().all(|fault| fault.path.len() <= 512 && fault.message.len() <= 300));
}

#[test]
fn a_hostile_answer_file_is_refused_quickly() {
    let many = (0..150_000).map(|at| format!(" a{at}=''")).collect::<Vec<_>>().concat();
    let deep = format!("{}{}", "<a>".repeat(150_000), "</a>".repeat(149_000));
    let inherited = (0..30_000).map(|at| format!("<a xmlns:n{at}='u{at}'>")).collect::<Vec<_>>().concat();
    let hidden = format!("<!-- <a ' --><a{}/>", &many[..900_000]);
    for xml in [format!("<a{}/>", &many[..900_000]), "<a ".repeat(300_000), deep, inherited, hidden] {
        let recipe = json!({"task_target": "site.target", "unattend_xml": xml});
        let started = std::time::Instant::now();
        let refusal = validate::recipe(&recipe.to_string()).unwrap_err();
        assert_eq!(refusal.faults[0].path, "/unattend_xml");
        assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
    }
}

#[test]
fn what_was_fetched_is_held_to_the_same_limits() {
    assert_eq!(validate::fetched("/unattend_xml", b"\xef\xbb\xbf<a/>"), Ok(()));
    assert_eq!(validate::fetched("/user_data", b"<a>"), Ok(()));
    for (path, bytes, code) in [
        ("/unattend_xml", b"<a>".to_vec(), "xml.malformed"),
        ("/ks_cfg", vec![0; (256 << 10) + 1], "payload.too_large"),
        ("/first_boot_scripts/3", vec![0; (1 << 20) + 1], "payload.too_large"),
    ] {
        let faults = validate::fetched(path, &bytes).unwrap_err().faults;
        assert_eq!((faults[0].path.as_str(), faults[0].code.as_str()), (path, code));
    }
}

#[test]
fn a_target_is_offered_by_slipway_or_by_the_site() {
    let recipe = |target: &str| validate::recipe(&json!({"task_target": target}).to_string()).unwrap();
    let site = ["burn-in.target".to_owned()];
    assert_eq!(validate::for_target(&recipe("inventory.target"), &[]), Ok(()));
    assert_eq!(validate::for_target(&recipe("burn-in.target"), &site), Ok(()));
    let refusal = validate::for_target(&recipe("burnin.target"), &site).unwrap_err();
    assert_eq!(refusal.faults[0].code, "target.unknown");
    assert!(refusal.to_string().contains("burn-in.target"), "{refusal}");
}

#[test]
fn what_an_image_turns_out_to_be_must_fit_the_recipe() {
    use schema::recipe::ImageKind::{Container, Disk, Rootfs};
    let examples = corpus::files("../recipes");
    let example = |name: &str| {
        let (_, value) = examples.iter().find(|(path, _)| path.ends_with(name)).unwrap();
        validate::recipe(&value.to_string()).unwrap()
    };
    let codes = |result: Result<(), validate::Refusal>| -> Vec<String> {
        let faults: Vec<Fault> = result.err().map(|refusal| refusal.faults).unwrap_or_default();
        faults.into_iter().map(|fault| fault.code).collect()
    };
    let debian = example("linux-debian.json");
    assert!(codes(validate::for_image(&debian, Rootfs)).is_empty());
    assert_eq!(codes(validate::for_image(&debian, Container)), ["image.kind"]);
    assert_eq!(codes(validate::for_image(&debian, Disk)), ["image.kind", "image.layout"]);
    let appliance = example("linux-disk-image.json");
    assert!(codes(validate::for_image(&appliance, Disk)).is_empty());
    assert_eq!(codes(validate::for_image(&appliance, Rootfs)), ["image.kind", "image.layout"]);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_gate_panic(text in "\\PC{0,200}|[\\[\\]{}\":,a-z0-9 ]{0,200}") {
        let _: Result<_, _> = validate::recipe(&text);
    }
}
