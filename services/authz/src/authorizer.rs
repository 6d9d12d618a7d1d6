//! The table of decisions, filled from the rules by casbin's enforcer.

use casbin::{CoreApi, DefaultModel, Enforcer, MemoryAdapter, MgmtApi};
use domain::Role;

use crate::action::Action;

const MODEL: &str = include_str!("../rules/model.conf");
const POLICY: &str = include_str!("../rules/policy.csv");

/// The domain of the rules: roles are held in projects.
const DOMAIN: &str = "project";

const ROLES: usize = Role::ALL.len();
const ACTIONS: usize = Action::ALL.len();

/// Rules that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// The model or a rule cannot be read.
    #[error("the authorization rules cannot be read")]
    Unreadable(#[from] casbin::Error),
    /// A line of the policy is no rule of the model.
    #[error("line {line} of the policy is no rule")]
    NoRule {
        /// Which line, from 1.
        line: usize,
    },
}

/// Decides what a role may do. Cheap to copy, and never fails once it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorizer {
    allowed: [[bool; ACTIONS]; ROLES],
}

impl Authorizer {
    /// Loads the embedded rules and asks the enforcer for every decision there is.
    ///
    /// # Errors
    /// [`RulesError`], which is a fault of the build: do not start.
    pub async fn new() -> Result<Self, RulesError> {
        let enforcer = enforcer().await?;
        let mut allowed = [[false; ACTIONS]; ROLES];
        for role in Role::ALL {
            for action in Action::ALL {
                allowed[role as usize][*action as usize] = ask(&enforcer, role, *action)?;
            }
        }
        Ok(Self { allowed })
    }

    /// Whether who has `role` in a project may do `action` there.
    pub const fn allows(&self, role: Role, action: Action) -> bool {
        self.allowed[role as usize][action as usize]
    }
}

fn ask(enforcer: &Enforcer, role: Role, action: Action) -> Result<bool, casbin::Error> {
    enforcer.enforce((role.as_str(), DOMAIN, action.object(), action.verb()))
}

async fn enforcer() -> Result<Enforcer, RulesError> {
    let model = DefaultModel::from_str(MODEL).await?;
    let mut enforcer = Enforcer::new(model, MemoryAdapter::default()).await?;
    let (mut rules, mut roles) = (Vec::new(), Vec::new());
    for (index, line) in POLICY.lines().enumerate() {
        let mut cells = line.split(',').map(|cell| cell.trim().to_owned());
        match cells.next().as_deref() {
            Some("p") => rules.push(cells.collect()),
            Some("g") => roles.push(cells.collect()),
            Some(other) if other.is_empty() || other.starts_with('#') => {}
            _ => return Err(RulesError::NoRule { line: index + 1 }),
        }
    }
    enforcer.add_policies(rules).await?;
    enforcer.add_grouping_policies(roles).await?;
    Ok(enforcer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_table_says_what_the_enforcer_says() {
        let (authorizer, enforcer) = (Authorizer::new().await.unwrap(), enforcer().await.unwrap());
        for role in Role::ALL {
            for action in Action::ALL {
                let asked = ask(&enforcer, role, *action).unwrap();
                assert_eq!(authorizer.allows(role, *action), asked, "{role} {action}");
            }
        }
    }

    #[tokio::test]
    async fn nothing_is_allowed_outside_the_rules() {
        let enforcer = enforcer().await.unwrap();
        let denied = [
            ("nobody", DOMAIN, "projects", "read"),
            ("owner", "another", "projects", "read"),
            ("owner", DOMAIN, "unheard_of", "read"),
            ("reporter", DOMAIN, "mcp", "call"),
            ("", "", "", ""),
        ];
        for request in denied {
            assert!(!enforcer.enforce(request).unwrap(), "{request:?}");
        }
        assert!(enforcer.enforce(("owner", DOMAIN, "projects", "read")).unwrap());
    }

    #[tokio::test]
    async fn the_larger_role_may_all_that_the_smaller_one_may() {
        let authorizer = Authorizer::new().await.unwrap();
        for action in Action::ALL {
            let may = Role::ALL.map(|role| authorizer.allows(role, *action));
            assert!(may.is_sorted(), "{action}: {may:?}");
            assert!(authorizer.allows(Role::Owner, *action), "{action}");
        }
    }

    #[tokio::test]
    async fn the_matrix() {
        let authorizer = Authorizer::new().await.unwrap();
        let lines = Action::ALL.iter().map(|action| {
            let may =
                Role::ALL.map(|role| if authorizer.allows(role, *action) { "yes" } else { "-" });
            format!("{:<20} {:<9} {:<10} {}", action.as_str(), may[0], may[1], may[2])
        });
        let head = format!("{:<20} {:<9} {:<10} owner", "", "reporter", "developer");
        let matrix: Vec<_> = std::iter::once(head).chain(lines).collect();
        insta::assert_snapshot!(matrix.join("\n"));
    }
}
