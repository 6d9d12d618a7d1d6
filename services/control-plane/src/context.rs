//! Who asks, on whose behalf, and when: the first parameter of every use case.
//!
//! A [`Ctx`] is only made by authentication, or by the process itself for its own work.

use domain::{Actor, ApiKeyId, ProjectId, Role, TenantId, Timestamp, UserId};

/// Who was authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A person with a session token.
    User(UserId),
    /// A client that shows a key: it reaches one project, with at most `role`.
    ApiKey {
        /// Which key.
        id: ApiKeyId,
        /// What it opens.
        project: ProjectId,
        /// The most it may do.
        role: Role,
        /// Who made it: the key does no more than its creator may now.
        creator: UserId,
        /// The key's last four characters.
        suffix: String,
    },
    /// The process itself: first start, import by the operator.
    System,
}

/// The context of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ctx {
    /// Whose data the request may touch.
    pub tenant: TenantId,
    /// Who asks.
    pub principal: Principal,
    /// Ties the events of one request together.
    pub correlation: String,
    /// When the request came.
    pub now: Timestamp,
}

impl Ctx {
    /// As whom the events of the request are recorded.
    pub fn actor(&self) -> Actor {
        match &self.principal {
            Principal::User(id) => Actor::User(*id),
            Principal::ApiKey { id, .. } => Actor::ApiKey(*id),
            Principal::System => Actor::System,
        }
    }

    /// The person behind the request: the user, or who made the key.
    pub fn person(&self) -> Option<UserId> {
        match &self.principal {
            Principal::User(id) => Some(*id),
            Principal::ApiKey { creator, .. } => Some(*creator),
            Principal::System => None,
        }
    }
}
