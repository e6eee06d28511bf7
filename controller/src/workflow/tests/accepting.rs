//! What is accepted, and every refusal with its code, leaving nothing behind.

use bytes::Bytes;
use schema::event::ReportStatus;
use schema::recipe::ImageKind;

use super::world::{IMAGE, SERIAL, World, recipe, report};
use crate::model::{Lifecycle, NewEvent, Source};
use crate::store::{Idempotency, JobFilter, Store};
use crate::workflow::{AcceptError, Submission};

type Change = Box<dyn FnOnce(&mut Submission)>;

async fn refused(world: &World, change: impl FnOnce(&mut Submission)) -> AcceptError {
    let mut submission = world.submission();
    change(&mut submission);
    let before = world.store.jobs(&JobFilter::default()).unwrap().items.len();
    let error = world.workflow.accept(submission).await.unwrap_err();
    assert_eq!(world.store.jobs(&JobFilter::default()).unwrap().items.len(), before, "{error}");
    error
}

#[tokio::test]
async fn every_refusal_has_its_code_and_leaves_nothing_behind() {
    let world = World::new().await;
    let with = |change: fn(&mut serde_json::Value)| {
        let mut recipe = recipe();
        change(&mut recipe);
        recipe.to_string()
    };
    let cases: Vec<(&str, Change)> = vec![
        ("invalid_recipe", Box::new(|s| s.recipe = "{".to_owned())),
        ("machine.unknown", Box::new(|s| s.server_serial = "NOPE".to_owned())),
        ("machine.placeholder_serial", Box::new(|s| s.server_serial = " to be filled by o.e.m. ".to_owned())),
        ("callback.url", Box::new(|s| s.callback_url = Some("gopher://x/".to_owned()))),
        ("image.not_found", {
            let recipe = with(|recipe| recipe["oci_url"] = "images/none:1".into());
            Box::new(|s| s.recipe = recipe)
        }),
        ("image.layout", {
            let recipe = with(|recipe| recipe["oci_url"] = "images/disk:1".into());
            Box::new(|s| s.recipe = recipe)
        }),
        ("payload.fetch", {
            let sha = "ab".repeat(32);
            let mut recipe = recipe();
            recipe["user_data"] = serde_json::json!({"url": "https://files/x?token=geheim", "sha256": sha});
            let recipe = recipe.to_string();
            Box::new(|s| s.recipe = recipe)
        }),
    ];
    world.images.known.lock().unwrap().insert("images/disk:1".to_owned(), Some(ImageKind::Disk));
    for (code, change) in cases {
        let error = refused(&world, change).await;
        assert_eq!(error.code(), code, "{error}");
        assert!(!format!("{error}").contains("geheim"), "{error}");
    }
    assert!(world.images.pins.lock().unwrap().is_empty());
    assert!(world.bmc.state().passwords.is_empty(), "no BMC was asked");
}

/// What the image says counts; the recipe may repeat it, and must say it where the image says nothing.
#[tokio::test]
async fn an_image_s_own_word_on_its_kind_is_not_overridden() {
    use ImageKind::{Container, Disk, Rootfs};
    let world = World::new().await;
    let plan = async |says: Option<ImageKind>, recipe_says: Option<ImageKind>| {
        world.images.known.lock().unwrap().insert(IMAGE.to_owned(), says);
        let mut wanted = recipe();
        if let Some(kind) = recipe_says {
            wanted["image_kind"] = kind.as_str().into();
        }
        if recipe_says == Some(Disk) {
            wanted.as_object_mut().unwrap().remove("partition_layout");
        }
        let submission = Submission { recipe: wanted.to_string(), ..world.submission() };
        world.workflow.plan(submission).await.map(|plan| plan.image.unwrap().kind)
    };
    for (says, recipe_says, wanted) in [
        (Some(Rootfs), None, Ok(Rootfs)),
        (Some(Container), Some(Container), Ok(Container)),
        (Some(Disk), Some(Disk), Ok(Disk)),
        (None, Some(Rootfs), Ok(Rootfs)),
        (None, Some(Disk), Ok(Disk)),
        (None, None, Err("image.kind_unknown")),
        (Some(Rootfs), Some(Container), Err("image.kind")),
        (Some(Rootfs), Some(Disk), Err("image.kind")),
        (Some(Disk), Some(Rootfs), Err("image.kind")),
        (Some(Disk), None, Err("image.layout")),
    ] {
        let found = plan(says, recipe_says).await;
        let found = found.map_err(|error| {
            let text = error.to_string();
            if let (Some(says), Some(wanted)) = (says, recipe_says) {
                assert!(text.contains(says.as_str()) && text.contains(wanted.as_str()), "{text}");
            }
            assert!(text.contains("image_kind") || text.contains("partition_layout"), "no remedy: {text}");
            error.code()
        });
        assert_eq!(found, wanted, "{says:?} {recipe_says:?}");
    }
    let refused = refused(&world, |s| {
        s.recipe = {
            let mut wanted = recipe();
            wanted["image_kind"] = "container".into();
            wanted.to_string()
        }
    })
    .await;
    assert_eq!(refused.code(), "image.kind", "a job is refused as its dry run is");
}

