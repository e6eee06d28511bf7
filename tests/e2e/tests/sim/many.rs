//! Many jobs at once on one controller.

use std::collections::BTreeSet;

use e2e::sim::{Deed, WITHIN};
use serde_json::{Value, json};

use super::support::{assert_no_session, assert_tidy, phases, site_of};

const JOBS: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn fifty_jobs_at_once_finish_each_on_its_own_machine() {
    let site = site_of(JOBS).await;
    let mut ids = Vec::new();
    for n in 0..JOBS {
        if n % 10 == 7 {
            site.stage(n).script(|script| script.fails_at = Some(("image-linux", 1)));
        }
        ids.push(site.api().submit(site.serial(n), site.recipe()).await.unwrap());
    }
    for (n, id) in ids.iter().enumerate() {
        let job = site.api().wait_complete(id).await.unwrap();
        let fails = n % 10 == 7;
        assert_eq!(job["status"], if fails { "failed" } else { "succeeded" }, "{job:#}");
        assert_eq!(phases(&job).len(), 6, "{job:#}");
        assert_eq!(site.stage(n).times(&Deed::Wiped), 1);
        assert_eq!(site.stage(n).times(&Deed::Proceeds), 1);
        assert_tidy(&site, n);
        assert_no_session(&site, n).await;
        if !fails {
            site.stage(n).wait_deed(&Deed::NewSystem, WITHIN).await.unwrap();
        }
    }
    let mut listed = BTreeSet::new();
    let mut path = "/api/v1/jobs?limit=20".to_owned();
    loop {
        let page = site.api().get(&path).await.unwrap().body;
        for job in page["jobs"].as_array().unwrap() {
            assert!(listed.insert(job["job_id"].as_str().unwrap().to_owned()), "listed twice");
        }
        let Value::String(next) = &page["next_cursor"] else { break };
        path = format!("/api/v1/jobs?limit=20&cursor={next}");
    }
    assert_eq!(listed, ids.into_iter().collect());
    let failed = site.api().get("/api/v1/jobs?status=failed&limit=100").await.unwrap().body;
    assert_eq!(failed["jobs"].as_array().unwrap().len(), JOBS / 10);
    let ready = site.api().get("/readyz").await.unwrap();
    assert_eq!(ready.status, 200, "{}", ready.text);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_posts_for_one_machine_exactly_one_becomes_a_job() {
    let site = site_of(1).await;
    site.stage(0).hold_at(e2e::sim::Moment::Asking);
    let body = json!({ "server_serial": site.serial(0), "recipe": site.recipe() });
    let posts = (0..20).map(|_| site.api().post("/api/v1/jobs", body.clone()));
    let answers = futures_util::future::join_all(posts).await;
    let statuses: Vec<u16> = answers.into_iter().map(|answer| answer.unwrap().status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 202).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 19, "{statuses:?}");
    site.stage(0).go_on();
    let jobs = site.api().get("/api/v1/jobs").await.unwrap().body;
    let id = jobs["jobs"][0]["job_id"].as_str().unwrap().to_owned();
    assert_eq!(site.api().wait_complete(&id).await.unwrap()["status"], "succeeded");
    site.end().await;
}
