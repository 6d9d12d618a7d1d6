//! What an upstream offers, and what many upstreams together look like.
//!
//! A [`Catalogue`] is one upstream's lists as raw items. A [`MergedCatalogue`] is what clients of
//! several upstreams see: items under their exposed names, in an order that depends on the input
//! alone, as pages of bytes that were put together beforehand.

mod capabilities;
mod cursor;
mod mend;
mod merge;
mod merged;
mod observed;
mod routes;

pub use capabilities::Feature;
pub use cursor::InvalidCursor;
pub use merge::{MergePolicy, ServerEntry, merge};
pub use merged::MergedCatalogue;
pub use observed::{Catalogue, CatalogueError, Item};
pub use routes::{Route, RouteRefusal, RoutedRequest, TaskRoute, UriRoute};

/// The lists a server can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListKind {
    /// `tools/list`.
    Tools,
    /// `resources/list`.
    Resources,
    /// `resources/templates/list`.
    ResourceTemplates,
    /// `prompts/list`.
    Prompts,
}

impl ListKind {
    /// Every list, in the order in which they are stored.
    pub const ALL: [Self; 4] =
        [Self::Tools, Self::Resources, Self::ResourceTemplates, Self::Prompts];

    /// The method that asks for the list.
    #[must_use]
    pub const fn method(self) -> &'static str {
        match self {
            Self::Tools => "tools/list",
            Self::Resources => "resources/list",
            Self::ResourceTemplates => "resources/templates/list",
            Self::Prompts => "prompts/list",
        }
    }

    /// The list that a method asks for.
    #[must_use]
    pub fn of_method(method: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.method() == method)
    }

    /// The member of the result that holds the items.
    #[must_use]
    pub const fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Resources => "resources",
            Self::ResourceTemplates => "resourceTemplates",
            Self::Prompts => "prompts",
        }
    }

    /// The member of an item that identifies it within its server.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::ResourceTemplates => "uriTemplate",
        }
    }

    /// The capability under which a server declares the list.
    #[must_use]
    pub const fn capability(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Resources | Self::ResourceTemplates => "resources",
            Self::Prompts => "prompts",
        }
    }

    /// The notification that the list changed; resources and templates share one.
    #[must_use]
    pub const fn changed_method(self) -> &'static str {
        match self {
            Self::Tools => "notifications/tools/list_changed",
            Self::Resources | Self::ResourceTemplates => "notifications/resources/list_changed",
            Self::Prompts => "notifications/prompts/list_changed",
        }
    }

    /// The place of the list in arrays over all lists.
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Tools => 0,
            Self::Resources => 1,
            Self::ResourceTemplates => 2,
            Self::Prompts => 3,
        }
    }
}

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod route_tests;
#[cfg(test)]
mod tests;