#[tokio::test]
async fn without_a_maintenance_medium_nothing_is_accepted_or_planned() {
    let world = World::new().await;
    *world.shelf.unready.lock().unwrap() = Some(crate::workflow::EdgeError {
        code: "media.no_maintenance",
        message: "there is no maintenance medium; build it".to_owned(),
        transient: false,
    });
    assert_eq!(refused(&world, |_| {}).await.code(), "media.no_maintenance");
    let planned = world.workflow.plan(world.submission()).await.unwrap_err();
    assert_eq!(planned.code(), "media.no_maintenance");
    assert!(world.images.pins.lock().unwrap().is_empty());
    assert!(world.bmc.state().passwords.is_empty(), "a BMC was asked");
}

#[tokio::test]
async fn a_busy_machine_names_its_job() {
    let world = World::new().await;
    let job = world.accept(|_| {}).await;
    let error = refused(&world, |_| {}).await;
    assert_eq!(error.code(), "conflict.active_job");
    assert!(error.to_string().contains(job.id.as_str()));
    assert_eq!(world.images.pins.lock().unwrap().as_slice(), [job.id], "the refused one pins nothing");
}

#[tokio::test]
async fn a_machine_in_service_is_only_reinstalled_on_purpose() {
    let world = World::new().await;
    let event = NewEvent::new(world.now(), Source::Operator, "test", "test");
    world.store.set_lifecycle(&world.machine.id, Lifecycle::InService { since: world.now() }, event).unwrap();
    let error = refused(&world, |_| {}).await;
    assert_eq!(error.code(), "machine.in_service");
    assert!(error.to_string().contains("\"reinstall\": true"), "{error}");
    // What writes nothing may run.
    let inventory = serde_json::json!({"task_target": "inventory.target"}).to_string();
    let submission = Submission { recipe: inventory, ..world.submission() };
    let job = world.workflow.accept(submission).await.unwrap().job;
    world.workflow.cancel(&job.id, "ops").await.unwrap();
    world.until_name(&job.id, "released").await;
    assert!(matches!(world.lifecycle(), Lifecycle::InService { .. }));
    // A site's own target may write.
    let own = serde_json::json!({"task_target": "burn-in.target"}).to_string();
    assert_eq!(refused(&world, |s| s.recipe = own).await.code(), "machine.in_service");
    let submission = Submission { reinstall: true, ..world.submission() };
    world.workflow.accept(submission).await.unwrap();
}

#[tokio::test]
async fn a_repeated_request_gives_the_same_job_even_while_the_machine_is_busy() {
    let world = World::new().await;
    let key = |body: &str| Some(Idempotency { key: "ci-1".to_owned(), body_sha256: body.to_owned() });
    let first =
        world.workflow.accept(Submission { idempotency: key("aa"), ..world.submission() }).await.unwrap();
    let again =
        world.workflow.accept(Submission { idempotency: key("aa"), ..world.submission() }).await.unwrap();
    assert!(first.created && !again.created);
    assert_eq!(first.job.id, again.job.id);
    let other = world.workflow.accept(Submission { idempotency: key("bb"), ..world.submission() }).await;
    assert_eq!(other.unwrap_err().code(), "idempotency.key_reused");
}

#[tokio::test]
async fn remote_payloads_are_fetched_once_and_travel_with_the_job() {
    let world = World::new().await;
    world
        .fetch
        .files
        .lock()
        .unwrap()
        .insert("https://files/ud".to_owned(), Bytes::from_static(b"#cloud-config\n"));
    let job = world
        .accept(|recipe| {
            recipe["user_data"] = serde_json::json!({"url": "https://files/ud", "sha256": "ab".repeat(32)});
        })
        .await;
    let inputs = world.store.inputs(&job.id).unwrap().unwrap();
    assert_eq!(inputs.recipe.user_data.unwrap().bytes().unwrap(), b"#cloud-config\n");
    assert_eq!(inputs.image.unwrap().digest, job.image.unwrap().digest);
    assert_eq!(inputs.issued_at, job.created_at);
}

