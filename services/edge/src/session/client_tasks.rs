//! Tasks that the client made for servers that asked it something: which server each is of.
//!
//! What always holds: a server is told of its own tasks alone; how many are remembered is bounded,
//! and one that is not known is no server's.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use domain::ServerId;
use mcp::splice;

/// Most tasks of a session that are remembered; the oldest is forgotten first.
const MAX_TASKS: usize = 1_000;
/// The longest id that is remembered, in bytes.
const MAX_ID_BYTES: usize = 1_024;

/// The tasks of one session's client.
#[derive(Debug, Default)]
pub(super) struct ClientTasks {
    servers: HashMap<String, ServerId>,
    in_order: VecDeque<String>,
}

impl ClientTasks {
    /// Notes the task that a raw result says was made, if it does.
    pub(super) fn note(&mut self, server: ServerId, result: &Bytes) {
        let Ok(Some(id)) = splice::find_string(result, &["task", "taskId"]) else { return };
        // Whose it is does not change: a client that uses an id twice is not to be trusted with it.
        if id.len() > MAX_ID_BYTES || self.servers.contains_key(&*id) {
            return;
        }
        if self.in_order.len() >= MAX_TASKS
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.servers.remove(&oldest);
        }
        self.in_order.push_back(id.clone().into_owned());
        self.servers.insert(id.into_owned(), server);
    }

    /// The server of the task that raw parameters name.
    pub(super) fn server_in(&self, params: &[u8]) -> Option<ServerId> {
        let id = splice::find_string(params, &["taskId"]).ok()??;
        self.servers.get(&*id).copied()
    }

    /// A raw list of tasks with those of one server alone; one that cannot be read is empty.
    pub(super) fn of_server(&self, server: ServerId, list: &Bytes) -> Bytes {
        let shown = || {
            let tasks = splice::slice(list, &["tasks"]).ok()??;
            let spans = splice::elements(&tasks, &[]).ok()??;
            let own = spans.into_iter().map(|span| tasks.slice(span));
            let own = own.filter(|task| self.server_in(task) == Some(server));
            let own = [b"[".as_slice(), &own.collect::<Vec<_>>().join(&b","[..]), b"]"].concat();
            splice::replace(list, &["tasks"], &own).ok()?
        };
        shown().unwrap_or_else(|| Bytes::from_static(b"{\"tasks\":[]}"))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_server_sees_its_own_tasks_alone() {
        let server = |number| ServerId::from_uuid(Uuid::from_u128(number));
        let mut tasks = ClientTasks::default();
        tasks.note(server(1), &Bytes::from_static(br#"{"task":{"taskId":"a"}}"#));
        tasks.note(server(2), &Bytes::from_static(br#"{"task":{"taskId":"b"}}"#));
        tasks.note(server(2), &Bytes::from_static(br#"{"task":{"taskId":"a"}}"#));
        tasks.note(server(2), &Bytes::from_static(b"{}"));
        assert_eq!(tasks.server_in(br#"{"taskId":"a"}"#), Some(server(1)));
        assert_eq!(tasks.server_in(br#"{"taskId":"c"}"#), None);
        let list = Bytes::from_static(
            br#"{"tasks":[{"taskId":"a","n":1.0},{"taskId":"b"},{"x":1}],"nextCursor":"c"}"#,
        );
        let shown = tasks.of_server(server(1), &list);
        assert_eq!(shown, br#"{"tasks":[{"taskId":"a","n":1.0}],"nextCursor":"c"}"#.as_slice());
        assert_eq!(
            tasks.of_server(server(3), &list),
            br#"{"tasks":[],"nextCursor":"c"}"#.as_slice()
        );
        let wrong = Bytes::from_static(b"[]");
        assert_eq!(tasks.of_server(server(1), &wrong), b"{\"tasks\":[]}".as_slice());
    }
}
