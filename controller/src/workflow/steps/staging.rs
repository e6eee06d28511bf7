//! Staging: the task medium is made and served, so that its URLs work before any BMC hears of them.

use super::{Came, Cx, Next};
use crate::model::{Input, Job};

pub async fn step(cx: &mut Cx, job: &Job) -> Came {
    cx.urls(job).await?;
    Ok(Next::Go(Input::Staged))
}