#[tokio::test]
async fn loopback_urls_are_refused_outside_of_tests() {
    for (api, media, name) in [
        ("https://127.0.0.1:8443", "http://10.0.0.5:8080", Some("api_url")),
        ("https://10.0.0.5:8443", "http://[::1]:8080", Some("media_url")),
        ("https://10.0.0.5:8443", "http://localhost:8080", Some("media_url")),
        ("https://10.0.0.5:8443/", "http://10.0.0.5:8080", None),
    ] {
        let world = World::with(|settings| {
            settings.api_url = api.to_owned();
            settings.media_url = media.to_owned();
        })
        .await;
        match (world.workflow.accept(world.submission()).await, name) {
            (Ok(accepted), None) => {
                let inputs = world.store.inputs(&accepted.job.id).unwrap().unwrap();
                assert_eq!(inputs.api_url, "https://10.0.0.5:8443");
            }
            (Err(AcceptError::LoopbackUrl { name: found, .. }), Some(name)) => assert_eq!(found, name),
            (other, _) => panic!("{api} {media}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_dry_run_tells_everything_and_changes_nothing() {
    let world = World::new().await;
    let plan = world.workflow.plan(world.submission()).await.unwrap();
    assert_eq!(plan.steps, ["preflight", "partition", "image-linux", "bootloader-linux", "config-drive"]);
    assert_eq!(plan.partitions.len(), 3, "ESP, root, CIDATA");
    assert_eq!(plan.image.unwrap().reference, IMAGE);
    let fitness = plan.bmc.unwrap();
    assert!(fitness.bootable);
    assert_eq!(fitness.bmc.unwrap().serial.as_deref(), Some(SERIAL));
    assert!(plan.problems.is_empty() && plan.assumed.len() == 1);
    assert!(world.store.open_jobs().unwrap().is_empty());
    assert!(world.bmc.state().calls.is_empty() && world.images.pins.lock().unwrap().is_empty());
    assert_eq!(world.bmc.state().open, 0);

    world.bmc.state().dead = Some(super::bmc::wrong_password);
    let plan = world.workflow.plan(world.submission()).await.unwrap();
    assert!(!plan.bmc.unwrap().bootable && plan.problems[0].contains("credentials"), "{:?}", plan.problems);
}

#[tokio::test]
async fn a_failed_job_is_repeated_once_with_the_same_recipe() {
    let world = World::new().await;
    let job = world.accept(|_| {}).await;
    assert_eq!(world.workflow.retry(&job.id, "ops").await.unwrap_err().code(), "job.not_repeatable");
    world.workflow.cancel(&job.id, "ops").await.unwrap();
    world.until_name(&job.id, "released").await;
    let again = world.workflow.retry(&job.id, "ops").await.unwrap();
    assert!(again.created && again.job.retry_of == Some(job.id.clone()));
    let twice = world.workflow.retry(&job.id, "ops").await.unwrap();
    assert!(!twice.created && twice.job.id == again.job.id);
    let (old, new) =
        (world.store.inputs(&job.id).unwrap().unwrap(), world.store.inputs(&again.job.id).unwrap().unwrap());
    assert_eq!(old.recipe, new.recipe);
    assert_eq!(world.job(&job.id).state.status().as_str(), "cancelled", "its outcome stays");

    world.bmc.state().boots = 0;
    let token = world.until_installing(&again.job.id).await;
    world.say(&token, report(ReportStatus::Success)).await.unwrap();
    world.until_name(&again.job.id, "released").await;
    assert_eq!(world.workflow.retry(&again.job.id, "ops").await.unwrap_err().code(), "job.not_repeatable");
}

#[tokio::test]
async fn a_hand_on_the_power_is_kept_off_machines_with_a_job() {
    use crate::redfish::Power;
    let world = World::new().await;
    assert_eq!(world.workflow.machine_power(" abc123 ").await.unwrap(), Power::Off);
    world.workflow.set_machine_power(SERIAL, Power::On).await.unwrap();
    assert_eq!(world.workflow.machine_power(SERIAL).await.unwrap(), Power::On);
    let events = world.store.machine_events_after(&world.machine.id, 0, 10).unwrap();
    assert_eq!(events[0].text, "switched by hand: seen: power On");
    assert_eq!(world.workflow.probe_machine("NOPE").await.unwrap_err().code(), "machine.unknown");

    world.bmc.state().dead = Some(super::bmc::wrong_password);
    assert_eq!(world.workflow.machine_power(SERIAL).await.unwrap_err().code(), "bmc.credentials");
    let failure = world.workflow.probe_machine(SERIAL).await.unwrap().failure().unwrap();
    assert_eq!(failure.code, "bmc.credentials");
    assert_eq!(world.bmc.state().open, 0, "sessions are put away on errors too");
    world.accept(|_| {}).await;
    let refused = world.workflow.set_machine_power(SERIAL, Power::Off).await.unwrap_err();
    assert_eq!(refused.code(), "conflict.active_job");
}
