//! The task service.

use serde_json::{Value, json};

use super::{collection, healthy, link};
use crate::machine::{Machine, board::Task};

const TASKS: &str = "/redfish/v1/TaskService/Tasks";

pub(super) fn get(machine: &Machine, segments: &[&str]) -> Option<Value> {
    match segments[1..] {
        [] => Some(json!({
            "@odata.type": "#TaskService.v1_2_0.TaskService",
            "@odata.id": "/redfish/v1/TaskService",
            "Id": "TaskService",
            "Name": "Task Service",
            "DateTime": jiff::Timestamp::now().to_string(),
            "CompletedTaskOverWritePolicy": "Oldest",
            "LifeCycleEventOnTaskStateChange": false,
            "ServiceEnabled": true,
            "Status": healthy(),
            "Tasks": link(TASKS),
        })),
        ["Tasks"] => {
            let ids: Vec<String> = machine.board().tasks.iter().map(|task| task.id.to_string()).collect();
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            Some(collection(TASKS, "TaskCollection", "Task Collection", &ids))
        }
        ["Tasks", id] => {
            let id: u64 = id.parse().ok()?;
            machine.board().tasks.iter().find(|found| found.id == id).map(task)
        }
        _ => None,
    }
}

/// A task resource.
pub(crate) fn task(task: &Task) -> Value {
    let state = match (&task.ended, &task.fault) {
        (None, _) => "Running",
        (Some(_), None) => "Completed",
        (Some(_), Some(_)) => "Exception",
    };
    let mut body = json!({
        "@odata.type": "#Task.v1_7_1.Task",
        "@odata.id": format!("{TASKS}/{}", task.id),
        "Id": task.id.to_string(),
        "Name": task.name,
        "TaskState": state,
        "TaskStatus": if task.fault.is_some() { "Critical" } else { "OK" },
        "StartTime": task.started.to_string(),
        "PercentComplete": if task.ended.is_some() { 100 } else { 0 },
        "Messages": [],
    });
    match task.ended {
        Some(ended) => body["EndTime"] = json!(ended.to_string()),
        None => body["TaskMonitor"] = json!(monitor_path(task.id)),
    }
    if let Some(fault) = &task.fault {
        body["Messages"] = json!([{"MessageId": "Base.1.16.InternalError", "Message": fault}]);
    }
    body
}

/// URI of a task's monitor.
pub(crate) fn monitor_path(id: u64) -> String {
    format!("/redfish/v1/TaskService/TaskMonitors/{id}")
}
