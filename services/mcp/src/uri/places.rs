//! Where in a message URIs and task ids stand.
//!
//! Every rule of this file is a place that the protocol defines; everything else, and
//! `structuredContent` above all, is the upstream's own and stays as it is. A member that is
//! present twice counts twice, so that whichever of them the reader takes is the exposed one.
//! Each object on the way is read once, however many of its members matter.

use std::ops::Range;

use super::RELATED_TASK;
use crate::scan::{self, Fault, Member};

/// The places found so far.
pub(super) struct Places<'a> {
    json: &'a [u8],
    /// Strings that are URIs, quotes included.
    pub(super) uris: Vec<Range<usize>>,
    /// Strings that are task ids, quotes included.
    pub(super) tasks: Vec<Range<usize>>,
}

type Found = Result<(), Fault>;

impl<'a> Places<'a> {
    /// No places yet of a message's part.
    pub(super) fn of(json: &'a [u8]) -> Self {
        Self { json, uris: Vec::new(), tasks: Vec::new() }
    }

    /// Those of a result that the server gives.
    pub(super) fn result(&mut self, method: &str) -> Found {
        let object = self.object(0)?;
        self.related_task(&object)?;
        match method {
            "resources/read" => {
                self.input_requests(&object)?;
                for content in self.elements_of(&object, "contents")? {
                    self.uri(&self.object(content.start)?);
                }
            }
            "prompts/get" => {
                self.input_requests(&object)?;
                self.messages(&object)?;
            }
            "tools/call" => {
                self.input_requests(&object)?;
                self.created_task(&object)?;
                self.content(&object)?;
            }
            "tasks/result" => self.content(&object)?,
            "tasks/get" => self.detailed_task(&object)?,
            "tasks/cancel" | "tasks/update" => self.task(&object),
            "tasks/list" => {
                for task in self.elements_of(&object, "tasks")? {
                    self.task(&self.object(task.start)?);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Those of a notification's parameters.
    pub(super) fn notification(&mut self, method: &str) -> Found {
        let object = self.object(0)?;
        self.related_task(&object)?;
        match method {
            "notifications/resources/updated" => self.uri(&object),
            "notifications/tasks/status" => self.task(&object),
            "notifications/tasks" => self.detailed_task(&object)?,
            "notifications/subscriptions/acknowledged" => {
                for filter in self.objects(&object, "notifications")? {
                    for uri in self.elements_of(&filter, "resourceSubscriptions")? {
                        self.uris.extend(self.is_string(&uri).then_some(uri));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Those of the parameters of a request that the server makes to its client.
    pub(super) fn request(&mut self, at: usize, method: &str) -> Found {
        let object = self.object(at)?;
        self.related_task(&object)?;
        match method {
            "sampling/createMessage" => self.messages(&object),
            _ => Ok(()),
        }
    }

    /// Those of an error object: which resource there is not.
    pub(super) fn error(&mut self, at: usize) -> Found {
        for data in self.objects(&self.object(at)?, "data")? {
            self.uri(&data);
        }
        Ok(())
    }

    /// The blocks that a tool gives, at once or through a task.
    fn content(&mut self, object: &[Member]) -> Found {
        for block in self.elements_of(object, "content")? {
            self.block(block.start, true)?;
        }
        Ok(())
    }

    /// A message's content is a block or an array of blocks.
    fn messages(&mut self, object: &[Member]) -> Found {
        for message in self.elements_of(object, "messages")? {
            for content in self.named(&self.object(message.start)?, "content") {
                self.block(content.start, true)?;
                for block in self.elements(content.start)? {
                    self.block(block.start, true)?;
                }
            }
        }
        Ok(())
    }

    /// A resource link names its URI itself, an embedded resource in its `resource`; the result of
    /// a tool use holds blocks again, but not another result.
    fn block(&mut self, at: usize, may_nest: bool) -> Found {
        let object = self.object(at)?;
        for kind in self.named(&object, "type") {
            match scan::string(&self.json[kind]).as_deref() {
                Some("resource_link") => self.uri(&object),
                Some("resource") => {
                    for resource in self.objects(&object, "resource")? {
                        self.uri(&resource);
                    }
                }
                Some("tool_result") if may_nest => {
                    for block in self.elements_of(&object, "content")? {
                        self.block(block.start, false)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A task that was made in place of an answer: in `task` (2025-11-25), or flat where
    /// `resultType` says so.
    fn created_task(&mut self, object: &[Member]) -> Found {
        for task in self.objects(object, "task")? {
            self.task(&task);
        }
        let is_task = |kind| scan::string(&self.json[kind]).as_deref() == Some("task");
        if self.named(object, "resultType").into_iter().any(is_task) {
            self.task(object);
        }
        Ok(())
    }

    /// A task with what became of it, or with what it asks.
    fn detailed_task(&mut self, object: &[Member]) -> Found {
        self.task(object);
        self.input_requests(object)?;
        for error in self.named(object, "error") {
            self.error(error.start)?;
        }
        for result in self.objects(object, "result")? {
            self.related_task(&result)?;
            self.content(&result)?;
        }
        Ok(())
    }

    /// Requests of the server inside a result, each under a key of its own.
    fn input_requests(&mut self, object: &[Member]) -> Found {
        for requests in self.objects(object, "inputRequests")? {
            for request in requests {
                let request = self.object(request.value.start)?;
                let method = self.named(&request, "method").pop();
                let method = method.and_then(|method| scan::string(&self.json[method]));
                for params in self.named(&request, "params") {
                    self.request(params.start, method.as_deref().unwrap_or_default())?;
                }
            }
        }
        Ok(())
    }

    fn related_task(&mut self, object: &[Member]) -> Found {
        for meta in self.objects(object, "_meta")? {
            for related in self.objects(&meta, RELATED_TASK)? {
                self.task(&related);
            }
        }
        Ok(())
    }

    fn uri(&mut self, object: &[Member]) {
        let uris = self.named(object, "uri").into_iter().filter(|uri| self.is_string(uri));
        self.uris.extend(uris.collect::<Vec<_>>());
    }

    fn task(&mut self, object: &[Member]) {
        let ids = self.named(object, "taskId").into_iter().filter(|id| self.is_string(id));
        self.tasks.extend(ids.collect::<Vec<_>>());
    }

    fn is_string(&self, span: &Range<usize>) -> bool {
        self.json[span.start] == b'"'
    }

    /// The members of the object that starts at `at`; none if something else does.
    fn object(&self, at: usize) -> Result<Vec<Member>, Fault> {
        let mut members = Vec::new();
        scan::members(self.json, at, |member| members.push(member))?;
        Ok(members)
    }

    /// The elements of the array that starts at `at`; none if something else does.
    fn elements(&self, at: usize) -> Result<Vec<Range<usize>>, Fault> {
        let mut elements = Vec::new();
        scan::elements(self.json, at, |element| elements.push(element))?;
        Ok(elements)
    }

    /// The values of the members `name`: one, as a rule.
    fn named(&self, object: &[Member], name: &str) -> Vec<Range<usize>> {
        let named = object.iter().filter(|member| member.is(self.json, name));
        named.map(|member| member.value.clone()).collect()
    }

    /// The members of each object `name`.
    fn objects(&self, object: &[Member], name: &str) -> Result<Vec<Vec<Member>>, Fault> {
        self.named(object, name).into_iter().map(|span| self.object(span.start)).collect()
    }

    /// The elements of each array `name`, in one row.
    fn elements_of(&self, object: &[Member], name: &str) -> Result<Vec<Range<usize>>, Fault> {
        let mut all = Vec::new();
        for array in self.named(object, name) {
            all.extend(self.elements(array.start)?);
        }
        Ok(all)
    }
}
