//! Pages of lists: what is asked for, and how they are answered.

use serde::Deserialize;
use utoipa::IntoParams;

/// Makes the answer of a list out of its page: the items under their own name, and the token.
macro_rules! page {
    ($(#[$doc:meta])* $name:ident of $item:ident as $items:ident) => {
        $(#[$doc])*
        #[derive(serde::Serialize, utoipa::ToSchema)]
        pub(super) struct $name {
            $items: Vec<$item>,
            /// Leads to the next page; absent on the last.
            #[serde(skip_serializing_if = "Option::is_none")]
            next_page_token: Option<String>,
        }

        impl From<$crate::app::Page<$item>> for $name {
            fn from(page: $crate::app::Page<$item>) -> Self {
                Self { $items: page.items, next_page_token: page.next }
            }
        }
    };
}

pub(super) use page;

/// Which part of a list is wanted; read by [`Params::paging`](super::request::Params::paging).
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameters, which are read one by one")]
pub(super) struct PageParams {
    /// 1 to 500; 50 if absent
    page_size: Option<u32>,
    /// from the page before
    page_token: Option<String>,
}
